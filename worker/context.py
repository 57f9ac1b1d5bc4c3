"""What a handler may touch: rows of its own transaction, the moment, and words about what should happen next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from worker.jobs import Payload
from worker.outcomes import REASONS, reason_text
from worker.scope import Scope

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True)
class Task:
    """The ledger's facts about the job in hand. `subject` is the line of the person, also before the account exists."""

    id: str
    kind: str
    source: str
    key: str
    subject: str | None
    accepted: int | None
    urgent: bool
    attempts: int
    requested_by: str | None
    on_behalf_of: str | None
    why: str | None
    parent: str | None
    created_at: datetime
    frozen: Mapping[str, Any]


@dataclass(frozen=True)
class Happening:
    """One line of the audit trail to be."""

    action: str
    target: str | None
    target_name: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True)
class FollowUp:
    """A job that should come next; the runner writes it to the ledger in the same transaction."""

    kind: str
    fields: Mapping[str, Any]
    at: datetime | None
    urgent: bool
    why: str | None


class Notes:
    """What a handler says besides rows: audit events and follow-ups. Dropped when its work is rolled back."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.events: list[Happening] = []
        self.follow_ups: list[FollowUp] = []

    def event(self, action: str, target: str | None, name: str | None, **data: Any) -> None:
        """Add a line to the audit trail. `action` is noun.verb (user.deactivated); `data` holds no secrets."""
        self.events.append(Happening(action, target, name, data))

    def follow(
        self,
        kind: str,
        fields: Mapping[str, Any],
        *,
        at: datetime | None = None,
        urgent: bool = False,
        why: str | None = None,
    ) -> None:
        """Ask for a job that comes next (or at a time); it is accepted together with this job's effect or not at all."""
        self.follow_ups.append(FollowUp(kind, fields, at, urgent, why))


class Context(Scope, Notes):
    """A handler's whole world: the scope of its transaction, and (single and edge jobs) the notes of its one job."""

    task: Task

    def __init__(self, scope: Scope, task: Task | None = None) -> None:
        """`task` is None for a bulk handler: there each item has its own."""
        Scope.__init__(self, scope.conn, scope.now, scope.settings)
        Notes.__init__(self)
        if task is not None:
            self.task = task
        self.frozen_facts: dict[str, Any] = {}

    def freeze(self, **facts: Any) -> None:
        """Remember what a retry of this edge job must repeat unchanged; read back from `task.frozen`."""
        self.frozen_facts.update(facts)


@dataclass
class Item(Generic[P]):
    """One job of a batch, and the handler's answer to it."""

    ask: P
    task: Task
    answer: "Answer | None" = None
    notes: Notes = field(default_factory=Notes)

    def done(self, **result: Any) -> None:
        """Succeeded; `result` says what changed (`changed=True`, counts) and holds no secrets."""
        self.answer = Done(result)

    def reject(self, code: str, **facts: object) -> None:
        """Refused for good, for this item alone; drops what was noted for it."""
        self.notes = Notes()
        self.answer = turned_down(code, reason_text(code, facts))

    def retry(self, why: str, at: datetime | None = None) -> None:
        """Try again (at `at`, else by the policy's backoff), for this item alone; drops what was noted for it."""
        self.notes = Notes()
        self.answer = Retried(at, "retry", why)

    def snooze(self, until: datetime, why: str) -> None:
        """Put off, for this item alone: counts no attempt, and lets the person's next job go meanwhile."""
        self.notes = Notes()
        self.answer = Snoozed(until, why)

    def event(self, action: str, target: str | None, name: str | None, **data: Any) -> None:
        """Add a line to the audit trail for this item."""
        self.notes.event(action, target, name, **data)

    def follow(
        self,
        kind: str,
        fields: Mapping[str, Any],
        *,
        at: datetime | None = None,
        urgent: bool = False,
        why: str | None = None,
    ) -> None:
        """Ask for a job that comes next for this item."""
        self.notes.follow(kind, fields, at=at, urgent=urgent, why=why)

    @property
    def open(self) -> bool:
        """Whether this item still wants an answer."""
        return self.answer is None


@dataclass(frozen=True)
class Done:
    """Succeeded, with a result."""

    result: Mapping[str, Any]


@dataclass(frozen=True)
class Rejected:
    """Refused for good, with the sentence a person reads."""

    code: str
    text: str


@dataclass(frozen=True)
class Cancelled:
    """Not done because something later made it pointless or forbidden."""

    code: str
    text: str


@dataclass(frozen=True)
class Retried:
    """To be tried again at `at`; counts an attempt."""

    at: datetime | None
    code: str
    text: str
    trace: str | None = None


@dataclass(frozen=True)
class Snoozed:
    """Put off until `at`; counts none."""

    at: datetime
    text: str


@dataclass(frozen=True)
class Behind:
    """To be done in its turn after all: the name it uses is about to be given by somebody before it in the line."""

    code: str = "behind"
    text: str = ""


Answer = Done | Rejected | Cancelled | Retried | Snoozed | Behind


def turned_down(code: str, text: str) -> "Cancelled | Rejected":
    """The answer for a refusal with this code: rejected, or cancelled when something later made the job pointless."""
    return Cancelled(code, text) if REASONS[code].overtaken else Rejected(code, text)
