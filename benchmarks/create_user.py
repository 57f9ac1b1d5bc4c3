"""create_user from submit to commit: Muster, the actor one would write otherwise, and raw COPY of the same rows."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

HERE = Path(__file__).resolve().parent
SECRET = "a secret key for benchmarks, of some length"  # noqa: S105 (a throw-away database's)
# Both contenders get the same worker processes and threads: one process a core, two threads each.
PROCESSES, THREADS = 2, 2
SLICE = 2_000
PLAIN_SHARE = 10  # the plain actor does a tenth of the jobs: its rate does not depend on the number
TABLES = ("line", "alias", "job", "users", "event")


def payload(number: int) -> dict[str, Any]:
    """One person, as an HR system would send it."""
    return {"username": f"person{number}", "name": f"Person {number}", "email": f"person{number}@example.com"}


@contextmanager
def processes(command: list[str], environ: dict[str, str]) -> Iterator[None]:
    """Run the command PROCESSES times until the block ends."""
    running = [subprocess.Popen(command, env={**os.environ, **environ}, cwd=HERE.parent) for _ in range(PROCESSES)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(timeout=30)


def wait_until(done: Callable[[], bool], seconds: float) -> None:
    """Look twice a second: counting costs what it measures."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark did not come to its end; look at the workers' output")
        time.sleep(0.5)


def muster(database_url: str, broker_url: str, jobs: int) -> float:
    """Submit through the intake, in slices, while real worker processes work; jobs per second, all committed."""
    from worker.app import App
    from worker.collector import calm_collector
    from worker.intake import Request
    from worker.settings import Settings

    environ = {"MUSTER_DATABASE_URL": database_url, "MUSTER_BROKER_URL": broker_url, "MUSTER_SECRET_KEY": SECRET}
    app = App(Settings(database_url=database_url, broker_url=broker_url, secret_key=SECRET))
    calm_collector()  # as `muster submit --batch` does
    code = (
        "from worker.process import run_worker; from worker.settings import load; "
        f"raise SystemExit(run_worker(load(), threads={THREADS}))"
    )
    with processes([sys.executable, "-c", code], environ), _counter(database_url) as count:
        wait_until(lambda: count("SELECT count(*) FROM worker") >= PROCESSES, 60)
        warm = [Request("create_user", payload(10_000_000 + n), "warm", f"w{n}") for n in range(100)]
        app.submit(warm)
        wait_until(lambda: count("SELECT count(*) FROM job WHERE state = 'succeeded'") == len(warm), 60)
        started = time.monotonic()
        for start in range(0, jobs, SLICE):
            numbers = range(start, min(start + SLICE, jobs))
            app.submit([Request("create_user", payload(n), "benchmark", f"key-{n}") for n in numbers])
        last = "SELECT EXTRACT(EPOCH FROM now() - max(finished_at)) FROM job"
        wait_until(lambda: count("SELECT count(*) FROM job WHERE state <> 'succeeded'") == 0, 600)
        took = time.monotonic() - started - float(count(last))
    app.close()
    return jobs / took


def plain(database_url: str, broker_url: str, jobs: int) -> float:
    """Send to a plain dramatiq actor that uses the SQLAlchemy ORM; jobs per second, all committed."""
    environ = {"PLAIN_DATABASE_URL": database_url, "PLAIN_BROKER_URL": broker_url}
    os.environ.update(environ)
    from benchmarks import plain_actor

    plain_actor.Base.metadata.create_all(plain_actor.engine)
    command = [sys.executable, "-m", "dramatiq", "benchmarks.plain_actor", "-p", "1", "-t", str(THREADS)]
    with processes([*command, "--skip-logging"], environ), _counter(database_url) as count:
        plain_actor.create_user.send(key="warm", **payload(10_000_000))
        wait_until(lambda: count("SELECT count(*) FROM plain_user") == 1, 60)
        time.sleep(2)  # the second process may still be starting
        started = time.monotonic()
        for number in range(jobs):
            plain_actor.create_user.send(key=f"key-{number}", **payload(number))
        wait_until(lambda: count("SELECT count(*) FROM plain_user") == jobs + 1, 600)
        last = "SELECT EXTRACT(EPOCH FROM now() - max(created_at)) FROM plain_user"
        took = time.monotonic() - started - float(count(last))
    return jobs / took


def copy(database_url: str) -> tuple[float, float]:
    """Write the rows that Muster ended in once more, by COPY and by multi-row INSERT; persons per second."""
    with psycopg.connect(_dsn(database_url), autocommit=True) as conn, tempfile.TemporaryDirectory() as folder:
        persons = int(_one(conn, "SELECT count(*) FROM users"))
        files = {}
        for table in TABLES:
            files[table] = Path(folder, table)
            with files[table].open("wb") as file, conn.cursor().copy(_sql("COPY {} TO STDOUT", table)) as rows:
                for block in rows:
                    file.write(block)
        conn.execute(_sql("CREATE SCHEMA again"))
        for table in TABLES:
            conn.execute(_sql("CREATE TABLE again.{t} (LIKE public.{t} INCLUDING ALL)", t=table))
        started = time.monotonic()
        with conn.transaction():
            for table in TABLES:
                with conn.cursor().copy(_sql("COPY again.{} FROM STDIN", table)) as rows:
                    rows.write(files[table].read_bytes())
        copied = time.monotonic() - started
        for table in TABLES:
            conn.execute(_sql("TRUNCATE again.{}", table))
        started = time.monotonic()
        with conn.transaction():
            for table in TABLES:
                _insert_slices(conn, table)
        inserted = time.monotonic() - started
    return persons / copied, persons / inserted


def _insert_slices(conn: psycopg.Connection[Any], table: str) -> None:
    """Multi-row INSERT … VALUES, as many rows as the protocol's 65,535 parameters allow."""
    cursor = conn.execute(_sql("SELECT * FROM public.{}", table))
    width = len(cursor.description or ())
    rows = cursor.fetchall()
    for start in range(0, len(rows), step := 60_000 // width):
        part = [[psycopg.types.json.Jsonb(v) if isinstance(v, (dict, list)) else v for v in r] for r in rows[start : start + step]]
        one = sql.SQL("({})").format(sql.SQL(",").join([sql.Placeholder()] * width))
        statement = sql.SQL("INSERT INTO again.{} VALUES {}").format(sql.Identifier(table), sql.SQL(",").join([one] * len(part)))
        conn.execute(statement, [value for row in part for value in row])


def _sql(text: str, *names: str, **named: str) -> sql.Composed:
    return sql.SQL(text).format(
        *[sql.Identifier(name) for name in names], **{key: sql.Identifier(name) for key, name in named.items()}
    )


def _one(conn: psycopg.Connection[Any], query: str) -> Any:
    found = conn.execute(query).fetchone()
    assert found is not None
    return found[0]


@contextmanager
def _counter(database_url: str) -> Iterator[Callable[[str], Any]]:
    with psycopg.connect(_dsn(database_url), autocommit=True) as conn:
        yield lambda query: _one(conn, query)


def _dsn(database_url: str) -> str:
    return database_url.replace("postgresql+psycopg://", "postgresql://")


def main(arguments: list[str]) -> None:
    """Start the servers, run the three in one run on one machine, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks create_user", description=__doc__)
    parser.add_argument("--jobs", type=int, default=30_000, help="how many users to create (default 30000)")
    jobs = parser.parse_args(arguments).jobs
    sys.path.insert(0, str(HERE.parent / "tests"))
    from servers import PostgresServer, RedisServer

    from worker import migrate

    with PostgresServer(durable=True) as postgres, RedisServer(aof=True) as redis:
        plain_url = postgres.create_database("plain")
        rates = {"plain dramatiq + SQLAlchemy ORM actor": plain(plain_url, redis.url, jobs // PLAIN_SHARE)}
        with redis.client() as client:
            client.flushall()
        url = postgres.create_database("muster")
        migrate.upgrade(url)
        rates["Muster, submit → committed"] = muster(url, redis.url, jobs)
        rates["raw COPY of the same rows"], rates["multi-row INSERT of the same rows"] = copy(url)
    base = rates["Muster, submit → committed"]
    print(f"{jobs} users, {PROCESSES} worker processes with {THREADS} threads, {os.cpu_count()} cores")
    print(f"{'':40} {'persons/s':>10}  {'Muster is':>10}")
    for name, rate in rates.items():
        print(f"{name:40} {rate:>10,.0f}  {base / rate:>9.2f}x")
