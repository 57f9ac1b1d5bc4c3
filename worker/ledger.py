"""The life of a job in SQL: claim, finish, retry, snooze, hold, cancel, re-drive. Nothing else writes a job's state."""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Text, and_, cast, delete, literal, literal_column, select, update

from worker import lines
from worker.bulk import among, insert_rows, update_rows
from worker.ids import new_id, new_ids
from worker.jobs import Kind, Policy, Registry
from worker.outcomes import reason_text
from worker.scope import Scope
from worker.states import FINISHED, State, before
from worker.tables import attempt, batch, job

# A lower priority number goes first, but each step is worth only this much waiting: nothing starves.
PRIORITY_STEP = timedelta(seconds=60)
HIGHEST_STEP = 9
# SQLite has one writer: a batch holds it for about 50 ms, so that a single submit is not kept waiting.
SQLITE_BATCH = 150
# A retry never comes back in the same instant: full jitter may draw zero.
SHORTEST_BACKOFF = timedelta(milliseconds=50)
# A job at three crashes - in its batch, in small company, and alone - is the killer.
CRASHES = 3
SUSPECTS = 25

Lifted = set[tuple[str, bool]]
Change = Mapping[str, Any]

_queued = job.c.state == literal_column("'queued'")


def rank(run_at: datetime, priority: int) -> datetime:
    """Return the order of claiming: the due time, aged by the priority. In UTC: wall clocks jump."""
    return run_at.astimezone(UTC) + priority * PRIORITY_STEP


def backoff(policy: Policy, tries: int) -> timedelta:
    """Return the wait before the next try: uniform between nothing and base·2ⁿ, capped (full jitter)."""
    top = min(policy.cap, policy.base * (1 << min(tries, 20)))
    return max(SHORTEST_BACKOFF, top * random.random())


# ------------------------------------------------------------------------------------------------- claiming


def note_batch(
    scope: Scope, kind: Kind, urgent: bool, worker_id: str, limit: int | None = None
) -> tuple[str, list[str], bool] | None:
    """Choose due jobs of a kind and note, for the case of a crash, that this worker is about to do them.

    Jobs that were in hand when a worker died come in small company, then alone; jobs of a payload version that this worker does not know are
    left to a newer one. Returns (batch id, job ids, whether more may be due), or None when nothing
    is due.
    """
    noted = [job_id for row in scope.conn.execute(select(batch.c.jobs)) for job_id in row.jobs]
    due = [
        _queued,
        job.c.kind == kind.name,
        job.c.urgent.is_(urgent),
        job.c.rank <= rank(scope.now, HIGHEST_STEP),
        job.c.run_at <= scope.now,
        job.c.version <= kind.payload.version,
    ]
    if noted:
        due.append(~among(scope.conn, job.c.id, noted))
    wanted = limit or kind.policy.batch
    if not scope.on_postgresql:
        wanted = min(wanted, SQLITE_BATCH)
    statement = (
        select(job.c.id, job.c.crashes)
        .where(*due)
        .order_by(job.c.rank)
        .limit(wanted)
        .with_for_update(skip_locked=True)
    )
    rows = scope.conn.execute(statement).all()
    # Who was in hand at one crash is tried in small company, so that a thousand innocent neighbours are not done one by
    # one; who was at two crashes is done alone.
    again, once = ([row.id for row in rows if row.crashes > 1], [row.id for row in rows if row.crashes == 1])
    chosen = again[:1] or once[:SUSPECTS] or [row.id for row in rows]
    if not chosen:
        return None
    note_id = new_id()
    insert_rows(scope.conn, batch, [{"id": note_id, "worker": worker_id, "jobs": chosen, "at": scope.now}])
    return note_id, chosen, len(chosen) < len(rows) or len(rows) >= wanted


def claim(scope: Scope, ids: Sequence[str]) -> list[Row[Any]]:
    """Lock those of the jobs that are still queued; on PostgreSQL the row lock is the lease."""
    statement = (
        select(job)
        .where(among(scope.conn, job.c.id, sorted(ids)), _queued)
        .order_by(job.c.id)
        .with_for_update(skip_locked=True)
    )
    return sorted(scope.conn.execute(statement).all(), key=lambda row: (row.rank, row.id))


def drop_note(scope: Scope, note_id: str) -> None:
    """The batch is over: the note goes in the same transaction as the outcome."""
    scope.conn.execute(delete(batch).where(batch.c.id == note_id))


# ------------------------------------------------------------------------------------------------ finishing


def move(scope: Scope, to: State, rows: Sequence[Change], where: Sequence[Any] = (), **same: Any) -> int:
    """Move jobs to a state, each with its own values (`rows`, with ids) and some that are the same for all.

    Only moves of `states.MOVES` happen; returns how many did. Whoever ends also ends its sealed fields and its lease.
    """
    if not rows:
        return 0
    same = {"state": to.value, **same}
    if to in FINISHED:
        same.update(finished_at=scope.now, sealed=None, lease=None, lease_until=None)
    return update_rows(
        scope.conn, job, sorted(rows, key=lambda row: str(row["id"])), where=[job.c.state.in_(before(to)), *where], same=same
    )


def note_attempts(scope: Scope, rows: Sequence[Change], worker_id: str | None) -> None:
    """Write one line of history for each try that did not succeed: job, number, outcome, code, text, trace."""
    made = [
        {"id": attempt_id, "at": scope.now, "worker": worker_id, "trace": None, **row}
        for attempt_id, row in zip(new_ids(len(rows)), rows, strict=True)
    ]
    insert_rows(scope.conn, attempt, made)


def leave_line(scope: Scope, subjects: Collection[str | None]) -> Lifted:
    """Jobs of these subjects left the line: let the next ones go. Their lines must be locked."""
    return lines.lift(scope, sorted({subject for subject in subjects if subject is not None}))


# ---------------------------------------------------------------------------------- people and other jobs at it


def locked(scope: Scope, where: Sequence[Any]) -> list[Row[Any]]:
    """Lock jobs by id, then their lines: the order everybody keeps."""
    rows = scope.conn.execute(select(job).where(*where).order_by(job.c.id).with_for_update()).all()
    lines.lock(scope, [row.subject for row in rows if row.subject is not None])
    return list(rows)


def cancel(scope: Scope, where: Sequence[Any], *, by: str, code: str = "cancelled") -> tuple[list[str], Lifted]:
    """Cancel the jobs that match and may still be cancelled; returns their ids and whom that lifted.

    A mail past its handing over is not cancelled: it is too late.
    """
    rows = [row for row in locked(scope, where) if row.state in before(State.CANCELLED)]
    text = reason_text(code, {"by": by})
    moved = [{"id": row.id} for row in rows]
    move(scope, State.CANCELLED, moved, reason=code, reason_text=text, seq=None)
    lines.forget_claims(scope, [row.id for row in rows])
    return [row.id for row in rows], leave_line(scope, {row.subject for row in rows})


def hold(scope: Scope, where: Sequence[Any], *, why: str) -> tuple[list[str], Lifted]:
    """Take jobs out of the way until a person releases them; they stand in no line meanwhile."""
    rows = [row for row in locked(scope, where) if row.state in before(State.HELD)]
    move(scope, State.HELD, [{"id": row.id} for row in rows], reason="held", reason_text=why, seq=None,
         lease=None, lease_until=None)
    return [row.id for row in rows], leave_line(scope, {row.subject for row in rows})


#: What `retry` may bring back: everything that ended without success, and what is held.
REDRIVABLE = and_(
    job.c.pruned.is_(False),
    (job.c.state.in_(["failed", "rejected", "held", "unknown"]))
    | ((job.c.state == "cancelled") & (job.c.reason.in_(["expired", "cancelled"]))),
)


def redrivable(registry: Registry) -> ColumnElement[bool]:
    """What a person may bring back. What was sealed is erased when a job ends: such a job has to be submitted anew."""
    sealing = [kind.name for kind in registry if kind.payload.sealed_fields]
    return and_(REDRIVABLE, ~(job.c.kind.in_(sealing) & job.c.sealed.is_(None)))


def redrive(
    scope: Scope, where: Sequence[Any], *, edges: Mapping[str, timedelta | None], sealed: Change | None = None
) -> tuple[list[Row[Any]], Lifted]:
    """Give jobs a fresh budget; their history stays. `edges`: the edge kinds and the useful life of each.

    A mail starts afresh (new link, new Message-ID): what an earlier try froze is forgotten, unless its outcome is
    unknown - then the same bytes go out again.
    """
    rows = locked(scope, [*where, REDRIVABLE])
    fresh = [row for row in rows if row.state != State.UNKNOWN]
    for kind in {row.kind for row in fresh}:
        life = edges.get(kind)
        afresh: dict[str, Any] = {
            "frozen": None, "finished_at": None, "result": None,
            "deadline": scope.now + life if life is not None else None,
        }
        if sealed is not None:
            afresh["sealed"] = sealed
        ids = [row.id for row in fresh if row.kind == kind]
        scope.conn.execute(update(job).where(among(scope.conn, job.c.id, ids)).values(afresh))
    scope.conn.execute(
        update(job).where(among(scope.conn, job.c.id, [row.id for row in rows])).values(
            attempts=0, crashes=0, reason=None, reason_text=None, lease=None, lease_until=None)
    )
    return rows, step_up(scope, rows, set(edges), scope.now)


def step_up(
    scope: Scope, rows: Sequence[Row[Any]], edges: Collection[str], run_at: datetime | None = None
) -> Lifted:
    """Jobs become due: edges and revocations are queued at once, the others take their place in the line.

    The rows and their lines must be locked. `run_at`, when given, takes the place of each job's own due time. Returns
    the (kind, urgent) that may be rung for.
    """
    in_lines = [row for row in rows if row.subject is not None and row.kind not in edges]
    counts: dict[str, int] = {}
    for row in in_lines:
        counts[row.subject] = counts.get(row.subject, 0) + 1
    last = lines.take_places(scope, counts)
    taken = lines.occupied(scope, sorted(counts))
    queued: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for row in rows:
        change: dict[str, Any] = {
            "id": row.id, "seq": None, "run_at": run_at or row.run_at, "rank": rank(run_at or row.run_at, row.priority)
        }
        if row.subject is None or row.kind in edges:
            queued.append(change)
            continue
        change["seq"] = last[row.subject] - counts[row.subject] + 1
        counts[row.subject] -= 1
        if row.subject in taken and not row.overtakes:
            waiting.append(change)
        else:
            taken.add(row.subject)
            queued.append(change)
    move(scope, State.QUEUED, queued)
    move(scope, State.WAITING, waiting)
    ready = {change["id"] for change in queued}
    return {(row.kind, bool(row.urgent)) for row in rows if row.id in ready}


def supersede(scope: Scope, overtakers: Sequence[Row[Any]]) -> None:
    """Whoever takes access away cancels the person's earlier jobs that could give it back, and bars late ones.

    Locks job rows by id; the caller locks the lines afterwards and lifts them at its end.
    """
    last = {row.subject: row for row in sorted(overtakers, key=lambda row: row.accepted or 0) if row.subject}
    if not last:
        return
    rows = scope.conn.execute(
        select(job.c.id, job.c.subject, job.c.accepted, job.c.state)
        .where(
            among(scope.conn, job.c.subject, sorted(last)), job.c.finished_at.is_(None), job.c.gives_access.is_(True)
        )
        .order_by(job.c.id)
        .with_for_update()
    ).all()
    earlier = [
        {"id": row.id, "reason_text": reason_text("superseded", {"by": f"{last[row.subject].kind} {last[row.subject].id}"})}
        for row in rows
        if row.state in before(State.CANCELLED) and (row.accepted or 0) < (last[row.subject].accepted or 0)
    ]
    move(scope, State.CANCELLED, earlier, reason="superseded", seq=None)
    lines.forget_claims(scope, [str(row["id"]) for row in earlier])


# ------------------------------------------------------------------------------------ what the directory asks for


def cancel_scheduled(scope: Scope, subject: str, kinds: Sequence[str], *, by: str) -> int:
    """Cancel the person's scheduled jobs of these kinds; returns how many."""
    rows = scope.conn.execute(
        select(job.c.id)
        .where(job.c.subject == subject, job.c.kind.in_(kinds), job.c.state == literal_column("'scheduled'"))
        .order_by(job.c.id)
        .with_for_update()
    ).all()
    changes = [{"id": row.id} for row in rows]
    lines.forget_claims(scope, [row.id for row in rows])
    return move(scope, State.CANCELLED, changes, reason="cancelled", reason_text=reason_text("cancelled", {"by": by}))


def cancel_unfinished(scope: Scope, subject: str, *, by: str, keep: str) -> int:
    """Cancel all of the person's unfinished jobs but `keep`; returns how many."""
    rows = scope.conn.execute(
        select(job.c.id)
        .where(job.c.subject == subject, job.c.finished_at.is_(None), job.c.id != keep,
               job.c.state.in_(before(State.CANCELLED)))
        .order_by(job.c.id)
        .with_for_update()
    ).all()
    changes = [{"id": row.id} for row in rows]
    lines.forget_claims(scope, [row.id for row in rows])
    return move(scope, State.CANCELLED, changes, seq=None, reason="cancelled",
                reason_text=reason_text("cancelled", {"by": by}))


def scrub_person(scope: Scope, subject: str) -> int:
    """Take personal data out of all the person's jobs (payload, key, reason, result, names of askers) and attempts.

    What stays: kind, state, times, fingerprint. The running job is scrubbed too: the runner writes its result
    afterwards. Returns how many jobs were scrubbed.
    """
    statement = (
        update(job)
        .where(job.c.subject == subject)
        .values(
            payload={}, sealed=None, key=literal("scrubbed/") + cast(job.c.id, Text), result=None, reason_text=None,
            requested_by=None, on_behalf_of=None, why=None, frozen=None, pruned=True,
        )
        .returning(job.c.id)
    )
    ids = [row.id for row in scope.conn.execute(statement)]
    if ids:
        scope.conn.execute(
            update(attempt).where(among(scope.conn, attempt.c.job, ids)).values(text="removed with the person", trace=None)
        )
    return len(ids)
