"""Identifiers that sort by the time they were made (UUID version 7, RFC 9562)."""

import os
import re
import threading
import time

_lock = threading.Lock()
_last = 0
# The two top bits of the ninth byte say which kind of UUID this is; the other two stay random.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def is_id(text: str) -> bool:
    """Say whether a text has the form of an id; PostgreSQL refuses to compare an id with anything else."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def new_id() -> str:
    """Return a fresh UUIDv7 as 36 characters; within one process every id is greater than the one before."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """Return `count` fresh UUIDv7, ascending, for a whole batch at once."""
    global _last
    with _lock:
        # 48 bits of milliseconds, then a 12 bit counter: kept as one number so that it only ever grows.
        start = max(_last + 1, (time.time_ns() // 1_000_000) << 12)
        _last = start + count - 1
    noise = os.urandom(8 * count).hex()
    ids: list[str] = []
    for offset in range(count):
        stamp, tail = f"{start + offset:015x}", noise[16 * offset : 16 * offset + 16]
        ids.append(f"{stamp[:8]}-{stamp[8:12]}-7{stamp[12:]}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}")
    return ids
