"""A plan whose applying is killed with -9, at any moment, has done nothing yet, or is carried out to its end by the next one."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crew import Crew, Process, all_done, environment, fork, kill, real_time, until
from hr import DECLARED, HR, csv_text, person
from office import Office
from sqlalchemy import Table, func, select, text

from worker.feed_tables import feed_action, feed_person, feed_run
from worker.feeds import apply, runs
from worker.feeds.runs import APPLIED, APPLYING, PLANNED, PLANNING, Run
from worker.tables import job

KILLED = -9
# Three transactions on PostgreSQL, five on SQLite.
MANY, MANY_SQLITE = 2_100, 500

Command = Callable[..., Process]


@pytest.fixture
def hr(front: Office, tmp_path: Path) -> HR:
    """An HR department at the real time; `muster` finds the same declaration in the folder."""
    declared = DECLARED.replace('mode = "full"', 'mode = "delta"')
    (tmp_path / "muster.toml").write_text(declared)
    for group in ("staff", "sales"):
        front.submit("create_group", {"group": group})
    front.runner.run("create_group", urgent=False)
    made = HR(front, tmp_path, declared)
    made.feeds.clock = real_time
    return made


@pytest.fixture
def command(hr: HR, database_url: str, broker: str | None, tmp_path: Path) -> Iterator[Command]:
    """Starts `muster feed …` in a process of its own, with a plan for `worker.faultpoints`."""
    started: list[Process] = []

    def start(*words: str, fault: str = "") -> Process:
        variables = environment(database_url, broker) | {"MUSTER_FAULT_AT": fault}
        started.append(fork(["feed", *words], variables, tmp_path / "log-feed"))
        return started[-1]

    yield start
    for process in started:
        if process.is_alive() and process.pid is not None:
            kill(process.pid)


def people(prefix: str, count: int) -> list[dict[str, str]]:
    return [
        person(f"{prefix}{number:05}", "Ann", f"{prefix}{number}", boss=f"{prefix}{number // 10:05}" if number else "")
        for number in range(count)
    ]  # fmt: skip


def many(hr: HR) -> int:
    return MANY if hr.office.app.database.on_postgresql else MANY_SQLITE


def count(hr: HR, table: Table, *which: Any) -> int:
    with hr.office.app.database.read() as conn:
        return int(conn.execute(select(func.count()).select_from(table).where(*which)).scalar_one())


def dies(process: Process) -> None:
    process.join(60)
    assert process.exitcode == KILLED


def kill_now(hr: HR, process: Process) -> None:
    """Kill -9, and wait until the database is done with what the process sent it last."""
    assert process.pid is not None
    kill(process.pid)
    process.join(10)
    if hr.office.app.database.on_postgresql:
        busy = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
                    "AND pid <> pg_backend_pid()")  # fmt: skip

        def quiet() -> bool:
            with hr.office.app.database.read() as conn:
                return int(conn.execute(busy).scalar_one()) == 0

        until(quiet, "the database to be done")


def nothing_of(hr: HR, run: Run) -> None:
    """Nothing of a plan has happened: no job, nobody accepted."""
    assert count(hr, job, job.c.key.like(f"{run.id}/%")) == 0
    assert count(hr, feed_person, feed_person.c.run == run.id) == 0


def exactly(hr: HR, run: Run, up_to: int) -> None:
    """The plan's lines up to a number have their jobs, each once, and are accepted; the others have not begun."""
    wanted_jobs, wanted_people = {}, {}
    for line in hr.lines(run):
        if line["number"] <= up_to:
            wanted_people[line["external_id"]] = (line["person"]["digest"], line["person"]["phase"], line["person"]["username"])
            for place, one in enumerate(line["jobs"] or ()):
                wanted_jobs[runs.job_key(run.id, line["number"], place)] = (one["kind"], one["payload"]["external_id"])
    with hr.office.app.database.read() as conn:
        made = conn.execute(select(job.c.key, job.c.kind, job.c.payload).where(job.c.key.like(f"{run.id}/%"))).all()
        columns = [feed_person.c[name] for name in ("external_id", "digest", "phase", "username")]
        accepted = conn.execute(select(*columns).where(feed_person.c.run == run.id)).all()
    assert len(made) == len(wanted_jobs) >= min(up_to, 1)
    assert {row.key: (row.kind, row.payload["external_id"]) for row in made} == wanted_jobs
    assert {row[0]: tuple(row[1:]) for row in accepted} == wanted_people


@pytest.mark.timeout(120)
def test_before_the_decision_nothing_and_after_it_everything(hr: HR, command: Command) -> None:
    number = many(hr)
    run = hr.plan(people("a", number))
    assert run.state == PLANNED
    name = apply.shown(run)
    dies(command("apply", name, fault="feed_decided:1:kill"))
    run = hr.feeds.find(run.id)
    assert run.state == PLANNED
    nothing_of(hr, run)

    dies(command("apply", name, fault="feed_carried:1:kill"))
    run = hr.feeds.find(run.id)
    size = run.carried
    assert (run.state, 0 < size < number // 2) == (APPLYING, True)
    exactly(hr, run, size)

    middle = (number // size - 1) // 2
    if middle:
        dies(command("apply", name, fault=f"feed_carried:{middle}:kill"))
        run = hr.feeds.find(run.id)
        assert (run.state, run.carried) == (APPLYING, (1 + middle) * size)
        exactly(hr, run, run.carried)

    left = -(-(number - run.carried) // size)
    dies(command("apply", name, fault=f"feed_carried:{left}:kill"))
    run = hr.feeds.find(run.id)
    assert (run.state, run.carried) == (APPLIED, number)
    exactly(hr, run, number)
    hr.feeds.catch_up()
    exactly(hr, run, number)
    again = hr.plan(people("a", number))
    assert (again.total, again.counts) == (0, {"unchanged": number})


@pytest.mark.timeout(120)
def test_killed_at_any_moment_the_file_can_simply_be_applied_again(hr: HR, command: Command) -> None:
    chance = random.Random(20261123)
    ends = []
    for turn in range(4):
        prefix, since = "abcd"[turn], count(hr, feed_run)
        path = hr.write(csv_text(people(prefix, 300)), f"{prefix}.csv")
        victim = command("apply", "hr", str(path))
        until(lambda since=since: count(hr, feed_run) > since, "the run to begin")  # type: ignore[misc]
        if turn % 2:
            until(lambda: count(hr, feed_run, feed_run.c.state.in_([APPLYING, APPLIED])) > 0, "the decision")
        time.sleep(chance.uniform(0, 0.3))
        kill_now(hr, victim)
        with hr.office.app.database.read() as conn:
            [run] = runs.latest(conn, limit=1)
        ends.append(run.state)
        if run.state in (APPLYING, APPLIED):
            exactly(hr, run, run.carried)
        else:
            nothing_of(hr, run)
        hr.feeds.catch_up()
        run = hr.feeds.find(run.id)
        if run.applied_at is not None:
            assert (run.state, run.carried) == (APPLIED, 300)
            exactly(hr, run, 300)
        again = hr.feeds.apply(hr.feeds.plan_file("hr", path, by="tester"))
        assert again.total == (0 if run.applied_at else 300)
        assert count(hr, feed_person) == (turn + 1) * 300
        assert count(hr, job, job.c.source == "feed/hr") == (turn + 1) * 300
    assert len(ends) == 4


@pytest.mark.timeout(120)
def test_killed_while_planning_leaves_a_run_that_is_in_nobodys_way(hr: HR, command: Command) -> None:
    number = many(hr) * 2
    path = hr.write(csv_text(people("a", number)))
    victim = command("apply", "hr", str(path))
    until(lambda: count(hr, feed_action) > 0, "lines of the plan", every=0.002)
    kill_now(hr, victim)
    with hr.office.app.database.read() as conn:
        [left] = runs.latest(conn, limit=1)
    assert left.state == PLANNING
    nothing_of(hr, left)
    with pytest.raises(apply.NotApplied, match="planning"):
        hr.feeds.apply(left)
    begun = {line["external_id"]: line["person"]["username"] for line in hr.lines(left)}
    run = hr.feeds.plan_file("hr", path, by="tester")
    planned = {line["external_id"]: line["person"]["username"] for line in hr.lines(run)}
    assert len(planned) == number
    assert begun.items() <= planned.items(), "the names that were reserved are the same people's"
    run = hr.feeds.apply(run)
    exactly(hr, run, number)


@pytest.mark.timeout(120)
def test_the_next_worker_carries_on(hr: HR, command: Command, crew: Crew) -> None:
    enough = 1_200 if hr.office.app.database.on_postgresql else 300
    run = hr.plan(people("a", enough))
    dies(command("apply", apply.shown(run), fault="feed_carried:1:kill"))
    assert hr.feeds.find(run.id).state == APPLYING
    crew.hire()
    until(lambda: hr.feeds.find(run.id).state == APPLIED, "the worker's feeder to carry on")
    all_done(hr.office, "the jobs of the plan")
    exactly(hr, run, enough)
    assert len(hr.states()) == enough
