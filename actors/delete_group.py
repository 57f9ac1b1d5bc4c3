"""Delete a group."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, Reject, groups, job, users


class DeleteGroup(Payload):
    group: str = Field(min_length=1, max_length=255, description="Name of the group", examples=["staff"])
    force: bool = Field(
        False, description="Also when people or other groups are in it: they lose the membership, nothing else"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"group": "staff"}, {"group": "staff", "force": True})


@job()
def delete_group(ctx: Context, ask: DeleteGroup) -> Mapping[str, Any]:
    """Delete the group with its memberships and permissions, unless it is in use and nobody said force."""
    groups.hold_graph(ctx)
    groups.hold_administrators(ctx, change=True)
    group = groups.take(ctx, ask.group, alone=True)
    people, below = groups.size(ctx, group)
    if (people or below) and not ask.force:
        raise Reject("group_not_empty", group=group.name, count=people + below)
    able = groups.administrators(ctx)
    groups.remove_group(ctx, group)
    groups.keep_an_administrator(ctx, able)
    ctx.event(users.Action.GROUP_DELETED, group.id, group.name, members=people, child_groups=below)
    return {"changed": True, "members": people, "child_groups": below}
