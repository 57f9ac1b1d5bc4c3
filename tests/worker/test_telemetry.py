"""How the work goes is read rightly: due work that nobody does is told from a long backlog, and nothing is counted twice."""

from typing import Any

import pytest
from office import Office
from sqlalchemy import update

from worker import telemetry
from worker.jobs import URGENT
from worker.tables import job
from worker.telemetry import Meter, Stuck


def stuck(office: Office) -> list[Stuck]:
    with office.app.database.read() as conn:
        return telemetry.stuck(conn, office.app.registry, office.now)


def backlog(office: Office) -> telemetry.Backlog:
    with office.app.database.read() as conn:
        return telemetry.backlog(conn, office.app.registry, office.now)


def read(office: Office, meter: Meter) -> telemetry.Finished:
    with office.app.database.read() as conn:
        return meter.read(conn, office.now)


def group(office: Office, name: str, **facts: Any) -> str:
    return office.submit("create_group", {"group": name}, **facts)


def test_due_work_that_nobody_does_is_found_and_found_no_more_once_it_is_done(office: Office) -> None:
    group(office, "staff")
    assert stuck(office) == []
    office.later(seconds=31)
    assert stuck(office) == [Stuck("directory", "create_group", urgent=False)]
    office.drain()
    assert stuck(office) == []


def test_an_urgent_job_is_late_sooner(office: Office) -> None:
    group(office, "staff", urgent=True)
    office.later(seconds=11)
    assert stuck(office) == [Stuck(URGENT, "create_group", urgent=True)]


def test_a_long_backlog_that_is_being_worked_off_is_not_stuck(office: Office) -> None:
    first = group(office, "first")
    group(office, "second")
    office.later(seconds=40)
    assert stuck(office)
    office.runner.run_one("create_group", first)
    assert stuck(office) == []
    office.later(seconds=31)
    assert stuck(office) == [Stuck("directory", "create_group", urgent=False)]


def test_what_a_door_does_at_once_does_not_hide_that_workers_do_nothing(office: Office) -> None:
    from worker.intake import Request

    group(office, "waits")
    office.later(seconds=40)
    done = office.app.submit_and_run(Request("create_group", {"group": "at-once"}, "door"))
    assert done.state == "succeeded"
    assert stuck(office) == [Stuck("directory", "create_group", urgent=False)]


def test_cancelling_is_not_working(office: Office) -> None:
    from worker import ledger

    kept, dropped = group(office, "kept"), group(office, "dropped")
    office.later(seconds=40)
    with office.scope() as scope:
        ledger.cancel(scope, [job.c.id == dropped], by="tester")
    assert [one.kind for one in stuck(office)] == ["create_group"]
    assert office.ended(kept).state == "queued"


def test_one_queue_says_nothing_about_another(office: Office) -> None:
    office.world()
    office.submit("send_recovery_email", {"user": {"username": "ann"}})
    group(office, "other")
    office.later(seconds=40)
    [other] = [one for one in office.jobs("create_group") if one["state"] == "queued"]
    office.runner.run_one("create_group", other["id"])
    assert stuck(office) == [Stuck("mail", "send_recovery_email", urgent=False)]


def test_a_job_that_is_tried_again_and_again_is_consumed(office: Office) -> None:
    office.world()
    mail = office.submit("send_recovery_email", {"user": {"username": "ann"}})
    office.later(seconds=40)
    with office.scope() as scope:
        scope.conn.execute(update(job).where(job.c.id == mail).values(
            state="leased", lease="somebody", lease_until=scope.now, worker=office.app.worker_id))  # fmt: skip
    office.later(seconds=-10)
    with office.app.database.read() as conn:
        assert telemetry._consumed(conn, office.app.registry, "mail", office.now, office.now)
        assert not telemetry._consumed(conn, office.app.registry, "directory", office.now, office.now)


def test_whoever_sleeps_past_the_hour_is_stuck_too(office: Office) -> None:
    from datetime import timedelta

    group(office, "later", at=office.now + timedelta(hours=1))
    office.later(minutes=59)
    assert stuck(office) == []
    office.later(minutes=2)
    assert stuck(office) == [Stuck("directory", "create_group", urgent=False)]
    office.drain()
    assert stuck(office) == []


def test_a_job_of_a_newer_muster_is_left_to_its_own_workers(office: Office) -> None:
    group(office, "x")
    with office.scope() as scope:
        scope.conn.execute(update(job).values(kind="teleport_user"))
    office.later(minutes=5)
    assert stuck(office) == []
    found = backlog(office)
    assert (found.due["unknown"], found.age["unknown"]) == (1, 300.0)


def test_the_backlog_by_kind_state_and_queue(office: Office) -> None:
    from datetime import timedelta

    office.world()
    group(office, "one")
    office.later(seconds=20)
    group(office, "two")
    group(office, "three", urgent=True)
    group(office, "four", at=office.now + timedelta(days=1))
    office.submit("lock_user", {"user": {"username": "ann"}, "owner": "security", "reason": "lost phone"})
    office.submit("update_user", {"user": {"username": "ann"}, "name": "Ann A. Archer"})
    with office.scope() as scope:
        scope.conn.execute(update(job).where(job.c.payload["group"].as_string() == "two").values(state="held", seq=None))
    found = backlog(office)
    # Each in its true state, none of them twice.
    counted = {(row["kind"], row["state"]) for row in office.jobs() if row["finished_at"] is None}
    assert set(found.jobs) == counted
    assert sum(found.jobs.values()) == sum(row["finished_at"] is None for row in office.jobs())
    assert found.jobs["create_group", "held"] == 1
    assert found.jobs["create_group", "scheduled"] == 1
    assert found.age["directory"] == 20.0


def test_what_is_finished_is_counted_once_and_late_enough_to_miss_nothing(office: Office) -> None:
    meter = Meter(office.now)
    office.do("create_group", {"group": "staff"})
    office.do("create_group", {"group": "staff"})
    assert read(office, meter).jobs == {}  # some worker may not have committed yet
    office.later(seconds=31)
    for _ in range(3):
        counted = read(office, meter)
        assert counted.jobs == {("create_group", "succeeded", ""): 1, ("create_group", "rejected", "group_exists"): 1}
        assert sum(counted.latency.values()) == 2
        office.later(seconds=5)
    assert counted.tries == {("create_group", "rejected"): 1}


def test_how_long_jobs_took(office: Office) -> None:
    meter = Meter(office.now)
    group(office, "slow")
    office.later(seconds=45)
    office.drain()
    office.later(seconds=31)
    counted = read(office, meter)
    assert counted.seconds["create_group"] == pytest.approx(45, abs=0.01)
    assert counted.latency == {("create_group", telemetry.LATENCIES.index(60.0)): 1}


def test_the_first_question_after_a_day_costs_no_more_than_after_an_hour(office: Office) -> None:
    meter = Meter(office.now)
    office.do("create_group", {"group": "old"})
    office.later(hours=5)
    office.do("create_group", {"group": "new"})
    office.later(seconds=31)
    assert sum(read(office, meter).jobs.values()) == 1
