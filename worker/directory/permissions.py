"""Permissions: what a person or a group may do, everywhere or to one object."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, or_, select

from worker.bulk import insert_rows
from worker.directory import groups
from worker.ids import new_id
from worker.jobs import fold
from worker.scope import Scope
from worker.tables import permission

# The object of a permission that holds everywhere.
EVERYWHERE = ""


@dataclass(frozen=True)
class Holder:
    """Who holds a permission: a user or a group, by id."""

    user_id: str | None = None
    group_id: str | None = None

    @property
    def columns(self) -> Mapping[str, str]:
        """The column that says who it is."""
        if self.user_id is not None:
            return {"user_id": self.user_id}
        assert self.group_id is not None
        return {"group_id": self.group_id}


@dataclass(frozen=True)
class Effective:
    """One way in which a person holds a permission: `via` is the group that holds it, None the person themselves."""

    name: str
    object: str
    via: str | None


def grant(scope: Scope, holder: Holder, name: str, target: str = EVERYWHERE) -> bool:
    """Give a permission on one object (or everywhere); False when the holder had just this one."""
    row = {"id": new_id(), "name": name, "object": target, **holder.columns, "granted_at": scope.now}
    return bool(insert_rows(scope.conn, permission, [row], conflict="skip", returning=[permission.c.id]))


def revoke(scope: Scope, holder: Holder, name: str, target: str = EVERYWHERE) -> bool:
    """Take back just this permission; False when the holder did not have it."""
    [(column, value)] = holder.columns.items()
    statement = delete(permission).where(
        permission.c.name == name, permission.c.object == target, permission.c[column] == value
    )
    return scope.conn.execute(statement).rowcount > 0


def effective(scope: Scope, user_id: str) -> list[Effective]:
    """Return all that a person may do, by name and object: granted to them, to their groups, or to groups above."""
    above = {one.group.id: one.group.name for one in groups.effective_groups(scope, [user_id])[user_id]}
    statement = select(permission.c.name, permission.c.object, permission.c.group_id).where(
        or_(permission.c.user_id == user_id, permission.c.group_id.in_(sorted(above)))
    )
    found = [
        Effective(row.name, row.object, above[row.group_id] if row.group_id else None)
        for row in scope.conn.execute(statement)
    ]
    return sorted(found, key=lambda one: (one.name, one.object, one.via is not None, fold(one.via or "")))


def held_by_group(scope: Scope, group_id: str) -> list[tuple[str, str]]:
    """Return the (name, object) of the permissions that a group itself holds."""
    statement = select(permission.c.name, permission.c.object).where(permission.c.group_id == group_id)
    return sorted((row.name, row.object) for row in scope.conn.execute(statement))
