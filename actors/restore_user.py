"""Take back a planned deletion of a user."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, Reject, UserRef, job, users


class RestoreUser(Payload):
    """Whom to keep after all. What was revoked stays revoked; groups come back only by a job of their own.

    Groups and permissions that `offboard_user` kept for a while are not taken away any more.
    """

    user: UserRef = Field(description="The user whose deletion is planned", examples=["ann"])
    reactivate: bool = Field(True, description="Whether the account can be used again")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann"}, {"user": "ann", "reactivate": False})

    def gives_access(self) -> bool:
        return self.reactivate


@job()
def restore_user(ctx: Context, ask: RestoreUser) -> Mapping[str, Any]:
    users.come_back(ctx, ctx.task.subject, by=f"restore_user {ctx.task.id}")
    user = users.get(ctx, ask.user)
    if user.delete_at is None:
        raise Reject("not_scheduled", user=user.label)
    if ask.reactivate and user.locked and not user.is_active:
        raise Reject("locked", user=user.label, owner=user.lock_owner)
    changed = users.reopen(ctx, user, active=ask.reactivate)
    changed.tell(ctx)
    return {"changed": True, "user": user.id, "is_active": changed.user.is_active}
