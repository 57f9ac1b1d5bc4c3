"""What joining, moving and leaving share: closing accounts, opening them again, and planned deletions."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import delete, literal_column, select, union

from worker import ledger, lines
from worker.bulk import among
from worker.directory import access, groups
from worker.directory.accounts import User, save
from worker.directory.changes import Changed
from worker.directory.events import Action, Teller
from worker.directory.fields import PROTECTED
from worker.outcomes import Reject, reason_text
from worker.scope import Scope
from worker.states import State
from worker.tables import job, membership, permission

# A group or manager that a feed names before it is there: looked for after a minute, then every six hours for three
# days, so that a weekend loses nothing. Each look is a scheduled job of its own: one that waited in the line would hold
# up all else about the person.
# The people of one feed are enrolled by several workers at once: who is named a moment too early is there a minute later.
LOOK_SOON = timedelta(minutes=1)
LOOK_AGAIN = timedelta(hours=6)
LOOKS = 12

# The second step of an offboarding carries this field; by it the step is known when it has to be called off.
LEFT_AT = "left_at"
# Whoever stays for good stays longer than any leaving that can be planned.
FOR_GOOD = datetime.max.replace(tzinfo=UTC)


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
    """These people, as they were before, are active again: cancel what was to follow their leaving. (user, line).

    That is the deletion, and the second step of the offboarding; a leaving that is still to come stays planned.
    """
    for user, subject in people:
        if user.delete_at is not None and subject is not None:
            ledger.cancel_scheduled(scope, subject, ["delete_user"], by=by)
    call_off(scope, {subject: None for user, subject in people if subject is not None and not user.is_active}, by=by)


def reopen(scope: Scope, user: User, *, active: bool) -> Changed:
    """Take back a planned deletion and, if `active`, open the account. Its job is cancelled by `come_back`.

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


def come_back(scope: Scope, subject: str | None, *, by: str) -> None:
    """Cancel what was to follow the leaving in this line: deletion and second step. Before the person's row is locked."""
    if subject is not None:
        cancel_deletion(scope, subject, by=by)
        call_off(scope, {subject: None}, by=by)


def call_off(scope: Scope, staying: Mapping[str, datetime | None], *, by: str) -> int:
    """Cancel the planned offboardings of people who stay after all, by line; returns how many jobs that was. Set-based.

    The second step of an offboarding goes always, a leaving to come only when it is planned for before the instant
    given (`FOR_GOOD`: all of them).
    """
    found = [
        row.id for row in _offboardings(scope, staying)
        if LEFT_AT in row.payload or ((until := staying[row.subject]) is not None and row.run_at < until)
    ]  # fmt: skip
    lines.forget_claims(scope, found)
    why = reason_text("cancelled", {"by": by})
    return ledger.move(scope, State.CANCELLED, [{"id": one} for one in found], reason="cancelled", reason_text=why)


def second_steps(scope: Scope, subjects: Collection[str | None]) -> dict[str, datetime]:
    """Return when people left whose groups and permissions are still kept, by line."""
    rows = _offboardings(scope, {subject for subject in subjects if subject is not None})
    return {row.subject: datetime.fromisoformat(row.payload[LEFT_AT]) for row in rows if LEFT_AT in row.payload}


def _offboardings(scope: Scope, subjects: Collection[str]) -> Sequence[Any]:
    """The rows (id, subject, run_at, payload) of the offboardings planned in these lines, locked."""
    if not subjects:
        return []
    statement = (
        select(job.c.id, job.c.subject, job.c.run_at, job.c.payload)
        .where(among(scope.conn, job.c.subject, sorted(subjects)), job.c.kind == "offboard_user",
               job.c.state == literal_column("'scheduled'"))
        .order_by(job.c.id)
        .with_for_update()
    )  # fmt: skip
    return scope.conn.execute(statement).all()


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


def hold_something(scope: Scope, people: Sequence[User]) -> set[str]:
    """Return the ids of those who are in a group or have a permission of their own."""
    ids = sorted(user.id for user in people)
    if not ids:
        return set()
    held = (
        select(table.c.user_id).where(among(scope.conn, table.c.user_id, ids)) for table in (membership, permission)
    )
    return set(scope.conn.execute(union(*held)).scalars())


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

    A wall time that comes twice means the first time. One that a change of clocks skips is counted on from before the
    change: with an hour skipped at 02:00, 02:30 is what the clocks then call 03:30 (fold 0, PEP 495; RFC 5545, 3.3.5).
    """
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def next_look(scope: Scope, *, first: bool) -> datetime:
    """Return when to look for a group or manager who is not there yet."""
    return scope.now + (LOOK_SOON if first else LOOK_AGAIN)


def day_begins(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day in a zone."""
    return datetime.combine(day, time.min, tzinfo=zone)


def today(scope: Scope, zone: ZoneInfo) -> date:
    """Return the date that a calendar on the wall in `zone` shows."""
    return scope.now.astimezone(zone).date()
