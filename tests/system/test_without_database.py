"""PostgreSQL crashing, losing replies, ending sessions and running into deadlocks: everything heals, and no attempt is used up."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from crew import Crew, all_done, front_office, told, until
from cut_proxy import Proxy
from office import Office
from psycopg import sql
from servers import PostgresServer, RedisServer

from worker import faultpoints
from worker.database import Busy, Unreachable
from worker.intake import Request
from worker.migrate import upgrade

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own that writes to disk before it says yes, to be crashed."""
    with PostgresServer(tcp=True, durable=True) as server:
        upgrade(server.create_database("muster"))
        yield server


def keep_trying(office: Office, request: Request) -> None:
    """Submit as a patient producer does: the same key until there is an answer."""

    def answered() -> bool:
        with contextlib.suppress(Busy, Unreachable):
            return not office.app.submit([request])[0].refused
        return False

    until(answered, f"an answer about {request.key}")


def test_postgresql_crashes_and_comes_back_under_load(
    postgres: PostgresServer, redis_server: RedisServer, broker_url: str, tmp_path: Path
) -> None:
    url = postgres.url("muster")
    office, crew = front_office(url, broker_url), Crew(url, broker_url, tmp_path)
    names = [f"nap-{n:03}" for n in range(150)]
    faults: list[BaseException] = []

    def produce(mine: list[str]) -> None:
        try:
            for name in mine:
                keep_trying(office, Request("nap", {"name": name, "seconds": 0.01}, "test", name))
                time.sleep(0.02)
        except BaseException as error:
            faults.append(error)

    try:
        worker = crew.hire(processes=2, up=2)
        producers = [threading.Thread(target=produce, args=(names[n::2],)) for n in range(2)]
        for producer in producers:
            producer.start()
        for _ in range(2):
            time.sleep(1.5)
            postgres.crash()
            time.sleep(1.0)
            postgres.start()
        for producer in producers:
            producer.join()
        assert not faults, faults
        all_done(office, "all jobs after two crashes")
        assert told(office, "nap.taken") == names
        assert {row["attempts"] for row in office.jobs()} == {0}
        assert not office.rows("attempt")
        assert len(worker.children()) == 2
        assert worker.said("supervisor.died") == 0, "a worker outlives its database"
    finally:
        crew.stop()
        office.close()


def test_a_submit_whose_commit_was_not_answered_is_one_job(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    database = postgres_url.partition("@/")[2].partition("?")[0]
    with Proxy(("127.0.0.1", postgres_server.port)) as proxy:
        office = Office(postgres_server.tcp_url(database, port=proxy.port))
        try:
            proxy.cut_reply_to(b"COMMIT")
            [answer] = office.app.submit([Request("create_group", {"group": "once"}, "test")])
            assert proxy.swallowed == 1
            [row] = office.jobs()
            assert (row["id"], row["state"]) == (answer.id, "queued")
        finally:
            office.close()


@pytest.mark.parametrize("point", ["before_commit", "noted"])
def test_a_batch_whose_commit_was_not_answered_is_done_once(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    database = postgres_url.partition("@/")[2].partition("?")[0]
    with Proxy(("127.0.0.1", postgres_server.port)) as proxy:
        office = Office(postgres_server.tcp_url(database, port=proxy.port))

        def reached(name: str) -> None:
            if name == point and not proxy.swallowed:
                proxy.cut_reply_to(b"COMMIT")

        try:
            office.submit("create_group", {"group": "once"})
            if point == "noted":  # the commit of the note itself: cut before the batch begins
                proxy.cut_reply_to(b"COMMIT")
            monkeypatch.setattr(faultpoints, "reached", reached)
            office.runner.run("create_group", urgent=False)
            assert proxy.swallowed == 1
            office.later(seconds=15)  # a note that nobody holds is taken away by the keeper
            office.keeper.pass_once()
            office.drain()
            [row] = office.jobs()
            assert (row["state"], row["attempts"], row["crashes"]) == ("succeeded", 0, 0)
            assert told(office, "group.created") == ["once"]
            assert not office.rows("batch")
        finally:
            office.close()


def test_ended_sessions_and_deadlocks_use_up_no_attempt(
    postgres_server: PostgresServer, postgres_url: str, broker_url: str, tmp_path: Path
) -> None:
    database = postgres_url.partition("@/")[2].partition("?")[0]
    office, crew = front_office(postgres_url, broker_url), Crew(postgres_url, broker_url, tmp_path)
    people = [f"person-{n}" for n in range(12)]
    over = threading.Event()
    ended, deadlocks = [0], [0]

    def end_sessions() -> None:
        statement = sql.SQL(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'muster'"
            " AND datname = {} AND xact_start IS NOT NULL ORDER BY random() LIMIT 1) AS chosen"
        ).format(sql.Literal(database))
        with psycopg.connect(_direct(postgres_server, database), autocommit=True) as connection:
            while not over.wait(0.15):
                ended[0] += connection.execute(statement).fetchall()[0][0]

    def cross() -> None:
        """Lock people's rows against the order that Muster keeps."""
        while not over.wait(0.05):
            with contextlib.suppress(psycopg.Error), psycopg.connect(_direct(postgres_server, database)) as connection:
                try:
                    for order in ("DESC", "ASC"):
                        found = f"SELECT id FROM users ORDER BY id {order} LIMIT 3"
                        for (user_id,) in connection.execute(sql.SQL(found)).fetchall():
                            connection.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (user_id,))
                            time.sleep(0.02)
                except psycopg.errors.DeadlockDetected:
                    deadlocks[0] += 1

    try:
        office.app.submit([Request("create_user", {"username": name}, "test") for name in people])
        office.app.submit([Request("create_group", {"group": f"group-{n}"}, "test") for n in range(5)])
        crew.hire(processes=2, up=2)
        all_done(office, "the people")
        troubles = [threading.Thread(target=end_sessions), threading.Thread(target=cross)]
        for trouble in troubles:
            trouble.start()
        for n in range(25):
            keep_trying_all(office, [
                request
                for name in people
                for request in (
                    Request("update_user", {"user": name, "attributes": {"n": n}}, "test", f"update-{name}-{n}"),
                    Request("add_to_group", {"user": name, "group": f"group-{n % 5}"}, "test", f"add-{name}-{n}"),
                )
            ])  # fmt: skip
        time.sleep(3)
        over.set()
        for trouble in troubles:
            trouble.join()
        all_done(office, "all jobs in spite of it")
        print(f"{ended[0]} sessions ended, {deadlocks[0]} deadlocks lost by the other side")  # noqa: T201
        jobs = office.jobs()
        assert {row["state"] for row in jobs} == {"succeeded"}
        assert {row["attempts"] for row in jobs} == {0}
        assert not office.rows("attempt")
        assert [row["attributes"] for row in office.rows("users")] == [{"n": 24}] * len(people)
        assert len(told(office, "membership.added")) == len(people) * 5
        assert ended[0] > 5
    finally:
        over.set()
        crew.stop()
        office.close()


def keep_trying_all(office: Office, requests: list[Request]) -> None:
    def answered() -> bool:
        with contextlib.suppress(Busy, Unreachable):
            return not any(answer.refused for answer in office.app.submit(requests))
        return False

    until(answered, "an answer about a batch")


def _direct(server: PostgresServer, database: str) -> str:
    return f"host=127.0.0.1 port={server.port} user=postgres dbname={database}"
