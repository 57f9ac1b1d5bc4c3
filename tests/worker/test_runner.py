"""The runner: one batch, one transaction, every outcome where it belongs, and nobody suffers for a neighbour."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from office import Office
from sqlalchemy import text, update
from trial import Bench, Crash

from worker import faultpoints
from worker.context import Context, Item
from worker.database import Busy
from worker.intake import Request
from worker.outcomes import Reject, Retry, Snooze
from worker.tables import job


def test_the_world_can_be_made(office: Office) -> None:
    office.world()
    ann = office.user("ann")
    assert ann is not None
    assert ann.is_active
    again = office.do("add_to_group", {"user": "ann", "group": "staff"})
    assert (again.state, again.result["changed"]) == ("succeeded", False)
    gone = office.do("deactivate_user", {"user": "ann"})
    assert (gone.state, gone.result["changed"]) == ("succeeded", True)


# ------------------------------------------------------------------------------------------------------ outcomes


@pytest.mark.parametrize(("do", "state", "code", "attempts"), [
    ("ok", "succeeded", None, 0), ("refuse", "rejected", "not_locked", 0), ("retry", "queued", None, 1),
    ("snooze", "scheduled", None, 0), ("fault", "queued", None, 1),
])
def test_every_outcome_is_written_down(bench: Bench, do: str, state: str, code: str | None, attempts: int) -> None:
    ended = bench.ended(bench.ask("words", do=do))
    bench.step()
    ended = bench.ended(ended.id)
    assert (ended.state, ended.reason, ended.attempts) == (state, code, attempts)
    assert bench.done() == (["words"] if do == "ok" else [])
    assert [outcome for outcome, _ in bench.tries(ended.id)] == {
        "ok": [], "refuse": ["rejected"], "retry": ["retry"], "snooze": ["snooze"], "fault": ["retry"]}[do]


def test_a_refusal_that_something_later_made_pointless_ends_as_cancelled(bench: Bench) -> None:
    def overtaken(ctx: Context, ask: Any) -> None:
        raise Reject("superseded", by="a newer one")

    bench.trial.acts["overtaken"] = overtaken
    assert bench.do("trial", {"user": "pat", "do": "overtaken"}).state == "cancelled"


def test_a_snooze_costs_nothing_and_comes_back(bench: Bench) -> None:
    snoozing = bench.ask("words", do="snooze")
    for _ in range(7):  # more often than the budget has attempts
        bench.drain()
        assert (bench.state(snoozing), bench.ended(snoozing).attempts) == ("scheduled", 0)
        bench.later(minutes=6)
    bench.trial.acts.pop("snooze")
    bench.drain()
    assert bench.done() == ["words"]


def test_a_fault_keeps_where_it_happened_and_none_of_the_values(bench: Bench) -> None:
    failing = bench.ask("a personal matter", do="fault")
    bench.step()
    [tried] = bench.rows("attempt", job=failing)
    assert (tried["outcome"], tried["code"], tried["number"]) == ("retry", "ZeroDivisionError", 1)
    assert "personal" not in tried["text"]
    assert "trial.py" in tried["trace"]
    assert "in _fault" in tried["trace"]


@pytest.mark.parametrize("poison", [
    lambda ctx, ask: {"never": object()},
    lambda ctx, ask: {"surrogate": "\ud800"},
    lambda ctx, ask: (_ for _ in ()).throw(ValueError("nul \0 and \ud800 half")),
    lambda ctx, ask: (_ for _ in ()).throw(Retry(None, why="nul \0 and \ud800 half")),
    lambda ctx, ask: (_ for _ in ()).throw(Snooze(ctx.now.replace(tzinfo=None), why="a time without a zone")),
    lambda ctx, ask: (_ for _ in ()).throw(Reject("no_such_code")),
    lambda ctx, ask: ctx.follow("no_such_kind", {}),
    lambda ctx, ask: ctx.follow("trial", {"no_such_field": 1}),
    lambda ctx, ask: ctx.event("x" * 500, "no id", None),
    lambda ctx, ask: ctx.conn.execute(text("SELECT no_such_column FROM job")),
], ids=["object", "surrogate", "error text", "retry text", "naive time", "code", "unknown follow-up", "bad follow-up",
        "bad event", "bad sql"])
def test_whatever_a_handler_does_costs_its_own_attempts_alone(bench: Bench, poison: Any) -> None:
    bench.trial.acts["poison"] = poison
    ids = [bench.ask(str(n), user=f"u{n}", do="poison" if n == 1 else "ok") for n in range(3)]
    bench.drain()
    if bench.state(ids[1]) == "succeeded":  # SQLite stores what PostgreSQL does not
        assert "sqlite" in bench.url
        return
    assert bench.states(*ids) == ["succeeded", "queued", "succeeded"]
    assert bench.ended(ids[1]).attempts == 1
    assert sorted(bench.done()) == ["0", "2"]
    assert bench.rows("batch") == []
    for _ in range(2):
        bench.later(minutes=11)
        bench.drain()
    assert bench.state(ids[1]) == "failed"


# ------------------------------------------------------------------------------------------------------- batches


def test_a_poisoned_job_among_five_hundred_takes_nobody_with_it(bench: Bench) -> None:
    requests = [Request("trial_bulk", {"user": f"u{n}", "text": str(n), **({"do": "fault"} if n == 250 else {})}, "test")
                for n in range(500)]
    answers = bench.app.submit(requests)
    bench.drain()
    states = [bench.state(answer.id or "") for answer in answers[249:252]]
    assert states == ["succeeded", "queued", "succeeded"]
    assert len(bench.done()) == len(set(bench.done())) == 499
    assert sum(row["attempts"] for row in bench.jobs()) == 1
    assert len(bench.rows("attempt")) == 1
    assert bench.rows("batch") == []


def test_a_bulk_handler_that_forgets_a_job_is_found_out(bench: Bench) -> None:
    def forget(ctx: Context, items: Sequence[Item[Any]]) -> None:
        for item in items[1:]:
            item.done()

    bench.app.registry["trial_bulk"].handler = forget
    ids = [bench.ask(kind="trial_bulk", user=f"u{n}") for n in range(2)]
    bench.step("trial_bulk")
    assert bench.states(*ids) == ["queued", "queued"]
    assert bench.tries(ids[0]) == [("retry", "RuntimeError")]


def test_single_jobs_go_at_most_fifty_to_a_transaction_and_ring_for_the_rest(bench: Bench) -> None:
    """More than 64 savepoints overflow PostgreSQL's subtransaction cache."""
    assert all(kind.policy.batch <= 50 for kind in bench.app.registry if kind.shape == "single")
    bench.app.submit([Request("trial", {"user": f"u{n}"}, "test") for n in range(60)])
    bench.bell.rung.clear()
    assert bench.step() == 50
    assert ("trial", "directory") in bench.bell.rung
    assert bench.step() == 10


def test_a_savepoint_undoes_one_job_and_its_words(bench: Bench) -> None:
    def half(ctx: Context, ask: Any) -> None:
        ctx.conn.execute(text("UPDATE meta SET value = 'half done' WHERE name = 'probe'"))
        ctx.follow("trial", {"user": "pat", "text": "never"})
        raise Retry(None, why="no")

    bench.trial.acts["half"] = half
    with bench.scope() as scope:
        scope.conn.execute(text("INSERT INTO meta (name, value) VALUES ('probe', 'untouched')"))
    ids = [bench.ask("half", do="half"), bench.ask("whole", user="kim")]
    bench.step()
    assert bench.states(*ids) == ["queued", "succeeded"]
    assert [row["value"] for row in bench.rows("meta", name="probe")] == ["untouched"]
    assert bench.done() == ["whole"]
    assert len(bench.jobs()) == 2


def test_a_deadlock_reruns_the_batch_and_burns_no_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.runner.time.sleep", lambda seconds: None)
    seen: list[int] = []

    def crowded(ctx: Context, ask: Any) -> None:
        seen.append(ctx.task.attempts)
        if len(seen) < 4:
            raise Busy("deadlock detected")

    bench.trial.acts["crowded"] = crowded
    ids = [bench.ask("a", do="crowded"), bench.ask("b", user="kim")]
    assert bench.step() == 2
    assert (seen, bench.states(*ids)) == ([0] * 4, ["succeeded"] * 2)
    assert "batch.split" not in caplog.messages
    assert bench.rows("attempt") == []


def test_a_batch_that_stays_crowded_out_leaves_no_note_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.runner.time.sleep", lambda seconds: None)

    def crowded(ctx: Context, ask: Any) -> None:
        raise Busy("deadlock detected")

    bench.trial.acts["crowded"] = crowded
    job_id = bench.ask("a", do="crowded")
    with pytest.raises(Busy):
        bench.step()
    assert (bench.rows("batch"), bench.runner.in_hand, bench.ended(job_id).attempts) == ([], set(), 0)
    bench.trial.acts.pop("crowded")
    bench.drain()
    assert bench.done() == ["a"]


def test_a_job_that_slips_out_of_its_handlers_hands_is_not_lost_track_of(bench: Bench) -> None:
    """A handler cancelled its own job: writing the outcome must notice, not pass over it."""

    def slip(ctx: Context, ask: Any) -> None:
        ctx.conn.execute(update(job).values(state="waiting").where(job.c.id == ctx.task.id))

    bench.trial.acts["slip"] = slip
    ids = [bench.ask("a", do="slip"), bench.ask("b", user="kim")]
    bench.step()
    assert bench.states(*ids) == ["queued", "succeeded"]
    assert bench.tries(ids[0]) == [("retry", "Slipped")]
    assert bench.done() == ["b"]


# -------------------------------------------------------------------------------------------------- cut anywhere


@pytest.mark.parametrize("kind", ["trial", "trial_bulk"])
@pytest.mark.parametrize("point", ["noted", "claimed", "handled", "before_commit", "committed"])
def test_a_worker_that_dies_anywhere_leaves_nothing_or_everything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str, point: str
) -> None:
    ids = [bench.ask(str(n), kind, user=f"u{n}") for n in range(3)]

    def die(name: str) -> None:
        if name == point:
            raise Crash

    dying = bench.colleague()
    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "reached", die)
        with pytest.raises(Crash):
            dying.run(kind, urgent=False)
    over = point == "committed"
    assert bench.states(*ids) == ["succeeded" if over else "queued"] * 3
    assert len(bench.done()) == (3 if over else 0)
    assert len(bench.rows("batch")) == (0 if over else 1)
    bench.step(kind)
    assert bench.done() == (["0", "1", "2"] if over else [])  # noted by somebody who may still live
    bench.keeper.bury()
    assert [row["crashes"] for row in bench.jobs()] == [0 if over else 1] * 3
    bench.drain()
    assert (bench.states(*ids), sorted(bench.done())) == (["succeeded"] * 3, ["0", "1", "2"])


# ----------------------------------------------------------------------------------------------------- follow-ups


def test_a_follow_up_comes_with_the_effect_and_is_as_old_as_its_parent(bench: Bench) -> None:
    parent = bench.ask("one", do="follow", extra={"gives": True})
    takes = bench.ask("takes", takes=True, at=bench.now.replace(hour=10))
    bench.step()
    [child] = bench.rows("job", parent=parent)
    assert (child["source"], child["key"], child["requested_by"]) == ("muster", f"{parent}/1", "tester")
    assert child["accepted"] == bench.row(parent)["accepted"] < bench.row(takes)["accepted"]
    assert bench.state(child["id"]) == "queued"


def test_a_revocation_accepted_after_the_parent_cancels_the_child(bench: Bench) -> None:
    """The child is written after the revocation was accepted, and still belongs to the time before it."""
    parent = bench.ask("one", do="follow", extra={"gives": True})
    takes = bench.ask("takes", takes=True, kind="trial_bulk")
    bench.step("trial")
    [child] = bench.rows("job", parent=parent)
    bench.step("trial_bulk")
    assert bench.states(parent, takes, child["id"]) == ["succeeded", "succeeded", "cancelled"]


def test_follow_ups_of_a_refused_job_do_not_exist(bench: Bench) -> None:
    def both(ctx: Context, ask: Any) -> None:
        ctx.follow("trial", {"user": "pat"})
        raise Reject("not_locked", user="pat")

    bench.trial.acts["both"] = both
    bench.ask(do="both")
    bench.drain()
    assert len(bench.jobs()) == 1


def test_logs_name_jobs_and_no_values(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench.app.submit([Request("trial_bulk", {"user": f"u{n}", "text": "private words", "do": "fault"}, "test") for n in range(2)])
    bench.drain()
    ours = [record for record in caplog.records if record.name.startswith("worker")]
    assert [record.getMessage() for record in ours] == ["batch.split"]
    assert "private words" not in str([vars(record) for record in ours])
