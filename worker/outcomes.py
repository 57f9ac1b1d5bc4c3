"""How a job can end: done, refused for good, tried again, or put off; and the words people read for each refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Reason:
    """What one refusal says to a person.

    `text` names the record ({braces} are filled from the facts) and says what to do next.
    `curable` refusals may go through later unchanged, so a replay of the same message tries again.
    `overtaken`: the job ends as cancelled rather than rejected, because something later made it pointless.
    """

    text: str
    curable: bool = False
    overtaken: bool = False


REASONS: Mapping[str, Reason] = {
    # people
    "unknown_user": Reason("There is no user {user}. Create the user first, then retry this job.", curable=True),
    "unknown_group": Reason("There is no group {group}. Create the group first, then retry this job.", curable=True),
    "unknown_manager": Reason("There is no user {manager} to be the manager. Create that user first, then retry.",
                              curable=True),
    "username_taken": Reason("The username {username} belongs to somebody else, or once did. Choose another one."),
    "external_id_taken": Reason("The external id {external_id} already belongs to the user {username}. Check which of "
                                "the two records is wrong."),
    "email_taken": Reason("The e-mail address of {user} already belongs to another user, and addresses must be unique "
                          "here. Correct one of the two."),
    "conflicting_names": Reason("The names given for this person lead to different users: {users}. Name one person."),
    "deleted": Reason("{user} was deleted and a late message must not bring the account back. A newer hire date makes "
                      "a new account."),
    "stale_version": Reason("{user} is at version {version}, not {expected}: somebody changed it since. Read it again "
                            "and decide whether the change still applies."),
    "invalid": Reason("The change to {user} is not acceptable: {problem}. Correct it and submit it under a new key."),
    "protected_type": Reason("{user} is an internal service account and cannot be changed or deleted by jobs."),
    "own_manager": Reason("{user} cannot be their own manager. Name another person."),
    # holds
    "legal_hold": Reason("{user} is under legal hold and may not be deleted. Release the hold first, then retry.",
                         curable=True),
    "locked": Reason("{user} is locked by {owner}. Only unlock_user lifts a security lock; then retry.", curable=True),
    "not_locked": Reason("{user} is not locked."),
    "inactive": Reason("{user} is not active. Reactivate the user first, then retry.", curable=True),
    "not_scheduled": Reason("No deletion of {user} is scheduled, so there is nothing to restore."),
    "schedule_changed": Reason("The deletion of {user} was moved or taken back after this job was planned, so nothing was "
                               "deleted."),
    "last_administrator": Reason("{user} is the last administrator. Make somebody else an administrator first, then "
                                 "retry.", curable=True),
    # groups and permissions
    "group_exists": Reason("There is already a group {group}. Use update_group to change it."),
    "group_cycle": Reason("{group} cannot be below {parent}: that would make a circle. Choose another parent."),
    "administrators_group": Reason("{group} is the group of the administrators, which the setting MUSTER_ADMINISTRATORS "
                                   "names; it cannot be renamed or deleted. Change the setting first."),
    "group_not_empty": Reason("{group} still has {count} members or child groups. Remove them, or say force."),
    # access
    "too_many": Reason("More than {limit} were named in one job. Split it."),
    "wildcard_needs_consent": Reason("Nothing was named. Say all: true to mean every one of them."),
    # recovery and mail
    "no_email": Reason("{user} has no e-mail address. Add one, then retry this job.", curable=True),
    "bad_email": Reason("The e-mail address of {user} cannot be used: {problem}. Correct it, then retry this job.",
                        curable=True),
    "no_relay": Reason("No mail relay is configured, so nothing was sent to {user}. Set MUSTER_SMTP_URL (or "
                       "MUSTER_MAIL_FOLDER for trying out), then retry this job.", curable=True),
    "no_manager": Reason("{user} has no manager with an e-mail address, so no notice was sent.", curable=True),
    "coalesced": Reason("{user} was sent such a mail less than a minute ago, by the job {by}; one is enough. Ask again "
                        "in a minute if it does not arrive."),
    "address_changed": Reason("The e-mail address of {user} changed after this mail was asked for, so it was not sent "
                              "to the old one. Ask for a new mail.", overtaken=True),
    "access_changed": Reason("The access of {user} was revoked after this mail was asked for, so its link would be "
                             "dead. Ask for a new mail.", overtaken=True),
    "superseded": Reason("A later job, {by}, took the place of this one.", overtaken=True),
    "expired": Reason("This was not handed over within its useful life ({life}). Retry it to send it afresh.",
                      curable=True, overtaken=True),
    "relay_refused": Reason("The mail relay refused this message for good: {reply}. Correct the address or the "
                            "message, then retry.", curable=True),
    "mail_policy": Reason("The mail relay refused this message by policy: {reply}. Check the relay's rules for this "
                          "sender, then retry.", curable=True),
    "outcome_unknown": Reason("The line broke after the message was handed over, so it may or may not have arrived. "
                              "Check with the person, then retry or let it be."),
    "no_longer_needed": Reason("The link for {user} was already used, so nothing was sent.", overtaken=True),
    "bad_hash": Reason("The password of {user} was not set: {problem}. Hash it with argon2id at the door."),
    "bad_recovery": Reason("This link is unknown, used up, revoked or expired. Ask for a new one."),
    "bad_invitation": Reason("This invitation is unknown, used up, revoked or expired. Send a new one."),
    # feeds
    "unknown_source": Reason("There is no feed {source}. Declare it in muster.toml, or correct the name, then send the "
                             "message again.", curable=True),
    # webhooks
    "unknown_endpoint": Reason("There is no webhook endpoint {endpoint} any more, so nothing was delivered.",
                               overtaken=True),
    "unknown_event": Reason("There is no event {event} in the audit trail, so nothing was delivered."),
    # the way itself
    "unknown_kind": Reason("There is no job {kind}. `muster jobs kinds` lists the jobs there are."),
    "unreadable": Reason("The message could not be read: {problem}."),
    "bad_payload": Reason("The payload of {kind} is not acceptable: {problem}. Correct it and send it again."),
    "bad_key": Reason("The key is not acceptable: 1 to 255 printable ASCII characters are. Send it again with such a "
                      "key."),
    "key_reused": Reason("The key {key} of {source} was used before for something else. Use a new key for a new job."),
    "not_accepted_here": Reason("Jobs of the kind {kind} are not accepted from {source}. Ask the administrator to "
                                "allow it, or use another door."),
    "attempts_spent": Reason("All {attempts} attempts failed; the last one: {last}. Mend the cause, then retry."),
    "worker_killed": Reason("The worker died three times while it did this job, the last time alone. Look at the worker's "
                            "memory and log, then retry."),
    "cancelled": Reason("Cancelled by {by}."),
    "newer_version": Reason("This job was written by a newer Muster (payload version {version}). Upgrade the workers."),
}


class Outcome(Exception):
    """A handler's word on how its job ends; not a fault."""


class Reject(Outcome):
    """Refused for good: nothing was changed, and the same job would be refused again."""

    def __init__(self, code: str, **facts: object) -> None:
        """`code` is one of REASONS; `facts` fill the braces of its text."""
        self.code = code
        self.facts = facts
        self.text = reason_text(code, facts)
        super().__init__(self.text)


class Retry(Outcome):
    """Try again after a while; counts as an attempt and keeps its place in the line."""

    def __init__(self, after: timedelta | None = None, *, why: str) -> None:
        """`after` overrides the policy's backoff; `why` is read by people."""
        self.after = after
        self.why = why
        super().__init__(why)


class Snooze(Outcome):
    """Put off until a time; counts no attempt and leaves the line meanwhile."""

    def __init__(self, until: datetime, *, why: str) -> None:
        """`until` is an aware time; `why` is read by people."""
        self.until = until
        self.why = why
        super().__init__(why)


def reason_text(code: str, facts: Mapping[str, object]) -> str:
    """Return the sentence that a person reads for `code`."""
    return REASONS[code].text.format(**facts)


def curable(code: str | None) -> bool:
    """Say whether a refusal with this code may go through later, unchanged."""
    return code is not None and code in REASONS and REASONS[code].curable
