"""Looks after the ledger: rings for the late, wakes the scheduled, settles what the dead left, prunes the old."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, literal_column, select, text, update

from worker import identity, ledger, lines
from worker.bulk import among, insert_rows
from worker.database import Busy, Database, Unreachable
from worker.intake import Acceptance, Intake, Request, edge_kinds, record_refusal, refused
from worker.jobs import Registry
from worker.outcomes import reason_text
from worker.redact import storable
from worker.runner import Clock, Ring
from worker.scope import Scope
from worker.settle import Rung
from worker.states import State
from worker.tables import Moment, attempt, batch, inbox, job, refusal, worker

log = logging.getLogger(__name__)

# Each pass of the keeper is short: what is left over comes with the next one, a second later.
WAKE_AT_ONCE = 500
CARRY_AT_ONCE = 500
PRUNE_AT_ONCE = 1_000
# A process writes this often that it is alive; one of another machine counts as dead after DEAD_AFTER.
HEARTBEAT = timedelta(seconds=5)
DEAD_AFTER = timedelta(seconds=20)
# A note of this very process that nobody holds (the database was away when it should have been dropped).
STRAY_AFTER = timedelta(seconds=10)
# A mail of unknown fate goes out again (same bytes, same Message-ID) at most this often; then a person decides.
RESENDS = 2
UNKNOWN_REST = timedelta(minutes=15)
PRUNE_EVERY = timedelta(minutes=1)

# Steps from kind to kind through the index ix_job_due, so that a backlog of a million costs no more than one of ten;
# and written out, as it is asked every second: building it anew each time took longer than its answer.
DUE = text("""
    WITH RECURSIVE kinds(kind) AS (
        SELECT min(kind) FROM job WHERE state = 'queued'
        UNION ALL
        SELECT (SELECT min(job.kind) FROM job WHERE job.state = 'queued' AND job.kind > kinds.kind)
        FROM kinds WHERE kinds.kind IS NOT NULL
    )
    SELECT kinds.kind, wanted.urgent
    FROM kinds CROSS JOIN (SELECT TRUE AS urgent UNION ALL SELECT FALSE) AS wanted
    WHERE EXISTS (
        SELECT 1 FROM job
        WHERE job.state = 'queued' AND job.kind = kinds.kind AND job.urgent = wanted.urgent
        AND job.rank <= :latest AND job.run_at <= :now
    )
""").bindparams(bindparam("now", type_=Moment()), bindparam("latest", type_=Moment()))


@dataclass
class Keeper:
    """One in each worker process. Safe in any number: what one has locked, the others skip."""

    database: Database
    registry: Registry
    worker_id: str
    clock: Clock
    ring: Ring
    in_hand: Callable[[], set[str]]
    _seen_at: datetime | None = None
    _silent_until: datetime | None = None
    _pruned_at: datetime | None = None

    def enlist(self) -> None:
        """Put this process on the list of workers; call it before the first batch."""
        pid = os.getpid()

        def work(conn: Connection) -> None:
            now = self.clock()
            row = {"id": self.worker_id, "host": identity.host(), "pid": pid, "born": identity.born(pid) or "",
                   "started_at": now, "seen_at": now}
            insert_rows(conn, worker, [row])

        self.database.transact(work)

    def resign(self) -> None:
        """Leave the list in good order: what was noted and not done counts no crash."""

        def work(conn: Connection) -> None:
            scope = self.scope(conn)
            self._settle(scope, self._leased_by(scope, self.worker_id), crashed=False)
            conn.execute(delete(batch).where(batch.c.worker == self.worker_id))
            conn.execute(delete(worker).where(worker.c.id == self.worker_id))

        self.database.transact(work)

    def pass_once(self) -> None:
        """One round, every second. A part that fails is logged and does not keep the others from their work."""
        for part in (self.heartbeat, self.bury, self.settle_leases, self.wake, self.carry_inbox, self.prune, self.ring_due):
            try:
                part()
            except Exception as error:
                log.warning("keeper.failed", extra={"part": part.__name__, "error": type(error).__name__})

    def scope(self, conn: Connection) -> Scope:
        """One transaction at the present moment."""
        return Scope(conn, self.clock(), self.database.settings)

    def _write(self, work: Callable[[Scope], Rung | None]) -> None:
        for kind, urgent in sorted(self.database.transact(lambda conn: work(self.scope(conn))) or ()):
            self.ring(kind, urgent)

    # ----------------------------------------------------------------------------------------- ring and wake

    def ring_due(self) -> None:
        """Ring for every kind with due jobs: whoever lost a bell, or was rung in another process, is served."""
        with self.database.read() as conn:
            due = self._due(conn)
        for kind, urgent in due:
            self.ring(kind, urgent)

    def _due(self, conn: Connection) -> list[tuple[str, bool]]:
        now = self.clock()
        rows = conn.execute(DUE, {"now": now, "latest": ledger.rank(now, ledger.HIGHEST_STEP)})
        return [(row.kind, bool(row.urgent)) for row in rows if row.kind in self.registry]

    def wake(self) -> None:
        """Scheduled jobs whose time has come take their place: in the line, or (edges) in the queue."""
        with self.database.read() as conn:
            waiting = conn.execute(select(job.c.id).where(*self._wakeable(self.clock())).limit(1)).first()
        if waiting is not None:
            self._write(self._wake)

    def _wakeable(self, now: datetime) -> Sequence[Any]:
        # Only kinds known here: whether one stands in a line or reaches outside is for its own workers to say.
        known = job.c.kind.in_([kind.name for kind in self.registry])
        return (job.c.state == literal_column("'scheduled'"), job.c.run_at <= now, known)

    def _wake(self, scope: Scope) -> Rung:
        rows = scope.conn.execute(
            select(job).where(*self._wakeable(scope.now)).order_by(job.c.run_at).limit(WAKE_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        lines.lock(scope, [row.subject for row in rows if row.subject is not None])
        in_order = sorted(rows, key=lambda row: (row.run_at, row.accepted or 0, row.id))
        return ledger.step_up(scope, in_order, edge_kinds(self.registry))

    # ------------------------------------------------------------------------------------ the dead and the late

    def heartbeat(self) -> None:
        """Say that this process is alive; an entry that somebody buried meanwhile is made anew."""
        now = self.clock()
        if self._seen_at is not None and now - self._seen_at < HEARTBEAT:
            return
        stray_before = now - STRAY_AFTER
        held = self.in_hand()

        def work(conn: Connection) -> bool:
            alive = conn.execute(update(worker).where(worker.c.id == self.worker_id).values(seen_at=now)).rowcount
            for row in conn.execute(
                select(batch.c.id).where(batch.c.worker == self.worker_id, batch.c.at < stray_before)
            ).all():
                if row.id not in held:
                    conn.execute(delete(batch).where(batch.c.id == row.id))
            return bool(alive)

        try:
            known = self.database.transact(work)
        except (Busy, Unreachable):
            self._silent_until = now
            raise
        if not known:
            self.enlist()
        self._seen_at = now

    def bury(self) -> None:
        """Find workers that died, count a crash for each job they had in hand, and let those be done alone."""
        with self.database.read() as conn:
            workers = conn.execute(select(worker).where(worker.c.id != self.worker_id)).all()
        for row in workers:
            if self._dead(row):
                log.warning("worker.died", extra={"worker": row.id, "pid": row.pid})
                self._write(partial(self._bury, dead=row.id))
        # Whoever was buried by mistake goes on taking notes until its next heartbeat; if it dies in between, nobody's
        # list has it.
        late = (batch.c.at < self.clock() - DEAD_AFTER, batch.c.worker.not_in(select(worker.c.id)))
        with self.database.read() as conn:
            unlisted = conn.execute(select(batch.c.worker).distinct().where(*late)).scalars().all()
        for dead in unlisted:
            log.warning("worker.unlisted", extra={"worker": dead})
            self._write(partial(self._settle_notes, dead=dead))

    def _dead(self, row: Row[Any]) -> bool:
        """Gone, or silent for so long that it counts as gone: a frozen process must not keep its jobs for ever."""
        if row.host == identity.host() and identity.born(int(row.pid)) != str(row.born):
            return True
        now = self.clock()
        # After an outage of the database everybody has been silent; the others beat again meanwhile.
        trusted = self._silent_until is None or self._silent_until < now - DEAD_AFTER
        return trusted and bool(row.seen_at < now - DEAD_AFTER)

    def _bury(self, scope: Scope, dead: str) -> Rung:
        mine = select(worker.c.id).where(worker.c.id == dead).with_for_update(skip_locked=True)
        if scope.conn.execute(mine).first() is None:
            return set()
        rung = self._settle_notes(scope, dead)
        rung |= self._settle(scope, self._leased_by(scope, dead), crashed=True)
        scope.conn.execute(delete(worker).where(worker.c.id == dead))
        return rung

    def _settle_notes(self, scope: Scope, dead: str) -> Rung:
        """Count a crash for each job that this worker had noted, and clear the notes."""
        notes = scope.conn.execute(
            select(batch).where(batch.c.worker == dead).order_by(batch.c.id).with_for_update(skip_locked=True)
        ).all()
        ids = sorted({job_id for row in notes for job_id in row.jobs})
        rows = ledger.claim(scope, ids) if ids else []
        scope.conn.execute(delete(batch).where(batch.c.id.in_([row.id for row in notes])))
        return self._count_crashes(scope, rows)

    def _leased_by(self, scope: Scope, worker_id: str) -> Sequence[Row[Any]]:
        """Lock the edge jobs that a worker has outside."""
        return scope.conn.execute(
            select(job)
            .where(job.c.worker == worker_id, job.c.lease_until.is_not(None), job.c.state.in_(["leased", "handing_over"]))
            .order_by(job.c.id)
            .with_for_update()
        ).all()

    def _count_crashes(self, scope: Scope, rows: Sequence[Row[Any]]) -> Rung:
        """One crash more for each; whoever has too many is the killer and is given up."""
        lines.lock(scope, [row.subject for row in rows if row.subject is not None])
        killers = [row for row in rows if row.crashes + 1 >= ledger.CRASHES]
        others = [row for row in rows if row.crashes + 1 < ledger.CRASHES]
        ledger.move(scope, State.QUEUED, [{"id": row.id, "crashes": row.crashes + 1} for row in others],
                    lease=None, lease_until=None)
        ledger.move(scope, State.FAILED, [{"id": row.id, "crashes": row.crashes + 1} for row in killers],
                    reason="worker_killed", reason_text=reason_text("worker_killed", {}))
        lines.forget_claims(scope, [row.id for row in killers])
        ledger.note_attempts(
            scope,
            [{"job": row.id, "number": row.attempts, "outcome": "crash", "code": "worker_died",
              "text": "The worker that had this job in hand died."} for row in rows],
            None,
        )
        rung = {(row.kind, bool(row.urgent)) for row in others}
        return rung | ledger.leave_line(scope, {row.subject for row in killers})

    def settle_leases(self) -> None:
        """Settle edge jobs whose lease lapsed, and decide about those whose outcome stayed unknown."""
        late = (job.c.lease_until.is_not(None), job.c.lease_until <= self.clock())
        with self.database.read() as conn:
            found = conn.execute(select(job.c.id).where(*late).limit(1)).first()
        if found is None:
            return

        def work(scope: Scope) -> Rung:
            rows = scope.conn.execute(
                select(job).where(job.c.lease_until.is_not(None), job.c.lease_until <= scope.now).order_by(job.c.id)
                .limit(WAKE_AT_ONCE).with_for_update(skip_locked=True)
            ).all()
            return self._settle(scope, rows, crashed=False)

        self._write(work)

    def _settle(self, scope: Scope, rows: Sequence[Row[Any]], *, crashed: bool) -> Rung:
        leased = [row for row in rows if row.state == State.LEASED]
        over = [row for row in rows if row.state == State.HANDING_OVER]
        unknown = [row for row in rows if row.state == State.UNKNOWN]
        rung: Rung = set()
        if crashed:
            rung |= self._count_crashes(scope, leased)
        else:
            ledger.move(scope, State.QUEUED, [{"id": row.id} for row in leased], lease=None, lease_until=None)
            rung |= {(row.kind, bool(row.urgent)) for row in leased}
        # Nothing leaves the handing over for the queue by itself: it may have arrived.
        ledger.move(scope, State.UNKNOWN, [{"id": row.id} for row in over], lease=None,
                    lease_until=scope.now + UNKNOWN_REST, reason="outcome_unknown",
                    reason_text=reason_text("outcome_unknown", {}))
        ledger.note_attempts(
            scope,
            [{"job": row.id, "number": row.attempts + 1, "outcome": "unknown", "code": "outcome_unknown",
              "text": "The worker was lost after handing over."} for row in over],
            None,
        )
        return rung | self._decide(scope, unknown)

    def _decide(self, scope: Scope, rows: Sequence[Row[Any]]) -> Rung:
        """A job of unknown outcome is done again with the same bytes, or held for a person, by its kind's policy."""
        ids = [row.id for row in rows]
        counts = {
            row.job: row.times
            for row in scope.conn.execute(
                select(attempt.c.job, func.count().label("times"))
                .where(among(scope.conn, attempt.c.job, ids), attempt.c.outcome == "unknown")
                .group_by(attempt.c.job)
            )
        } if ids else {}
        resend: list[Row[Any]] = []
        hold: list[Row[Any]] = []
        for row in rows:
            kind = self.registry.get(row.kind)
            again = kind is not None and kind.policy.unknown == "resend" and counts.get(row.id, 0) <= RESENDS
            (resend if again else hold).append(row)
        ledger.move(
            scope, State.QUEUED,
            [{"id": r.id, "attempts": r.attempts + 1, "run_at": scope.now, "rank": ledger.rank(scope.now, r.priority)}
             for r in resend],
            lease=None, lease_until=None, reason=None, reason_text=None,
        )
        ledger.move(scope, State.HELD, [{"id": row.id} for row in hold], lease=None, lease_until=None)
        return {(row.kind, bool(row.urgent)) for row in resend}

    # ------------------------------------------------------------------------------------- inbox and old things

    def carry_inbox(self) -> None:
        """Carry what SQL producers put into `inbox` through the intake; what is refused is recorded with its reason."""
        with self.database.read() as conn:
            if conn.execute(select(inbox.c.id).limit(1)).first() is None:
                return

        try:
            self._write(lambda scope: self._carry(scope, CARRY_AT_ONCE))
        except (Busy, Unreachable):
            raise
        except Exception as error:
            # One row that nobody foresaw must not keep the others out for ever.
            log.warning("inbox.split", extra={"error": type(error).__name__})
            self._carry_one_by_one()

    def _carry(self, scope: Scope, limit: int, only: int | None = None) -> Rung:
        rows = scope.conn.execute(
            select(inbox).where(*([] if only is None else [inbox.c.id == only])).order_by(inbox.c.id).limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        intake = Intake(self.registry)
        requests, evidence = [], []
        for row in rows:
            read = _read_inbox(row)
            if isinstance(read, Acceptance):
                record_refusal(scope, read, {"size": len(row.payload)})
            else:
                requests.append(read)
                evidence.append(read.fields)
        for answer, fields in zip(intake.submit(scope, requests), evidence, strict=True):
            if answer.refused:
                record_refusal(scope, answer, fields)
        scope.conn.execute(delete(inbox).where(inbox.c.id.in_([row.id for row in rows])))
        return intake.rung

    def _carry_one_by_one(self) -> None:
        with self.database.read() as conn:
            ids = [row.id for row in conn.execute(select(inbox.c.id).order_by(inbox.c.id).limit(CARRY_AT_ONCE))]
        for row_id in ids:
            try:
                self._write(partial(self._carry, limit=1, only=row_id))
            except (Busy, Unreachable):
                raise
            except Exception as error:
                self._write(partial(self._set_aside, row_id=row_id, error=type(error).__name__))

    def _set_aside(self, scope: Scope, row_id: int, error: str) -> Rung:
        for row in scope.conn.execute(select(inbox).where(inbox.c.id == row_id).with_for_update()).all():
            request = Request(storable(row.kind), {}, storable(f"inbox/{row.source}"), None)
            problem = f"it broke the intake ({error})"
            record_refusal(scope, refused(request, "unreadable", problem=problem), {"size": len(row.payload)})
            scope.conn.execute(delete(inbox).where(inbox.c.id == row_id))
        return set()

    def prune(self) -> None:
        """Old finished jobs keep only their key, fingerprint and outcome: a late replay is still recognised."""
        now = self.clock()
        if self._pruned_at is not None and now - self._pruned_at < PRUNE_EVERY:
            return
        bound = now - timedelta(days=self.database.settings.retention_days)
        old = (job.c.finished_at.is_not(None), job.c.pruned.is_(False), job.c.finished_at <= bound)

        def work(scope: Scope) -> int:
            scope.conn.execute(delete(refusal).where(refusal.c.at <= bound))
            ids = [
                row.id
                for row in scope.conn.execute(
                    select(job.c.id).where(*old).order_by(job.c.finished_at).limit(PRUNE_AT_ONCE)
                    .with_for_update(skip_locked=True)
                )
            ]
            if ids:
                scope.conn.execute(
                    update(job).where(among(scope.conn, job.c.id, ids)).values(
                        payload={}, result=None, reason_text=None, why=None, frozen=None, pruned=True)
                )
                scope.conn.execute(delete(attempt).where(among(scope.conn, attempt.c.job, ids)))
            return len(ids)

        if self.database.transact(lambda conn: work(self.scope(conn))) < PRUNE_AT_ONCE:
            self._pruned_at = now  # whoever found as many as one round takes comes again with the next one


def _read_inbox(row: Row[Any]) -> "Request | Acceptance":
    """Read one row of the inbox. Without a key one is made: the row goes in the same transaction, so it comes once."""
    request = Request(row.kind, {}, f"inbox/{row.source}", row.key, requested_by=row.source)
    try:
        fields = json.loads(row.payload)
    except ValueError as error:
        return refused(request, "unreadable", problem=f"not JSON, at character {getattr(error, 'pos', 0)}")
    except RecursionError:
        return refused(request, "unreadable", problem="nested too deeply")
    if not isinstance(fields, dict):
        return refused(request, "unreadable", problem="not a JSON object")
    return replace(request, fields=fields)
