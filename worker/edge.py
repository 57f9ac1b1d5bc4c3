"""Carries jobs outside: a gate in one transaction, the call in none, the settling in a fenced third."""

import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from worker import errand as errands
from worker import faultpoints, ledger, lines
from worker.context import Answer, Cancelled, Context, Done, Rejected, Retried, Snoozed, turned_down
from worker.database import Busy, Database, Unreachable
from worker.errand import Deferred, EdgeFailure, Errand, LeaseLost, Receipt, Refused, Unavailable
from worker.jobs import Kind, Registry
from worker.outcomes import REASONS, Reject, Retry, Snooze, reason_text
from worker.redact import redact
from worker.runner import Clock, Ring
from worker.scope import Scope
from worker.settle import Rung, Work, fault_answer, finish, follow_up, load, raise_if_rerun, work_of, write_events
from worker.states import State
from worker.tables import job

log = logging.getLogger(__name__)

Passed = list[tuple[Work, Errand, str]]

# From the gate to the handing over: connect, TLS, envelope. Whoever takes longer has lost the job.
LEASE = timedelta(seconds=90)
# A relay may take up to ten minutes to answer the final dot (RFC 5321, 4.5.3.2.6).
HANDOVER_LEASE = timedelta(minutes=12)
# A relay that did take the message has shown it by then; a copy sent sooner would meet the first one in the queue.
UNKNOWN_REST = timedelta(minutes=15)
# Whoever waits for an outside that is away looks again no sooner, even if the time named has passed: no spinning.
SHORTEST_REST = timedelta(seconds=1)


@dataclass
class _Desk:
    """What an errand may use while it is under way."""

    runner: "EdgeRunner"
    row: Row[Any]
    lease: str
    frozen: dict[str, Any]

    @property
    def now(self) -> datetime:
        """The present time."""
        return self.runner.clock()

    def tool(self, name: str) -> Any:
        """A connection that outlives one errand."""
        return self.runner.tools(name)

    def handing_over(self) -> None:
        """Commit that the outcome may be unknown from here on, unless the job is no longer ours."""
        faultpoints.reached("leased")
        self.frozen = {**self.frozen, "handed": True}

        def work(conn: Connection) -> bool:
            scope = self.runner.scope(conn)
            change = {"id": self.row.id, "frozen": self.frozen, "lease_until": scope.now + HANDOVER_LEASE}
            if ledger.move(scope, State.HANDING_OVER, [change], where=[job.c.lease == self.lease]):
                return True
            # The answer to an earlier try's commit may have been lost: then this very errand is at it already.
            mine = (job.c.id == self.row.id, job.c.lease == self.lease, job.c.state == State.HANDING_OVER.value)
            return conn.execute(select(job.c.id).where(*mine)).first() is not None

        if not self.runner.database.transact(work):
            raise LeaseLost(f"the lease of job {self.row.id} lapsed, or the job was cancelled")
        faultpoints.reached("handing_over")


@dataclass
class EdgeRunner:
    """Carries out the kinds that reach outside; honest about the gap in the middle."""

    database: Database
    registry: Registry
    worker_id: str
    clock: Clock
    ring: Ring
    tools: Callable[[str], Any]
    in_hand: set[str] = field(default_factory=set)

    def run(self, kind_name: str, *, urgent: bool) -> int:
        """Take a batch of due edge jobs through gate, call and settling; returns how many were taken."""
        kind = self.registry.get(kind_name)
        if kind is None:
            return 0
        noted = self.database.transact(
            lambda conn: ledger.note_batch(self.scope(conn), kind, urgent, self.worker_id)
        )
        if noted is None:
            return 0
        note_id, ids, more = noted
        self.in_hand.add(note_id)
        try:
            for work, errand, lease in self._gate(kind, note_id, ids):
                self._carry(kind, work, errand, lease)
        except (Busy, Unreachable):
            # What was leased comes back with its lease; a note that cannot be taken away now is the keeper's.
            with contextlib.suppress(Busy, Unreachable), self.database.write() as conn:
                ledger.drop_note(self.scope(conn), note_id)
            raise
        finally:
            self.in_hand.discard(note_id)
        if more:
            self.ring(kind.name, urgent)
        return len(ids)

    def scope(self, conn: Connection) -> Scope:
        """One transaction at the present moment."""
        return Scope(conn, self.clock(), self.database.settings)

    # ------------------------------------------------------------------------------------------------- gate

    def _gate(self, kind: Kind, note_id: str, ids: list[str]) -> Passed:
        """Let every job through the gate; if they do not get through together, one by one."""
        try:
            return self._pass(kind, ids, note_id)
        except (Busy, Unreachable):
            raise
        except Exception as error:
            log.warning("gate.split", extra={"kind": kind.name, "jobs": len(ids), "fault": type(error).__name__})
        passed: Passed = []
        for job_id in ids:
            try:
                passed += self._pass(kind, [job_id])
            except (Busy, Unreachable):
                raise
            except Exception as error:
                self._note_fault(kind, job_id, error)
        self.database.transact(lambda conn: ledger.drop_note(self.scope(conn), note_id))
        return passed

    def _note_fault(self, kind: Kind, job_id: str, error: Exception) -> None:
        def work(conn: Connection) -> Rung:
            scope = self.scope(conn)
            works = [work_of(row) for row in ledger.claim(scope, [job_id])]
            for one in works:
                one.answer = fault_answer(error, one.row)
            return self._settle(scope, kind, works)

        self._ring(self.database.transact(work))

    def _pass(self, kind: Kind, ids: list[str], note_id: str | None = None) -> Passed:
        """Let these through the gate in one transaction: refused and finished there, or leased to us."""

        def pass_gate(conn: Connection) -> tuple[Passed, Rung]:
            scope = self.scope(conn)
            works = [work_of(row) for row in ledger.claim(scope, ids)]
            passed = []
            for work in works:
                errand = self._ask(scope, kind, work)
                if errand is not None:
                    lease = str(uuid.uuid4())
                    passed.append((work, errand, lease))
                    ledger.move(
                        scope,
                        State.LEASED,
                        [{"id": work.row.id, "lease": lease, "lease_until": scope.now + LEASE, "frozen": work.frozen,
                          "worker": self.worker_id}],
                    )
            refused = [work for work in works if work.answer is not None]
            rung = self._settle(scope, kind, refused)
            if note_id is not None:
                ledger.drop_note(scope, note_id)
            return passed, rung

        passed, rung = self.database.transact(pass_gate)
        faultpoints.reached("gated")
        self._ring(rung)
        return passed

    def _ask(self, scope: Scope, kind: Kind, work: Work) -> Errand | None:
        """Ask the handler whether the job may still go out, and with what."""
        frozen: dict[str, Any] = {
            "message_id": str(uuid.uuid4()), "date": scope.now.isoformat(), **(work.row.frozen or {})
        }
        frozen.pop("handed", None)  # that was an earlier try, which the relay answered
        if work.row.deadline is not None and work.row.deadline <= scope.now:
            life = str(kind.policy.life)
            work.answer = Cancelled("expired", reason_text("expired", {"life": life}))
            return None
        load(work, kind)
        if work.answer is not None:
            return None
        ctx = Context(scope, work.task)
        savepoint = scope.conn.begin_nested()
        errand: Errand | None = None
        try:
            errand = kind.handler(ctx, work.ask)
        except Reject as reject:
            work.answer = turned_down(reject.code, reject.text)
        except Retry as retry:
            at = None if retry.after is None else scope.now + retry.after
            work.answer = Retried(at, "retry", redact(retry.why))
        except Snooze as snooze:
            work.answer = Snoozed(snooze.until, redact(snooze.why))
        except Exception as error:
            raise_if_rerun(error)
            work.answer = fault_answer(error, work.row)
        # Trouble with the savepoint itself fails the whole transaction: what the gate wrote would stand in it otherwise.
        if errand is None:
            savepoint.rollback()
            return None
        savepoint.commit()
        work.notes = ctx
        work.frozen = {**frozen, **ctx.frozen_facts}
        return errand

    # --------------------------------------------------------------------------------------- call and settle

    def _carry(self, kind: Kind, work: Work, errand: Errand, lease: str) -> None:
        desk = _Desk(self, work.row, lease, work.frozen)
        receipt: Receipt | None = None
        free_until: datetime | None = None
        try:
            receipt = errand.carry(desk)
        except LeaseLost:
            log.warning("edge.lease_lost", extra={"job": work.row.id})
            return
        except Unavailable as failure:
            free_until = failure.until
            work.answer = Retried(failure.until, failure.code, failure.text)
        except Deferred as failure:
            at = None if failure.after is None else self.clock() + failure.after
            work.answer = Retried(at, failure.code, failure.text)
        except Refused as failure:
            known = failure.code in REASONS
            work.answer = Rejected(failure.code, _said(failure) if known else redact(failure.text))
        except errands.Unknown as failure:
            self._unknown(work, lease, failure)
            return
        except Exception as error:
            if desk.frozen.get("handed"):
                # Past the point of no return any surprise leaves the outcome unknown.
                self._unknown(work, lease, errands.Unknown("outcome_unknown", type(error).__name__))
                return
            work.answer = fault_answer(error, work.row)
        faultpoints.reached("carried")
        try:
            self._end(kind, work, lease, receipt, free_until)
        except (Busy, Unreachable):
            raise
        except Exception as error:
            self._give_up(kind, work, lease, error, done=receipt is not None and kind.policy.unknown != "again")
        faultpoints.reached("settled")

    def _end(
        self, kind: Kind, work: Work, lease: str, receipt: Receipt | None, free_until: datetime | None
    ) -> None:
        """Write the outcome, if the job is still ours: the lease is the fence."""

        def settle(conn: Connection) -> Rung | None:
            scope = self.scope(conn)
            row = conn.execute(job.select().where(job.c.id == work.row.id).with_for_update()).one()
            if row.lease != lease or row.state not in (State.LEASED, State.HANDING_OVER):
                return None
            fresh = work_of(row)
            fresh.ask, fresh.answer, fresh.notes = work.ask, work.answer, work.notes
            if receipt is not None:
                fresh.answer = self._accepted(scope, kind, fresh, receipt)
            if free_until is not None:
                at = max(free_until, scope.now + SHORTEST_REST)
                change = {"id": row.id, "run_at": at, "rank": ledger.rank(at, row.priority)}
                ledger.move(scope, State.QUEUED, [change], lease=None, lease_until=None)
                return set()
            return self._settle(scope, kind, [fresh])

        rung = self.database.transact(settle)
        if rung is None:
            log.warning("edge.stale_completion_refused", extra={"job": work.row.id})
            return
        self._ring(rung)

    def _give_up(self, kind: Kind, work: Work, lease: str, error: Exception, *, done: bool) -> None:
        """The outcome cannot be written down. What the outside has accepted is not carried out again by itself."""

        def settle(conn: Connection) -> Rung:
            scope = self.scope(conn)
            row = conn.execute(job.select().where(job.c.id == work.row.id).with_for_update()).one()
            if row.lease != lease:
                return set()
            fresh = work_of(row)
            fresh.ask, fresh.answer = work.ask, fault_answer(error, row)
            if done:
                fresh.answer = Rejected("unsettled", f"The outside has accepted this, but writing that down failed: "
                                                     f"{fresh.answer.text or fresh.answer.code}.")
            return self._settle(scope, kind, [fresh])

        log.error("edge.unsettled", extra={"job": work.row.id, "error": type(error).__name__})
        self._ring(self.database.transact(settle))

    def _accepted(self, scope: Scope, kind: Kind, work: Work, receipt: Receipt) -> Answer:
        ctx = Context(scope, work.task)
        ctx.events, ctx.follow_ups = work.notes.events, work.notes.follow_ups
        if kind.settled is not None:
            kind.settled(ctx, work.ask, receipt)
        work.notes = ctx
        return Done({"changed": True, "reply": receipt.text, "at": receipt.at.isoformat(), **receipt.facts})

    def _unknown(self, work: Work, lease: str, failure: EdgeFailure) -> None:
        """The line broke past the point of no return: say so, and let the keeper decide after a while."""

        def settle(conn: Connection) -> None:
            scope = self.scope(conn)
            until = scope.now + UNKNOWN_REST
            moved = ledger.move(
                scope, State.UNKNOWN, [{"id": work.row.id, "lease_until": until}], where=[job.c.lease == lease],
                reason="outcome_unknown", reason_text=reason_text("outcome_unknown", {}), lease=None,
            )
            if moved:
                ledger.note_attempts(
                    scope,
                    [{"job": work.row.id, "number": work.row.attempts + 1, "outcome": "unknown", "code": failure.code,
                      "text": redact(failure.text)}],
                    self.worker_id,
                )

        self.database.transact(settle)

    def _settle(self, scope: Scope, kind: Kind, works: list[Work]) -> Rung:
        if not works:
            return set()
        finish(scope, kind, works, self.worker_id)
        rung = write_events(scope, works) | follow_up(scope, self.registry, works)
        # Edge jobs stand in no line; one that a worker of another version put there must not block it.
        stood = sorted({work.row.subject for work in works if work.row.subject is not None and work.row.seq is not None})
        lines.lock(scope, stood)
        return rung | ledger.leave_line(scope, stood)

    def _ring(self, rung: Rung) -> None:
        for kind_name, urgent in sorted(rung):
            self.ring(kind_name, urgent)


def _said(failure: EdgeFailure) -> str:
    """The sentence for a refusal that REASONS knows: with the reply, if it has a place for it."""
    try:
        return reason_text(failure.code, {"reply": redact(failure.text)})
    except KeyError:
        return redact(failure.text)
