"""The endpoints that hear what happened: made, changed, paused, resumed and removed by administrators."""

import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, literal_column, select, union_all, update

from worker import ledger, outbox
from worker.bulk import among, insert_rows
from worker.directory import trail
from worker.directory.events import Action
from worker.door_tables import webhook_endpoint
from worker.ids import new_id
from worker.jobs import REGISTRY
from worker.mail import health
from worker.outbox import KIND, Rung
from worker.scope import Scope
from worker.states import State
from worker.tables import job
from worker.webhooks.address import BadAddress, check_url
from worker.webhooks.letter import secret

log = logging.getLogger(__name__)

# How long a delivery is tried, as Standard Webhooks advises; what is older is replayed by hand.
LIFE = timedelta(days=3)
# An endpoint that took nothing for so long is not coming back by itself: a person has to look.
PAUSED_AFTER = timedelta(days=1)
# Nobody needs more to say what they want; each event is held against each pattern.
MOST_PATTERNS = 20
ACTIVE, PAUSED = "active", "paused"
# Who pauses endpoints that fail.
ITSELF = "muster"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_PATTERN = re.compile(r"[a-z_.*?]{1,64}")


class BadEndpoint(ValueError):
    """An endpoint cannot be like this."""


class NameTaken(BadEndpoint):
    """Another endpoint has this name."""


class NoSuchEndpoint(LookupError):
    """There is no such endpoint."""

    def __init__(self, name: str) -> None:
        """`name`: as it was asked for."""
        super().__init__(f"There is no webhook endpoint {name!r}. `muster webhook list` shows those there are.")


# --------------------------------------------------------------------------------------------------------- reading


def named(conn: Connection, name: str, *, lock: bool = False) -> Row[Any]:
    """Return the row of an endpoint. Raises NoSuchEndpoint."""
    statement = select(webhook_endpoint).where(webhook_endpoint.c.name == name)
    row = conn.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise NoSuchEndpoint(name)
    return row


def by_id(conn: Connection, endpoint_id: str, *, settled: bool = False) -> Row[Any] | None:
    """Return the row of an endpoint. `settled`: nobody pauses or resumes it before this transaction ends."""
    statement = select(webhook_endpoint).where(webhook_endpoint.c.id == endpoint_id)
    return conn.execute(statement.with_for_update(read=True) if settled else statement).one_or_none()


def listed(conn: Connection, name: str | None = None) -> list[dict[str, Any]]:
    """Return the endpoints by name (or the one), with how many deliveries wait for each; never a secret."""
    which = [] if name is None else [webhook_endpoint.c.name == name]
    rows = conn.execute(select(webhook_endpoint).where(*which).order_by(webhook_endpoint.c.name)).all()
    each = union_all(*[select(_to.label("endpoint")).where(*standing) for standing in _STANDING]).subquery("each")
    counts = select(each.c.endpoint, func.count().label("count")).group_by(each.c.endpoint)
    waiting = {row.endpoint: row.count for row in conn.execute(counts)} if rows else {}
    found = []
    for row in rows:
        known = health.read(conn, breaker_of(row.id))
        found.append({
            "name": row.name, "url": row.url, "events": list(row.patterns), "private": bool(row.private),
            "state": row.state, "waiting": waiting.get(row.id, 0), "failing_since": row.failing_since,
            "failure": known.reason or None, "next_try_at": known.open_until, "paused_at": row.paused_at,
            "paused_by": row.paused_by, "paused_why": row.paused_why, "rotated_at": row.rotated_at,
            "created_at": row.created_at, "created_by": row.created_by,
        })  # fmt: skip
    return found


def breaker_of(endpoint_id: str) -> str:
    """The name under which all workers know about the health of an endpoint."""
    return f"webhook-{endpoint_id}"


_to = job.c.payload["endpoint"].as_string()
# Written out, one state each: so they are found by the indexes that hold no finished jobs, however many of those there are.
_QUEUED = (job.c.kind == KIND, job.c.state == literal_column("'queued'"))
_SCHEDULED = (job.c.kind == KIND, job.c.state == literal_column("'scheduled'"))
_HELD = (job.c.kind == KIND, job.c.state == literal_column("'held'"))
_UNDER_WAY = (job.c.kind == KIND, job.c.lease_until.is_not(None))
_STANDING = (_QUEUED, _SCHEDULED, _HELD, _UNDER_WAY)


# -------------------------------------------------------------------------------------------------------- changing


def create(
    scope: Scope, name: str, url: str, patterns: Sequence[str], *, by: str, private: bool = False
) -> str:
    """Make an endpoint and return its secret: the only time that it is shown. Raises BadEndpoint.

    It hears of events from a second after this commit on.
    """
    if not _NAME.fullmatch(name):
        raise BadEndpoint("An endpoint's name has 1 to 64 of a-z, 0-9, dot, dash and underscore, such as it-service.")
    if KIND not in REGISTRY:
        raise BadEndpoint(f"None of the packages in MUSTER_ACTORS has the job {KIND}, so nothing would be delivered.")
    row = {
        "id": new_id(), "name": name, "url": _checked(url, private), "patterns": check_patterns(patterns),
        "secret_number": 1, "private": private, "state": ACTIVE, "created_at": scope.now, "created_by": by,
    }  # fmt: skip
    if not insert_rows(scope.conn, webhook_endpoint, [row], conflict="skip", returning=[webhook_endpoint.c.id]):
        raise NameTaken(f"There is a webhook endpoint {name} already. Choose another name, or change that one.")
    outbox.forget(scope.conn)
    _told(scope, Action.WEBHOOK_ADDED, row["id"], name, by, events=row["patterns"], private=private)
    return secret(scope.settings, str(row["id"]), 1)


def change(
    scope: Scope, name: str, *, by: str, url: str | None = None, patterns: Sequence[str] | None = None,
    private: bool | None = None,
) -> None:
    """Change where an endpoint lies or what it hears of; its secret stays. Raises BadEndpoint and NoSuchEndpoint."""
    row = named(scope.conn, name, lock=True)
    inside = bool(row.private) if private is None else private
    values = {
        "url": _checked(row.url if url is None else url, inside), "private": inside,
        "patterns": list(row.patterns) if patterns is None else check_patterns(patterns),
    }  # fmt: skip
    changed = sorted(column for column, value in values.items() if value != getattr(row, column))
    if not changed:
        return
    if "url" in changed:  # what is known is about another place
        values["failing_since"] = None
        health.forget(scope.conn, breaker_of(row.id))
    _set(scope, row.id, **values)
    _told(scope, Action.WEBHOOK_CHANGED, row.id, name, by, changed=changed)


def rotate(scope: Scope, name: str, *, by: str) -> str:
    """Give an endpoint a new secret and return it; for a day deliveries are signed with the one before, too."""
    row = named(scope.conn, name, lock=True)
    _set(scope, row.id, secret_number=row.secret_number + 1, rotated_at=scope.now)
    _told(scope, Action.WEBHOOK_ROTATED, row.id, name, by)
    return secret(scope.settings, row.id, row.secret_number + 1)


def pause(scope: Scope, name: str, *, by: str, why: str) -> bool:
    """Keep an endpoint's deliveries back from now on; False if it was paused before. None is lost within three days."""
    return halt(scope, named(scope.conn, name, lock=True), by=by, why=why)


def halt(scope: Scope, row: Row[Any], *, by: str, why: str) -> bool:
    """Like `pause`, for whoever holds the endpoint's row locked."""
    if row.state == PAUSED:
        return False
    _set(scope, row.id, state=PAUSED, paused_at=scope.now, paused_by=by, paused_why=why)
    # What stands in the queue now goes out of the way in one go; what a worker has in hand, and what comes later, is
    # put off at the gate.
    rows = scope.conn.execute(
        select(job.c.id, job.c.priority, job.c.deadline).where(*_QUEUED, _to == row.id).order_by(job.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    ledger.move(scope, State.SCHEDULED, [_due(one.id, one.deadline or scope.now + LIFE, one.priority) for one in rows])
    _told(scope, Action.WEBHOOK_PAUSED, row.id, row.name, by, why=why)
    log.warning("webhook.paused", extra={"endpoint": row.id, "endpoint_name": row.name, "by": by})
    return True


def resume(scope: Scope, name: str, *, by: str) -> tuple[int, Rung]:
    """Let the deliveries of an endpoint go, those of the last three days; returns how many, and whom to ring for."""
    row = named(scope.conn, name, lock=True)
    health.forget(scope.conn, breaker_of(row.id))
    if row.state == PAUSED:
        _set(scope, row.id, state=ACTIVE, failing_since=None, paused_at=None, paused_by=None, paused_why=None)
        _told(scope, Action.WEBHOOK_RESUMED, row.id, name, by)
    rows: list[Row[Any]] = []
    for standing in (_QUEUED, _SCHEDULED):
        later = select(job).where(*standing, _to == row.id, job.c.run_at > scope.now).order_by(job.c.id)
        rows += scope.conn.execute(later.with_for_update(skip_locked=True)).all()
    return len(rows), ledger.step_up(scope, rows, {KIND}, scope.now)


def remove(scope: Scope, name: str, *, by: str) -> int:
    """Remove an endpoint and cancel what it has not been told yet; returns how many deliveries that were."""
    row = named(scope.conn, name)
    # Jobs first, then the endpoint: the order of the gates.
    ids: list[str] = []
    for standing in _STANDING:
        ids += scope.conn.execute(select(job.c.id).where(*standing, _to == row.id)).scalars()
    cancelled, _ = ledger.cancel(scope, [among(scope.conn, job.c.id, sorted(ids))], by=by)
    named(scope.conn, name, lock=True)
    scope.conn.execute(webhook_endpoint.delete().where(webhook_endpoint.c.id == row.id))
    health.forget(scope.conn, breaker_of(row.id))
    outbox.forget(scope.conn)
    _told(scope, Action.WEBHOOK_REMOVED, row.id, name, by, cancelled=len(cancelled))
    return len(cancelled)


def put_off(scope: Scope, endpoint_id: str, until: datetime) -> int:
    """Let all that is due for an endpoint wait until it is worth trying again: no attempt is counted for any of them."""
    rows = scope.conn.execute(
        select(job.c.id, job.c.priority).where(*_QUEUED, _to == endpoint_id, job.c.run_at < until).order_by(job.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    return ledger.move(scope, State.QUEUED, [_due(row.id, until, row.priority) for row in rows])


def _due(job_id: str, at: datetime, priority: int) -> dict[str, Any]:
    return {"id": job_id, "run_at": at, "rank": ledger.rank(at, priority)}


def _set(scope: Scope, endpoint_id: str, **values: Any) -> None:
    scope.conn.execute(update(webhook_endpoint).where(webhook_endpoint.c.id == endpoint_id).values(values))
    outbox.forget(scope.conn)


def _told(scope: Scope, action: Action, endpoint_id: Any, name: str, by: str, **data: Any) -> None:
    trail.record(scope, action, str(endpoint_id), name, actor=by, data=data)


# -------------------------------------------------------------------------------------------------------- checking


def _checked(url: str, private: bool) -> str:
    try:
        check_url(url, private=private)
    except BadAddress as problem:
        raise BadEndpoint(str(problem)) from None
    return url


def check_patterns(patterns: Sequence[str]) -> list[str]:
    """Return the patterns, sorted, each once. One that fits no event there is would be a slip that nobody notices."""
    found = sorted(set(patterns))
    if not found:
        raise BadEndpoint("Name the events that the endpoint wants, such as user.* or sessions.revoked; * means all.")
    if len(found) > MOST_PATTERNS:
        raise BadEndpoint(f"More than {MOST_PATTERNS} patterns are not taken. Use wider ones, such as user.*.")
    for pattern in found:
        if not _PATTERN.fullmatch(pattern) or not any(outbox.wanted(action, [pattern]) for action in Action):
            raise BadEndpoint(f"No event fits {pattern!r}. Events are called {', '.join(told_actions())}.")
    return found


def told_actions() -> list[str]:
    """The events that endpoints can hear of."""
    return sorted(action for action in Action if outbox.wanted(action, ["*"]))
