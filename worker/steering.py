"""Bringing back, releasing and cancelling jobs, one or a whole filter of them: what the commands, the API and the console do."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, select

from worker import intake, ledger, listing
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


def movable(app: "App", move: Move) -> ColumnElement[bool]:
    """The condition under which a job can be moved so."""
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
    app: "App", move: Move, wanted: JobFilter, *, by: str, advance: Callable[[int, int], None] = lambda _done, _all: None
) -> int:
    """Move the jobs of the filter that can be moved so, oldest first and slice by slice; returns how many were moved.

    `by` is whoever asks; `advance` hears after each slice how many of how many have been gone through.
    """
    with app.database.read() as conn:
        found = listing.job_ids(conn, wanted, movable(app, move))
    moved = 0
    for start in range(0, len(found), SLICE):
        part = found[start : start + SLICE]
        number, rung = app.database.transact(lambda conn, part=part: _moved(app, conn, move, part, by))  # type: ignore[misc]
        moved += number
        for kind, urgent in sorted(rung):
            app.ring(kind, urgent)
        advance(start + len(part), len(found))
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
