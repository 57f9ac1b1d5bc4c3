"""From stored messages to statements: each is read under its feed's declaration, as new as it says or as it came."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from worker.feeds.claims import Refusal, Statement
from worker.feeds.declaration import Feed
from worker.feeds.inbox import Message
from worker.feeds.mapping import Mapper
from worker.feeds.shapes import BadRecord, read_message


def statements(feed: Feed, messages: Sequence[Message]) -> Iterator[tuple[Message, Statement | Refusal]]:
    """Yield each message with what it says, or why it says nothing; `place` is its number among the given ones."""
    mapper = Mapper(feed, None, arrived=datetime.now(UTC))
    last: datetime | None = None
    for place, message in enumerate(messages, start=1):
        # Those that came in one transaction came at one instant; their order counts all the same.
        arrived = message.received_at if last is None else max(message.received_at, last + timedelta(microseconds=1))
        last = arrived
        try:
            person = read_message(message.raw).person
        except BadRecord as problem:
            yield message, Refusal("", place, problem.code, problem.text, mapper.kept({}, message.raw))
        else:
            yield message, mapper.read(person, message.raw, place, arrived)
