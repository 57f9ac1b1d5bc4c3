"""Rename a group, move it below others, or change its attributes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from worker import Context, NameKind, Names, Payload, groups, job, users


class UpdateGroup(Payload):
    group: str = Field(min_length=1, max_length=255, description="Present name of the group", examples=["staff"])
    name: str | None = Field(None, min_length=1, max_length=255, description="New name", examples=["employees"])
    set_parents: tuple[str, ...] | None = Field(
        None, max_length=100, description="Exactly these groups above it; [] for none", examples=[["everybody"]]
    )
    add_parents: tuple[str, ...] = Field((), max_length=100, description="Put it below these as well")
    remove_parents: tuple[str, ...] = Field((), max_length=100, description="Take it out from below these")
    attributes: dict[str, Any] = Field(
        default_factory=dict,
        description="Changes to the attributes as a JSON merge patch (RFC 7396): null removes",
        examples=[{"cost_center": 4712, "old": None}],
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"group": "staff", "name": "employees"},
        {"group": "staff", "add_parents": ["administrators"]},
        {"group": "staff", "attributes": {"cost_center": 4712, "obsolete": None}},
    )

    _name = field_validator("name")(groups.valid_name)
    _attributes = field_validator("attributes", mode="before")(groups.valid_attributes)

    @model_validator(mode="after")
    def _one_way_to_say_parents(self) -> Self:
        if self.set_parents is not None and (self.add_parents or self.remove_parents):
            raise ValueError("say set_parents, or add_parents and remove_parents, not both")
        return self

    def names(self) -> Names:
        new = ((NameKind.GROUP, self.name),) if self.name is not None else ()
        return Names(who=((NameKind.GROUP, self.group),), new=new)


@job()
def update_group(ctx: Context, ask: UpdateGroup) -> Mapping[str, Any]:
    """Change what is given; the tree stays free of circles, and the administrators keep one."""
    moving = ask.set_parents is not None or bool(ask.add_parents or ask.remove_parents)
    if moving:
        groups.hold_graph(ctx)
        groups.hold_administrators(ctx, change=True)
    group = groups.take(ctx, ask.group)
    said: dict[str, Any] = {}
    if moving:
        said |= _move(ctx, ask, group)
    if ask.attributes:
        patched = groups.merge(group.attributes, ask.attributes)
        if patched != group.attributes:
            groups.change(ctx, group, attributes=patched)
            said["attributes"] = sorted(ask.attributes)
    if said:
        ctx.event(users.Action.GROUP_UPDATED, group.id, group.name, **said)
    renamed = ask.name is not None and ask.name != group.name
    if renamed and ask.name is not None:
        groups.change(ctx, group, name=ask.name)
        ctx.event(users.Action.GROUP_RENAMED, group.id, ask.name, before=group.name)
    return {"changed": bool(said) or renamed, "group_id": group.id}


def _move(ctx: Context, ask: UpdateGroup, group: groups.Group) -> dict[str, Any]:
    """Change what lies above the group; say which groups were added and removed."""
    able = groups.administrators(ctx)
    before = set(groups.parents_of(ctx, group))
    if ask.set_parents is not None:
        wanted = {groups.get(ctx, name) for name in ask.set_parents}
    else:
        leaving = {one for one in groups.find(ctx, ask.remove_parents) if one is not None}
        wanted = (before - leaving) | {groups.get(ctx, name) for name in ask.add_parents}
    added, removed = wanted - before, before - wanted
    groups.remove_parents(ctx, group, removed)
    groups.add_parents(ctx, group, sorted(added, key=lambda one: one.id))
    if removed:
        groups.keep_an_administrator(ctx, able)
    found = {"parents_added": added, "parents_removed": removed}
    return {name: sorted(one.name for one in those) for name, those in found.items() if those}
