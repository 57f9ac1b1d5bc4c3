"""Somebody with a mail in their hands before the pages of an office: follows its link and fills in forms."""

import email
import email.policy
import html
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from doors import Doors
from html5lib import HTMLParser
from posts import text, token

from worker.directory import recoveries, users
from worker.jobs import UserRef

GOOD = "otters in the harbour"
"""A password that nobody has anything against."""
HOUR = timedelta(hours=1)


class Entrance:
    """The doors of an office, and the folder where its mails land."""

    def __init__(self, doors: Doors, folder: Path) -> None:
        """`folder`: of .eml files."""
        self.doors, self.office, self.folder = doors, doors.office, folder
        self.client = doors.caller()

    def token(self, page: str = "recover") -> str:
        """The token in the link of the newest mail that has one to this page."""
        for path in sorted(self.folder.glob("*.eml"), key=lambda one: one.stat().st_mtime_ns, reverse=True):
            mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            if f"/{page}/" in text(mail):
                return token(mail)
        raise AssertionError(f"no mail leads to /{page}/")

    def link(self, username: str = "ann", purpose: recoveries.Purpose = "recovery") -> str:
        """Make a link without a mail; returns its token."""
        with self.office.scope() as scope:
            user = users.get(scope, UserRef(username=username))
            return recoveries.create(scope, user, purpose=purpose, valid_for=HOUR).token

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Open a page."""
        return self.client.get(path, headers=headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx.Response:
        """Send a form; where it leads to is not followed."""
        return self.client.post(path, data=fields, headers=headers)

    def choose(self, token: str, password: str = GOOD, repeat: str | None = None, **headers: str) -> httpx.Response:
        """Fill in the form behind a recovery link."""
        return self.post(f"/recover/{token}", {"password": password, "repeat": password if repeat is None else repeat}, **headers)

    def accept(self, token: str, **fields: str) -> httpx.Response:
        """Fill in the form behind an invitation."""
        return self.post(f"/invite/{token}", {"username": "dora", "name": "Dora Diaz", "password": GOOD, "repeat": GOOD, **fields})


def said(answer: httpx.Response) -> str:
    """What a page says to those who read it, as one line."""
    body = answer.text.partition("<main>")[2].partition("</main>")[0]
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", body).split()))


def parsed(answer: httpx.Response) -> Any:
    """The page as a tree. Raises ParseError for anything that is not quite right HTML."""
    return HTMLParser(strict=True, namespaceHTMLElements=False).parse(answer.text)
