"""Whether Muster is alive, and whether it does its work: for load balancers, orchestrators and whoever is on call."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from worker import migrate, telemetry
from worker.database import Busy, Unreachable
from worker.redact import redact
from worker.settings import WrongSettings
from worker.web.gate import authenticate, everybody
from worker.web.problems import RETRY_SECONDS, Problem

if TYPE_CHECKING:
    from worker.app import App

# Strangers may ask as often as they like: the database and the queue are asked once a second.
FRESH_SECONDS = 1.0
# Whoever holds a token with one of these is told what is the matter.
TOLD_MORE = ("metrics", "jobs:read")

CHECKS = {
    "database": "the database answers",
    "schema": "its schema is the one that this Muster works on",
    "key": "the secret key is the one that the database was begun with",
    "queue": "the queue answers",
    "consuming": "whatever is due is being done",
}


class Alive(BaseModel):
    """The process answers."""

    alive: bool = Field(examples=[True])


class StuckWork(BaseModel):
    """Due work that nobody does."""

    queue: str = Field(description="The queue whose workers should do it", examples=["directory"])
    kind: str = Field(examples=["add_to_group"])
    urgent: bool


class Details(BaseModel):
    """What only holders of a token are told."""

    workers: int = Field(description="Worker processes that are alive")
    stuck: list[StuckWork]
    trouble: dict[str, str] = Field(description="What each failed check ran into")


class Ready(BaseModel):
    """Everything that Muster needs is there, and due work is being done."""

    ready: bool = Field(examples=[True])
    checks: dict[str, bool] = Field(description="; ".join(f"{name}: {text}" for name, text in CHECKS.items()))
    workers: bool = Field(description="Whether any worker process is alive. Without one, jobs are taken in and wait")
    details: Details | None = None


@dataclass
class Examination:
    """What one look found."""

    checks: dict[str, bool] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)
    stuck: list[telemetry.Stuck] = field(default_factory=list)
    workers: int = 0

    @property
    def ready(self) -> bool:
        """Whether all is well."""
        return all(self.checks.values())

    def as_json(self, *, more: bool) -> dict[str, Any]:
        """The answer. `more`: for somebody who may know names."""
        found: dict[str, Any] = {"ready": self.ready, "checks": self.checks, "workers": self.workers > 0}
        if more:
            stuck = [{"queue": one.queue, "kind": one.kind, "urgent": one.urgent} for one in self.stuck]
            found["details"] = {"workers": self.workers, "stuck": stuck, "trouble": self.trouble}
        return found


class Readiness:
    """Looks at everything once a second at most, in a thread of its own: full hands elsewhere are not illness.

    What makes it red: the database or the queue does not answer, the schema or the key is wrong, or work that has been
    due for half a minute (urgent: ten seconds) is being done by nobody. A missing worker alone does not: `muster api`
    runs apart from the workers, what it takes in is safe, and restarting it would mend nothing; the answer then says
    "workers": false, and turns red as soon as a job waits in vain. So an idle system is green, and nobody is woken for
    workers that are restarted within seconds.
    """

    def __init__(self, app: "App") -> None:
        """Nothing is looked at yet."""
        self.app = app
        self._lock = asyncio.Lock()
        self._thread = CapacityLimiter(2)
        self._found = Examination()
        self._looked: float | None = None

    async def look(self) -> Examination:
        """Return what was found within the last second."""
        async with self._lock:
            if self._looked is None or time.monotonic() - self._looked > FRESH_SECONDS:
                self._found = await to_thread.run_sync(self._examine, limiter=self._thread)
                self._looked = time.monotonic()
            return self._found

    async def may_know(self, request: Request) -> bool:
        """Whether whoever asks may know names; a token that is wrong is refused. Raises Problem."""
        if "authorization" not in request.headers:
            return False
        caller = await to_thread.run_sync(authenticate, request, limiter=self._thread)
        return any(caller.may(scope) for scope in TOLD_MORE)

    def _examine(self) -> Examination:
        found = Examination()
        try:
            with self.app.database.read() as conn:
                found.workers = telemetry.alive(conn, self.app.clock())
            found.checks["database"] = True
        except Exception as error:
            # A wrong schema shows here, too; then the database answers and the next check says what is wrong.
            found.checks["database"] = not isinstance(error, (Busy, Unreachable))
            self._failed(found, "database", error)
        if found.checks["database"]:
            self._check(found, "schema", lambda: migrate.require(self.app.database))
            self._check(found, "key", self.app.check_key)
        if (trouble := self.app.bell.trouble()) is not None:
            found.trouble["queue"] = redact(trouble)
        found.checks["queue"] = trouble is None
        if all(found.checks.get(name) for name in ("database", "schema")):
            self._check(found, "consuming", lambda: self._consuming(found))
        return found

    def _consuming(self, found: Examination) -> None:
        with self.app.database.read() as conn:
            found.stuck = telemetry.stuck(conn, self.app.registry, self.app.clock())
        if found.stuck:
            kinds = ", ".join(sorted({one.kind for one in found.stuck}))
            raise WrongSettings(f"Nobody does what is due: {kinds}. Do workers run, and do they serve these queues?")

    def _check(self, found: Examination, name: str, check: Any) -> None:
        try:
            check()
            found.checks[name] = True
        except Exception as error:
            found.checks[name] = False
            self._failed(found, name, error)

    def _failed(self, found: Examination, name: str, error: Exception) -> None:
        known = isinstance(error, (migrate.WrongSchema, WrongSettings))
        found.trouble[name] = redact(str(error)) if known else str(type(error).__doc__ or type(error).__name__)


def router(app: "App") -> APIRouter:
    """Return the doors of this module."""
    found = APIRouter(prefix="/health", tags=["health"], dependencies=[everybody])
    readiness = Readiness(app)

    @found.get("/live", operation_id="live", summary="Whether the process answers")
    async def live() -> Alive:
        """Say that the process answers; nothing else is looked at. Restart it when this fails."""
        return Alive(alive=True)

    @found.get(
        "/ready", operation_id="ready", summary="Whether the work is being done", response_model_exclude_none=True,
        responses={401: {"description": "A token was sent, and it is not valid."}, 429: {"description": "Too many requests."},
                   503: {"description": "Something is missing: `checks` says what, as above."}},
    )  # fmt: skip
    async def ready(request: Request) -> Ready:
        """Say whether everything is there and due work is being done.

        Everybody is told which check failed; holders of a token with `metrics` or `jobs:read` also what and where.
        """
        seen = await readiness.look()
        more = seen.checks["database"] and seen.checks.get("schema", False) and await readiness.may_know(request)
        said: Mapping[str, Any] = seen.as_json(more=more)
        if not seen.ready:
            wrong = ", ".join(name for name, well in seen.checks.items() if not well)
            raise Problem(
                503, "not_ready", f"Not all is well: {wrong}.", headers={"Retry-After": str(RETRY_SECONDS)}, **said
            )
        return Ready.model_validate(said)

    return found
