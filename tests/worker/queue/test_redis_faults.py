"""Tests of the queue while Redis breaks: flushed, restarted empty, frozen, replies cut off, and worker processes killed."""

import hashlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import redis
from cut_proxy import Proxy
from desk import Desk, put_raw
from servers import RedisServer

from worker.queue import open_bell, open_broker, scripts
from worker.queue import redis as redis_queue
from worker.queue.broker import DoorBroker
from worker.queue.link import Unreachable
from worker.queue.pools import Pools
from worker.queue.redis import BlockingRedisBroker

KINDS = {"create_user": "directory", "send_welcome_email": "mail"}
ROOT = Path(redis_queue.__file__).parents[2]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that the test may break; nothing in it outlives a restart."""
    with RedisServer(tcp=True) as server:
        yield server
        if server.running:
            server.resume()


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as connection:
        yield connection


@pytest.fixture
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat and bury fifteen times quicker than in real life."""
    monkeypatch.setattr(redis_queue, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(redis_queue, "DEAD_SECONDS", 1.0)


class Process:
    """A worker's threads in this process."""

    def __init__(self, url: str, desk: Desk) -> None:
        self.desk = desk
        self.broker: DoorBroker = open_broker(url, kinds=KINDS, doorway=desk)
        self.pools = Pools(self.broker, threads=4, edge_queues=["mail"], edge_threads=1)

    def __enter__(self) -> Self:
        self.pools.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.desk.release.set()
        assert self.pools.stop(20)


def job(name: str) -> str:
    return json.dumps({"actor_name": "create_user", "kwargs": {"payload": {"name": name}}})


def sha(script: str) -> bytes:
    """How a script is called on the wire."""
    return hashlib.sha1(script.encode()).hexdigest().encode()


def nothing_left(client: redis.Redis) -> bool:
    return not client.keys("dramatiq:directory*") and not client.keys("dramatiq:muster:hand:*")


def test_flushed_in_the_middle(server: RedisServer, client: redis.Redis) -> None:
    desk = Desk(held={"slow"})
    with Process(server.url, desk) as process:
        put_raw(client, "directory", "slow", job("slow"))
        desk.wait(lambda d: d.holding)
        process.broker.ring("create_user", "urgent")
        client.flushall()
        desk.release.set()
        assert process.broker.ring("create_user", "directory")
        desk.wait(lambda d: d.ingressed and ("create_user", "directory") in d.bells)
        put_raw(client, "directory", "next", job("next"))
        desk.wait(lambda d: d.names() == ["slow", "next"])


def test_killed_and_restarted_empty(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk()
    bell = open_bell(server.url)
    with Process(server.url, desk) as process:
        assert process.broker.ring("create_user", "directory")
        desk.wait(lambda d: d.bells)
        server.restart(empty=True)
        while not bell.ring("send_welcome_email", "mail"):
            pass
        desk.wait(lambda d: ("send_welcome_email", "mail") in d.bells)
    assert [record.message for record in caplog.records if record.message == "queue.unreachable"] == ["queue.unreachable"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_ringing_while_redis_is_down_fails_quietly_and_is_said_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    bell = open_bell(server.url)
    server.kill()
    assert not any(bell.ring("create_user", "directory") for _ in range(1000))
    bell.clear("create_user", "directory")
    trouble = bell.trouble()
    assert trouble is not None
    assert "Redis cannot be reached" in trouble
    assert [record.message for record in caplog.records] == ["bell.unreachable"]
    server.start()
    while not bell.ring("create_user", "directory"):
        pass
    assert bell.trouble() is None


def test_a_producer_in_our_own_process_hears_that_redis_is_down(server: RedisServer) -> None:
    broker = open_broker(server.url, kinds=KINDS, doorway=None)
    server.kill()
    with pytest.raises(Unreachable, match="Redis cannot be reached"):
        broker.get_actor("create_user").send(payload={})
    broker.close()


def test_a_read_only_replica_is_an_outage_not_an_end(server: RedisServer, client: redis.Redis) -> None:
    desk = Desk()
    with RedisServer(tcp=True) as primary, Process(server.url, desk) as process:
        desk.on_bell = process.broker.clear
        assert process.broker.ring("create_user", "directory")
        desk.wait(lambda d: d.bells)
        client.replicaof("127.0.0.1", str(primary.port))
        assert not process.broker.ring("create_user", "directory")
        assert "ReadOnlyError" in str(process.broker.trouble())
        client.replicaof("NO", "ONE")
        while not process.broker.ring("create_user", "directory"):
            pass
        desk.wait(lambda d: len(d.bells) == 2)


def test_frozen_redis_blocks_nobody_and_everything_comes_through(
    server: RedisServer, client: redis.Redis, quick_heart: None
) -> None:
    names = {f"slow-{number}" for number in range(8)}
    desk = Desk(held=set(names))
    with Process(server.url, desk), Process(server.url, desk) as process:
        for name in names:
            put_raw(client, "directory", name, job(name))
        desk.wait(lambda d: d.holding == 8)  # four threads each: both hold something when it happens
        server.pause()
        assert not process.broker.ring("create_user", "directory")
        assert process.broker.trouble() is not None
        time.sleep(3.0)  # three times as long as a process may be silent
        server.resume()
        desk.release.set()
        put_raw(client, "directory", "after", job("after"))
        desk.wait(lambda d: set(d.names()) == names | {"after"})
        process.broker.join("directory", timeout=20_000)
        assert nothing_left(client)


@pytest.mark.parametrize("script", ["TAKE", "BLMOVE", "FINISH", "ENTER", "BEAT"])
def test_a_cut_reply_strands_nothing(server: RedisServer, client: redis.Redis, script: str, quick_heart: None) -> None:
    desk = Desk()
    # Only the first TAKE after the cut names this id, and only there; the others are known by their names.
    patterns = {"BLMOVE": b"BLMOVE", "TAKE": b"$3\r\nn-0\r\n"}
    pattern = patterns[script] if script in patterns else sha(getattr(scripts, script))
    with Proxy(("127.0.0.1", server.port)) as proxy, Process(f"redis://127.0.0.1:{proxy.port}/0", desk) as process:
        put_raw(client, "directory", "before", job("before"))
        desk.wait(lambda d: d.ingressed)
        if script == "ENTER":
            proxy.refuse()
            proxy.cut()
        proxy.cut_reply_to(pattern)
        proxy.accept()
        for number in range(20):
            put_raw(client, "directory", f"n-{number}", job(f"n-{number}"))
        desk.wait(lambda d: len(set(d.names())) == 21)
        process.broker.join("directory", timeout=20_000)
        for turn in itertools.count(1):  # the heart may not have beaten yet
            if proxy.swallowed:
                break
            time.sleep(0.02)
            if script == "ENTER" and turn % 50 == 0:  # it had entered before the proxy was told: let it come once more
                proxy.cut_reply_to(pattern)
                proxy.cut()
        assert nothing_left(client)


def test_a_cut_reply_to_a_ring_leaves_a_bell_and_no_error(server: RedisServer, client: redis.Redis) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        bell = open_bell(f"redis://127.0.0.1:{proxy.port}/0")
        bell.clear("create_user", "directory")
        proxy.cut_reply_to(sha(scripts.RING))
        client.script_load(scripts.RING)
        assert not bell.ring("create_user", "directory")
        assert client.llen("dramatiq:directory") == 1
        while not bell.ring("create_user", "directory"):
            pass
        assert client.llen("dramatiq:directory") == 1


def test_what_redis_counts_as_ours_and_we_know_nothing_of_comes_back(
    server: RedisServer, client: redis.Redis, quick_heart: None
) -> None:
    desk = Desk()
    with Process(server.url, desk) as process:
        assert isinstance(process.broker, BlockingRedisBroker)
        client.hset("dramatiq:directory.msgs", "lost", job("lost"))
        client.rpush(f"dramatiq:muster:hand:{process.broker.process}:directory", "lost")
        desk.wait(lambda d: d.names() == ["lost"])


def test_what_a_process_that_died_long_ago_had_in_hand_comes_back(
    server: RedisServer, client: redis.Redis, quick_heart: None
) -> None:
    client.hset("dramatiq:directory.msgs", "old", job("old"))
    client.rpush("dramatiq:muster:hand:gone:directory", "old")
    client.zadd("dramatiq:muster:alive", {"gone": 1})
    client.sadd("dramatiq:muster:queues", "directory")
    desk = Desk()
    with Process(server.url, desk):
        desk.wait(lambda d: d.names() == ["old"])
    assert client.zscore("dramatiq:muster:alive", "gone") is None


WORKER = """
import os, sys, time
from worker.queue import open_broker
from worker.queue.pools import Pools

class Stuck:
    def ingress(self, kind, queue, kwargs, message_id):
        os.write(1, kwargs["payload"]["name"].encode() + b"\\n")
        time.sleep(600)
    bell = unreadable = None

pools = Pools(open_broker(sys.argv[1], kinds={"create_user": "directory"}, doorway=Stuck()), threads=3, edge_queues=[], edge_threads=1)
pools.start()
time.sleep(600)
"""


def test_what_a_killed_process_had_in_hand_is_redelivered(
    server: RedisServer, client: redis.Redis, quick_heart: None
) -> None:
    for number in range(10):
        put_raw(client, "directory", f"n-{number}", job(f"n-{number}"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", WORKER, server.url], stdout=subprocess.PIPE, env=environment) as victim:
        assert victim.stdout is not None
        in_hand = {victim.stdout.readline().decode().strip() for _ in range(3)}
        victim.send_signal(signal.SIGKILL)
    assert in_hand == {"n-0", "n-1", "n-2"}
    desk = Desk()
    with Process(server.url, desk) as process:
        desk.wait(lambda d: len(d.ingressed) == 10)
        assert set(desk.names()) == {f"n-{number}" for number in range(10)}
        process.broker.join("directory", timeout=20_000)
        assert nothing_left(client)


def test_stopping_puts_back_what_did_not_end(server: RedisServer, client: redis.Redis) -> None:
    desk = Desk(held={"stuck"})
    broker = open_broker(server.url, kinds=KINDS, doorway=desk)
    pools = Pools(broker, threads=1, edge_queues=["mail"], edge_threads=1)
    pools.start()
    put_raw(client, "directory", "stuck", job("stuck"))
    put_raw(client, "directory", "next", job("next"))
    desk.wait(lambda d: d.holding)
    assert not pools.stop(0.2)
    assert client.lrange("dramatiq:directory", 0, -1) == ["stuck", "next"]
    assert client.keys("dramatiq:muster:hand:*") == []
    assert client.zcount("dramatiq:muster:alive", 2, "+inf") == 0  # counted among the dead
    desk.release.set()
