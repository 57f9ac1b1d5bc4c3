"""Take a permission back from a user or a group."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from worker import Context, Payload, UserRef, groups, job, permissions, users


class RevokePermission(Payload):
    name: str = Field(
        min_length=1, max_length=255, pattern=r"^\S+$", description="Which one", examples=["tickets.close"]
    )
    object: str = Field("", max_length=255, description="On which object; empty means everywhere", examples=["queue/7"])
    user: UserRef | None = Field(None, description="From this user", examples=["ann"])
    group: str | None = Field(
        None, min_length=1, max_length=255, description="Or from this group", examples=["staff"]
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"name": "tickets.close", "user": "ann"},
        {"name": "tickets.close", "object": "queue/7", "group": "staff"},
    )

    @model_validator(mode="after")
    def _one_holder(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise ValueError("name a user or a group, and only one of them")
        return self


@job()
def revoke_permission(ctx: Context, ask: RevokePermission) -> Mapping[str, Any]:
    """Take back just this one; what the user has through groups stays."""
    if ask.user is not None:
        user = users.get(ctx, ask.user)
        holder, target, name = permissions.Holder(user_id=user.id), user.id, user.username
    else:
        group = groups.get(ctx, ask.group or "")
        holder, target, name = permissions.Holder(group_id=group.id), group.id, group.name
    changed = permissions.revoke(ctx, holder, ask.name, ask.object)
    if changed:
        action = users.Action.PERMISSION_REVOKED
        ctx.event(action, target, name, permission=ask.name, object=ask.object)
    return {"changed": changed}
