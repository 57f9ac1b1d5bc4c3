"""The connection to Redis: never re-sends silently, fails quickly, and says once that the server is away."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from dramatiq.errors import ConnectionClosed
from redis.backoff import NoBackoff
from redis.retry import Retry

T = TypeVar("T")

log = logging.getLogger(__name__)

TROUBLE = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, OSError)
"""What means "the server cannot do it now". Our commands are fixed, so an error reply is always about the server's state:
READONLY after a failover, LOADING, MASTERDOWN, OOM, NOAUTH, a key that someone else made."""

SHORTEST_PAUSE_SECONDS = 0.25
"""The first pause after a failure: a restarted Redis is back in less than a second."""


class Unreachable(ConnectionClosed):
    """Redis cannot be reached."""

    def __init__(self, error: Exception) -> None:
        text = f"Redis cannot be reached: {type(error).__name__}: {error}"
        super().__init__(text)  # type: ignore[no-untyped-call]  # dramatiq's errors have no types


class Outage:
    """Remembers that the server is away, so that not everybody has to find out, and that it was logged."""

    def __init__(self, away: str, back: str, longest_pause: float) -> None:
        self.away, self.back = away, back
        self.longest_pause = longest_pause
        self._lock = threading.Lock()
        self._pause = 0.0
        self._again_at = 0.0

    @property
    def pause(self) -> float:
        """Seconds until the next try makes sense; 0 when all is well."""
        return max(0.0, self._again_at - time.monotonic()) if self._pause else 0.0

    def claim_try(self) -> bool:
        """Tell whether to try now. During an outage one caller tries when the pause is over, the others do not."""
        if not self._pause:
            return True
        with self._lock:
            if time.monotonic() < self._again_at:
                return False
            self._again_at = time.monotonic() + self._pause
            return True

    def failed(self, error: Exception) -> None:
        """Note a failure; the first of an outage is logged."""
        with self._lock:
            first = not self._pause
            self._pause = min(self.longest_pause, self._pause * 2) or SHORTEST_PAUSE_SECONDS
            self._again_at = time.monotonic() + self._pause
        if first:
            log.warning(self.away, extra={"error": type(error).__name__, "detail": str(error)})

    def worked(self) -> None:
        """Note a success; the first after an outage is logged."""
        if not self._pause:
            return
        with self._lock:
            ended, self._pause = bool(self._pause), 0.0
        if ended:
            log.info(self.back)


class Link:
    """One use of one Redis: a client with timeouts of its own and the memory of its outage.

    `away` and `back` name the log events of an outage, `timeout` and `longest_pause` are in seconds.
    """

    def __init__(self, url: str, *, away: str, back: str, timeout: float, longest_pause: float) -> None:
        # An explicit empty retry: redis-py would re-send commands that the server has carried out already.
        self.client = redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=0,
        )
        self.outage = Outage(away, back, longest_pause)

    def attempt(self, command: Callable[[], T]) -> T:
        """Carry out one command, outage or not. Raises Unreachable."""
        try:
            reply = command()
        except TROUBLE as error:
            self.outage.failed(error)
            # After a failover the old connections still lead to the server that lost its role.
            self.client.connection_pool.disconnect(inuse_connections=False)
            raise Unreachable(error) from None
        self.outage.worked()
        return reply

    def script(self, text: str) -> Callable[..., Any]:
        """Prepare a Lua script. Its replies have the shape that the script gives them, which no type checker can know."""
        prepared = self.client.register_script(text)

        def run(*arguments: str | bytes | float) -> Any:
            return self.attempt(lambda: prepared(keys=[], args=arguments))

        return run

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
