"""Whatever comes in whatever order, twice, and through crashes: the directory is as if each job had run in its turn.

The yardstick is a second office that runs the accepted jobs one after the other. What overtaking means there: jobs
that a revocation cancelled are left out, everything else runs in the order of its line. Jobs driven again count from
their last place. A job that used a name before anybody promised it (p0x and the like) is left out if it was refused
as unknown: which line such a name belongs to is only decided by the rename that comes later.
"""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from rivals import PATIENCE_SECONDS, Rival
from servers import PostgresServer
from sqlalchemy import func, select, update
from trial import Bench, Crash

from worker import faultpoints, identity
from worker.context import Context
from worker.database import Busy
from worker.intake import Request
from worker.keeper import Keeper
from worker.runner import Runner
from worker.tables import groups, job, membership, users, worker

PEOPLE = 3
GROUPS = ("g0", "g1")
WRITERS = ("trial", "create_user", "update_user", "add_to_group", "remove_from_group", "deactivate_user", "reactivate_user",
           "lock_user", "unlock_user", "revoke_sessions")


def names(person: int) -> st.SearchStrategy[dict[str, str]]:
    """Whom a job names: by username, by the name of a rename, by external id."""
    return st.sampled_from([{"username": f"p{person}"}, {"external_id": f"E{person}"}, {"username": f"p{person}x"}])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    person = draw(st.integers(0, PEOPLE - 1))
    user = draw(names(person))
    number = draw(st.integers(0, 3))
    choices: list[tuple[str, dict[str, Any]]] = [
        ("create_user", {"username": f"p{person}", "external_id": f"E{person}", "name": f"N{number}", "groups": ["g0"]}),
        ("create_user", {"username": f"p{person}", "name": f"N{number}", "if_exists": "update"}),
        ("update_user", {"user": user, "name": f"U{number}"}),
        ("update_user", {"user": user, "attributes": {"desk": number}}),
        ("update_user", {"user": user, "username": f"p{person}x"}),
        ("update_user", {"user": user, "username": f"p{person}"}),
        ("update_user", {"user": user, "is_active": bool(number % 2)}),
        ("add_to_group", {"user": user, "group": GROUPS[number % 2]}),
        ("remove_from_group", {"user": user, "group": GROUPS[number % 2]}),
        ("deactivate_user", {"user": user}),
        ("reactivate_user", {"user": user}),
        ("lock_user", {"user": user, "owner": "security", "reason": "stolen laptop"}),
        ("unlock_user", {"user": user}),
        ("revoke_sessions", {"user": user, "all": True}),
        ("trial", {"user": user, "text": f"T{number}"}),
        ("trial", {"user": user, "text": f"R{number}", "do": "twice"}),
    ]
    kind, fields = draw(st.sampled_from(choices))
    # Few keys: the same one comes twice with the same content, and with another.
    return Request(kind, fields, "test", f"k{draw(st.integers(0, 40))}")


SCRIPTS = st.lists(st.one_of(requests(), st.sampled_from(["work", "work", "crash", "other"])), min_size=5, max_size=40)


def open_office(url: str) -> Bench:
    bench = Bench(url)
    bench.trial.acts["twice"] = _twice
    for name in GROUPS:
        bench.do("create_group", {"group": name}, source="world")
    return bench


def _twice(ctx: Context, ask: Any) -> None:
    """The head of a line that succeeds at the third try."""
    if ctx.task.attempts < 2:
        from datetime import timedelta

        from worker.outcomes import Retry

        raise Retry(timedelta(minutes=5), why="not yet")


class Crew:
    """A worker that may die at any point of a batch and is followed by a fresh one; the keeper buries the dead."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.keeper: Keeper = bench.app.keeper(lambda: self.runner.in_hand)
        self.runner: Runner = bench.app.runner()
        self.enlist()

    def enlist(self) -> None:
        self.runner = self.bench.app.runner()
        self.runner.worker_id = self.keeper.worker_id = self.bench.colleague_id()
        pid = os.getpid()
        with self.bench.scope() as scope:  # alive as long as this process is
            alive = {"pid": pid, "born": identity.born(pid)}
            scope.conn.execute(update(worker).where(worker.c.id == self.runner.worker_id).values(alive))

    def die(self) -> None:
        with self.bench.scope() as scope:
            scope.conn.execute(update(worker).where(worker.c.id == self.runner.worker_id).values(born="never"))
        self.bench.keeper.bury()
        self.enlist()

    def round(self, kinds: Sequence[str] = WRITERS) -> int:
        done = 0
        self.keeper.heartbeat()
        for kind in kinds:
            try:
                done += self.runner.run(kind, urgent=False)
            except Crash:
                self.die()
            except Busy:
                done += 1
        return done


def unfinished(bench: Bench) -> int:
    with bench.app.database.read() as conn:
        return int(conn.execute(select(func.count()).where(job.c.finished_at.is_(None))).scalar_one())


def directory(bench: Bench) -> dict[str, Any]:
    """What people are, without ids and times."""
    with bench.app.database.read() as conn:
        columns = [users.c[name] for name in ("username", "external_id", "name", "attributes", "is_active", "epoch", "version",
                                              "lock_reason")]
        people = sorted(str(tuple(row)) for row in conn.execute(select(*columns)))
        pairs = select(users.c.username, groups.c.name).join_from(membership, users).join(groups)
        return {"people": people, "members": sorted(tuple(row) for row in conn.execute(pairs)),
                "events": Counter(row["action"] for row in bench.rows("event"))}


def in_their_turn(bench: Bench) -> list[dict[str, Any]]:
    rows = [row for row in bench.jobs() if row["source"] == "test" and row["state"] != "cancelled"]
    return sorted(rows, key=lambda row: (str(row["subject"]), int(row["seq"])))


def too_early(row: dict[str, Any]) -> bool:
    return row["reason"] == "unknown_user" and str(row["payload"].get("user", {}).get("username", "")).endswith("x")


def check(bench: Bench, model: Bench) -> None:
    rows = in_their_turn(bench)
    assert {row["state"] for row in rows} <= {"succeeded", "rejected"}, [row for row in rows if row["state"] == "failed"]
    assert {row["reason"] for row in bench.jobs() if row["state"] == "cancelled"} <= {"superseded"}
    for row in rows:
        note(f"{row['subject'][-4:]} {row['seq']} {row['kind']} {row['payload']} {row['state']} {row['reason']}")
        if too_early(row):
            continue
        model_id = model.submit(row["kind"], row["payload"], source="test", key=row["key"])
        model.drain()
        while model.state(model_id) == "queued":
            model.later(minutes=6)
            model.drain()
        ended = model.ended(model_id)
        assert (ended.state, ended.reason) == (row["state"], row["reason"]), row["payload"]
    assert directory(bench) == directory(model)
    texts = {row["id"]: row["payload"]["text"] for row in rows if row["kind"] == "trial" and row["state"] == "succeeded"}
    ran = [row["job"] for row in sorted(bench.rows("event", action="trial.done"), key=lambda row: str(row["id"]))]
    assert sorted(ran) == sorted(texts), "an effect is missing, or came twice"
    # Lines that became one later had been two: only who came by the same name was in one line from the beginning.
    for named in {str(row["payload"].get("user")) for row in rows}:
        own = [row["id"] for row in rows if row["id"] in texts and str(row["payload"]["user"]) == named]
        assert [job_id for job_id in ran if job_id in own] == own
    assert bench.rows("batch") == []


def finish(bench: Bench, crews: list[Crew]) -> None:
    for _ in range(200):
        if not unfinished(bench):
            return
        bench.keeper.wake()
        bench.keeper.bury()
        if not sum(crew.round() for crew in crews):
            bench.later(minutes=6)
    raise AssertionError([row for row in bench.jobs() if row["finished_at"] is None])


def copy(template: Path, home: Path) -> str:
    for part in template.parent.glob(f"{template.name}*"):
        shutil.copy(part, home / part.name)
    return f"sqlite:///{home / template.name}"


@contextmanager
def offices(*urls: str) -> Iterator[list[Bench]]:
    opened = [open_office(url) for url in urls]
    try:
        yield opened
    finally:
        for bench in opened:
            bench.close()


# Seeded, and without shrinking: a failing run of threads shrinks for minutes. Add Phase.shrink to look for a small one.
COMMON = {"deadline": None, "derandomize": True, "database": None, "phases": [Phase.explicit, Phase.generate],
          "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=30, **COMMON)  # type: ignore[arg-type]
@given(script=SCRIPTS, cuts=st.lists(st.integers(1, 40), max_size=2))
def test_steps_of_two_workers_interleaved(
    script: list[Any], cuts: list[int], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    homes = [tmp_path_factory.mktemp("office"), tmp_path_factory.mktemp("model")]
    visits = iter(range(1, 1_000_000))
    armed = {"on": False}

    def maybe_die(point: str) -> None:
        if armed["on"] and next(visits) in cuts:
            raise Crash

    with pytest.MonkeyPatch.context() as patch, offices(*(copy(sqlite_template, home) for home in homes)) as (bench, model):
        patch.setattr(faultpoints, "reached", maybe_die)
        crews = [Crew(bench), Crew(bench)]
        armed["on"] = True
        for step in script:
            if isinstance(step, Request):
                bench.app.submit([step])
            elif step == "work":
                crews[0].round()
            elif step == "other":
                crews[1].round(["update_user"])
            else:
                bench.later(minutes=6)
                bench.keeper.wake()
        finish(bench, crews)
        armed["on"] = False
        check(bench, model)
    for home in homes:
        shutil.rmtree(home)


@pytest.mark.timeout(300)
@settings(max_examples=12, **COMMON)  # type: ignore[arg-type]
@given(halves=st.tuples(st.lists(requests(), min_size=5, max_size=25), st.lists(requests(), min_size=5, max_size=25)),
       cuts=st.lists(st.integers(1, 60), max_size=2), together=st.integers(1, 8))
def test_two_submitters_and_two_workers_at_once(
    halves: tuple[list[Request], list[Request]], cuts: list[int], together: int, postgres_server: PostgresServer,
    postgres_template: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name = f"property_{time.monotonic_ns()}"
    url = postgres_server.create_database(name, template=postgres_template)
    home = tmp_path_factory.mktemp("model")
    visits, armed, stop = iter(range(1, 1_000_000)), threading.Event(), threading.Event()

    def maybe_die(point: str) -> None:
        if armed.is_set() and next(visits) in cuts:
            raise Crash

    with pytest.MonkeyPatch.context() as patch, offices(url, copy(sqlite_template, home)) as (bench, model):
        patch.setattr(faultpoints, "reached", maybe_die)
        crews = [Crew(bench), Crew(bench)]

        def submit(half: list[Request]) -> None:
            for start in range(0, len(half), together):
                bench.app.submit(half[start : start + together])

        def work(crew: Crew) -> None:
            while not stop.is_set():
                crew.round()

        armed.set()
        submitters = [Rival(lambda half=half: submit(half)) for half in halves]  # type: ignore[misc]
        workers = [Rival(lambda crew=crew: work(crew)) for crew in crews]  # type: ignore[misc]
        for rival in submitters:
            rival.join()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while unfinished(bench) and time.monotonic() < deadline and not any(rival.over for rival in workers):
            time.sleep(0.02)
            bench.later(minutes=1)
            bench.keeper.wake()
        stop.set()
        for rival in workers:
            rival.join()
        armed.clear()
        finish(bench, crews)
        check(bench, model)
    postgres_server.drop_database(name)
    shutil.rmtree(home)
