"""The queue: wakes workers when there is something to do, and takes in jobs that other programs put on Redis.

The ledger is the truth. What travels here is either a *bell* ("there is work of this kind", no content) or *ingress*: a job
from a foreign dramatiq producer, which is written to the ledger before it is acknowledged. Losing a bell costs a second.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.queue.doorway import NAMESPACE, URGENT, Bell, Doorway, NoBell

if TYPE_CHECKING:
    from worker.queue.broker import DoorBroker

__all__ = ["NAMESPACE", "URGENT", "Bell", "Doorway", "NoBell", "open_bell", "open_broker"]

LOCAL_URLS = ("", "local:")
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def open_broker(
    url: str | None,
    *,
    kinds: Mapping[str, str],
    doorway: Doorway | None,
    namespace: str = NAMESPACE,
) -> "DoorBroker":
    """Make the dramatiq broker that the URL asks for, with one actor a kind.

    `kinds`: each kind and its home queue. `doorway`: what to do with arrivals; None for a process that only rings.
    `url`: None, "" or "local:" for threads of this process; redis://, rediss:// or unix:// for Redis 6.2 or later.
    Nothing is connected yet. Raises ValueError for another scheme.
    """
    broker: DoorBroker
    if _is_local(url):
        from worker.queue.local import LocalBroker

        broker = LocalBroker()
    else:
        from worker.queue.redis import BlockingRedisBroker

        broker = BlockingRedisBroker(str(url), namespace=namespace)
    broker.install(kinds, doorway)
    return broker


def open_bell(url: str | None, *, namespace: str = NAMESPACE) -> Bell:
    """Make a bell for a process that has no workers (command line, API): it never loads dramatiq.

    With a local URL the workers are in another process that nothing can ring: its keeper looks by itself.
    """
    if _is_local(url):
        return NoBell()
    from worker.queue.bell import RedisBell

    return RedisBell(str(url), namespace=namespace)


def _is_local(url: str | None) -> bool:
    if url is None or url in LOCAL_URLS:
        return True
    if url.startswith(REDIS_SCHEMES):
        return False
    scheme = url.partition(":")[0]
    raise ValueError(f"no queue speaks {scheme!r}; use local:, {', '.join(REDIS_SCHEMES)}")
