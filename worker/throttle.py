"""How often something may happen, counted in the database: all servers share the count, and it outlives a restart."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from worker.door_tables import throttle
from worker.scope import Scope

# No limit counts for longer; what began before is swept out.
LONGEST = timedelta(hours=24)
# As many counters as one sweep takes out, so that none of them is long.
SWEPT = 500


@dataclass(frozen=True)
class Limit:
    """So many within a window that begins with the first; at its end the count begins anew.

    Around the end of a window twice as many can come together: these limits keep mailboxes quiet and guessing slow,
    and need no more precision than that.
    """

    name: str
    most: int
    within: timedelta


def take(scope: Scope, limit: Limit, what: str) -> timedelta | None:
    """Count one more of `what`; returns None while there is room, else how long it is until there is.

    One statement, so that two servers count one after the other. `what` (a name, an address) is stored as its HMAC.
    """
    over = throttle.c.began_at <= scope.now - limit.within
    insert = (postgresql if scope.on_postgresql else sqlite).insert(throttle)
    made = insert.values(name=_counter(scope, limit, what), began_at=scope.now, count=1)
    counted = made.on_conflict_do_update(
        index_elements=[throttle.c.name],
        set_={
            "began_at": case((over, made.excluded.began_at), else_=throttle.c.began_at),
            "count": case((over, 1), (throttle.c.count > limit.most, throttle.c.count), else_=throttle.c.count + 1),
        },
    ).returning(throttle.c.began_at, throttle.c.count)
    began_at, count = scope.conn.execute(counted).one()
    return None if count <= limit.most else began_at + limit.within - scope.now


def sweep(scope: Scope) -> int:
    """Take out some counters that count for nothing any more; returns how many."""
    old = select(throttle.c.name).where(throttle.c.began_at <= scope.now - LONGEST).order_by(throttle.c.began_at)
    chosen = old.limit(SWEPT).with_for_update(skip_locked=True)
    return scope.conn.execute(delete(throttle).where(throttle.c.name.in_(chosen))).rowcount


def _counter(scope: Scope, limit: Limit, what: str) -> str:
    """The counter's name: it says nothing about whom it counts, and differs from limit to limit."""
    message = b"\0".join((b"throttle", limit.name.encode(), what.encode()))
    return hmac.digest(scope.settings.key, message, hashlib.sha256).hex()
