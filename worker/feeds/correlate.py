"""Finds the account of a person whom a source names for the first time; where that is not certain, somebody decides."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Column, Connection, Text, func, select

from worker.address import InvalidAddress, parse_address
from worker.bulk import rows_as_table, select_by
from worker.directory import graves
from worker.directory.accounts import User, by_ids
from worker.directory.graves import Grave
from worker.feed_tables import feed_case, feed_person
from worker.feeds.declaration import Feed, Key
from worker.ids import is_id
from worker.jobs import Name, NameKind, fold
from worker.scope import Scope
from worker.tables import users

AMBIGUOUS, OWNED, IGNORED = "ambiguous_match", "owned_by_another", "ignored"
# Whose account it is by a person's decision.
DECIDED = "decision"

Kind = Literal["none", "one", "decided", "case"]


@dataclass(frozen=True, slots=True)
class Match:
    """Whose account a person's is.

    `none`: nobody's; an account may be made, unless `grave` says that it was deleted. `one`: `account`, found `by` a key;
    `decided`: the same, as somebody decided. `case`: somebody has to decide, and `code`, `text` and `candidates` go into
    the case; or somebody decided to leave this person alone (code "ignored").
    """

    kind: Kind
    account: User | None = None
    by: str | None = None
    code: str | None = None
    text: str | None = None
    candidates: list[dict[str, Any]] = field(default_factory=list)
    grave: Grave | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database says of all the people in hand, and the values that they were looked for by."""

    keys: Mapping[str, list[tuple[Key, str]]]
    decided: Mapping[str, tuple[str, str | None]]
    ids: Mapping[tuple[Key, str], set[str]]
    accounts: Mapping[str, User]
    holders: Mapping[str, list[tuple[str, str]]]
    graves: Mapping[Name, Grave]


def match(
    scope: Scope,
    feed: Feed,
    people: Sequence[tuple[str, Mapping[str, Any]]],
    taken: MutableMapping[str, str] | None = None,
) -> dict[str, Match]:
    """Say whose account each person's is, by external id: for (external id, fields) of people that are not known yet.

    Locks nothing and takes the same few statements for any number of people. `taken`: id of an account -> the person of
    this source that an earlier call of the same run gave it to; added to here.
    """
    known = _look(scope, feed, people)
    found = {external_id: _one(feed, known, external_id) for external_id, _ in people}
    claims: dict[str, list[str]] = {}
    for external_id, its in found.items():
        if its.account is not None:
            claims.setdefault(its.account.id, []).append(external_id)
    taken = {} if taken is None else taken
    for account_id, claimants in claims.items():
        earlier = taken.get(account_id)
        if len(claimants) > 1 or earlier not in (None, claimants[0]):
            for external_id in claimants:
                found[external_id] = _contested(found[external_id])
        else:
            taken[account_id] = claimants[0]
    return found


def _one(feed: Feed, known: _Known, external_id: str) -> Match:
    state, linked = known.decided.get(external_id, (None, None))
    if state == "ignore":
        return Match("case", code=IGNORED, text="somebody decided that this person is to be left alone")
    account = known.accounts.get(linked or "")
    if state == "link" and account is not None and not _others(feed, known, account, external_id):
        return Match("decided", account, DECIDED)
    own = feed.account(external_id)
    grave = known.graves.get((NameKind.EXTERNAL_ID, own))
    hits = {key: known.ids.get((key, value), set()) for key, value in known.keys[external_id]}
    if state == "new" and not hits.get("external_id"):
        return Match("none", grave=grave)
    by = {account_id: [key for key in hits if account_id in hits[key]] for account_id in sorted(set().union(*hits.values()))}
    if not by:
        return Match("none", grave=grave)
    candidates = [candidate(known.accounts[account_id], keys) for account_id, keys in by.items()]
    if len(by) > 1:
        return Match("case", code=AMBIGUOUS, text=_several(hits), candidates=candidates)
    [(account_id, keys)] = by.items()
    account = known.accounts[account_id]
    problem = _owned(feed, known, account, external_id, keys)
    if problem is not None:
        return Match("case", code=OWNED, text=problem, candidates=candidates)
    return Match("decided" if state == "enable" else "one", account, keys[0], candidates=candidates)


def _several(hits: Mapping[Key, set[str]]) -> str:
    for key, ids in hits.items():
        if len(ids) > 1:
            return f"{len(ids)} accounts have the {_WORDS[key]} of this person. Say which one it is, or that it is none of them."
    words = " and the ".join(_WORDS[key] for key, ids in hits.items() if ids)
    return f"The {words} of this person lead to different accounts. Say which one it is, or correct the source."


def _owned(feed: Feed, known: _Known, account: User, external_id: str, keys: Sequence[Key]) -> str | None:
    """Say why an account that fits may nevertheless be another person's."""
    others = _others(feed, known, account, external_id)
    if others:
        return f"The account already belongs to another person of {feed.name}, with the id {others[0]}."
    if "external_id" not in keys:
        if account.external_id is not None:
            return (f"The account with the {_WORDS[keys[0]]} of this person has another external id. "
                    "Say whether it is the same person.")
        return None
    elsewhere = sorted({source for source, _ in known.holders.get(account.external_id or "", ()) if source != feed.name})
    if elsewhere and len(keys) < 2:
        return (f"The account with this external id is kept by {', '.join(elsewhere)}, and nothing else says that it is "
                "the same person.")
    return None


def _others(feed: Feed, known: _Known, account: User, external_id: str) -> list[str]:
    """Return the other people of this source who have the account."""
    return sorted(
        theirs for source, theirs in known.holders.get(account.external_id or "", ())
        if source == feed.name and theirs != external_id
    )


def _contested(found: Match) -> Match:
    """Two people of the source lead to one account: neither gets it unasked."""
    assert found.account is not None
    text = "Another new person of the same source leads to the same account. Say whose it is."
    return Match("case", code=AMBIGUOUS, text=text, candidates=found.candidates or [candidate(found.account, [DECIDED])])


def candidate(account: User, by: Sequence[str]) -> dict[str, Any]:
    """Return an account as a case lists it."""
    return {"id": account.id, "username": account.username, "external_id": account.external_id, "name": account.name,
            "by": list(by)}


_WORDS: Mapping[str, str] = {"external_id": "external id", "email": "e-mail address", "username": "username"}


def _keys(scope: Scope, feed: Feed, external_id: str, fields: Mapping[str, Any]) -> list[tuple[Key, str]]:
    """Return the values to look for, in the declared order. The external id counts always: it can be given only once."""
    declared: tuple[Key, ...] = feed.correlate if "external_id" in feed.correlate else ("external_id", *feed.correlate)
    values = {
        "external_id": feed.account(external_id),
        "email": _folded(scope, fields.get("email")),
        "username": fold(fields.get("username") or ""),
    }
    return [(key, values[key]) for key in declared if values[key]]


def _folded(scope: Scope, address: str | None) -> str:
    """Return an address as it is compared; nothing for one that nobody can have."""
    try:
        return parse_address(address, allow_domains=scope.settings.mail_domains).folded if address else ""
    except InvalidAddress:
        return ""


# ------------------------------------------------------------------------------------------------ the database

_COLUMNS: Mapping[Key, Any] = {
    "external_id": users.c.external_id, "email": users.c.email_folded, "username": users.c.username_folded,
}


def _look(scope: Scope, feed: Feed, people: Sequence[tuple[str, Mapping[str, Any]]]) -> _Known:
    conn = scope.conn
    rows = select_by(
        conn, feed_case.c.external_id, [external_id for external_id, _ in people],
        feed_case.c.external_id, feed_case.c.state, feed_case.c.account, where=[feed_case.c.source == feed.name],
    )  # fmt: skip
    decided = {row.external_id: (row.state, row.account) for row in rows}
    keys = {external_id: _keys(scope, feed, external_id, fields) for external_id, fields in people}
    wanted: dict[Key, set[str]] = {}
    for its in keys.values():
        for key, value in its:
            wanted.setdefault(key, set()).add(value)
    ids: dict[tuple[Key, str], set[str]] = {}
    for key, values in wanted.items():
        for row in select_by(conn, _COLUMNS[key], values, _COLUMNS[key].label("value"), users.c.id):
            ids.setdefault((key, row.value), set()).add(row.id)
    linked = {account for state, account in decided.values() if state == "link" and account and is_id(account)}
    accounts = by_ids(scope, linked.union(*ids.values()), lock=False)
    held = {account.external_id for account in accounts.values() if account.external_id is not None}
    holders: dict[str, list[tuple[str, str]]] = {}
    for row in select_by(
        conn, feed_person.c.account, held, feed_person.c.account, feed_person.c.source, feed_person.c.external_id
    ):
        holders.setdefault(row.account, []).append((row.source, row.external_id))
    own = [(NameKind.EXTERNAL_ID, feed.account(external_id)) for external_id, _ in people]
    return _Known(keys, decided, ids, accounts, holders, graves.find(scope, own))


# ------------------------------------------------------------------------------------------------- near misses


def near_misses(conn: Connection, feed: Feed, ids: Iterable[str]) -> dict[str, str]:
    """Return, for unknown ids that differ from a known one of the source only in leading zeros, blanks or case, that one.

    Such an id mostly went through a spreadsheet. One statement, which looks at the source's ids once.
    """
    plain: dict[str, list[str]] = {}
    for external_id in ids:
        plain.setdefault(_plain(external_id), []).append(external_id)
    plain.pop("", None)
    if not plain:
        return {}
    known = feed_person.c.external_id
    stripped = func.ltrim(func.replace(func.lower(known), " ", ""), "0")
    given = rows_as_table(conn, [Column("plain", Text)], [{"plain": one} for one in sorted(plain)])
    statement = (
        select(known).where(feed_person.c.source == feed.name, stripped.in_(select(given.c.plain))).order_by(known)
    )
    found: dict[str, str] = {}
    for row in conn.execute(statement):
        for external_id in plain.get(_plain(row.external_id), ()):
            if external_id != row.external_id:
                found.setdefault(external_id, row.external_id)
    return found


# Of letters only those of ASCII, as the databases do it whatever their locale.
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _plain(external_id: str) -> str:
    return external_id.translate(_LOWER).replace(" ", "").lstrip("0")
