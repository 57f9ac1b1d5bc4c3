"""Lift the security lock of a user."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, job, users


class UnlockUser(Payload):
    """Whose lock to lift. Old sessions stay dead, and an account that is not active stays so."""

    user: UserRef = Field(description="The locked user", examples=["ann"])
    reason: users.Why | None = Field(None, description="Kept in the audit trail", examples=["laptop found"])

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann", "reason": "laptop found"},)

    def gives_access(self) -> bool:
        return True


@job()
def unlock_user(ctx: Context, ask: UnlockUser) -> Mapping[str, Any]:
    user = users.get(ctx, ask.user)
    if not user.locked:
        return {"changed": False, "user": user.id, "is_active": user.is_active}
    users.save(ctx, [(user, user._replace(locked_at=None, lock_owner=None, lock_reason=None))])
    ctx.event(users.Action.USER_UNLOCKED, user.id, user.label, owner=user.lock_owner, reason=ask.reason)
    return {"changed": True, "user": user.id, "is_active": user.is_active}
