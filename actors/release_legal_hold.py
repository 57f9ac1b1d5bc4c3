"""Release a user from legal hold."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, job, users


class ReleaseLegalHold(Payload):
    """Who may be deleted again. A deletion that the hold cancelled has to be asked for anew."""

    user: UserRef = Field(description="The user under legal hold", examples=["ann"])
    reason: users.Why | None = Field(None, description="Kept in the audit trail", examples=["case closed"])

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann", "reason": "case closed"},)


@job()
def release_legal_hold(ctx: Context, ask: ReleaseLegalHold) -> Mapping[str, Any]:
    user = users.get(ctx, ask.user)
    if not user.held:
        return {"changed": False, "user": user.id}
    users.save(ctx, [(user, user._replace(held_at=None, hold_owner=None, hold_reason=None))])
    ctx.event(users.Action.USER_RELEASED, user.id, user.label, owner=user.hold_owner, reason=ask.reason)
    return {"changed": True, "user": user.id}
