"""Tries a job out: runs it for real in a transaction that is always undone, and says what it would have changed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, func, select

from worker import ledger, lines, listing
from worker.app import App
from worker.context import Cancelled, Context, Done, Item, Rejected, Retried, Snoozed, turned_down
from worker.directory import access, groups
from worker.intake import Acceptance, Intake, Request
from worker.jobs import Kind
from worker.outcomes import Reject, Retry, Snooze
from worker.scope import Scope
from worker.settle import Work, fault_answer, finish, follow_up, load, raise_if_rerun, work_of, write_events
from worker.states import State
from worker.tables import event, group_parent, job, line, membership, permission, users
from worker.tables import groups as group_table

log = logging.getLogger(__name__)

# Columns that say nothing to a person, or must not be shown; of a password only that it changed.
_UNSAID = frozenset({"id", "username_folded", "email_folded", "name_folded", "version", "updated_at", "created_at"})
_SECRET = frozenset({"password_hash"})


class _Undo(Exception):
    """Ends the transaction without its effects."""


@dataclass(frozen=True)
class Preview:
    """What a job would do. `state` is how it would end; `changes` are rows of {what, before, after}.

    `ahead`: unfinished jobs of the same person that would be done before. `letter`: who would be sent which mail.
    """

    kind: str
    state: str
    result: Mapping[str, Any] | None = None
    reason: str | None = None
    reason_text: str | None = None
    duplicate_of: str | None = None
    ahead: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    follow_ups: list[dict[str, Any]] = field(default_factory=list)
    jobs_changed: list[dict[str, Any]] = field(default_factory=list)
    letter: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that `muster submit --dry-run --json` prints."""
        return {"dry_run": True, **vars(self)}


def preview(app: App, request: Request) -> Preview:
    """Say what this job would do if its turn were now. Nothing is sent, nothing stays, nobody is woken."""
    found: list[Preview] = []
    try:
        with app.scope() as scope:
            found.append(_tried(app, scope, request))
            raise _Undo
    except _Undo:
        return found[0]


def _tried(app: App, scope: Scope, request: Request) -> Preview:
    [answer] = Intake(app.registry).submit(scope, [request])
    if answer.refused or answer.duplicate or answer.id is None:
        return _not_taken(answer)
    row = _row(scope, answer.id)
    kind = app.registry[row.kind]
    account = _account(scope, kind, row)
    before = _snapshot(scope, account)
    jobs_before = _jobs_of(scope, row)
    ahead = 0 if row.overtakes or kind.shape == "edge" else len(jobs_before)
    work, letter = _do(app, scope, kind, row)
    ended = _row(scope, row.id)
    after = _snapshot(scope, account or _account(scope, kind, ended, row.payload))
    jobs_after = _jobs_of(scope, ended)
    reason, text = ended.reason, ended.reason_text
    if work.answer is not None and not isinstance(work.answer, (Done, Rejected, Cancelled)):
        reason, text = getattr(work.answer, "code", "snooze"), work.answer.text
    return Preview(
        kind=kind.name, state=_state(work), result=ended.result, reason=reason, reason_text=text, ahead=ahead,
        changes=_differences(before, after), events=_events(scope, row.id), follow_ups=_followed(scope, row.id),
        jobs_changed=[
            {"id": job_id, "kind": name, "before": state, "after": jobs_after.get(job_id, (name, "finished"))[1]}
            for job_id, (name, state) in jobs_before.items()
            if jobs_after.get(job_id, (name, ""))[1] != state
        ],
        letter=letter,
    )  # fmt: skip


def _not_taken(answer: Acceptance) -> Preview:
    return Preview(
        kind=answer.kind, state=answer.state, result=answer.result, reason=answer.reason,
        reason_text=answer.reason_text, duplicate_of=answer.id,
    )  # fmt: skip


def _row(scope: Scope, job_id: str) -> Row[Any]:
    return scope.conn.execute(select(job).where(job.c.id == job_id)).one()


# ------------------------------------------------------------------------------------------------ doing it


def _do(app: App, scope: Scope, kind: Kind, row: Row[Any]) -> tuple[Work, dict[str, Any] | None]:
    """Run the handler for this one job as the runner would, and write its outcome."""
    ledger.move(scope, State.QUEUED, [{"id": row.id}])  # as if its turn had come
    work = work_of(row)
    ctx = Context(scope, work.task)
    letter = None
    if row.overtakes:
        ledger.supersede(scope, [row])
    if row.subject is not None and kind.shape != "edge":
        lines.lock(scope, [row.subject])
    load(work, kind)
    if work.answer is None:
        try:
            with scope.conn.begin_nested():
                letter = _handle(ctx, kind, work)
        except Reject as reject:
            work.answer = turned_down(reject.code, reject.text)
        except Retry as retry:
            work.answer = Retried(None, "retry", retry.why)
        except Snooze as snooze:
            work.answer = Snoozed(snooze.until, snooze.why)
        except Exception as error:
            raise_if_rerun(error)
            log.info("dryrun.fault", exc_info=error)
            work.answer = fault_answer(error, row)
    if isinstance(work.answer, (Done, Rejected, Cancelled)):
        finish(scope, kind, [work], app.worker_id)
    write_events(scope, [work])
    follow_up(scope, app.registry, [work])
    return work, letter


def _handle(ctx: Context, kind: Kind, work: Work) -> dict[str, Any] | None:
    """Call the handler in its shape; of an edge job only the gate, and nothing is carried anywhere."""
    if kind.shape == "bulk":
        item: Item[Any] = Item(work.ask, work.task)
        kind.handler(ctx, [item])
        work.answer, work.notes = item.answer, item.notes
        return None
    result = kind.handler(ctx, work.ask)
    work.notes = ctx
    if kind.shape == "single":
        work.answer = Done(result or {})
        return None
    work.answer = Done({})
    if not hasattr(result, "email"):
        return None  # a webhook
    return {name: getattr(result, name, None) for name in ("kind", "email", "name", "locale", "zone")}


def _state(work: Work) -> str:
    if isinstance(work.answer, Done):
        return "succeeded"
    if isinstance(work.answer, Rejected):
        return "rejected"
    if isinstance(work.answer, Cancelled):
        return "cancelled"
    return "put off"


# -------------------------------------------------------------------------------------- before and after


def _account(scope: Scope, kind: Kind, row: Row[Any], payload: Mapping[str, Any] | None = None) -> str | None:
    """The user whose line this job stands in, or the group that it names, once there is one. `payload`: as it was given."""
    if row.subject is None:
        return None
    account = scope.conn.execute(select(line.c.account).where(line.c.subject == row.subject)).scalar_one_or_none()
    name = (payload or row.payload).get("group")
    if account is None and isinstance(name, str) and "user" not in kind.payload.model_fields:
        [group] = groups.find(scope, [name], lock=False)
        return group.id if group is not None else None
    return account


def _snapshot(scope: Scope, account: str | None) -> dict[str, Any]:
    """Everything that jobs change about a person or a group, as flat names and values."""
    if account is None:
        return {}
    person = scope.conn.execute(select(users).where(users.c.id == account)).one_or_none()
    if person is not None:
        return {f"user {name}": value for name, value in _plain(person).items()} | _belongings(scope, account)
    group = scope.conn.execute(select(group_table).where(group_table.c.id == account)).one_or_none()
    if group is None:
        return {}
    count = select(func.count()).select_from(membership).where(membership.c.group_id == account)
    above = scope.conn.execute(select(group_parent.c.parent).where(group_parent.c.child == account)).scalars().all()
    names = groups.by_ids(scope, above)
    return (
        {f"group {name}": value for name, value in _plain(group).items()}
        | {f"parent {names[one].name}": True for one in above}
        | {"members": scope.conn.execute(count).scalar_one()}
        | _permissions(scope, permission.c.group_id == account)
    )


def _plain(row: Row[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row._mapping.items():  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)
        if name in _SECRET:
            found[name] = None if value is None else _Hidden(value)
        elif name == "attributes":
            found |= {f"attribute {key}": part for key, part in value.items()}
        elif name not in _UNSAID:
            found[name] = value
    return found


@dataclass(frozen=True)
class _Hidden:
    """A value that may be compared but not shown."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "(set)"


def _belongings(scope: Scope, user_id: str) -> dict[str, Any]:
    rows = scope.conn.execute(
        select(group_table.c.name, membership.c.origin)
        .join(group_table, group_table.c.id == membership.c.group_id)
        .where(membership.c.user_id == user_id)
    )
    found: dict[str, Any] = {f"member of {row.name}": row.origin for row in rows}
    found |= _permissions(scope, permission.c.user_id == user_id)
    for kind in access.CREDENTIALS:
        count = select(func.count()).select_from(kind.table).where(kind.table.c.user_id == user_id, kind.live)
        found[kind.counted.replace("_", " ")] = scope.conn.execute(count).scalar_one()
    return found


def _permissions(scope: Scope, whose: Any) -> dict[str, Any]:
    rows = scope.conn.execute(select(permission.c.name, permission.c.object).where(whose))
    return {f"may {row.name}" + (f" on {row.object}" if row.object else ""): True for row in rows}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = [*before, *[name for name in after if name not in before]]
    return [
        {"what": name, "before": _said(before.get(name)), "after": _said(after.get(name))}
        for name in names
        if before.get(name) != after.get(name) and not (not before.get(name) and not after.get(name))
    ]


def _said(value: Any) -> Any:
    return str(value) if isinstance(value, _Hidden) else value


def _jobs_of(scope: Scope, row: Row[Any]) -> dict[str, tuple[str, str]]:
    """The other unfinished jobs of this line, by id: kind and state."""
    if row.subject is None:
        return {}
    rows = scope.conn.execute(
        select(job.c.id, job.c.kind, job.c.state, job.c.finished_at)
        .where(job.c.subject == row.subject, job.c.id != row.id, job.c.parent.is_distinct_from(row.id))
        .where(job.c.finished_at.is_(None) | (job.c.finished_at == scope.now))
        .order_by(job.c.id)
    )
    return {one.id: (one.kind, one.state) for one in rows}


def _events(scope: Scope, job_id: str) -> list[dict[str, Any]]:
    rows = scope.conn.execute(select(event).where(event.c.job == job_id).order_by(event.c.number))
    return [{"action": row.action, "target_name": row.target_name, "data": row.data} for row in rows]


def _followed(scope: Scope, job_id: str) -> list[dict[str, Any]]:
    rows = scope.conn.execute(select(job).where(job.c.parent == job_id).order_by(job.c.id)).all()
    names = listing.abouts(scope.conn, [row.payload for row in rows])
    return [
        {"kind": row.kind, "about": name, "run_at": row.run_at, "payload": row.payload}
        for row, name in zip(rows, names, strict=True)
    ]
