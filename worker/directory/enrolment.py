"""Getting an account: a new one, or one that exists and is taken over, several people at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from worker.bulk import insert_rows
from worker.directory import access, groups
from worker.directory.accounts import User, by_ids, labels
from worker.directory.changes import Changed, write
from worker.directory.events import Action, Teller
from worker.directory.fields import DEFAULT_PATH, PROTECTED
from worker.directory.register import Register
from worker.ids import new_id
from worker.jobs import Name, NameKind, UserRef, fold
from worker.lines import name_accounts, without_account
from worker.outcomes import Outcome, Reject, Retry
from worker.scope import Scope
from worker.tables import users

IfExists = Literal["reject", "adopt", "update"]


@dataclass
class Wish:
    """An account as somebody wants it.

    `given`: fields as `Register.revise` takes them, without names, manager and is_active. `active` says whether the
    account should be active, given the one that exists (None: leave it). `patient`: groups and a manager who do not
    exist yet stop nothing and are reported. `takes_over`: an account that has one of the names is this person's.
    `subject` is the job's line.
    """

    username: str
    external_id: str | None
    given: Mapping[str, Any]
    active: Callable[[User | None], bool | None]
    subject: str | None
    manager: UserRef | None = None
    hired_on: date | None = None
    groups: Sequence[str] = ()
    origin: str = "manual"
    if_exists: IfExists = "reject"
    patient: bool = False
    takes_over: bool = True
    names: list[Name] = field(init=False)

    def __post_init__(self) -> None:
        """Note the names it asks for, the strongest first."""
        external = [(NameKind.EXTERNAL_ID, self.external_id)] if self.external_id else []
        self.names = [*external, (NameKind.USERNAME, self.username)]


@dataclass
class Enrolled:
    """An account that somebody has now. `before` is None for a new one; `revoked` counts what was cut."""

    user: User
    before: User | None
    joined: tuple[str, ...] = ()
    origin: str = "manual"
    unknown_groups: tuple[str, ...] = ()
    unknown_manager: UserRef | None = None
    revoked: Mapping[str, int] | None = None

    @property
    def created(self) -> bool:
        """Whether the account is new."""
        return self.before is None

    @property
    def reopened(self) -> bool:
        """Whether an inactive account became active."""
        return self.before is not None and not self.before.is_active and self.user.is_active

    @property
    def differences(self) -> dict[str, Any]:
        """What changed on an account that existed."""
        return {} if self.before is None else Changed(self.before, self.user).differences

    @property
    def changed(self) -> bool:
        """Whether anything changed at all."""
        return self.created or bool(self.joined) or bool(self.differences)

    @property
    def result(self) -> dict[str, Any]:
        """What the job answers."""
        found: dict[str, Any] = {"changed": self.changed, "user": self.user.id, "created": self.created}
        if self.joined:
            found["groups"] = list(self.joined)
        if not self.created:
            found |= {"username": self.user.username, "fields": sorted(self.differences)}
        if self.revoked is not None:
            found["revoked"] = dict(self.revoked)
        return found

    def tell(self, teller: Teller) -> None:
        """Take it down in the audit trail."""
        user = self.user
        if self.before is None:
            teller.event(Action.USER_CREATED, user.id, user.label, active=user.is_active, path=user.path)
        else:
            if "external_id" in self.differences:
                teller.event(Action.USER_ADOPTED, user.id, user.label)
            Changed(self.before, user).tell(teller, self.revoked)
        for name in self.joined:
            teller.event(Action.MEMBERSHIP_ADDED, user.id, user.label, group=name, origin=self.origin)


@dataclass
class _Batch:
    """What is known while a batch is decided."""

    scope: Scope
    register: Register
    existing: Mapping[str, User]
    groups: Mapping[str, groups.Group | None]
    last_administrators: set[str]
    new_lines: set[str]
    taken: set[str] = field(default_factory=set)

    def id_for(self, wish: Wish) -> str:
        """The id of a new account: that of its line, unless the line had an account before."""
        if wish.subject in self.new_lines:
            self.new_lines.discard(wish.subject)
            return wish.subject
        return new_id()


def enrol(scope: Scope, wishes: Sequence[Wish]) -> list[Enrolled | Outcome]:
    """Give these people accounts; aligned answers, refusals included. Set-based: a constant number of statements.

    Somebody of the same external id, else of the same username (also a former one), is the same person: refused,
    adopted or updated as `if_exists` says. Deleted people come back only with a newer hire date, and then as new.
    """
    register = Register(
        scope, [name for wish in wishes for name in wish.names], [wish.manager for wish in wishes if wish.manager]
    )
    matched = {owner for wish in wishes for name in wish.names if (owner := register.owner(*name))}
    existing = by_ids(scope, matched)
    register.read_addresses(wish.given["email"] for wish in wishes if wish.given.get("email"))
    batch = _Batch(
        scope, register, existing, _groups(scope, wishes), _last_administrators(scope, register, wishes, existing),
        without_account(scope, [wish.subject for wish in wishes if wish.subject]),
    )  # fmt: skip
    decided: list[Enrolled | Outcome] = []
    for wish in wishes:
        try:
            decided.append(_decide(batch, wish))
        except Outcome as refusal:
            decided.append(refusal)
    for wish, answer in zip(wishes, decided, strict=True):
        if isinstance(answer, Enrolled) and wish.manager and wish.patient:
            _set_manager(batch, wish.manager, answer)
    return _write(batch, wishes, decided)


def _groups(scope: Scope, wishes: Iterable[Wish]) -> dict[str, groups.Group | None]:
    names = sorted({name for wish in wishes for name in wish.groups})
    return dict(zip(names, groups.find(scope, names), strict=True))


def _last_administrators(
    scope: Scope, register: Register, wishes: Sequence[Wish], existing: Mapping[str, User]
) -> set[str]:
    closing = []
    for wish in wishes:
        user = next((user for name in wish.names if (user := existing.get(register.owner(*name) or ""))), None)
        if user is not None and user.is_active and wish.if_exists == "update" and wish.active(user) is False:
            closing.append(user.id)
    return groups.last_administrators(scope, closing) if closing else set()


def _decide(batch: _Batch, wish: Wish) -> Enrolled:
    missing = [name for name in wish.groups if batch.groups[name] is None]
    if missing and not wish.patient:
        raise Reject("unknown_group", group=missing[0])
    person = _same_person(batch, wish)
    answer = _new(batch, wish) if person is None else _taken_over(batch, wish, person)
    answer.unknown_groups, answer.origin = tuple(missing), wish.origin
    return answer


def _same_person(batch: _Batch, wish: Wish) -> User | None:
    register = batch.register
    for name in wish.names:
        claimed = register.claimed(*name)
        if claimed is not None:
            if wish.if_exists != "reject" or claimed.id in batch.existing:
                raise Retry(why="another job of the same batch was about the same person")
            if name[0] is NameKind.EXTERNAL_ID:
                raise Reject("external_id_taken", external_id=wish.external_id, username=claimed.label)
            raise Reject("username_taken", username=wish.username)
    by_external = batch.existing.get(register.owner(NameKind.EXTERNAL_ID, wish.external_id or "") or "")
    by_username = batch.existing.get(register.owner(NameKind.USERNAME, wish.username) or "")
    person = by_external or by_username
    if person is None:
        return None
    if wish.if_exists == "reject" or not wish.takes_over:
        if by_username is not None:
            raise Reject("username_taken", username=wish.username)
        raise Reject("external_id_taken", external_id=wish.external_id, username=person.label)
    if by_external and by_username and by_external.id != by_username.id:
        raise Reject("conflicting_names", users=labels([by_external, by_username]))
    if by_external is None and wish.external_id and person.external_id:
        raise Reject("username_taken", username=wish.username)
    return person


def _new(batch: _Batch, wish: Wish) -> Enrolled:
    for kind, value in wish.names:
        grave = batch.register.grave(kind, value)
        if grave is not None:
            newer = wish.hired_on is not None and (grave.hire_date is None or wish.hired_on > grave.hire_date)
            if not newer:
                raise Reject("deleted", user=wish.username)
            if kind is NameKind.USERNAME:
                raise Reject("username_taken", username=wish.username)
    user = _blank(batch, wish)
    given = dict(wish.given)
    if wish.manager and not wish.patient:
        given["manager"] = wish.manager
    active = wish.active(None)
    return Enrolled(batch.register.revise(user, given | {"is_active": active is not False}), None)


def _taken_over(batch: _Batch, wish: Wish, person: User) -> Enrolled:
    if person.id in batch.taken:
        raise Retry(why="another job of the same batch was about the same person")
    given: dict[str, Any] = {}
    if wish.external_id and person.external_id is None:
        given["external_id"] = wish.external_id
    if wish.if_exists == "update":
        given |= wish.given
        if wish.manager and not wish.patient:
            given["manager"] = wish.manager
        active = wish.active(person)
        if active is not None:
            given["is_active"] = active
        if active is False and person.id in batch.last_administrators:
            raise Reject("last_administrator", user=person.label)
        if active and person.locked and not wish.patient:
            raise Reject("locked", user=person.label, owner=person.lock_owner)
    if person.type == PROTECTED:
        raise Reject("protected_type", user=person.label)
    revised = batch.register.revise(person, given)
    batch.taken.add(person.id)
    return Enrolled(revised._replace(delete_at=None) if given.get("is_active") else revised, person)


def _set_manager(batch: _Batch, ref: UserRef, answer: Enrolled) -> None:
    """Whoever is enrolled in the same batch can be the manager too; somebody unknown is reported, oneself is nobody."""
    manager = batch.register.manager(ref)
    if manager is None:
        answer.unknown_manager = ref
    else:
        answer.user = answer.user._replace(manager=None if manager == answer.user.id else manager)


def _blank(batch: _Batch, wish: Wish) -> User:
    return User(
        id=batch.id_for(wish), username=wish.username, username_folded=fold(wish.username), external_id=wish.external_id,
        path=DEFAULT_PATH, name="", email=None, email_folded=None, type="internal", attributes={}, is_active=True,
        password_hash=None, password_changed_at=None, epoch=1, version=1, manager=None, locale=None, zone=None,
        start_date=wish.hired_on, end_date=None, locked_at=None, lock_owner=None, lock_reason=None, held_at=None,
        hold_owner=None, hold_reason=None, delete_at=None, last_login_at=None, created_at=batch.scope.now,
        updated_at=batch.scope.now,
    )  # fmt: skip


def _write(batch: _Batch, wishes: Sequence[Wish], decided: Sequence[Enrolled | Outcome]) -> list[Enrolled | Outcome]:
    scope = batch.scope
    made = [(wish, answer) for wish, answer in zip(wishes, decided, strict=True) if isinstance(answer, Enrolled)]
    fresh = sorted((answer.user for _, answer in made if answer.created), key=lambda user: user.username_folded)
    insert_rows(scope.conn, users, [user._asdict() for user in fresh])
    old = [(wish, Changed(answer.before, answer.user)) for wish, answer in made if answer.before is not None]
    saved = {
        one.user.id: one.user
        for one in write(scope, [one for _, one in old], [wish.subject for wish, _ in old])
        if isinstance(one, Changed)
    }
    name_accounts(
        scope,
        [(wish.subject, [*wish.names, (NameKind.ID, answer.user.id)]) for wish, answer in made
         if answer.created and wish.subject],
    )  # fmt: skip
    closing = [one.user.id for wish, one in old if wish.if_exists == "update" and wish.active(one.before) is False]
    revoked = access.cut(scope, closing)
    joined = _join(batch, made)
    for _, answer in made:
        answer.user = saved.get(answer.user.id, answer.user)
        answer.joined = tuple(joined.get(answer.user.id, ()))
        answer.revoked = revoked.get(answer.user.id)
    return list(decided)


def _join(batch: _Batch, made: Sequence[tuple[Wish, Enrolled]]) -> dict[str, list[str]]:
    """Put the people into their groups; returns the names of those that are new to them, by id."""
    pairs: dict[str, dict[tuple[str, str], str]] = {}
    for wish, answer in made:
        if answer.created or wish.if_exists == "update":
            for name in wish.groups:
                group = batch.groups[name]
                if group is not None:
                    pairs.setdefault(wish.origin, {})[answer.user.id, group.id] = group.name
    joined: dict[str, list[str]] = {}
    for origin in sorted(pairs):
        for pair in sorted(groups.add(batch.scope, list(pairs[origin]), origin)):
            joined.setdefault(pair[0], []).append(pairs[origin][pair])
    return joined
