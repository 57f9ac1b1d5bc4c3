"""The front door for whoever writes jobs: everything an actor may use, loaded only when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.context import Context, Item
    from worker.directory import access, credentials, groups, invitations, permissions, recoveries, users
    from worker.errand import Receipt
    from worker.feeds import inbox as feed_inbox
    from worker.jobs import NameKind, Names, Payload, Policy, UserRef, bulk_job, edge_job, fold, job
    from worker.mail.letter import Letter
    from worker.mail.render import Mail
    from worker.outcomes import Reject, Retry, Snooze
    from worker.webhooks import parcel as parcels
    from worker.webhooks.parcel import Parcel

__all__ = [
    "Context",
    "Item",
    "Letter",
    "Mail",
    "NameKind",
    "Names",
    "Parcel",
    "Payload",
    "Policy",
    "Receipt",
    "Reject",
    "Retry",
    "Snooze",
    "UserRef",
    "access",
    "bulk_job",
    "credentials",
    "edge_job",
    "feed_inbox",
    "fold",
    "groups",
    "invitations",
    "job",
    "parcels",
    "permissions",
    "recoveries",
    "users",
]

_HOMES = {
    "Context": "worker.context",
    "Item": "worker.context",
    "Letter": "worker.mail.letter",
    "Mail": "worker.mail.render",
    "NameKind": "worker.jobs",
    "Names": "worker.jobs",
    "Parcel": "worker.webhooks.parcel",
    "Payload": "worker.jobs",
    "Policy": "worker.jobs",
    "Receipt": "worker.errand",
    "Reject": "worker.outcomes",
    "Retry": "worker.outcomes",
    "Snooze": "worker.outcomes",
    "UserRef": "worker.jobs",
    "bulk_job": "worker.jobs",
    "edge_job": "worker.jobs",
    "fold": "worker.jobs",
    "job": "worker.jobs",
}
# Modules that stand elsewhere than in worker/directory/.
_ELSEWHERE = {"feed_inbox": "worker.feeds.inbox", "parcels": "worker.webhooks.parcel"}


def __getattr__(name: str) -> Any:
    """Import a name of the front door on first use, so that the command line starts fast."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(_ELSEWHERE.get(name, f"worker.directory.{name}"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
