"""The rows of people: found by any of their names, locked in one order, and saved with their version raised."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Row, select

from worker.bulk import among, select_by, update_rows
from worker.directory import graves
from worker.jobs import Name, NameKind, UserRef, fold
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import users


class User(NamedTuple):
    """One account, as stored. Immutable; a tuple, because batches make thousands of them."""

    id: str
    username: str
    username_folded: str
    external_id: str | None
    path: str
    name: str
    email: str | None
    email_folded: str | None
    type: str
    attributes: Mapping[str, Any]
    is_active: bool
    password_hash: str | None
    password_changed_at: datetime | None
    epoch: int
    version: int
    manager: str | None
    locale: str | None
    zone: str | None
    start_date: date | None
    end_date: date | None
    locked_at: datetime | None
    lock_owner: str | None
    lock_reason: str | None
    held_at: datetime | None
    hold_owner: str | None
    hold_reason: str | None
    delete_at: datetime | None
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def label(self) -> str:
        """What people call this account: its username."""
        return self.username

    @property
    def locked(self) -> bool:
        """Whether a security lock is on."""
        return self.locked_at is not None

    @property
    def held(self) -> bool:
        """Whether a legal hold is on."""
        return self.held_at is not None

    @property
    def usable(self) -> bool:
        """Whether this person can get in at all: active and not locked."""
        return self.is_active and not self.locked

    @property
    def ref(self) -> dict[str, str]:
        """The account as a payload of another job names it."""
        return {"id": self.id}

    def clock(self, scope: Scope) -> ZoneInfo:
        """The person's time zone, else the one of the settings."""
        return ZoneInfo(self.zone) if self.zone else scope.settings.default_zone


_COLUMNS = [users.c[name] for name in User._fields]
# Raised or set by statements of their own; a row saved from what was read earlier must not turn them back.
_NOT_SAVED = frozenset({"id", "epoch", "password_hash", "password_changed_at", "last_login_at", "created_at"})
# Columns that follow from others, and so are no news in the audit trail.
_DERIVED = frozenset({"username_folded", "email_folded", "version", "updated_at"})


def from_row(row: Row[Any]) -> User:
    """Return the account that a row of the table `users` holds."""
    return User._make(row)


def locate(scope: Scope, names: Sequence[Name]) -> list[str | None]:
    """Return the id behind each name, aligned; None where there is none. A name given up by a rename still leads there.

    An id is taken as it is: `by_ids` tells whether it exists. Locks nothing.
    """
    usernames = {fold(value) for kind, value in names if kind is NameKind.USERNAME}
    external = {value for kind, value in names if kind is NameKind.EXTERNAL_ID}
    known: dict[Name, str] = {}
    if usernames:
        for row in select_by(scope.conn, users.c.username_folded, usernames, users.c.username_folded, users.c.id):
            known[NameKind.USERNAME, row.username_folded] = row.id
    if external:
        for row in select_by(scope.conn, users.c.external_id, external, users.c.external_id, users.c.id):
            known[NameKind.EXTERNAL_ID, row.external_id] = row.id
    found = [value if kind is NameKind.ID else known.get(plain(kind, value)) for kind, value in names]
    missing = [name for name, user_id in zip(names, found, strict=True) if user_id is None]
    if missing:
        former = {name: grave.user_id for name, grave in graves.find(scope, missing).items() if grave.renamed}
        found = [user_id or former.get(name) for name, user_id in zip(names, found, strict=True)]
    return found


def plain(kind: NameKind, value: str) -> Name:
    """Return a name in the form under which two spellings are equal."""
    return kind, fold(value) if kind is NameKind.USERNAME else value


def by_ids(scope: Scope, ids: Iterable[str], *, lock: bool = True) -> dict[str, User]:
    """Return the accounts with these ids, by id. `lock`: their rows are kept, in the order of their ids."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    statement = select(*_COLUMNS).where(among(scope.conn, users.c.id, wanted)).order_by(users.c.id)
    if lock:
        statement = statement.with_for_update(of=users)
    return {row.id: from_row(row) for row in scope.conn.execute(statement)}


def find(scope: Scope, refs: Sequence[UserRef], *, lock: bool = True) -> list[User | None]:
    """Return the account that each reference names, aligned; None where there is none."""
    ids = locate(scope, [ref.name for ref in refs])
    found = by_ids(scope, [user_id for user_id in ids if user_id], lock=lock)
    return [found.get(user_id) if user_id else None for user_id in ids]


def get(scope: Scope, ref: UserRef, *, lock: bool = True) -> User:
    """Return the account that `ref` names. Raises Reject unknown_user."""
    [user] = find(scope, [ref], lock=lock)
    if user is None:
        raise Reject("unknown_user", user=ref)
    return user


class NamesUser(Protocol):
    """A payload with a field `user`."""

    @property
    def user(self) -> UserRef: ...


class Asking(Protocol):
    """One item of a batch about a user, that can be refused or put off."""

    @property
    def ask(self) -> NamesUser: ...

    def reject(self, code: str, **facts: object) -> None: ...

    def retry(self, why: str) -> None: ...


A = TypeVar("A", bound=Asking)


def of_items(scope: Scope, items: Sequence[A]) -> list[tuple[A, User]]:
    """Lock and return the user of each item; answer the items whose user is unknown, or is another item's too."""
    found = find(scope, [item.ask.user for item in items])
    pairs: list[tuple[A, User]] = []
    seen: set[str] = set()
    for item, user in zip(items, found, strict=True):
        if user is None:
            item.reject("unknown_user", user=item.ask.user)
        elif user.id in seen:
            item.retry("another job of the same batch was about the same person")
        else:
            seen.add(user.id)
            pairs.append((item, user))
    return pairs


# --------------------------------------------------------------------------------------------------- saving


def save(scope: Scope, pairs: Sequence[tuple[User, User]]) -> list[User]:
    """Write the accounts that differ, given as (as read under lock, as wanted), in one statement.

    Each one's version is raised by one. Returns the accounts as they are now, aligned.
    """
    columns = sorted({name for before, after in pairs for name in _differing(before, after)})
    if not columns:
        return [after for _, after in pairs]
    saved: list[User] = []
    rows: list[dict[str, Any]] = []
    for before, after in pairs:
        if _differing(before, after):
            values = after._asdict() | {"version": before.version + 1, "updated_at": scope.now}
            saved.append(User(**values))
            rows.append({name: values[name] for name in ("id", "version", "updated_at", *columns)})
        else:
            saved.append(after)
    rows.sort(key=lambda row: str(row["id"]))
    update_rows(scope.conn, users, rows)
    return saved


def _differing(before: User, after: User) -> list[str]:
    return [
        name
        for name, was, now in zip(User._fields, before, after, strict=True)
        if was != now and name not in _NOT_SAVED and name not in ("version", "updated_at")
    ]


def differences(before: User, after: User) -> dict[str, Any]:
    """Say what a change changed, for the audit trail: {field: [before, after]}; of attributes only their names."""
    found: dict[str, Any] = {}
    for name in _differing(before, after):
        if name in _DERIVED:
            continue
        was, now = getattr(before, name), getattr(after, name)
        if name == "attributes":
            found[name] = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
        else:
            found[name] = [_shown(was), _shown(now)]
    return found


def _shown(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (date, datetime)) else value


def labels(found: Collection[User]) -> str:
    """Name several people in one sentence."""
    return ", ".join(sorted(user.label for user in found))
