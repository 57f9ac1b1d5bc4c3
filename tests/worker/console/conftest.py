"""A console to look at: an office on SQLite behind a real server, and people who are signed in."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any

import html5lib
import httpx
import pytest
from doors import Doors, doors_of
from office import Office

# A page that holds one of these would run or load what it should not; the policy would stop it, the page must not try.
_ACTIVE = {"iframe", "object", "embed", "base", "style"}


class Browser:
    """Somebody's browser: keeps the cookie, fills forms with the session's CSRF token, and looks closely at each page."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.csrf = ""

    def sign_in(self, token: str) -> httpx.Response:
        """Sign in, and read the CSRF token off the page that follows."""
        answer = self.client.post("/console/sign-in", data={"token": token})
        if answer.status_code == 303:
            found = re.search(r'name="csrf" value="([^"]+)"', self.client.get(answer.headers["location"]).text)
            self.csrf = unescape(found[1]) if found else ""
        return answer

    def get(self, path: str, **facts: Any) -> httpx.Response:
        """Load a page; it must hold nothing that runs, and say so in its policy."""
        answer = self.client.get(path, **facts)
        if answer.headers.get("content-type", "").startswith("text/html") and path.startswith("/console"):
            inert(answer)
        return answer

    def post(self, path: str, fields: Mapping[str, Any] | None = None, **facts: Any) -> httpx.Response:
        """Send a form as a page of the session would."""
        return self.client.post(path, data={"csrf": self.csrf, **(fields or {})}, **facts)

    def close(self) -> None:
        """Hang up."""
        self.client.close()


def inert(answer: httpx.Response) -> None:
    """A page holds no script, style or handler of its own, leads nowhere else, and its policy allows none of it."""
    policy = answer.headers["content-security-policy"]
    if "sandbox" in policy:  # a mail, with the styles that mails have
        assert "script-src" not in policy
        assert policy.startswith("default-src 'none'")
        return
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert answer.headers["cache-control"] == "no-store"
    for element in html5lib.parse(answer.text, namespaceHTMLElements=False).iter():
        tag, attributes = str(element.tag), element.attrib
        if tag == "script":
            assert attributes["src"].startswith("/console/static/")
            assert not "".join(element.itertext())
        assert tag not in _ACTIVE or attributes.get("sandbox") == ""
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            assert name != "style", f"<{tag} style>"
            if name in ("href", "src", "action", "formaction"):
                assert value.startswith(("/console", "#", "?")), f"<{tag} {name}={value!r}>"


class Desk:
    """The console of an office, and whoever sits before it."""

    def __init__(self, doors: Doors) -> None:
        self.doors, self.office, self.url = doors, doors.office, doors.url
        self._browsers: list[Browser] = []

    def browser(self, *scopes: str, name: str | None = None) -> Browser:
        """A browser; with scopes, of somebody who signed in with a token that has them."""
        found = Browser(self.url)
        self._browsers.append(found)
        if scopes:
            answer = found.sign_in(self.doors.token(*scopes, name=name))
            assert answer.status_code == 303, answer.text
        return found

    def close(self) -> None:
        """Close every browser."""
        for browser in self._browsers:
            browser.close()


Opens = Callable[..., Desk]


@pytest.fixture(scope="module")
def open_desk(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opens]:
    """Open consoles, each with a server and an SQLite of its own; settings may be given."""
    with ExitStack() as closing:

        def opened(**settings: Any) -> Desk:
            folder = tmp_path_factory.mktemp("console")
            for part in sqlite_template.parent.glob(f"{sqlite_template.name}*"):
                shutil.copy(part, folder / part.name)
            office = Office(f"sqlite:///{folder / sqlite_template.name}", **settings)
            closing.callback(office.close)
            desk = Desk(closing.enter_context(doors_of(office)))
            closing.callback(desk.close)
            return desk

        yield opened


@pytest.fixture(scope="module")
def desk(open_desk: Opens) -> Desk:
    """A console for the tests of one module."""
    return open_desk()


@pytest.fixture(scope="module")
def peopled(desk: Desk) -> Office:
    """The office behind it, with the people of the examples."""
    desk.office.world()
    return desk.office


@pytest.fixture(scope="module")
def chief(desk: Desk, peopled: Office) -> httpx.Client:
    """An administrator's browser."""
    return desk.browser("admin").client
