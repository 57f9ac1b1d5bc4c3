"""Messages of HR systems: kept as they came, each once, until the next run of their source takes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, SecretStr
from sqlalchemy import Connection, select

from worker.bulk import insert_rows, select_by, update_rows
from worker.feed_tables import feed_message
from worker.feeds.mapping import without_secrets
from worker.ids import new_ids
from worker.intake import Acceptance, record_refusal
from worker.jobs import canonical, digest
from worker.outcomes import reason_text
from worker.redact import storable, unstorable
from worker.scope import Scope

# As much as any other job may carry; a message about one person has a few kilobytes.
MESSAGE_BYTES = 1024 * 1024
# As wide as its column; a longer id of a message is kept as a digest.
KEY_LENGTH = 255
# Names, without case, dashes and underscores, that say when or how often a message was sent, not what it says: a sender
# that tries again under the same id changes these alone.
DELIVERY = frozenset({
    "timestamp", "webhooktimestamp", "deliverytime", "deliverytimestamp", "deliveredat", "sentat", "attempt",
    "deliveryattempt", "retry", "retrycount",
})  # fmt: skip

State = Literal["new", "taken", "refused"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a message. `id` and `key` of the stored one, `new` when that is this very one.

    `reused`: the same id came before with another content. The first stays, this one was not stored.
    """

    id: str
    key: str
    new: bool
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message as it came."""

    id: str
    key: str
    raw: str
    received_at: datetime


def message_text(value: Any) -> str:
    """Return the one JSON text of a message, given as an object or as its text. Raises ValueError saying what is wrong."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, str):
        value = _read(value)
    if not isinstance(value, Mapping):
        raise ValueError("it is neither a JSON object nor the text of one")  # noqa: TRY004 (a TypeError would not be said of the field)
    if problem := unstorable(value):
        raise ValueError(problem)
    text = canonical(value)
    if len(text) > MESSAGE_BYTES:
        raise ValueError(f"it has {len(text)} bytes; at most {MESSAGE_BYTES} are taken")
    return text.decode()


#: A message in the payload of a job: sealed, as it holds personal data that a deletion could not find in the ledger.
MessageText = Annotated[SecretStr, BeforeValidator(message_text)]


def own_id(message: str | Mapping[str, Any]) -> str | None:
    """Return the id that a message, or its text, gives itself: its field `id`, when that is text."""
    found = _read(message) if isinstance(message, str) else message
    given = found.get("id") if isinstance(found, Mapping) else None
    return given if isinstance(given, str) and given.strip() else None


def content(text: str, *, identified: bool) -> bytes:
    """Return what a message says, in one form however it is laid out; text that is not JSON as it is.

    `identified`: it has an id, so what tells only of its delivery does not count.
    """
    found = _read(text)
    if found is None:
        return text.encode("utf-8", "surrogatepass")
    if identified and isinstance(found, dict):
        found = {name: value for name, value in found.items() if _plain(name) not in DELIVERY}
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


# -------------------------------------------------------------------------------------------------- the table


def store(scope: Scope, source: str, messages: Sequence[tuple[str | None, str]]) -> list[Stored]:
    """Keep messages, given as (id or None, text), each once per source; the answers stand in their order.

    A message without an id is known by its content. One whose id was used for another content is not stored; that it
    came is kept among the refusals, without what it said.
    """
    messages = [(key, _safe(raw)) for key, raw in messages]
    keys = [_key(scope, key, raw) for key, raw in messages]
    firsts: dict[str, int] = {}
    for place, key in enumerate(keys):
        firsts.setdefault(key, place)
    ids = dict(zip(firsts, new_ids(len(firsts)), strict=True))
    rows: list[dict[str, Any]] = [
        {"id": ids[key], "source": source, "key": key, "external_id": None, "raw": storable(messages[place][1]),
         "received_at": scope.now, "state": "new", "run": None}
        for key, place in sorted(firsts.items())
    ]  # fmt: skip
    made = insert_rows(scope.conn, feed_message, rows, conflict="skip", returning=[feed_message.c.key])
    inserted = {row.key for row in made}
    known: dict[str, tuple[str, str | None]] = {row["key"]: (row["id"], row["raw"]) for row in rows}
    for row in select_by(
        scope.conn, feed_message.c.key, ids.keys() - inserted, feed_message.c.id, feed_message.c.key, feed_message.c.raw,
        where=[feed_message.c.source == source],
    ):  # fmt: skip
        known[row.key] = (row.id, row.raw)
    answers = []
    for place, (key, (given, raw)) in enumerate(zip(keys, messages, strict=True)):
        found, there = known[key]
        new = key in inserted and firsts[key] == place
        # Of a message whose person was deleted only the id is left: whatever comes under it again is the same.
        reused = not new and given is not None and there is not None and not _same(there, storable(raw))
        answers.append(Stored(found, key, new, reused))
        if reused:
            _record(scope, source, answers[-1], raw)
    return answers


def _safe(raw: str) -> str:
    """Return a message with whatever stands under a name that looks secret emptied; else as it came."""
    found = _read(raw)
    safe = without_secrets(found)
    return raw if safe == found else json.dumps(safe, ensure_ascii=False)


def _key(scope: Scope, key: str | None, raw: str) -> str:
    """Return the name of a message within its source; keyed digests tell nobody what was digested."""
    if key is None:
        return f"digest:{digest(scope.settings.key, b'message', content(raw, identified=False))}"
    key = storable(key)
    return key if len(key) <= KEY_LENGTH else f"digest:{digest(scope.settings.key, b'message id', key.encode())}"


def _same(one: str, other: str) -> bool:
    return one == other or content(one, identified=True) == content(other, identified=True)


def _record(scope: Scope, source: str, answer: Stored, raw: str) -> None:
    text = reason_text("key_reused", {"key": answer.key, "source": source})
    refused = Acceptance(None, "receive_hr_message", source, answer.key, "refused", None, "key_reused", text)
    said = content(raw, identified=True)
    evidence = {"stored": answer.id, "size": len(said), "digest": digest(scope.settings.key, b"message", said)}
    record_refusal(scope, refused, evidence)


def new_messages(
    conn: Connection, source: str, limit: int, after: str | None = None, *, of: str | None = None, every: bool = True
) -> list[Message]:
    """Return up to `limit` messages that no applied plan took, in the order of arrival, after the one with the id `after`.

    `every`: also those of plans that are held; else those of the run `of`, and without it those that no plan knows.
    """
    statement = (
        select(feed_message.c.id, feed_message.c.key, feed_message.c.raw, feed_message.c.received_at)
        .where(feed_message.c.source == source, feed_message.c.state == "new")
        .order_by(feed_message.c.id)
        .limit(limit)
    )
    if not every:
        statement = statement.where(feed_message.c.run.is_(None) if of is None else feed_message.c.run == of)
    if after is not None:
        statement = statement.where(feed_message.c.id > after)
    return [Message(row.id, row.key, row.raw or "", row.received_at) for row in conn.execute(statement)]


def unplanned(conn: Connection, source: str) -> bool:
    """Say whether there is a message that no plan knows, not even one that is held."""
    statement = select(feed_message.c.id).where(
        feed_message.c.source == source, feed_message.c.state == "new", feed_message.c.run.is_(None)
    )
    return conn.execute(statement.limit(1)).first() is not None


def mark(scope: Scope, ids: Sequence[str], state: State, run: str, whose: Mapping[str, str] | None = None) -> int:
    """Say what a run made of messages; returns how many there were.

    `whose`: id of a message -> external id of the person it is about, so that a deletion of that person finds it.
    """
    rows = [{"id": one} if whose is None else {"id": one, "external_id": whose.get(one)} for one in sorted(set(ids))]
    # What a plan has taken stays taken.
    return update_rows(scope.conn, feed_message, rows, same={"state": state, "run": run}, where=[feed_message.c.state == "new"])
