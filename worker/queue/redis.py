"""The queue on Redis: consumers that block instead of polling, and take nothing that can be lost."""

import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator

import dramatiq
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker

from worker.queue import scripts
from worker.queue.arrivals import BODY_LIMIT_BYTES, UNREAD_BYTES, Arrival, read
from worker.queue.bell import RedisBell
from worker.queue.broker import QUIET_SECONDS, DoorBroker, arrival_of, refuse_delay
from worker.queue.doorway import NAMESPACE
from worker.queue.link import Link, Unreachable

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0
"""How long a worker waits for Redis before it takes it for away; far longer than `BLOCK_SECONDS`, or blocking would look like it."""

BLOCK_SECONDS = 1.0
"""The longest that one blocking pop waits; bounds how long a stopping worker waits for its consumers."""

LONGEST_PAUSE_SECONDS = 1.0
"""The longest pause between two tries of a consumer while Redis is away."""

BEAT_SECONDS = 3.0
"""Between two heartbeats; five fit into `DEAD_SECONDS`, so a busy machine may miss some."""

DEAD_SECONDS = 15.0
"""A process that was silent for this long is taken for dead, and what it had in hand goes back to the queues. If it was only
frozen, messages arrive twice, which the ledger tells by their keys."""

BEATS_BEFORE_BURIAL = 2
"""After an outage everybody looks dead. So many beats must have gone through before others are buried: they beat, too, meanwhile."""

FORGET_SECONDS = 600.0
"""A dead process stays listed this long: a command of its may still have been on the way when it was buried."""


class BlockingRedisBroker(DoorBroker, RedisBroker):
    """dramatiq's RedisBroker with other commands underneath: same messages, own bookkeeping of what is in hand (`scripts`)."""

    def __init__(self, url: str, *, namespace: str = NAMESPACE) -> None:
        self.link = Link(
            url,
            away="queue.unreachable",
            back="queue.reachable",
            timeout=TIMEOUT_SECONDS,
            longest_pause=LONGEST_PAUSE_SECONDS,
        )
        # dramatiq types its public functions, but not this constructor.
        RedisBroker.__init__(self, client=self.link.client, middleware=[], namespace=namespace)  # type: ignore[no-untyped-call]
        self._prepare()
        self.process = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.bell = RedisBell(url, namespace=namespace)
        self.enter, self.take = self.link.script(scripts.ENTER), self.link.script(scripts.TAKE)
        self._finish, self._put_back = self.link.script(scripts.FINISH), self.link.script(scripts.PUT_BACK)
        self._enqueue, self._purge = self.link.script(scripts.ENQUEUE), self.link.script(scripts.PURGE)
        self._beat, self._leave = self.link.script(scripts.BEAT), self.link.script(scripts.LEAVE)
        self._heart: threading.Thread | None = None
        self._closed = threading.Event()

    # Ringing ------------------------------------------------------------------------------------------------------

    def ring(self, kind: str, queue: str) -> bool:
        return self.bell.ring(kind, queue)

    def clear(self, kind: str, queue: str) -> None:
        self.bell.clear(kind, queue)

    def trouble(self) -> str | None:
        return self.bell.trouble()

    # dramatiq's own commands --------------------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """Without the delay queue that dramatiq adds to each: it would be a second consumer that holds messages in memory."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[object], *, delay: int | None = None) -> dramatiq.Message[object]:
        """Put a message, as `actor.send` does. Raises Unreachable, which is dramatiq's ConnectionClosed."""
        refuse_delay(delay)
        return super().enqueue(message)

    def do_enqueue(self, queue: str, slip: str, body: bytes) -> None:
        self._enqueue(self.namespace, queue, slip, body)

    def do_purge(self, queue: str) -> None:
        self._purge(self.namespace, queue)

    def do_qsize(self, queue: str) -> int:
        """Give the number of messages that are not done, waiting or in somebody's hand."""
        return int(self.link.attempt(lambda: self.client.hlen(f"{self.namespace}:{queue}.msgs")))

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        self._start_heart()
        return _BlockingConsumer(self, queue_name, timeout / 1000)

    # Giving back --------------------------------------------------------------------------------------------------

    def settle(self, queue: str) -> None:
        """Tell Redis what is done. While it is away this is left to the consumer, which asks again anyway."""
        hand = self.hand(queue)
        slips = hand.unsettled()
        if slips:
            self._finish(self.namespace, self.process, queue, *map(_to_redis, slips))
            hand.settle(slips)

    def put_back(self, queue: str, slips: list[str], *, first: bool) -> None:
        """Return messages to the head or the end of their queue."""
        if slips:
            self._put_back(self.namespace, self.process, queue, "lpush" if first else "rpush", *map(_to_redis, slips))

    def close(self) -> None:
        self.quiet()
        self._closed.set()
        if self._heart is not None:
            self._heart.join(TIMEOUT_SECONDS)
        try:
            for queue, hand in self.hands.items():
                self.settle(queue)
                self.put_back(queue, hand.let_go(), first=True)
            if self._heart is not None:
                self._leave(self.namespace, self.process)
        except Unreachable:
            log.warning("queue.left_in_hand", extra={"worker": self.process})  # the others take it over
        self.bell.close()
        self.link.close()

    # The heart ----------------------------------------------------------------------------------------------------

    def _start_heart(self) -> None:
        with self._hands_lock:
            if self._heart is None:
                self._heart = threading.Thread(target=self._keep_beating, name="queue-heart", daemon=True)
                self._heart.start()

    def _keep_beating(self) -> None:
        """Tell the others that this process lives, whatever its threads do, and look after lost messages."""
        beats = 0
        strays: dict[str, set[str]] = {}
        while not self._closed.is_set():
            try:
                strays = self._beat_once(strays, reap=beats >= BEATS_BEFORE_BURIAL)
                beats += 1
            except Unreachable:
                beats, strays = 0, {}
            except Exception:
                log.exception("queue.heart_failed")  # a heart that stops would get a living process buried
            self._closed.wait(BEAT_SECONDS)

    def _beat_once(self, suspects: dict[str, set[str]], *, reap: bool) -> dict[str, set[str]]:
        """Beat; give back what Redis counts as ours twice in a row and we know nothing of (a reply was lost)."""
        reaped, hands = self._beat(
            self.namespace,
            self.process,
            int(reap),
            int(DEAD_SECONDS * 1000),
            int(FORGET_SECONDS * 1000),
            *self.hands,
        )
        if reaped:
            log.warning("queue.took_over", extra={"messages": reaped})
        strays = {}
        for name, slips in hands:
            queue = name.decode()
            if not slips:
                continue
            unknown = set(map(_from_redis, slips)) - self.hand(queue).known()
            lost = unknown & suspects.get(queue, set())
            if lost:
                log.warning("queue.found_lost", extra={"queue": queue, "messages": len(lost)})
                self.put_back(queue, sorted(lost), first=True)
            strays[queue] = unknown - lost
        for queue in list(self.hands):
            self.settle(queue)
        return strays


class _BlockingConsumer(Consumer):
    """Takes from one queue when a thread is free. Handles every connection error itself: dramatiq's way loses time and messages."""

    def __init__(self, broker: BlockingRedisBroker, queue: str, seconds: float) -> None:
        self.broker = broker
        self.queue = queue
        self.hand = broker.hand(queue)
        self.seconds = seconds
        self.list = f"{broker.namespace}:{queue}"
        self.in_redis = f"{broker.namespace}:muster:hand:{broker.process}:{queue}"
        self.arrivals: deque[Arrival] = deque()
        self.entered = False
        """False when a reply may have been lost: then Redis and we may disagree about what is in hand."""
        self.empty = False

    def __next__(self) -> MessageProxy | None:
        if self.arrivals:
            return self.broker.proxy(self.arrivals.popleft())
        if self.broker.quieted.is_set():
            time.sleep(QUIET_SECONDS)
            return None
        try:
            if not self.entered:
                self._enter()
            self.broker.put_back(self.queue, self.hand.due(), first=False)
            room = self.hand.room(self.seconds)
            if room and not self.broker.quieted.is_set():
                self.arrivals.extend(self._take(room))
                if self.broker.quieted.is_set():
                    self.close()  # asked to stop while we waited: what came goes back
        except Unreachable:
            self.entered = False
            self.broker.quieted.wait(self.broker.link.outage.pause)
        return self.broker.proxy(self.arrivals.popleft()) if self.arrivals else None

    def _enter(self) -> None:
        """Settle what was done meanwhile, then give back what Redis counts as ours and we know nothing of."""
        self.broker.settle(self.queue)
        slips = self.broker.enter(self.broker.namespace, self.broker.process, self.queue)
        lost = set(map(_from_redis, slips)) - self.hand.known()
        if lost:
            log.warning("queue.found_lost", extra={"queue": self.queue, "messages": len(lost)})
            self.broker.put_back(self.queue, sorted(lost), first=True)
        self.entered, self.empty = True, False

    def _take(self, room: int) -> Iterator[Arrival]:
        """Take up to `room` messages, waiting for the first. What is popped lies in our hand in Redis from that instant."""
        first: bytes = b""
        if self.empty:
            popped = self.broker.link.attempt(self._wait)
            if popped is None:
                return
            first = popped
        broker = self.broker
        rows = broker.take(
            broker.namespace, broker.process, self.queue, room, BODY_LIMIT_BYTES, UNREAD_BYTES, first
        )
        self.empty = len(rows) < room
        for name, size, body in rows:
            slip = _from_redis(name)
            if size < 0:
                log.warning("queue.id_without_body", extra={"queue": self.queue, "id": slip})
            elif self.hand.take(slip):
                yield read(self.queue, slip, body, size=size, kinds=broker.kinds)

    def _wait(self) -> bytes | None:
        reply: bytes | None = self.broker.client.execute_command(
            "BLMOVE", self.list, self.in_redis, "LEFT", "RIGHT", min(self.seconds, BLOCK_SECONDS)
        )
        return reply

    def ack(self, message: MessageProxy) -> None:
        """Delete what was dealt with, put the rest aside. Never raises: dramatiq would keep the thread waiting for Redis."""
        arrival = arrival_of(message)
        if not arrival.done:
            self.hand.put_aside(arrival.slip)
            return
        self.hand.finish(arrival.slip)
        if not self.broker.link.outage.pause:
            try:
                self.broker.settle(self.queue)
            except Unreachable:
                self.entered = False

    nack = ack

    def requeue(self, messages: object) -> None:
        """`close` of the broker puts back what is in hand, all queues at once."""

    def close(self) -> None:
        """Put back what was not handed out yet."""
        slips = self.hand.let_go([arrival.slip for arrival in self.arrivals])
        self.arrivals.clear()
        try:
            self.broker.put_back(self.queue, slips, first=True)
        except Unreachable:
            self.entered = False


def _from_redis(slip: bytes) -> str:
    """Ids are bytes to Redis, and a foreign producer may have put any."""
    return slip.decode(errors="surrogateescape")


def _to_redis(slip: str) -> bytes:
    return slip.encode(errors="surrogateescape")
