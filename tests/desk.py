"""A doorway that remembers what arrived, so that tests of the queue can wait for it and look at it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

WAIT_SECONDS = 30.0
"""A guard against waiting for ever; what is waited for takes milliseconds to a few seconds."""


class DatabaseAway(Exception):
    """The ledger cannot be written."""


@dataclass(eq=False)
class Desk:
    """Records bells, ingress and refusals; can be told to fail, and to hold a message until released."""

    bells: list[tuple[str, str]] = field(default_factory=list)
    ingressed: list[tuple[str, str, Mapping[str, Any], str]] = field(default_factory=list)
    refused: list[tuple[str, bytes, str, str]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    """Names (`payload.name`, or "unreadable") whose recording fails."""
    failures: int = 0
    held: set[str] = field(default_factory=set)
    """Names or kinds that wait for `release`."""
    holding: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    on_bell: Callable[[str, str], None] = lambda kind, queue: None
    changed: threading.Condition = field(default_factory=threading.Condition)  # re-entrant: a condition of `wait` may ask names()

    def bell(self, kind: str, queue: str) -> None:
        self._hold(kind)
        self.on_bell(kind, queue)
        with self.changed:
            self.bells.append((kind, queue))
            self.changed.notify_all()

    def ingress(self, kind: str, queue: str, kwargs: Mapping[str, object], message_id: str) -> None:
        payload = kwargs["payload"]
        assert isinstance(payload, dict)
        self._hold(payload["name"])
        self._fail(payload["name"])
        with self.changed:
            self.ingressed.append((kind, queue, kwargs, message_id))
            self.changed.notify_all()

    def unreadable(self, queue: str, raw: bytes, reason: str, message_id: str) -> None:
        self._fail("unreadable")
        with self.changed:
            self.refused.append((queue, raw, reason, message_id))
            self.changed.notify_all()

    def names(self) -> list[str]:
        """Give the names of the ingress in the order of arrival."""
        with self.changed:
            return [kwargs["payload"]["name"] for _, _, kwargs, _ in self.ingressed]

    def wait(self, condition: Callable[["Desk"], object]) -> None:
        """Wait until the condition holds; AssertionError with what is there if it never does."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), WAIT_SECONDS), self

    def _fail(self, name: str) -> None:
        with self.changed:
            if name not in self.failing:
                return
            self.failures += 1
            self.changed.notify_all()
        raise DatabaseAway(name)

    def _hold(self, name: str) -> None:
        if name not in self.held:
            return
        with self.changed:
            self.holding += 1
            self.changed.notify_all()
        self.release.wait(WAIT_SECONDS)


def put_raw(client: redis.Redis, queue: str, slip: str | bytes, body: str | bytes) -> None:
    """Put a message as a producer in another language would: the body first, then its id."""
    client.hset(f"dramatiq:{queue}.msgs", mapping={slip: body})
    client.rpush(f"dramatiq:{queue}", slip)
