"""Deleting a person for good: the rows, the personal data in the trail and in the ledger; what stays are digests."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Text, case, cast, delete, or_, select, update

from worker import ledger
from worker.bulk import select_by, update_rows
from worker.directory import access, graves
from worker.directory.accounts import User
from worker.directory.events import Action
from worker.door_tables import webhook_delivery
from worker.feed_tables import feed_action, feed_case, feed_message, feed_name, feed_person, feed_run
from worker.jobs import Name, NameKind, UserRef, fold
from worker.scope import Scope
from worker.tables import event, invitation, users

# What the trail keeps of an event once the person is gone: facts that say nothing about who it was.
_KEPT = frozenset({"active", "group", "origin", "revoked", "application", "changed"})


def pseudonym(user_id: str) -> str:
    """Return the name under which the trail keeps a deleted person: the end of the id, which is chance."""
    return f"deleted-{user_id[-12:]}"


def was_deleted(scope: Scope, ref: UserRef) -> bool:
    """Whether `ref` names somebody who was deleted."""
    grave = graves.find(scope, [ref.name]).get(ref.name)
    return grave is not None and not grave.renamed


def stop_jobs(scope: Scope, subject: str | None, *, keep: str) -> int:
    """Cancel everything that is still to be done for this line, but the job `keep`. Before the person's row is locked."""
    return 0 if subject is None else ledger.cancel_unfinished(scope, subject, by="delete_user", keep=keep)


def erase(scope: Scope, user: User, subject: str | None) -> dict[str, int]:
    """Delete an account whose row is locked; returns the credentials ended, by kind. The caller has asked `refusals`.

    Its names are never given again, its reports have no manager, and neither the trail, the ledger nor what the feeds
    keep says who it was.
    """
    conn = scope.conn
    counts = access.cut(scope, [user.id])[user.id]
    names: list[Name] = [(NameKind.USERNAME, user.username)]
    if user.external_id is not None:
        names.append((NameKind.EXTERNAL_ID, user.external_id))
    names += _leave_feeds(scope, user)
    graves.bury(scope, user.id, names, user.start_date or user.created_at.date())
    conn.execute(
        update(users)
        .where(users.c.manager == user.id)
        .values(manager=None, version=users.c.version + 1, updated_at=scope.now)
    )
    _forget_invitations(scope, user)
    _pseudonymise(scope, user)
    conn.execute(delete(users).where(users.c.id == user.id))
    if subject is not None:
        ledger.scrub_person(scope, subject)
    return counts


# What a plan says of a person; that there was a line, and of what kind, stays.
_SAID_IN_PLANS = ("external_id", "label", "text", "changes", "groups", "jobs", "person", "undo", "raw")


def _leave_feeds(scope: Scope, user: User) -> list[Name]:
    """Take the person out of what the feeds keep; returns the usernames that were kept for them and are nobody else's."""
    conn = scope.conn
    # As a candidate the account may stand in the case of somebody else: found by its id, which no name can look like.
    for row in conn.execute(
        select(feed_case.c.id, feed_case.c.candidates).where(cast(feed_case.c.candidates, Text).contains(user.id))
    ).all():
        others = [one for one in row.candidates if one.get("id") != user.id]
        conn.execute(update(feed_case).where(feed_case.c.id == row.id).values(candidates=others))
    conn.execute(delete(feed_case).where(feed_case.c.account == user.id))
    if user.external_id is None:
        return []
    known = conn.execute(
        delete(feed_person).where(feed_person.c.account == user.external_id)
        .returning(feed_person.c.source, feed_person.c.external_id)
    ).all()  # fmt: skip
    # What came by webhook and could not be read may speak of anybody.
    unread = (webhook_delivery.c.source.in_({row.source for row in known}), webhook_delivery.c.state == "refused")
    conn.execute(update(webhook_delivery).where(*unread).values(body=None))
    kept: set[str] = set()
    for source, external_id in known:
        runs = select(feed_run.c.id).where(feed_run.c.source == source)
        mine = (feed_action.c.external_id == external_id) & feed_action.c.run.in_(runs)
        conn.execute(update(feed_action).where(mine).values(dict.fromkeys(_SAID_IN_PLANS)))
        messages, cases, reserved = (
            (table.c.source == source) & (table.c.external_id == external_id)
            for table in (feed_message, feed_case, feed_name)
        )
        # A message that waits for a plan waits in vain.
        state = case((feed_message.c.state == "new", "refused"), else_=feed_message.c.state)
        conn.execute(update(feed_message).where(messages).values(external_id=None, raw=None, state=state))
        conn.execute(delete(feed_case).where(cases))
        names = conn.execute(delete(feed_name).where(reserved).returning(feed_name.c.username, feed_name.c.given)).all()
        kept |= {row.username for row in names if row.given}
    living = select_by(conn, users.c.username_folded, {fold(one) for one in kept}, users.c.username_folded,
                       where=[users.c.id != user.id])  # fmt: skip
    others_have = {row.username_folded for row in living}
    return [(NameKind.USERNAME, one) for one in sorted(kept) if fold(one) not in others_have]


def _forget_invitations(scope: Scope, user: User) -> None:
    """Delete the invitations that made or were sent to this account; open ones to a shared address are another's."""
    mine = invitation.c.user_id == user.id
    if user.email_folded is not None:
        sent = (invitation.c.email_folded == user.email_folded) & (invitation.c.state != "open")
        mine = or_(mine, sent)
    scope.conn.execute(delete(invitation).where(mine))


def _pseudonymise(scope: Scope, user: User) -> None:
    """Replace the person in the audit trail, as the one it happened to and as the one who did it, and who decided on feeds."""
    conn, name = scope.conn, pseudonym(user.id)
    told = conn.execute(
        select(event.c.id, event.c.action, event.c.data).where(event.c.target == user.id).order_by(event.c.id)
    ).all()
    usernames = {user.username}
    for row in told:
        if row.action == Action.USER_RENAMED:
            usernames.update((row.data or {}).get("username") or ())
    update_rows(
        conn, event,
        [{"id": row.id, "target_name": name, "why": None, "data": _impersonal(row.data or {})} for row in told],
    )  # fmt: skip
    for column in (
        event.c.actor, event.c.on_behalf_of, feed_run.c.requested_by, feed_run.c.approved_by, feed_case.c.decided_by,
    ):  # fmt: skip
        conn.execute(update(column.table).where(column.in_(sorted(usernames))).values({column.name: name}))


def _impersonal(data: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in data.items() if key in _KEPT}
    changes = data.get("changes")
    return kept | {"changes": sorted(changes)} if isinstance(changes, Mapping) else kept

