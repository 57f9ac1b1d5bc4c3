"""Bringing back, releasing and cancelling jobs, one or a whole filter of them: what the commands, the API and the console do."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, select

from worker import intake, ledger, listing, power
from worker.api_tokens import Caller
from worker.listing import JobFilter
from worker.scope import Scope
from worker.states import State, before
from worker.tables import job

if TYPE_CHECKING:
    from worker.app import App

# Jobs moved in one transaction: others get their turn in between.
SLICE = 500


class Move(StrEnum):
    """What a person may do to jobs that stand in the ledger."""

    RETRY = "retry"
    RELEASE = "release"
    CANCEL = "cancel"


def movable(app: "App", move: Move, by: Caller | None = None) -> ColumnElement[bool]:
    """The condition under which a job can be moved so; `by`: and by whom. What is grave takes the right to submit it."""
    if by is not None and (closed := power.out_of_reach(by)):
        return and_(movable(app, move), job.c.kind.not_in(closed))
    if move is Move.RETRY:
        return ledger.redrivable(app.registry)
    if move is Move.RELEASE:
        return job.c.state == State.HELD.value
    return job.c.state.in_(before(State.CANCELLED))


def counts(app: "App", move: Move, wanted: JobFilter) -> list[dict[str, Any]]:
    """Return how many jobs `steer` would move now: kind, state, reason, count."""
    with app.database.read() as conn:
        return listing.job_counts(conn, wanted, movable(app, move))


def steer(
    app: "App", move: Move, wanted: JobFilter, *, by: str | Caller, advance: Callable[[int, int], None] = lambda _done, _all: None
) -> int:
    """Move the jobs of the filter that can be moved so, oldest first and slice by slice; returns how many were moved.

    `by` is whoever asks: a token moves only what it could have submitted (worker/power.py); `advance` hears after each slice how many of how many have been gone through.
    """
    with app.database.read() as conn:
        found = listing.job_ids(conn, wanted, movable(app, move, by if isinstance(by, Caller) else None))
    who = by.source if isinstance(by, Caller) else by
    moved = 0
    for start in range(0, len(found), SLICE):
        part = found[start : start + SLICE]
        if isinstance(by, Caller):
            beyond = power.not_theirs(app, by, part)
            part = [one for one in part if one not in beyond]
        number, rung = app.database.transact(lambda conn, part=part: _moved(app, conn, move, part, who))  # type: ignore[misc]
        moved += number
        for kind, urgent in sorted(rung):
            app.ring(kind, urgent)
        advance(min(start + SLICE, len(found)), len(found))
    return moved


def _moved(app: "App", conn: Connection, move: Move, ids: Sequence[str], by: str) -> tuple[int, ledger.Lifted]:
    scope = Scope(conn, app.clock(), app.settings)
    which = [job.c.id.in_(ids), movable(app, move)]
    if move is Move.RETRY:
        edges = {kind.name: kind.policy.life for kind in app.registry if kind.shape == "edge"}
        rows, rung = ledger.redrive(scope, which, edges=edges)
        return len(rows), rung
    if move is Move.RELEASE:
        held = list(conn.execute(select(job.c.id).where(*which)).scalars())
        return len(held), intake.release(scope, held, app.registry)
    moved, rung = ledger.cancel(scope, which, by=by)
    return len(moved), rung
