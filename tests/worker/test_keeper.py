"""The keeper: wakes, rings again, buries the dead, carries the inbox, and keeps what is old small."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from trial import Bench, Crash

from worker import faultpoints, keeper, ledger
from worker.bulk import insert_rows
from worker.ids import new_id
from worker.jobs import Kind, Payload, Policy, Registry
from worker.tables import batch, inbox, job, refusal, worker


def crash_with(bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str = "trial") -> int:
    """A worker claims a batch and dies in it; returns how many of its jobs were noted."""

    def die(name: str) -> None:
        if name == "claimed":
            raise Crash

    dying = bench.colleague()
    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "reached", die)
        with pytest.raises(Crash):
            dying.run(kind, urgent=False)
    noted = bench.rows("batch", worker=dying.worker_id)
    return sum(len(row["jobs"]) for row in noted)


# ------------------------------------------------------------------------------------------------------- the dead


def test_three_crashes_give_a_job_up_and_spare_its_neighbours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(ctx: Any, ask: Any) -> None:
        raise Crash

    bench.trial.acts["kill"] = kill
    killer = bench.ask("killer", user="u1", do="kill")
    innocent = [bench.ask(str(n), user=f"u{n}") for n in (0, 2)]
    behind = bench.ask("behind", user="u1")
    crashes = 0
    while bench.state(killer) == "queued":
        dying = bench.colleague()
        try:
            dying.run("trial", urgent=False)
        except Crash:
            crashes += 1
        bench.keeper.bury()
    assert crashes == 3
    ended = bench.ended(killer)
    assert (ended.state, ended.reason, ended.attempts) == ("failed", "worker_killed", 0)
    assert bench.tries(killer) == [("crash", "worker_died")] * 3
    bench.drain()
    assert bench.states(*innocent, behind) == ["succeeded"] * 3
    assert sorted(bench.done()) == ["0", "2", "behind"]
    assert bench.rows("batch") == []


def test_suspects_are_run_in_small_company_and_then_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [bench.ask(str(n), user=f"u{n}") for n in range(ledger.SUSPECTS + 5)]
    assert crash_with(bench, monkeypatch) == len(ids)
    bench.keeper.bury()
    clean = bench.ask("clean", user="somebody else")
    assert crash_with(bench, monkeypatch) == ledger.SUSPECTS
    bench.keeper.bury()
    assert sorted(row["crashes"] for row in bench.jobs()) == [0] + [1] * 5 + [2] * ledger.SUSPECTS
    bench.bell.rung.clear()
    assert bench.step() == 1, "who was there at two crashes is done alone"
    assert ("trial", "directory") in bench.bell.rung
    bench.drain()
    assert set(bench.states(*ids, clean)) == {"succeeded"}


def test_who_lives_is_not_buried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ask()
    with bench.scope() as scope:
        insert_rows(scope.conn, worker, [{"id": new_id(), "host": "another machine", "pid": 1, "born": "x",
                                          "started_at": bench.now, "seen_at": bench.now}])
    bench.later(seconds=15)
    bench.keeper.bury()
    assert len(bench.rows("worker")) == 2
    bench.later(seconds=10)
    bench.keeper.bury()
    assert [row["id"] for row in bench.rows("worker")] == [bench.app.worker_id]


def test_a_keeper_that_was_buried_by_mistake_enlists_again(bench: Bench) -> None:
    with bench.scope() as scope:
        scope.conn.execute(worker.delete())
    bench.keeper.heartbeat()
    assert [row["id"] for row in bench.rows("worker")] == [bench.app.worker_id]


def test_a_note_that_nobody_holds_is_cleared_and_one_in_hand_is_not(bench: Bench) -> None:
    mine, stray, young = new_id(), new_id(), new_id()
    with bench.scope() as scope:
        for note_id, age in ((mine, 60), (stray, 60), (young, 1)):
            at = bench.now - timedelta(seconds=age)
            insert_rows(scope.conn, batch, [{"id": note_id, "worker": bench.app.worker_id, "jobs": [], "at": at}])
    bench.runner.in_hand.add(mine)
    bench.keeper.heartbeat()
    assert {row["id"] for row in bench.rows("batch")} == {mine, young}


def test_a_note_of_a_worker_that_is_on_no_list_is_settled(bench: Bench) -> None:
    """It was buried by mistake, went on working, and died before its next heartbeat."""
    job_id = bench.ask("words")
    with bench.scope() as scope:
        row = {"id": new_id(), "worker": new_id(), "jobs": [job_id], "at": bench.now}
        insert_rows(scope.conn, batch, [row])
    bench.keeper.bury()
    assert len(bench.rows("batch")) == 1
    bench.later(seconds=30)
    bench.keeper.bury()
    assert (bench.rows("batch"), bench.row(job_id)["crashes"]) == ([], 1)
    bench.drain()
    assert bench.done() == ["words"]


def test_an_orderly_end_counts_no_crash(bench: Bench) -> None:
    job_id = bench.ask("words")
    with bench.scope() as scope:
        row = {"id": new_id(), "worker": bench.app.worker_id, "jobs": [job_id], "at": bench.now}
        insert_rows(scope.conn, batch, [row])
    bench.keeper.resign()
    assert (bench.rows("batch"), bench.rows("worker"), bench.row(job_id)["crashes"]) == ([], [], 0)
    bench.drain()
    assert bench.done() == ["words"]


# -------------------------------------------------------------------------------------------------- bells and time


def test_a_lost_bell_is_rung_again(bench: Bench) -> None:
    bench.ask()
    bench.ask(user="kim", urgent=True)
    bench.ask(user="jo", at=bench.now + timedelta(days=1))
    bench.ask("behind")
    bench.bell.rung.clear()
    bench.keeper.ring_due()
    assert bench.bell.rung == {("trial", "directory"), ("trial", "urgent")}
    bench.drain()
    bench.bell.rung.clear()
    bench.keeper.ring_due()
    assert bench.bell.rung == set()


def test_the_scheduled_wake_in_the_order_of_their_times(bench: Bench) -> None:
    for text, hours in (("late", 3), ("early", 1), ("middle", 2)):
        bench.ask(text, at=bench.now + timedelta(hours=hours))
    bench.later(hours=2, minutes=30)
    bench.drain()
    assert bench.done() == ["early", "middle"]
    bench.later(hours=1)
    bench.drain()
    assert bench.done() == ["early", "middle", "late"]


def test_kinds_not_known_here_are_woken_by_their_own_workers(bench: Bench) -> None:
    """Woken here, an edge kind of a newer version would be put into the person's line."""
    planned = bench.ask("mail", "trial_edge", at=bench.now + timedelta(hours=1))
    bench.later(hours=2)
    all_kinds = bench.keeper.registry
    bench.keeper.registry = Registry()
    bench.keeper.registry.add(all_kinds["trial"])
    bench.keeper.wake()
    assert bench.state(planned) == "scheduled"
    bench.keeper.registry = all_kinds
    bench.keeper.wake()
    assert (bench.state(planned), bench.row(planned)["seq"]) == ("queued", None)


def test_what_fails_in_one_part_of_a_round_stops_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("disk on fire")

    for part in ("bury", "carry_inbox", "prune"):
        monkeypatch.setattr(bench.keeper, part, broken)
        broken.__name__ = part
    bench.ask(at=bench.now + timedelta(hours=1))
    bench.later(hours=2)
    bench.keeper.pass_once()
    assert bench.bell.rung == {("trial", "directory")}


# ----------------------------------------------------------------------------------------------------------- inbox


def put(bench: Bench, payload: Any, kind: str = "trial", source: str = "hr", key: str | None = None) -> None:
    with bench.scope() as scope:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        scope.conn.execute(insert(inbox).values(source=source, key=key, kind=kind, payload=text))


def test_rows_of_sql_producers_become_jobs_of_a_source_of_their_own(bench: Bench) -> None:
    put(bench, {"user": "pat", "text": "one"}, key="k")
    put(bench, {"user": "pat", "text": "one"}, key="k")
    put(bench, {"user": "pat", "text": "two"}, key="k")
    bench.drain()
    assert (bench.done(), bench.rows("inbox")) == (["one"], [])
    assert [(row["source"], row["key"], row["requested_by"]) for row in bench.jobs()] == [("inbox/hr", "k", "hr")]
    [kept] = bench.rows("refusal")
    assert (kept["reason"], kept["source"], kept["key"]) == ("key_reused", "inbox/hr", "k")


def test_rows_without_a_key_are_jobs_each_whatever_number_the_row_has(bench: Bench) -> None:
    """SQLite gives the number of a deleted row again."""
    for text in ("one", "one", "two"):
        put(bench, {"user": "pat", "text": text})
        bench.drain()
    assert bench.done() == ["one", "one", "two"]


def test_what_cannot_be_read_is_recorded_and_keeps_nobody_out(bench: Bench) -> None:
    for bad in ("{", "[]", '"text"', "7", "null", "{}}", '{"user": NaN}', '{"text": "\\u0000"}', '{"text": "\\ud800"}',
                "[" * 100_000, '{"a":' * 2_000, '{"extra": {"password": "hunter2"}, "user": 7}'):
        put(bench, bad)
    put(bench, {}, kind="no_such_kind")
    put(bench, {}, source="s" * 255)
    put(bench, {"user": "pat", "text": "good"})
    bench.drain()
    assert (bench.done(), bench.rows("inbox")) == (["good"], [])
    kept = bench.rows("refusal")
    assert len(kept) == 14
    assert "hunter2" not in str(kept)


def test_a_row_that_breaks_the_intake_is_set_aside(bench: Bench) -> None:
    class Trap(Payload):
        def gives_access(self) -> bool:
            raise RuntimeError("a bug in a payload")

    bench.app.registry.add(Kind("trap", "", "single", Trap, Policy(), lambda ctx, ask: None))
    put(bench, {"user": "pat", "text": "before"})
    put(bench, {}, kind="trap")
    put(bench, {"user": "pat", "text": "after"})
    bench.drain()
    assert (bench.done(), bench.rows("inbox")) == (["before", "after"], [])
    [kept] = bench.rows("refusal")
    assert (kept["kind"], kept["reason"], "RuntimeError" in kept["text"]) == ("trap", "unreadable", True)


# ---------------------------------------------------------------------------------------------------------- pruning


def test_old_jobs_keep_their_key_and_outcome_and_nothing_else(bench: Bench) -> None:
    old, failed = bench.ask("private", key="k-old"), bench.ask("private", do="refuse", user="kim")
    waiting = bench.ask("planned", at=bench.now + timedelta(days=90), user="jo")
    bench.drain()
    bench.later(days=29)
    bench.keeper.prune()
    assert bench.row(old)["payload"] != {}
    bench.later(days=2)
    recent = bench.ask("recent", user="al")
    bench.drain()
    bench.keeper.prune()
    for job_id, state in ((old, "succeeded"), (failed, "rejected")):
        row = bench.row(job_id)
        assert (row["state"], row["payload"], row["result"], row["reason_text"], row["pruned"]) == (state, {}, None, None, True)
        assert row["fingerprint"]
    assert bench.row(old)["key"] == "k-old"
    assert bench.rows("attempt") == []
    assert all(bench.row(job_id)["payload"] for job_id in (waiting, recent))


def test_old_refusals_go_even_when_no_job_is_old(bench: Bench) -> None:
    with bench.scope() as scope:
        insert_rows(scope.conn, refusal, [{"id": new_id(), "at": bench.now, "source": "x", "reason": "r", "text": "t"}])
    bench.later(days=31)
    bench.keeper.prune()
    assert bench.rows("refusal") == []


def test_pruning_goes_on_as_long_as_there_is_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PRUNE_AT_ONCE", 2)
    for n in range(5):
        bench.ask(user=f"u{n}")
    bench.drain()
    bench.later(days=31)
    for left in (3, 1, 0):
        bench.keeper.prune()
        assert len(bench.rows("job", pruned=False)) == left


def test_a_lease_that_lapsed_elsewhere_is_settled_by_any_keeper(bench: Bench) -> None:
    mail = bench.ask("mail", "trial_edge")
    with bench.scope() as scope:
        scope.conn.execute(update(job).where(job.c.id == mail).values(
            state="leased", lease="somebody's", lease_until=bench.now + timedelta(seconds=90)))
    bench.keeper.settle_leases()
    assert bench.state(mail) == "leased"
    bench.later(seconds=91)
    bench.keeper.settle_leases()
    with bench.app.database.read() as conn:
        row = conn.execute(select(job.c.state, job.c.lease, job.c.attempts)).one()
    assert tuple(row) == ("queued", None, 0)
