"""The queue inside one process, for the embedded setting: the same dramatiq actors in threads, no server."""

import json
import threading
import time
import uuid
from collections import deque

import dramatiq
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import QueueNotFound

from worker.queue.arrivals import Arrival, bell_body, read
from worker.queue.broker import QUIET_SECONDS, DoorBroker, arrival_of, refuse_delay
from worker.queue.doorway import BELL_LIFE_MILLIS


class Line:
    """The messages that wait in one queue."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.bodies: dict[str, bytes] = {}
        self.changed = threading.Condition()

    def put(self, slip: str, *, first: bool = False) -> None:
        """Let a slip wait (again)."""
        with self.changed:
            if first:
                self.waiting.appendleft(slip)
            else:
                self.waiting.append(slip)
            self.changed.notify()

    def pop(self, seconds: float) -> str | None:
        """Take the next slip, waiting for one if need be."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting, seconds)
            return self.waiting.popleft() if self.waiting else None


class LocalBroker(DoorBroker):
    """A dramatiq broker in memory. What waits here is gone when the process ends: bells, which the keeper makes up for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, Line] = {}
        self._rung: dict[tuple[str, str], float] = {}
        self._rung_lock = threading.Lock()

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.lines:
            self.emit_before("declare_queue", queue_name)
            self.lines[queue_name] = self.queues[queue_name] = Line()
            self.emit_after("declare_queue", queue_name)

    def ring(self, kind: str, queue: str) -> bool:
        now = time.monotonic()
        with self._rung_lock:
            if self._rung.get((kind, queue), 0) > now:
                return True
            self._rung[kind, queue] = now + BELL_LIFE_MILLIS / 1000
        slip = str(uuid.uuid4())
        self._put(queue, slip, bell_body(kind, queue, slip))
        return True

    def clear(self, kind: str, queue: str) -> None:
        with self._rung_lock:
            self._rung.pop((kind, queue), None)

    def trouble(self) -> str | None:
        return None

    def enqueue(self, message: dramatiq.Message[object], *, delay: int | None = None) -> dramatiq.Message[object]:
        """Put a message, as `actor.send` does."""
        refuse_delay(delay)
        self._put(message.queue_name, str(uuid.uuid4()), json.dumps(message.asdict()).encode())
        return message

    def _put(self, queue: str, slip: str, body: bytes) -> None:
        line = self._line(queue)
        line.bodies[slip] = body
        line.put(slip)

    def _line(self, queue: str) -> Line:
        if queue not in self.lines:
            raise QueueNotFound(queue)  # type: ignore[no-untyped-call]  # dramatiq's errors have no types
        return self.lines[queue]

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        return _LocalConsumer(self, queue_name, self._line(queue_name), timeout / 1000)

    def flush(self, queue_name: str) -> None:
        line = self.lines[queue_name]
        with line.changed:
            for slip in line.waiting:
                line.bodies.pop(slip, None)
            line.waiting.clear()

    def flush_all(self) -> None:
        for queue in self.lines:
            self.flush(queue)

    def close(self) -> None:
        self.quiet()
        for queue, hand in self.hands.items():
            for slip in hand.let_go():
                self.lines[queue].put(slip, first=True)


class _LocalConsumer(Consumer):
    """Takes from one line when a thread is free, and waits without polling."""

    def __init__(self, broker: LocalBroker, queue: str, line: Line, seconds: float) -> None:
        self.broker = broker
        self.queue = queue
        self.line = line
        self.hand = broker.hand(queue)
        self.seconds = seconds

    def __next__(self) -> MessageProxy | None:
        for due in self.hand.due():
            self.line.put(due)
        if self.broker.quieted.is_set():
            time.sleep(QUIET_SECONDS)
            return None
        if not self.hand.room(self.seconds) or self.broker.quieted.is_set():
            return None
        slip = self.line.pop(self.seconds)
        if slip is None:
            return None
        if self.broker.quieted.is_set():
            self.line.put(slip, first=True)
            return None
        self.hand.take(slip)
        return self.broker.proxy(self._read(slip))

    def _read(self, slip: str) -> Arrival:
        body = self.line.bodies[slip]
        return read(self.queue, slip, body, size=len(body), kinds=self.broker.kinds)

    def ack(self, message: MessageProxy) -> None:
        arrival = arrival_of(message)
        if arrival.done:
            self.hand.finish(arrival.slip)
            self.hand.settle([arrival.slip])
            self.line.bodies.pop(arrival.slip, None)
        else:
            self.hand.put_aside(arrival.slip)

    nack = ack

    def requeue(self, messages: object) -> None:
        """`close` puts back what is in hand, all queues at once."""
