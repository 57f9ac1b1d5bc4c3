"""Who looks at the console: a session opened with a token, read anew with every request, and what it may do."""

import contextlib
import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection, delete, select, update
from starlette.datastructures import FormData

from worker import api_tokens
from worker.api_tokens import Caller
from worker.bulk import insert_rows
from worker.database import Busy
from worker.directory.tokens import digest, fresh
from worker.door_tables import console_session
from worker.settings import Settings
from worker.web.gate import Rule, limits, muster, require, too_many
from worker.web.problems import Problem

HOME = "/console"
SIGN_IN = f"{HOME}/sign-in"
# A working day and a bit: whoever sits down in the morning signs in once.
LONGEST = timedelta(hours=12)
# A screen that nobody looked after for so long is not trusted to have the same person before it.
IDLE = timedelta(hours=1)
# One write a minute and session says that somebody is still there, not one a click.
SEEN_EVERY = timedelta(minutes=1)
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Visitor:
    """Whoever is signed in. `csrf` stands in every form of theirs and nowhere else."""

    caller: Caller
    csrf: str

    def may(self, scope: str) -> bool:
        """Say whether they may do this, such as jobs:operate."""
        return self.caller.may(scope)

    @property
    def name(self) -> str:
        """The name of the token that they signed in with."""
        return self.caller.name

    @property
    def role(self) -> str:
        """What they may do in one word: look, operate or administer."""
        if self.caller.may("admin"):
            return "administer"
        return "operate" if self.caller.may("jobs:operate") else "look"


class Turned(Exception):
    """A request is answered with something else than it asked for, such as the way to the sign-in page."""

    def __init__(self, response: Response) -> None:
        """`response` is sent as it is."""
        self.response = response
        super().__init__(str(response.status_code))


# ------------------------------------------------------------------------------------------------------ cookies


def cookie_name(settings: Settings) -> str:
    """The name of the session's cookie; over TLS one that no neighbouring host can set (RFC 6265bis, __Host-)."""
    return "__Host-muster" if _over_tls(settings) else "muster"


def set_cookie(response: Response, settings: Settings, value: str) -> None:
    """Give the session's cookie to the browser."""
    response.set_cookie(
        cookie_name(settings), value, max_age=int(LONGEST.total_seconds()), path="/", secure=_over_tls(settings),
        httponly=True, samesite="strict",
    )  # fmt: skip


def drop_cookie(response: Response, settings: Settings) -> None:
    """Take the session's cookie back."""
    response.delete_cookie(cookie_name(settings), path="/", secure=_over_tls(settings), httponly=True, samesite="strict")


def _over_tls(settings: Settings) -> bool:
    return (settings.public_url or "").startswith("https://")


# ----------------------------------------------------------------------------------------------------- sessions


def begin(conn: Connection, caller: Caller, now: datetime) -> str:
    """Open a session for whoever holds this token and return the cookie's value: the only time that it is seen."""
    conn.execute(delete(console_session).where(console_session.c.expires_at <= now))
    value = fresh()
    insert_rows(conn, console_session, [{
        "digest": digest(value), "token": caller.id, "csrf": fresh(), "created_at": now, "seen_at": now,
        "expires_at": now + IDLE,
    }])  # fmt: skip
    return value


def end(conn: Connection, value: str) -> None:
    """End the session of a cookie, from this commit on."""
    conn.execute(delete(console_session).where(console_session.c.digest == digest(value)))


def current(request: Request) -> Visitor | None:
    """Return who is signed in, the token looked at anew: whose was revoked or has expired is nobody."""
    app = muster(request)
    value = request.cookies.get(cookie_name(app.settings), "")
    if not value or len(value) > 200:
        return None
    now = app.clock()
    with app.database.read() as conn:
        row = conn.execute(select(console_session).where(console_session.c.digest == digest(value))).one_or_none()
        if row is None or row.expires_at <= now:
            return None
        found = api_tokens.by_id(conn, row.token, now)
    if found is None:
        return None
    caller, stale = found
    # What a page asks for by itself, to stay fresh, does not show that somebody is there.
    if now - row.seen_at >= SEEN_EVERY and "x-poll" not in request.headers:
        until = min(row.created_at + LONGEST, now + IDLE)
        change = update(console_session).where(console_session.c.digest == row.digest)

        def note(conn: Connection) -> None:
            conn.execute(change.values(seen_at=now, expires_at=until))
            if stale:
                api_tokens.note_use(conn, caller.id, now)

        with contextlib.suppress(Busy):  # a note is worth no wait
            app.database.transact(note)
    return Visitor(caller, row.csrf)


def signed_in(request: Request) -> Visitor:
    """Return who is signed in. Raises Turned to the sign-in page, and Problem 429 for too much."""
    visitor = current(request)
    if visitor is None:
        raise Turned(_to_sign_in(request))
    if (wait := limits(request).requests.take(visitor.caller.id)) is not None:
        raise too_many(wait)
    request.state.visitor = visitor
    return visitor


def _to_sign_in(request: Request) -> Response:
    """The way to the sign-in page and from there back to where they were."""
    if "hx-request" in request.headers:
        there = _path_of(request.headers.get("hx-current-url", ""))
        return Response(status_code=401, headers={"HX-Redirect": sign_in_url(there)})
    here = _path_of(str(request.url) if request.method in SAFE else request.headers.get("referer", ""))
    return RedirectResponse(sign_in_url(here), 303)


def sign_in_url(back_to: str) -> str:
    """The sign-in page that leads back to this path of the console."""
    place = local(back_to)
    return SIGN_IN if place == HOME else f"{SIGN_IN}?next={quote(place, safe='')}"


def _path_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return HOME
    return parts.path + (f"?{parts.query}" if parts.query else "")


def local(path: str) -> str:
    """Return `path` if it leads to a page of the console, else the console's first page."""
    plain = path
    for _ in range(3):  # encoded once more than a browser or a proxy would decode
        plain = unquote(plain)
        good = plain.isprintable() and "\\" not in plain and "//" not in plain.partition("?")[0] and "/.." not in plain
        if not good or not (plain == HOME or plain.startswith((f"{HOME}/", f"{HOME}?"))):
            return HOME
    return HOME if path.startswith(SIGN_IN) or not path.isascii() else path


# -------------------------------------------------------------------------------------------------------- forms


async def _read_form(request: Request, _visitor: Annotated[Visitor, Depends(signed_in)]) -> AsyncIterator[FormData]:
    """Read the form of somebody who is signed in; of somebody else nothing is read."""
    async for form in read_form(request):
        yield form


async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Give the fields of a form; how long it may be is said where all bodies are counted (worker/web/body.py)."""
    if request.method in SAFE:
        yield FormData()
        return
    async with request.form() as form:
        yield form


#: A parameter of a handler that takes a form: `form: Form`, then `form.get("reason")`. Empty for GET.
Form = Annotated[FormData, Depends(_read_form)]
_VISITOR: Any = Depends(signed_in)
_FORM: Any = Depends(_read_form)


class SessionRule(Rule):
    """A session of the console whose token has these scopes; {braces} are filled from the path."""

    door = "session"

    def __init__(self, *scopes: str) -> None:
        """`scopes`: such as jobs:read; none: anybody who is signed in."""
        self.scopes = scopes

    def __call__(self, request: Request, visitor: Visitor = _VISITOR, form: Mapping[str, Any] = _FORM) -> Visitor:
        """Return who it is. Raises Problem 403: without the scope, or for what another site sent in their name."""
        if request.method not in SAFE:
            same_origin(request)
            sent = request.headers.get("x-csrf-token") or form.get("csrf")
            if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), visitor.csrf.encode()):
                raise _forged()
        for scope in self.scopes:
            require(visitor.caller, scope.format(**request.path_params))
        return visitor


def seen_by(*scopes: str) -> Any:
    """The dependency of a page for those who are signed in and have all of these scopes.

    `visitor: Annotated[Visitor, seen_by("jobs:read")]`. What changes something (POST, PUT, DELETE) has to carry the
    session's CSRF token besides, as the field `csrf` or the header X-CSRF-Token.
    """
    return Depends(SessionRule(*scopes))


def same_origin(request: Request) -> None:
    """Refuse what a browser says was sent by a page of somebody else. Raises Problem 403."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        raise _forged()
    origin = request.headers.get("origin")
    if origin is not None and origin not in _own_origins(request):
        raise _forged()


def _own_origins(request: Request) -> set[str]:
    urls = (str(request.url), muster(request).settings.public_url)
    return {f"{parts.scheme}://{parts.netloc}" for parts in (urlsplit(url) for url in urls if url)}


def _forged() -> Problem:
    return Problem(
        403, "forged", "This form is not from a page that is open in your session, so nothing was changed. Load the page "
        "again and send it once more.",
    )  # fmt: skip
