"""Webhook endpoints over HTTP, for administrators: whom Muster tells what happened, and what they have not heard yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from worker.api.models import Moment, Text, problems
from worker.api.paging import PathWord
from worker.api_tokens import Caller
from worker.intake import WORDS_LENGTH
from worker.outbox import Rung
from worker.web.gate import muster, needs
from worker.web.problems import Problem
from worker.webhooks import endpoints, replay
from worker.webhooks.address import URL_LENGTH
from worker.webhooks.endpoints import MOST_PATTERNS, BadEndpoint, NameTaken, NoSuchEndpoint

router = APIRouter(prefix="/v1", tags=["webhooks"])

_ADMINISTRATOR = needs("admin")
Administrator = Annotated[Caller, _ADMINISTRATOR]
_Name = Annotated[Text, Field(min_length=1, max_length=64, description="Its name for good.", examples=["it-service"])]
_Url = Annotated[Text, Field(min_length=1, max_length=URL_LENGTH, examples=["https://example.org/muster"])]
_Events = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=64)]],
    Field(min_length=1, max_length=MOST_PATTERNS, description="Which events, as patterns.", examples=[["user.*"]]),
]
_PRIVATE = "Whether it may lie at a private address and do without TLS."


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewEndpoint(_Given):
    """An endpoint to be."""

    name: _Name
    url: _Url
    events: _Events
    private: StrictBool = Field(False, description=_PRIVATE)


class EndpointChange(_Given):
    """What is to be different; what is left out stays."""

    url: _Url | None = None
    events: _Events | None = None
    private: StrictBool | None = Field(None, description=_PRIVATE)


class Why(_Given):
    """Why an endpoint is paused."""

    why: Annotated[Text, Field(min_length=1, max_length=WORDS_LENGTH, description="For whoever finds it paused.")]


class Again(_Given):
    """Which events are told again."""

    since: Moment = Field(description="From then on.")
    until: Moment | None = Field(None, description="Until before then; without it until now.")
    events: _Events | None = Field(None, description="Which events; without it those that the endpoint hears of.")
    dry_run: StrictBool = Field(False, description="Only count them.")


class Endpoint(BaseModel):
    """An endpoint as it stands; its secret is shown when it is made and rotated, and never again."""

    name: str
    url: str
    events: list[str]
    private: bool
    state: str = Field(description="active, or paused", examples=["active"])
    waiting: int = Field(description="Deliveries that have not ended.")
    failing_since: datetime | None = Field(description="The first failure after the last success.")
    failure: str | None = Field(description="What the last try ran into, while it fails.")
    next_try_at: datetime | None = Field(description="Until then it is left alone, while it fails.")
    paused_at: datetime | None
    paused_by: str | None = Field(description="`muster` itself when it took nothing for a day, or said that it is gone.")
    paused_why: str | None
    rotated_at: datetime | None
    created_at: datetime
    created_by: str


class EndpointList(BaseModel):
    """All endpoints by name."""

    items: list[Endpoint]


class MadeEndpoint(Endpoint):
    """A new endpoint."""

    secret: str = Field(description="Shown now and never again: what its deliveries are signed with.")


class NewSecret(BaseModel):
    """A new secret; for a day deliveries are signed with the one before, too."""

    name: str
    secret: str


class Paused(BaseModel):
    """An endpoint whose deliveries are kept back."""

    name: str
    changed: bool = Field(description="Whether it was active before.")


class Deliveries(BaseModel):
    """How many deliveries were let go, cancelled, or made (with dry_run: would be)."""

    name: str
    deliveries: int
    dry_run: bool = False


class Tried(BaseModel):
    """What an endpoint answered to an event that never happened."""

    taken: bool
    status: int | None = Field(description="Null when no answer came.")
    text: str


@contextmanager
def _worded() -> Iterator[None]:
    """Word what is wrong with an endpoint as a problem document."""
    try:
        yield
    except NoSuchEndpoint:
        raise Problem(404, "unknown_endpoint", "There is no such endpoint. GET /v1/webhooks lists those there are.") from None
    except NameTaken as problem:
        raise Problem(409, "name_taken", str(problem)) from None
    except BadEndpoint as problem:
        raise Problem(422, "invalid", str(problem)) from None


def _shown(request: Request, name: str) -> dict[str, Any]:
    with _worded(), muster(request).database.read() as conn:
        endpoints.named(conn, name)
        [found] = endpoints.listed(conn, name)
        return found


def _ring(request: Request, rung: Rung) -> None:
    for kind, urgent in sorted(rung):
        muster(request).ring(kind, urgent)


@router.get("/webhooks", operation_id="list_webhooks", summary="List webhook endpoints", response_model=EndpointList,
            responses=problems(), dependencies=[_ADMINISTRATOR])  # fmt: skip
def list_webhooks(request: Request) -> dict[str, Any]:
    """List the endpoints by name, with what waits for each."""
    with muster(request).database.read() as conn:
        return {"items": endpoints.listed(conn)}


@router.post("/webhooks", operation_id="add_webhook", summary="Add a webhook endpoint", status_code=201,
             response_model=MadeEndpoint, responses=problems(400, 409))  # fmt: skip
def add_webhook(request: Request, response: Response, caller: Administrator, given: NewEndpoint) -> dict[str, Any]:
    """Add an endpoint; it hears of events from a second later on. Its secret is in this answer and nowhere else."""
    with _worded(), muster(request).scope() as scope:
        secret = endpoints.create(scope, given.name, given.url, given.events, by=caller.source, private=given.private)
    response.headers["Location"] = f"/v1/webhooks/{given.name}"
    return _shown(request, given.name) | {"secret": secret}


@router.get("/webhooks/{name}", operation_id="read_webhook", summary="Read one webhook endpoint", response_model=Endpoint,
            responses=problems(404), dependencies=[_ADMINISTRATOR])  # fmt: skip
def read_webhook(request: Request, name: PathWord) -> dict[str, Any]:
    """Read how an endpoint stands."""
    return _shown(request, name)


@router.patch("/webhooks/{name}", operation_id="change_webhook", summary="Change a webhook endpoint",
              response_model=Endpoint, responses=problems(400, 404))  # fmt: skip
def change_webhook(request: Request, caller: Administrator, name: PathWord, given: EndpointChange) -> dict[str, Any]:
    """Change where it lies or what it hears of. Its secret stays."""
    with _worded(), muster(request).scope() as scope:
        endpoints.change(scope, name, by=caller.source, url=given.url, patterns=given.events, private=given.private)
    return _shown(request, name)


@router.delete("/webhooks/{name}", operation_id="remove_webhook", summary="Remove a webhook endpoint",
               response_model=Deliveries, responses=problems(404))  # fmt: skip
def remove_webhook(
    request: Request, caller: Administrator, name: PathWord,
    dry_run: Annotated[bool, Query(description="Only say how many deliveries would be cancelled.")] = False,
) -> dict[str, Any]:  # fmt: skip
    """Remove it, its secrets and what it has not been told yet."""
    if dry_run:
        return {"name": name, "deliveries": _shown(request, name)["waiting"], "dry_run": True}
    with _worded(), muster(request).scope() as scope:
        return {"name": name, "deliveries": endpoints.remove(scope, name, by=caller.source)}


@router.post("/webhooks/{name}/rotate", operation_id="rotate_webhook", summary="Give an endpoint a new secret",
             response_model=NewSecret, responses=problems(404))  # fmt: skip
def rotate_webhook(request: Request, caller: Administrator, name: PathWord) -> dict[str, Any]:
    """Make a new secret; it is in this answer and nowhere else."""
    with _worded(), muster(request).scope() as scope:
        return {"name": name, "secret": endpoints.rotate(scope, name, by=caller.source)}


@router.post("/webhooks/{name}/pause", operation_id="pause_webhook", summary="Keep an endpoint's deliveries back",
             response_model=Paused, responses=problems(400, 404))  # fmt: skip
def pause_webhook(request: Request, caller: Administrator, name: PathWord, given: Why) -> dict[str, Any]:
    """Pause it. None of its deliveries is lost that is let go within three days."""
    with _worded(), muster(request).scope() as scope:
        return {"name": name, "changed": endpoints.pause(scope, name, by=caller.source, why=given.why)}


@router.post("/webhooks/{name}/resume", operation_id="resume_webhook", summary="Let an endpoint's deliveries go",
             response_model=Deliveries, responses=problems(404))  # fmt: skip
def resume_webhook(request: Request, caller: Administrator, name: PathWord) -> dict[str, Any]:
    """Resume it; what waited goes at once."""
    with _worded(), muster(request).scope() as scope:
        count, rung = endpoints.resume(scope, name, by=caller.source)
    _ring(request, rung)
    return {"name": name, "deliveries": count}


@router.post("/webhooks/{name}/test", operation_id="test_webhook", summary="Call an endpoint to try it out",
             response_model=Tried, responses=problems(404), dependencies=[_ADMINISTRATOR])  # fmt: skip
def test_webhook(request: Request, name: PathWord) -> dict[str, Any]:
    """Send it an event that never happened, and wait for its answer, 15 seconds at most."""
    with _worded():
        answer = muster(request).courier().test(name)
    return {"taken": answer.taken, "status": answer.status, "text": answer.said}


@router.post("/webhooks/{name}/replay", operation_id="replay_webhook", summary="Tell an endpoint again what happened",
             response_model=Deliveries, responses=problems(400, 404))  # fmt: skip
def replay_webhook(request: Request, caller: Administrator, name: PathWord, given: Again) -> dict[str, Any]:
    """Tell it the events of a time again, each under its first webhook-id."""
    app = muster(request)
    with _worded():
        count, rung = replay.replay(
            app.database, app.clock, name, given.since, given.until, patterns=given.events or (), by=caller.source,
            dry_run=given.dry_run,
        )  # fmt: skip
    _ring(request, rung)
    return {"name": name, "deliveries": count, "dry_run": given.dry_run}
