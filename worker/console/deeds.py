"""What can be done from a page of the console: the jobs offered there, what they begin with, and which are dangerous."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from worker.jobs import Kind, Payload

On = Literal["nobody", "person", "group"]
Facts = Mapping[str, Any]

# Filled in beforehand, and then changed: a merge with what is there.
_PERSON_FIELDS = (
    "username", "name", "email", "external_id", "path", "type", "is_active", "attributes", "locale", "zone", "manager",
    "start_date", "end_date",
)  # fmt: skip


@dataclass(frozen=True)
class Deed:
    """One job as it is offered. `on`: what it is done to; `title`: what the button says.

    `section`: the tab or part of the page where it stands. `start`: what the form begins with, other than the job's
    defaults. `prefilled`: the fields that show the present values. `where`: said of the person, or not offered.
    `several`: it can be done to several people at once.
    """

    kind: str
    title: str
    on: On
    section: str
    where: Callable[[Facts], bool] = lambda _facts: True
    start: Facts = field(default_factory=dict)
    prefilled: Sequence[str] = ()
    without: frozenset[str] = frozenset()
    several: bool = False


def _active(facts: Facts) -> bool:
    return bool(facts["is_active"])


def _closed(facts: Facts) -> bool:
    return not facts["is_active"]


def _reachable(facts: Facts) -> bool:
    return bool(facts["is_active"] and facts["email"])


BY_HAND: Facts = {"origin": "manual"}
_PERSON: frozenset[str] = frozenset({"user"})
_GROUP: frozenset[str] = frozenset({"group"})

#: Everything that an administrator can do from the pages of people and groups, in the order in which it is offered.
DEEDS: tuple[Deed, ...] = (
    Deed("create_user", "Create a person", "nobody", "people"),
    Deed("onboard_user", "Onboard a person", "nobody", "people", start=BY_HAND),
    Deed("send_invitation", "Invite by mail", "nobody", "people"),
    Deed("create_group", "Create a group", "nobody", "groups"),
    Deed("update_user", "Edit", "person", "account", prefilled=_PERSON_FIELDS,
         without=_PERSON | {"expected_version", "patience"}),
    Deed("transfer_user", "Transfer", "person", "account", start=BY_HAND, without=_PERSON | {"patience"},
         prefilled=("path", "name", "email", "manager", "attributes", "type", "locale", "zone", "start_date", "end_date")),
    Deed("deactivate_user", "Deactivate", "person", "account", _active, without=_PERSON, several=True),
    Deed("reactivate_user", "Reactivate", "person", "account", _closed, without=_PERSON),
    Deed("lock_user", "Lock", "person", "account", lambda facts: not facts["locked"], without=_PERSON),
    Deed("unlock_user", "Unlock", "person", "account", lambda facts: bool(facts["locked"]), without=_PERSON),
    Deed("send_recovery_email", "Send recovery mail", "person", "password", _reachable, without=_PERSON, several=True),
    Deed("create_recovery_link", "Make a recovery link", "person", "password", _active, without=_PERSON),
    Deed("reset_password", "Set a password", "person", "password", _active, without=_PERSON),
    Deed("send_welcome_email", "Send welcome mail", "person", "password", _reachable, without=_PERSON),
    Deed("offboard_user", "Offboard", "person", "leaving", without=_PERSON, several=True),
    Deed("restore_user", "Keep after all", "person", "leaving", lambda facts: facts["delete_at"] is not None, without=_PERSON),
    Deed("set_legal_hold", "Set legal hold", "person", "leaving", lambda facts: not facts["legal_hold"], without=_PERSON),
    Deed("release_legal_hold", "Release legal hold", "person", "leaving", lambda facts: bool(facts["legal_hold"]),
         without=_PERSON),
    Deed("delete_user", "Delete", "person", "leaving", without=_PERSON, several=True),
    Deed("revoke_sessions", "End sessions", "person", "sessions", without=_PERSON, start={"all": True}, several=True),
    Deed("add_to_group", "Add to group", "person", "groups", without=_PERSON, several=True),
    Deed("remove_from_group", "Remove from group", "person", "groups", without=_PERSON, several=True),
    Deed("revoke_consents", "Withdraw consents", "person", "consents", without=_PERSON),
    Deed("revoke_tokens", "Revoke refresh tokens", "person", "tokens", without=_PERSON),
    Deed("remove_mfa_devices", "Remove MFA devices", "person", "mfa", without=_PERSON),
    Deed("grant_permission", "Grant a permission", "person", "permissions", without=_PERSON | _GROUP),
    Deed("revoke_permission", "Revoke a permission", "person", "permissions", without=_PERSON | _GROUP),
    Deed("update_group", "Edit", "group", "group", prefilled=("name", "set_parents", "attributes"),
         without=_GROUP | {"add_parents", "remove_parents"}),
    Deed("grant_permission", "Grant a permission", "group", "group", without=_PERSON | _GROUP),
    Deed("revoke_permission", "Revoke a permission", "group", "group", without=_PERSON | _GROUP),
    Deed("delete_group", "Delete", "group", "group", without=_GROUP),
)  # fmt: skip

#: Asked for the name first: what cannot be taken back, opens an account to somebody, or takes a lock or a factor off.
DANGEROUS = frozenset({
    "create_recovery_link", "delete_group", "delete_user", "release_legal_hold", "remove_mfa_devices", "reset_password",
    "unlock_user",
})  # fmt: skip


def find(kind: str, on: On) -> Deed | None:
    """Return the deed of this kind on a person, a group or nobody yet; None when it is not done from here."""
    return next((deed for deed in DEEDS if deed.kind == kind and deed.on == on), None)


def offered(may: Callable[[str], bool], on: On, section: str, facts: Facts | None = None) -> list[Deed]:
    """Return what is offered in a section to a visitor who may do so much; `facts`: about the person or group."""
    return [
        deed for deed in DEEDS
        if deed.on == on and deed.section == section and may(f"jobs:submit:{deed.kind}") and (facts is None or deed.where(facts))
    ]  # fmt: skip


def for_several(may: Callable[[str], bool]) -> list[Deed]:
    """Return what can be done to several people at once by this visitor."""
    return [deed for deed in DEEDS if deed.several and may(f"jobs:submit:{deed.kind}")]


def dangerous(kind: Kind, payload: Payload, several: bool) -> bool:
    """Say whether the name, or the number of people, has to be typed before this is done.

    So it is for offboarding at once, and for whatever takes access from several people at once.
    """
    at_once = payload.overtakes()
    return kind.name in DANGEROUS or (at_once and (several or kind.name == "offboard_user"))


def present(deed: Deed, facts: Facts) -> dict[str, Any]:
    """Return the present values that the deed's form begins with, as JSON values of the payload."""
    found: dict[str, Any] = {}
    for name in deed.prefilled:
        value = facts["parents"] if name == "set_parents" else facts[name]
        if name == "manager":
            value = None if value is None else {"username": value}
        found[name] = value.isoformat() if hasattr(value, "isoformat") else value
    if deed.kind == "update_user":
        found["expected_version"] = facts["version"]
    return found
