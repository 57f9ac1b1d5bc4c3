"""Two connections at once on PostgreSQL: every lock of the ledger is seen to be waited for, and to be enough."""

import threading
from typing import Any

import pytest
from rivals import Rival, until_blocked
from sqlalchemy import select, text
from trial import Bench

from worker import database as database_module
from worker import ledger
from worker.context import Context
from worker.database import Busy
from worker.intake import Intake, Request, release
from worker.scope import Scope
from worker.tables import job, line


def about(user: str = "pat", key: str | None = None, **fields: Any) -> Request:
    return Request("trial", {"user": user, **fields}, "test", key)


def test_two_submitters_about_one_person_are_put_in_order(pg_bench: Bench) -> None:
    """Without the lock of the line both would find it empty, and both be queued."""
    app = pg_bench.app
    pg_bench.ask("there before")
    pg_bench.drain()
    with app.database.write() as conn:
        first = app.submit([about(text="one")], conn)[0]
        rival = Rival(lambda: app.submit([about(text="two")])[0])
        until_blocked(app.database, rival)
    second = rival.join()
    assert (first.state, second.state) == ("queued", "waiting")
    assert pg_bench.row(second.id or "")["seq"] == pg_bench.row(first.id or "")["seq"] + 1


def test_two_submitters_who_name_somebody_new_agree_on_the_line(pg_bench: Bench) -> None:
    app = pg_bench.app
    with app.database.write() as conn:
        first = app.submit([about(text="one")], conn)[0]
        rival = Rival(lambda: app.submit([about(text="two")])[0])
        until_blocked(app.database, rival)
    second = rival.join()
    assert (first.state, second.state) == ("queued", "waiting")
    assert pg_bench.row(first.id or "")["subject"] == pg_bench.row(second.id or "")["subject"]


def test_many_submitters_never_share_a_place(pg_bench: Bench) -> None:
    def submit(name: str) -> None:
        for number in range(10):
            pg_bench.app.submit([about(text=f"{name}{number}"), about("kim", text=f"{name}{number}")])

    for rival in [Rival(lambda name=name: submit(name)) for name in "abc"]:  # type: ignore[misc]
        rival.join()
    rows = pg_bench.jobs()
    for subject in {row["subject"] for row in rows}:
        own = sorted((row for row in rows if row["subject"] == subject), key=lambda row: int(row["seq"]))
        assert [row["seq"] for row in own] == list(range(1, 31))
        assert [row["state"] for row in own] == ["queued", *["waiting"] * 29]


def test_who_arrives_while_the_last_one_finishes_is_not_left_waiting(pg_bench: Bench) -> None:
    rivals: list[Rival[Any]] = []

    def meanwhile(ctx: Context, ask: Any) -> None:
        rivals.append(Rival(lambda: pg_bench.app.submit([about(text="second")])[0]))
        until_blocked(pg_bench.app.database, rivals[0])

    pg_bench.trial.acts["meanwhile"] = meanwhile
    pg_bench.ask("first", do="meanwhile")
    pg_bench.step()
    assert rivals[0].join().state == "queued"
    pg_bench.drain()
    assert pg_bench.done() == ["first", "second"]


def test_a_line_that_is_merged_away_takes_nobody_with_it(pg_bench: Bench) -> None:
    """The rival read the old line's name before the merge, and got its lock after it."""
    app = pg_bench.app
    pg_bench.app.submit([Request("trial", {"external_id": "E-1"}, "test"), about()])
    with app.database.write() as conn:
        both = app.submit([about(external_id="E-1")], conn)[0]
        rivals = [Rival(lambda: app.submit([about(text="late")])[0]),
                  Rival(lambda: app.submit([Request("trial", {"external_id": "E-1", "text": "late"}, "test")])[0])]
        until_blocked(app.database, rivals[0], 2)
    late = [rival.join() for rival in rivals]
    assert {pg_bench.row(answer.id or "")["subject"] for answer in (both, *late)} == {pg_bench.row(both.id or "")["subject"]}
    assert [answer.state for answer in late] == ["waiting", "waiting"]
    assert len(pg_bench.rows("line")) == 1
    pg_bench.drain()
    assert len(pg_bench.done()) == 5


def test_a_key_that_somebody_is_just_using_is_waited_for(pg_bench: Bench) -> None:
    app = pg_bench.app
    for user, end, expected in (("pat", "commit", True), ("kim", "rollback", False)):
        with app.database.engine.connect() as conn:
            first = Intake(app.registry).submit(Scope(conn, pg_bench.now, pg_bench.settings), [about(user, user)])[0]
            rival = Rival(lambda user=user: app.submit([about(user, user)])[0])  # type: ignore[misc]
            until_blocked(app.database, rival)
            getattr(conn, end)()
        second = rival.join()
        assert (second.duplicate, second.id == first.id) == (expected, expected)


def test_a_key_in_use_for_too_long_is_answered_with_busy(pg_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:


    monkeypatch.setattr(database_module, "LOCK_MS", 200)
    monkeypatch.setattr(database_module, "RERUNS", 2)
    impatient = Bench(pg_bench.url)
    with pg_bench.app.database.write() as conn:
        pg_bench.app.submit([about(key="k")], conn)
        with pytest.raises(Busy, match="try again"):
            impatient.app.submit([about(key="k")])
    impatient.close()


def test_a_revocation_waits_for_the_job_that_is_running_and_has_the_last_word(pg_bench: Bench) -> None:
    rivals: list[Rival[Any]] = []
    revoke = pg_bench.colleague()

    def meanwhile(ctx: Context, ask: Any) -> None:
        if not rivals:
            rivals.append(Rival(lambda: revoke.run("trial_bulk", urgent=False)))
            until_blocked(pg_bench.app.database, rivals[0])

    pg_bench.trial.acts["meanwhile"] = meanwhile
    gives = pg_bench.ask("gives", do="meanwhile", gives=True)
    waits = pg_bench.ask("waits", gives=True)
    takes = pg_bench.ask("takes", "trial_bulk", takes=True)
    pg_bench.step()
    rivals[0].join()
    assert pg_bench.states(gives, takes, waits) == ["succeeded", "succeeded", "cancelled"]
    assert pg_bench.done() == ["gives", "takes"]


def test_two_workers_share_the_work_and_skip_what_the_other_has(pg_bench: Bench) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(ctx: Context, ask: Any) -> None:
        reached.set()
        assert go_on.wait(30)

    pg_bench.trial.acts["hold"] = hold
    slow = pg_bench.ask("slow", do="hold")
    rival = Rival(pg_bench.step)
    assert reached.wait(30)
    quick = pg_bench.ask("quick", user="kim")
    with pg_bench.scope() as scope:  # even without the note the row lock is the lease
        assert [row.id for row in ledger.claim(scope, [slow, quick])] == [quick]
    pg_bench.colleague().run("trial", urgent=False)
    assert pg_bench.states(quick, slow) == ["succeeded", "queued"]
    go_on.set()
    rival.join()
    assert pg_bench.done() == ["quick", "slow"]


def test_cancelling_a_running_job_waits_and_comes_too_late(pg_bench: Bench) -> None:
    rivals: list[Rival[Any]] = []

    def cancel() -> list[str]:
        with pg_bench.scope() as scope:
            return ledger.cancel(scope, [job.c.kind == "trial"], by="tester")[0]

    def meanwhile(ctx: Context, ask: Any) -> None:
        rivals.append(Rival(cancel))
        until_blocked(pg_bench.app.database, rivals[0])

    pg_bench.trial.acts["meanwhile"] = meanwhile
    running = pg_bench.ask("words", do="meanwhile")
    pg_bench.step()
    assert (rivals[0].join(), pg_bench.state(running)) == ([], "succeeded")


def test_releasing_waits_for_the_line(pg_bench: Bench) -> None:
    held = pg_bench.ask("held", hold="wait")
    app = pg_bench.app

    def let_go() -> None:
        with pg_bench.scope() as scope:
            release(scope, [held], app.registry)

    with app.database.write() as conn:
        app.submit([about(text="first")], conn)
        rival = Rival(let_go)
        until_blocked(app.database, rival)
    rival.join()
    assert pg_bench.state(held) == "waiting"


def test_keepers_wake_each_job_once(pg_bench: Bench) -> None:
    from datetime import timedelta

    for number in range(200):
        pg_bench.ask(str(number), user=f"u{number % 20}", at=pg_bench.now + timedelta(minutes=1))
    pg_bench.later(minutes=2)
    for rival in [Rival(pg_bench.keeper.wake) for _ in range(3)]:
        rival.join()
    states = [row["state"] for row in pg_bench.jobs()]
    assert (states.count("queued"), states.count("waiting")) == (20, 180)
    pg_bench.drain()
    assert len(set(pg_bench.done())) == len(pg_bench.done()) == 200


def test_a_deadlock_between_two_batches_costs_no_attempt(pg_bench: Bench) -> None:
    """Each has one of two rows and wants the other's: PostgreSQL ends one of them, and it is done over."""
    with pg_bench.scope() as scope:
        scope.conn.execute(text("INSERT INTO meta (name, value) VALUES ('a', ''), ('b', '')"))
    both_have_one = threading.Barrier(2)
    tries = {"a": 0, "b": 0}

    def grab(ctx: Context, ask: Any) -> None:
        tries[ask.text] += 1
        for place, name in enumerate((ask.text, {"a": "b", "b": "a"}[ask.text])):
            ctx.conn.execute(text("UPDATE meta SET value = value || :by WHERE name = :name"), {"by": ask.text, "name": name})
            if place == 0 and tries[ask.text] == 1:
                both_have_one.wait(30)

    pg_bench.trial.acts["grab"] = grab
    ids = [pg_bench.ask("a", do="grab"), pg_bench.ask("b", "trial_bulk", user="kim", do="grab")]
    rival = Rival(lambda: pg_bench.colleague().run("trial_bulk", urgent=False))
    pg_bench.step()
    rival.join()
    assert (pg_bench.states(*ids), sum(tries.values())) == (["succeeded"] * 2, 3)
    assert pg_bench.rows("attempt") == []
    assert [sorted(row["value"]) for row in pg_bench.rows("meta", name="a")] == [["a", "b"]]


def test_a_frozen_worker_loses_its_rows(pg_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "IDLE_IN_TRANSACTION_MS", 300)
    frozen = Bench(pg_bench.url)
    job_id = pg_bench.ask("words")
    with pytest.raises(database_module.Unreachable), frozen.app.database.write() as conn:  # noqa: PT012
        scope = Scope(conn, frozen.now, frozen.settings)
        assert len(ledger.claim(scope, [job_id])) == 1
        with pg_bench.scope() as other:  # waits until the server has ended the frozen one's transaction
            other.conn.execute(select(job.c.id).where(job.c.id == job_id).with_for_update())
        conn.execute(select(line.c.subject))
    pg_bench.step()
    assert pg_bench.done() == ["words"]
    frozen.close()


@pytest.mark.parametrize("setting", ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"])
def test_every_connection_has_its_patience_set(pg_bench: Bench, setting: str) -> None:
    with pg_bench.app.database.read() as conn:
        assert conn.execute(text(f"SHOW {setting}")).scalar_one() not in ("0", "")
