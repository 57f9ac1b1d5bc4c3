"""Ring workers through Redis, cheaply, and without ever keeping anybody waiting for a Redis that is away."""

import uuid

from worker.queue.arrivals import bell_body
from worker.queue.doorway import BELL_LIFE_MILLIS, NAMESPACE
from worker.queue.link import Link, Unreachable
from worker.queue.scripts import CLEAR, RING

BELL_TIMEOUT_SECONDS = 0.5
"""A submit waits at most this long for its bell; the keeper rings later anyway."""

LONGEST_PAUSE_SECONDS = 2.0
"""While Redis hangs, one submit in two seconds tries it, the others do not wait at all."""


class RedisBell:
    """See `worker.queue.Bell`."""

    def __init__(self, url: str, *, namespace: str = NAMESPACE) -> None:
        self.namespace = namespace
        self._link = Link(
            url,
            away="bell.unreachable",
            back="bell.reachable",
            timeout=BELL_TIMEOUT_SECONDS,
            longest_pause=LONGEST_PAUSE_SECONDS,
        )
        self._ring = self._link.script(RING)
        self._clear = self._link.script(CLEAR)

    def ring(self, kind: str, queue: str) -> bool:
        if not self._link.outage.claim_try():
            return False
        slip = str(uuid.uuid4())
        try:
            self._ring(self.namespace, queue, kind, BELL_LIFE_MILLIS, slip, bell_body(kind, queue, slip))
        except Unreachable:
            return False
        return True

    def clear(self, kind: str, queue: str) -> None:
        if not self._link.outage.claim_try():
            return
        try:
            self._clear(self.namespace, queue, kind)
        except Unreachable:
            return

    def trouble(self) -> str | None:
        # A write that changes nothing, with a command of Redis 6.2: asks for the version, the role and our rights at once.
        probe = f"{self.namespace}:muster:probe"
        try:
            self._link.attempt(lambda: self._link.client.lmove(probe, probe))
        except Unreachable as error:
            return str(error)
        return None

    def close(self) -> None:
        """Close the connections."""
        self._link.close()
