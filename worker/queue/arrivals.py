"""Read what arrives on the queue: a bell, a foreign job, or something that cannot be read, with the reason in words."""

import json
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

BODY_LIMIT_BYTES = 1024 * 1024
"""The largest body that is read: far above any job (a few kilobytes), far below what would choke a worker."""

UNREAD_BYTES = 1024
"""How much of a larger body is kept for the record: enough to recognise the sender."""

ID_LIMIT_CHARACTERS = 200
"""Ids become keys in the ledger; dramatiq's own have 36 characters."""

FIELDS = frozenset({"queue_name", "actor_name", "args", "kwargs", "options", "message_id", "message_timestamp"})
"""The fields of a dramatiq 2 message; another one means something that this version would silently ignore."""

BELL_OPTION = "bell"
"""Marks our own bells, so that one for a kind that only newer workers know is not taken for a producer's mistake."""


class Unreadable(Exception):
    """The message cannot be read."""


@dataclass(eq=False, slots=True)
class Arrival:
    """One message in this process's hand. Its content stays out of `repr`, and so out of every log."""

    queue: str
    slip: str
    """The id under which the broker holds it."""
    kind: str
    message_id: str
    kwargs: Mapping[str, object] = field(default_factory=dict, repr=False)
    raw: bytes = field(default=b"", repr=False)
    """The body, kept only if it cannot be read."""
    refused: str | None = None
    """Why it cannot be read."""
    done: bool = False
    """Set when it was dealt with; whatever else happens to it, it comes back."""


def bell_body(kind: str, queue: str, slip: str) -> bytes:
    """Write a bell as a dramatiq 2 message without arguments."""
    message = {
        "queue_name": queue,
        "actor_name": kind,
        "args": [],
        "kwargs": {},
        "options": {"redis_message_id": slip, BELL_OPTION: True},
        "message_id": str(uuid.uuid4()),
        "message_timestamp": int(time.time() * 1000),
    }
    return json.dumps(message, separators=(",", ":")).encode()


def read(queue: str, slip: str, raw: bytes, *, size: int, kinds: Collection[str]) -> Arrival:
    """Read one message. Never raises: what cannot be read becomes an arrival with the reason.

    `size` is the length of the whole body in bytes; `raw` may be its beginning if it is over the limit.
    """
    message_id = slip[:ID_LIMIT_CHARACTERS] if _storable(slip) else repr(slip)[1:-1][:ID_LIMIT_CHARACTERS]
    try:
        if size > BODY_LIMIT_BYTES:
            raise Unreadable(f"the message has {size} bytes; at most {BODY_LIMIT_BYTES} are read")
        fields = _fields(raw)
        message_id = _message_id(fields, message_id)
        return _arrival(queue, slip, message_id, fields, kinds)
    except Unreadable as reason:
        return Arrival(queue, slip, "", message_id, raw=raw[:BODY_LIMIT_BYTES], refused=str(reason))


def _fields(raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise Unreadable(f"the message is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise Unreadable("the message is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, and numbers with thousands of digits
        place = f" (character {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"the message is not JSON{place}") from None
    if not isinstance(fields, dict):
        raise Unreadable("the message is not a JSON object")
    return fields


def _no_constant(name: str) -> None:
    raise Unreadable(f"{name} is not JSON")


def _message_id(fields: dict[str, Any], otherwise: str) -> str:
    given = fields.get("message_id")
    return given if isinstance(given, str) and 0 < len(given) <= ID_LIMIT_CHARACTERS and _storable(given) else otherwise


def _arrival(queue: str, slip: str, message_id: str, fields: dict[str, Any], kinds: Collection[str]) -> Arrival:
    if unknown := sorted(set(fields) - FIELDS):
        raise Unreadable(f"the message has the unknown field {unknown[0][:50]!r}; dramatiq 2 messages are read")
    kind, args, kwargs, options = (fields.get(name) for name in ("actor_name", "args", "kwargs", "options"))
    if not isinstance(kind, str):
        raise Unreadable("the message names no actor")
    if not isinstance(kwargs, dict | None):
        raise Unreadable("kwargs is not an object")
    if not isinstance(options, dict | None):
        raise Unreadable("options is not an object")
    if args not in (None, []):
        raise Unreadable("the message has positional arguments; send kwargs with payload, key, source")
    if not _storable(fields):
        raise Unreadable("the message holds a NUL character or half a surrogate pair, which no database stores")
    if kind not in kinds:
        if options and options.get(BELL_OPTION) is True and not kwargs:
            return Arrival(queue, slip, "", message_id, done=True)
        raise Unreadable(f"there is no job called {kind[:100]!r}")
    return Arrival(queue, slip, kind, message_id, kwargs=_with_run_at(kwargs or {}, options or {}))


def _with_run_at(kwargs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Turn dramatiq's delay (`eta`, milliseconds since 1970) into the job's own `run_at`."""
    eta = options.get("eta")
    if not kwargs or "run_at" in kwargs or not isinstance(eta, int | float):
        return kwargs
    try:
        run_at = datetime.fromtimestamp(eta / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable("the delay (options.eta) is not a time in milliseconds") from None
    return {**kwargs, "run_at": run_at.isoformat()}


def _storable(value: object) -> bool:
    """Tell whether every string in it can be stored as text: PostgreSQL takes no NUL, UTF-8 no lone surrogate."""
    rest = [value]
    while rest:
        match rest.pop():
            case str() as text:
                if "\0" in text:
                    return False
                try:
                    text.encode()
                except UnicodeEncodeError:
                    return False
            case dict() as mapping:
                rest += mapping.keys()
                rest += mapping.values()
            case list() as items:
                rest += items
    return True
