"""Writes what became of jobs: outcomes, history, audit trail and follow-ups, in the transaction of the effect."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from worker import ledger, lines, outbox
from worker.bulk import insert_rows
from worker.context import Answer, Behind, Cancelled, Done, Notes, Rejected, Retried, Snoozed, Task
from worker.database import RERUN_STATES, Busy, Unreachable
from worker.ids import new_ids
from worker.intake import Intake, Request
from worker.jobs import Kind, Payload, Registry
from worker.outcomes import reason_text
from worker.redact import leaves, redact, storable
from worker.scope import Scope
from worker.states import State
from worker.tables import event

# Follow-ups come through the ledger's own door.
FOLLOW_UP_SOURCE = "muster"
# Frames kept of a fault: enough to find the place, file and line only.
FRAMES = 12

# As wide as the columns for codes.
CODE_LENGTH = 64

Rung = set[tuple[str, bool]]


class Slipped(Exception):
    """A job changed its state in the hands of its own handler. Nothing of the batch was written; its jobs go one by one."""


@dataclass
class Work:
    """One claimed job on its way: its row, what it asks, and the answer."""

    row: Row[Any]
    task: Task
    ask: Payload | None = None
    answer: Answer | None = None
    notes: Notes = field(default_factory=Notes)
    frozen: dict[str, Any] = field(default_factory=dict)

    @property
    def spent(self) -> bool:
        """Whether this try is the last of the budget."""
        return int(self.row.attempts) + 1 >= int(self.row.max_attempts)


def work_of(row: Row[Any]) -> Work:
    """Wrap a claimed row."""
    task = Task(
        id=row.id, kind=row.kind, source=row.source, key=row.key, subject=row.subject, accepted=row.accepted,
        urgent=bool(row.urgent), attempts=row.attempts, requested_by=row.requested_by, on_behalf_of=row.on_behalf_of,
        why=row.why, parent=row.parent, created_at=row.created_at, frozen=row.frozen or {},
    )
    return Work(row, task)


def load(work: Work, kind: Kind) -> None:
    """Read what the job asks; a payload that no longer loads is refused."""
    try:
        work.ask = kind.load(work.row.version, work.row.payload or {}, work.row.sealed)
    except (ValidationError, KeyError) as error:
        problem = f"{type(error).__name__} when loading version {work.row.version}"
        work.answer = Rejected("bad_payload", reason_text("bad_payload", {"kind": kind.name, "problem": problem}))


def raise_if_rerun(error: Exception) -> None:
    """Deadlocks, lock timeouts and lost connections rerun the whole batch and burn no attempt."""
    if isinstance(error, (Busy, Unreachable)):
        raise error
    if isinstance(error, DBAPIError) and (
        error.connection_invalidated or getattr(error.orig, "sqlstate", None) in RERUN_STATES
    ):
        raise error


def fault_answer(error: BaseException, row: Row[Any]) -> Retried:
    """Turn an unexpected exception into a retry by policy: what and where, never the values in hand."""
    message = str(error)
    if isinstance(error, DBAPIError):
        message = getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig).split("\n")[0]
    values = [*leaves(row.payload or {}), *leaves(row.sealed or {})]
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    trace = "\n".join(f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames)
    return Retried(None, type(error).__name__[:64], redact(message, values)[:500], trace)


def finish(scope: Scope, kind: Kind, works: Sequence[Work], worker_id: str) -> None:
    """Write the outcome of each job, one statement per outcome, and a line of history for each that did not succeed."""
    done: list[ledger.Change] = []
    rejected: list[ledger.Change] = []
    cancelled: list[ledger.Change] = []
    failed: list[ledger.Change] = []
    again: list[ledger.Change] = []
    later: list[ledger.Change] = []
    behind: list[ledger.Change] = []
    history: list[ledger.Change] = []
    for work in works:
        row, answer = work.row, work.answer
        number = row.attempts + 1
        if isinstance(answer, Done):
            done.append({"id": row.id, "result": dict(answer.result)})
            continue
        if isinstance(answer, Behind):
            behind.append({"id": row.id})
            continue
        code = "snooze" if isinstance(answer, Snoozed) else answer.code[:CODE_LENGTH] if answer else "unanswered"
        text = storable(answer.text) if answer else ""
        outcome = "rejected"
        if isinstance(answer, Rejected):
            rejected.append({"id": row.id, "reason": code, "reason_text": text})
        elif isinstance(answer, Cancelled):
            outcome = "cancelled"
            cancelled.append({"id": row.id, "reason": code, "reason_text": text})
        elif isinstance(answer, Snoozed):
            outcome = "snooze"
            later.append({"id": row.id, "run_at": answer.at, "rank": ledger.rank(answer.at, row.priority)})
        elif work.spent:
            outcome = "failed"
            spent = reason_text("attempts_spent", {"attempts": number, "last": text})
            failed.append({"id": row.id, "attempts": number, "reason": "attempts_spent", "reason_text": spent})
        else:
            outcome = "retry"
            at = answer.at if isinstance(answer, Retried) else None
            at = at or scope.now + ledger.backoff(kind.policy, row.attempts)
            again.append({"id": row.id, "attempts": number, "run_at": at, "rank": ledger.rank(at, row.priority)})
        trace = answer.trace if isinstance(answer, Retried) else None
        history.append({"job": row.id, "number": number, "outcome": outcome, "code": code, "text": text, "trace": trace})
    moved = (
        ledger.move(scope, State.SUCCEEDED, done)
        + ledger.move(scope, State.REJECTED, rejected)
        + ledger.move(scope, State.CANCELLED, cancelled)
        + ledger.move(scope, State.FAILED, failed)
        + ledger.move(scope, State.QUEUED, again, lease=None, lease_until=None)
        + ledger.move(scope, State.SCHEDULED, later, seq=None)
        + ledger.move(scope, State.WAITING, behind)
    )
    if moved != len(works):
        raise Slipped(f"{len(works) - moved} of {len(works)} jobs were no longer where they had been")
    ledger.note_attempts(scope, history, worker_id)
    if any(work.ask is None or work.ask.names().new for work in works):
        lines.confirm_claims(scope, [str(change["id"]) for change in done])
        lines.forget_claims(scope, [str(change["id"]) for change in (*rejected, *cancelled, *failed)])


def write_events(scope: Scope, works: Sequence[Work]) -> Rung:
    """Write the audit trail of the jobs that succeeded, in the transaction of their effect; returns whom to ring for.

    Endpoints that want to hear of an event get their job in the same transaction.
    """
    facts = [
        {
            "at": scope.now, "action": str(said.action), "target": said.target, "target_name": said.target_name,
            "actor": work.row.requested_by, "on_behalf_of": work.row.on_behalf_of, "why": work.row.why,
            "job": work.row.id, "number": number, "data": dict(said.data),
        }
        for work in works
        if isinstance(work.answer, Done)
        for number, said in enumerate(work.notes.events, start=1)
    ]
    rows = [{"id": i, **row} for i, row in zip(new_ids(len(facts)), facts, strict=True)]
    insert_rows(scope.conn, event, rows)
    return outbox.announce(scope, rows)


def follow_up(scope: Scope, registry: Registry, works: Sequence[Work]) -> Rung:
    """Write the jobs that succeeded ones asked for, keyed by the parent and a number; returns whom to ring for."""
    requests = [
        Request(
            kind=follow.kind, fields=follow.fields, source=FOLLOW_UP_SOURCE, key=f"{work.row.id}/{number}",
            run_at=follow.at, urgent=follow.urgent, requested_by=work.row.requested_by,
            on_behalf_of=work.row.on_behalf_of, why=follow.why or work.row.why, parent=work.row.id,
            accepted=work.row.accepted, parent_subject=work.row.subject,
        )
        for work in works
        if isinstance(work.answer, Done)
        for number, follow in enumerate(work.notes.follow_ups, start=1)
    ]
    if not requests:
        return set()
    intake = Intake(registry)
    for answer in intake.submit(scope, requests):
        if answer.refused:
            raise ValueError(f"follow-up {answer.kind} was refused: {answer.reason_text}")
    return intake.rung
