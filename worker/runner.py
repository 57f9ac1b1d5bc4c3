"""Runs due jobs in batches: claim, effect, audit, follow-ups and outcome commit together or not at all."""

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from worker import faultpoints, ledger, lines
from worker.context import Behind, Cancelled, Context, Done, Item, Rejected, Retried, Snoozed, turned_down
from worker.database import Busy, Database, Unreachable
from worker.jobs import Kind, Registry
from worker.outcomes import Reject, Retry, Snooze, curable, reason_text
from worker.redact import redact
from worker.scope import Scope
from worker.settle import Rung, Work, fault_answer, finish, follow_up, load, raise_if_rerun, work_of, write_events

log = logging.getLogger(__name__)

# How often one batch is done over after deadlocks before it is left to the next ring.
RERUNS = 6

Clock = Callable[[], datetime]
Ring = Callable[[str, bool], None]


class Fault(Exception):
    """A batch could not be done together; its jobs are done one by one."""

    def __init__(self, cause: BaseException) -> None:
        """Keep the cause for the job that turns out to be the one."""
        self.cause = cause
        super().__init__(type(cause).__name__)


@dataclass
class Runner:
    """Carries out the kinds that only touch the database. Edge kinds have `worker.edge`."""

    database: Database
    registry: Registry
    worker_id: str
    clock: Clock
    ring: Ring
    in_hand: set[str] = field(default_factory=set)

    def run(self, kind_name: str, *, urgent: bool) -> int:
        """Do one batch of due jobs of a kind; returns how many were taken. Rings for whatever became ready by it."""
        kind = self.registry.get(kind_name)
        if kind is None:
            return 0
        noted = self.database.transact(
            lambda conn: ledger.note_batch(self._scope(conn), kind, urgent, self.worker_id)
        )
        if noted is None:
            return 0
        faultpoints.reached("noted")
        note_id, ids, more = noted
        self.in_hand.add(note_id)  # the keeper clears notes of ours that are in nobody's hand
        try:
            self._batch(kind, note_id, ids)
        except (Busy, Unreachable):
            # Nobody has them in hand any more; a note that cannot be taken away now is the keeper's.
            with contextlib.suppress(Busy, Unreachable), self.database.write() as conn:
                ledger.drop_note(self._scope(conn), note_id)
            raise
        finally:
            self.in_hand.discard(note_id)
        if more:
            self.ring(kind.name, urgent)
        return len(ids)

    def run_one(self, kind_name: str, job_id: str) -> None:
        """Do this one job now, if it is due and nobody else has it in hand; for doors whose caller waits.

        It is not noted against crashes: one that kills this process is taken by a worker next, which notes it.
        """
        kind = self.registry[kind_name]
        try:
            self._alone(kind, job_id)
        except Fault as fault:
            self._note_fault(kind, job_id, fault.cause)

    # ------------------------------------------------------------------------------------------ transactions

    def _batch(self, kind: Kind, note_id: str, ids: Sequence[str]) -> None:
        try:
            self._together(kind, note_id, ids)
        except Fault as fault:
            log.warning("batch.split", extra={"kind": kind.name, "jobs": len(ids), "fault": str(fault)})
            self._one_by_one(kind, note_id, ids)

    def _together(self, kind: Kind, note_id: str, ids: Sequence[str]) -> None:
        for turn in range(RERUNS):
            rung: Rung = set()
            try:
                with self.database.write() as conn:
                    scope = self._scope(conn)
                    rung = self._do(scope, kind, ledger.claim(scope, ids))
                    ledger.drop_note(scope, note_id)
                    faultpoints.reached("before_commit")
                faultpoints.reached("committed")
            except (Busy, Unreachable):
                if turn == RERUNS - 1:
                    raise
                time.sleep(random.uniform(0.005, 0.05 * 2**turn))
                continue
            except Fault:
                raise
            except Exception as error:
                raise Fault(error) from error
            self._ring(rung)
            return

    def _one_by_one(self, kind: Kind, note_id: str, ids: Sequence[str]) -> None:
        for job_id in ids:
            try:
                self._alone(kind, job_id)
            except Fault as fault:
                self._note_fault(kind, job_id, fault.cause)
        self.database.transact(lambda conn: ledger.drop_note(self._scope(conn), note_id))

    def _alone(self, kind: Kind, job_id: str) -> None:
        def work(conn: Connection) -> Rung:
            scope = self._scope(conn)
            return self._do(scope, kind, ledger.claim(scope, [job_id]))

        try:
            rung = self.database.transact(work)
        except (Busy, Unreachable, Fault):
            raise
        except Exception as error:
            raise Fault(error) from error
        self._ring(rung)

    def _note_fault(self, kind: Kind, job_id: str, cause: BaseException) -> None:
        def work(conn: Connection) -> Rung:
            scope = self._scope(conn)
            works = [work_of(row) for row in ledger.claim(scope, [job_id])]
            lines.lock(scope, [work.row.subject for work in works if work.row.subject])
            for work in works:
                work.answer = fault_answer(cause, work.row)
            return self._finish(scope, kind, works)

        self._ring(self.database.transact(work))

    def _ring(self, rung: Iterable[tuple[str, bool]]) -> None:
        for kind_name, urgent in sorted(rung):
            self.ring(kind_name, urgent)

    def _scope(self, conn: Connection) -> Scope:
        return Scope(conn, self.clock(), self.database.settings)

    # ----------------------------------------------------------------------------------- inside a transaction

    def _do(self, scope: Scope, kind: Kind, rows: Sequence[Row[Any]]) -> Rung:
        """Do the claimed jobs and write their outcomes; returns the (kind, urgent) to ring for after the commit."""
        faultpoints.reached("claimed")
        works: list[Work] = []
        seen: set[str] = set()
        for row in sorted(rows, key=lambda row: not row.overtakes):
            # A revocation may be due together with another one, or with the head of its line: it goes first, and the
            # other one waits for the next batch.
            if row.subject is None or row.subject not in seen:
                works.append(work_of(row))
                seen.add(row.subject or row.id)
        closing = [work.row for work in works if work.row.overtakes and kind.policy.supersedes]
        ledger.supersede(scope, closing)
        bars = lines.lock(scope, [work.row.subject for work in works if work.row.subject])
        lines.bar(scope, {row.subject: row.accepted for row in closing if row.subject})
        for work in works:
            _check_bar(work, bars.get(work.row.subject) if work.row.subject else None)
            if work.answer is None:
                load(work, kind)
        wanted = [work for work in works if work.answer is None]
        if wanted:
            if kind.shape == "bulk":
                _handle_bulk(scope, kind, wanted)
            else:
                for work in wanted:
                    _handle_single(scope, kind, work)
        _let_wait(scope, works)
        faultpoints.reached("handled")
        rung = self._finish(scope, kind, works)
        if len(works) < len(rows):
            rung |= {(row.kind, bool(row.urgent)) for row in rows[:1]}
        return rung

    def _finish(self, scope: Scope, kind: Kind, works: Sequence[Work]) -> Rung:
        """Write outcomes, history, audit trail and follow-ups, and let the next of each line go."""
        finish(scope, kind, works, self.worker_id)
        rung = write_events(scope, works) | follow_up(scope, self.registry, works)
        # A retry keeps its place in the line until its budget is spent; everybody else made room, and whoever takes
        # access away has cancelled those before it.
        gone = {w.row.subject for w in works if not isinstance(w.answer, Retried) or w.spent or w.row.overtakes}
        return rung | ledger.leave_line(scope, gone)


def _check_bar(work: Work, bar: int | None) -> None:
    """Access was taken away after this job was accepted: it may not give it back, however late it is released."""
    if bar is not None and work.row.gives_access and (work.row.accepted or 0) < bar:
        work.answer = Cancelled("superseded", reason_text("superseded", {"by": "a revocation"}))


def _let_wait(scope: Scope, works: Sequence[Work]) -> None:
    """A revocation may use a name that a rename before it in the line will give: then it comes in its turn, not never."""
    unknown = {
        work.row.subject: work for work in works
        if work.row.overtakes and work.row.subject and isinstance(work.answer, Rejected) and curable(work.answer.code)
    }
    heads = lines.heads(scope, sorted(unknown))
    for subject, work in unknown.items():
        if work.row.seq is not None and heads.get(subject, work.row.seq) < work.row.seq:
            work.answer = Behind()


def _handle_bulk(scope: Scope, kind: Kind, works: Sequence[Work]) -> None:
    items: list[Item[Any]] = [Item(work.ask, work.task) for work in works]
    try:
        kind.handler(Context(scope), items)
        for work, item in zip(works, items, strict=True):
            if item.answer is None:
                raise RuntimeError(f"{kind.name} left a job without an answer")
            work.answer, work.notes = item.answer, item.notes
    except Exception as error:
        raise_if_rerun(error)
        raise Fault(error) from error


def _handle_single(scope: Scope, kind: Kind, work: Work) -> None:
    ctx = Context(scope, work.task)
    savepoint = scope.conn.begin_nested()
    try:
        result = kind.handler(ctx, work.ask)
        work.answer, work.notes = Done(result or {}), ctx
    except Reject as reject:
        work.answer = turned_down(reject.code, reject.text)
    except Retry as retry:
        at = scope.now + retry.after if retry.after is not None else None
        work.answer = Retried(at, "retry", redact(retry.why))
    except Snooze as snooze:
        work.answer = Snoozed(snooze.until, redact(snooze.why))
    except Exception as error:
        raise_if_rerun(error)
        work.answer = fault_answer(error, work.row)
    # Trouble with the savepoint itself fails the whole transaction: what the job did would stand in it otherwise.
    if isinstance(work.answer, Done):
        savepoint.commit()
    else:
        savepoint.rollback()
