"""Jobs handed in over HTTP: one at a time by 8 clients, 100,000 in one batch, users by SCIM; beside HTTP alone and raw writes of the same rows."""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks._copy import copied

HERE = Path(__file__).resolve().parent
SECRET = "a secret key for benchmarks, of some length"  # noqa: S105 (a throw-away database's)
# Each has a token of its own: a token may ask for so much a second.
CLIENTS = 8
# What a job leaves in the ledger before it is done.
LEFT_BEHIND = ("job", "line", "alias")
AGAIN = (
    b"INSERT INTO again.job SELECT * FROM public.job WHERE id = %(job)s",
    b"INSERT INTO again.line SELECT * FROM public.line WHERE subject = %(subject)s",
    b"INSERT INTO again.alias SELECT * FROM public.alias WHERE subject = %(subject)s",
)


def job(number: int) -> dict[str, Any]:
    """One job about a person of its own."""
    person = {"username": f"person{number}", "name": f"Person {number}", "email": f"person{number}@example.com"}
    return {"kind": "create_user", "payload": person}


def scim_user(number: int) -> bytes:
    """The same person as an identity system sends it."""
    person = job(number)["payload"]
    return json.dumps({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": person["username"], "displayName": person["name"],
        "emails": [{"value": person["email"], "type": "work", "primary": True}], "active": True,
    }).encode()  # fmt: skip


# ------------------------------------------------------------------------------------------------------ servers


def answer_only(port: int) -> None:
    """Serve a route that reads and checks a job as the real one does, and answers without a ledger."""
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    from worker.api.jobs import key_of
    from worker.api.models import NewJob

    web = FastAPI(openapi_url=None)

    @web.post("/v1/jobs")
    async def submit(request: Request, new: NewJob) -> JSONResponse:
        return JSONResponse({"kind": new.kind, "key": key_of(request.headers.getlist("idempotency-key"))}, 202)

    @web.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    uvicorn.run(web, port=port, loop="uvloop", http="httptools", access_log=False, log_config=None)


@contextmanager
def serving(command: Sequence[str], port: int, environ: dict[str, str]) -> Iterator[int]:
    """Run a server in a process of its own for as long as the block runs; gives its pid."""
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, **environ}, cwd=HERE.parent, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not come up; look at what it said")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def most_memory(pid: int) -> float:
    """The most memory that a process ever had, in MB (VmHWM of proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _answers(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/health/live")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


# ------------------------------------------------------------------------------------------------------ clients


class Client:
    """One kept connection, with as little of a client around it as can be: the processors are the server's too."""

    def __init__(self, port: int, token: str, path: str = "/v1/jobs", media_type: str = "application/json") -> None:
        self.line = socket.create_connection(("127.0.0.1", port))
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: {media_type}\r\n"
        )

    def post(self, key: str, body: bytes) -> tuple[int, bytes]:
        """Send one body and return status and answer."""
        head = f'{self.head}Idempotency-Key: "{key}"\r\nContent-Length: {len(body)}\r\n\r\n'
        self.line.sendall(head.encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head_part, _, rest = answer.partition(b"\r\n\r\n")
        length = int(head_part.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += self._more()
        return int(head_part[9:12]), rest

    def _more(self) -> bytes:
        found = self.line.recv(65536)
        if not found:
            raise ConnectionError("the server hung up")
        return found


def all_at_once(work: Callable[[int], None]) -> float:
    """Let each client do its part, by its number, and wait for all; seconds."""
    threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def one_at_a_time(port: int, tokens: Sequence[str], count: int, body: Callable[[int], bytes], wanted: int, **client: str) -> tuple[float, float]:
    """Send `count` bodies by CLIENTS clients, each its next when its last is answered: requests a second, median in ms."""
    times: list[float] = []
    wrong: list[str] = []

    def work(first: int) -> None:
        one = Client(port, tokens[first], **client)
        for number in range(first, count, CLIENTS):
            began = time.perf_counter()
            status, answer = one.post(f"key-{number}", body(number))
            times.append(time.perf_counter() - began)
            if status != wanted:
                wrong.append(f"{status}: {answer[:300]!r}")
                return
        one.line.close()

    took = all_at_once(work)
    if wrong:
        raise RuntimeError(f"not every request was answered as it should be: {wrong[0]}")
    return count / took, statistics.median(times) * 1000


def batch(port: int, token: str, people: int) -> float:
    """Send all jobs in one request; jobs a second, from the first byte sent to the last answer read."""
    lines = (json.dumps({**job(number), "key": f"key-{number}"}) for number in range(people))
    body = "\n".join(lines).encode()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.monotonic()
    line.request("POST", "/v1/jobs/batch", body, {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"})
    answers = line.getresponse().read().splitlines()
    took = time.monotonic() - began
    line.close()
    if len(answers) != people or any(b'"problem"' in answer for answer in answers):
        raise RuntimeError(f"not every line was taken in: {answers[-1]!r}")
    return people / took


# ---------------------------------------------------------------------------------------------------- raw rows


def raw_inserts(database_url: str) -> float:
    """Write the rows of every job once more, a commit for each, over CLIENTS connections; jobs a second."""
    dsn = _dsn(database_url)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA again")
        for table in LEFT_BEHIND:
            conn.execute(f"CREATE TABLE again.{table} (LIKE public.{table} INCLUDING ALL)".encode())
        jobs = conn.execute("SELECT id, subject FROM job ORDER BY id").fetchall()

    def work(first: int) -> None:
        with psycopg.connect(dsn) as own:
            for job_id, subject in jobs[first::CLIENTS]:
                for statement in AGAIN:
                    own.execute(statement, {"job": job_id, "subject": subject})
                own.commit()

    took = all_at_once(work)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DROP SCHEMA again CASCADE")
    return len(jobs) / took


def _dsn(database_url: str) -> str:
    return database_url.replace("postgresql+psycopg://", "postgresql://")


# ------------------------------------------------------------------------------------------------------- in all


@contextmanager
def doors(postgres: Any, broker_url: str, name: str, port: int) -> Iterator[tuple[str, list[str], int]]:
    """Muster's HTTP on a database of its own: gives the database's URL, a token for each client, and the server's pid."""
    from worker import api_tokens, migrate
    from worker.app import App
    from worker.settings import Settings

    url = postgres.create_database(name)
    migrate.upgrade(url)
    app = App(Settings(database_url=url, broker_url=broker_url, secret_key=SECRET))
    app.ready()
    with app.scope() as scope:
        tokens = [api_tokens.create(scope, f"client-{n}", ["jobs:submit:*", "scim"], by="benchmark") for n in range(CLIENTS)]
    app.close()
    environ = {"MUSTER_DATABASE_URL": url, "MUSTER_BROKER_URL": broker_url, "MUSTER_SECRET_KEY": SECRET,
               "MUSTER_LISTEN": f"127.0.0.1:{port}", "MUSTER_LOG_LEVEL": "warning"}  # fmt: skip
    with serving(["-m", "worker", "api"], port, environ) as pid:
        yield url, tokens, pid


def main(arguments: list[str]) -> None:
    """Start the servers, run all of it in one run on one machine, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks http", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="how many jobs one at a time (default 10000)")
    parser.add_argument("--people", type=int, default=100_000, help="how many jobs in the batch (default 100000)")
    parser.add_argument("--scim", type=int, default=1_000, help="how many users by SCIM (default 1000)")
    chosen = parser.parse_args(arguments)
    sys.path.insert(0, str(HERE.parent / "tests"))
    from servers import PostgresServer, RedisServer, free_port

    def body(number: int) -> bytes:
        return json.dumps(job(number)).encode()

    #: What it is, a second, median in ms, and what of Muster's it stands beside.
    rows: list[tuple[str, float, float | None, float]] = []
    port = free_port()
    with serving(["-c", f"from benchmarks.http import answer_only; answer_only({port})"], port, {}):
        alone, alone_ms = one_at_a_time(port, ["none"] * CLIENTS, chosen.jobs, body, 202)
    with PostgresServer(durable=True) as postgres, RedisServer(aof=True) as redis:
        with doors(postgres, redis.url, "single", port) as (url, tokens, _):
            single, ms = one_at_a_time(port, tokens, chosen.jobs, body, 202)
        rows.append(("POST /v1/jobs, one at a time", single, ms, single))
        rows.append(("POST, read and answered without a ledger", alone, alone_ms, single))
        rows.append(("raw INSERT of the same rows, a commit each", raw_inserts(url), None, single))
        with doors(postgres, redis.url, "batch", port) as (url, tokens, pid):
            before = most_memory(pid)
            many = batch(port, tokens[0], chosen.people)
            grown = most_memory(pid) - before
        rows.append((f"POST /v1/jobs/batch, {chosen.people:,} lines", many, None, many))
        rows.append(("raw COPY of the same rows, one commit", chosen.people / copied(url)[0], None, many))
        with doors(postgres, redis.url, "scim", port) as (url, tokens, _):
            scim, ms = one_at_a_time(port, tokens, chosen.scim, scim_user, 201, path="/scim/v2/Users", media_type="application/scim+json")
        rows.append(("POST /scim/v2/Users, done when answered", scim, ms, scim))
        rows.append(("raw COPY of the same rows, one commit", chosen.scim / copied(url)[0], None, scim))
    print(f"{chosen.jobs:,} jobs by {CLIENTS} clients, one server process, {os.cpu_count()} cores")
    print(f"{'':44} {'a second':>9} {'ms':>7}  {'Muster is':>9}")
    for name, rate, ms_or_none, base in rows:
        print(f"{name:44} {rate:>9,.0f} {f'{ms_or_none:.1f}' if ms_or_none else '':>7}  {base / rate:>8.2f}x")
    print(f"the batch took {grown:.0f} MB of memory in the server")
