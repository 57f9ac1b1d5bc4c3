"""Offboard a person, now or at a time: end all access, remove from groups, tell the manager, plan the deletion."""

from collections.abc import Mapping, Sequence
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
    """Somebody who leaves. Until it runs, a planned offboarding can be cancelled or given another time."""

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
    notify_manager: bool = Field(True, description="Whether the manager gets a notice")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "reason": "contract ended"},
        {"user": {"external_id": "E-1001"}, "at": "2030-03-31T18:00", "zone": "Europe/Berlin"},
        {"user": "carol", "retention": None, "notify_manager": False},
    )

    @field_validator("at")
    @classmethod
    def _within_reach(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.year > LATEST_YEAR:
            raise ValueError(f"a leaving day after {LATEST_YEAR} is no leaving day; who stays is not offboarded")
        return value

    def overtakes(self) -> bool:
        return self.at is None


@bulk_job()
def offboard_user(ctx: Context, items: Sequence[Item[OffboardUser]]) -> None:
    pairs = users.of_items(ctx, items)
    refused = users.refusals(ctx, [user for item, user in pairs if leaves_at(ctx, item.ask, user) is None])
    leaving, taken = [], []
    for item, user in pairs:
        at = leaves_at(ctx, item.ask, user)
        if user.type == users.PROTECTED:
            item.reject("protected_type", user=user.label)
        elif user.id in refused:
            item.reject(refused[user.id].code, **refused[user.id].facts)
        else:
            taken.append(item.task.subject)
            if at is not None:
                plan(item, user, at)
            else:
                leaving.append((item, user))
    users.replan(ctx, taken, "offboard_user", by="a newer offboard_user")
    people = [user for _, user in leaving]
    ends = {user.id: end for item, user in leaving if (end := deletion(ctx, item.ask, user)) is not None}
    closed = users.close(ctx, people, delete_at=ends)
    left = users.take_everything(ctx, people)
    for (item, user), shut in zip(leaving, closed, strict=True):
        finish(item, shut, left[user.id], ends.get(user.id), ctx.now)


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
    return ctx.now + ask.retention


def plan(item: Item[OffboardUser], user: users.User, at: datetime) -> None:
    """Do it at that time, in a job of its own that stands in the ledger and can be cancelled."""
    fields = item.ask.open_fields() | {"user": user.ref}
    for name in ("at", "zone"):
        fields.pop(name, None)
    item.follow("offboard_user", fields, at=at, why=item.ask.reason)
    item.event(users.Action.USER_OFFBOARDING_SCHEDULED, user.id, user.label, at=at.isoformat())
    item.done(changed=False, user=user.id, scheduled_for=at.isoformat())


def told(shut: users.Closed, left: users.Left, delete_at: datetime | None) -> list[str]:
    """What the manager reads about it, a line each."""
    lines = [f"All access was ended, {sum(shut.revoked.values())} sessions, tokens and links among it"]
    lines += [f"Left the group {name}" for name in left.groups]
    if delete_at is not None:
        lines.append(f"The account will be deleted on {delete_at.date().isoformat()}")
    return lines


def finish(
    item: Item[OffboardUser], shut: users.Closed, left: users.Left, delete_at: datetime | None, now: datetime
) -> None:
    """Say what was taken away, and ask for what comes next."""
    user = shut.user
    shut.tell(item)
    for group in left.groups:
        item.event(users.Action.MEMBERSHIP_REMOVED, user.id, user.label, group=group)
    changed = shut.flipped or bool(left.groups) or left.permissions > 0 or delete_at is not None
    if changed:
        item.event(
            users.Action.USER_OFFBOARDED, user.id, user.label,
            reason=item.ask.reason, revoked=dict(shut.revoked), permissions=left.permissions,
        )  # fmt: skip
    if delete_at is not None:
        users.plan_deletion(item, user, delete_at)
    if changed and item.ask.notify_manager and user.manager:
        item.follow("send_manager_notice", users.notice(user, "leaves", now, told(shut, left, user.delete_at)))
    item.done(
        changed=changed, user=user.id, revoked=dict(shut.revoked), groups=list(left.groups),
        permissions=left.permissions, delete_at=user.delete_at.isoformat() if user.delete_at else None,
        legal_hold=user.held,
    )  # fmt: skip
