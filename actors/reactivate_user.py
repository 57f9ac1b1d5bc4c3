"""Make a deactivated user active again."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, Reject, UserRef, job, users


class ReactivateUser(Payload):
    """Who may come in again. Old sessions, tokens and links stay dead; what was to follow the leaving is called off.

    That is the planned deletion, and the end of groups and permissions where `offboard_user` kept them for a while. A
    leaving that is still to come stays planned.
    """

    user: UserRef = Field(description="The user to make active", examples=["carol"])

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "carol"},)

    def gives_access(self) -> bool:
        return True


@job()
def reactivate_user(ctx: Context, ask: ReactivateUser) -> Mapping[str, Any]:
    users.come_back(ctx, ctx.task.subject, by=f"reactivate_user {ctx.task.id}")
    user = users.get(ctx, ask.user)
    if user.type == users.PROTECTED:
        raise Reject("protected_type", user=user.label)
    if user.locked:
        raise Reject("locked", user=user.label, owner=user.lock_owner)
    changed = users.reopen(ctx, user, active=True)
    changed.tell(ctx)
    return {"changed": changed.differs, "user": user.id}
