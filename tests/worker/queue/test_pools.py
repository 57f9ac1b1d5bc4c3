"""Tests of the threads of a worker process: urgent jobs and edges are not stalled by others, and stopping is orderly."""

import logging
import threading

import pytest
from desk import Desk

from worker.queue import open_broker
from worker.queue.pools import Pools

KINDS = {"create_user": "directory", "offboard_user": "directory", "send_welcome_email": "mail", "call_webhook": "webhooks"}
EDGES = ["mail", "webhooks"]


def test_urgent_jobs_and_edges_have_threads_of_their_own() -> None:
    desk = Desk(held={"create_user", "call_webhook"})
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    desk.on_bell = broker.clear
    pools = Pools(broker, threads=2, edge_queues=EDGES, edge_threads=2)
    pools.start()
    for queue in ("directory", "webhooks"):
        for _ in range(6):
            kind = "create_user" if queue == "directory" else "call_webhook"
            broker.ring(kind, queue)
            broker.clear(kind, queue)
    desk.wait(lambda d: d.holding == 4)
    broker.ring("offboard_user", "urgent")
    desk.wait(lambda d: d.bells == [("offboard_user", "urgent")])
    desk.release.set()
    desk.wait(lambda d: len(d.bells) == 13)
    assert pools.stop(10)


def test_slow_webhooks_do_not_keep_mails_waiting() -> None:
    desk = Desk(held={"call_webhook"})
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    desk.on_bell = broker.clear
    pools = Pools(broker, threads=1, edge_queues=EDGES, edge_threads=1)
    pools.start()
    broker.ring("call_webhook", "webhooks")
    desk.wait(lambda d: d.holding == 1)
    broker.ring("send_welcome_email", "mail")
    desk.wait(lambda d: d.bells == [("send_welcome_email", "mail")])
    desk.release.set()
    desk.wait(lambda d: len(d.bells) == 2)
    assert pools.stop(10)


def test_a_process_can_serve_some_queues_and_always_serves_the_urgent_one() -> None:
    desk = Desk()
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    pools = Pools(broker, threads=1, edge_queues=EDGES, edge_threads=1, queues=["mail"])
    pools.start()
    broker.ring("create_user", "directory")
    broker.ring("send_welcome_email", "mail")
    broker.ring("create_user", "urgent")
    desk.wait(lambda d: len(d.bells) == 2)
    assert set(desk.bells) == {("send_welcome_email", "mail"), ("create_user", "urgent")}
    assert pools.stop(10)
    assert sorted(queue for worker in pools.workers for queue in worker.consumers) == ["mail", "urgent"]


def test_a_queue_that_no_job_uses_is_refused() -> None:
    broker = open_broker(None, kinds=KINDS, doorway=Desk())
    with pytest.raises(ValueError, match="'emails'; there are directory, mail, urgent, webhooks"):
        Pools(broker, threads=1, edge_queues=EDGES, edge_threads=1, queues=["emails"])


def test_several_workers_on_one_broker_start_without_complaint(caplog: pytest.LogCaptureFixture) -> None:
    broker = open_broker(None, kinds=KINDS, doorway=Desk())
    pools = Pools(broker, threads=2, edge_queues=EDGES, edge_threads=1)
    pools.start()
    assert [len(worker.workers) for worker in pools.workers] == [1, 2, 1, 1]
    assert pools.stop(10)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [thread for thread in threading.enumerate() if "Consumer" in type(thread).__name__]


def test_stopping_finishes_what_is_in_hand_and_nothing_else() -> None:
    desk = Desk(held={"create_user"})
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    pools = Pools(broker, threads=1, edge_queues=EDGES, edge_threads=1)
    pools.start()
    broker.ring("create_user", "directory")
    desk.wait(lambda d: d.holding == 1)
    broker.ring("offboard_user", "directory")
    ended: list[bool] = []
    stopping = threading.Thread(target=lambda: ended.append(pools.stop(20)))
    stopping.start()
    assert broker.quieted.wait(10)
    desk.release.set()
    stopping.join(20)
    assert ended == [True]
    assert desk.bells == [("create_user", "directory")]


def test_stopping_says_when_a_thread_did_not_end() -> None:
    desk = Desk(held={"create_user"})
    broker = open_broker(None, kinds=KINDS, doorway=desk)
    pools = Pools(broker, threads=1, edge_queues=EDGES, edge_threads=1)
    pools.start()
    broker.ring("create_user", "directory")
    desk.wait(lambda d: d.holding == 1)
    assert not pools.stop(0.1)
    desk.release.set()
