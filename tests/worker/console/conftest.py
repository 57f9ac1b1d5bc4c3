"""A console to look at: an office on SQLite behind a real server, and people who are signed in."""

import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from office import Office
from pathlib import Path
import shutil


class Browser:
    """Somebody's browser: keeps the cookie, and fills forms with the session's CSRF token."""

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
        """Load a page."""
        return self.client.get(path, **facts)

    def post(self, path: str, fields: Mapping[str, Any] | None = None, **facts: Any) -> httpx.Response:
        """Send a form as a page of the session would."""
        return self.client.post(path, data={"csrf": self.csrf, **(fields or {})}, **facts)

    def close(self) -> None:
        """Hang up."""
        self.client.close()


class Desk:
    """The console of an office, and whoever sits before it."""

    def __init__(self, doors: Doors) -> None:
        self.doors, self.office, self.url = doors, doors.office, doors.url
        self._browsers: list[Browser] = []

    def browser(self, *scopes: str) -> Browser:
        """A browser; with scopes, of somebody who signed in with a token that has them."""
        found = Browser(self.url)
        self._browsers.append(found)
        if scopes:
            answer = found.sign_in(self.doors.token(*scopes))
            assert answer.status_code == 303, answer.text
        return found

    def close(self) -> None:
        """Close every browser."""
        for browser in self._browsers:
            browser.close()


def desk_at(url: str, **settings: Any) -> Iterator[Desk]:
    """Open an office and its console."""
    office = Office(url, **settings)
    with doors_of(office) as doors:
        desk = Desk(doors)
        yield desk
        desk.close()
    office.close()


@pytest.fixture(scope="module")
def desk(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A console for the tests of one module, on an SQLite of their own."""
    folder = tmp_path_factory.mktemp("console")
    for part in sqlite_template.parent.glob(f"{sqlite_template.name}*"):
        shutil.copy(part, folder / part.name)
    yield from desk_at(f"sqlite:///{folder / sqlite_template.name}")
