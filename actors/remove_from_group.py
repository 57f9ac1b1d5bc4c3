"""Remove a user from a group."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from worker import Context, Item, Payload, UserRef, bulk_job, groups, users


class RemoveFromGroup(Payload):
    user: UserRef = Field(description="Who", examples=["ann"])
    group: str = Field(min_length=1, max_length=255, description="From which group", examples=["staff"])
    origins: tuple[Literal["rule", "manual", "feed"], ...] | None = Field(
        None,
        min_length=1,
        description="Only if these put the user there, so that a rule removes only what rules added; else in any case",
        examples=[["rule"]],
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "group": "staff"},
        {"user": {"external_id": "E-1001"}, "group": "staff", "origins": ["rule"]},
    )


@bulk_job()
def remove_from_group(ctx: Context, items: Sequence[Item[RemoveFromGroup]]) -> None:
    """Remove everybody in one statement for each set of origins; the last administrator stays."""
    found = groups.find(ctx, [item.ask.group for item in items], lock=False)
    group_of = dict(zip((item.task.id for item in items), found, strict=True))
    asked: list[tuple[Item[RemoveFromGroup], users.User, groups.Group]] = []
    for item, user in users.of_items(ctx, items):
        group = group_of[item.task.id]
        if group is None:
            item.reject("unknown_group", group=item.ask.group)
        else:
            asked.append((item, user, group))
    there = groups.memberships(ctx, [user.id for _, user, _ in asked])
    leaving: dict[tuple[str, ...] | None, list[tuple[Item[RemoveFromGroup], users.User, groups.Group]]] = {}
    going = []
    for item, user, group in asked:
        origin = dict(there[user.id]).get(group)
        if origin is None or (item.ask.origins is not None and origin not in item.ask.origins):
            item.done(changed=False)
        else:
            going.append((item, user, group))
    kept = groups.last_administrator_pairs(ctx, [(user.id, group.id) for _, user, group in going])
    for item, user, group in going:
        if (user.id, group.id) in kept:
            item.reject("last_administrator", user=user.username)
        else:
            leaving.setdefault(item.ask.origins, []).append((item, user, group))
    for origins, those in leaving.items():
        removed = groups.remove(ctx, {(user.id, group.id) for _, user, group in those}, origins=origins)
        for item, user, group in those:
            changed = (user.id, group.id) in removed
            if changed:
                item.event(users.Action.MEMBERSHIP_REMOVED, user.id, user.username, group=group.name)
            item.done(changed=changed)
