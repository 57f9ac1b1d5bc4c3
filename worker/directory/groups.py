"""Groups: what they are called, which lie below which, who is in them, and who put them there."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import CTE, Row, Select, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.bulk import among, insert_rows, rows_as_table, select_by
from worker.directory import attributes as free
from worker.ids import new_id
from worker.jobs import fold
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import group_parent, groups, membership, meta, users

# The row that whoever changes who lies below whom locks first: circles are made by two people at once.
GRAPH_LOCK = "group_graph"
# As long as the column; some letters become three when they are folded.
LONGEST_FOLDED = 300

merge = free.merge
valid_attributes = free.parse
Pair = tuple[str, str]


class Origin(StrEnum):
    """Who put a person into a group. Each sweeper removes only what carries its own mark."""

    RULE = "rule"
    FEED = "feed"
    MANUAL = "manual"


#: The weakest first. A membership that a stronger origin also asks for takes that origin, and never a weaker one: so a
#: rule never removes what a feed or a person wants too, nor a feed what a person wants.
STRENGTH: tuple[Origin, ...] = (Origin.RULE, Origin.FEED, Origin.MANUAL)


@dataclass(frozen=True)
class Group:
    """One group, as stored."""

    id: str
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Belonging:
    """One way in which a person belongs to a group: directly (`via` is the group itself) or through one below it."""

    group: Group
    via: Group
    origin: Origin

    @property
    def inherited(self) -> bool:
        """Whether it comes through another group."""
        return self.group.id != self.via.id


def valid_name(name: str | None) -> str | None:
    """Return a group's name as it will be stored. Raises ValueError when it cannot be one."""
    if name is None:
        return None
    if name != name.strip() or not name.isprintable() or not fold(name):
        raise ValueError("a group's name must not be blank, begin or end with a blank or hold control characters")
    if len(fold(name)) > LONGEST_FOLDED:
        raise ValueError(f"a group's name must have at most {LONGEST_FOLDED} characters in its compared form")
    return unicodedata.normalize("NFC", name)


def _group(row: Row[Any]) -> Group:
    return Group(row.id, row.name, row.attributes)


# --------------------------------------------------------------------------------------------- finding


def find(scope: Scope, names: Sequence[str], *, lock: bool = True) -> list[Group | None]:
    """Return the groups of these names (any spelling), aligned with them; None where there is none.

    `lock` keeps them from being deleted or renamed while the transaction lasts, and lets others do the same.
    """
    folded = [fold(name) for name in names]
    if not folded:
        return []
    statement = select(groups).where(among(scope.conn, groups.c.name_folded, sorted(set(folded)))).order_by(groups.c.id)
    if lock:
        statement = statement.with_for_update(read=True, key_share=True)
    known = {row.name_folded: _group(row) for row in scope.conn.execute(statement)}
    return [known.get(name) for name in folded]


def get(scope: Scope, name: str, *, lock: bool = True) -> Group:
    """Return the group of this name. Raises Reject unknown_group."""
    [group] = find(scope, [name], lock=lock)
    if group is None:
        raise Reject("unknown_group", group=name)
    return group


def by_ids(scope: Scope, ids: Iterable[str]) -> dict[str, Group]:
    """Return the groups with these ids, by id."""
    return {row.id: _group(row) for row in select_by(scope.conn, groups.c.id, ids, groups)}


def take(scope: Scope, name: str, *, alone: bool = False) -> Group:
    """Return the group of this name, locked for a change; `alone` also keeps members from being added meanwhile.

    Raises Reject unknown_group.
    """
    statement = select(groups).where(groups.c.name_folded == fold(name)).with_for_update(key_share=not alone)
    row = scope.conn.execute(statement).one_or_none()
    if row is None:
        raise Reject("unknown_group", group=name)
    return _group(row)


def still(scope: Scope, found: Iterable[Group]) -> set[str]:
    """Return the ids of those groups that still exist, and keep them from being deleted meanwhile."""
    wanted = sorted({group.id for group in found})
    if not wanted:
        return set()
    statement = select(groups.c.id).where(among(scope.conn, groups.c.id, wanted)).order_by(groups.c.id)
    return set(scope.conn.execute(statement.with_for_update(read=True, key_share=True)).scalars())


def hold_graph(scope: Scope) -> None:
    """Take the one lock under which parents are changed, before any group's own row."""
    insert = postgresql.insert(meta) if scope.on_postgresql else sqlite.insert(meta)
    scope.conn.execute(insert.values(name=GRAPH_LOCK, value="").on_conflict_do_nothing())
    scope.conn.execute(select(meta.c.name).where(meta.c.name == GRAPH_LOCK).with_for_update())


# ------------------------------------------------------------------------------------ the groups themselves


def create(scope: Scope, name: str, parents: Sequence[Group], attributes: Mapping[str, Any]) -> Group | None:
    """Add a group below `parents`; None when the name is taken (also by a transaction that committed meanwhile)."""
    group = Group(new_id(), name, dict(attributes))
    row = {
        "id": group.id,
        "name": name,
        "name_folded": fold(name),
        "attributes": group.attributes,
        "created_at": scope.now,
        "updated_at": scope.now,
    }
    if not insert_rows(scope.conn, groups, [row], conflict="skip", returning=[groups.c.id]):
        return None
    add_parents(scope, group, parents)
    return group


def change(scope: Scope, group: Group, *, name: str | None = None, attributes: Mapping[str, Any] | None = None) -> None:
    """Rename a group or replace its attributes. Raises Reject group_exists, administrators_group."""
    values: dict[str, Any] = {"updated_at": scope.now}
    if name is not None:
        if fold(name) != fold(group.name):
            _not_the_administrators(scope, group)
            if find(scope, [name], lock=False) != [None]:
                raise Reject("group_exists", group=name)
        values |= {"name": name, "name_folded": fold(name)}
    if attributes is not None:
        values["attributes"] = attributes
    scope.conn.execute(update(groups).where(groups.c.id == group.id).values(values))


def remove_group(scope: Scope, group: Group) -> None:
    """Delete a group with its memberships, permissions and places in the tree. Raises Reject administrators_group."""
    _not_the_administrators(scope, group)
    scope.conn.execute(delete(groups).where(groups.c.id == group.id))


def _not_the_administrators(scope: Scope, group: Group) -> None:
    """The group that a setting names cannot go, or nobody would be an administrator any more."""
    if fold(group.name) == fold(scope.settings.administrators):
        raise Reject("administrators_group", group=group.name)


def size(scope: Scope, group: Group) -> tuple[int, int]:
    """Return how many people are directly in a group, and how many groups lie directly below it."""
    people = select(func.count()).select_from(membership).where(membership.c.group_id == group.id)
    below = select(func.count()).select_from(group_parent).where(group_parent.c.parent == group.id)
    return scope.conn.execute(people).scalar_one(), scope.conn.execute(below).scalar_one()


# --------------------------------------------------------------------------------------- who lies below whom


def parents_of(scope: Scope, group: Group) -> list[Group]:
    """Return the groups directly above, by name."""
    statement = select(groups).join(group_parent, group_parent.c.parent == groups.c.id)
    statement = statement.where(group_parent.c.child == group.id).order_by(groups.c.name_folded)
    return [_group(row) for row in scope.conn.execute(statement)]


def children_of(scope: Scope, group: Group) -> list[Group]:
    """Return the groups directly below, by name."""
    statement = select(groups).join(group_parent, group_parent.c.child == groups.c.id)
    statement = statement.where(group_parent.c.parent == group.id).order_by(groups.c.name_folded)
    return [_group(row) for row in scope.conn.execute(statement)]


def add_parents(scope: Scope, group: Group, parents: Sequence[Group]) -> int:
    """Put a group below others; returns how many were new. Raises Reject group_cycle.

    For a group that others may already lie above or below, call it under `hold_graph`.
    """
    below = {row.group_id for row in scope.conn.execute(select(_downwards(group.id).c.group_id))}
    for parent in parents:
        if parent.id in below:
            raise Reject("group_cycle", group=group.name, parent=parent.name)
    rows = [{"child": group.id, "parent": parent_id} for parent_id in sorted({parent.id for parent in parents})]
    return len(insert_rows(scope.conn, group_parent, rows, conflict="skip", returning=[group_parent.c.parent]))


def remove_parents(scope: Scope, group: Group, parents: Collection[Group]) -> int:
    """Take a group out from below others; returns from how many it was really taken."""
    statement = delete(group_parent).where(
        group_parent.c.child == group.id, group_parent.c.parent.in_([parent.id for parent in parents])
    )
    return scope.conn.execute(statement).rowcount


def _downwards(group_id: str) -> CTE:
    """The group and all groups below it: column `group_id`."""
    below = select(literal(group_id, groups.c.id.type).label("group_id")).cte("below", recursive=True)
    return below.union(
        select(group_parent.c.child).join(below, group_parent.c.parent == below.c.group_id)
    )


def _upwards(start: Select[Any]) -> CTE:
    """Every way in which people belong to groups, from the direct memberships in `start` upwards.

    Columns `user_id`, `group_id`, `via` (the group they are directly in), `origin`.
    """
    up = start.cte("up", recursive=True)
    return up.union(
        select(up.c.user_id, group_parent.c.parent, up.c.via, up.c.origin).join(
            group_parent, group_parent.c.child == up.c.group_id
        )
    )


# ------------------------------------------------------------------------------------------- who is in them


def effective_groups(scope: Scope, user_ids: Collection[str]) -> dict[str, list[Belonging]]:
    """Return every group that each person belongs to, directly or through groups below it, by group name.

    This and `members` are the only places where membership is inherited.
    """
    found: dict[str, list[Belonging]] = {user_id: [] for user_id in user_ids}
    if not found:
        return found
    direct = select(
        membership.c.user_id, membership.c.group_id, membership.c.group_id.label("via"), membership.c.origin
    ).where(among(scope.conn, membership.c.user_id, sorted(found)))
    rows = scope.conn.execute(select(_upwards(direct))).all()
    named = by_ids(scope, {group_id for row in rows for group_id in (row.group_id, row.via)})
    for row in rows:
        found[row.user_id].append(Belonging(named[row.group_id], named[row.via], Origin(row.origin)))
    for belongings in found.values():
        belongings.sort(key=lambda one: (fold(one.group.name), one.inherited, fold(one.via.name)))
    return found


def members(scope: Scope, group: Group, *, inherited: bool) -> list[str]:
    """Return the ids of the people in a group, sorted; with `inherited` also of those in the groups below it."""
    statement = select(membership.c.user_id).distinct().order_by(membership.c.user_id)
    if inherited:
        statement = statement.where(membership.c.group_id.in_(select(_downwards(group.id).c.group_id)))
    else:
        statement = statement.where(membership.c.group_id == group.id)
    return list(scope.conn.execute(statement).scalars())


def memberships(scope: Scope, user_ids: Collection[str]) -> dict[str, list[tuple[Group, Origin]]]:
    """Return the groups that each person is directly in, with who put them there, by group name."""
    found: dict[str, list[tuple[Group, Origin]]] = {user_id: [] for user_id in user_ids}
    if not found:
        return found
    statement = (
        select(groups, membership.c.user_id, membership.c.origin)
        .join(groups, groups.c.id == membership.c.group_id)
        .where(among(scope.conn, membership.c.user_id, sorted(found)))
        .order_by(groups.c.name_folded)
    )
    for row in scope.conn.execute(statement):
        found[row.user_id].append((_group(row), Origin(row.origin)))
    return found


def add(scope: Scope, pairs: Collection[Pair], origin: str) -> set[Pair]:
    """Put people into groups, given as (user id, group id); returns the pairs that were not there before.

    A pair that was there keeps its origin, or takes the stronger one. The people's rows are locked by the caller.
    """
    if not pairs:
        return set()
    mark = Origin(origin)
    rows = [
        {"user_id": user_id, "group_id": group_id, "origin": mark.value, "added_at": scope.now}
        for user_id, group_id in sorted(set(pairs))
    ]
    returning = [membership.c.user_id, membership.c.group_id]
    made = {(row.user_id, row.group_id) for row in insert_rows(scope.conn, membership, rows, conflict="skip", returning=returning)}
    weaker = STRENGTH[: STRENGTH.index(mark)]
    there = set(pairs) - made
    if weaker and there:
        statement = update(membership).values(origin=mark.value)
        scope.conn.execute(statement.where(_among_pairs(scope, there), membership.c.origin.in_(weaker)))
    return made


def remove(scope: Scope, pairs: Collection[Pair], *, origins: Collection[str] | None = None) -> set[Pair]:
    """Take people out of groups, given as (user id, group id); returns the pairs that were really there.

    `origins` limits it to memberships put there by these. The people's rows are locked by the caller.
    """
    if not pairs:
        return set()
    statement = delete(membership).where(_among_pairs(scope, pairs))
    if origins is not None:
        statement = statement.where(membership.c.origin.in_([Origin(origin) for origin in origins]))
    rows = scope.conn.execute(statement.returning(membership.c.user_id, membership.c.group_id))
    return {(row.user_id, row.group_id) for row in rows}


def _among_pairs(scope: Scope, pairs: Collection[Pair]) -> Any:
    rows = [{"user_id": user_id, "group_id": group_id} for user_id, group_id in sorted(set(pairs))]
    given = rows_as_table(scope.conn, [membership.c.user_id, membership.c.group_id], rows, name="pairs")
    return tuple_(membership.c.user_id, membership.c.group_id).in_(select(given.c.user_id, given.c.group_id))


# ------------------------------------------------------------------------------------------- administrators


@dataclass
class _Administration:
    """Who the administrators are: the groups that make each person one, and who of them can act at present."""

    ways: dict[str, set[str]]
    active: set[str]
    able: set[str]


def _administration(scope: Scope) -> _Administration:
    found = _Administration({}, set(), set())
    top = scope.conn.execute(
        select(groups.c.id).where(groups.c.name_folded == fold(scope.settings.administrators))
    ).scalar_one_or_none()
    if top is None:
        return found
    statement = (
        select(membership.c.user_id, membership.c.group_id, users.c.is_active, users.c.locked_at)
        .join(users, users.c.id == membership.c.user_id)
        .where(membership.c.group_id.in_(select(_downwards(top).c.group_id)), users.c.is_active)
    )
    for row in scope.conn.execute(statement):
        found.ways.setdefault(row.user_id, set()).add(row.group_id)
        found.active.add(row.user_id)
        if row.locked_at is None:
            found.able.add(row.user_id)
    return found


def administrators(scope: Scope) -> set[str]:
    """Return the ids of the administrators who can act: active, not locked, in the group of that setting or below it."""
    return _administration(scope).able


def hold_administrators(scope: Scope, *, change: bool) -> None:
    """Lock the administrators' row: for a change of who they are, or (shared) while relying on who is none."""
    statement = select(groups.c.id).where(groups.c.name_folded == fold(scope.settings.administrators))
    scope.conn.execute(statement.with_for_update(key_share=True) if change else statement.with_for_update(read=True))


def last_administrators(scope: Scope, leaving: Sequence[str]) -> set[str]:
    """Return those of the people leaving (in this order) without whom no administrator would be left.

    Lock their rows first. Locks the administrators' row too, so that two transactions cannot each take the other's
    last one: shared if none of them is an administrator, alone if one is.
    """
    return {user_id for user_id, _ in _last(scope, [(user_id, None) for user_id in leaving])}


def last_administrator_pairs(scope: Scope, pairs: Sequence[Pair]) -> set[Pair]:
    """Return those (user id, group id) pairs, in this order, without which no administrator would be left."""
    return {(user_id, group_id) for user_id, group_id in _last(scope, pairs) if group_id is not None}


def _last(scope: Scope, leaving: Sequence[tuple[str, str | None]]) -> set[tuple[str, str | None]]:
    def concerned(now: _Administration) -> bool:
        return any(group_id is None or group_id in now.ways[user_id] for user_id, group_id in leaving if user_id in now.ways)

    found = _administration(scope)
    hold_administrators(scope, change=concerned(found))
    found = _administration(scope)
    if not concerned(found):
        return set()
    hold_administrators(scope, change=True)
    refused: set[tuple[str, str | None]] = set()
    for user_id, group_id in leaving:
        rest = found.ways.get(user_id, set()) - ({group_id} if group_id else found.ways.get(user_id, set()))
        if user_id not in found.active or rest:
            found.ways[user_id] = rest
        elif found.able - {user_id}:
            found.ways[user_id] = rest
            found.active.discard(user_id)
            found.able.discard(user_id)
        else:
            refused.add((user_id, group_id))
    return refused


def keep_an_administrator(scope: Scope, before: Collection[str]) -> None:
    """Refuse a change to the tree that left no administrator where there were some. Raises Reject last_administrator."""
    if before and not administrators(scope):
        raise Reject("last_administrator", user=_names(scope, before))


def _names(scope: Scope, user_ids: Collection[str]) -> str:
    rows = select_by(scope.conn, users.c.id, user_ids, users.c.username)
    return ", ".join(sorted(row.username for row in rows))
