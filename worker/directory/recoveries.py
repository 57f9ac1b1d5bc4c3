"""Links with which a person sets a password: made, sent again unchanged, shown once, spent once, and dead in time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import exists, select, update

from worker.bulk import insert_rows
from worker.directory import access, accounts, addressees, credentials, passwords, tokens, trail
from worker.directory.accounts import User
from worker.directory.events import Action
from worker.ids import new_id
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import recovery, users

Purpose = Literal["recovery", "welcome"]

# NIST SP 800-63B allows codes by mail for a day at most; below five minutes a slow mail server eats the time.
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=24)
# Two requests within a minute are one impatient person.
REPEAT = timedelta(seconds=60)

needing_access = addressees.needing_access
reachable = addressees.reachable
manager_of = addressees.manager_of
language = addressees.language
able = addressees.able


@dataclass(frozen=True)
class Recovery:
    """A link in force. `token` is never stored: it follows from the secret key, the id and a nonce."""

    id: str
    user_id: str
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Shown:
    """What the page behind a link may say before anything is spent."""

    user_id: str
    username: str
    purpose: str
    expires_at: datetime
    name: str
    email: str | None
    locale: str | None
    zone: str | None


@dataclass(frozen=True)
class Redeemed:
    """A link was spent.

    `id` is the link's; `ended` counts what hung on the old password; `follow` is the job to submit in the same
    transaction: (kind, fields).
    """

    id: str
    user: User
    ended: access.Counts
    follow: tuple[str, Mapping[str, Any]]


# ---------------------------------------------------------------------------------------------------- making


def create(
    scope: Scope,
    user: User,
    *,
    purpose: Purpose,
    valid_for: timedelta,
    requested_by: str | None = None,
    job: str | None = None,
) -> Recovery:
    """Make a link for somebody whose row is locked; it dies with their present access and address."""
    recovery_id, nonce = new_id(), tokens.nonce()
    token = tokens.derive(scope.settings, "recovery", recovery_id, nonce)
    row = {
        "id": recovery_id,
        "user_id": user.id,
        "epoch": user.epoch,
        "created_at": scope.now,
        "expires_at": scope.now + valid_for,
        "purpose": purpose,
        "digest": tokens.digest(token),
        "nonce": nonce,
        "email_folded": user.email_folded,
        "requested_by": requested_by,
        "job": job,
        "state": "open",
    }
    insert_rows(scope.conn, recovery, [row])
    return Recovery(recovery_id, user.id, token, scope.now + valid_for)


def rederive(scope: Scope, recovery_id: str) -> Recovery:
    """Return a link again, token and all. Raises Reject bad_recovery when it is not open, or can be shown no more."""
    row = scope.conn.execute(select(recovery).where(recovery.c.id == recovery_id)).one_or_none()
    if row is None or row.state != "open" or not row.nonce or row.expires_at <= scope.now:
        raise Reject("bad_recovery")
    token = tokens.derive(scope.settings, "recovery", recovery_id, row.nonce)
    if tokens.digest(token) != row.digest:  # made under another secret key
        raise Reject("bad_recovery")
    return Recovery(recovery_id, row.user_id, token, row.expires_at)


def address(scope: Scope, found: Recovery) -> str:
    """Return the address of the page that spends this link."""
    return scope.settings.recovery_page.replace("{token}", found.token)


def show(scope: Scope, recovery_id: str, *, shown_to: str) -> str:
    """Return the address of a link once, to an administrator, and take that down. Raises Reject bad_recovery.

    What it was made from is forgotten, so that nobody can have it shown again.
    """
    found = rederive(scope, recovery_id)
    scope.conn.execute(update(recovery).where(recovery.c.id == recovery_id).values(nonce=""))
    user = accounts.by_ids(scope, [found.user_id], lock=False)[found.user_id]
    trail.record(
        scope, Action.RECOVERY_LINK_SHOWN, user.id, user.username, actor=shown_to, data={"recovery": recovery_id}
    )
    return address(scope, found)


def supersede_older(scope: Scope, user_id: str, keep: str) -> int:
    """Let the open links of a person that are older than `keep` die; returns how many."""
    return _supersede(scope, recovery.c.user_id == user_id, recovery.c.id < keep)


def _supersede(scope: Scope, *which: Any) -> int:
    statement = update(recovery).values(state="superseded").where(recovery.c.state == "open", *which)
    return scope.conn.execute(statement).rowcount


# ------------------------------------------------------------------------------------------ before every try


def admit(
    scope: Scope,
    user: User,
    *,
    purpose: Purpose,
    valid_for: timedelta,
    requested_by: str | None,
    job: str,
    frozen: Mapping[str, Any],
) -> Recovery:
    """Return the link that a mail job may carry now; `frozen` is what its earlier tries froze (`recovery`, `handed`).

    The first try makes the link. A later one gives it the full time again, unless it was handed over before: then
    it is the very same link with the same end. Raises Reject coalesced, superseded, no_longer_needed, access_changed,
    address_changed, expired.
    """
    _not_behind_a_newer(scope, user, purpose, job)
    if "recovery" not in frozen:
        _not_a_repeat(scope, user, purpose, job)
        return create(scope, user, purpose=purpose, valid_for=valid_for, requested_by=requested_by, job=job)
    row = scope.conn.execute(
        select(recovery).where(recovery.c.id == frozen["recovery"]).with_for_update()
    ).one_or_none()
    if row is not None and row.state == "used":
        raise Reject("no_longer_needed", user=user.label)
    if row is not None and row.state == "superseded":
        raise Reject("superseded", by=_newest_job(scope, user) or "unknown")
    if row is None or row.state != "open" or row.epoch != user.epoch:
        raise Reject("access_changed", user=user.label)
    if row.email_folded != user.email_folded:
        raise Reject("address_changed", user=user.label)
    if frozen.get("handed"):
        if row.expires_at - scope.now < valid_for / 2:
            raise Reject("expired", life=valid_for)
        expires_at = row.expires_at
    else:
        expires_at = scope.now + valid_for
        scope.conn.execute(update(recovery).where(recovery.c.id == row.id).values(expires_at=expires_at))
    return Recovery(row.id, user.id, tokens.derive(scope.settings, "recovery", row.id, row.nonce), expires_at)


def _not_behind_a_newer(scope: Scope, user: User, purpose: Purpose, job: str) -> None:
    """A later request takes the place of this one: its link is the one that will last."""
    newer = _others(scope, user, purpose, job, recovery.c.job > job)
    if newer is not None:
        raise Reject("superseded", by=newer)


def _not_a_repeat(scope: Scope, user: User, purpose: Purpose, job: str) -> None:
    just_now = _others(scope, user, purpose, job, recovery.c.created_at > scope.now - REPEAT)
    if just_now is not None:
        raise Reject("coalesced", user=user.label, by=just_now)


def _others(scope: Scope, user: User, purpose: Purpose, job: str, *which: Any) -> str | None:
    """The newest other job with a link in force for the same person and purpose."""
    statement = select(recovery.c.job).where(
        recovery.c.user_id == user.id,
        recovery.c.purpose == purpose,
        recovery.c.state == "open",
        recovery.c.epoch == user.epoch,
        recovery.c.expires_at > scope.now,
        recovery.c.job != job,
        *which,
    )
    return scope.conn.execute(statement.order_by(recovery.c.id.desc()).limit(1)).scalar_one_or_none()


def _newest_job(scope: Scope, user: User) -> str | None:
    statement = select(recovery.c.job).where(recovery.c.user_id == user.id, recovery.c.job.is_not(None))
    return scope.conn.execute(statement.order_by(recovery.c.id.desc()).limit(1)).scalar_one_or_none()


# ------------------------------------------------------------------------------------------- behind the link


def _in_force(scope: Scope) -> tuple[Any, ...]:
    return (*access.in_force(scope, access.RECOVERY), recovery.c.email_folded.is_not_distinct_from(users.c.email_folded))


def look(scope: Scope, token: str) -> Shown | None:
    """Return what a link is for, for the page that shows the form; spends nothing, however often it is opened."""
    person = (users.c.name, users.c.email, users.c.locale, users.c.zone)
    statement = (
        select(users.c.id, users.c.username, recovery.c.purpose, recovery.c.expires_at, *person)
        .join(users, users.c.id == recovery.c.user_id)
        .where(recovery.c.digest == tokens.digest(token), *_in_force(scope))
    )
    row = scope.conn.execute(statement).one_or_none()
    return None if row is None else Shown(*row)


def redeem(scope: Scope, token: str, password_hash: str) -> Redeemed:
    """Spend a link: store the new password's hash and end what hung on the old one, in this one transaction.

    Of two who try at once one gets through. All other links of the person die. Raises Reject bad_recovery (nothing
    says why, so that a guess learns nothing) and bad_hash (the link is not spent then).
    """
    digest = tokens.digest(token)
    owner = scope.conn.execute(select(recovery.c.user_id).where(recovery.c.digest == digest)).scalar_one_or_none()
    user = accounts.by_ids(scope, [owner]).get(owner) if owner else None
    if user is None:
        raise Reject("bad_recovery")
    try:
        passwords.check_hash(password_hash)
    except passwords.BadHash as problem:
        raise Reject("bad_hash", user=user.label, problem=problem) from None
    allowed = exists().where(users.c.id == recovery.c.user_id, *_in_force(scope))
    spent = update(recovery).values(state="used", used_at=scope.now).where(recovery.c.digest == digest, allowed)
    row = scope.conn.execute(spent.returning(recovery.c.id, recovery.c.purpose)).one_or_none()
    if row is None:
        raise Reject("bad_recovery")
    _supersede(scope, recovery.c.user_id == user.id)
    ended = credentials.set_password(scope, user, password_hash) or {}
    trail.record(
        scope, Action.RECOVERY_USED, user.id, user.username, actor=user.username,
        data={"recovery": row.id, "purpose": row.purpose, "ended": ended},
    )  # fmt: skip
    trail.record(scope, Action.PASSWORD_CHANGED, user.id, user.username, actor=user.username)
    notice = {"user": user.ref, "changed_at": scope.now.isoformat(), "changed_by": user.name or user.username}
    return Redeemed(row.id, user, ended, ("send_password_changed_email", notice))
