"""The one door that issues and checks credentials, and takes down logins, for the identity provider in front of it.

Issuing is one statement that reads the person FOR SHARE: it waits for a deactivation that is going on, and then finds
that there is nobody to issue to. Checking compares the epoch, so that whatever slipped through is dead anyway.
docs/identity-provider.md shows how the functions are used together.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, delete, exists, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.directory import access, accounts, passwords, tokens, trail
from worker.directory.accounts import User
from worker.directory.events import Action
from worker.ids import new_id
from worker.jobs import UserRef
from worker.scope import Scope
from worker.tables import consent, mfa_device, refresh_token, session, users

BadHash = passwords.BadHash
# Longer texts come from software that wants to be noticed; the column's width.
LONGEST_AGENT = 512


@dataclass(frozen=True)
class IssuedCredential:
    """A credential just made. `token` exists here and with whom it is handed to: only its digest is stored."""

    id: str
    user_id: str
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Session:
    """A session in force."""

    id: str
    user_id: str
    username: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token in force."""

    id: str
    user_id: str
    application: str
    session_id: str | None
    expires_at: datetime


@dataclass(frozen=True)
class MfaDevice:
    """A confirmed second factor of the present epoch. `secret_ref` says where the identity provider keeps the secret."""

    id: str
    type: str
    name: str
    secret_ref: str | None


# --------------------------------------------------------------------------------------------------- issuing


def _issue(
    scope: Scope, table: Table, values: Mapping[str, Any], *where: Any, also: Table | None = None, replaces: str = ""
) -> bool:
    """Insert one credential under the person's present epoch, if the person may act; False if not.

    `also`: another table whose row must be there and stay there meanwhile. `replaces`: the column that makes the row
    the same one as an older one of this person, which it then takes the place of.
    """
    columns = {"epoch": users.c.epoch, **{name: literal(value, table.c[name].type) for name, value in values.items()}}
    source = select(*columns.values()).where(users.c.id == values["user_id"], access.able(), *where)
    source = source.with_for_update(read=True, of=[users] if also is None else [users, also])
    made = (postgresql.insert(table) if scope.on_postgresql else sqlite.insert(table)).from_select(list(columns), source)
    if replaces:
        renewed = {name: made.excluded[name] for name in columns if name not in ("id", "user_id", replaces)}
        made = made.on_conflict_do_update(index_elements=[table.c.user_id, table.c[replaces]], set_=renewed)
    return scope.conn.execute(made.returning(table.c.id)).one_or_none() is not None



def issue_session(
    scope: Scope, user_id: str, ttl: timedelta, ip: str | None = None, user_agent: str | None = None
) -> IssuedCredential | None:
    """Open a session for somebody who has just proved who they are; None when the person may not get in."""
    made = IssuedCredential(new_id(), user_id, tokens.fresh(), scope.now + ttl)
    values = {
        "id": made.id,
        "user_id": user_id,
        "created_at": scope.now,
        "expires_at": made.expires_at,
        "digest": tokens.digest(made.token),
        "ip": ip,
        "user_agent": user_agent[:LONGEST_AGENT] if user_agent else None,
        "last_used_at": scope.now,
    }
    return made if _issue(scope, session, values) else None


def issue_refresh_token(
    scope: Scope, user_id: str, application: str, session_id: str | None, ttl: timedelta
) -> IssuedCredential | None:
    """Give an application a refresh token; None when the person may not get in, or the session is not in force.

    With a session it ends when that session is ended; without one (offline access) it stands alone.
    """
    made = IssuedCredential(new_id(), user_id, tokens.fresh(), scope.now + ttl)
    values = {
        "id": made.id,
        "user_id": user_id,
        "created_at": scope.now,
        "expires_at": made.expires_at,
        "digest": tokens.digest(made.token),
        "application": application,
        "session_id": session_id,
    }
    if session_id is None:
        return made if _issue(scope, refresh_token, values) else None
    bound = (session.c.id == session_id, session.c.user_id == users.c.id, *access.in_force(scope, access.SESSION))
    return made if _issue(scope, refresh_token, values, *bound, also=session) else None


def record_consent(
    scope: Scope, user_id: str, application: str, scopes: Collection[str], ttl: timedelta | None = None
) -> bool:
    """Note what a person allows an application, in place of what they allowed it before; False: may not get in."""
    values = {
        "id": new_id(),
        "user_id": user_id,
        "created_at": scope.now,
        "expires_at": None if ttl is None else scope.now + ttl,
        "application": application,
        "scopes": sorted(set(scopes)),
    }
    return _issue(scope, consent, values, replaces="application")


def register_mfa_device(
    scope: Scope, user_id: str, kind: str, name: str, secret_ref: str | None = None
) -> str | None:
    """Note a second factor, not yet confirmed; returns its id, None when the person may not get in."""
    device_id = new_id()
    values = {
        "id": device_id,
        "user_id": user_id,
        "created_at": scope.now,
        "type": kind,
        "name": name,
        "secret_ref": secret_ref,
    }
    return device_id if _issue(scope, mfa_device, values) else None


def confirm_mfa_device(scope: Scope, user_id: str, device_id: str) -> bool:
    """Note that the person has shown the factor to work; False when there is no such factor in force."""
    return _touch(scope, mfa_device, device_id, user_id, confirmed_at=scope.now, last_used_at=scope.now)


def used_mfa_device(scope: Scope, user_id: str, device_id: str) -> bool:
    """Note that the factor was used; False when there is no such factor in force, so that it must not count."""
    return _touch(scope, mfa_device, device_id, user_id, last_used_at=scope.now)


def _touch(scope: Scope, table: Table, row_id: str, user_id: str, **values: Any) -> bool:
    owner = exists().where(users.c.id == table.c.user_id, table.c.epoch == users.c.epoch, access.able())
    statement = update(table).values(values).where(table.c.id == row_id, table.c.user_id == user_id, owner)
    return scope.conn.execute(statement).rowcount == 1


# --------------------------------------------------------------------------------------------------- checking


def check_password(scope: Scope, ref: UserRef, password: str) -> User | None:
    """Return the person if the password is theirs and they may get in; as slow when there is no such person."""
    [user] = accounts.find(scope, [ref], lock=False)
    matches = passwords.verify(user.password_hash if user else None, password)
    return user if user is not None and user.usable and matches else None


def check_session(scope: Scope, token: str) -> Session | None:
    """Return the session that this token opens: of the present epoch, of an active person without lock, not expired."""
    statement = (
        select(session.c.id, session.c.user_id, users.c.username, session.c.created_at, session.c.expires_at)
        .join(users, users.c.id == session.c.user_id)
        .where(session.c.digest == tokens.digest(token), *access.in_force(scope, access.SESSION))
    )
    row = scope.conn.execute(statement).one_or_none()
    return None if row is None else Session(*row)


def check_refresh_token(scope: Scope, token: str, application: str) -> RefreshToken | None:
    """Return the refresh token in force that this is, if it was given to this application."""
    columns = ("id", "user_id", "application", "session_id", "expires_at")
    statement = (
        select(*(refresh_token.c[name] for name in columns))
        .join(users, users.c.id == refresh_token.c.user_id)
        .where(
            refresh_token.c.digest == tokens.digest(token),
            refresh_token.c.application == application,
            *access.in_force(scope, access.REFRESH_TOKEN),
        )
    )
    row = scope.conn.execute(statement).one_or_none()
    return None if row is None else RefreshToken(*row)


def rotate_refresh_token(scope: Scope, token: str, application: str, ttl: timedelta) -> IssuedCredential | None:
    """Put a fresh token in the place of one in force (RFC 9700, 4.14.2); of two who try, one gets it."""
    found = check_refresh_token(scope, token, application)
    if found is None:
        return None
    made = IssuedCredential(found.id, found.user_id, tokens.fresh(), scope.now + ttl)
    statement = (
        update(refresh_token)
        .values(digest=tokens.digest(made.token), expires_at=made.expires_at)
        .where(refresh_token.c.id == found.id, refresh_token.c.digest == tokens.digest(token))
    )
    return made if scope.conn.execute(statement).rowcount == 1 else None


def check_consent(scope: Scope, user_id: str, application: str, scopes: Collection[str]) -> bool:
    """Say whether the person allows the application all of this at present."""
    statement = (
        select(consent.c.scopes)
        .join(users, users.c.id == consent.c.user_id)
        .where(
            consent.c.user_id == user_id,
            consent.c.application == application,
            *access.in_force(scope, access.CONSENT),
        )
    )
    allowed = scope.conn.execute(statement).scalar_one_or_none()
    return allowed is not None and set(scopes) <= set(allowed)


def mfa_devices(scope: Scope, user_id: str) -> list[MfaDevice]:
    """Return the second factors that count: confirmed, of the present epoch, of a person who may get in."""
    statement = (
        select(mfa_device.c.id, mfa_device.c.type, mfa_device.c.name, mfa_device.c.secret_ref)
        .join(users, users.c.id == mfa_device.c.user_id)
        .where(
            mfa_device.c.user_id == user_id,
            mfa_device.c.confirmed_at.is_not(None),
            *access.in_force(scope, access.MFA_DEVICE),
        )
        .order_by(mfa_device.c.id)
    )
    return [MfaDevice(*row) for row in scope.conn.execute(statement)]


# ---------------------------------------------------------------------------------------------------- ending


def end_session(scope: Scope, token: str) -> str | None:
    """Log out: end the session that this token opens, and the refresh tokens that hang on it; returns whose it was."""
    statement = delete(session).where(session.c.digest == tokens.digest(token))
    row = scope.conn.execute(statement.returning(session.c.id, session.c.user_id)).one_or_none()
    if row is None:
        return None
    scope.conn.execute(delete(refresh_token).where(refresh_token.c.session_id == row.id))
    user_id: str = row.user_id
    return user_id


# ------------------------------------------------------------------------------------- what happened outside


def record_login(scope: Scope, user_id: str, session_id: str, ip: str | None = None) -> None:
    """Take down that somebody logged in."""
    scope.conn.execute(update(users).where(users.c.id == user_id).values(last_login_at=scope.now))
    _record(scope, Action.LOGIN_SUCCEEDED, user_id, session=session_id, ip=ip)


def record_login_failed(scope: Scope, ref: UserRef, reason: str, ip: str | None = None) -> None:
    """Take down that a login failed. Of somebody unknown not even the name: people type passwords there."""
    [user] = accounts.find(scope, [ref], lock=False)
    _record(scope, Action.LOGIN_FAILED, user.id if user else None, reason=reason, ip=ip)


def record_logout(scope: Scope, user_id: str, session_id: str | None = None, ip: str | None = None) -> None:
    """Take down that somebody logged out."""
    _record(scope, Action.LOGOUT, user_id, session=session_id, ip=ip)


def record_application_authorised(
    scope: Scope, user_id: str, application: str, scopes: Collection[str] = (), ip: str | None = None
) -> None:
    """Take down that somebody let an application in."""
    _record(scope, Action.APPLICATION_AUTHORISED, user_id, application=application, scopes=sorted(scopes), ip=ip)


def _record(scope: Scope, action: Action, user_id: str | None, **data: Any) -> None:
    found = accounts.by_ids(scope, [user_id], lock=False) if user_id else {}
    name = found[user_id].username if user_id in found else None
    known = {key: value for key, value in data.items() if value is not None}
    trail.record(scope, action, user_id, name, actor=name, data=known)


# --------------------------------------------------------------------------------------------------- password


def set_password(scope: Scope, user: User, password_hash: str, *, end_sessions: bool = True) -> access.Counts | None:
    """Store a password hash made at a door, and end what hung on the old password; None when it is stored already.

    Open links that set a password die in any case. Factors and consents stay. Raises passwords.BadHash. The person's
    row is locked by the caller.
    """
    checked = passwords.check_hash(password_hash)
    if checked == user.password_hash:
        return None
    scope.conn.execute(
        update(users)
        .where(users.c.id == user.id)
        .values(
            password_hash=checked, password_changed_at=scope.now, updated_at=scope.now, version=users.c.version + 1
        )
    )
    if end_sessions:
        return access.cut(scope, [user.id], kinds=access.PASSWORD_BOUND)[user.id]
    ended = access.end(scope, access.RECOVERY, access.RECOVERY.table.c.user_id == user.id)
    return {access.RECOVERY.counted: len(ended)}
