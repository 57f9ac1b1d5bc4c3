"""Keeps secrets and personal values out of error texts and logs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MASK = "[…]"
# A token of ours is 43 characters of base64url; nothing a person writes in an error text looks like that.
_TOKEN = re.compile(r"[A-Za-z0-9_\-]{40,}")
_URL = re.compile(r"\b([a-z][a-z0-9+.\-]*://)[^\s\"'>]+", re.IGNORECASE)
_HASH = re.compile(r"\$argon2\w*\$\S+")
# Values shorter than this are words of the language as often as they are data.
SHORTEST_VALUE = 3
SECRET_FIELDS = re.compile(r"passw|secret|token|hash|credential|authorization", re.IGNORECASE)


def redact(text: str, values: Iterable[str] = ()) -> str:
    """Return `text` with tokens, links, password hashes and the given values masked."""
    for value in sorted({v for v in values if len(v) >= SHORTEST_VALUE}, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _TOKEN.sub(MASK, _URL.sub(rf"\g<1>{MASK}", _HASH.sub(MASK, text)))


def leaves(value: Any) -> Iterable[str]:
    """Yield every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        for part in value:
            yield from leaves(part)


def without_secrets(value: Any) -> Any:
    """Return a JSON value with whatever stands under a secret-like name, or looks like a token, masked."""
    if isinstance(value, Mapping):
        return {
            str(name): MASK if SECRET_FIELDS.search(str(name)) else without_secrets(part) for name, part in value.items()
        }
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [without_secrets(part) for part in value]
    return value if isinstance(value, (int, float, bool, type(None))) else str(type(value).__name__)
