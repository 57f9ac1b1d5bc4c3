"""Tests of the queue inside one process, and of choosing a queue by its URL."""

import threading
from collections.abc import Iterator

import pytest
from desk import Desk
from dramatiq.errors import QueueNotFound

from worker.queue import open_bell, open_broker
from worker.queue.broker import DoorBroker
from worker.queue.local import LocalBroker
from worker.queue.pools import Pools
from worker.queue.redis import BlockingRedisBroker

KINDS = {"create_user": "directory", "send_welcome_email": "mail"}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def broker(desk: Desk) -> Iterator[DoorBroker]:
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    pools = Pools(broker, threads=3, edge_queues=["mail"], edge_threads=1)
    pools.start()
    yield broker
    desk.release.set()
    assert pools.stop(10)


@pytest.mark.parametrize("url", [None, "", "local:"])
def test_no_url_means_this_process(url: str | None) -> None:
    assert isinstance(open_broker(url, kinds=KINDS, doorway=None), LocalBroker)
    bell = open_bell(url)
    assert not bell.ring("create_user", "directory")
    bell.clear("create_user", "directory")
    assert bell.trouble() is None


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", "unix:///nowhere/s"])
def test_a_redis_url_means_redis_and_connects_only_when_used(url: str) -> None:
    assert isinstance(open_broker(url, kinds=KINDS, doorway=None), BlockingRedisBroker)


@pytest.mark.parametrize("url", ["amqp://127.0.0.1", "redis.internal:6379", "127.0.0.1"])
def test_another_scheme_is_refused_with_those_that_work(url: str) -> None:
    with pytest.raises(ValueError, match="use local:, redis://, rediss://, unix://"):
        open_broker(url, kinds=KINDS, doorway=None)
    with pytest.raises(ValueError, match="use local:"):
        open_bell(url)


def test_a_bell_from_several_threads_is_heard(broker: DoorBroker, desk: Desk) -> None:
    desk.on_bell = broker.clear
    threads = [threading.Thread(target=broker.ring, args=("create_user", "directory")) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broker.ring("send_welcome_email", "mail")
    broker.ring("create_user", "urgent")
    desk.wait(lambda d: set(d.bells) == {("create_user", "directory"), ("send_welcome_email", "mail"), ("create_user", "urgent")})


def test_many_rings_are_one_bell_until_somebody_looks(broker: DoorBroker, desk: Desk) -> None:
    desk.held = {"create_user"}
    for _ in range(50):
        assert broker.ring("create_user", "directory")
    desk.wait(lambda d: d.holding == 1)
    broker.clear("create_user", "directory")
    broker.ring("create_user", "directory")
    desk.wait(lambda d: d.holding == 2)
    desk.release.set()
    desk.wait(lambda d: len(d.bells) == 2)


def test_an_unanswered_bell_can_be_rung_again_after_its_life(
    broker: DoorBroker, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queue.local.BELL_LIFE_MILLIS", 0)
    broker.ring("create_user", "directory")
    broker.ring("create_user", "directory")
    desk.wait(lambda d: len(d.bells) == 2)


def test_jobs_and_mistakes_arrive_as_on_redis(broker: DoorBroker, desk: Desk) -> None:
    sent = broker.get_actor("create_user").send(payload={"name": "ada"})
    wrong = broker.get_actor("create_user").send(1)
    desk.wait(lambda d: d.ingressed and d.refused)
    assert desk.ingressed == [("create_user", "directory", {"payload": {"name": "ada"}}, sent.message_id)]
    assert [(queue, reason.partition(";")[0], key) for queue, _, reason, key in desk.refused] == [
        ("directory", "the message has positional arguments", wrong.message_id)
    ]


def test_what_could_not_be_recorded_comes_again(
    broker: DoorBroker, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.queue.hand.FIRST_PAUSE_SECONDS", 0.02)
    desk.failing = {"ada"}
    broker.get_actor("create_user").send(payload={"name": "ada"})
    broker.get_actor("create_user").send(payload={"name": "bob"})
    desk.wait(lambda d: d.failures >= 2 and d.ingressed)
    desk.failing = set()
    desk.wait(lambda d: d.names() == ["bob", "ada"])


def test_an_unknown_queue_and_a_delay_are_refused(broker: DoorBroker) -> None:
    with pytest.raises(QueueNotFound):
        broker.ring("create_user", "nowhere")
    with pytest.raises(ValueError, match="run_at"):
        broker.get_actor("create_user").send_with_options(delay=1000)


def test_flushing_drops_what_waits(desk: Desk) -> None:
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    broker.get_actor("create_user").send(payload={"name": "gone"})
    broker.flush_all()
    broker.get_actor("create_user").send(payload={"name": "kept"})
    pools = Pools(broker, threads=1, edge_queues=[], edge_threads=1)
    pools.start()
    desk.wait(lambda d: d.names() == ["kept"])
    assert pools.stop(10)
