"""Give a user or a group a permission, everywhere or on one object."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from worker import Context, Payload, UserRef, groups, job, permissions, users


class GrantPermission(Payload):
    name: str = Field(
        min_length=1, max_length=255, pattern=r"^\S+$", description="What it allows", examples=["tickets.close"]
    )
    object: str = Field("", max_length=255, description="On which object; empty means everywhere", examples=["queue/7"])
    user: UserRef | None = Field(None, description="To this user", examples=["ann"])
    group: str | None = Field(
        None, min_length=1, max_length=255, description="Or to everybody in this group and below it", examples=["staff"]
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

    def gives_access(self) -> bool:
        return self.user is not None


@job()
def grant_permission(ctx: Context, ask: GrantPermission) -> Mapping[str, Any]:
    """Grant it once, however often it is asked for."""
    if ask.user is not None:
        user = users.get(ctx, ask.user)
        holder, target, name = permissions.Holder(user_id=user.id), user.id, user.username
    else:
        group = groups.get(ctx, ask.group or "")
        holder, target, name = permissions.Holder(group_id=group.id), group.id, group.name
    changed = permissions.grant(ctx, holder, ask.name, ask.object)
    if changed:
        action = users.Action.PERMISSION_GRANTED
        ctx.event(action, target, name, permission=ask.name, object=ask.object)
    return {"changed": changed}
