"""Tests of the queue on a real Redis: bells, foreign producers, poison, and a ledger that cannot be written."""

import json
import threading
import time
from collections.abc import Callable, Iterator

import dramatiq
import pytest
import redis
from desk import Desk, put_raw
from dramatiq.brokers.redis import RedisBroker
from servers import RedisServer

from worker.queue import open_bell, open_broker
from worker.queue import redis as redis_queue
from worker.queue.broker import DoorBroker
from worker.queue.pools import Pools

KINDS = {"create_user": "directory", "add_to_group": "directory", "send_welcome_email": "mail"}

Open = Callable[[Desk], DoorBroker]


@pytest.fixture
def client(redis_server: RedisServer, broker_url: str) -> Iterator[redis.Redis]:
    with redis_server.client() as connection:
        yield connection


@pytest.fixture
def worker(broker_url: str) -> Iterator[Open]:
    """Start a worker's threads on the empty Redis; they are stopped at the end."""
    started: list[tuple[Pools, Desk]] = []

    def start(desk: Desk) -> DoorBroker:
        broker = open_broker(broker_url, kinds=KINDS, doorway=desk)
        pools = Pools(broker, threads=4, edge_queues=["mail"], edge_threads=2)
        pools.start()
        started.append((pools, desk))
        return broker

    yield start
    for pools, desk in started:
        desk.release.set()
        assert pools.stop(10)


def job(name: str, **changes: object) -> str:
    return json.dumps({"actor_name": "create_user", "kwargs": {"payload": {"name": name}}, **changes})


def test_a_bell_reaches_the_queue_it_was_rung_on(worker: Open, broker_url: str) -> None:
    desk = Desk()
    worker(desk)
    bell = open_bell(broker_url)
    assert bell.ring("create_user", "directory")
    assert bell.ring("create_user", "urgent")
    assert bell.ring("send_welcome_email", "mail")
    desk.wait(lambda d: len(d.bells) == 3)
    assert sorted(desk.bells) == [
        ("create_user", "directory"),
        ("create_user", "urgent"),
        ("send_welcome_email", "mail"),
    ]


def test_a_bell_at_a_wrong_door_is_passed_on(worker: Open, client: redis.Redis) -> None:
    desk = Desk()
    worker(desk)
    put_raw(client, "directory", "x", json.dumps({"actor_name": "send_welcome_email"}))
    desk.wait(lambda d: d.bells == [("send_welcome_email", "mail")])


def test_many_rings_are_one_bell_until_somebody_looks(broker_url: str, client: redis.Redis) -> None:
    bell = open_bell(broker_url)
    threads = [threading.Thread(target=bell.ring, args=("create_user", "directory")) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.llen("dramatiq:directory") == 1
    assert client.hlen("dramatiq:directory.msgs") == 1
    bell.ring("create_user", "urgent")
    bell.ring("add_to_group", "directory")
    assert (client.llen("dramatiq:urgent"), client.llen("dramatiq:directory")) == (1, 2)
    bell.clear("create_user", "directory")
    assert bell.ring("create_user", "directory")
    assert client.llen("dramatiq:directory") == 3


def test_a_bell_that_nobody_answers_does_not_silence_the_next_for_long(broker_url: str, client: redis.Redis) -> None:
    open_bell(broker_url).ring("create_user", "directory")
    assert 0 < client.pttl("dramatiq:bell:directory:create_user") <= 3000


def test_a_failing_bell_is_not_repeated(worker: Open, broker_url: str, client: redis.Redis) -> None:
    def fail(kind: str, queue: str) -> None:
        raise RuntimeError(kind)

    desk = Desk(on_bell=fail)
    broker = worker(desk)
    open_bell(broker_url).ring("create_user", "directory")
    broker.join("directory", timeout=10_000)
    desk.on_bell = broker.clear
    broker.clear("create_user", "directory")
    broker.ring("create_user", "directory")
    desk.wait(lambda d: len(d.bells) == 1)


def test_a_stock_dramatiq_producer_hands_in_a_job(worker: Open, broker_url: str, client: redis.Redis) -> None:
    desk = Desk()
    broker = worker(desk)
    # As another application would have it: dramatiq's own broker, its maintenance at every command.
    producer = RedisBroker(url=broker_url, maintenance_chance=1_000_000)  # type: ignore[no-untyped-call]
    actor = dramatiq.actor(actor_name="create_user", queue_name="directory", broker=producer)(lambda **_: None)
    sent = actor.send(payload={"name": "ada"}, key="hr/1")
    later = actor.send_with_options(kwargs={"payload": {"name": "late"}}, delay=3_600_000)
    desk.wait(lambda d: len(d.ingressed) == 2)
    arrived = {message_id: (kind, queue, kwargs) for kind, queue, kwargs, message_id in desk.ingressed}
    assert arrived[sent.message_id] == ("create_user", "directory", {"payload": {"name": "ada"}, "key": "hr/1"})
    assert "run_at" in arrived[later.message_id][2]
    broker.join("directory", timeout=10_000)
    assert client.keys("dramatiq:directory*") == []
    producer.client.close()


def test_our_own_broker_refuses_delays(broker_url: str) -> None:
    broker = open_broker(broker_url, kinds=KINDS, doorway=None)
    with pytest.raises(ValueError, match="run_at"):
        broker.get_actor("create_user").send_with_options(delay=1000)
    broker.close()


def test_one_poisoned_message_of_each_sort_among_twenty_good_ones(worker: Open, client: redis.Redis) -> None:
    desk = Desk()
    poison: list[str | bytes] = [
        b"\xff\xfe broken",
        "{not json",
        job("a", actor_name="drop_table"),
        job("b", args=[1]),
        job("c", kwargs="x"),
        job("d", schema=9),
        job("e\0"),
        job("x" * 5_000_000),
    ]
    for number in range(20):
        put_raw(client, "directory", f"good-{number}", job(f"good-{number}"))
        if number < len(poison):
            put_raw(client, "directory", f"poison-{number}", poison[number])
    client.rpush("dramatiq:directory", "no-body")
    put_raw(client, "directory", b"\xff\xfe", "{")
    put_raw(client, "directory", "last", job("last"))
    broker = worker(desk)
    desk.wait(lambda d: len(d.ingressed) == 21 and len(d.refused) == len(poison) + 1)
    assert sorted(desk.names()) == sorted([*(f"good-{number}" for number in range(20)), "last"])
    assert {message_id for *_, message_id in desk.refused} >= {f"poison-{number}" for number in range(len(poison))}
    assert max(len(raw) for _, raw, _, _ in desk.refused) < 2000
    broker.join("directory", timeout=10_000)
    assert client.keys("dramatiq:directory*") == []
    assert client.keys("dramatiq:muster:hand:*") == []


def test_a_message_names_a_queue_that_it_did_not_come_from(worker: Open, client: redis.Redis) -> None:
    desk = Desk()
    worker(desk)
    put_raw(client, "directory", "x", job("x", queue_name="nowhere"))
    put_raw(client, "directory", "y", job("y", queue_name="mail.DQ"))
    desk.wait(lambda d: len(d.ingressed) == 2)
    assert {queue for _, queue, _, _ in desk.ingressed} == {"directory"}


def test_the_same_id_pushed_twice_is_not_lost_and_leaves_nothing(worker: Open, client: redis.Redis) -> None:
    desk = Desk()
    client.hset("dramatiq:directory.msgs", "x", job("x"))
    client.rpush("dramatiq:directory", "x", "x")
    broker = worker(desk)
    desk.wait(lambda d: d.ingressed)
    broker.join("directory", timeout=10_000)
    assert set(desk.names()) == {"x"}


def test_while_the_ledger_is_away_nothing_is_acknowledged_and_neighbours_go_on(
    worker: Open, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queue.hand.FIRST_PAUSE_SECONDS", 0.02)
    desk = Desk(failing={"unlucky", "unreadable"})
    broker = worker(desk)
    put_raw(client, "directory", "p", "{not json")
    put_raw(client, "directory", "u", job("unlucky"))
    for number in range(20):
        put_raw(client, "directory", f"good-{number}", job(f"good-{number}"))
    desk.wait(lambda d: len(d.ingressed) == 20 and d.failures >= 6)
    assert client.hlen("dramatiq:directory.msgs") == 2
    assert client.exists("dramatiq:directory.XQ") == 0
    with desk.changed:
        desk.failing.clear()
    desk.wait(lambda d: "unlucky" in d.names() and d.refused)
    broker.join("directory", timeout=30_000)
    assert client.keys("dramatiq:directory*") == []


def test_nothing_is_taken_that_cannot_start(worker: Open, client: redis.Redis) -> None:
    desk = Desk(held={"slow"})
    worker(desk)
    for number in range(10):
        put_raw(client, "directory", f"slow-{number}", job("slow"))
    desk.wait(lambda d: d.holding == 4)
    assert client.llen("dramatiq:directory") == 6


def test_a_busy_process_is_not_taken_for_dead(
    worker: Open, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_queue, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(redis_queue, "DEAD_SECONDS", 1.0)
    busy, idle = Desk(held={"slow"}), Desk()
    worker(busy)
    for number in range(4):
        put_raw(client, "directory", f"slow-{number}", job("slow"))
    busy.wait(lambda d: d.holding == 4)
    worker(idle)
    put_raw(client, "directory", "quick", job("quick"))
    idle.wait(lambda d: d.ingressed)
    time.sleep(2.0)  # twice the time after which a silent process is buried
    assert idle.names() == ["quick"]
    busy.release.set()
    busy.wait(lambda d: len(d.ingressed) == 4)
