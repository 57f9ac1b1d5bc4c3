"""Transfer a person: another manager, place or department, groups added and removed."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Item, Payload, Reject, UserRef, bulk_job, groups, users


class TransferUser(Payload):
    """Somebody who moves. Only what is given is changed, all of it at once. `null` clears locale, zone and dates."""

    user: UserRef = Field(description="The person who moves", examples=["ann"])
    path: users.Path | None = Field(None, description="Where the account is filed", examples=["users/sales"])
    name: users.PersonName | None = Field(None, description="A new name", examples=["Ann Married"])
    email: users.Email | None = Field(None, description="A new address", examples=["ann@example.com"])
    manager: UserRef | None = Field(None, description="The new manager, who must exist", examples=["bob"])
    attributes: users.Attributes = Field(
        default_factory=dict, description="A JSON merge patch (RFC 7396) of the free attributes", examples=[{"office": "C3"}]
    )
    type: users.UserType | None = Field(None, description="What kind of account it is", examples=["external"])
    locale: users.Locale | None = Field(None, description="Language of mails to this person", examples=["de"])
    zone: users.Zone | None = Field(None, description="The person's time zone", examples=["Europe/Berlin"])
    start_date: date | None = Field(None, description="First day of work", examples=["2026-01-01"])
    end_date: date | None = Field(None, description="Last day of work", examples=["2027-12-31"])
    groups_add: tuple[str, ...] = Field(
        (), max_length=200, description="Groups to come into; those not there yet are reported and tried again for days"
    )
    groups_remove: tuple[str, ...] = Field(
        (), max_length=200, description="Groups to leave; only memberships that this origin gave, unless it is manual"
    )
    origin: users.Origin = Field("feed", description="Who wants the groups so: feed, rule or manual")
    patience: int = Field(
        users.LOOKS, ge=0, le=users.LOOKS,
        description="How many more times to look for groups to come into that are not there yet: after a minute, and then "
        "so many times every 6 hours; 0: refuse",
    )  # fmt: skip
    notify_manager: bool = Field(False, description="Whether the manager gets a notice")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "manager": "bob", "attributes": {"department": "sales"}, "groups_add": ["staff"]},
        {"user": {"external_id": "E-1001"}, "groups_remove": ["staff"], "origin": "manual"},
        {"user": "ann", "type": "external", "zone": "Europe/Berlin", "locale": None, "end_date": "2027-12-31"},
    )

    def gives_access(self) -> bool:
        return bool(self.groups_add)


FIELDS = ("path", "name", "email", "manager", "attributes", "type", "locale", "zone", "start_date", "end_date")
# Of the others null means what leaving them out means.
CLEARED_BY_NULL = frozenset({"locale", "zone", "start_date", "end_date"})


@bulk_job()
def transfer_user(ctx: Context, items: Sequence[Item[TransferUser]]) -> None:
    pairs = users.of_items(ctx, items)
    found = known_groups(ctx, [item for item, _ in pairs])
    stuck = last_administrators(ctx, pairs, found)
    movers = []
    for item, user in pairs:
        missing = [name for name in item.ask.groups_add if found[name] is None]
        if user.id in stuck:
            item.reject("last_administrator", user=user.label)
        elif missing and not item.ask.patience:
            item.reject("unknown_group", group=missing[0])
        else:
            given = {name: getattr(item.ask, name) for name in FIELDS if name in item.ask.model_fields_set}
            given = {name: value for name, value in given.items() if value is not None or name in CLEARED_BY_NULL}
            movers.append((item, users.Change(user, given, item.task.subject)))
    moved = []
    for (item, _), got in zip(movers, users.amend(ctx, [change for _, change in movers]), strict=True):
        if isinstance(got, Reject):
            item.reject(got.code, **got.facts)
        else:
            moved.append((item, got))
    left = leave(ctx, moved, found)
    joined = join(ctx, moved, found)
    for item, got in moved:
        deferred = defer(ctx, item, got.user, found)
        finish(item, got, joined.get(got.user.id, []), left.get(got.user.id, []), deferred, ctx.now)


Found = Mapping[str, groups.Group | None]
Mover = tuple[Item[TransferUser], users.Changed]


def known_groups(ctx: Context, items: Sequence[Item[TransferUser]]) -> Found:
    """The groups that the batch names, by the name given."""
    names = sorted({name for item in items for name in (*item.ask.groups_add, *item.ask.groups_remove)})
    return dict(zip(names, groups.find(ctx, names), strict=True))


def sweeps(ask: TransferUser) -> tuple[str, ...] | None:
    """Whose memberships this job may end: a rule's or a feed's only its own, a person's all."""
    return None if ask.origin == "manual" else (ask.origin,)


def leaving(ask: TransferUser, user_id: str, found: Found) -> list[tuple[str, str]]:
    """The (user, group) pairs to end."""
    return [(user_id, group.id) for name in ask.groups_remove if (group := found[name]) is not None]


def last_administrators(
    ctx: Context, pairs: Sequence[tuple[Item[TransferUser], users.User]], found: Found
) -> set[str]:
    """Those who cannot leave their groups, since no administrator would be left."""
    wanted = {pair: item.ask for item, user in pairs for pair in leaving(item.ask, user.id, found)}
    if not wanted:
        return set()
    there = groups.memberships(ctx, [user_id for user_id, _ in wanted])
    origins = {(user_id, group.id): origin for user_id, belongings in there.items() for group, origin in belongings}
    ending = [
        pair for pair, ask in wanted.items()
        if pair in origins and (sweeps(ask) is None or origins[pair] == ask.origin)
    ]  # fmt: skip
    return {user_id for user_id, _ in groups.last_administrator_pairs(ctx, ending)} if ending else set()


def leave(ctx: Context, moved: Sequence[Mover], found: Found) -> dict[str, list[str]]:
    """Take the movers out of the groups they leave; the names of those they were really in, by user."""
    return by_user(
        (
            groups.remove(
                ctx,
                [pair for item, got in moved if item.ask.origin == origin for pair in leaving(item.ask, got.user.id, found)],
                origins=None if origin == "manual" else (origin,),
            )
            for origin in sorted({item.ask.origin for item, _ in moved if item.ask.groups_remove})
        ),
        found,
    )


def join(ctx: Context, moved: Sequence[Mover], found: Found) -> dict[str, list[str]]:
    """Put the movers into the groups they come to; the names of those that are new to them, by user."""
    return by_user(
        (
            groups.add(
                ctx,
                [
                    (got.user.id, group.id)
                    for item, got in moved if item.ask.origin == origin
                    for name in item.ask.groups_add if (group := found[name]) is not None
                ],
                origin,
            )
            for origin in sorted({item.ask.origin for item, _ in moved if item.ask.groups_add})
        ),
        found,
    )  # fmt: skip


def by_user(done: Any, found: Found) -> dict[str, list[str]]:
    """Sort (user, group) pairs by user, as names of groups."""
    names = {group.id: group.name for group in found.values() if group is not None}
    sorted_out: dict[str, list[str]] = {}
    for pairs in done:
        for user_id, group_id in sorted(pairs):
            sorted_out.setdefault(user_id, []).append(names[group_id])
    return sorted_out


def defer(ctx: Context, item: Item[TransferUser], user: users.User, found: Found) -> dict[str, Any]:
    """Look again later for groups that are not there yet."""
    missing = [name for name in item.ask.groups_add if found[name] is None]
    if not missing:
        return {}
    first = item.task.parent is None
    patience = item.ask.patience if first else item.ask.patience - 1
    wanted = {"user": user.ref, "groups_add": missing, "origin": item.ask.origin, "patience": patience}
    item.follow("transfer_user", wanted, at=users.next_look(ctx, first=first), why="groups that are not there yet")
    return {"deferred_groups": missing}


def finish(
    item: Item[TransferUser],
    got: users.Changed,
    joined: Sequence[str],
    left: Sequence[str],
    said: Mapping[str, Any],
    at: datetime,
) -> None:
    """Say what happened, and ask for what comes next."""
    ask, user = item.ask, got.user
    got.tell(item)
    for name in left:
        item.event(users.Action.MEMBERSHIP_REMOVED, user.id, user.label, group=name)
    for name in joined:
        item.event(users.Action.MEMBERSHIP_ADDED, user.id, user.label, group=name, origin=ask.origin)
    changed = got.differs or bool(joined) or bool(left)
    if changed:
        item.event(users.Action.USER_TRANSFERRED, user.id, user.label)
    if changed and ask.notify_manager and user.manager:
        details = [*(f"Joined the group {name}" for name in joined), *(f"Left the group {name}" for name in left)]
        item.follow("send_manager_notice", users.notice(user, "moves", at, details))
    item.done(
        changed=changed, user=user.id, version=user.version, fields=sorted(got.differences),
        groups_added=list(joined), groups_removed=list(left), **said,
    )  # fmt: skip
