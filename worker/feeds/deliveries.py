"""Deliveries of webhooks: kept as they came, each once, then cut into the messages that they hold."""

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.bulk import insert_rows
from worker.door_tables import webhook_delivery, webhook_refusal
from worker.feeds import inbox
from worker.feeds.declaration import Feed, Webhook
from worker.feeds.shapes import MISSING, finder
from worker.feeds.signatures import moment
from worker.ids import new_id
from worker.jobs import digest
from worker.redact import storable
from worker.scope import Scope

log = logging.getLogger(__name__)

# Cut up in one transaction: at most fifty megabytes in hand, as the door takes one of each.
TAKEN_AT_ONCE = 50
# Long enough for somebody to correct a declaration after a holiday; it may hold personal data that no deletion finds.
BODIES_KEPT = timedelta(days=7)
# A delivery without a signed time could be sent again by whoever caught it; as long as its key is known, that does nothing.
KEYS_KEPT = timedelta(days=400)
PRUNED_AT_ONCE = 500
# What HiBob sends to try an address out, as a text or as the `text` of an object.
PING = "ping test"
TOO_OLD = "nobody could take it for {days} days: is the feed declared, with a webhook, and does a worker run?"
# Under this name count deliveries for feeds that are not declared; a name that somebody sent is stored nowhere.
NOWHERE = "(none)"


class BadDelivery(Exception):
    """A delivery holds no messages. Says why, without anything that was sent but names of fields."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a delivery. `new`: it is to be taken; `reused`: its id came before, with another body."""

    id: str
    new: bool
    reused: bool = False


def keep(scope: Scope, source: str, sent_id: str | None, body: bytes) -> Kept:
    """Keep a delivery whose sender is known: one insert. One that came before is not kept again, unless it was refused.

    `sent_id`: the sender's id of it; without one it is known by its body.
    """
    told = digest(scope.settings.key, b"delivery", body)
    row = {"id": new_id(), "source": source, "key": _key(scope, sent_id, told), "digest": told, "body": body,
           "received_at": scope.now, "state": "new"}  # fmt: skip
    dialect = postgresql if scope.on_postgresql else sqlite
    statement = dialect.insert(webhook_delivery).values(row).on_conflict_do_nothing().returning(webhook_delivery.c.id)
    if scope.conn.execute(statement).first() is not None:
        return Kept(str(row["id"]), new=True)
    which = (webhook_delivery.c.source == source, webhook_delivery.c.key == row["key"])
    columns = (webhook_delivery.c.id, webhook_delivery.c.digest, webhook_delivery.c.state)
    there = scope.conn.execute(select(*columns).where(*which)).one()
    if there.state != "refused":
        return Kept(there.id, new=False, reused=there.digest != told)
    again = {name: row[name] for name in ("digest", "body", "received_at", "state")} | {"problem": None}
    scope.conn.execute(update(webhook_delivery).where(*which).values(again))
    return Kept(there.id, new=True)


def _key(scope: Scope, sent_id: str | None, told: str) -> str:
    if sent_id is None:
        return f"digest:{told}"
    named = storable(sent_id)
    return named if len(named) <= inbox.KEY_LENGTH else f"digest:{digest(scope.settings.key, b'delivery id', named.encode())}"


def count_unproven(scope: Scope, source: str, number: int, problem: str) -> None:
    """Count deliveries whose sender could not prove who it is; nothing else of them is kept."""
    which = webhook_refusal.c.source == source
    values = {"count": webhook_refusal.c.count + number, "last_at": scope.now, "last_problem": problem}
    if scope.conn.execute(update(webhook_refusal).where(which).values(values)).rowcount == 0:
        row = {"source": source, "count": 0, "last_at": scope.now, "last_problem": problem}
        insert_rows(scope.conn, webhook_refusal, [row], conflict="skip")
        scope.conn.execute(update(webhook_refusal).where(which).values(values))


# -------------------------------------------------------------------------------------------------------- taking


def waiting(conn: Connection, sources: Collection[str]) -> bool:
    """Say whether a delivery of these sources waits to be taken."""
    which = (webhook_delivery.c.state == "new", webhook_delivery.c.source.in_(sorted(sources)))
    return conn.execute(select(webhook_delivery.c.id).where(*which).limit(1)).first() is not None


def take(scope: Scope, feeds: Mapping[str, Feed]) -> int:
    """Store the messages of deliveries that nobody took yet, in the order in which they came; returns how many they were.

    The body goes: each message keeps its part, where the deletion of a person finds it.
    """
    hooks = {name: feed.webhook for name, feed in feeds.items() if feed.webhook is not None}
    # Not skip_locked: the messages of two deliveries must not overtake each other.
    found = scope.conn.execute(
        select(webhook_delivery)
        .where(webhook_delivery.c.state == "new", webhook_delivery.c.source.in_(sorted(hooks)))
        .order_by(webhook_delivery.c.id)
        .limit(TAKEN_AT_ONCE)
        .with_for_update()
    ).all()
    for row in found:
        scope.conn.execute(
            update(webhook_delivery).where(webhook_delivery.c.id == row.id)
            .values(_taken(scope, hooks[row.source], row))
        )  # fmt: skip
    return len(found)


def _taken(scope: Scope, webhook: Webhook, row: Any) -> dict[str, Any]:
    """Store the messages of one delivery; returns what is noted of it."""
    try:
        messages = list(split(webhook, row.key, row.body))
    except BadDelivery as problem:
        log.warning("webhook.refused", extra={"delivery": row.id, "source": row.source, "problem": str(problem)})
        return {"state": "refused", "problem": str(problem)}
    # Which of two messages is newer may hang on when they came, not on when somebody found the time.
    stored = inbox.store(replace(scope, now=row.received_at), row.source, messages)
    reused = sum(one.reused for one in stored)
    told = f"{reused} of its messages have an id that was used before with another content; they were not stored"
    return {"state": "taken", "messages": len(messages), "problem": told if reused else None, "body": None}


def split(webhook: Webhook, key: str, body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the messages of a delivery as (id, text). Raises BadDelivery, also on the way."""
    found = _read(body)
    if isinstance(found, str) and found.strip().casefold() == PING:
        return
    if isinstance(found, Mapping) and list(found) == ["text"] and str(found["text"]).strip().casefold() == PING:
        return
    for number, item in enumerate(_items(webhook, found), start=1):
        message = _message(webhook, found, item, number)
        if message is None:
            continue
        try:
            text = inbox.message_text(message)
        except ValueError as problem:
            raise BadDelivery(f"number {number} cannot be stored: {problem}") from None
        # Two deliveries may say the same on two days, and both count: the name is the delivery's, not the content's.
        yield (inbox.own_id(message) if webhook.person is None else None) or f"{key}/{number}", text


def _read(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadDelivery("it is not UTF-8 text") from None
    try:
        return json.loads(text)
    except RecursionError:
        raise BadDelivery("it is nested too deeply") from None
    except ValueError as error:
        if text.strip().casefold() == PING:
            return PING
        raise BadDelivery(f"it is not JSON, at character {getattr(error, 'pos', 0) + 1}") from None


def _items(webhook: Webhook, found: Any) -> Sequence[Any]:
    if webhook.items is None:
        return found if isinstance(found, list) else [found]
    items = finder(webhook.items)(found)
    if not isinstance(items, list):
        raise BadDelivery(f"there is no list at {webhook.items}, where `items` says that one is")
    return items


def _message(webhook: Webhook, body: Any, item: Any, number: int) -> Mapping[str, Any] | None:
    """Return the message that one item stands for; None for one that is to be passed over."""
    if webhook.person is None:
        if not isinstance(item, Mapping):
            raise BadDelivery(f"number {number} is no JSON object")
        return item
    person = item if webhook.person == "." else finder(webhook.person)(item)
    if not isinstance(person, Mapping):
        raise BadDelivery(f"number {number} has no object at {webhook.person}, where `person` says that one is")
    kind = webhook.types.get(str(_at(webhook.type, item, body)), "person.changed")
    if kind == "ignore":
        return None
    message: dict[str, Any] = {"type": kind, "person": person}
    happened = _at(webhook.occurred_at, item, body)
    if happened not in (MISSING, None, ""):
        known = moment(str(happened)) if isinstance(happened, int) else None
        message["occurred_at"] = known.isoformat() if known else happened
    return message


def _at(path: str | None, item: Any, body: Any) -> Any:
    """Return what stands at a path of the item, else of the whole body; MISSING if nothing does."""
    if path is None:
        return MISSING
    found = finder(path)(item)
    return finder(path)(body) if found is MISSING else found


# -------------------------------------------------------------------------------------------------------- upkeep


def look_again(scope: Scope, sources: Collection[str]) -> int:
    """Let what was refused be taken once more, as after a declaration was corrected; returns how many there are."""
    mine = (webhook_delivery.c.state == "refused", webhook_delivery.c.source.in_(sorted(sources)))
    kept = webhook_delivery.c.body.is_not(None)
    return int(scope.conn.execute(update(webhook_delivery).where(*mine, kept).values(state="new", problem=None)).rowcount)


def forget(scope: Scope) -> None:
    """Empty the bodies that are kept no longer; what nobody took by then is refused."""
    old = (webhook_delivery.c.body.is_not(None), webhook_delivery.c.received_at < scope.now - BODIES_KEPT)
    told = {"state": "refused", "problem": TOO_OLD.format(days=BODIES_KEPT.days)}
    scope.conn.execute(update(webhook_delivery).where(*old, webhook_delivery.c.state == "new").values(told))
    scope.conn.execute(update(webhook_delivery).where(*old).values(body=None))


def prune(scope: Scope) -> int:
    """Delete some deliveries whose keys are needed no longer; returns how many."""
    before = scope.now - KEYS_KEPT
    old = select(webhook_delivery.c.id).where(webhook_delivery.c.received_at < before).limit(PRUNED_AT_ONCE)
    return int(scope.conn.execute(delete(webhook_delivery).where(webhook_delivery.c.id.in_(old))).rowcount)
