"""What an edge job carries outside: prepared in the gate, carried between two transactions, settled afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol


@dataclass(frozen=True)
class Receipt:
    """The outside's yes. `text` is what it said (a relay's reply with its queue id); `facts` go into the result."""

    text: str
    at: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)


class Errand(Protocol):
    """Something to carry outside. Lives in memory only: a live link in it rests nowhere."""

    def carry(self, desk: "Desk") -> Receipt:
        """Do it. Call `desk.handing_over()` right before the point of no return. Raises one of the failures below."""
        ...


class Desk(Protocol):
    """What an errand may use while it is under way."""

    @property
    def now(self) -> datetime:
        """The present time, aware, in UTC."""
        ...

    @property
    def frozen(self) -> Mapping[str, Any]:
        """What the job's first try froze: `message_id`, `date` and what the gate added."""
        ...

    def handing_over(self) -> None:
        """Commit that from here on the outcome may be unknown. Raises LeaseLost when the job is no longer ours."""
        ...

    def tool(self, name: str) -> Any:
        """A connection that outlives one errand, such as the mail transport."""
        ...


class LeaseLost(Exception):
    """The lease of this job lapsed or the job was cancelled meanwhile; nothing was handed over."""


class EdgeFailure(Exception):
    """The errand did not succeed. `code` is a key of REASONS or a short word; `text` is safe to show."""

    def __init__(self, code: str, text: str) -> None:
        """Carry no secrets in `text`."""
        self.code = code
        self.text = text
        super().__init__(text)


class Unavailable(EdgeFailure):
    """The other side cannot be reached at all: not this job's fault, so no attempt is counted. Try at `until`."""

    def __init__(self, code: str, text: str, until: datetime) -> None:
        """`until`: when it is worth trying again (the breaker's word)."""
        super().__init__(code, text)
        self.until = until


class Deferred(EdgeFailure):
    """Refused for now; counts an attempt. `after` overrides the policy's backoff."""

    def __init__(self, code: str, text: str, after: timedelta | None = None) -> None:
        """`after`: how long to wait before the next try."""
        super().__init__(code, text)
        self.after = after


class Refused(EdgeFailure):
    """Refused for good."""


class Unknown(EdgeFailure):
    """The line broke past the point of no return: it may have arrived."""
