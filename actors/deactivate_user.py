"""Deactivate a user and end all access at once."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Item, Payload, UserRef, bulk_job, users


class DeactivateUser(Payload):
    """Whom to deactivate. It runs before anything that waits for this person, and cancels what would give access."""

    user: UserRef = Field(description="The user to deactivate", examples=["ann"])
    reason: users.Why | None = Field(None, description="Kept in the audit trail", examples=["left on 31 March"])

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann"}, {"user": {"external_id": "E-1001"}, "reason": "left"})

    def overtakes(self) -> bool:
        return True


@bulk_job()
def deactivate_user(ctx: Context, items: Sequence[Item[DeactivateUser]]) -> None:
    pairs = users.of_items(ctx, items)
    refused = users.refusals(ctx, [user for _, user in pairs])
    for item, user in pairs:
        if user.id in refused:
            item.reject(refused[user.id].code, **refused[user.id].facts)
    leaving = [(item, user) for item, user in pairs if user.id not in refused]
    for (item, _), closed in zip(leaving, users.close(ctx, [user for _, user in leaving]), strict=True):
        closed.tell(item, **({"reason": item.ask.reason} if item.ask.reason else {}))
        item.done(changed=closed.flipped, user=closed.user.id, revoked=dict(closed.revoked))
