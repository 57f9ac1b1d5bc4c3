"""Who can be sent a mail, and the named reason when somebody cannot."""

from worker.directory import accounts, addresses
from worker.directory.accounts import User
from worker.jobs import UserRef
from worker.outcomes import Reject
from worker.scope import Scope


def needing_access(scope: Scope, ref: UserRef) -> User:
    """Return somebody who may be sent a link that lets them in, their row locked; re-read before every try.

    Raises Reject unknown_user, inactive, locked, no_email, bad_email, no_relay, in this order.
    """
    user = able(accounts.get(scope, ref))
    reachable(scope, user)
    return user


def able(user: User) -> User:
    """Return somebody who may get in. Raises Reject inactive, locked."""
    if not user.is_active:
        raise Reject("inactive", user=user.label)
    if user.locked:
        raise Reject("locked", user=user.label, owner=user.lock_owner)
    return user


def reachable(scope: Scope, user: User) -> str:
    """Return the address of somebody, whatever the state of the account. Raises Reject no_email, bad_email, no_relay."""
    if user.email is None:
        raise Reject("no_email", user=user.label)
    mailbox = addresses.read(scope, user.email, user.label).mailbox
    relay(scope, user.label)
    return mailbox


def relay(scope: Scope, to: str) -> None:
    """Refuse to go on when mails have nowhere to go. Raises Reject no_relay."""
    if scope.settings.mail_destination is None:
        raise Reject("no_relay", user=to)


def manager_of(scope: Scope, user: User) -> User:
    """Return the manager to be told about somebody. Raises Reject no_manager, bad_email, no_relay."""
    found = accounts.by_ids(scope, [user.manager], lock=False) if user.manager else {}
    manager = found.get(user.manager or "")
    if manager is None or not manager.is_active or manager.email is None:
        raise Reject("no_manager", user=user.label)
    reachable(scope, manager)
    return manager


def language(scope: Scope, user: User) -> dict[str, str]:
    """The language and the time zone in which somebody reads: their own, else those of the settings."""
    return {"locale": user.locale or scope.settings.locale, "zone": user.zone or scope.settings.zone}
