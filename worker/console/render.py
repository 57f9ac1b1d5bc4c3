"""How a page of the console is written: templates, the words for times and numbers, and what a browser may load."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from markupsafe import Markup, escape

from worker.console.session import HOME, Visitor
from worker.screen import harmless
from worker.web.gate import muster

if TYPE_CHECKING:
    from jinja2.runtime import Context

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

# Nothing comes from outside and nothing is written into a page that runs: an injected script finds no way to start.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'none'; "
    "form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

#: The five parts of the console: its word, its path, the key after g, and the scope that opens it.
PARTS = (
    ("Now", HOME, "n", "jobs:read"),
    ("Jobs", f"{HOME}/jobs", "j", "jobs:read"),
    ("People", f"{HOME}/people", "p", "users:read"),
    ("Feeds", f"{HOME}/feeds", "f", "feeds:read"),
    ("Mail", f"{HOME}/mail", "m", ""),
)


def page(request: Request, visitor: Visitor | None, name: str, *, status: int = 200, **facts: Any) -> HTMLResponse:
    """Write the page of the template `name`. Every template has `visitor`, `now`, `parts`, `here`, `static` besides."""
    return HTMLResponse(_write(request, visitor, name, facts), status, dict(HEADERS))


def fragment(request: Request, visitor: Visitor | None, name: str, *, status: int = 200, **facts: Any) -> HTMLResponse:
    """Write a piece of a page, for htmx to put in its place; the template stands alone, without base.html."""
    return HTMLResponse(_write(request, visitor, name, facts), status, {**HEADERS, "Vary": "HX-Request"})


def _write(request: Request, visitor: Visitor | None, name: str, facts: Mapping[str, Any]) -> str:
    return environment().get_template(name).render(
        visitor=visitor, now=muster(request).clock(), parts=parts_for(visitor), here=_part_of(request.url.path),
        static=static, **facts,
    )  # fmt: skip


def parts_for(visitor: Visitor | None) -> list[tuple[str, str, str]]:
    """The parts of the console that a visitor may open: word, path, key."""
    if visitor is None:
        return []
    return [(word, path, key) for word, path, key, scope in PARTS if not scope or visitor.may(scope)]


def _part_of(path: str) -> str:
    """The part of the console that a path belongs to, by its path; empty for none. Groups are found among people."""
    inner = "/".join(path.split("/")[:3]).replace(f"{HOME}/groups", f"{HOME}/people")
    return next((place for _, place, _, _ in PARTS if place == inner), "")


@cache
def static(name: str) -> str:
    """The address of a file that comes with the console; another one whenever the file changes."""
    return f"{HOME}/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]}"


@cache
def environment() -> Environment:
    """What writes the console's pages: everything is escaped, and a name that is not there is an error."""
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    found.filters |= {"when": _when, "exact": _exact, "short": short, "number": number, "json": pretty, "plain": plain, "span": span}
    return found


# ------------------------------------------------------------------------------------------------------ filters


def _exact(value: datetime | None) -> Markup:
    """A time to the second, in UTC."""
    if value is None:
        return Markup()
    value = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(timespec="seconds"), f"{value:%Y-%m-%d %H:%M:%S}")


@pass_context
def _when(context: "Context", value: datetime | str | None) -> Markup:
    """A time as people say it, with the exact one beside it; accepts the ISO text that results hold, too."""
    if not value:
        return Markup()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return escape(value)
    if value.tzinfo is None:
        return escape(value.isoformat())
    value = value.astimezone(UTC)
    exact = f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value.isoformat(timespec="seconds"), exact, ago(value, context["now"])
    )


def ago(value: datetime, now: datetime) -> str:
    """How long ago, or how far off, in words; what is further than a month, as a date."""
    away = value - now
    if abs(away) < timedelta(seconds=5):
        return "just now"
    if abs(away) >= timedelta(days=30):
        return f"{value:%Y-%m-%d}"
    return f"in {span(away)}" if away > timedelta() else f"{span(-away)} ago"


def span(value: timedelta | float) -> str:
    """A length of time in its largest unit: 850 ms, 12 s, 3 min, 5 h, 2 d."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {word}"
    return f"{int(seconds)} s"


def short(value: object) -> str:
    """The beginning of an id that tells it apart: its time and the first of its random digits."""
    return str(value)[:18]


def number(value: float | None) -> str:
    """A number with a comma between thousands, as the command line and the plans write it."""
    return "" if value is None else f"{value:,}"


def pretty(value: object) -> str:
    """A payload or a result as indented JSON."""
    return harmless(json.dumps(value, indent=2, ensure_ascii=False, default=str), keep="\n")


def plain(value: object) -> str:
    """A text from outside, without anything that would reorder the line it stands in."""
    return harmless("" if value is None else str(value))
