"""Takes in, with each event of the audit trail, the jobs that tell it to the endpoints which want to hear of it."""

import fnmatch
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, select

from worker.door_tables import webhook_endpoint
from worker.intake import Intake, Request
from worker.jobs import REGISTRY
from worker.scope import Scope

log = logging.getLogger(__name__)

KIND = "deliver_webhook"
SOURCE = "webhook"
# A list of endpoints in memory serves this long: whoever makes an endpoint waits a second, and whoever has none pays
# nothing for each event.
LOOK_EVERY_SECONDS = 1.0
# What happens to endpoints is told to none of them: one that fails would be news for the next one, for ever.
UNTOLD = "webhook."

Rung = set[tuple[str, bool]]


@dataclass(frozen=True)
class Subscription:
    """An endpoint and the events that it wants: patterns such as `user.*`."""

    id: str
    patterns: tuple[str, ...]

    def wants(self, action: str) -> bool:
        """Say whether the endpoint wants to hear of events with this action."""
        return wanted(action, self.patterns)


def wanted(action: str, patterns: Sequence[str]) -> bool:
    """Say whether an action may be told at all, and one of the patterns fits it."""
    return not action.startswith(UNTOLD) and any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)


# ------------------------------------------------------------------------------------------------- who wants what

_lock = threading.Lock()
_known: "WeakKeyDictionary[Engine, tuple[float, tuple[Subscription, ...]]]" = WeakKeyDictionary()


def subscriptions(conn: Connection) -> tuple[Subscription, ...]:
    """Return every endpoint with its patterns, as they were at most a second ago; paused ones too."""
    now = time.monotonic()
    known = _known.get(conn.engine)
    if known is not None and now - known[0] < LOOK_EVERY_SECONDS:
        return known[1]
    rows = conn.execute(select(webhook_endpoint.c.id, webhook_endpoint.c.patterns).order_by(webhook_endpoint.c.id))
    found = tuple(Subscription(row.id, tuple(row.patterns)) for row in rows)
    with _lock:
        _known[conn.engine] = (now, found)
    return found


def forget(conn: Connection) -> None:
    """Look anew at the next event: in this process a change of an endpoint is known at once."""
    with _lock:
        _known.pop(conn.engine, None)


# ------------------------------------------------------------------------------------------------------ taking in


def announce(scope: Scope, events: Sequence[Mapping[str, Any]]) -> Rung:
    """Take in the deliveries of these events (rows with `id` and `action`), in the transaction that writes them.

    Returns whom to ring for after the commit; without a ring the keepers find the jobs within a second.
    """
    # Whoever changes endpoints writes none but untold events: so nobody remembers a list that is not committed.
    tellable = [row for row in events if not str(row["action"]).startswith(UNTOLD)]
    if not tellable:
        return set()
    told = [
        delivery(one.id, str(row["id"]))
        for one in subscriptions(scope.conn)
        for row in tellable
        if one.wants(str(row["action"]))
    ]
    return submit(scope, told)


def delivery(endpoint: str, event: str, suffix: str = "") -> Request:
    """Return the request to tell one event to one endpoint; a `suffix` makes it another job than the first one."""
    return Request(KIND, {"endpoint": endpoint, "event": event}, SOURCE, f"{endpoint}/{event}{suffix}", requested_by=SOURCE)


def submit(scope: Scope, requests: Sequence[Request]) -> Rung:
    """Take deliveries in through the one door; what was taken in before is left as it is."""
    if not requests:
        return set()
    if KIND not in REGISTRY:
        log.error("webhook.kind_missing", extra={"deliveries": len(requests)})
        return set()
    intake = Intake(REGISTRY)
    for answer in intake.submit(scope, requests):
        if answer.refused:
            raise ValueError(f"a delivery was refused: {answer.reason_text}")
    return intake.rung
