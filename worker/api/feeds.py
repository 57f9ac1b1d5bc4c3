"""Feeds over HTTP: what is declared and how it stands, files to be planned, messages, and cases to be decided."""

import io
import json
import logging
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from worker import messages, plan_view
from worker.api.feed_models import (
    LOCATION,
    NEXT_LINK,
    NO_FORM,
    CasePage,
    CaseShown,
    Decision,
    FeedList,
    MessagesTaken,
    RunShown,
)
from worker.api.models import problems
from worker.api.paging import USUAL_PAGE, Cursor, Limit, PathWord, Word, after, page
from worker.api_tokens import Caller
from worker.feeds import cases
from worker.feeds.apply import NotApplied
from worker.feeds.config import WrongFeed
from worker.feeds.desk import Feeds, NoSuchFeed
from worker.feeds.overview import overview
from worker.feeds.pushing import submit_lines, submit_objects
from worker.feeds.runs import NoSuchRun, Run
from worker.scope import Scope
from worker.web.gate import TokenRule, muster, needs, require
from worker.web.problems import Problem

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/feeds", tags=["feeds"])

T = TypeVar("T")

# A plan that is made in this time is answered at once; what takes longer is looked at under its address.
WAIT_SECONDS = 5.0
# Planning is work for one core each; more at once would keep everybody else at this server waiting.
PLANS_AT_ONCE = 2
BUSY_SECONDS = 30
LONGEST_NAME = 100
# Forms of web pages, which change line ends and put parts around a file.
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
_planning = threading.BoundedSemaphore(PLANS_AT_ONCE)

Pusher = Annotated[Caller, needs("feeds:push:{source}")]


# -------------------------------------------------------------------------------------------------------- ground


def desk_of(request: Request) -> Feeds:
    """The declared feeds."""
    with told():
        return muster(request).feeds()


@contextmanager
def told() -> Iterator[None]:
    """Turn what the feeds refuse into problems, with their sentences."""
    try:
        yield
    except (NoSuchFeed, NoSuchRun) as error:
        code = "no_such_feed" if isinstance(error, NoSuchFeed) else "no_such_run"
        raise Problem(404, code, str(error)) from None
    except NotApplied as error:
        raise Problem(409, "not_applied", str(error)) from None
    except cases.CannotDecide as error:
        raise Problem(422, "cannot_decide", str(error)) from None
    except WrongFeed:
        # Its words quote the file, which is nobody's business here.
        log.error("feed.declared_wrongly")
        raise Problem(503, "feeds_declared_wrongly", "The feeds are declared wrongly in muster.toml. `muster doctor` says where.") from None


class OfSource(TokenRule):
    """A bearer token with a scope for the feed that something in the path belongs to."""

    def granted(self, request: Request, source: Callable[[], str | None], missing: Problem) -> Caller:
        """Return the caller. `source` says whose it is, None if there is nothing; only then is `missing` the answer.

        Whoever may not read feeds does not learn what there is in those of others.
        """
        caller = TokenRule()(request)
        [scope] = self.scopes
        some = [scope.format(source=name) for name in ("*", *desk_of(request).feeds)]
        owner = source()
        if owner is not None and caller.may(scope.format(source=owner)):
            return caller
        if not any(caller.may(one) for one in some):
            require(caller, some[0])
        if owner is not None and caller.may("feeds:read"):
            require(caller, scope.format(source=owner))
        raise missing


class OfCase(OfSource):
    """A bearer token with this scope for the feed of the case in the path."""

    def __call__(self, request: Request) -> Caller:
        """Return who it is."""
        case_id = request.path_params["case"]

        def source() -> str | None:
            with muster(request).database.read() as conn:
                found = cases.find_case(conn, case_id)
            return None if found is None else found.source

        return self.granted(request, source, Problem(404, "no_such_case", f"There is no case {case_id!r}."))


def in_background(work: Callable[[], T]) -> "Future[T]":
    """Begin work that goes on after the answer; when the server ends meanwhile, workers go on with it or nothing was done."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            log.warning("feed.background_failed", extra={"error": type(error).__name__})
            future.set_exception(error)

    threading.Thread(target=run, name="feed", daemon=True).start()
    return future


def run_json(request: Request, run: Run) -> dict[str, Any]:
    """The object of a run."""
    with muster(request).database.read() as conn:
        return plan_view.run_json(conn, run)


def address_of_run(run_id: str) -> str:
    """Where a run is found."""
    return f"/v1/feeds/runs/{run_id}"


# --------------------------------------------------------------------------------------------------------- feeds


@router.get("", operation_id="list_feeds", summary="List the feeds", response_model=FeedList,
            dependencies=[needs("feeds:read")], responses=problems())  # fmt: skip
def list_feeds(request: Request) -> dict[str, Any]:
    """List the declared feeds: their people, their last runs, and what of them waits for somebody."""
    feeds = desk_of(request)
    with muster(request).database.read() as conn:
        return {"items": [overview(conn, feed) for _, feed in sorted(feeds.feeds.items())]}


@router.post(
    "/{source}/plans", operation_id="plan_file", summary="Plan a file", status_code=201, response_model=RunShown,
    responses={201: {"description": "The plan, also where it is held or the input was refused.", "headers": LOCATION},
               202: {"description": "It is still being planned.", "model": RunShown, "headers": LOCATION},
               **problems(404, 408, 413), **NO_FORM},
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def plan_file(
    request: Request, response: Response, source: PathWord, caller: Pusher,
    delta: Annotated[bool, Query(description="Some records of a feed of full files: whoever is not in it is not missing.")] = False,
    name: Annotated[Word | None, Query(description="The file's name, else that of Content-Disposition.")] = None,
) -> dict[str, Any]:
    """Plan a file, which is the body as it is. Nothing is changed, no mail is sent.

    201 with the plan, or 202 while a large one is being made: its address tells when it is there. The same file planned
    again gives the same plan.
    """
    feeds = desk_of(request)
    with told():
        feeds.feed(source)
    _no_form(request)
    folder = tempfile.TemporaryDirectory(prefix="muster-plan-", ignore_cleanup_errors=True)
    try:
        path = Path(folder.name) / _file_name(request, name)
        with path.open("wb") as file:
            async for chunk in request.stream():
                await run_in_threadpool(file.write, chunk)
        run = await run_in_threadpool(_planned, feeds, source, path, delta, caller, folder)
    except BaseException:
        folder.cleanup()
        raise
    response.headers["Location"] = address_of_run(run.id)
    response.status_code = 202 if run.state == "planning" else 201
    return await run_in_threadpool(run_json, request, run)


def _planned(
    feeds: Feeds, source: str, path: Path, delta: bool, caller: Caller, folder: "tempfile.TemporaryDirectory[str]"
) -> Run:
    """Plan a file; returns the run as it stands after a while. The folder goes with the end of the planning."""
    if path.stat().st_size == 0:
        raise Problem(422, "empty", "The body is empty. Send the file itself, as with curl --data-binary @people.csv.")
    if not _planning.acquire(blocking=False):
        raise Problem(503, "busy", f"This server is planning {PLANS_AT_ONCE} files already. Send it again in a while.",
                      headers={"Retry-After": str(BUSY_SECONDS)})  # fmt: skip
    began: Future[str] = Future()

    def work() -> Run:
        try:
            return feeds.plan_file(source, path, by=caller.source, delta=delta, began=began.set_result)
        finally:
            _planning.release()
            folder.cleanup()

    planned = in_background(work)
    wait([planned], WAIT_SECONDS)
    either: list[Future[Any]] = [planned, began]
    wait(either, return_when=FIRST_COMPLETED)
    with told():
        return planned.result() if planned.done() else feeds.find(began.result())


def _no_form(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        raise Problem(
            415, "no_form", f"The body is taken as it is, not as {kind}. Name what it is, as with curl "
            "-H 'Content-Type: text/csv' --data-binary @people.csv.",
        )  # fmt: skip


def _file_name(request: Request, given: str | None) -> str:
    """Return a name that no folder and no listing stumbles over: the last part of what was given."""
    header = Message()
    header["Content-Disposition"] = re.sub(r"[\r\n]", " ", request.headers.get("content-disposition", ""))
    said = given or header.get_filename() or ""
    last = re.sub(r"[^\w .()+-]", "_", re.split(r"[/\\]", said)[-1]).strip(" .")
    return last.encode()[:LONGEST_NAME].decode("utf-8", "ignore") or "upload"


# ------------------------------------------------------------------------------------------------------ messages


@router.post(
    "/{source}/messages", operation_id="push_messages", summary="Hand in messages", status_code=202,
    response_model=MessagesTaken, responses={**problems(400, 404, 408, 413), **NO_FORM},
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}, "application/x-ndjson": {}}}},
)  # fmt: skip
async def push_messages(request: Request, source: PathWord, caller: Pusher) -> dict[str, Any]:
    """Hand in messages: a JSON object, a list of them, or one a line (application/x-ndjson).

    Each is stored once, then planned by the workers within seconds. The answer says of each what became of it.
    """
    with told():
        desk_of(request).feed(source)
    _no_form(request)
    body = await request.body()
    return await run_in_threadpool(_push, request, source, body, caller)


def _push(request: Request, source: str, body: bytes, caller: Caller) -> dict[str, Any]:
    submit = muster(request).submit
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        found = _json(body)
        one_by_one = submit_objects(
            submit, source, found if isinstance(found, list) else [found], door=caller.source, asker=caller.source
        )
    else:
        one_by_one = submit_lines(submit, source, io.BytesIO(body), door=caller.source, asker=caller.source)
    totals: dict[str, int] = {"new": 0, "duplicate": 0, "refused": 0}
    told_of = [messages.as_json(answer) for answer in messages.counted(one_by_one, totals)]
    if not told_of:
        raise Problem(422, "empty", "There is no message in the body.")
    if totals["refused"] == len(told_of):
        errors = [{"field": str(one["line"]), "problem": str(one["reason_text"])} for one in told_of[:20]]
        raise Problem(422, "refused", f"No message was taken. The first: {errors[0]['problem']}", errors=errors)
    return {**totals, "items": told_of}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise Problem(400, "unreadable", "The body is nested too deeply.") from None
    except ValueError as error:
        where = getattr(error, "pos", None)
        raise Problem(400, "unreadable", "The body is not JSON" + (f", at character {where + 1}." if where is not None else ".")) from None


# --------------------------------------------------------------------------------------------------------- cases


@router.get("/cases", operation_id="list_cases", summary="List cases", response_model=CasePage,
            dependencies=[needs("feeds:read")], responses={200: NEXT_LINK, **problems()})  # fmt: skip
def list_cases(
    request: Request, response: Response,
    source: Annotated[Word | None, Query(description="Only of this feed.")] = None,
    state: Annotated[Literal["open", "all"], Query(description="Only open ones, or decided ones too.")] = "open",
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """List people of whom somebody has to say whose account they have, the oldest case first."""
    wanted = "open" if state == "open" else None
    with muster(request).database.read() as conn:
        found = cases.list_cases(conn, source, wanted, after=after(cursor, ids=True), limit=limit + 1)
    return page(request, response, [cases.as_json(one) for one in found], limit, "id")


@router.post("/cases/{case}/decide", operation_id="decide_case", summary="Decide a case", response_model=CaseShown,
             responses=problems(400, 404))  # fmt: skip
def decide_case(
    request: Request, case: PathWord, decision: Decision, caller: Annotated[Caller, Depends(OfCase("feeds:approve:{source}"))]
) -> dict[str, Any]:
    """Decide a case; the next run of its feed acts on it."""
    app = muster(request)
    with told():
        decided = app.database.transact(
            lambda conn: cases.decide(
                Scope(conn, app.clock(), app.settings), case, decision.decision, decision.account, by=caller.source,
                reason=decision.reason,
            )
        )
    return cases.as_json(decided)
