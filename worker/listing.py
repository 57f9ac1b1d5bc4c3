"""Looks into the ledger and the directory for people to read; changes nothing and decides nothing."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from worker import identity
from worker.bulk import among, select_by
from worker.directory import access, groups, permissions
from worker.directory.accounts import User
from worker.ids import is_id
from worker.jobs import NameKind, fold
from worker.keeper import DEAD_AFTER
from worker.lines import digest_of
from worker.scope import Scope
from worker.settings import Settings
from worker.tables import (
    alias,
    attempt,
    event,
    group_parent,
    job,
    membership,
    refusal,
    users,
    worker,
)
from worker.tables import groups as group_table

# A person's page shows what happened lately; the whole trail is asked for by `--events`.
EVENTS_SHOWN = 20
# A group's page names so many members; their number is always whole.
MEMBERS_SHOWN = 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What stands in listings of jobs: never the sealed fields.
_JOB_COLUMNS = [column for column in job.c if column.name not in {"sealed", "lease", "frozen", "rank", "fingerprint"}]
_LISTED = (
    "id", "kind", "state", "source", "key", "urgent", "run_at", "attempts", "reason", "reason_text", "result",
    "requested_by", "parent", "created_at", "finished_at",
)  # fmt: skip
_SHOWN = (
    *_LISTED, "payload", "version", "priority", "max_attempts", "crashes", "deadline", "on_behalf_of", "why", "subject",
    "pruned",
)  # fmt: skip


@dataclass(frozen=True)
class JobFilter:
    """Which jobs. Empty means all; `subjects` are lines (see `subjects_named`); `source` may end in `*`.

    `since` and `until` are about the acceptance: from the first on, before the second; `ended_since` about the end.
    """

    kinds: Collection[str] = ()
    states: Collection[str] = ()
    subjects: Collection[str] | None = None
    source: str | None = None
    since: datetime | None = None
    ids: Collection[str] | None = None
    key: str | None = None
    until: datetime | None = None
    reasons: Collection[str] = ()
    ended_since: datetime | None = None

    def conditions(self, conn: Connection) -> list[ColumnElement[bool]]:
        """The conditions on the table `job`."""
        found: list[ColumnElement[bool]] = []
        if self.kinds:
            found.append(job.c.kind.in_(sorted(self.kinds)))
        if self.states:
            found.append(job.c.state.in_(sorted(self.states)))
        if self.subjects is not None:
            found.append(among(conn, job.c.subject, sorted(self.subjects)))
        if self.source is not None and self.source.endswith("*"):
            found.append(job.c.source.startswith(self.source[:-1], autoescape=True))
        elif self.source is not None:
            found.append(job.c.source == self.source)
        if self.since is not None:
            found.append(job.c.created_at >= self.since)
        if self.until is not None:
            found.append(job.c.created_at < self.until)
        if self.key is not None:
            found.append(job.c.key == self.key)
        if self.reasons:
            found.append(job.c.reason.in_(sorted(self.reasons)))
        if self.ended_since is not None:
            found.append(job.c.finished_at >= self.ended_since)
        if self.ids is not None:
            found.append(among(conn, job.c.id, sorted(self.ids)))
        return found


# ------------------------------------------------------------------------------------------------------- jobs


def jobs(conn: Connection, wanted: JobFilter, *, limit: int, before: str | None = None) -> list[dict[str, Any]]:
    """Return jobs, the newest first; `before` is the id of the last one of the page before."""
    statement = select(*_JOB_COLUMNS).where(*wanted.conditions(conn)).order_by(job.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(job.c.id < before)
    rows = conn.execute(statement).all()
    names = abouts(conn, [row.payload for row in rows])
    return [_picked(row, _LISTED) | {"about": name} for row, name in zip(rows, names, strict=True)]


def job_ids(conn: Connection, wanted: JobFilter, *also: ColumnElement[bool]) -> list[str]:
    """Return the ids of all jobs that meet the filter and the other conditions, oldest first."""
    statement = select(job.c.id).where(*wanted.conditions(conn), *also).order_by(job.c.id)
    return list(conn.execute(statement).scalars())


def job_counts(
    conn: Connection, wanted: JobFilter, *also: ColumnElement[bool], by: Sequence[str] = ("kind", "state", "reason")
) -> list[dict[str, Any]]:
    """Return how many jobs there are of each combination of these columns."""
    columns = [job.c[name] for name in by]
    statement = select(*columns, func.count().label("count")).where(*wanted.conditions(conn), *also)
    return [dict(row._mapping) for row in conn.execute(statement.group_by(*columns).order_by(*columns))]  # noqa: SLF001


def about(payload: Mapping[str, Any] | None) -> str:
    """Return whom or what a payload names, in a word."""
    fields = payload or {}
    user = fields.get("user") or fields.get("username") or fields.get("email") or fields.get("group") or ""
    return str(next(iter(user.values()), "")) if isinstance(user, Mapping) else str(user)


def abouts(conn: Connection, payloads: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Return whom or what each payload names; where it is a user's id, the username if there is still one."""
    found = [about(payload) for payload in payloads]
    ids = [name for name in found if _ID.fullmatch(name)]
    names = {row.id: row.username for row in select_by(conn, users.c.id, ids, users.c.id, users.c.username)} if ids else {}
    return [names.get(name, name) for name in found]


def whole_ids(conn: Connection, beginning: str, *, limit: int = 5) -> list[str]:
    """Return the ids of jobs that begin like this: people type the first part of an id that a table shows."""
    pattern = "00000000-0000-0000-0000-000000000000"
    low, high = beginning + pattern[len(beginning) :], beginning + pattern.replace("0", "f")[len(beginning) :]
    statement = select(job.c.id).where(job.c.id >= low, job.c.id <= high).order_by(job.c.id).limit(limit)
    return list(conn.execute(statement).scalars())


def job_page(conn: Connection, job_id: str) -> dict[str, Any] | None:
    """Return one job with the tries that did not succeed, its audit events and the jobs that followed from it."""
    row = conn.execute(select(*_JOB_COLUMNS).where(job.c.id == job_id)).one_or_none()
    if row is None:
        return None
    tries = conn.execute(select(attempt).where(attempt.c.job == job_id).order_by(attempt.c.id))
    said = conn.execute(select(event).where(event.c.job == job_id).order_by(event.c.number))
    followed = conn.execute(
        select(job.c.id, job.c.kind, job.c.state, job.c.run_at, job.c.reason).where(job.c.parent == job_id).order_by(job.c.id)
    )
    return _picked(row, _SHOWN) | {
        "about": abouts(conn, [row.payload])[0],
        "tries": [_picked(one, ("number", "at", "outcome", "code", "text", "trace")) for one in tries],
        "events": [_picked(one, ("at", "action", "target", "target_name", "data")) for one in said],
        "follow_ups": [dict(one._mapping) for one in followed],  # noqa: SLF001 (SQLAlchemy's public way)
    }


def subjects_named(conn: Connection, settings: Settings, name: str) -> set[str]:
    """Return the lines that a name leads to: a username or a group, or `external_id:…`, `id:…`, `group:…`."""
    kind, _, value = name.partition(":")
    if kind in {one.value for one in NameKind} and value:
        digests = [digest_of(settings, NameKind(kind), value)]
    else:
        digests = [digest_of(settings, one, name) for one in (NameKind.USERNAME, NameKind.GROUP)]
    found = set(conn.execute(select(alias.c.subject).where(alias.c.digest.in_(digests))).scalars())
    # An account has the id of its line, unless the line had one before: only then its id is an alias.
    return found or ({value} if kind == NameKind.ID and is_id(value) else set())


def refusals(conn: Connection, *, limit: int, before: str | None = None) -> list[dict[str, Any]]:
    """Return messages that were refused and whose sender could not be answered, the newest first."""
    statement = select(refusal).order_by(refusal.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(refusal.c.id < before)
    return [dict(row._mapping) for row in conn.execute(statement)]  # noqa: SLF001


def workers(conn: Connection, now: datetime) -> list[dict[str, Any]]:
    """Return the worker processes on the list, and whether each is alive as far as can be seen from here."""
    return [
        _picked(row, ("id", "host", "pid", "started_at", "seen_at")) | {"alive": _alive(row, now)}
        for row in conn.execute(select(worker).order_by(worker.c.started_at))
    ]


def _alive(row: Row[Any], now: datetime) -> bool:
    if row.host == identity.host():
        return bool(identity.born(int(row.pid)) == row.born)
    return bool(row.seen_at >= now - DEAD_AFTER)


def oldest_due(conn: Connection, now: datetime) -> dict[str, Any] | None:
    """Return the job that has waited longest though it could be done now."""
    statement = (
        select(job.c.id, job.c.kind, job.c.run_at).where(job.c.state == "queued", job.c.run_at <= now).order_by(job.c.run_at)
    )
    row = conn.execute(statement.limit(1)).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001


# ------------------------------------------------------------------------------------------------------ people


def people(
    conn: Connection, *, limit: int, path: str | None = None, search: str | None = None, active: bool | None = None,
    after: str | None = None, locked: bool | None = None, leaving: bool | None = None,
) -> list[dict[str, Any]]:
    """Return users by username. `after`: the username of the last one of the page before.

    `search` looks into usernames, names, addresses and external ids; `path` also takes the paths below it; `leaving`:
    whose deletion is planned.
    """
    which = _those(path, search, active, locked, leaving)
    statement = select(users).where(*which).order_by(users.c.username_folded).limit(limit)
    if after is not None:
        statement = statement.where(users.c.username_folded > fold(after))
    return [_person(row) for row in conn.execute(statement)]


def people_count(
    conn: Connection, *, most: int, path: str | None = None, search: str | None = None, active: bool | None = None,
    locked: bool | None = None, leaving: bool | None = None,
) -> int:
    """Return how many users there are of these, counting no further than `most`."""
    some = select(users.c.id).where(*_those(path, search, active, locked, leaving)).limit(most).subquery()
    return int(conn.execute(select(func.count()).select_from(some)).scalar_one())


def _those(
    path: str | None, search: str | None, active: bool | None, locked: bool | None, leaving: bool | None
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if path is not None:
        below = users.c.path.startswith(path.rstrip("/") + "/", autoescape=True)
        found.append(or_(users.c.path == path, below))
    if search is not None:
        places = (users.c.username, users.c.name, users.c.email, users.c.external_id)
        # SQLite knows no case but that of ASCII; the folded columns do.
        folded = users.c.username_folded.contains(fold(search), autoescape=True)
        found.append(or_(folded, *[place.icontains(search, autoescape=True) for place in places]))
    if active is not None:
        found.append(users.c.is_active.is_(active))
    if locked is not None:
        found.append(users.c.locked_at.is_not(None) if locked else users.c.locked_at.is_(None))
    if leaving is not None:
        found.append(users.c.delete_at.is_not(None) if leaving else users.c.delete_at.is_(None))
    return found


def _person(user: Any) -> dict[str, Any]:
    return {
        "id": user.id, "username": user.username, "name": user.name, "email": user.email,
        "external_id": user.external_id, "path": user.path, "type": user.type, "is_active": bool(user.is_active),
        "locked": user.locked_at is not None, "legal_hold": user.held_at is not None, "delete_at": user.delete_at,
        "last_login_at": user.last_login_at, "created_at": user.created_at, "updated_at": user.updated_at,
    }  # fmt: skip


def user_page(scope: Scope, user: User, *, events: int = EVENTS_SHOWN) -> dict[str, Any]:
    """Return all there is to see of one person; of credentials what they are, never what opens the door."""
    manager = scope.conn.execute(select(users.c.username).where(users.c.id == user.manager)).scalar_one_or_none()
    trail = scope.conn.execute(
        select(event).where(event.c.target == user.id).order_by(event.c.id.desc()).limit(events)
    ).all()
    unfinished = scope.conn.execute(
        select(job.c.id, job.c.kind, job.c.state, job.c.run_at)
        .where(job.c.subject.in_(subjects_named(scope.conn, scope.settings, f"id:{user.id}")), job.c.finished_at.is_(None))
        .order_by(job.c.id)
    ).all()
    belongings = groups.effective_groups(scope, [user.id])[user.id]
    return _person(user) | {
        "attributes": dict(user.attributes), "manager": manager, "locale": user.locale, "zone": user.zone,
        "start_date": user.start_date, "end_date": user.end_date, "has_password": user.password_hash is not None,
        "lock": {"owner": user.lock_owner, "reason": user.lock_reason} if user.locked else None,
        "hold": {"owner": user.hold_owner, "reason": user.hold_reason} if user.held else None,
        "version": user.version, "epoch": user.epoch,
        "groups": [{"group": one.group.name, "via": one.via.name, "origin": one.origin.value} for one in belongings],
        "permissions": [
            {"permission": one.name, "object": one.object or None, "via": one.via}
            for one in permissions.effective(scope, user.id)
        ],
        "sessions": _credentials(scope, access.SESSION, user, ("ip", "user_agent", "last_used_at")),
        "refresh_tokens": _credentials(scope, access.REFRESH_TOKEN, user, ("application", "session_id")),
        "consents": _credentials(scope, access.CONSENT, user, ("application", "scopes")),
        "mfa_devices": _credentials(scope, access.MFA_DEVICE, user, ("type", "name", "confirmed_at", "last_used_at")),
        "open_jobs": [dict(row._mapping) for row in unfinished],  # noqa: SLF001
        "events": [
            _picked(row, ("at", "action", "actor", "on_behalf_of", "why", "job", "data")) for row in reversed(trail)
        ],
    }  # fmt: skip


def events_of(conn: Connection, target: str, *, limit: int, before: str | None = None) -> list[dict[str, Any]]:
    """Return what happened to a person or a group, the newest first; `before`: the id of the page's last one before."""
    statement = select(event).where(event.c.target == target).order_by(event.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(event.c.id < before)
    names = ("id", "at", "action", "actor", "on_behalf_of", "why", "job", "data")
    return [_picked(row, names) for row in conn.execute(statement)]


def trail(
    conn: Connection, *, limit: int, target: str | None = None, action: str | None = None, since: datetime | None = None,
    before: str | None = None,
) -> list[dict[str, Any]]:
    """Return the audit trail, the newest first. `action` may end in `*`; `before`: the last event of the page before."""
    statement = select(event).order_by(event.c.id.desc()).limit(limit)
    if target is not None:
        statement = statement.where(event.c.target == target)
    if action is not None and action.endswith("*"):
        statement = statement.where(event.c.action.startswith(action[:-1], autoescape=True))
    elif action is not None:
        statement = statement.where(event.c.action == action)
    if since is not None:
        statement = statement.where(event.c.at >= since)
    if before is not None:
        statement = statement.where(event.c.id < before)
    names = ("id", "at", "action", "target", "target_name", "actor", "on_behalf_of", "why", "job", "data")
    return [_picked(row, names) for row in conn.execute(statement)]


def _credentials(scope: Scope, kind: access.CredentialKind, user: User, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = scope.conn.execute(select(kind.table).where(kind.table.c.user_id == user.id).order_by(kind.table.c.id))
    return [
        _picked(row, ("id", *names, "created_at", "expires_at"))
        | {"usable": user.usable and row.epoch == user.epoch and (row.expires_at is None or row.expires_at > scope.now)}
        for row in rows
    ]


# ------------------------------------------------------------------------------------------------------ groups


def group_list(
    conn: Connection, *, limit: int, search: str | None = None, after: str | None = None
) -> list[dict[str, Any]]:
    """Return groups by name with their number of direct members. `after`: the last name of the page before."""
    count = (
        select(func.count()).select_from(membership).where(membership.c.group_id == group_table.c.id).scalar_subquery()
    )
    statement = select(group_table, count.label("members")).order_by(group_table.c.name_folded).limit(limit)
    if search is not None:
        statement = statement.where(group_table.c.name.icontains(search, autoescape=True))
    if after is not None:
        statement = statement.where(group_table.c.name_folded > fold(after))
    rows = conn.execute(statement).all()
    above = group_table.alias("above")
    links = conn.execute(
        select(group_parent.c.child, above.c.name)
        .join(above, above.c.id == group_parent.c.parent)
        .where(among(conn, group_parent.c.child, [row.id for row in rows]))
        .order_by(above.c.name_folded)
    ).all() if rows else []
    return [
        {"id": row.id, "name": row.name, "members": row.members,
         "parents": [link.name for link in links if link.child == row.id], "created_at": row.created_at}
        for row in rows
    ]  # fmt: skip


def group_page(scope: Scope, group: groups.Group) -> dict[str, Any]:
    """Return all there is to see of one group: its place in the tree, its permissions and its members."""
    everybody = groups.members(scope, group, inherited=True)
    direct = set(groups.members(scope, group, inherited=False))
    first = scope.conn.execute(
        select(users.c.id, users.c.username, users.c.is_active)
        .where(among(scope.conn, users.c.id, everybody)).order_by(users.c.username_folded).limit(MEMBERS_SHOWN)
    ).all() if everybody else []
    return {
        "id": group.id, "name": group.name, "attributes": dict(group.attributes),
        "parents": [one.name for one in groups.parents_of(scope, group)],
        "children": [one.name for one in groups.children_of(scope, group)],
        "permissions": [
            {"permission": name, "object": target or None} for name, target in permissions.held_by_group(scope, group.id)
        ],
        "member_count": len(everybody), "direct_member_count": len(direct),
        "members": [
            {"username": row.username, "is_active": bool(row.is_active), "direct": row.id in direct} for row in first
        ],
    }  # fmt: skip


def members_of(scope: Scope, group: groups.Group, *, limit: int, after: str | None = None) -> list[dict[str, Any]]:
    """Return the members of a group and of those below it, by username; `after`: the last one of the page before."""
    everybody = groups.members(scope, group, inherited=True)
    if not everybody:
        return []
    columns = (users.c.id, users.c.username, users.c.name, users.c.is_active, users.c.locked_at)
    origin = membership.c.origin.label("origin")
    own = and_(membership.c.user_id == users.c.id, membership.c.group_id == group.id)
    statement = (
        select(*columns, origin).outerjoin(membership, own).where(among(scope.conn, users.c.id, everybody))
        .order_by(users.c.username_folded).limit(limit)
    )  # fmt: skip
    if after is not None:
        statement = statement.where(users.c.username_folded > fold(after))
    return [
        {"id": row.id, "username": row.username, "name": row.name, "is_active": bool(row.is_active),
         "locked": row.locked_at is not None, "origin": row.origin}
        for row in scope.conn.execute(statement)
    ]  # fmt: skip


def _picked(row: Row[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: row._mapping[name] for name in names}  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)
