"""A real browser for tests: Debian's Chromium without a screen, and axe-core to look for what a screen reader trips over."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from servers import ServerMissing

WAIT_SECONDS = 20
"""A guard; pages answer in milliseconds."""

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--lang=en",
    # What is not on this machine is not there.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)  # fmt: skip

# The page changed between two looks: look again.
_PASSING = (NoSuchElementException, StaleElementReferenceException)

Theme = Literal["light", "dark"]


class Browser:
    """One browser window on a running Muster."""

    def __init__(self, driver: Chrome, url: str) -> None:
        """`url`: where Muster answers."""
        self.driver, self.url = driver, url

    def go(self, path: str) -> None:
        """Open a page, by its path or its whole address."""
        self.driver.get(path if path.startswith("http") else f"{self.url}{path}")

    @property
    def path(self) -> str:
        """Where we are."""
        return str(self.driver.current_url).removeprefix(self.url)

    def text(self) -> str:
        """What the page says."""
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def find(self, selector: str) -> WebElement:
        """The first element that a CSS selector names, waited for."""
        found: WebElement = self.wait(
            lambda: next(iter(self.driver.find_elements(By.CSS_SELECTOR, selector)), None), selector
        )
        return found

    def write(self, name: str, text: str) -> None:
        """Write into the field of that name."""
        field = self.find(f"[name='{name}']")
        field.clear()
        field.send_keys(text)

    def press(self, words: str) -> None:
        """Press the button or follow the link that says these words."""
        wanted = f"//*[self::a or self::button or self::summary][normalize-space(.)={words!r}]"
        button = self.wait(
            lambda: next((one for one in self.driver.find_elements(By.XPATH, wanted) if one.is_displayed()), None),
            f"something to press that says {words!r}",
        )
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def wait_for(self, words: str) -> None:
        """Wait until the page says these words."""
        self.wait(lambda: words in self.text(), f"the words {words!r}")

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something is so. AssertionError with the page's text if it never is."""
        def so(_driver: object) -> Any:
            return condition()

        try:
            return WebDriverWait(self.driver, WAIT_SECONDS, ignored_exceptions=_PASSING).until(so)
        except Exception as error:
            raise AssertionError(f"waited for {what} at {self.path}; the page says:\n{self.text()}") from error

    def window(self, width: int, height: int = 900, theme: Theme = "light") -> None:
        """Give the window a size in CSS pixels and a colour scheme."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        )

    def picture(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))

    def violations(self) -> list[str]:
        """What WCAG 2.1 A and AA forbid on this page, a line each, as axe-core finds it."""
        self.driver.execute_script(_axe())
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations']})"
            ".then(r => done(r.violations), e => done([{id: String(e), nodes: []}]));"
        )
        return [
            f"{one['id']}: {node['html'][:160]} ({(node['any'] or node['all'] or node['none'] or [{}])[0].get('message', '')})"
            for one in found for node in one["nodes"] or [{"html": "", "any": [], "all": [], "none": []}]
        ]

    def too_wide(self) -> int:
        """By how many pixels the page is wider than the window; 0 is right."""
        return int(self.driver.execute_script(
            "return Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"
        ))

    def complaints(self) -> list[str]:
        """What the browser warned of since the last look: scripts and styles that the policy stopped, what was not found."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in entries if entry["level"] in ("WARNING", "SEVERE")]


@contextmanager
def browsing(url: str) -> Iterator[Browser]:
    """Open a browser on a running Muster. Raises ServerMissing where there is none."""
    binary, guide = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or guide is None:
        raise ServerMissing("no chromium with chromedriver on the PATH (Debian: apt-get install chromium chromium-driver)")
    with TemporaryDirectory(prefix="muster-browser-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = binary
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=Service(guide))
        try:
            yield Browser(driver, url)
        finally:
            driver.quit()


@cache
def _axe() -> str:
    """The script of axe-core, which the package axe-core-python carries."""
    spec = find_spec("axe_core_python")
    assert spec is not None, "the package axe-core-python is missing"
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
