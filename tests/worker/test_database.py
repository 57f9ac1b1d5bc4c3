"""The way to the database: SQLite in full sync and in turn, PostgreSQL with patience, errors told apart."""

import fcntl
import sqlite3
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from office import SECRET, Office
from rivals import Rival
from servers import PostgresServer
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from worker import database as module
from worker.database import Busy, Database, Unreachable
from worker.settings import Settings
from worker.tables import meta


@pytest.fixture
def sqlite(sqlite_url: str) -> Database:
    return Database(Settings(database_url=sqlite_url, secret_key=SECRET))


def test_sqlite_survives_a_power_cut_and_lets_readers_read(sqlite: Database) -> None:
    for opened in (sqlite.read, sqlite.write):
        with opened() as conn:
            pragmas = {name: conn.execute(text(f"PRAGMA {name}")).scalar_one()
                       for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}


def test_a_writer_has_the_database_from_its_first_word(sqlite: Database) -> None:
    """BEGIN IMMEDIATE: a deferred read that turns into a write would fail at once, whatever the timeout."""
    assert sqlite.settings.sqlite_path is not None
    other = sqlite3.connect(sqlite.settings.sqlite_path, timeout=0, isolation_level=None)
    with sqlite.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with sqlite.read() as conn:
        conn.execute(select(meta)).all()
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()


def test_writers_take_turns_at_a_lock_of_their_own(sqlite: Database, sqlite_url: str) -> None:
    """A submit from another process queues in the kernel, and is served between two batches of a loop that never rests."""
    second = Database(sqlite.settings)
    stop = threading.Event()

    def batches() -> int:
        count = 0
        while not stop.is_set():
            with sqlite.write() as conn:
                conn.execute(text("UPDATE meta SET value = value"))
                count += 1
        return count

    loops = [Rival(batches), Rival(batches)]
    for number in range(20):
        with second.write() as conn:
            conn.execute(text("INSERT INTO meta (name, value) VALUES (:name, '')"), {"name": f"n{number}"})
    stop.set()
    assert all(loop.join() for loop in loops)
    with second.read() as conn:
        assert len([row for row in conn.execute(select(meta.c.name)) if row.name.startswith("n")]) == 20
    second.dispose()


def test_a_writer_that_waits_too_long_hears_that_the_database_is_busy(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SQLITE_WAIT_S", 0.05)
    assert sqlite.settings.sqlite_path is not None
    with Path(f"{sqlite.settings.sqlite_path}.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="try again"), sqlite.write():
            pass
    with sqlite.write() as conn:
        conn.execute(select(meta)).all()


def test_whoever_finds_every_connection_taken_hears_that_the_database_is_busy(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POOL_WAIT_S", 0.05)
    crowded = Database(Settings(database_url=sqlite_url, secret_key=SECRET))
    with ExitStack() as taken, pytest.raises(Busy, match="every connection"):  # noqa: PT012 (how many there are is not ours)
        for _ in range(100):
            taken.enter_context(crowded.read())
    with crowded.read() as conn:
        conn.execute(select(meta)).all()
    crowded.dispose()


def test_a_commit_of_another_process_is_noticed(sqlite: Database) -> None:
    second = Database(sqlite.settings)
    with sqlite.watch() as version:
        before = version()
        assert version() == before
        with second.write() as conn:
            conn.execute(text("INSERT INTO meta (name, value) VALUES ('a', 'b')"))
        assert version() != before
    second.dispose()


def test_an_error_undoes_the_whole_transaction(office: Office) -> None:
    with pytest.raises(ZeroDivisionError), office.app.database.write() as conn:  # noqa: PT012 (the error is the point)
        conn.execute(text("INSERT INTO meta (name, value) VALUES ('a', 'b')"))
        raise ZeroDivisionError
    assert office.rows("meta", name="a") == []


def test_reading_changes_nothing(office: Office) -> None:
    with office.app.database.read() as conn:
        conn.execute(text("INSERT INTO meta (name, value) VALUES ('a', 'b')"))
    assert office.rows("meta", name="a") == []


def test_ordinary_errors_stay_what_they_are(office: Office) -> None:
    with pytest.raises(IntegrityError), office.app.database.write() as conn:
        conn.execute(text("INSERT INTO meta (name, value) VALUES ('a', NULL)"))


def test_work_is_done_again_while_the_database_is_busy(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.database.time.sleep", lambda seconds: None)
    turns: list[int] = []

    def work(conn: object) -> str:
        turns.append(1)
        if len(turns) < module.RERUNS:
            raise Busy
        return "done"

    assert office.app.database.transact(work) == "done"
    with pytest.raises(Busy):
        office.app.database.transact(lambda conn: (_ for _ in ()).throw(Busy()))


@pytest.mark.parametrize(("state", "error"), [("40001", Busy), ("40P01", Busy), ("55P03", Busy), ("57P01", Unreachable),
                                              ("57P02", Unreachable), ("42P01", ProgrammingError)])
def test_postgresql_errors_are_told_apart(postgres_url: str, state: str, error: type[Exception]) -> None:
    database = Database(Settings(database_url=postgres_url, secret_key=SECRET))
    raising = text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")
    with pytest.raises(error), database.write() as conn:
        conn.execute(raising)
    database.dispose()


def test_a_terminated_connection_is_replaced(postgres_url: str) -> None:
    database = Database(Settings(database_url=postgres_url, secret_key=SECRET))
    turns: list[int] = []

    def work(conn: object) -> int:
        assert hasattr(conn, "execute")
        if not turns:
            turns.append(1)
            with database.engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                   " WHERE datname = current_database() AND pid <> pg_backend_pid()"))
        return int(conn.execute(text("SELECT 7")).scalar_one())

    assert database.transact(work) == 7
    database.dispose()


def test_a_server_that_is_away_is_unreachable(postgres_server: PostgresServer, tmp_path: Path) -> None:
    database = Database(Settings(database_url=f"postgresql://nobody@/none?host={tmp_path}", secret_key=SECRET))
    with pytest.raises(Unreachable, match="check that the server runs"), database.read():
        pass
