"""Access: the one table of credential kinds, and the one way to cut all or some of them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Table, and_, delete, func, or_, select, update

from worker.bulk import among, select_by
from worker.scope import Scope
from worker.tables import consent, invitation, mfa_device, recovery, refresh_token, session, users


@dataclass(frozen=True)
class CredentialKind:
    """One kind of thing that gets a person in. `counted` is its name in results.

    `keeps_rows`: ended rows stay for the record, as revoked, instead of being deleted.
    """

    name: str
    counted: str
    table: Table
    keeps_rows: bool = False

    @property
    def live(self) -> Any:
        """The condition that a row has not been ended."""
        return self.table.c.state == "open" if self.keeps_rows else self.table.c.id.is_not(None)


SESSION = CredentialKind("session", "sessions", session)
REFRESH_TOKEN = CredentialKind("refresh_token", "refresh_tokens", refresh_token)
CONSENT = CredentialKind("consent", "consents", consent)
MFA_DEVICE = CredentialKind("mfa_device", "mfa_devices", mfa_device)
# The row of a link that is dead still says why its mail must not be sent again.
RECOVERY = CredentialKind("recovery", "recoveries", recovery, keeps_rows=True)

#: Every kind. A new one is added here and nowhere else: `cut`, the counts and the tests are driven by it.
CREDENTIALS: tuple[CredentialKind, ...] = (SESSION, REFRESH_TOKEN, CONSENT, MFA_DEVICE, RECOVERY)

#: What ends when a password changes. Factors and consents stay: a link in a mailbox must not take the second factor off.
PASSWORD_BOUND: tuple[CredentialKind, ...] = (SESSION, REFRESH_TOKEN, RECOVERY)

Counts = dict[str, int]
CredentialId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


def cut(
    scope: Scope, user_ids: Sequence[str], *, kinds: Collection[CredentialKind] = CREDENTIALS
) -> dict[str, Counts]:
    """Raise the people's epoch and end their credentials of these kinds (else all of them), and say how many of each.

    A credential issued under an earlier epoch is dead, so whatever is being issued at this moment is dead too. The kinds
    left out live on under the new epoch. With all kinds, open invitations to the people's addresses are revoked as
    well (`invitations`). Set-based; the people's rows are locked by the caller, in a transaction that also does what
    the cut is for. Issuing waits for it and then finds what it left.
    """
    counts: dict[str, Counts] = {user_id: {kind.counted: 0 for kind in kinds} for user_id in user_ids}
    if not counts:
        return counts
    ids = sorted(counts)
    scope.conn.execute(update(users).where(among(scope.conn, users.c.id, ids)).values(epoch=users.c.epoch + 1))
    for kind in kinds:
        for user_id in end(scope, kind, among(scope.conn, kind.table.c.user_id, ids)):
            counts[user_id][kind.counted] += 1
    for kind in CREDENTIALS:
        if kind not in kinds:
            carry_over(scope, kind, ids)
    if len(kinds) == len(CREDENTIALS):
        for user_id, revoked in _revoke_invitations(scope, ids).items():
            counts[user_id]["invitations"] = revoked
    return counts


def end(scope: Scope, kind: CredentialKind, *which: Any) -> list[str]:
    """End the credentials of one kind that meet the conditions; returns whose each of them was."""
    table = kind.table
    statement: Any
    if kind.keeps_rows:
        statement = update(table).values(state="revoked").where(kind.live, *which)
    else:
        statement = delete(table).where(*which)
    return [row.user_id for row in scope.conn.execute(statement.returning(table.c.user_id))]


def carry_over(scope: Scope, kind: CredentialKind, user_ids: Sequence[str], *which: Any) -> None:
    """Let credentials of one kind live on after the epoch was raised by one; those that were dead stay dead."""
    table = kind.table
    present = select(users.c.epoch).where(users.c.id == table.c.user_id).scalar_subquery()
    scope.conn.execute(
        update(table)
        .values(epoch=present)
        .where(among(scope.conn, table.c.user_id, sorted(set(user_ids))), table.c.epoch == present - 1, *which)
    )


def _revoke_invitations(scope: Scope, user_ids: Sequence[str]) -> Counts:
    """Revoke open invitations to these people's addresses: a way back in that needs no account."""
    counts = dict.fromkeys(user_ids, 0)
    rows = select_by(scope.conn, users.c.id, user_ids, users.c.id, users.c.email_folded)
    owners: dict[str, list[str]] = {}
    for row in rows:
        if row.email_folded is not None:
            owners.setdefault(row.email_folded, []).append(row.id)
    if not owners:
        return counts
    statement = (
        update(invitation)
        .values(state="revoked")
        .where(invitation.c.state == "open", among(scope.conn, invitation.c.email_folded, sorted(owners)))
        .returning(invitation.c.email_folded)
    )
    for row in scope.conn.execute(statement):
        for user_id in owners[row.email_folded]:
            counts[user_id] += 1
    return counts


def usable(scope: Scope, user_ids: Collection[str]) -> dict[str, Counts]:
    """Return how many credentials of each kind would let each person in at this moment."""
    counts: dict[str, Counts] = {user_id: {kind.counted: 0 for kind in CREDENTIALS} for user_id in user_ids}
    if not counts:
        return counts
    for kind in CREDENTIALS:
        statement = select(kind.table.c.user_id).join(users, users.c.id == kind.table.c.user_id)
        statement = statement.where(among(scope.conn, users.c.id, sorted(counts)), *in_force(scope, kind))
        for user_id in scope.conn.execute(statement).scalars():
            counts[user_id][kind.counted] += 1
    return counts


def in_force(scope: Scope, kind: CredentialKind) -> tuple[Any, ...]:
    """The conditions, over a join with `users`, under which a credential of this kind lets somebody in."""
    table = kind.table
    return (
        kind.live,
        table.c.epoch == users.c.epoch,
        or_(table.c.expires_at.is_(None), table.c.expires_at > scope.now),
        able(),
    )


def able() -> Any:
    """The condition that a person may act at all: active and not locked."""
    return and_(users.c.is_active, users.c.locked_at.is_(None))


# ------------------------------------------------------------------------------ revoking one kind for one person


def revoke_sessions(
    scope: Scope, user_id: str, *, only: Iterable[str] | None = None, all_but: Iterable[str] | None = None
) -> Counts:
    """End all of a person's sessions, only some, or all but some, with the refresh tokens that hang on them.

    Unless only some are named, the epoch rises, so that a login going on at this moment is dead as well, and the kept
    sessions are carried over. Returns counts of rows really removed. The person's row is locked by the caller.
    """
    mine = session.c.user_id == user_id
    if only is not None:
        chosen = sorted(set(only))
        sessions = end(scope, SESSION, mine, session.c.id.in_(chosen))
        tokens = end(scope, REFRESH_TOKEN, refresh_token.c.user_id == user_id, refresh_token.c.session_id.in_(chosen))
        return {SESSION.counted: len(sessions), REFRESH_TOKEN.counted: len(tokens)}
    kept = sorted(set(all_but or ()))
    scope.conn.execute(update(users).where(users.c.id == user_id).values(epoch=users.c.epoch + 1))
    sessions = end(scope, SESSION, mine, session.c.id.not_in(kept))
    bound = refresh_token.c.session_id.is_not(None)
    tokens = end(
        scope, REFRESH_TOKEN, refresh_token.c.user_id == user_id, bound, refresh_token.c.session_id.not_in(kept)
    )
    for kind in CREDENTIALS:
        carry_over(scope, kind, [user_id])
    return {SESSION.counted: len(sessions), REFRESH_TOKEN.counted: len(tokens)}


def revoke_tokens(scope: Scope, user_id: str, *, application: str | None = None) -> Counts:
    """End a person's refresh tokens, all or those of one application; sessions stay. Returns the count."""
    return _revoke_of(scope, REFRESH_TOKEN, user_id, application)


def revoke_consents(scope: Scope, user_id: str, *, application: str | None = None) -> Counts:
    """Withdraw a person's consents, all or the one for one application. Returns the count."""
    return _revoke_of(scope, CONSENT, user_id, application)


def _revoke_of(scope: Scope, kind: CredentialKind, user_id: str, application: str | None) -> Counts:
    which = [kind.table.c.user_id == user_id]
    if application is not None:
        which.append(kind.table.c.application == application)
    return {kind.counted: len(end(scope, kind, *which))}


def remove_mfa_devices(scope: Scope, user_id: str, *, only: Iterable[str] | None = None) -> Counts:
    """Remove a person's MFA devices, all or some. Returns the count."""
    which: list[Any] = [mfa_device.c.user_id == user_id]
    if only is not None:
        which.append(mfa_device.c.id.in_(sorted(set(only))))
    return {MFA_DEVICE.counted: len(end(scope, MFA_DEVICE, *which))}


def confirmed_factors(scope: Scope, user_id: str) -> int:
    """Return how many MFA devices of a person are confirmed and of the present epoch."""
    statement = (
        select(func.count())
        .select_from(mfa_device.join(users, users.c.id == mfa_device.c.user_id))
        .where(users.c.id == user_id, mfa_device.c.epoch == users.c.epoch, mfa_device.c.confirmed_at.is_not(None))
    )
    return scope.conn.execute(statement).scalar_one()
