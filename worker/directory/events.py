"""What the audit trail can say: every action once, noun.verb."""

from enum import StrEnum
from typing import Any, Protocol


class Teller(Protocol):
    """Whoever takes events down: the context of a single job, or one item of a batch."""

    def event(self, action: str, target: str | None, name: str | None, **data: Any) -> None: ...


class Action(StrEnum):
    """The actions of the audit trail. Append only: old events keep their words.

    In an event's data other people stand by their id, never by name or address, so that deleting a person
    leaves nothing of them behind in the events of others.
    """

    USER_CREATED = "user.created"
    USER_ADOPTED = "user.adopted"
    USER_UPDATED = "user.updated"
    USER_RENAMED = "user.renamed"
    USER_DEACTIVATED = "user.deactivated"
    USER_REACTIVATED = "user.reactivated"
    USER_DELETED = "user.deleted"
    USER_DELETION_SCHEDULED = "user.deletion_scheduled"
    USER_DELETION_CANCELLED = "user.deletion_cancelled"
    USER_HELD = "user.held"
    USER_RELEASED = "user.released"
    USER_LOCKED = "user.locked"
    USER_UNLOCKED = "user.unlocked"
    USER_ONBOARDED = "user.onboarded"
    USER_TRANSFERRED = "user.transferred"
    USER_OFFBOARDED = "user.offboarded"
    USER_OFFBOARDING_SCHEDULED = "user.offboarding_scheduled"
    ACCESS_CUT = "access.cut"
    MEMBERSHIP_ADDED = "membership.added"
    MEMBERSHIP_REMOVED = "membership.removed"

    GROUP_CREATED = "group.created"
    GROUP_UPDATED = "group.updated"
    GROUP_RENAMED = "group.renamed"
    GROUP_DELETED = "group.deleted"
    PERMISSION_GRANTED = "permission.granted"
    PERMISSION_REVOKED = "permission.revoked"

    SESSIONS_REVOKED = "sessions.revoked"
    TOKENS_REVOKED = "tokens.revoked"
    CONSENTS_REVOKED = "consents.revoked"
    MFA_DEVICES_REMOVED = "mfa_devices.removed"
    LAST_FACTOR_REMOVED = "last_factor.removed"

    PASSWORD_CHANGED = "password.changed"  # noqa: S105 (no password)
    RECOVERY_ISSUED = "recovery.issued"
    RECOVERY_SENT = "recovery.sent"
    RECOVERY_LINK_SHOWN = "recovery.link_shown"
    RECOVERY_USED = "recovery.used"
    WELCOME_SENT = "welcome.sent"
    PASSWORD_NOTICE_SENT = "password_notice.sent"  # noqa: S105
    MANAGER_NOTICE_SENT = "manager_notice.sent"
    INVITATION_SENT = "invitation.sent"
    INVITATION_ACCEPTED = "invitation.accepted"

    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    LOGOUT = "logout.done"
    APPLICATION_AUTHORISED = "application.authorised"

    WEBHOOK_ADDED = "webhook.added"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_ROTATED = "webhook.rotated"
    WEBHOOK_PAUSED = "webhook.paused"
    WEBHOOK_RESUMED = "webhook.resumed"
    WEBHOOK_REMOVED = "webhook.removed"
    WEBHOOK_REPLAYED = "webhook.replayed"
