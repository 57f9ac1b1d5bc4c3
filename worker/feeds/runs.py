"""Runs: each is one plan, from the input that it was made of to the jobs that it became."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, tuple_

from worker.bulk import rows_as_table
from worker.feed_tables import feed_action, feed_run
from worker.tables import job

# A plan is a picture of one day; older ones are made anew.
PLAN_LIFE = timedelta(days=7)
# Long enough to be read and decided by two people, too short to be forgotten and used another day.
APPROVAL_LIFE = timedelta(hours=24)
# Characters of a plan's hash that people have to type.
HASH_SHOWN = 12
# What of a line its plan's hash is made of: whom it is about, what is done, and the exact jobs.
HASHED = ("external_id", "action", "code", "changes", "groups", "jobs", "person")
# Of the accepted state it leads to, what does not depend on the moment.
HASHED_STATE = ("account", "username", "digest", "fields", "phase")
# Made once: json.dumps makes a new encoder at each call that does not use the defaults.
_dump = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode

PLANNING, PLANNED, HELD, APPROVED, APPLYING, APPLIED, REFUSED, DROPPED = (
    "planning", "planned", "held", "approved", "applying", "applied", "refused", "dropped",
)  # fmt: skip


class NoSuchRun(Exception):
    """There is no such run or plan. `muster feed runs` lists them."""


@dataclass(frozen=True)
class Run:
    """One row of feed_run."""

    id: str
    source: str
    origin: str
    input: str | None
    state: str
    hash: str | None
    base_version: int | None
    reading: Mapping[str, Any]
    counts: Mapping[str, int]
    brakes: Sequence[Mapping[str, Any]]
    problem: str | None
    requested_by: str | None
    approved_by: str | None
    approved_reason: str | None
    approved_until: datetime | None
    total: int
    carried: int
    created_at: datetime
    applied_at: datetime | None
    finished_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """The object that every door prints for a run."""
        return {
            "id": self.id, "source": self.source, "origin": self.origin, "input": self.input, "state": self.state,
            "plan": self.hash, "counts": dict(self.counts), "brakes": [dict(brake) for brake in self.brakes],
            "problem": self.problem, "total": self.total, "carried": self.carried, "requested_by": self.requested_by,
            "approved_by": self.approved_by, "approved_reason": self.approved_reason,
            "approved_until": self.approved_until, "created_at": self.created_at, "applied_at": self.applied_at,
            "finished_at": self.finished_at, "reading": dict(self.reading),
        }  # fmt: skip


def from_row(row: Any) -> Run:
    """Return a row of feed_run as a Run."""
    facts = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)
    return Run(**{**facts, "reading": row.reading or {}, "counts": row.counts or {}, "brakes": row.brakes or []})


def find(conn: Connection, name: str) -> Run:
    """Return the newest run whose id, or whose plan's hash, begins with `name` (at least 8 characters)."""
    name = name.strip().lower()
    if len(name) >= 8 and all(letter in "0123456789abcdef-" for letter in name):
        statement = select(feed_run).where(feed_run.c.hash.like(f"{name}%")).order_by(feed_run.c.id.desc()).limit(1)
        row = conn.execute(statement).first()
        if row is None:
            low, high = name + "00000000-0000-0000-0000-000000000000"[len(name) :], name + "ffffffff-ffff-ffff-ffff-ffffffffffff"[len(name) :]
            if [len(part) for part in low.split("-")] == [8, 4, 4, 4, 12]:
                found = conn.execute(select(feed_run).where(feed_run.c.id.between(low, high)).limit(2)).all()
                row = found[0] if len(found) == 1 else None
        if row is not None:
            return from_row(row)
    raise NoSuchRun(f"There is no run or plan {name!r}. `muster feed runs` lists them; write at least 8 characters.")


def get(conn: Connection, run_id: str, *, lock: bool = False) -> Run:
    """Return a run by its id."""
    statement = select(feed_run).where(feed_run.c.id == run_id)
    row = conn.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise NoSuchRun(f"There is no run {run_id}.")
    return from_row(row)


def latest(conn: Connection, *which: ColumnElement[bool], limit: int) -> list[Run]:
    """Return the latest runs, newest first."""
    statement = select(feed_run).where(*which).order_by(feed_run.c.id.desc()).limit(limit)
    return [from_row(row) for row in conn.execute(statement)]


def fingerprint(source: str, version: int) -> "hashlib._Hash":
    """Begin the hash of a plan: the same actions on the same state are the same plan."""
    return hashlib.sha256(f"{source}\0{version}\n".encode())


def tell(told: "hashlib._Hash", line: Mapping[str, Any]) -> None:
    """Add a line to the hash; it has at least the columns HASHED."""
    said = [line[name] for name in HASHED[:-1]]
    person = line["person"]
    if person is not None:
        said.append([person[name] for name in HASHED_STATE])
    told.update(_dump(said).encode() + b"\n")


def job_key(run_id: str, number: int, place: int) -> str:
    """The idempotency key of one job of one line of a plan."""
    return f"{run_id}/{number}/{place}"


def lines(
    conn: Connection, run_id: str, *which: ColumnElement[bool], after: int = 0, limit: int, only: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return lines of a plan in order, those after number `after`, as columns of feed_action; `only` these, and the number."""
    columns = [feed_action.c.number, *(feed_action.c[name] for name in only)] if only else [feed_action]
    statement = (
        select(*columns)
        .where(feed_action.c.run == run_id, feed_action.c.number > after, *which)
        .order_by(feed_action.c.number)
        .limit(limit)
    )
    return [dict(row._mapping) for row in conn.execute(statement)]  # noqa: SLF001


def all_lines(
    conn: Connection, run_id: str, *which: ColumnElement[bool], size: int = 1_000, only: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield every line of a plan in order, a thousand at a time."""
    after = 0
    while part := lines(conn, run_id, *which, after=after, limit=size, only=only):
        yield from part
        after = part[-1]["number"]


def outcomes(conn: Connection, source: str, found: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], dict[str, Any]]:
    """Return what became of the jobs of these lines: (number, place) -> id, state, reason, reason_text."""
    keys = {
        job_key(line["run"], line["number"], place): (line["number"], place)
        for line in found
        for place, _ in enumerate(line["jobs"] or ())
    }
    if not keys:
        return {}
    wanted = rows_as_table(conn, [job.c.source, job.c.key], [{"source": source, "key": key} for key in sorted(keys)])
    statement = select(job.c.id, job.c.key, job.c.state, job.c.reason, job.c.reason_text).where(
        tuple_(job.c.source, job.c.key).in_(select(wanted.c.source, wanted.c.key))
    )
    return {
        keys[row.key]: {"id": row.id, "state": row.state, "reason": row.reason, "reason_text": row.reason_text}
        for row in conn.execute(statement)
    }


def jobs_of(run: Run, source: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions that pick the jobs of a run."""
    # Ids grow with time: what is older than the run, by clocks an hour apart, need not be looked at.
    since = f"{max(int(run.id[:8] + run.id[9:13], 16) - 3_600_000, 0):012x}"
    return (job.c.source == source, job.c.key.like(f"{run.id}/%"), job.c.id > f"{since[:8]}-{since[8:]}-0000-0000-000000000000")


def progress(conn: Connection, run: Run, source: str) -> dict[str, int]:
    """Count the jobs of a run by state."""
    statement = (
        select(job.c.state, func.count())
        .where(*jobs_of(run, source))
        .group_by(job.c.state)
        .order_by(job.c.state)
    )
    return {row[0]: row[1] for row in conn.execute(statement)}
