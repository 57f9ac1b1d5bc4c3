"""Offboard a person, now or at a time: close the account, take groups and permissions away, plan the deletion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from worker import Context, Item, Payload, UserRef, bulk_job, users

# Long enough for a handover, for a leaver who comes back after a season, and for a mistake to be noticed.
RETENTION = timedelta(days=90)
# Longer than any retention that laws on personnel files ask for; beyond it stands a slip of the keyboard.
LONGEST_RETENTION = timedelta(days=3660)
# HR systems write 9999-12-31 for "no end"; a job that far ahead could not be planned.
LATEST_YEAR = 2100


class OffboardUser(Payload):
    """Somebody who leaves. Until it runs, a planned offboarding can be cancelled or given another time.

    The account is closed and all credentials end at once. With `keep_access` the groups and permissions go later, in a
    second `offboard_user` that stands in the ledger and can be cancelled too; whoever is active again by then keeps them.
    The deletion comes `retention` after the leaving in any case, and takes with it what is left.
    """

    user: UserRef = Field(description="The person who leaves", examples=["ann"])
    at: datetime | None = Field(
        None, description="When; without an offset it is wall time in `zone`. Left out: now, before anything that waits",
        examples=["2026-03-31T18:00"],
    )  # fmt: skip
    zone: users.Zone | None = Field(
        None, description="Time zone of `at`; else the person's own, else the one of the settings", examples=["Europe/Berlin"]
    )
    reason: users.Why | None = Field(None, description="Kept in the audit trail", examples=["contract ended"])
    retention: timedelta | None = Field(
        RETENTION, gt=timedelta(0), le=LONGEST_RETENTION, examples=["P90D"],
        description="How long after leaving the account is deleted for good (ISO 8601, or seconds); null: never",
    )  # fmt: skip
    keep_access: timedelta = Field(
        timedelta(0), ge=timedelta(0), le=LONGEST_RETENTION, examples=["P30D"],
        description="How long groups and permissions are kept after the account is closed (ISO 8601, or seconds); taking "
        "them away is then a job of its own",
    )  # fmt: skip
    left_at: datetime | None = Field(
        None, examples=["2026-03-31T16:00:00Z"],
        description="When the person left, where the account is closed already and groups and permissions were kept: "
        "`retention` and `keep_access` count from it, and nothing happens to somebody who is active",
    )  # fmt: skip
    notify_manager: bool = Field(True, description="Whether the manager gets a notice")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "reason": "contract ended"},
        {"user": {"external_id": "E-1001"}, "at": "2030-03-31T18:00", "zone": "Europe/Berlin"},
        {"user": "carol", "retention": None, "notify_manager": False},
        {"user": "ann", "keep_access": "P30D", "retention": "P180D"},
    )

    @field_validator("at")
    @classmethod
    def _within_reach(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.year > LATEST_YEAR:
            raise ValueError(f"a leaving day after {LATEST_YEAR} is no leaving day; who stays is not offboarded")
        return value

    @field_validator("left_at")
    @classmethod
    def _an_instant(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("give the offset too, such as 2026-03-31T16:00:00Z")
        return value

    def overtakes(self) -> bool:
        return self.at is None and self.left_at is None


@bulk_job()
def offboard_user(ctx: Context, items: Sequence[Item[OffboardUser]]) -> None:
    pairs = users.of_items(ctx, items)
    refused = users.refusals(ctx, [user for item, user in pairs if leaves_at(ctx, item.ask, user) is None])
    leaving, taken = [], []
    for item, user in pairs:
        at = leaves_at(ctx, item.ask, user)
        if user.type == users.PROTECTED:
            item.reject("protected_type", user=user.label)
        elif item.ask.left_at is not None and user.is_active:
            item.done(changed=False, user=user.id, is_active=True)
        elif user.id in refused:
            item.reject(refused[user.id].code, **refused[user.id].facts)
        else:
            taken.append(item.task.subject)
            if at is not None:
                plan(item, user, at)
            else:
                leaving.append((item, user))
    kept = kept_until(ctx, leaving)
    users.replan(ctx, taken, "offboard_user", by="a newer offboard_user")
    people = [user for _, user in leaving]
    ends = {user.id: end for item, user in leaving if (end := deletion(ctx, item.ask, user)) is not None}
    closed = users.close(ctx, people, delete_at=ends)
    left = users.take_everything(ctx, [user for user in people if user.id not in kept])
    for (item, user), shut in zip(leaving, closed, strict=True):
        finish(ctx, item, shut, left.get(user.id, users.Left((), 0)), ends.get(user.id), kept.get(user.id))


def leaves_at(ctx: Context, ask: OffboardUser, user: users.User) -> datetime | None:
    """The moment to come at which this person leaves; None means now."""
    if ask.at is None:
        return None
    at = users.instant(ask.at, ZoneInfo(ask.zone) if ask.zone else user.clock(ctx))
    return at if at > ctx.now else None


def deletion(ctx: Context, ask: OffboardUser, user: users.User) -> datetime | None:
    """When this person's account will be deleted; None when that is planned already, not wanted, or not allowed."""
    if ask.retention is None or user.held or user.delete_at is not None:
        return None
    return max((ask.left_at or ctx.now) + ask.retention, ctx.now)


@dataclass(frozen=True)
class Kept:
    """Groups and permissions that stay for a while: since when the person is gone, and until when. `new`: not yet planned."""

    left_at: datetime
    until: datetime
    new: bool


def kept_until(ctx: Context, leaving: Sequence[tuple[Item[OffboardUser], users.User]]) -> dict[str, Kept]:
    """Whose groups and permissions are kept, by user. Being told again of a leaving does not make it a later one."""
    keeping = [(item, user) for item, user in leaving if item.ask.keep_access]
    gone = [(item, user) for item, user in keeping if not user.is_active]
    before = users.second_steps(ctx, [item.task.subject for item, _ in gone])
    holding = users.hold_something(ctx, [user for _, user in gone])
    found = {}
    for item, user in keeping:
        known = None if user.is_active or item.task.subject is None else before.get(item.task.subject)
        left_at = known or item.ask.left_at or ctx.now
        until = left_at + item.ask.keep_access
        if until > ctx.now and (user.is_active or user.id in holding):
            found[user.id] = Kept(left_at, until, new=known is None)
    return found


def take_later(item: Item[OffboardUser], user: users.User, kept: Kept) -> None:
    """Take groups and permissions away at the end of that time, in a job of its own."""
    fields = item.ask.open_fields() | {"user": user.ref, users.LEFT_AT: kept.left_at.isoformat(), "notify_manager": False}
    for name in ("at", "zone", "keep_access"):
        fields.pop(name, None)
    item.follow("offboard_user", fields, at=kept.until, why=item.ask.reason)


def plan(item: Item[OffboardUser], user: users.User, at: datetime) -> None:
    """Do it at that time, in a job of its own that stands in the ledger and can be cancelled."""
    fields = item.ask.open_fields() | {"user": user.ref}
    for name in ("at", "zone"):
        fields.pop(name, None)
    item.follow("offboard_user", fields, at=at, why=item.ask.reason)
    item.event(users.Action.USER_OFFBOARDING_SCHEDULED, user.id, user.label, at=at.isoformat())
    item.done(changed=False, user=user.id, scheduled_for=at.isoformat())


def told(shut: users.Closed, left: users.Left, kept: Kept | None, delete_at: datetime | None) -> list[str]:
    """What the manager reads about it, a line each."""
    lines = [f"All access was ended, {sum(shut.revoked.values())} sessions, tokens and links among it"]
    lines += [f"Left the group {name}" for name in left.groups]
    if kept is not None and (delete_at is None or kept.until < delete_at):
        lines.append(f"Groups and permissions are kept until {kept.until.date().isoformat()}")
    if delete_at is not None:
        lines.append(f"The account will be deleted on {delete_at.date().isoformat()}")
    return lines


def finish(
    ctx: Context, item: Item[OffboardUser], shut: users.Closed, left: users.Left, delete_at: datetime | None,
    kept: Kept | None,
) -> None:  # fmt: skip
    """Say what was taken away, and ask for what comes next."""
    user = shut.user
    shut.tell(item)
    for group in left.groups:
        item.event(users.Action.MEMBERSHIP_REMOVED, user.id, user.label, group=group)
    news = kept is not None and kept.new
    changed = shut.flipped or bool(left.groups) or left.permissions > 0 or delete_at is not None or news
    later = {"access_until": kept.until.isoformat()} if kept is not None else {}
    if changed:
        item.event(
            users.Action.USER_OFFBOARDED, user.id, user.label,
            reason=item.ask.reason, revoked=dict(shut.revoked), permissions=left.permissions, **later,
        )  # fmt: skip
    if kept is not None:
        take_later(item, user, kept)
    if delete_at is not None:
        users.plan_deletion(item, user, delete_at)
    if changed and item.ask.notify_manager and user.manager:
        details = told(shut, left, kept, user.delete_at)
        item.follow("send_manager_notice", users.notice(user, "leaves", ctx.now, details))
    item.done(
        changed=changed, user=user.id, revoked=dict(shut.revoked), groups=list(left.groups),
        permissions=left.permissions, delete_at=user.delete_at.isoformat() if user.delete_at else None,
        legal_hold=user.held, **later,
    )  # fmt: skip
