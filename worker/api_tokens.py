"""API tokens: who may come in by HTTP and what for. Shown once, kept as a digest, expiring, revocable."""

import fnmatch
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from worker.bulk import insert_rows
from worker.directory.tokens import digest, fresh
from worker.door_tables import api_token, console_session
from worker.ids import new_id
from worker.scope import Scope

PREFIX = "muster"
# The open part, by which a token is found; eight letters make two of a million tokens meet once in a thousand years.
LOOKUP_BYTES = 6
# One write a minute and token says when it was last used, not one a request.
USED_EVERY = timedelta(minutes=1)

#: What a token may be allowed: the scope, or its beginning before a pattern, and what it opens.
SCOPES: Mapping[str, str] = {
    "jobs:submit:": "submit jobs of these kinds: jobs:submit:* or jobs:submit:add_*",
    "jobs:read": "see every job; without it a token sees the jobs that it submitted itself",
    "jobs:operate": "retry, release and cancel jobs, whoever submitted them",
    "users:read": "see people, groups, credentials (never what opens the door) and the audit trail",
    "feeds:read": "see feeds, plans, runs and open cases",
    "feeds:push:": "hand in files and messages of these feeds, and plan them: feeds:push:hr",
    "feeds:approve:": "approve, apply and drop plans, and decide cases, of these feeds: feeds:approve:*",
    "scim": "be a SCIM client: read people and groups, and change them by jobs",
    "metrics": "read /metrics",
    "admin": "everything, tokens and webhook endpoints included",
}

# What changes who has power here, or cannot be taken back: for administrators, not for the people who operate.
GRAVE = frozenset({
    "create_recovery_link", "delete_group", "delete_user", "grant_permission", "release_legal_hold", "reset_password",
    "revoke_permission", "set_legal_hold", "unlock_user",
})  # fmt: skip

#: Words for several scopes at once; a token is stored with the word, so that it grows with Muster.
ROLES: Mapping[str, tuple[str, ...]] = {
    "look": ("jobs:read", "users:read", "feeds:read"),
    "operate": ("jobs:read", "users:read", "feeds:read", "jobs:operate", "jobs:submit:*", "feeds:push:*", "feeds:approve:*"),
}  # fmt: skip

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_SCOPE_END = re.compile(r"[A-Za-z0-9_.*?\[\]-]{1,64}")


class BadToken(ValueError):
    """A token cannot be made like this."""


@dataclass(frozen=True)
class Caller:
    """Whoever holds a token. `source` is what its jobs are kept under: the token is the source, whatever it says."""

    id: str
    name: str
    scopes: tuple[str, ...]

    @property
    def source(self) -> str:
        """The source of the jobs that this token submits."""
        return f"token/{self.name}"

    def may(self, needed: str) -> bool:
        """Say whether the token allows `needed`, a whole scope such as jobs:submit:add_to_group."""
        return "admin" in self.scopes or any(_allows(scope, needed) for scope in self.scopes)


def _allows(scope: str, needed: str) -> bool:
    if scope in ROLES:
        grave = needed.removeprefix("jobs:submit:") in GRAVE
        return not grave and any(fnmatch.fnmatchcase(needed, one) for one in ROLES[scope])
    return fnmatch.fnmatchcase(needed, scope)


# ------------------------------------------------------------------------------------------------------- making


def check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the scopes, sorted, each once. Raises BadToken naming one that there is not."""
    for scope in scopes:
        open_ended = next((head for head in SCOPES if head.endswith(":") and scope.startswith(head)), None)
        if scope in ROLES or (scope in SCOPES and not scope.endswith(":")):
            continue
        if open_ended is None or not _SCOPE_END.fullmatch(scope.removeprefix(open_ended)):
            known = ", ".join([*ROLES, *(head + "PATTERN" if head.endswith(":") else head for head in SCOPES)])
            raise BadToken(f"There is no scope {scope!r}. The scopes are: {known}.")
    if not scopes:
        raise BadToken("A token without a scope opens nothing. Name one, such as jobs:submit:* or look.")
    return tuple(sorted(set(scopes)))


def create(
    scope: Scope, name: str, scopes: Sequence[str], *, by: str, expires_at: datetime | None = None
) -> str:
    """Make a token and return it: the only time that it is seen. Raises BadToken."""
    if not _NAME.fullmatch(name):
        raise BadToken("A token's name has 1 to 64 of a-z, 0-9, dot, dash and underscore, such as hr-sync.")
    if expires_at is not None and expires_at <= scope.now:
        raise BadToken("The token would have expired already.")
    allowed = check_scopes(scopes)
    lookup = secrets.token_hex(LOOKUP_BYTES)
    token = f"{PREFIX}_{lookup}_{fresh()}"
    row = {
        "id": new_id(), "name": name, "lookup": lookup, "digest": digest(token), "scopes": list(allowed),
        "created_at": scope.now, "created_by": by, "expires_at": expires_at,
    }  # fmt: skip
    made = insert_rows(scope.conn, api_token, [row], conflict="skip", returning=[api_token.c.id])
    if not made:
        raise BadToken(f"There is, or was, a token {name}. Jobs are known by it, so every name is given once; choose another.")
    return token


def revoke(scope: Scope, name: str, *, by: str) -> bool:
    """End a token and the console sessions opened with it, from this commit on; False if it had ended before."""
    row = scope.conn.execute(select(api_token).where(api_token.c.name == name)).one_or_none()
    if row is None:
        raise BadToken(f"There is no token {name}. `muster token list` shows them.")
    change = update(api_token).where(api_token.c.id == row.id, api_token.c.revoked_at.is_(None))
    ended = scope.conn.execute(change.values(revoked_at=scope.now, revoked_by=by)).rowcount
    scope.conn.execute(console_session.delete().where(console_session.c.token == row.id))
    return bool(ended)


def listed(conn: Connection, now: datetime) -> list[dict[str, Any]]:
    """Return all tokens by name, without anything that opens a door."""
    rows = conn.execute(select(api_token).order_by(api_token.c.name))
    return [
        {
            "name": row.name, "scopes": list(row.scopes), "state": _state(row, now), "created_at": row.created_at,
            "created_by": row.created_by, "expires_at": row.expires_at, "last_used_at": row.last_used_at,
            "revoked_at": row.revoked_at, "revoked_by": row.revoked_by,
        }
        for row in rows
    ]  # fmt: skip


def _state(row: Any, now: datetime) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "valid"


# ----------------------------------------------------------------------------------------------------- checking


def find(conn: Connection, token: str, now: datetime) -> tuple[Caller, bool] | None:
    """Return who holds this token and whether its use is to be noted; None for one that opens nothing.

    The row is found by the open part; the secret part is compared by its digest, in constant time.
    """
    parts = token.split("_", 2)
    if len(parts) != 3 or parts[0] != PREFIX or len(token) > 200 or not token.isascii():
        return None
    row = conn.execute(select(api_token).where(api_token.c.lookup == parts[1])).one_or_none()
    given = digest(token)
    if not hmac.compare_digest(given, row.digest if row is not None else digest("nobody")) or row is None:
        return None
    return _caller(row, now)


def by_id(conn: Connection, token_id: str, now: datetime) -> tuple[Caller, bool] | None:
    """Return who holds the token of this id, if it still opens anything; for console sessions."""
    row = conn.execute(select(api_token).where(api_token.c.id == token_id)).one_or_none()
    return None if row is None else _caller(row, now)


def _caller(row: Any, now: datetime) -> tuple[Caller, bool] | None:
    if _state(row, now) != "valid":
        return None
    stale = row.last_used_at is None or now - row.last_used_at >= USED_EVERY
    return Caller(row.id, row.name, tuple(row.scopes)), stale


def note_use(conn: Connection, token_id: str, now: datetime) -> None:
    """Note that a token was used, once a minute at most."""
    used = (api_token.c.last_used_at.is_(None)) | (api_token.c.last_used_at <= now - USED_EVERY)
    conn.execute(update(api_token).where(api_token.c.id == token_id, used).values(last_used_at=now))
