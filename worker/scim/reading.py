"""Reads people and groups from the directory for SCIM clients: one by its id, or a page of those that a filter finds."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from scim2_models import ScimFilter
from scim2_models.path import AttributeBinding
from sqlalchemy import Connection, Row, Text, and_, cast, func, literal, null, select, union_all

from worker.bulk import among
from worker.database import Database
from worker.directory.accounts import User, from_row
from worker.door_tables import scim_link
from worker.ids import is_id
from worker.jobs import fold
from worker.scim import filters
from worker.scim.people import Person
from worker.scim.places import GroupPlaces, PeoplePlaces
from worker.scim.sql import Words, best_collation
from worker.tables import group_parent, groups, membership, users

Type = Literal["User", "Group"]

# A page of groups ends before it would hold more members than this together (about 10 MB); clients ask for the next one,
# as a page may always be shorter than they wished (RFC 7644, 3.4.2.4).
MOST_MEMBERS = 50_000
# The directory has fewer records; what is larger only overflows the database's numbers.
FURTHEST = 2**31


class Member(NamedTuple):
    """One part of a group: a person, or a group below it."""

    id: str
    type: Type


@dataclass(frozen=True)
class Team:
    """A group with what stands in other rows. `members` is None where they were not asked for; `size` counts them."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime
    size: int
    version: str
    external_id: str | None = None
    members: Sequence[Member] | None = None


@dataclass(frozen=True)
class Wanted:
    """What is looked for among one type of records: bound to its model."""

    type: Type
    filter: ScimFilter[Any] | None = None
    sort_by: AttributeBinding | None = None


@dataclass(frozen=True)
class Window:
    """Which part of what was found: from the `start`th (from 0), `count` at most (None: all)."""

    start: int = 0
    count: int | None = None
    descending: bool = False


@dataclass
class Reader:
    """The directory as one client sees it."""

    database: Database
    client: str
    collations: dict[str, str | None] = field(default_factory=dict)

    # ------------------------------------------------------------------------------------------------- people

    def person(self, user_id: str, *, with_groups: bool = True) -> Person | None:
        """Return one account, None where there is none."""
        with self.database.read() as conn:
            return self._people(conn, [user_id], with_groups=with_groups).get(user_id)

    def _people(self, conn: Connection, ids: Sequence[str], *, with_groups: bool) -> dict[str, Person]:
        ids = [one for one in ids if is_id(one)]
        if not ids:
            return {}
        link = and_(scim_link.c.user_id == users.c.id, scim_link.c.client == self.client)
        columns = [users.c[name] for name in User._fields]
        statement = select(*columns, scim_link.c.external_id.label("link")).select_from(users.outerjoin(scim_link, link))
        rows = conn.execute(statement.where(among(conn, users.c.id, ids))).all()
        theirs = _groups_of(conn, ids) if with_groups else {}
        return {
            row[0]: Person(from_row(row[: len(columns)]), row.link, theirs.get(row[0], ()))  # type: ignore[arg-type]
            for row in rows
        }

    # ------------------------------------------------------------------------------------------------- groups

    def team(self, group_id: str, *, with_members: bool = True) -> Team | None:
        """Return one group, None where there is none."""
        with self.database.read() as conn:
            return self._teams(conn, [group_id], with_members=with_members).get(group_id)

    def _teams(self, conn: Connection, ids: Sequence[str], *, with_members: bool) -> dict[str, Team]:
        ids = [one for one in ids if is_id(one)]
        if not ids:
            return {}
        link = and_(scim_link.c.group_id == groups.c.id, scim_link.c.client == self.client)
        statement = select(groups, scim_link.c.external_id.label("link")).select_from(groups.outerjoin(scim_link, link))
        rows = conn.execute(statement.where(among(conn, groups.c.id, ids))).all()
        count, newest = func.count(), func.max(membership.c.added_at)
        people = select(membership.c.group_id, count, newest).where(among(conn, membership.c.group_id, ids))
        sizes = {one: (number, last) for one, number, last in conn.execute(people.group_by(membership.c.group_id))}
        below = _below(conn, ids)
        members = _members(conn, ids, below) if with_members else None
        found = {}
        for row in rows:
            number, last = sizes.get(row.id, (0, None))
            children = below.get(row.id, [])
            # Every change of a group changes one of these: whoever comes is the newest, whoever goes makes it smaller.
            facts = (row.updated_at, number, last, sorted(child.id for child in children), row.link)
            version = f'W/"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"'
            found[row.id] = Team(
                row.id, row.name, row.created_at, row.updated_at, number + len(children), version, row.link,
                None if members is None else members.get(row.id, []),
            )  # fmt: skip
        return found

    def parts_of(self, group_id: str) -> dict[str, Type]:
        """Return the ids of what is directly in a group, and no more of them."""
        with self.database.read() as conn:
            people = conn.execute(select(membership.c.user_id).where(membership.c.group_id == group_id)).scalars().all()
            below = conn.execute(select(group_parent.c.child).where(group_parent.c.parent == group_id)).scalars().all()
        return dict.fromkeys(people, "User") | dict.fromkeys(below, "Group")

    def parts_among(self, group_id: str, ids: Collection[str]) -> dict[str, Type]:
        """Return which of these are directly in a group."""
        wanted = sorted(one for one in set(ids) if is_id(one))
        with self.database.read() as conn:
            people = select(membership.c.user_id).where(
                membership.c.group_id == group_id, among(conn, membership.c.user_id, wanted)
            )
            below = select(group_parent.c.child).where(
                group_parent.c.parent == group_id, among(conn, group_parent.c.child, wanted)
            )
            found: dict[str, Type] = dict.fromkeys(conn.execute(people).scalars(), "User")
            return found | dict.fromkeys(conn.execute(below).scalars(), "Group")

    def known(self, ids: Collection[str]) -> dict[str, tuple[Type, str]]:
        """Return which of these ids are there, what they are, and their names."""
        wanted = sorted(one for one in set(ids) if is_id(one))
        found: dict[str, tuple[Type, str]] = {}
        with self.database.read() as conn:
            people = select(users.c.id, users.c.username).where(among(conn, users.c.id, wanted))
            found |= {one: ("User", name) for one, name in conn.execute(people)}
            teams = select(groups.c.id, groups.c.name).where(among(conn, groups.c.id, wanted))
            return found | {one: ("Group", name) for one, name in conn.execute(teams)}

    def user_named(self, name: str) -> str | None:
        """Return whom a client means by a manager's id: an id of ours, its own id for somebody, or a username."""
        with self.database.read() as conn:
            asked = [
                select(scim_link.c.user_id).where(
                    scim_link.c.client == self.client, scim_link.c.external_id == name, scim_link.c.user_id.is_not(None)
                ),
                select(users.c.id).where(users.c.username_folded == fold(name)),
            ]  # fmt: skip
            if is_id(name):
                asked.insert(0, select(users.c.id).where(users.c.id == name))
            found = (conn.execute(statement.limit(2)).scalars().all() for statement in asked)
            return next((ids[0] for ids in found if len(ids) == 1), None)

    # ------------------------------------------------------------------------------------------------- search

    def search(
        self, wanted: Sequence[Wanted], window: Window, *, with_groups: bool, with_members: bool
    ) -> tuple[int, list[Person | Team]]:
        """Return how many records match, and those within the window. Raises InvalidFilterException and the like."""
        with self.database.read() as conn:
            words = Words(conn, self._collation(conn))
            selects = [self._select(one, words) for one in wanted]
            together: Any = selects[0] if len(selects) == 1 else union_all(*selects)
            everything = together.subquery("found")
            total: int = conn.execute(select(func.count()).select_from(everything)).scalar_one()
            if window.count == 0 or window.start >= min(total, FURTHEST):
                return total, []
            sort, tie = everything.c.sort, everything.c.id
            order: list[Any] = [sort.is_(None), sort, tie]
            if window.descending:
                order = [one.desc() for one in order]
            page = select(everything.c.type, tie).order_by(*order)
            rows = conn.execute(page.limit(window.count).offset(window.start)).all()
            if with_members:
                rows = _as_many_as_fit(conn, rows)
            people = self._people(conn, [row.id for row in rows if row.type == "User"], with_groups=with_groups)
            teams = self._teams(conn, [row.id for row in rows if row.type == "Group"], with_members=with_members)
        found: Mapping[str, Person | Team] = {**people, **teams}
        return total, [found[row.id] for row in rows if row.id in found]

    def _select(self, wanted: Wanted, words: Words) -> Any:
        places: Any = PeoplePlaces(words, self.client) if wanted.type == "User" else GroupPlaces(words, self.client)
        sort: Any = cast(null(), Text)
        if wanted.sort_by is not None:
            sort = filters.order(wanted.sort_by, places, words)
        statement = select(places.id.label("id"), literal(wanted.type).label("type"), sort.label("sort"))
        if wanted.filter is not None:
            statement = statement.where(filters.condition(wanted.filter, places, words))
        return statement

    def _collation(self, conn: Connection) -> str | None:
        if "" not in self.collations:
            self.collations[""] = best_collation(conn)
        return self.collations[""]


def _as_many_as_fit(conn: Connection, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Return the rows (type, id) of a page up to the one with which its groups have too many members; one at least."""
    teams = [row.id for row in rows if row.type == "Group"]
    if not teams:
        return rows
    statement = select(membership.c.group_id, func.count().label("size")).where(among(conn, membership.c.group_id, teams))
    sizes = {row.group_id: row.size for row in conn.execute(statement.group_by(membership.c.group_id))}
    together = accumulate(sizes.get(row.id, 0) for row in rows)
    fitting = sum(1 for number in together if number <= MOST_MEMBERS)
    return rows[: max(1, fitting)]


def _groups_of(conn: Connection, ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    statement = (
        select(membership.c.user_id, groups.c.id, groups.c.name)
        .join_from(membership, groups, groups.c.id == membership.c.group_id)
        .where(among(conn, membership.c.user_id, ids))
        .order_by(groups.c.name_folded)
    )
    return _gathered((user_id, (group_id, name)) for user_id, group_id, name in conn.execute(statement))


def _below(conn: Connection, ids: Sequence[str]) -> dict[str, list[Member]]:
    statement = (
        select(group_parent.c.parent, group_parent.c.child)
        .where(among(conn, group_parent.c.parent, ids))
        .order_by(group_parent.c.child)
    )
    return _gathered((parent, Member(child, "Group")) for parent, child in conn.execute(statement))


def _members(conn: Connection, ids: Sequence[str], below: Mapping[str, Sequence[Member]]) -> dict[str, list[Member]]:
    statement = (
        select(membership.c.group_id, membership.c.user_id)
        .where(among(conn, membership.c.group_id, ids))
        .order_by(membership.c.user_id)
    )
    people = _gathered((group_id, Member(one, "User")) for group_id, one in conn.execute(statement))
    return {one: [*people.get(one, ()), *below.get(one, ())] for one in ids}


def _gathered(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
