"""Runs of feeds over HTTP: plans to look at page by page, to approve, apply or put aside, with live progress."""

import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import format_sse_event
from starlette.background import BackgroundTask

from worker import api_tokens, plan_view
from worker.api.feed_models import LOCATION, NEXT_LINK, ActionPage, Reason, RunPage, RunShown, RunState
from worker.api.feeds import WAIT_SECONDS, OfSource, address_of_run, desk_of, in_background, run_json, told
from worker.api.models import problems
from worker.api.paging import USUAL_PAGE, Cursor, Limit, PathWord, Word, after, page
from worker.api_tokens import Caller
from worker.database import Busy, Unreachable
from worker.feed_tables import feed_run
from worker.feeds import runs
from worker.feeds.apply import shown
from worker.feeds.codes import ACTIONS
from worker.feeds.runs import APPLIED, APPROVED, DROPPED, PLANNED, REFUSED, NoSuchRun, Run
from worker.plan_view import LineFilter
from worker.web.gate import TokenRule, muster, needs
from worker.web.problems import Problem

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/feeds", tags=["feeds"])

# Progress is looked at this often while something moves by itself, and this often while it waits for a person.
LOOK_SECONDS, LOOK_SECONDS_WAITING = 1.0, 3.0
# Counting the jobs of a large run costs something: of the time, at most one part in so many is spent on it.
LOOK_SHARE = 20
# Proxies close what is silent for half a minute or a minute.
HEARTBEAT_SECONDS = 15.0


class Granted(NamedTuple):
    """Who may do it, and to which run."""

    caller: Caller
    run: Run


class OfRun(OfSource):
    """A bearer token with this scope, for the feed of the run in the path."""

    def __call__(self, request: Request, run: PathWord) -> Granted:  # type: ignore[override]
        """Return who it is and the run."""
        found: list[Run] = []

        def source() -> str | None:
            try:
                found.append(desk_of(request).find(run))
            except NoSuchRun:
                return None
            return found[0].source

        caller = self.granted(request, source, Problem(404, "no_such_run", f"There is no run or plan {run!r}."))
        return Granted(caller, found[0])


class ReadRun(TokenRule):
    """A bearer token that may see feeds, and a run that there is."""

    def __call__(self, request: Request, run: PathWord) -> Granted:  # type: ignore[override]
        """Return who it is and the run."""
        caller = super().__call__(request)
        with told():
            return Granted(caller, desk_of(request).find(run))


Seen = Annotated[Granted, Depends(ReadRun("feeds:read"))]
Decided = Annotated[Granted, Depends(OfRun("feeds:approve:{source}"))]


# ------------------------------------------------------------------------------------------------------- looking


@router.get("/{source}/runs", operation_id="list_runs", summary="List the runs of a feed", response_model=RunPage,
            dependencies=[needs("feeds:read")], responses={200: NEXT_LINK, **problems(404)})  # fmt: skip
def list_runs(
    request: Request, response: Response, source: PathWord,
    state: Annotated[list[RunState], Query(description="Only in these states.")] = [],  # noqa: B006 (never changed)
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """List the runs of a feed, the newest first: plans, and what became of them."""
    with told():
        desk_of(request).feed(source)
    which = [feed_run.c.source == source]
    if state:
        which.append(feed_run.c.state.in_(state))
    if (before := after(cursor, ids=True)) is not None:
        which.append(feed_run.c.id < before)
    with muster(request).database.read() as conn:
        found = runs.latest(conn, *which, limit=limit + 1)
    return page(request, response, [run.as_json() for run in found], limit, "id")


@router.get("/runs/{run}", operation_id="show_run", summary="Show a run", response_model=RunShown, responses=problems(404))
def show_run(request: Request, seen: Seen) -> dict[str, Any]:
    """Show a run by its id or its plan's hash (8 characters will do), and how far its jobs are."""
    return run_json(request, seen.run)


@router.get("/runs/{run}/actions", operation_id="list_actions", summary="List the lines of a plan",
            response_model=ActionPage, responses={200: NEXT_LINK, **problems(404)})  # fmt: skip
def list_actions(
    request: Request, response: Response, seen: Seen,
    action: Annotated[list[Word], Query(description=f"Only these: {', '.join(ACTIONS)}.")] = [],  # noqa: B006
    person: Annotated[Word | None, Query(description="Only this person, by the id in the source.")] = None,
    refused: Annotated[bool, Query(description="Only what was refused, and whose jobs did not succeed.")] = False,
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """List the lines of a plan in order: each person with what changes, before and after, and what became of the jobs."""
    if unknown := sorted(set(action) - ACTIONS.keys()):
        raise _invalid("query.action", f"there is no {unknown[0]!r}; there are {', '.join(ACTIONS)}")
    number = after(cursor) or "0"
    if not (number.isdecimal() and number.isascii() and len(number) < 10):
        raise _invalid("query.cursor", "it is not the cursor of a page before")
    with muster(request).database.read() as conn:
        found = plan_view.page(conn, seen.run, LineFilter(action, person, refused), after=int(number), limit=limit + 1)
    return page(request, response, found, limit, "number")


def _invalid(field: str, problem: str) -> Problem:
    return Problem(422, "invalid", f"The request is not acceptable: {field}: {problem}.", errors=[{"field": field, "problem": problem}])


@router.get(
    "/runs/{run}/failed-rows", operation_id="failed_rows", summary="Download the failed rows", response_class=Response,
    responses={200: {"description": "The records.", "content": {"text/csv": {}, "application/x-ndjson": {}}},
               204: {"description": "Nothing was refused, and no job failed."}, **problems(404)},
)  # fmt: skip
def failed_rows(request: Request, seen: Seen) -> Response:
    """Download the records that were refused or whose jobs failed, as they came, with what was wrong with each.

    Correct them and hand them in again; whoever is not in that file is left alone.
    """
    with told():
        feed = desk_of(request).feed(seen.run.source)
    table = seen.run.origin == "file" and feed.form == "csv"
    folder = tempfile.TemporaryDirectory(prefix="muster-failed-", ignore_cleanup_errors=True)
    target = Path(folder.name) / f"failed-{shown(seen.run)}.{'csv' if table else 'ndjson'}"
    try:
        if not plan_view.write_failed(muster(request).database, feed, seen.run, target):
            folder.cleanup()
            return Response(status_code=204)
    except BaseException:
        folder.cleanup()
        raise
    encoding = seen.run.reading.get("encoding") or "utf-8"
    kind = f"{'text/csv' if table else 'application/x-ndjson'}; charset={encoding}"
    return FileResponse(target, media_type=kind, filename=target.name, background=BackgroundTask(folder.cleanup))


# ------------------------------------------------------------------------------------------------------ deciding


@router.post("/runs/{run}/approve", operation_id="approve_run", summary="Approve a held plan", response_model=RunShown,
             responses=problems(400, 404, 409))  # fmt: skip
def approve_run(request: Request, why: Reason, decided: Decided) -> dict[str, Any]:
    """Release a held plan, this very one and for a day. It is carried out by `apply`."""
    with told():
        return run_json(request, desk_of(request).approve(decided.run, by=decided.caller.source, reason=why.reason))


@router.post("/runs/{run}/drop", operation_id="drop_run", summary="Put a plan aside", response_model=RunShown,
             responses=problems(400, 404, 409))  # fmt: skip
def drop_run(request: Request, why: Reason, decided: Decided) -> dict[str, Any]:
    """Put a plan aside for good; nothing of it is carried out."""
    with told():
        return run_json(request, desk_of(request).drop(decided.run, by=decided.caller.source, reason=why.reason))


@router.post(
    "/runs/{run}/apply", operation_id="apply_run", summary="Carry out a plan", response_model=RunShown,
    responses={200: {"headers": LOCATION}, **problems(404, 409),
               202: {"description": "It is decided, and being carried out.", "model": RunShown, "headers": LOCATION}},
)  # fmt: skip
def apply_run(request: Request, response: Response, decided: Decided) -> dict[str, Any]:
    """Carry out a plan. 200: all of it has become jobs; 202: it is decided, and goes on, whatever becomes of this server."""
    feeds = desk_of(request)
    with told():
        found = feeds.decide(decided.run)
        if decided.run.state in (PLANNED, APPROVED) and found.state != APPLIED:
            # Beyond the decision nothing can be lost: what this server does not carry out, the next worker does.
            carried = in_background(lambda: feeds.carry(found))
            try:
                found = carried.result(WAIT_SECONDS)
            except (TimeoutError, Busy, Unreachable):
                found = feeds.find(found.id)
    response.headers["Location"] = address_of_run(found.id)
    response.status_code = 200 if found.state == APPLIED else 202
    return run_json(request, found)


# ------------------------------------------------------------------------------------------------------ progress


@router.get(
    "/runs/{run}/events", operation_id="watch_run", summary="Watch a run", response_class=StreamingResponse,
    responses={200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}}, **problems(404)},
)  # fmt: skip
async def watch_run(request: Request, seen: Seen) -> StreamingResponse:
    """Watch a run: an event `progress` whenever it moved, and `end` once all its jobs have ended or it was put aside."""
    headers = {"X-Accel-Buffering": "no"}  # nginx would keep the events until there are many
    return StreamingResponse(_events(request, seen), media_type="text/event-stream", headers=headers)


async def _events(request: Request, seen: Granted) -> AsyncIterator[bytes]:
    """Look, tell, and wait without holding a thread or a connection."""
    last: dict[str, Any] | None = None
    spoke = time.monotonic()
    while not request.app.state.closing.is_set():
        began = time.monotonic()
        try:
            now = await run_in_threadpool(_look, request, seen)
        except (Busy, Unreachable):
            now = last
        if now is None and last is not None:
            return  # the token opens nothing any more
        took = time.monotonic() - began
        if now is not None and now != last:
            last, spoke = now, time.monotonic()
            yield format_sse_event(event="end" if now["ended"] else "progress", data_str=json.dumps(now))
            if now["ended"]:
                return
        elif time.monotonic() - spoke >= HEARTBEAT_SECONDS:
            spoke = time.monotonic()
            yield format_sse_event(comment="nothing new")
        pause = LOOK_SECONDS if last is None or last["moving"] else LOOK_SECONDS_WAITING
        await anyio.sleep(max(pause, LOOK_SHARE * took))


def _look(request: Request, seen: Granted) -> dict[str, Any] | None:
    """How the run stands now; None if whoever looks may not look any more."""
    app = muster(request)
    with app.database.read() as conn:
        known = api_tokens.by_id(conn, seen.caller.id, app.clock())
        if known is None or not known[0].may("feeds:read"):
            return None
        run = runs.get(conn, seen.run.id)
        jobs = plan_view.progress(conn, run)
    return {
        "run": run.id, "state": run.state, "carried": run.carried, "total": run.total, "jobs": jobs,
        "moving": run.state in ("planning", "applying", "applied"),
        "ended": run.state in (REFUSED, DROPPED) or run.finished_at is not None,
    }  # fmt: skip
