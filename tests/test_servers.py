"""The servers that tests start are real, can be broken in every way the fault tests need, and leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa
from cut_proxy import Proxy
from psycopg import sql
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import PostgresServer, RedisServer, ServerFailed

NO_RETRY = Retry(NoBackoff(), 0)
"""These tests look at what is lost, so the client must not quietly try again."""


@pytest.fixture
def own_redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis to break (the session's only says whether there is one)."""
    with RedisServer(tcp=True, aof=True) as server:
        yield server


@pytest.fixture
def own_postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL to break."""
    with PostgresServer(tcp=True, durable=True) as server:
        yield server


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_redis_with_a_log_keeps_what_it_acknowledged_through_kill_9(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("name", "Ada")
    own_redis.restart()
    with own_redis.client() as client:
        assert client.get("name") == "Ada"


def test_redis_can_come_back_empty(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("name", "Ada")
    own_redis.restart(empty=True)
    with own_redis.client() as client:
        assert client.dbsize() == 0


def test_redis_answers_on_tcp_on_the_same_port_after_a_restart(own_redis: RedisServer) -> None:
    before = own_redis.tcp_url
    own_redis.restart()
    assert own_redis.tcp_url == before
    with redis.Redis.from_url(before) as client:
        assert client.ping()


def test_a_stopped_redis_refuses(own_redis: RedisServer) -> None:
    own_redis.stop()
    assert not own_redis.running
    with own_redis.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_frozen_redis_is_silent_and_then_goes_on(own_redis: RedisServer) -> None:
    own_redis.pause()
    with redis.Redis.from_url(own_redis.url, socket_timeout=0.2, retry=NO_RETRY) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    own_redis.resume()
    with own_redis.client() as client:
        assert client.ping()


def test_redis_runs_the_broker(broker_url: str) -> None:
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.message import Message

    broker = RedisBroker(url=broker_url)  # type: ignore[no-untyped-call]
    broker.declare_queue("directory")
    broker.enqueue(
        Message(queue_name="directory", actor_name="create_user", args=(), kwargs={"payload": {}}, options={})
    )
    received = next(iter(broker.consume("directory", timeout=1000)))
    assert received is not None
    assert received.kwargs == {"payload": {}}
    broker.close()
    broker.client.close()


def test_postgres_copies_a_database_from_a_template(postgres_server: PostgresServer) -> None:
    template = sa.create_engine(postgres_server.create_database("model"))
    with template.begin() as connection:
        connection.execute(sa.text("CREATE TABLE person (name text)"))
    template.dispose()
    copy = sa.create_engine(postgres_server.create_database("copy", template="model"))
    with copy.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM person")).scalar() == 0
    copy.dispose()
    postgres_server.drop_database("copy")
    postgres_server.drop_database("model")


def test_postgres_answers_on_tcp_too(postgres_server: PostgresServer) -> None:
    engine = sa.create_engine(postgres_server.tcp_url("postgres"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash, PostgresServer.kill])
def test_postgres_keeps_what_it_committed_however_it_ends(
    own_postgres: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    own_postgres.execute(sql.SQL("CREATE TABLE person (name text)"))
    own_postgres.execute(sql.SQL("INSERT INTO person VALUES ('Ada')"))
    end(own_postgres)
    with pytest.raises(psycopg.OperationalError):
        own_postgres.execute(sql.SQL("SELECT 1"))
    own_postgres.start()
    engine = sa.create_engine(own_postgres.url("postgres"))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT name FROM person")).scalars().all() == ["Ada"]
    engine.dispose()


@pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel ends children with their parent")
@pytest.mark.parametrize("kind", ["RedisServer", "PostgresServer"])
def test_servers_end_with_the_process_that_started_them(
    kind: str, redis_server: RedisServer, postgres_server: PostgresServer
) -> None:
    code = f"import servers, time; s = servers.{kind}(); s.start(); print(s.pid, flush=True); time.sleep(600)"
    with tempfile.TemporaryDirectory(prefix="muster-") as folder:  # what a killed process leaves goes with this folder
        Path(folder).chmod(0o755)
        parent = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
            env=os.environ | {"TMPDIR": folder},
        )
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert is_alive(server)
        os.kill(parent.pid, signal.SIGKILL)
        parent.communicate()
        wait_until(lambda: not is_alive(server))


def test_a_server_is_started_from_the_main_thread_only(redis_server: RedisServer) -> None:
    server, refused = RedisServer(), []

    def start() -> None:
        try:
            server.start()
        except ServerFailed as error:
            refused.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    server.close()
    assert refused == ["start valkey-server from the main thread, or it ends together with this one"]


def test_closing_removes_the_folder(redis_server: RedisServer) -> None:
    with RedisServer() as server:
        assert server.dir.exists()
    assert not server.dir.exists()


def test_the_proxy_cuts_what_is_connected(own_redis: RedisServer) -> None:
    with Proxy(own_redis.socket) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        proxy.cut()
        assert client.recv(100) == b"", "the other side has hung up"


def test_the_proxy_refuses_and_accepts_again_on_the_same_port(own_redis: RedisServer) -> None:
    with Proxy(("127.0.0.1", own_redis.port)) as proxy, redis.Redis(port=proxy.port, retry=NO_RETRY) as client:
        proxy.refuse()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.accept()
        assert client.ping()


def test_the_proxy_loses_a_reply_after_the_server_has_acted(own_redis: RedisServer) -> None:
    with Proxy(own_redis.socket) as proxy, redis.Redis(port=proxy.port, retry=NO_RETRY) as client:
        proxy.cut_reply_to(b"INCR")
        with pytest.raises(redis.ConnectionError):
            client.incr("hired")
        assert client.get("hired") == b"1"
        assert client.incr("hired") == 2, "one call cuts once"
        assert proxy.swallowed == 1


def test_the_proxy_loses_the_answer_to_a_commit(own_postgres: PostgresServer) -> None:
    own_postgres.execute(sql.SQL("CREATE TABLE person (name text)"))
    with Proxy(("127.0.0.1", own_postgres.port)) as proxy:
        engine = sa.create_engine(own_postgres.tcp_url("postgres", port=proxy.port))
        proxy.cut_reply_to(b"COMMIT")
        with pytest.raises(sa.exc.OperationalError), engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO person VALUES ('Ada')"))
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT name FROM person")).scalars().all() == ["Ada"]
        engine.dispose()
    assert proxy.swallowed == 1


def test_tests_cannot_leave_this_machine(only_this_machine: list[str]) -> None:
    # An address from the range that documentation may use (RFC 5737): nobody has it.
    with socket.socket() as way_out, pytest.raises(ConnectionRefusedError, match=r"192\.0\.2\.1"):
        way_out.connect(("192.0.2.1", 80))
    assert len(only_this_machine) == 1
    only_this_machine.clear()  # this test meant to
