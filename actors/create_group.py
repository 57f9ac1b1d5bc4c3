"""Create a group."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from worker import Context, Payload, Reject, groups, job, users


class CreateGroup(Payload):
    group: str = Field(min_length=1, max_length=255, description="Name of the new group", examples=["staff"])
    parents: tuple[str, ...] = Field(
        (), max_length=100, description="Groups above it: its members belong to those as well", examples=[["everybody"]]
    )
    attributes: dict[str, Any] = Field(
        default_factory=dict, description="Anything worth knowing about the group, as JSON", examples=[{"cost_center": 7}]
    )
    if_exists: Literal["reject", "adopt"] = Field(
        "reject", description="When the name is taken: refuse, or leave the group as it is and succeed"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"group": "engineering"},
        {"group": "engineering/platform", "parents": ["staff"], "attributes": {"cost_center": 4711}},
        {"group": "staff", "if_exists": "adopt"},
    )

    _group = field_validator("group")(groups.valid_name)
    _attributes = field_validator("attributes", mode="before")(groups.valid_attributes)


@job()
def create_group(ctx: Context, ask: CreateGroup) -> Mapping[str, Any]:
    """Add the group below its parents, all of which must exist."""
    above = [groups.get(ctx, name) for name in ask.parents]
    group = groups.create(ctx, ask.group, above, ask.attributes)
    if group is None:
        if ask.if_exists == "reject":
            raise Reject("group_exists", group=ask.group)
        return {"changed": False, "group_id": groups.get(ctx, ask.group).id}
    ctx.event(users.Action.GROUP_CREATED, group.id, group.name, parents=sorted(one.name for one in above))
    return {"changed": True, "group_id": group.id}
