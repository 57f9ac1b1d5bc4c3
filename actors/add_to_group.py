"""Add a user to a group."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from worker import Context, Item, Payload, UserRef, bulk_job, groups, users

# A group that HR names before IT has made it: looked for again this often, for so long that a weekend does not lose
# the membership. Meanwhile the person's other jobs go on.
LOOK_EVERY, PATIENCE = timedelta(minutes=30), timedelta(days=3)


class AddToGroup(Payload):
    user: UserRef = Field(description="Who", examples=["ann"])
    group: str = Field(min_length=1, max_length=255, description="Into which group", examples=["staff"])
    origin: Literal["rule", "manual", "feed"] = Field(
        "manual", description="Who wants it so; a rule removes only what rules added, a feed only what feeds added"
    )
    patient: bool = Field(False, description="Wait up to three days for a group that does not exist yet")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "bob", "group": "staff"},
        {"user": {"external_id": "E-1001"}, "group": "staff", "origin": "feed", "patient": True},
    )

    def gives_access(self) -> bool:
        return True


@bulk_job()
def add_to_group(ctx: Context, items: Sequence[Item[AddToGroup]]) -> None:
    """Add everybody in one statement; who was in it already stays in it."""
    wanted = groups.find(ctx, [item.ask.group for item in items], lock=False)
    group_of = dict(zip((item.task.id for item in items), wanted, strict=True))
    people = users.of_items(ctx, items)
    present = groups.still(ctx, [group for group in wanted if group is not None])
    asked: dict[str, list[tuple[Item[AddToGroup], users.User, groups.Group]]] = {}
    for item, user in people:
        group = group_of[item.task.id]
        if group is not None and group.id in present:
            asked.setdefault(item.ask.origin, []).append((item, user, group))
        elif item.ask.patient and ctx.now < item.task.created_at + PATIENCE:
            item.snooze(ctx.now + LOOK_EVERY, f"there is no group {item.ask.group} yet")
        else:
            item.reject("unknown_group", group=item.ask.group)
    for origin, those in asked.items():
        added = groups.add(ctx, {(user.id, group.id) for _, user, group in those}, origin)
        for item, user, group in those:
            changed = (user.id, group.id) in added
            if changed:
                item.event(users.Action.MEMBERSHIP_ADDED, user.id, user.username, group=group.name, origin=origin)
            item.done(changed=changed)
