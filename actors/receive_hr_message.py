"""Store a message of an HR system; it is planned with its source's next run."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from worker import Context, Item, Payload, bulk_job, feed_inbox


class ReceiveHrMessage(Payload):
    """What an HR system says. The ledger keeps a digest of it; the message itself rests where deletions find it."""

    source: str = Field(
        min_length=1, max_length=64, pattern=r"^\S+$", description="The feed that it belongs to", examples=["hr"]
    )
    message: feed_inbox.MessageText = Field(description="The message: a JSON object, or the text of one")
    message_id: str | None = Field(
        None, min_length=1, max_length=255, examples=["evt-1"],
        description="What tells a redelivery; else the message's own `id`, else all that it says",
    )  # fmt: skip
    digest: str = Field("", description="Set by Muster, whatever is given: tells messages apart without keeping them")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"source": "hr", "message": {"id": "evt-1", "worker": {"id": "00017", "first": "Dora", "status": "Active"}}},
        {"source": "hr", "message": {"worker": {"id": "00017", "status": "Leave"}}, "message_id": "2026-03-02/7"},
    )

    @model_validator(mode="before")
    @classmethod
    def _digest(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "message" not in value:
            return value
        text = feed_inbox.message_text(value["message"])
        identified = value.get("message_id") is not None or feed_inbox.own_id(text) is not None
        said = feed_inbox.content(text, identified=identified)
        return {**value, "digest": hashlib.sha256(said).hexdigest()[:32]}

    @property
    def key(self) -> str | None:
        """What tells this message from others of its source; None: its content does."""
        return self.message_id or feed_inbox.own_id(self.message.get_secret_value())


@bulk_job()
def receive_hr_message(ctx: Context, items: Sequence[Item[ReceiveHrMessage]]) -> None:
    """Store each message once; what it means is found out when its source is planned."""
    of_source: dict[str, list[Item[ReceiveHrMessage]]] = {}
    for item in items:
        if item.ask.source in ctx.settings.feeds:
            of_source.setdefault(item.ask.source, []).append(item)
        else:
            item.reject("unknown_source", source=item.ask.source)
    for source, those in sorted(of_source.items()):
        messages = [(item.ask.key, item.ask.message.get_secret_value()) for item in those]
        for item, found in zip(those, feed_inbox.store(ctx, source, messages), strict=True):
            if found.reused:
                item.reject("key_reused", key=found.key, source=source)
            else:
                item.done(changed=found.new, message=found.id, duplicate=not found.new)
