"""Gathers the pages of the console, and words its refusals as pages that people can read."""

import gzip
from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from worker.console import feeds, jobs, mail, now, people, sign_in
from worker.console.pulse import Pulse
from worker.console.render import STATIC, fragment, page
from worker.console.session import HOME, Turned, Visitor, current
from worker.database import Busy, Unreachable
from worker.web.gate import everybody
from worker.web.problems import Problem, away, from_validation

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".txt": "text/plain; charset=utf-8",
         ".svg": "image/svg+xml"}
# The address of a file changes with what is in it.
KEPT = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.get("/", dependencies=[everybody])
def front_page() -> Response:
    """Lead to the console: there is nothing else to see at this address."""
    return RedirectResponse(HOME, 303)


@router.get(f"{HOME}/static/{{name}}", dependencies=[everybody])
def static_file(request: Request, name: str) -> Response:
    """A file that comes with the console: its looks and the little that runs in the browser."""
    found = _files().get(name)
    if found is None:
        raise Problem(404, "not_found", "There is no such file.")
    whole, packed, kind = found
    headers = {"Cache-Control": KEPT, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
    return Response(whole, media_type=kind, headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, bytes, str]]:
    """Every file there is: whole, packed, and of what type."""
    return {
        path.name: (path.read_bytes(), gzip.compress(path.read_bytes(), mtime=0), TYPES[path.suffix])
        for path in sorted(STATIC.iterdir()) if path.suffix in TYPES
    }  # fmt: skip


def install(web: FastAPI) -> None:
    """Add the console to the HTTP doors. Errors under its path become pages; the others stay as they were."""
    web.state.pulse = Pulse(web.state.muster)
    for one in (router, sign_in.router, now.router, jobs.router, people.router, feeds.router, mail.router):
        web.include_router(one)

    @web.exception_handler(Turned)
    async def turned(_request: Request, there: Turned) -> Response:
        return there.response

    for kind in (Problem, RequestValidationError, HTTPException, Busy, Unreachable):
        _as_page(web, kind)


def _as_page(web: FastAPI, kind: type[Exception]) -> None:
    before: Callable[[Request, Any], Any] = web.exception_handlers[kind]

    @web.exception_handler(kind)
    async def refused(request: Request, error: Any) -> Response:
        path = request.url.path
        if path != HOME and not path.startswith(f"{HOME}/"):
            answer: Response = await before(request, error)
            return answer
        if isinstance(error, HTTPException) and not hasattr(request.state, "visitor"):  # no route, so nobody has looked
            request.state.visitor = await run_in_threadpool(_whoever, request)
        return _trouble(request, error)


def _whoever(request: Request) -> Visitor | None:
    try:
        return current(request)
    except (Busy, Unreachable):
        return None


def _trouble(request: Request, error: Any) -> Response:
    """The page, or for htmx the note, that says what was refused and what to do."""
    if isinstance(error, (Busy, Unreachable)):
        problem = away(error)
    elif isinstance(error, RequestValidationError):
        problem = from_validation(error.errors())
    elif isinstance(error, HTTPException):
        words = {404: "There is no such page in the console.", 405: "This page cannot be asked for in this way."}
        problem = Problem(error.status_code, "refused", words.get(error.status_code, str(error.detail)))
    else:
        problem = error
    visitor = getattr(request.state, "visitor", None)
    if "hx-request" in request.headers:
        response = fragment(request, visitor, "problem_note.html", status=problem.status, problem=problem)
        response.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"})
    else:
        response = page(request, visitor, "problem.html", status=problem.status, problem=problem)
    response.headers.update(problem.headers)
    return response
