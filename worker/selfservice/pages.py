"""How a page is answered: its template, its language, and the headers that keep its link and its form to itself."""

import logging
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from markupsafe import Markup

from worker.database import Busy, Unreachable
from worker.mail import wording
from worker.selfservice import words
from worker.web.gate import muster
from worker.web.headers import FRAMES
from worker.web.problems import RETRY_SECONDS, Problem

if TYPE_CHECKING:
    from jinja2 import Environment

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STYLE = HERE / "static" / "page.css"
# Nothing but our own style sheet is loaded, nothing is run, the form goes to us alone, nobody frames the page, and no
# browser, proxy or search engine keeps or passes on where it was.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept-Language",
}
# Colours change with a version; the address of the style sheet with it.
STYLE_HEADERS: Mapping[str, str] = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}

Problems = Sequence[tuple[str, str, Mapping[str, Any]]]
"""What is wrong with a form: the field, the sentence's name, and what fills its braces."""


class Refused(Exception):
    """What was sent cannot be used at all."""

    def __init__(self, status: int, about: str, *, retry: timedelta | None = None) -> None:
        """`about`: which page of [trouble] says so; `retry`: how long until it makes sense to come back."""
        self.status, self.about, self.retry = status, about, retry
        super().__init__(about)


@dataclass(frozen=True)
class Reader:
    """Whom a page is for: `language` is one that there is, `zone` a time zone's name."""

    language: str
    zone: str


def reader(request: Request, locale: str | None = None, zone: str | None = None) -> Reader:
    """Say in which language and zone a page is written: the person's own, else the browser's, else the settings'."""
    settings = muster(request).settings
    asked = words.accepted(request.headers.get("accept-language", ""))
    chosen = words.load(settings.templates).choose([request.query_params.get("lang") or locale, *asked, settings.locale])
    return Reader(chosen, zone or settings.zone)


def page(
    request: Request, template: str, to: Reader, *, status: int = 200, problems: Problems = (),
    headers: Mapping[str, str] | None = None, **values: Any,
) -> Response:
    """Write a page from `template`.html. In it `t(NAME, …)` is a sentence in the reader's language."""
    settings = muster(request).settings
    known = words.load(settings.templates)
    always = {"organisation": settings.organisation, "support": settings.support_contact}

    def t(name: str, **filled: Any) -> Markup:
        return known.say(to.language, name, always | filled)

    def moment(at: datetime) -> str:
        return wording.moment(at, to.zone, to.language)

    text = _templates().get_template(f"{template}.html").render(
        t=t, moment=moment, lang=to.language, dir=wording.direction(to.language), root=root(request), style=_style_mark(),
        organisation=wording.harmless(settings.organisation),
        problems=[(field, t(f"problem.{name}", **filled)) for field, name, filled in problems], **values,
    )  # fmt: skip
    return HTMLResponse(text, status, dict(headers or {}))


def message(request: Request, to: Reader, name: str, *more: str, button: str = "", **facts: Any) -> Response:
    """Write a page that says something: the sentences NAME_title, NAME and NAME_MORE, and a way to the form for a link.

    `button`: what that way is called; `facts`: the status, headers, and what fills braces.
    """
    status, headers = facts.pop("status", 200), facts.pop("headers", None)
    says = [name, *(f"{name}_{one}" for one in more)]
    return page(request, "message", to, status=status, headers=headers, name=name, says=says, button=button, facts=facts)


def onward(request: Request, place: str, to: Reader) -> Response:
    """Send the browser on to a page of ours, so that going back or reloading sends no form again."""
    return RedirectResponse(f"{root(request)}{place}?lang={to.language}", 303)


def root(request: Request) -> str:
    """What stands before our paths when a proxy serves Muster below a folder, as MUSTER_PUBLIC_URL says; mostly nothing."""
    return urlsplit(muster(request).settings.public_url or "").path.rstrip("/")


class PageRoute(APIRoute):
    """A route whose every answer is a page for people, whatever happens."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler: trouble becomes a page, and every page has its headers."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
            except Refused as refusal:
                response = _trouble(request, refusal)
            except (Busy, Unreachable):
                response = _trouble(request, Refused(503, "away", retry=timedelta(seconds=RETRY_SECONDS)))
            except Problem:  # the body was too large or too slow: said before the request came here
                raise
            except Exception as failure:
                log.error("selfservice.failed", extra={"page": self.path_format, **place_of(failure)})
                response = _trouble(request, Refused(500, "away"))
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer


def place_of(failure: Exception) -> dict[str, str]:
    """What the log may hold of a failure: its kind and where it was, never a value, which could be a link's token."""
    frames = traceback.extract_tb(failure.__traceback__)[-FRAMES:]
    trace = " < ".join(f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in reversed(frames))
    return {"error": type(failure).__name__, "trace": trace}


def _trouble(request: Request, refusal: Refused) -> Response:
    headers: dict[str, str] = {}
    minutes = 1
    if refusal.retry is not None:
        seconds = max(1, round(refusal.retry.total_seconds()))
        headers["Retry-After"], minutes = str(seconds), -(-seconds // 60)
    about = f"trouble.{refusal.about}"
    return message(request, reader(request), about, status=refusal.status, headers=headers, minutes=minutes)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip


@cache
def _style_mark() -> str:
    return sha256(STYLE.read_bytes()).hexdigest()[:12]
