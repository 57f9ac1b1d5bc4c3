"""Tells an endpoint again what happened in a time that it has missed, each event under the id it had the first time."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, select

from worker import outbox
from worker.database import Database
from worker.directory import trail
from worker.directory.events import Action
from worker.outbox import Rung, delivery, wanted
from worker.scope import Scope
from worker.tables import event
from worker.webhooks import endpoints
from worker.webhooks.endpoints import BadEndpoint

# Events looked at, and deliveries taken in, in one transaction.
SLICE = 1_000
# Ids grow with the time at which they were made, an event's time is that of its transaction: no transaction of ours
# lasts longer than this.
SLACK = timedelta(hours=1)


def replay(
    database: Database, clock: Callable[[], datetime], name: str, since: datetime, until: datetime | None = None, *,
    patterns: Sequence[str] = (), by: str, dry_run: bool = False,
) -> tuple[int, Rung]:
    """Make a delivery of each event from `since` until before `until`; returns how many, and whom to ring for.

    `patterns`: which events, else those that the endpoint hears of anyway. Raises NoSuchEndpoint and BadEndpoint.
    """
    now = clock()
    if until is not None and until <= since:
        raise BadEndpoint("The time ends before it begins.")
    with database.read() as conn:
        endpoint = endpoints.named(conn, name)
    chosen = endpoints.check_patterns(patterns) if patterns else list(endpoint.patterns)
    suffix = f"/replay-{int(now.timestamp())}"
    said = {"since": since.isoformat(), "until": until.isoformat() if until else None, "events": chosen}

    def take_in(conn: Connection, ids: Sequence[str], *, first: bool) -> Rung:
        scope = Scope(conn, now, database.settings)
        if first:  # with the first deliveries, not after the last: it may break off in between
            trail.record(scope, Action.WEBHOOK_REPLAYED, endpoint.id, name, actor=by, data=said)
        return outbox.submit(scope, [delivery(endpoint.id, event_id, suffix) for event_id in ids])

    count: int = 0
    rung: Rung = set()
    for ids in _events(database, since, until or now + SLACK, chosen):
        if not dry_run:
            rung |= database.transact(partial(take_in, ids=ids, first=count == 0))
        count += len(ids)
    return count, rung


def _events(database: Database, since: datetime, until: datetime, patterns: Sequence[str]) -> Iterator[list[str]]:
    """Give the ids of the events of this time, the latest first: backwards along the ids, as times have no index."""
    before: str | None = None
    while True:
        page = select(event.c.id, event.c.at, event.c.action).order_by(event.c.id.desc()).limit(SLICE)
        with database.read() as conn:
            rows = conn.execute(page if before is None else page.where(event.c.id < before)).all()
        found = [row.id for row in rows if since <= row.at < until and wanted(row.action, patterns)]
        if found:
            yield found
        if len(rows) < SLICE or rows[-1].at + SLACK < since:
            return
        before = rows[-1].id
