"""The accepted state: what each source said of each person when its last plan was applied."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, union

from worker.bulk import select_by
from worker.database import Database
from worker.feed_tables import feed_person
from worker.feeds.claims import Claims
from worker.feeds.compare import Applied, applied_from
from worker.tables import users

# Of a page of the walk only four short columns are read; 5,000 are a megabyte.
PAGE = 5_000
# Whoever is there, or about to be, counts as somebody whom a plan could hurt.
PRESENT = ("prehire", "active", "leave")


class Known(NamedTuple):
    """As much of a person as a walk along a sorted file needs."""

    external_id: str
    digest: str | None
    phase: str
    absent_runs: int


@dataclass(frozen=True)
class Person:
    """One row of the accepted state."""

    external_id: str
    account: str
    username: str | None
    digest: str | None
    claims: Claims
    applied: Applied | None
    stored: Mapping[str, Any] | None
    phase: str
    absent_runs: int
    waiting_for: str | None
    due_at: datetime | None
    changed_at: datetime
    raw: str | None


def walk(database: Database, source: str) -> Iterator[Known]:
    """Yield everybody of a source in byte order of their ids, page by page, holding no transaction in between."""
    table = feed_person.c
    last: str | None = None
    while True:
        statement = select(table.external_id, table.digest, table.phase, table.absent_runs).where(table.source == source)
        if last is not None:
            statement = statement.where(table.external_id > last)
        with database.read() as conn:
            rows = conn.execute(statement.order_by(table.external_id).limit(PAGE)).all()
        for row in rows:
            yield Known(*row)
        if len(rows) < PAGE:
            return
        last = rows[-1].external_id


def load(conn: Connection, source: str, ids: Collection[str]) -> dict[str, Person]:
    """Return those of these people who are known."""
    rows = select_by(conn, feed_person.c.external_id, ids, feed_person, where=[feed_person.c.source == source])
    return {row.external_id: _person(row) for row in rows}


def _person(row: Any) -> Person:
    claims = Claims(
        row.fields, {name: (stamp[0], stamp[1]) for name, stamp in row.stamps.items()},
        tuple(((stamp[0], stamp[1]), fields) for stamp, fields in row.later),
    )  # fmt: skip
    return Person(
        row.external_id, row.account, row.username, row.digest, claims, applied_from(row.applied), row.applied, row.phase,
        row.absent_runs, row.waiting_for, row.due_at, row.changed_at, row.raw,
    )  # fmt: skip


def present(conn: Connection, source: str) -> int:
    """Count the people of a source who have, or are about to have, access: what the percentages of brakes refer to."""
    statement = select(func.count()).select_from(feed_person).where(
        feed_person.c.source == source, feed_person.c.phase.in_(PRESENT)
    )
    return int(conn.execute(statement).scalar_one())


def due(conn: Connection, source: str, now: datetime, limit: int) -> list[str]:
    """Return the ids of those for whom time alone changed what is desired, the longest overdue first."""
    statement = (
        select(feed_person.c.external_id)
        .where(feed_person.c.source == source, feed_person.c.due_at <= now)
        .order_by(feed_person.c.due_at, feed_person.c.external_id)
        .limit(limit)
    )
    return list(conn.execute(statement).scalars())


def whose_manager_came(conn: Connection, source: str, prefix: str, limit: int) -> list[str]:
    """Return the ids of those whose manager has an account by now, whichever door made it."""
    manager = feed_person.alias()
    waiting = (feed_person.c.source == source, feed_person.c.waiting_for.is_not(None))
    mine = (manager.c.source == source) & (manager.c.external_id == feed_person.c.waiting_for)
    here = select(feed_person.c.external_id).join(manager, mine).where(*waiting, manager.c.phase.in_(PRESENT))
    there = (
        select(feed_person.c.external_id)
        .join(users, users.c.external_id == prefix + feed_person.c.waiting_for)
        .where(*waiting)
    )
    found = union(here, there).subquery()
    return list(conn.execute(select(found.c.external_id).order_by(found.c.external_id).limit(limit)).scalars())


Others = tuple[dict[str, dict[str, set[str]]], dict[str, set[str]]]


def others_say(conn: Connection, source: str, accounts: Collection[str]) -> Others:
    """Return what other sources say of these accounts.

    Of which fields they have the person's word: account -> source -> fields; and which groups they want it to be in.
    """
    rows = select_by(
        conn, feed_person.c.account, accounts, feed_person.c.account, feed_person.c.source, feed_person.c.fields,
        feed_person.c.applied, where=[feed_person.c.source != source, feed_person.c.phase.in_(PRESENT)],
    )  # fmt: skip
    fields: dict[str, dict[str, set[str]]] = {}
    groups: dict[str, set[str]] = {}
    for row in rows:
        fields.setdefault(row.account, {})[row.source] = {name for name, value in row.fields.items() if value is not None}
        if row.applied and row.applied.get("groups"):
            groups.setdefault(row.account, set()).update(row.applied["groups"])
    return fields, groups
