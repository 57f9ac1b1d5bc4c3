"""Invitations: somebody without an account is asked by mail to open one, and can do so once."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, update

from worker.bulk import insert_rows
from worker.directory import addressees, addresses, tokens
from worker.directory.addresses import Email
from worker.ids import new_id
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import invitation

# A week-end and a holiday fit in; a link that lies about for longer is forgotten.
SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=30)

read_address = addresses.read
relay = addressees.relay


@dataclass(frozen=True)
class Invitation:
    """An open invitation. `token` is never stored: it follows from the secret key, the id and a nonce."""

    id: str
    token: str = field(repr=False)
    email: str
    name: str | None
    groups: tuple[str, ...]
    path: str
    invited_by: str | None
    expires_at: datetime


def _invitation(scope: Scope, row: Row[Any]) -> Invitation:
    token = tokens.derive(scope.settings, "invitation", row.id, row.nonce or "")
    return Invitation(row.id, token, row.email, row.name, tuple(row.groups), row.path, row.invited_by, row.expires_at)


def create(
    scope: Scope,
    to: Email,
    *,
    name: str | None,
    groups: Sequence[str],
    path: str,
    valid_for: timedelta,
    invited_by: str | None,
    job: str | None,
) -> Invitation:
    """Note an invitation; of its token only the digest."""
    invitation_id, nonce = new_id(), tokens.nonce()
    row = {
        "id": invitation_id,
        "email": to.mailbox,
        "email_folded": to.folded,
        "name": name,
        "digest": tokens.digest(tokens.derive(scope.settings, "invitation", invitation_id, nonce)),
        "nonce": nonce,
        "invited_by": invited_by,
        "groups": list(groups),
        "path": path,
        "job": job,
        "state": "open",
        "created_at": scope.now,
        "expires_at": scope.now + valid_for,
    }
    insert_rows(scope.conn, invitation, [row])
    made = scope.conn.execute(select(invitation).where(invitation.c.id == invitation_id)).one()
    return _invitation(scope, made)


def again(scope: Scope, frozen: Mapping[str, Any], valid_for: timedelta) -> Invitation:
    """Return what a later try of an invitation's mail may carry.

    The same link; with the full time again if the mail was never handed over. Raises Reject no_longer_needed,
    bad_invitation, expired.
    """
    row = _locked(scope, frozen["invitation"])
    if row is not None and row.state == "used":
        raise Reject("no_longer_needed", user=row.email)
    if row is None or row.state != "open":
        raise Reject("bad_invitation")
    if frozen.get("handed"):
        if row.expires_at - scope.now < valid_for / 2:
            raise Reject("expired", life=valid_for)
        return _invitation(scope, row)
    scope.conn.execute(update(invitation).where(invitation.c.id == row.id).values(expires_at=scope.now + valid_for))
    return _invitation(scope, scope.conn.execute(select(invitation).where(invitation.c.id == row.id)).one())


def address(scope: Scope, found: Invitation) -> str:
    """Return the address of the page where this invitation is accepted."""
    return scope.settings.invitation_page.replace("{token}", found.token)


def revoke_older(scope: Scope, keep: str) -> int:
    """Let older open invitations to the same address die; returns how many."""
    folded = select(invitation.c.email_folded).where(invitation.c.id == keep).scalar_subquery()
    statement = update(invitation).values(state="revoked").where(
        invitation.c.state == "open", invitation.c.id < keep, invitation.c.email_folded == folded
    )
    return scope.conn.execute(statement).rowcount


def look(scope: Scope, token: str) -> Invitation | None:
    """Return the invitation that this token opens, for the page that shows the form; spends nothing."""
    row = scope.conn.execute(select(invitation).where(invitation.c.digest == tokens.digest(token))).one_or_none()
    return None if row is None or not _open(scope, row) else _invitation(scope, row)


def proof(scope: Scope, found: Invitation) -> str:
    """Return what the page gives to accept_invitation in the token's stead, so that the token enters no job."""
    return tokens.derive(scope.settings, "acceptance", found.id, found.token)


def proven(scope: Scope, invitation_id: str, given: str) -> Invitation:
    """Return an open invitation, locked, to somebody whose page has seen its token. Raises Reject bad_invitation."""
    row = _locked(scope, invitation_id)
    if row is None or not _open(scope, row):
        raise Reject("bad_invitation")
    found = _invitation(scope, row)
    if not hmac.compare_digest(proof(scope, found).encode(), given.encode()):
        raise Reject("bad_invitation")
    return found


def consume(scope: Scope, found: Invitation, user_id: str) -> None:
    """Spend an invitation, in the transaction that made the account: if that fails, the invitation stays open."""
    scope.conn.execute(
        update(invitation)
        .where(invitation.c.id == found.id)
        .values(state="used", used_at=scope.now, user_id=user_id)
    )


def _locked(scope: Scope, invitation_id: str) -> Row[Any] | None:
    return scope.conn.execute(
        select(invitation).where(invitation.c.id == invitation_id).with_for_update()
    ).one_or_none()


def _open(scope: Scope, row: Row[Any]) -> bool:
    return row.state == "open" and row.expires_at is not None and bool(row.expires_at > scope.now)
