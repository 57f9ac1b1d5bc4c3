"""What a plan needs to know of the directory: who is there, who was closed by hand, which managers have an account."""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from sqlalchemy import Connection, select

from worker.bulk import among, select_by
from worker.directory.events import Action
from worker.feed_tables import feed_action, feed_person
from worker.feeds.declaration import Feed
from worker.feeds.persons import PRESENT
from worker.tables import event, users

# Lines of a plan by which somebody comes to have an account.
COMING = ("joiner", "rehire", "return")


def managers(conn: Connection, feed: Feed, run: str, ids: AbstractSet[str]) -> dict[str, dict[str, str]]:
    """Return how jobs name those of these managers who have an account, or get one by an earlier line of this run."""
    if not ids:
        return {}
    found: dict[str, dict[str, str]] = {}
    planned = [feed_action.c.run == run, feed_action.c.action.in_(COMING)]
    for row in select_by(conn, feed_action.c.external_id, ids, feed_action.c.external_id, feed_action.c.person, where=planned):
        if row.person is not None and row.person["phase"] in PRESENT:
            found[row.external_id] = {"external_id": row.person["account"]}
    rows = select_by(
        conn, feed_person.c.external_id, ids - found.keys(), feed_person.c.external_id, feed_person.c.account,
        where=[feed_person.c.source == feed.name, feed_person.c.phase.in_(PRESENT)],
    )  # fmt: skip
    found |= {row.external_id: {"external_id": row.account} for row in rows}
    missing = {feed.account(one): one for one in ids if one not in found}
    for row in select_by(conn, users.c.external_id, missing, users.c.external_id):
        found[missing[row.external_id]] = {"external_id": row.external_id}
    return found


def closed_by_hand(conn: Connection, feed: Feed, accounts: Mapping[str, str]) -> dict[str, tuple[str, datetime]]:
    """Say of these people (id -> account) whose access somebody else than this feed took away who did, and when.

    A security lock, and a deactivation by hand, are stronger than what HR says.
    """
    by_account = {account: one for one, account in accounts.items()}
    rows = select_by(
        conn, users.c.external_id, by_account, users.c.id, users.c.external_id, users.c.is_active, users.c.locked_at,
        users.c.lock_owner,
    )  # fmt: skip
    said: dict[str, tuple[str, datetime]] = {}
    closed = {}
    for row in rows:
        if row.locked_at is not None:
            said[by_account[row.external_id]] = f"locked by {row.lock_owner}; only unlock_user lifts that", row.locked_at
        elif not row.is_active:
            closed[row.id] = by_account[row.external_id]
    for target, at, actor in _closed_by_others(conn, closed, feed.job_source):
        said[closed[target]] = f"deactivated by {actor or 'somebody'} on {at:%Y-%m-%d}, not by this feed", at
    return said


def _closed_by_others(conn: Connection, ids: Collection[str], feed: str) -> list[tuple[str, datetime, str | None]]:
    """Return who closed these accounts last, other than the feed, where nobody opened them since."""
    if not ids:
        return []
    actions = (Action.USER_DEACTIVATED, Action.ACCESS_CUT, Action.USER_REACTIVATED)
    rows = conn.execute(
        select(event.c.target, event.c.at, event.c.actor, event.c.action)
        .where(among(conn, event.c.target, sorted(ids)), event.c.action.in_([str(action) for action in actions]))
        .order_by(event.c.at, event.c.id)
    )  # fmt: skip
    found: dict[str, tuple[str, datetime, str | None]] = {}
    for row in rows:
        if row.action == Action.USER_REACTIVATED:
            found.pop(row.target, None)
        elif row.actor != feed:
            found[row.target] = (row.target, row.at, row.actor)
    return list(found.values())
