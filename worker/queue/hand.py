"""What a worker process has in hand: taken from one queue and not finished, or put aside for another try."""

import heapq
import threading
import time
from collections import OrderedDict

FIRST_PAUSE_SECONDS = 0.5
"""A message that could not be recorded waits this long, then twice as long each time: a database restart is over by then."""

LONGEST_PAUSE_SECONDS = 10.0
"""The longest wait between two tries: what came while the database was down is in the ledger seconds after it is back."""

PUT_ASIDE_LIMIT = 100
"""So many messages may wait aside before the process takes no more: the queue in Redis is the better place for a crowd."""

REMEMBERED_TRIES = 10_000
"""How many ids are remembered with their number of tries; forgetting one only shortens its next pause."""


class Seats:
    """The threads of one pool that are free, shared by the consumers that feed it: nothing is taken that cannot start."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._changed = threading.Condition()

    def wait(self, seconds: float) -> int:
        """Wait until a thread is free; return how many are."""
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0, seconds)
            return max(0, self._free)

    def move(self, change: int) -> None:
        """Take (negative) or give back seats."""
        with self._changed:
            self._free += change
            if change > 0:
                self._changed.notify_all()


class Hand:
    """The slips (ids) of one queue in this process. Safe from several threads."""

    def __init__(self, seats: Seats) -> None:
        self.seats = seats
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._aside: list[tuple[float, str]] = []
        self._done: set[str] = set()
        self._tries: OrderedDict[str, int] = OrderedDict()

    def room(self, seconds: float) -> int:
        """Wait for a free thread; return how many messages may be taken."""
        with self._lock:
            left = PUT_ASIDE_LIMIT - len(self._aside)
        if left <= 0:
            time.sleep(seconds)
            return 0
        return min(self.seats.wait(seconds), left)

    def take(self, slip: str) -> bool:
        """Note that it was taken; False if it is in hand already (a producer that sent the same id twice)."""
        with self._lock:
            if slip in self._taken or slip in self._done or any(slip == other for _, other in self._aside):
                return False
            self._taken.add(slip)
        self.seats.move(-1)
        return True

    def finish(self, slip: str) -> None:
        """Note that it is dealt with; it stays known until the queue has been told (`settle`)."""
        with self._lock:
            held = slip in self._taken
            self._taken.discard(slip)
            self._tries.pop(slip, None)
            self._done.add(slip)
        if held:
            self.seats.move(1)

    def put_aside(self, slip: str) -> float:
        """Note that it failed; return the seconds until its next try."""
        with self._lock:
            tries = self._tries.pop(slip, 0)
            self._tries[slip] = tries + 1
            if len(self._tries) > REMEMBERED_TRIES:
                self._tries.popitem(last=False)
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries, 10))
            held = slip in self._taken
            self._taken.discard(slip)
            heapq.heappush(self._aside, (time.monotonic() + pause, slip))
        if held:
            self.seats.move(1)
        return pause

    def due(self) -> list[str]:
        """Give those whose pause is over; they are in this hand no more."""
        slips = []
        with self._lock:
            while self._aside and self._aside[0][0] <= time.monotonic():
                slips.append(heapq.heappop(self._aside)[1])
        return slips

    def unsettled(self) -> list[str]:
        """Give those that are dealt with and of which the queue has not been told."""
        with self._lock:
            return list(self._done)

    def settle(self, slips: list[str]) -> None:
        """Note that the queue has been told."""
        with self._lock:
            self._done.difference_update(slips)

    def known(self) -> set[str]:
        """Give all that this process knows to be in its hand."""
        with self._lock:
            return self._taken | self._done | {slip for _, slip in self._aside}

    def let_go(self, slips: list[str] | None = None) -> list[str]:
        """Drop these, or all that are not dealt with; return what was dropped, to be put back."""
        with self._lock:
            if slips is None:
                dropped = [*self._taken, *(slip for _, slip in self._aside)]
                self._aside.clear()
            else:
                dropped = [slip for slip in slips if slip in self._taken]
            free = len(self._taken.intersection(dropped))
            self._taken.difference_update(dropped)
        if free:
            self.seats.move(free)
        return dropped
