"""Jobs over HTTP: handing one in, watching it, listing, and bringing back, releasing or cancelling it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from worker import listing, power
from worker.api.gather import Gather
from worker.api.models import (
    Accepted,
    Job,
    JobPage,
    JobShown,
    KindList,
    KindListed,
    KindName,
    KindShown,
    Moment,
    NewJob,
    RefusalPage,
    problems,
)
from worker.api.paging import USUAL_PAGE, Cursor, Limit, PathWord, Word, after, page
from worker.api.waits import LONGEST_SECONDS, Waits
from worker.api_tokens import Caller
from worker.ids import is_id
from worker.intake import KEY_LENGTH, Acceptance
from worker.jobs import Kind
from worker.listing import JobFilter
from worker.states import FINISHED, State
from worker.steering import Move, steer
from worker.web.gate import authenticate, muster, needs, require
from worker.web.problems import Problem

if TYPE_CHECKING:
    from worker.app import App

router = APIRouter(prefix="/v1", tags=["jobs"])

# The draft's form: a String of RFC 9651. Inside the quotes only the quote and the backslash are escaped.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
# What people write without quotes: nothing that could be a list, a parameter or half a String.
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")

_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "The sender's name for this very job, in double quotes; the same key again is the same job. An id of "
    f"the event or the row it came from, 1 to {KEY_LENGTH} printable ASCII characters.",
    "schema": {"type": "string", "pattern": r'^"[ !#-\[\]-~]{1,255}"$'},
    "example": '"hire-1001"',
}
_NEXT_LINK = {"headers": {"Link": {"description": 'The next page, rel="next".', "schema": {"type": "string"}}}}
_HAS_ENDED = {State(state).value for state in FINISHED}

Wait = Annotated[
    int, Query(ge=0, le=LONGEST_SECONDS, description="Answer when the job has ended, or after so many seconds.")
]
Known = Annotated[Caller, needs()]
Reader = Annotated[Caller, needs("jobs:read")]


def key_of(headers: Sequence[str]) -> str:
    """Return the key in the values of Idempotency-Key. Raises Problem 400 unless there is exactly one good one."""
    if not headers:
        raise Problem(
            400, "key_missing", "The header Idempotency-Key is missing. Without it a request whose answer is lost could not be "
            'sent again safely. Send the id of the event or row that this job comes from: Idempotency-Key: "hire-1001".',
        )  # fmt: skip
    text = headers[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text if _BARE.fullmatch(text) else ""
    if len(headers) > 1 or not 0 < len(key) <= KEY_LENGTH:
        raise Problem(
            400, "bad_key", f"The header Idempotency-Key is not acceptable: one text in double quotes is, with 1 to {KEY_LENGTH} "
            "printable ASCII characters in it.",
        )  # fmt: skip
    return key


def refusal(answer: Acceptance) -> Problem:
    """Return why a job was not taken in, as a problem with field paths."""
    errors = [
        {"field": ".".join(filter(None, ("payload", one["field"]))), "problem": one["problem"]} for one in answer.errors
    ]
    field = {"unknown_kind": "kind", "newer_version": "version", "bad_payload": "payload"}.get(answer.reason or "")
    if field and not errors:
        errors = [{"field": field, "problem": answer.reason_text or ""}]
    status = 400 if answer.reason == "bad_key" else 422
    return Problem(status, answer.reason or "refused", answer.reason_text or "", errors=errors)


def too_far(caller: Caller, reach: power.Reach) -> Problem:
    """The answer to a job that reaches further than its kind says and than this caller may."""
    return Problem(
        403, "not_allowed", f"{reach.why}: for that the token {caller.name} lacks the scope {reach.scope}. An administrator "
        "can do it.", needed=reach.scope,
    )  # fmt: skip


def _gather(request: Request) -> Gather:
    """The one place of this server where single jobs are collected."""
    state = request.app.state
    if not hasattr(state, "gather"):
        state.gather = Gather(state.muster)
    found: Gather = state.gather
    return found


def _waits(request: Request) -> Waits:
    state = request.app.state
    if not hasattr(state, "waits"):
        state.waits = Waits(state.muster, state.closing)
    found: Waits = state.waits
    return found


async def _wait(request: Request, job_id: str, seconds: int) -> None:
    """Wait for a job's end. Raises Problem 401 for a token that was revoked, or expired, in the meantime."""
    await _waits(request).ended(job_id, seconds)
    await run_in_threadpool(authenticate, request)


# ------------------------------------------------------------------------------------------------- handing in


@router.post(
    "/jobs", operation_id="submit_job", summary="Hand in a job", status_code=202, response_model=Accepted,
    responses={
        200: {"model": Accepted, "description": "The job has ended: this key was known, or it was waited for."},
        202: {
            "description": "The job is taken in, or was before, and has not ended.",
            "headers": {"Location": {"description": "Where the job can be watched.", "schema": {"type": "string"}}},
        },
        **problems(400, 408, 413),
    },
    openapi_extra={"parameters": [_KEY_HEADER]},
)  # fmt: skip
async def submit(request: Request, new: NewJob, caller: Known, wait: Wait = 0) -> Response:
    """Take a job in. Needs the scope jobs:submit:KIND.

    The token is the source of the job, and a key is known within its source: another token's same key is another job.
    The same key with other content is refused: 422 key_reused.
    """
    key = key_of(request.headers.getlist("idempotency-key"))
    require(caller, f"jobs:submit:{new.kind}")
    wanted = new.asked_by(caller, key)
    answer = await _gather(request).submit(caller, wanted)
    if isinstance(answer, power.Reach):
        raise too_far(caller, answer)
    if answer.id is None:
        raise refusal(answer)
    if wait and answer.state not in _HAS_ENDED:
        await _wait(request, answer.id, wait)
        now = await run_in_threadpool(_standing, muster(request), JobFilter(ids=[answer.id]))
        answer = replace(answer, **{name: now[name] for name in ("state", "result", "reason", "reason_text")}) if now else answer
    status = 200 if answer.state in _HAS_ENDED else 202
    return JSONResponse(answer.as_json(), status, {"Location": f"/v1/jobs/{answer.id}"})


# ---------------------------------------------------------------------------------------------------- looking


@router.get("/jobs", operation_id="list_jobs", summary="List jobs", response_model=JobPage,
            responses={200: _NEXT_LINK, **problems()})  # fmt: skip
def list_jobs(
    request: Request, response: Response, caller: Known,
    kind: Annotated[list[KindName], Query(description="Only these kinds.")] = [],  # noqa: B006 (never changed)
    state: Annotated[list[State], Query(description="Only in these states.")] = [],  # noqa: B006
    subject: Annotated[Word | None, Query(description="Only about this user or group: ann, external_id:E-1, group:staff.")] = None,
    source: Annotated[Word | None, Query(description="Only from this source; `cli/*`: all that begin so.")] = None,
    key: Annotated[Word | None, Query(description="Only with this key.")] = None,
    since: Annotated[Moment | None, Query(description="Only accepted since.")] = None,
    until: Annotated[Moment | None, Query(description="Only accepted before.")] = None,
    limit: Limit = USUAL_PAGE, cursor: Cursor = None,
) -> dict[str, Any]:  # fmt: skip
    """List jobs, the newest first. Without the scope jobs:read a token sees the jobs that it submitted itself."""
    if not caller.may("jobs:read"):
        if source not in (None, caller.source):
            require(caller, "jobs:read")
        source = caller.source
    app = muster(request)
    with app.database.read() as conn:
        subjects = None if subject is None else listing.subjects_named(conn, app.settings, subject)
        wanted = JobFilter(kind, state, subjects, source, since, key=key, until=until)
        rows = listing.jobs(conn, wanted, limit=limit + 1, before=after(cursor, ids=True))
    return page(request, response, rows, limit, "id")


@router.get("/jobs/kinds", operation_id="list_kinds", summary="List the kinds of jobs", response_model=KindList,
            responses=problems())  # fmt: skip
def list_kinds(request: Request, _caller: Known) -> dict[str, Any]:
    """List the kinds of jobs there are."""
    return {"items": [_kind(kind) for kind in muster(request).registry]}


@router.get("/jobs/kinds/{kind}", operation_id="show_kind", summary="Show what a kind of job takes",
            response_model=KindShown, responses=problems(404))  # fmt: skip
def show_kind(request: Request, kind: PathWord, _caller: Known) -> dict[str, Any]:
    """Show a kind of job: the JSON Schema of its payload, and examples."""
    found = muster(request).registry.get(kind)
    if found is None:
        raise Problem(404, "unknown_kind", "There is no such kind of job. GET /v1/jobs/kinds lists those there are.")
    return _kind(found).model_dump() | {
        "attempts": found.policy.attempts, "version": found.payload.version, "payload": found.payload.model_json_schema(),
        "examples": list(getattr(found.payload, "examples", ())),
    }  # fmt: skip


def _kind(kind: Kind) -> KindListed:
    return KindListed(kind=kind.name, summary=kind.summary, queue=kind.policy.queue, shape=kind.shape)


@router.get("/jobs/{job_id}", operation_id="show_job", summary="Show a job, or wait for its end",
            response_model=JobShown, responses=problems(404))  # fmt: skip
async def show_job(request: Request, job_id: PathWord, caller: Known, wait: Wait = 0) -> dict[str, Any]:
    """Show a job in full. With `wait` the answer comes when the job has ended, or after so many seconds."""
    app = muster(request)
    found = await run_in_threadpool(_seen, app, job_id, caller)
    if wait and found["finished_at"] is None:
        await _wait(request, job_id, wait)
        found = await run_in_threadpool(_seen, app, job_id, caller)
    return found


def _seen(app: "App", job_id: str, caller: Caller) -> dict[str, Any]:
    """A job's page as far as this caller may see it. Raises Problem 404: also for a job that is not theirs."""
    found = None
    if is_id(job_id):
        with app.database.read() as conn:
            found = listing.job_page(conn, job_id)
    everything = caller.may("jobs:read")
    if found is None or not (everything or found["source"] == caller.source):
        raise _no_such_job()
    if not everything:
        found["tries"] = [one | {"trace": None} for one in found["tries"]]
    # The trail tells what stood in a person's record before, which whoever may only hand in jobs need not know.
    return found if caller.may("users:read") else found | {"events": None}


def _no_such_job() -> Problem:
    return Problem(404, "unknown_job", "There is no such job, or this token may not see it (scope jobs:read).")


@router.get("/refusals", operation_id="list_refusals", summary="List refused messages", response_model=RefusalPage,
            responses={200: _NEXT_LINK, **problems()})  # fmt: skip
def list_refusals(
    request: Request, response: Response, _caller: Reader, limit: Limit = USUAL_PAGE, cursor: Cursor = None
) -> dict[str, Any]:
    """List messages from the queue or the SQL inbox that were refused, the newest first."""
    with muster(request).database.read() as conn:
        rows = listing.refusals(conn, limit=limit + 1, before=after(cursor, ids=True))
    return page(request, response, rows, limit, "id")


# --------------------------------------------------------------------------------------------------- steering

_WHEN_NOT = {
    Move.RETRY: "Only jobs that failed, were rejected or expired, or are held or unknown, are retried; and none whose "
    "payload was removed or sealed: submit such a job anew, under a new key.",
    Move.RELEASE: "Only held jobs are released.",
    Move.CANCEL: "Only jobs that have not ended are cancelled, and no mail that is being handed over.",
}


@router.post("/jobs/{job_id}/{move}", operation_id="steer_job", summary="Retry, release or cancel a job",
             response_model=Job, responses=problems(404, 409))  # fmt: skip
def steer_job(request: Request, job_id: PathWord, move: Move, caller: Known) -> dict[str, Any]:
    """Bring a job back, let a held one go, or cancel it. Needs the scope jobs:operate; one's own jobs can be cancelled without."""
    app = muster(request)
    wanted = JobFilter(ids=[job_id])
    found = _standing(app, wanted) if is_id(job_id) else None
    operates = caller.may("jobs:operate")
    own = found is not None and found["source"] == caller.source
    if found is None or not (operates or own or caller.may("jobs:read")):
        raise _no_such_job()
    recalled = own and move is Move.CANCEL
    if not recalled:
        require(caller, "jobs:operate")
        if found["kind"] in power.out_of_reach(caller):
            require(caller, f"jobs:submit:{found['kind']}")
        if power.not_theirs(app, caller, [job_id]):
            require(caller, "admin")
    if not steer(app, move, wanted, by=caller.source if recalled else caller):
        raise Problem(
            409, "not_movable", f"The job is {found['state']}, so there is nothing to {move}. {_WHEN_NOT[move]}",
            state=found["state"],
        )  # fmt: skip
    return _standing(app, wanted) or found


def _standing(app: "App", wanted: JobFilter) -> dict[str, Any] | None:
    with app.database.read() as conn:
        rows = listing.jobs(conn, wanted, limit=1)
    return rows[0] if rows else None
