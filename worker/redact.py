"""Keeps secrets and personal values out of error texts and logs, and what no database stores out of the ledger."""

import json
import math
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
# What is nested deeper than this is no message of ours.
DEEPEST = 32
SECRET_FIELDS = re.compile(r"passw|secret|token|hash|credential|authorization", re.IGNORECASE)


def redact(text: str, values: Iterable[str] = ()) -> str:
    """Return `text`, fit to be stored, with tokens, links, password hashes and the given values masked."""
    text = storable(text)
    for value in sorted({v for v in values if len(v) >= SHORTEST_VALUE}, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _TOKEN.sub(MASK, _URL.sub(rf"\g<1>{MASK}", _HASH.sub(MASK, text)))


def leaves(value: Any) -> Iterable[str]:
    """Yield every text inside a JSON value, however deep."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            rest.extend(part.values())
        elif isinstance(part, Sequence) and not isinstance(part, (bytes, bytearray)):
            rest.extend(part)


def without_secrets(value: Any, depth: int = DEEPEST) -> Any:
    """Return a JSON value, fit to be stored, with whatever stands under a secret-like name, or looks so, masked."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, (Mapping, Sequence)) and depth == 0:
        return MASK
    if isinstance(value, Mapping):
        return {
            storable(str(name)): MASK if SECRET_FIELDS.search(str(name)) else without_secrets(part, depth - 1)
            for name, part in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [without_secrets(part, depth - 1) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (int, float, bool, type(None))) else str(type(value).__name__)


def storable(text: str) -> str:
    """Return `text` with NUL characters and lone surrogates, which no database stores, replaced by U+FFFD."""
    if "\0" not in text and text.isascii():
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def unstorable(value: Any) -> str | None:
    """Say why a JSON value cannot be stored, or None: a NUL character, half a surrogate pair, a number without end."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
        text.encode()
    except UnicodeEncodeError:
        return "it holds half a surrogate pair"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError:
        return "it holds a number that is not finite"
    if text.count("{") + text.count("[") > DEEPEST and _depth(value) > DEEPEST:
        return "it is nested too deeply"
    # In JSON text NUL is always written so; but so is a backslash before u0000, hence the second look.
    if "\\u0000" in text and "\0" in "".join(_texts(value)):
        return "it holds a NUL character"
    return None


def _texts(value: Any) -> Iterable[str]:
    """Yield every text inside a JSON value, the names of fields too."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            rest.extend(part)
            rest.extend(part.values())
        elif isinstance(part, (list, tuple)):
            rest.extend(part)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= DEEPEST:
        parts = [part.values() if isinstance(part, Mapping) else part for part in level if isinstance(part, (Mapping, list, tuple))]
        level = [inner for part in parts for inner in part]
        depth += 1
    return depth
