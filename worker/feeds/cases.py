"""Open cases: people of a source whose account is not certain, or was closed by hand, and what somebody decided of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, delete, select, update

from worker.bulk import among, insert_rows, select_by, update_rows
from worker.directory.accounts import User, find
from worker.feed_tables import feed_case, feed_person
from worker.ids import is_id, new_ids
from worker.jobs import UserRef
from worker.scope import Scope

Decision = Literal["link", "new", "ignore", "enable"]
# The one kind of case that is not about whose account it is.
BY_HAND = "disabled_by_hand"


class CannotDecide(Exception):
    """The case cannot be decided so."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question about one person of a source. `account` is the id of the account that the person was linked to."""

    id: str
    source: str
    external_id: str
    label: str | None
    code: str
    text: str
    candidates: Sequence[Mapping[str, Any]]
    state: str
    account: str | None
    decided_by: str | None
    reason: str | None
    created_at: datetime
    decided_at: datetime | None


_COLUMNS = [feed_case.c[name] for name in Case.__dataclass_fields__]


def open_cases(scope: Scope, source: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Open cases, given as external_id, label, code, text and candidates; returns how many are new or open again.

    An open case is brought up to date. A decided one stays decided, unless the question is another one now, or somebody
    whose opening was allowed was closed by hand again.
    """
    given = {row["external_id"]: row for row in rows}
    made = [
        {"id": case_id, "source": source, "external_id": external_id, **_said(given[external_id]), "state": "open",
         "created_at": scope.now}
        for case_id, external_id in zip(new_ids(len(given)), sorted(given), strict=True)
    ]  # fmt: skip
    back = insert_rows(scope.conn, feed_case, made, conflict="skip", returning=[feed_case.c.external_id])
    known = select_by(
        scope.conn, feed_case.c.external_id, given.keys() - {row.external_id for row in back}, *_COLUMNS,
        where=[feed_case.c.source == source],
    )  # fmt: skip
    stale = sorted((row for row in known if row.state in ("open", "enable") or row.code != given[row.external_id]["code"]),
                   key=lambda row: str(row.id))  # fmt: skip
    same = {"state": "open", "account": None, "decided_by": None, "reason": None, "decided_at": None}
    update_rows(scope.conn, feed_case, [{"id": row.id, **_said(given[row.external_id])} for row in stale], same=same)
    return len(back) + len([row for row in stale if row.state != "open"])


def _said(row: Mapping[str, Any]) -> dict[str, Any]:
    label = row.get("label")
    return {"label": label[:255] if label else None, "code": row["code"], "text": row["text"],
            "candidates": list(row.get("candidates") or ())}  # fmt: skip


def close_cases(scope: Scope, source: str, external_ids: Collection[str]) -> int:
    """Drop the open cases of people whose account is certain by now; returns how many there were."""
    if not external_ids:
        return 0
    mine = among(scope.conn, feed_case.c.external_id, sorted(set(external_ids)))
    statement = delete(feed_case).where(feed_case.c.source == source, feed_case.c.state == "open", mine)
    return int(scope.conn.execute(statement).rowcount)


def enabled(conn: Connection, source: str, external_ids: Collection[str]) -> dict[str, datetime]:
    """Return of whom of these people somebody decided that the feed may open their accounts again, and when.

    A decision is about what was closed before it; who is closed by hand later is a new case.
    """
    where = [feed_case.c.source == source, feed_case.c.state == "enable"]
    rows = select_by(conn, feed_case.c.external_id, external_ids, feed_case.c.external_id, feed_case.c.decided_at, where=where)
    return {row.external_id: row.decided_at for row in rows}


def list_cases(
    conn: Connection, source: str | None = None, state: str | None = "open", *, after: str | None = None,
    limit: int | None = None,
) -> list[Case]:
    """Return the cases of one source, or of all, oldest first; `state` None: decided ones too; those after the id `after`."""
    statement = select(*_COLUMNS).order_by(feed_case.c.id).limit(limit)
    if after is not None:
        statement = statement.where(feed_case.c.id > after)
    if source is not None:
        statement = statement.where(feed_case.c.source == source)
    if state is not None:
        statement = statement.where(feed_case.c.state == state)
    return [_case(row) for row in conn.execute(statement)]


def find_case(conn: Connection, case_id: str) -> Case | None:
    """Return the case of this id."""
    if not is_id(case_id):
        return None
    row = conn.execute(select(*_COLUMNS).where(feed_case.c.id == case_id)).one_or_none()
    return None if row is None else _case(row)


def decide(
    scope: Scope, case_id: str, decision: str, account: str | None = None, *, by: str, reason: str | None = None
) -> Case:
    """Decide a case, or decide it anew; the source's next run acts on it. Raises CannotDecide in words for the person.

    `account` (to link): a username, an external id or an id. `by`: who decides.
    """
    row = None
    if is_id(case_id):
        row = scope.conn.execute(select(*_COLUMNS).where(feed_case.c.id == case_id).with_for_update()).one_or_none()
    if row is None:
        raise CannotDecide(f"There is no case {case_id}. `muster feed cases` lists them.")
    case = _case(row)
    _check(case, decision, account)
    chosen = None if account is None else _linkable(scope, case, account)
    values = {"state": decision, "account": chosen.id if chosen else None, "decided_by": by, "reason": reason,
              "decided_at": scope.now}  # fmt: skip
    scope.conn.execute(update(feed_case).where(feed_case.c.id == case.id).values(values))
    # The record itself did not change: it is looked at all the same, with the next file or the next round.
    person = (feed_person.c.source == case.source) & (feed_person.c.external_id == case.external_id)
    scope.conn.execute(update(feed_person).where(person).values(digest=None, due_at=scope.now))
    return _case(scope.conn.execute(select(*_COLUMNS).where(feed_case.c.id == case.id)).one())


def _check(case: Case, decision: str, account: str | None) -> None:
    """Raise CannotDecide when the decision is no answer to the case's question."""
    if decision not in get_args(Decision):
        raise CannotDecide(f"A case is decided by one of {', '.join(get_args(Decision))}, not by {decision}.")
    if (decision == "link") != (account is not None):
        raise CannotDecide("Say which account to link to; only a link takes one.")
    if decision == "enable" and case.code != BY_HAND:
        raise CannotDecide(f"{_who(case)} was not closed by hand, so there is nothing to enable: link, new or ignore.")
    if decision in ("link", "new") and case.code == BY_HAND and not case.candidates:
        raise CannotDecide(f"Whose account {_who(case)} has is known, but it was closed by hand: enable or ignore.")
    holders = [one["username"] for one in case.candidates if "external_id" in one.get("by", ())]
    if decision == "new" and holders:
        raise CannotDecide(f"A new account for {_who(case)} needs the external id that {holders[0]} has. Link them, or "
                           f"take it from {holders[0]} first.")  # fmt: skip


def _linkable(scope: Scope, case: Case, account: str) -> User:
    """Return the account that a person may be linked to."""
    refs = [UserRef(id=account)] if is_id(account) else _refs(account)
    found = {user.id: user for user in find(scope, refs, lock=False) if user is not None}
    if not found:
        raise CannotDecide(f"There is no account {account}. Give its username, external id or id.")
    if len(found) > 1:
        raise CannotDecide(f"{account} is one account's username and another one's external id. Give the id instead.")
    [user] = found.values()
    mine = feed_person.c.source == case.source
    holder = None
    if user.external_id is not None:
        holder = scope.conn.execute(
            select(feed_person.c.external_id)
            .where(mine, feed_person.c.account == user.external_id, feed_person.c.external_id != case.external_id)
        ).scalars().first()  # fmt: skip
    holder = holder or scope.conn.execute(
        select(feed_case.c.external_id)
        .where(feed_case.c.source == case.source, feed_case.c.state == "link", feed_case.c.account == user.id,
               feed_case.c.id != case.id)
    ).scalars().first()  # fmt: skip
    if holder is not None:
        raise CannotDecide(f"{user.username} already belongs to another person of {case.source}, with the id {holder}.")
    return user


def _refs(account: str) -> list[UserRef]:
    refs = [UserRef(external_id=account)] if 0 < len(account) <= 255 else []
    return [*refs, UserRef(username=account)] if 0 < len(account) <= 150 else refs


def _who(case: Case) -> str:
    return f"{case.label or 'The person'} ({case.external_id} of {case.source})"


def _case(row: Row[Any]) -> Case:
    return Case(**row._asdict())


def as_json(case: Case) -> dict[str, Any]:
    """The object that every door prints for a case."""
    def shown(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    return {name: shown(getattr(case, name)) for name in Case.__dataclass_fields__}
