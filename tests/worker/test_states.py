"""The table of moves: each state and its ways out, and no statement that moves a job any other way."""

import pytest
from sqlalchemy import select, update
from trial import Bench

from worker import ledger
from worker.states import FINISHED, MOVES, UNFINISHED, State, before
from worker.tables import job

WRITTEN_DOWN = {
    "scheduled": "queued waiting held cancelled",
    "waiting": "queued held cancelled",
    "queued": "queued waiting scheduled leased held succeeded rejected failed cancelled",
    "leased": "queued handing_over held succeeded rejected failed cancelled",
    "handing_over": "queued succeeded rejected failed unknown",
    "unknown": "queued held succeeded cancelled",
    "held": "queued waiting scheduled cancelled",
    "succeeded": "",
    "rejected": "queued waiting",
    "failed": "queued waiting",
    "cancelled": "queued waiting",
}


def test_the_moves_are_these_and_no_others() -> None:
    assert {start.value: {end.value for end in ends} for start, ends in MOVES.items()} == {
        start: set(ends.split()) for start, ends in WRITTEN_DOWN.items()
    }


def test_every_state_is_finished_or_not() -> None:
    assert set(MOVES) == set(State) == FINISHED | UNFINISHED
    assert not FINISHED & UNFINISHED


def test_nothing_leaves_the_handing_over_by_cancelling_or_holding() -> None:
    """The relay may have it: cancelling would lie, and releasing a held one would send it twice."""
    assert not {State.CANCELLED, State.HELD} & MOVES[State.HANDING_OVER]


def test_whoever_succeeded_stays_so() -> None:
    assert all(State.SUCCEEDED not in before(end) for end in State)


@pytest.mark.parametrize("to", State)
def test_the_ledger_refuses_every_other_move(bench: Bench, to: State) -> None:
    ids = {}
    for start in State:
        ids[start] = bench.ask(kind="trial_edge", user=None)
        with bench.scope() as scope:
            scope.conn.execute(update(job).values(state=start.value).where(job.c.id == ids[start]))
    with bench.scope() as scope:
        moved = ledger.move(scope, to, [{"id": job_id} for job_id in ids.values()])
        states = {row.id: row.state for row in scope.conn.execute(select(job.c.id, job.c.state))}
    assert moved == sum(to in MOVES[start] for start in State)
    for start, job_id in ids.items():
        assert states[job_id] == (to if to in MOVES[start] else start)


def test_an_end_has_a_time_and_leaves_no_lease_and_no_sealed_field(bench: Bench) -> None:
    job_id = bench.ask(kind="trial_edge", secret="hunter2")
    assert bench.row(job_id)["sealed"] == {"secret": "hunter2"}
    bench.step("trial_edge")
    row = bench.row(job_id)
    assert (row["state"], row["finished_at"], row["sealed"], row["lease"], row["lease_until"]) == (
        "succeeded", bench.now, None, None, None)
