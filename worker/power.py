"""Jobs that give somebody power over others, whatever they are called: at the HTTP doors they are for administrators.

A token may submit a kind of job, and the job may still reach further than its kind says: into the administrators' group,
to an administrator's address, or to a deletion that nobody has time to stop. This is looked at when a job is handed in.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import select

from worker.api_tokens import GRAVE, Caller
from worker.bulk import among
from worker.directory import accounts, groups
from worker.intake import Request
from worker.jobs import Kind, Payload, UserRef, fold
from worker.scope import Scope
from worker.tables import job

if TYPE_CHECKING:
    from worker.app import App

# Who was offboarded by mistake is missed within a working week; what is deleted sooner is deleted at once.
SOONEST_DELETION = timedelta(days=7)

#: Fields of payloads that name groups.
GROUPS = frozenset({
    "group", "groups", "groups_add", "groups_remove", "parents", "set_parents", "add_parents", "remove_parents",
})  # fmt: skip
#: Fields by which somebody else could come to own an account: mails with links go there, or its name is another's.
OWNED_BY = frozenset({"email", "external_id"})

#: Kinds after which somebody else could sign in as the person.
LETS_IN = frozenset({"create_recovery_link", "remove_mfa_devices", "reset_password"})

#: Kinds that stand for another door, and the scope of that door; who operates may still bring such jobs back.
DOORS_OF_THEIR_OWN: Mapping[str, str] = {"receive_hr_message": "feeds:push:{source}", "deliver_webhook": "admin"}


@dataclass(frozen=True)
class Reach:
    """A job that reaches further than its kind: the scope that it takes, and why in a sentence."""

    scope: str
    why: str


def beyond(app: "App", caller: Caller, wanted: Sequence[Request]) -> dict[int, Reach]:
    """Return which of these requests ask for more than this caller may, by their place, whatever their kinds."""
    return beyond_each(app, [(caller, request) for request in wanted])


def beyond_each(app: "App", wanted: Sequence[tuple[Caller, Request]]) -> dict[int, Reach]:
    """The same for requests of several callers, with one look at the directory for all of them."""
    asked = [(place, caller, request) for place, (caller, request) in enumerate(wanted) if not caller.may("admin")]
    suspects = [(*one, payload) for one in asked if (payload := _payload(app, one[2])) is not None]
    if not suspects:
        return {}
    found: dict[int, Reach] = {}
    with app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        look = _Look(scope, [(request.kind, payload) for _, _, request, payload in suspects])
        for place, caller, request, payload in suspects:
            reach = look.reach(request.kind, payload)
            if reach is not None and not caller.may(reach.scope):
                found[place] = reach
    return found


def out_of_reach(caller: Caller) -> list[str]:
    """Return the kinds whose jobs this caller may not steer either: the grave ones that are not theirs to submit."""
    return sorted(name for name in GRAVE if not caller.may(f"jobs:submit:{name}"))


def not_theirs(app: "App", caller: Caller, ids: Sequence[str]) -> set[str]:
    """Return those of these jobs that the caller may not steer, as they could not have submitted them for what they do."""
    if caller.may("admin"):
        return set()
    far = [kind.name for kind in app.registry if _could(kind) and kind.name not in DOORS_OF_THEIR_OWN]
    with app.database.read() as conn:
        which = [among(conn, job.c.id, ids), job.c.kind.in_(far)]
        rows = conn.execute(select(job.c.id, job.c.kind, job.c.version, job.c.payload).where(*which)).all()
    stored = [Request(row.kind, row.payload, "", version=row.version) for row in rows if isinstance(row.payload, Mapping)]
    known = [row.id for row in rows if isinstance(row.payload, Mapping)]
    return {known[place] for place in beyond(app, caller, stored)}


def _payload(app: "App", request: Request) -> Payload | None:
    """The payload of a kind that could reach far; None for others, and for what the intake will refuse as unreadable."""
    kind = app.registry.get(request.kind)
    if kind is None or not _could(kind):
        return None
    version = kind.payload.version if request.version is None else request.version
    try:
        return kind.load(version, request.fields)
    except (ValidationError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _could(kind: Kind) -> bool:
    names = kind.payload.model_fields.keys()
    return kind.name in (*DOORS_OF_THEIR_OWN, *LETS_IN) or not names.isdisjoint({*GROUPS, *OWNED_BY, "retention"})


class _Look:
    """One look at who the administrators are, and at whom the jobs concern, for all jobs of one request."""

    def __init__(self, scope: Scope, suspects: Sequence[tuple[str, Payload]]) -> None:
        self.scope = scope
        refs = {ref.name: ref for kind, payload in suspects if _touches(kind, payload) for ref in _people(payload)}
        self._known = dict(zip(refs, accounts.find(scope, list(refs.values()), lock=False), strict=True)) if refs else {}

    @cached_property
    def _group_names(self) -> set[str]:
        """The administrators' group and all below it, whose members are administrators too."""
        found = {fold(self.scope.settings.administrators)}
        pending = groups.find(self.scope, [self.scope.settings.administrators], lock=False)
        while pending:
            group = pending.pop()
            if group is not None:
                below = [one for one in groups.children_of(self.scope, group) if fold(one.name) not in found]
                found |= {fold(one.name) for one in below}
                pending.extend(below)
        return found

    @cached_property
    def _administrators(self) -> set[str]:
        [top] = groups.find(self.scope, [self.scope.settings.administrators], lock=False)
        return set() if top is None else set(groups.members(self.scope, top, inherited=True))

    def reach(self, kind: str, payload: Payload) -> Reach | None:
        """Say what a job of this payload takes besides the right to submit its kind."""
        if kind in DOORS_OF_THEIR_OWN:
            return Reach(DOORS_OF_THEIR_OWN[kind].format_map(vars(payload)), "Such jobs come through a door of their own")
        named = _named_groups(kind, payload)
        if named and not self._group_names.isdisjoint(named):
            return Reach("admin", f"It concerns the group {self.scope.settings.administrators}, or one whose members belong to it")
        if self._takes_over(kind, payload):
            return Reach("admin", "It changes how an administrator is reached or recognised")
        if self._deletes(payload):
            days = SOONEST_DELETION.days
            return Reach("jobs:submit:delete_user", f"It would delete the account within {days} days")
        return None

    def _takes_over(self, kind: str, payload: Payload) -> bool:
        if not _touches(kind, payload):
            return False
        given: Mapping[str, Any] = {name: getattr(payload, name) for name in OWNED_BY & payload.model_fields_set}
        people = [one for ref in _people(payload) if (one := self._known[ref.name]) is not None]
        changed = [one for one in people if kind in LETS_IN or any(getattr(one, name) != given[name] for name in given)]
        return any(one.id in self._administrators for one in changed)

    def _deletes(self, payload: Payload) -> bool:
        retention = getattr(payload, "retention", None)
        if retention is None:
            return False
        left = getattr(payload, "left_at", None)
        away = retention if left is None else left + retention - self.scope.now
        return bool(away < SOONEST_DELETION)


def _touches(kind: str, payload: Payload) -> bool:
    """Whether the job changes how somebody is reached, recognised or let in."""
    return kind in LETS_IN or not OWNED_BY.isdisjoint(payload.model_fields_set)


def _named_groups(kind: str, payload: Payload) -> set[str]:
    texts: list[str] = []
    for name in GROUPS & type(payload).model_fields.keys():
        value: Collection[str] | None = getattr(payload, name)
        texts.extend([value] if isinstance(value, str) else value or ())
    if kind == "update_group" and (new := getattr(payload, "name", None)):
        texts.append(new)
    return {fold(text) for text in texts}


def _people(payload: Payload) -> list[UserRef]:
    user = getattr(payload, "user", None)
    if isinstance(user, UserRef):
        return [user]
    named = ((name, getattr(payload, name, None)) for name in ("username", "external_id"))
    return [UserRef.model_validate({name: value}) for name, value in named if value]
