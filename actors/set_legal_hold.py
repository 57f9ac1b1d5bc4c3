"""Put a user under legal hold: nobody may delete the account."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, job, users


class SetLegalHold(Payload):
    """Whom to keep, for whom and why. A planned deletion is taken back; whether the account is active stays as it is."""

    user: UserRef = Field(description="The user who may not be deleted", examples=["ann"])
    owner: users.Owner = Field(description="Who asks for the hold", examples=["legal department"])
    reason: users.Why = Field(description="Why, such as the file number of the case", examples=["case 12/2026"])

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "owner": "legal department", "reason": "case 12/2026"},
    )


@job()
def set_legal_hold(ctx: Context, ask: SetLegalHold) -> Mapping[str, Any]:
    users.cancel_deletion(ctx, ctx.task.subject, by=f"set_legal_hold {ctx.task.id}")
    user = users.get(ctx, ask.user)
    wanted = user._replace(
        held_at=user.held_at or ctx.now, hold_owner=ask.owner, hold_reason=ask.reason, delete_at=None
    )
    [held] = users.save(ctx, [(user, wanted)])
    if user.delete_at is not None:
        ctx.event(users.Action.USER_DELETION_CANCELLED, user.id, user.label)
    changed = held.version != user.version
    if changed:
        ctx.event(users.Action.USER_HELD, user.id, user.label, owner=ask.owner, reason=ask.reason)
    return {"changed": changed, "user": user.id, "deletion_cancelled": user.delete_at is not None}
