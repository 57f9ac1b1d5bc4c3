"""Feeds in the console: what HR's files and messages would change, what holds a plan, and whose decision is wanted."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import APIRouter, Request, UploadFile
from fastapi.responses import FileResponse, RedirectResponse, Response
from sqlalchemy import Column, ColumnElement, Connection, func, select
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile as Uploaded

from worker import plan_view
from worker.app import App
from worker.console.aside import Aside
from worker.console.render import fragment, page
from worker.console.session import HOME, Form, Visitor, seen_by
from worker.feed_tables import feed_case, feed_message, feed_run
from worker.feeds import cases, persons, runs
from worker.feeds.apply import NotApplied
from worker.feeds.cases import CannotDecide
from worker.feeds.codes import ACTIONS, CODES
from worker.feeds.config import WrongFeed
from worker.feeds.desk import Feeds, NoSuchFeed
from worker.feeds.records import Unreadable
from worker.feeds.runs import NoSuchRun, Run
from worker.plan_view import LineFilter
from worker.scope import Scope
from worker.web.gate import muster, require
from worker.web.problems import Problem

FEEDS = f"{HOME}/feeds"
# As many runs, lines or cases as a screen or two hold; the rest is a page further.
SHOWN = 50
# A plan that still moves by itself: it is looked at again until it stands.
MOVING = frozenset({"planning", "applying"})

# htmx shows an answer with this status and asks no more.
STOP = 286

router = APIRouter(include_in_schema=False)


# ---------------------------------------------------------------------------------------------------- overview


@router.get(FEEDS)
def overview(
    request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], source: str = "", state: str = "", before: str = ""
) -> Response:
    """The declared feeds, what waits at each, and the latest runs."""
    app = muster(request)
    wrong, feeds = None, {}
    try:
        feeds = dict(app.feeds().feeds)
    except WrongFeed as error:
        wrong = str(error)
    which: list[ColumnElement[bool]] = [feed_run.c.source == source] if source else []
    which += [feed_run.c.state == state] if state else []
    with app.database.read() as conn:
        if before:
            which.append(feed_run.c.id < _run(app, before).id)
        found = runs.latest(conn, *which, limit=SHOWN + 1)
        waiting = _counted(conn, feed_message.c.source, feed_message.c.state == "new")
        held = _counted(conn, feed_run.c.source, feed_run.c.state == "held")
        asked = _counted(conn, feed_case.c.source, feed_case.c.state == "open")
        people = {name: persons.present(conn, name) for name in feeds}
    return page(
        request, visitor, "feeds/overview.html", feeds=feeds.values(), wrong=wrong, waiting=waiting, held=held, asked=asked,
        people=people, runs=found[:SHOWN], further=found[SHOWN - 1].id if len(found) > SHOWN else None, source=source,
        state=state, counted=_counted_words,
    )  # fmt: skip


def _counted(conn: Connection, column: Column[str], *which: ColumnElement[bool]) -> Counter[str]:
    rows = conn.execute(select(column, func.count()).where(*which).group_by(column))
    return Counter({str(row[0]): int(row[1]) for row in rows})


def _counted_words(run: Run) -> str:
    """What a plan would do, in words: 3 joiners, 1 leaver."""
    told = [f"{run.counts[name]:,} {words[0 if run.counts[name] == 1 else 1]}" for name, words in ACTIONS.items() if run.counts.get(name)]
    return ", ".join(told) or f"{run.counts.get('unchanged', 0):,} unchanged"


@router.post(f"{FEEDS}/{{source}}/plan")
def plan(
    request: Request, visitor: Annotated[Visitor, seen_by("feeds:read", "feeds:push:{source}")], form: Form, source: str
) -> Response:
    """Plan a file that was handed in. Nothing is changed by it."""
    given = form.get("file")
    if not isinstance(given, (UploadFile, Uploaded)) or not given.filename:
        raise Problem(422, "no_file", "No file was chosen. Choose one, then plan it.")
    name = Path(given.filename.replace("\\", "/")).name[:200] or "file"
    app = muster(request)
    with _said(), TemporaryDirectory(prefix="muster-plan-") as folder:
        feeds = app.feeds()
        feeds.feed(source)
        path = Path(folder) / (name if name.strip(".") else "file")
        with path.open("wb") as file:
            copyfileobj(given.file, file)
        run = feeds.plan_file(source, path, by=visitor.caller.source, delta=form.get("delta") == "yes")
    return RedirectResponse(f"{FEEDS}/runs/{run.id}", 303)


# ----------------------------------------------------------------------------------------------------- one run


@router.get(f"{FEEDS}/runs/{{name}}")
def show(
    request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], name: str, action: str = "", person: str = "",
    trouble: str = "", after: int = 0,
) -> Response:
    """A run: what it was made of, what it would change or did, line by line, and what holds it."""
    app = muster(request)
    run = _run(app, name)
    wanted = LineFilter([action] if action else (), person or None, bool(trouble))
    with app.database.read() as conn:
        counts = Counter({one: sum(codes.values()) for one, codes in plan_view.counts(conn, run, LineFilter()).items()})
        found = plan_view.page(conn, run, wanted, after=min(max(after, 0), run.total + 1), limit=SHOWN + 1)
    return page(
        request, visitor, "feeds/run.html", run=run, counts=counts, lines=found[:SHOWN],
        further=found[SHOWN - 1]["number"] if len(found) > SHOWN else None, action=action, person=person, trouble=trouble,
        after=after, actions=ACTIONS, codes=CODES, order=[*ACTIONS, *sorted(counts.keys() - ACTIONS.keys())],
        **_standing(app, run), may_decide=visitor.may(f"feeds:approve:{run.source}"),
    )  # fmt: skip


@router.get(f"{FEEDS}/runs/{{name}}/standing")
def standing(request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], name: str) -> Response:
    """How far a run is; asked for again and again while it moves."""
    app = muster(request)
    run = _run(app, name)
    found = _standing(app, run)
    return fragment(request, visitor, "feeds/standing.html", status=200 if found["moving"] else STOP, run=run, **found)


def _standing(app: App, run: Run) -> dict[str, Any]:
    with app.database.read() as conn:
        jobs = Counter(plan_view.progress(conn, run))
    unfinished = run.applied_at is not None and run.finished_at is None
    return {"jobs": jobs, "moving": run.state in MOVING or unfinished}


@router.post(f"{FEEDS}/runs/{{name}}/approve")
def approve(request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], form: Form, name: str) -> Response:
    """Release a held plan, with a reason; and carry it out at once when that was asked for."""
    run, feeds = _to_decide(request, visitor, name)
    with _said():
        run = feeds.approve(run, by=visitor.caller.source, reason=_reason(form))
        if form.get("then") == "apply":
            _carry(feeds, run)
    return RedirectResponse(f"{FEEDS}/runs/{run.id}", 303)


@router.post(f"{FEEDS}/runs/{{name}}/apply")
def carry_out(request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], name: str) -> Response:
    """Decide for a plan and turn it into jobs."""
    run, feeds = _to_decide(request, visitor, name)
    with _said():
        _carry(feeds, run)
    return RedirectResponse(f"{FEEDS}/runs/{run.id}", 303)


@router.post(f"{FEEDS}/runs/{{name}}/drop")
def drop(request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], form: Form, name: str) -> Response:
    """Put a plan aside, with a reason. Nobody is changed."""
    run, feeds = _to_decide(request, visitor, name)
    with _said():
        feeds.drop(run, by=visitor.caller.source, reason=_reason(form))
    return RedirectResponse(f"{FEEDS}/runs/{run.id}", 303)


def _to_decide(request: Request, visitor: Visitor, name: str) -> tuple[Run, Feeds]:
    app = muster(request)
    run = _run(app, name)
    require(visitor.caller, f"feeds:approve:{run.source}")
    with _said():
        return run, app.feeds()


def _carry(feeds: Feeds, run: Run) -> None:
    """Carry a plan out beside the request: it may be a hundred thousand lines. Once decided, the workers go on with it."""
    Aside(lambda: feeds.apply(run)).settled()


def _reason(form: Form) -> str:
    reason = str(form.get("reason") or "").strip()
    if not reason:
        raise Problem(422, "no_reason", "Say why. The reason is kept with the plan, for whoever asks later.")
    return reason[:4_000]


@router.get(f"{FEEDS}/runs/{{name}}/failed-rows", dependencies=[seen_by("feeds:read")])
def failed_rows(request: Request, name: str) -> Response:
    """The records that were refused or failed, as the input was, with what is wrong beside each."""
    app = muster(request)
    run = _run(app, name)
    folder = TemporaryDirectory(prefix="muster-failed-")
    with _said():
        feed = app.feeds().feed(run.source)
        ending = ".ndjson" if run.origin != "file" else Path(run.input or "rows.csv").suffix
        target = Path(folder.name) / f"failed-{runs_name(run)}{ending}"
        if not plan_view.write_failed(app.database, feed, run, target):
            raise Problem(404, "nothing_failed", "Nothing was refused, and no job failed: there is nothing to correct.")
    return FileResponse(
        target, media_type="application/octet-stream", filename=target.name, background=BackgroundTask(folder.cleanup)
    )


def runs_name(run: Run) -> str:
    """What names a run in a sentence or a file's name."""
    return run.hash[: runs.HASH_SHOWN] if run.hash else run.id[:18]


# ------------------------------------------------------------------------------------------------------- cases


@router.get(f"{FEEDS}/cases")
def list_cases(
    request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], source: str = "", everything: str = ""
) -> Response:
    """People of whom nobody but a person can say whose account they have."""
    with muster(request).database.read() as conn:
        found = cases.list_cases(conn, source or None, None if everything else "open")
    return page(
        request, visitor, "feeds/cases.html", cases=found[:SHOWN], more=max(0, len(found) - SHOWN), source=source,
        everything=everything, by_hand=cases.BY_HAND,
    )  # fmt: skip


@router.post(f"{FEEDS}/cases/{{case_id}}")
def decide(request: Request, visitor: Annotated[Visitor, seen_by("feeds:read")], form: Form, case_id: str) -> Response:
    """Decide a case; the next run of its feed acts on it."""
    app = muster(request)
    with app.database.read() as conn:
        case = next((one for one in cases.list_cases(conn, None, None) if one.id == case_id), None)
    if case is None:
        raise Problem(404, "not_found", "There is no such case any more. The list shows those that are open.")
    require(visitor.caller, f"feeds:approve:{case.source}")
    decision, _, account = str(form.get("decision") or "").partition(":")
    account = account or (str(form.get("account") or "").strip() if decision == "link" else "")
    reason = _reason(form)
    with _said():
        app.database.transact(lambda conn: cases.decide(
            Scope(conn, app.clock(), app.settings), case.id, decision, account or None, by=visitor.caller.source, reason=reason
        ))
    return RedirectResponse(f"{FEEDS}/cases", 303)


# ------------------------------------------------------------------------------------------------------ helpers


def _run(app: App, name: str) -> Run:
    try:
        with app.database.read() as conn:
            return runs.find(conn, name)
    except NoSuchRun:
        raise Problem(404, "not_found", "There is no such run. The list of runs shows those there are.") from None


@contextmanager
def _said() -> Iterator[None]:
    """Turn what the feeds refuse into what the browser is told."""
    try:
        yield
    except (NotApplied, CannotDecide) as error:
        raise Problem(409, "not_now", str(error)) from None
    except (Unreadable, WrongFeed) as error:
        raise Problem(422, "not_acceptable", str(error)) from None
    except (NoSuchFeed, NoSuchRun) as error:
        raise Problem(404, "not_found", str(error)) from None
