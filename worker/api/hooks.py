"""Where HR systems send by themselves: who it is is proved by a signature, and what came is kept before anything else."""

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from worker.api.feed_models import DeliveryTaken
from worker.api.feeds import desk_of
from worker.api.models import problems
from worker.database import Busy, Unreachable
from worker.feeds import deliveries, signatures
from worker.feeds.pushing import KIND
from worker.scope import Scope
from worker.web.gate import everybody, muster
from worker.web.limits import Buckets
from worker.web.problems import Problem

if TYPE_CHECKING:
    from worker.app import App

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/feeds", tags=["webhooks"])

# Whoever floods this door causes no more writes than this for each feed; the others are counted with the next one.
COUNTS_A_SECOND, COUNTS_AT_ONCE = 1.0, 20.0
# A sender with a wrong secret is told of at once, and then every ten minutes.
LOGS_A_SECOND, LOGS_AT_ONCE = 1 / 600, 3.0


class Unproven:
    """Counts and logs deliveries of unknown senders, without letting them fill the log or keep the database busy."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._lock = threading.Lock()
        self._pending: dict[str, int] = {}
        self._writes = Buckets(COUNTS_A_SECOND, COUNTS_AT_ONCE)
        self._logs = Buckets(LOGS_A_SECOND, LOGS_AT_ONCE)

    def note(self, app: "App", source: str, problem: str) -> None:
        """Count one for a source, which is declared, or `deliveries.NOWHERE`."""
        if self._logs.take(source) is None:
            log.warning("webhook.unproven", extra={"source": source, "problem": problem})
        with self._lock:
            self._pending[source] = self._pending.get(source, 0) + 1
        if self._writes.take(source) is not None:
            return
        with self._lock:
            number = self._pending.pop(source, 0)
        if not number:
            return
        with contextlib.suppress(Busy, Unreachable):  # a number is worth no retry by the sender
            app.database.transact(
                lambda conn: deliveries.count_unproven(Scope(conn, app.clock(), app.settings), source, number, problem)
            )


def _unproven(request: Request) -> Unproven:
    state = request.app.state
    if not hasattr(state, "unproven"):
        state.unproven = Unproven()
    found: Unproven = state.unproven
    return found


@router.post(
    "/{source}/events", operation_id="receive_delivery", summary="Receive a webhook", status_code=202,
    response_model=DeliveryTaken, dependencies=[everybody],
    responses={code: one for code, one in problems(408, 413).items() if code not in (403, 422, 429)},
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}},
)  # fmt: skip
async def receive_delivery(request: Request, source: str) -> dict[str, Any]:
    """Receive a webhook of an HR system. The sender proves who it is as the feed's table `webhook` declares."""
    return await run_in_threadpool(_receive, request, source, await request.body(), _unproven(request))


def _receive(request: Request, source: str, body: bytes, unproven: Unproven) -> dict[str, Any]:
    app = muster(request)
    feed = desk_of(request).feeds.get(source)
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in request.headers.raw]
    try:
        if feed is None or feed.webhook is None:
            signatures.pretend(body)
            source = deliveries.NOWHERE
            raise signatures.Unproven("no feed of the name that it was sent to takes webhooks")
        sent_id = signatures.verify(feed.webhook, headers, body, app.clock())
    except signatures.Unproven as problem:
        unproven.note(app, source, str(problem))
        # The same words whether there is such a feed or not: nobody learns here what is declared.
        raise Problem(
            401, "not_proven", "The sender did not prove who it is. Check the address, the secret, the header of the signature, "
            "and that the clock is right.", headers={"WWW-Authenticate": "Signature"},
        ) from None  # fmt: skip
    kept = app.database.transact(lambda conn: deliveries.keep(Scope(conn, app.clock(), app.settings), source, sent_id, body))
    if kept.reused:
        log.warning("webhook.id_reused", extra={"source": source, "delivery": kept.id})
    if kept.new:
        app.ring(KIND, False)
    return {"id": kept.id, "new": kept.new}
