"""How much one caller may ask for: buckets that fill by the second, in this process's memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

# A directory of 100,000 people is not read faster by one client; batches carry the bulk.
REQUESTS_A_SECOND, REQUESTS_AT_ONCE = 500.0, 2_000
# A token has 256 bits, so guessing is hopeless anyway; this keeps it from being noise and load.
FAILURES_A_SECOND, FAILURES_AT_ONCE = 0.2, 20
# Whoever comes from more addresses than this at once is told apart no more; memory stays bounded.
REMEMBERED = 10_000


class Buckets:
    """A bucket a name: `at_once` requests, then so many a second."""

    def __init__(self, a_second: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds that only go forward."""
        self.a_second, self.at_once, self.clock = a_second, at_once, clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float | None:
        """Count one; returns None while there is room, else the seconds until there is."""
        with self._lock:
            level = self._level(name)
            if level < 1:
                return (1 - level) / self.a_second
            self._put(name, level - 1)
            return None

    def over(self, name: str) -> float | None:
        """Like `take`, without counting."""
        with self._lock:
            level = self._level(name)
            return None if level >= 1 else (1 - level) / self.a_second

    def clear(self) -> None:
        """Forget everybody."""
        with self._lock:
            self._levels.clear()

    def _level(self, name: str) -> float:
        level, at = self._levels.get(name, (self.at_once, self.clock()))
        return min(self.at_once, level + (self.clock() - at) * self.a_second)

    def _put(self, name: str, level: float) -> None:
        self._levels[name] = (level, self.clock())
        self._levels.move_to_end(name)
        while len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)


class Limits:
    """The buckets of one server."""

    def __init__(self) -> None:
        """Start with full buckets."""
        self.requests = Buckets(REQUESTS_A_SECOND, REQUESTS_AT_ONCE)
        self.failures = Buckets(FAILURES_A_SECOND, FAILURES_AT_ONCE)
