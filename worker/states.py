"""The life of a job as data: every state, and every move there is. A move that is not here cannot be made."""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    WAITING = "waiting"
    QUEUED = "queued"
    LEASED = "leased"
    HANDING_OVER = "handing_over"
    UNKNOWN = "unknown"
    HELD = "held"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = State

FINISHED = frozenset({S.SUCCEEDED, S.REJECTED, S.FAILED, S.CANCELLED})
UNFINISHED = frozenset(State) - FINISHED

#: from → to. `queued → queued` is a retry, `queued → scheduled` a snooze, `queued → waiting` two lines of one person
#: becoming one, or a revocation by a name that somebody before it in the line is about to give. Out of a finished state
#: leads only a re-drive. Whoever is handing over is neither cancelled nor held: it is too late, and releasing it later
#: would do it twice.
MOVES: Mapping[State, frozenset[State]] = {
    S.SCHEDULED: frozenset({S.QUEUED, S.WAITING, S.HELD, S.CANCELLED}),
    S.WAITING: frozenset({S.QUEUED, S.HELD, S.CANCELLED}),
    S.QUEUED: frozenset({
        S.QUEUED, S.WAITING, S.SCHEDULED, S.LEASED, S.HELD, S.SUCCEEDED, S.REJECTED, S.FAILED, S.CANCELLED,
    }),
    S.LEASED: frozenset({S.QUEUED, S.HANDING_OVER, S.HELD, S.SUCCEEDED, S.REJECTED, S.FAILED, S.CANCELLED}),
    S.HANDING_OVER: frozenset({S.QUEUED, S.SUCCEEDED, S.REJECTED, S.FAILED, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.QUEUED, S.HELD, S.SUCCEEDED, S.CANCELLED}),
    S.HELD: frozenset({S.QUEUED, S.WAITING, S.SCHEDULED, S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.REJECTED: frozenset({S.QUEUED, S.WAITING}),
    S.FAILED: frozenset({S.QUEUED, S.WAITING}),
    S.CANCELLED: frozenset({S.QUEUED, S.WAITING}),
}


def before(to: State) -> list[str]:
    """Return the states from which a job may move to `to`: the guard of every statement that moves one."""
    return sorted(start for start, ends in MOVES.items() if to in ends)
