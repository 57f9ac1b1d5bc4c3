"""What joining, moving and leaving share: closing accounts, opening them again, and planned deletions."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import delete, literal_column, select

from worker import ledger
from worker.bulk import among
from worker.directory import access, groups
from worker.directory.accounts import User, save
from worker.directory.changes import Changed
from worker.directory.events import Action, Teller
from worker.directory.fields import PROTECTED
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import job, permission

# A group or manager that a feed names before it is there: looked for every six hours for three days, so that a weekend
# loses nothing. Each look is a scheduled job of its own: one that waited in the line would hold up all else about the
# person.
LOOK_AGAIN = timedelta(hours=6)
LOOKS = 12


@dataclass(frozen=True)
class Closed:
    """An account that nobody can use. `flipped`: it was active before. `revoked` counts the credentials ended."""

    before: User
    user: User
    revoked: Mapping[str, int]

    @property
    def flipped(self) -> bool:
        """Whether the account was active before."""
        return self.before.is_active

    def tell(self, teller: Teller, **data: Any) -> None:
        """Take it down in the audit trail: the deactivation, or that access was cut though it was inactive already."""
        if self.flipped:
            teller.event(
                Action.USER_DEACTIVATED, self.user.id, self.user.label, revoked=dict(self.revoked), **data
            )
        elif any(self.revoked.values()):
            teller.event(Action.ACCESS_CUT, self.user.id, self.user.label, revoked=dict(self.revoked), **data)


def refusals(scope: Scope, leaving: Sequence[User]) -> dict[str, Reject]:
    """Say which of these people may not be closed, by id: protected accounts and the last administrators.

    Their rows are locked by the caller; locks the administrators' row.
    """
    found = {user.id: Reject("protected_type", user=user.label) for user in leaving if user.type == PROTECTED}
    active = [user.id for user in leaving if user.is_active and user.id not in found]
    last = groups.last_administrators(scope, active) if active else set()
    return found | {user.id: Reject("last_administrator", user=user.label) for user in leaving if user.id in last}


def close(scope: Scope, leaving: Sequence[User], *, delete_at: Mapping[str, datetime] | None = None) -> list[Closed]:
    """Deactivate these people and cut all their access; aligned. The one way in which accounts are closed.

    Ask `refusals` first. Access is cut also where the account was inactive already, so that it always ends with no
    usable credential. `delete_at`: the moment of the planned deletion, by id.
    """
    planned = delete_at or {}
    saved = save(
        scope, [(user, user._replace(is_active=False, delete_at=planned.get(user.id, user.delete_at))) for user in leaving]
    )
    counts = access.cut(scope, [user.id for user in leaving])
    return [
        Closed(before, after._replace(epoch=before.epoch + 1), counts[before.id])
        for before, after in zip(leaving, saved, strict=True)
    ]


def reopened(scope: Scope, people: Collection[tuple[User, str | None]], *, by: str) -> None:
    """These people, as they were before, are active again: cancel the deletions planned for them. (user, line)."""
    for user, subject in people:
        if user.delete_at is not None and subject is not None:
            ledger.cancel_scheduled(scope, subject, ["delete_user"], by=by)


def reopen(scope: Scope, user: User, *, active: bool) -> Changed:
    """Take back a planned deletion and, if `active`, open the account. Its job is cancelled by `cancel_deletion`.

    What was revoked stays revoked: the epoch is not turned back.
    """
    [saved] = save(scope, [(user, user._replace(is_active=user.is_active or active, delete_at=None))])
    return Changed(user, saved)


def plan_deletion(noter: "Follower", user: User, at: datetime) -> None:
    """Ask for the deletion at a time already saved in `delete_at`, and take it down in the trail."""
    noter.follow("delete_user", {"user": user.ref, "scheduled_for": at.isoformat()}, at=at)
    noter.event(Action.USER_DELETION_SCHEDULED, user.id, user.label, delete_at=at.isoformat())


class Follower(Teller, Protocol):
    """Whoever also takes down what comes next."""

    def follow(self, kind: str, fields: Mapping[str, Any], *, at: datetime | None = None) -> None: ...


def cancel_deletion(scope: Scope, subject: str | None, *, by: str) -> int:
    """Cancel the deletion planned in this line; returns how many jobs that was. Before the person's row is locked."""
    return 0 if subject is None else ledger.cancel_scheduled(scope, subject, ["delete_user"], by=by)


def planned(scope: Scope, subjects: Collection[str], kind: str) -> set[str]:
    """Return those lines in which a job of this kind is scheduled."""
    if not subjects:
        return set()
    statement = (
        select(job.c.subject)
        .distinct()
        .where(among(scope.conn, job.c.subject, sorted(subjects)), job.c.kind == kind,
               job.c.state == literal_column("'scheduled'"))
    )  # fmt: skip
    return set(scope.conn.execute(statement).scalars())


def replan(scope: Scope, subjects: Collection[str | None], kind: str, *, by: str) -> None:
    """Cancel what is planned of this kind in these lines: a newer word takes its place."""
    for subject in sorted(planned(scope, {subject for subject in subjects if subject}, kind)):
        ledger.cancel_scheduled(scope, subject, [kind], by=by)


@dataclass(frozen=True)
class Left:
    """What an offboarding took away besides access: groups by name, and how many permissions of the person's own."""

    groups: tuple[str, ...]
    permissions: int


def take_everything(scope: Scope, people: Sequence[User]) -> dict[str, Left]:
    """Take these people out of all groups, whoever put them there, and revoke their own permissions; by id."""
    ids = sorted(user.id for user in people)
    if not ids:
        return {}
    groups_of = groups.memberships(scope, ids)
    groups.remove(scope, [(user_id, group.id) for user_id in ids for group, _ in groups_of[user_id]])
    statement = delete(permission).where(among(scope.conn, permission.c.user_id, ids)).returning(permission.c.user_id)
    revoked = Counter(scope.conn.execute(statement).scalars())
    return {
        user_id: Left(tuple(group.name for group, _ in groups_of[user_id]), revoked[user_id]) for user_id in ids
    }


# More lines than this nobody reads in a mail; send_manager_notice takes no more than 50.
MOST_DETAILS = 40


def notice(user: User, change: str, at: datetime, details: Sequence[str]) -> dict[str, Any]:
    """Return the fields of `send_manager_notice`."""
    shown = [line[:500] for line in details[:MOST_DETAILS]]
    if len(details) > MOST_DETAILS:
        shown.append(f"and {len(details) - MOST_DETAILS} more")
    return {"user": user.ref, "change": change, "effective_at": at.isoformat(), "details": shown}


def instant(at: datetime, zone: ZoneInfo) -> datetime:
    """Return `at` as an instant: as it is when it has a zone, else as wall time in `zone`.

    A wall time that a change of clocks skips or doubles means the earlier reading (fold 0, PEP 495).
    """
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def day_begins(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day in a zone."""
    return datetime.combine(day, time.min, tzinfo=zone)


def today(scope: Scope, zone: ZoneInfo) -> date:
    """Return the date that a calendar on the wall in `zone` shows."""
    return scope.now.astimezone(zone).date()
