"""Jobs in the console: found by what is known of them, told as a story, and steered, one or a whole filter."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from worker import listing, steering
from worker.app import App
from worker.console import story
from worker.console.aside import Aside
from worker.console.job_search import SHAPES, SPANS, UNDELIVERED_WORD, JobSearch, job_named
from worker.console.now import pulse
from worker.console.render import fragment, page
from worker.console.session import HOME, Form, Visitor, seen_by
from worker.ids import is_id
from worker.listing import JobFilter
from worker.states import FINISHED, State
from worker.steering import Move
from worker.web.gate import muster
from worker.web.problems import Problem

JOBS = f"{HOME}/jobs"
ROWS = 50
#: What is done to the jobs: the words of the button, what they will be, and what was done to them.
MOVES: Mapping[Move, tuple[str, str, str]] = {
    Move.RETRY: ("Retry", "will be tried afresh", "brought back"),
    Move.RELEASE: ("Release", "will go on", "released"),
    Move.CANCEL: ("Cancel", "will not be done", "cancelled"),
}

router = APIRouter(include_in_schema=False)


# -------------------------------------------------------------------------------------------------------- looking


@router.get(JOBS)
def show(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read")]) -> Response:
    """The jobs of a filter, the newest first; the next page begins after the last job of this one."""
    app = muster(request)
    search = JobSearch.read(request.query_params)
    before = request.query_params.get("before", "")
    with app.database.read() as conn:
        if search.subject and (one := job_named(conn, search.subject)) is not None:
            return RedirectResponse(f"{JOBS}/{one}", 303)
        wanted, problems = search.wanted(app, conn)
        rows = listing.jobs(conn, wanted, limit=ROWS + 1, before=before if is_id(before) else None)
    shown = [] if problems else rows[:ROWS]
    following = search.address(JOBS, before=shown[-1]["id"]) if shown and len(rows) > ROWS else ""
    moves = [(str(move), words) for move, (words, _, _) in MOVES.items() if _fits(move, search)]
    return page(
        request, visitor, "jobs.html", status=422 if problems else 200, rows=shown, search=search, problems=problems,
        following=following, first=search.address(JOBS) if before else "", path=JOBS, kinds=sorted(kind.name for kind in app.registry),
        states=list(State), spans=SPANS, shapes=SHAPES, undelivered=UNDELIVERED_WORD, moved=_moved(request),
        moves=moves if search.fields and shown and visitor.may("jobs:operate") else [],
    )  # fmt: skip


def _fits(move: Move, search: JobSearch) -> bool:
    """Whether a button for it is of any use for what the filter shows."""
    states = set(search.state.split(",")) if search.state else set(State)
    if search.ended or search.reason:
        states &= {*FINISHED, State.HELD, State.UNKNOWN}
    ended = states & FINISHED - {State.SUCCEEDED}
    if move is Move.RETRY:
        return bool(ended | states & {State.HELD, State.UNKNOWN})
    if move is Move.RELEASE:
        return State.HELD in states
    return bool(states - FINISHED)


def _moved(request: Request) -> str:
    """What was just done, for a line at the top of the page."""
    given = request.query_params
    count, move = given.get("moved", ""), given.get("move", "")
    if not count.isdecimal() or len(count) > 9 or move not in set(Move):
        return ""
    jobs = f"{int(count):,} {'job was' if int(count) == 1 else 'jobs were'}"
    going_on = " so far; it goes on" if given.get("going_on") else ""
    return f"{jobs} {MOVES[Move(move)][2]}{going_on}."


@router.get(f"{JOBS}/refusals")
def refusals(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read")], before: str = "") -> Response:
    """Messages that never became jobs, and why."""
    with muster(request).database.read() as conn:
        rows = listing.refusals(conn, limit=ROWS + 1, before=before if is_id(before) else None)
    following = f"{JOBS}/refusals?before={rows[ROWS - 1]['id']}" if len(rows) > ROWS else ""
    return page(request, visitor, "jobs_refusals.html", rows=rows[:ROWS], following=following, path=JOBS)


# ------------------------------------------------------------------------------------------------ a whole filter


@router.get(f"{JOBS}/move")
def ask(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read", "jobs:operate")], move: str = "") -> Response:
    """How many jobs it would be, by kind and state, and the button that does it."""
    return _ask(request, visitor, _move(move), JobSearch.read(request.query_params))


@router.post(f"{JOBS}/move")
def carry_out(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read", "jobs:operate")], form: Form) -> Response:
    """Do it to all of them; asks once more when there are more by now than were shown."""
    app = muster(request)
    move = _move(str(form.get("move", "")))
    search = JobSearch.read(form)
    shown = str(form.get("shown", ""))
    with app.database.read() as conn:
        wanted = _whole(app, conn, search)
        total = sum(row["count"] for row in listing.job_counts(conn, wanted, steering.movable(app, move, visitor.caller)))
    if not shown.isdecimal() or len(shown) > 9 or total > int(shown):
        return _ask(request, visitor, move, search, again=True)
    done = _Done()
    aside = Aside(lambda: done.all(steering.steer(app, move, wanted, by=visitor.caller, advance=done.part)))
    aside.settled()
    pulse(request).forget()
    # Who was retried is failed no more: the list of what one asked for would be empty, so the kinds are shown instead.
    there = replace(search, state="", reason="", ended="")
    going_on = "yes" if aside.is_alive() else ""
    return RedirectResponse(there.address(JOBS, moved=str(done.count), move=str(move), going_on=going_on), 303)


class _Done:
    """How many were done so far, for whoever does not wait for the end."""

    count = 0

    def part(self, gone_through: int, _of: int) -> None:
        self.count = gone_through

    def all(self, moved: int) -> None:
        self.count = moved


def _ask(request: Request, visitor: Visitor, move: Move, search: JobSearch, *, again: bool = False) -> Response:
    app = muster(request)
    with app.database.read() as conn:
        wanted = _whole(app, conn, search)
        counts = listing.job_counts(conn, wanted, steering.movable(app, move, visitor.caller))
    words, will, _ = MOVES[move]
    return page(
        request, visitor, "jobs_move.html", status=409 if again else 200, move=str(move), words=words, will=will,
        counts=counts, total=sum(row["count"] for row in counts), search=search, again=again, path=JOBS,
        back=search.address(JOBS),
    )  # fmt: skip


def _whole(app: App, conn: Connection, search: JobSearch) -> JobFilter:
    """The filter of jobs to be moved. Raises Problem 422 when it names nothing, or what there is not."""
    wanted, problems = search.wanted(app, conn)
    if not search.fields:
        problems = ["Say which jobs: choose a kind, a state or another filter first."]
    if problems:
        raise Problem(422, "bad_filter", " ".join(problems))
    return wanted


def _move(word: str) -> Move:
    if word not in set(Move):
        raise Problem(422, "no_such_move", "Jobs can be retried, released and cancelled.")
    return Move(word)


# -------------------------------------------------------------------------------------------------------- one job


@router.get(f"{JOBS}/{{job_id}}")
def show_one(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read")], job_id: str) -> Response:
    """A job's story."""
    return page(request, visitor, "jobs_one.html", **_told(request, visitor, job_id), moved=_moved(request))


@router.get(f"{JOBS}/{{job_id}}/live")
def live_one(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read")], job_id: str) -> Response:
    """The same, without what stands around it, for as long as the job has not ended."""
    facts = _told(request, visitor, job_id)
    # htmx asks no more after this status.
    status = 286 if facts["job"]["state"] in FINISHED else 200
    return fragment(request, visitor, "jobs_story.html", status=status, **facts)


@router.post(f"{JOBS}/{{job_id}}/{{move}}")
def move_one(
    request: Request, visitor: Annotated[Visitor, seen_by("jobs:read", "jobs:operate")], job_id: str, move: str
) -> Response:
    """Retry, release or cancel one job."""
    app = muster(request)
    wanted = _move(move)
    if not is_id(job_id):
        raise _no_such(job_id)
    moved = steering.steer(app, wanted, JobFilter(ids=[job_id]), by=visitor.caller)
    pulse(request).forget()
    if not moved:
        word = MOVES[wanted][2]
        raise Problem(409, "cannot_move", f"This job cannot be {word} as it stands now. Its page says how it stands: {job_id}.")
    return RedirectResponse(f"{JOBS}/{job_id}?moved=1&move={wanted}", 303)


def _told(request: Request, visitor: Visitor, job_id: str) -> dict[str, Any]:
    app = muster(request)
    with app.database.read() as conn:
        whole = job_named(conn, job_id)
        found = None if whole is None else story.told(conn, app.registry, whole)
        if found is None:
            raise _no_such(job_id)
        one = JobFilter(ids=[found["job"]["id"]])
        moves = [
            (str(move), words) for move, (words, _, _) in MOVES.items() if listing.job_ids(conn, one, steering.movable(app, move, visitor.caller))
        ] if visitor.may("jobs:operate") else []  # fmt: skip
    return found | {"moves": moves, "path": JOBS, "ended": found["job"]["state"] in FINISHED}


def _no_such(job_id: str) -> Problem:
    return Problem(404, "unknown_job", f"There is no job {job_id[:40]}, or it was so long ago that it was forgotten.")
