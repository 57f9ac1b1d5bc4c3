"""The threads of one worker process: most for directory jobs, one for urgent jobs alone, some of their own for mail and webhooks."""

import time
from collections.abc import Collection
from typing import Any

from dramatiq.worker import Worker

from worker.queue.broker import DoorBroker
from worker.queue.doorway import URGENT

WAKE_MILLIS = 1000
"""How often an idle thread looks whether it has been stopped. Work wakes it at once; this is what idling costs."""

URGENT_THREADS = 1
"""Enough, as nothing slow is urgent, and it is kept free for the one leaver who must be out now."""


class Pools:
    """Dramatiq Workers on one broker: urgent jobs, directory jobs, and one for each queue that reaches outside.

    `edge_threads`: of each edge queue, so that slow webhooks do not keep mails from going out. `queues`: serve these alone (and the urgent queue, which every process serves); None for all.
    Raises ValueError for a queue that no kind has.
    """

    def __init__(
        self,
        broker: DoorBroker,
        *,
        threads: int,
        edge_queues: Collection[str],
        edge_threads: int,
        queues: Collection[str] | None = None,
    ) -> None:
        declared = set(broker.get_declared_queues())
        wanted = declared if queues is None else set(queues) | {URGENT}
        if unknown := sorted(wanted - declared):
            raise ValueError(f"no job uses the queue {unknown[0]!r}; there are {', '.join(sorted(declared))}")
        edges = wanted.intersection(edge_queues) - {URGENT}
        plan = [({URGENT}, URGENT_THREADS), (wanted - edges - {URGENT}, threads)]
        plan += [({edge}, edge_threads) for edge in sorted(edges)]
        self.broker = broker
        self.workers: list[Worker] = []
        for served, count in plan:
            if served:  # dramatiq takes an empty set for "all queues"
                broker.seat(served, count)
                self.workers.append(Worker(broker, queues=served, worker_timeout=WAKE_MILLIS, worker_threads=count))

    def start(self) -> None:
        """Start all threads and return."""
        # dramatiq advises one Worker a process: each adds a middleware that starts consumers for queues declared later, and
        # warns of the second. All queues are declared and every Worker has a set of its own, so we take it out again.
        middleware = list(self.broker.middleware)
        for worker in self.workers:
            worker.start()
            self.broker.middleware[:] = middleware

    def stop(self, grace_seconds: float) -> bool:
        """Finish what is in hand, put the rest back, close the broker. True if every thread ended within the grace."""
        deadline = time.monotonic() + grace_seconds
        self.broker.quiet()
        for thread in self._threads():
            thread.stop()
        for worker in self.workers:
            worker.stop(timeout=int(max(0.0, deadline - time.monotonic()) * 1000))
        ended = not any(thread.is_alive() for thread in self._threads())
        self.broker.close()
        return ended

    def _threads(self) -> list[Any]:
        """The threads of dramatiq; its WorkerThread and ConsumerThread have no common type that can be stopped."""
        return [thread for worker in self.workers for thread in [*worker.workers, *worker.consumers.values()]]
