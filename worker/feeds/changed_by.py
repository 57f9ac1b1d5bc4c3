"""Who changed somebody's account besides the feed: the latest word of the audit trail on each field, group and state."""

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, or_, select

from worker.bulk import among
from worker.directory.events import Action
from worker.jobs import fold
from worker.tables import event

_STATES = {Action.USER_DEACTIVATED: "inactive", Action.USER_REACTIVATED: "active", Action.USER_CREATED: "active"}
_TOLD = (
    *_STATES, Action.USER_UPDATED, Action.USER_ADOPTED, Action.MEMBERSHIP_ADDED, Action.MEMBERSHIP_REMOVED,
)  # fmt: skip


class Trail:
    """The latest change of each kind to some people that somebody else than `own` made."""

    def __init__(self, conn: Connection, own: str, ids: Collection[str]) -> None:
        """Read the events about these users (by id)."""
        self._found: dict[tuple[str, str], Any] = {}
        if not ids:
            return
        statement = (
            select(event.c.target, event.c.action, event.c.actor, event.c.at, event.c.why, event.c.data)
            .where(among(conn, event.c.target, sorted(ids)), event.c.action.in_([one.value for one in _TOLD]),
                   or_(event.c.actor.is_(None), event.c.actor != own))
            .order_by(event.c.at, event.c.id)
        )  # fmt: skip
        for row in conn.execute(statement):
            for key in _touched(row):
                self._found[row.target, key] = row

    def latest(self, user_id: str, what: str, found: str | None) -> Any | None:
        """Return the event (actor, at, why) after which `what` may have been as it was `found`."""
        if what == "access":
            return self._found.get((user_id, f"is {found}"))
        if what.startswith("group "):
            return self._found.get((user_id, f"{'in' if found else 'out of'} {fold(what.removeprefix('group '))}"))
        return self._found.get((user_id, what))


def _touched(row: Any) -> Iterator[str]:
    data = row.data or {}
    if row.action in _STATES:
        yield f"is {_STATES[Action(row.action)]}"
    elif row.action == Action.MEMBERSHIP_ADDED:
        yield f"in {fold(str(data.get('group', '')))}"
    elif row.action == Action.MEMBERSHIP_REMOVED:
        yield f"out of {fold(str(data.get('group', '')))}"
    elif row.action == Action.USER_ADOPTED:
        yield "external_id"
    for name, change in (data.get("changes") or {}).items():
        yield from (f"attributes.{one}" for one in change) if name == "attributes" else (name,)


def groups_given(conn: Connection, own: str, ids: Collection[str]) -> set[tuple[str, str]]:
    """Return the (user, group in compared form) pairs that the feed itself once made."""
    if not ids:
        return set()
    statement = select(event.c.target, event.c.data).where(
        among(conn, event.c.target, sorted(ids)), event.c.action == Action.MEMBERSHIP_ADDED.value, event.c.actor == own
    )
    return {(row.target, fold(str((row.data or {}).get("group", "")))) for row in conn.execute(statement)}
