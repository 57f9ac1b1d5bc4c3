"""The two sides of the queue: the bell that others ring, and the doorway where the process answers."""

from collections.abc import Mapping
from typing import Protocol

NAMESPACE = "dramatiq"
"""What every key in Redis begins with; dramatiq's own default, so that a producer with default settings finds us."""

URGENT = "urgent"
"""The queue that one thread of every worker process serves alone; any kind may be addressed through it."""

BELL_LIFE_MILLIS = 3000
"""How long a bell that nobody answered keeps others from ringing; the keeper rings again after it."""


class Doorway(Protocol):
    """What the process does when something arrives. Called from worker threads, several at once."""

    def bell(self, kind: str, queue: str) -> None:
        """Carry out what is due of this kind; `queue` "urgent" means the urgent jobs alone. What it raises is logged, not repeated."""

    def ingress(self, kind: str, queue: str, kwargs: Mapping[str, object], message_id: str) -> None:
        """Write a foreign job to the ledger. Returning acknowledges the message; raising brings it back after a pause.

        `kwargs` is what the producer sent, plus `run_at` (RFC 3339, UTC) if it sent the message with a delay and no `run_at`.
        """

    def unreadable(self, queue: str, raw: bytes, reason: str, message_id: str) -> None:
        """Record a message that cannot be read as refused. Returning acknowledges it; raising brings it back after a pause.

        `raw` is the body as it came, its first kilobyte if the body is over the limit. `message_id` is the producer's if
        that much can be read, else the id under which Redis held it.
        """


class Bell(Protocol):
    """Tells workers that there is work of one kind."""

    def ring(self, kind: str, queue: str) -> bool:
        """Ring after commit. At most one bell a kind and queue is outstanding, so ringing again is free.

        True: a worker will look. False: the queue cannot be reached; the keeper rings later. Never raises.
        """

    def clear(self, kind: str, queue: str) -> None:
        """Say that a worker begins to look, *before* it claims: what is submitted from now on rings anew. Never raises."""

    def trouble(self) -> str | None:
        """Say why the queue cannot be reached; None if it can. For `muster doctor`."""


class NoBell:
    """A bell that nobody hears, for a process beside an embedded worker."""

    def ring(self, kind: str, queue: str) -> bool:
        return False

    def clear(self, kind: str, queue: str) -> None:
        """There is nothing to clear."""

    def trouble(self) -> str | None:
        return None
