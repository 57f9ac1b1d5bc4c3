"""What a comparison with the directory reads of many people at once: their open jobs, and the groups they are in."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from worker.bulk import among, rows_as_table, select_by
from worker.feed_tables import feed_person
from worker.jobs import REGISTRY, NameKind, fold
from worker.lines import digest_of
from worker.settings import Settings
from worker.tables import alias, groups, job, membership

# Jobs that wait for a group or a manager who is not there yet; what they will do is no drift.
LOOKING_AGAIN = ("transfer_user", "update_user")
#: A leaving that stands in the ledger for a time to come.
LEAVING = and_(job.c.kind == "offboard_user", job.c.state == "scheduled")


def unfinished(now: datetime) -> Any:
    """Jobs whose effect on the directory is still to come, of itself and soon."""
    mails = [kind.name for kind in REGISTRY if kind.shape == "edge"]
    soon = and_(job.c.state == "scheduled", or_(job.c.run_at <= now, job.c.kind.in_(LOOKING_AGAIN)))
    return and_(job.c.kind.not_in(mails), or_(job.c.state.in_(["queued", "waiting", "held"]), soon))


def in_lines(conn: Connection, settings: Settings, rows: Sequence[Any], which: Any) -> dict[str, datetime]:
    """Return, by person, the earliest time of such unfinished jobs in the person's line.

    `rows`: with external_id, account and username, as in feed_person.
    """
    digests = {digest_of(settings, NameKind.EXTERNAL_ID, row.account): row.external_id for row in rows}
    digests |= {digest_of(settings, NameKind.USERNAME, row.username): row.external_id for row in rows if row.username}
    if not digests:
        return {}
    found: dict[str, datetime] = {}
    given = rows_as_table(conn, [alias.c.digest], [{"digest": one} for one in sorted(digests)])
    statement = (
        select(alias.c.digest, job.c.run_at)
        .join(given, given.c.digest == alias.c.digest)
        .join(job, job.c.subject == alias.c.subject)
        .where(job.c.finished_at.is_(None), which)
    )
    for row in conn.execute(statement):
        one = digests[row.digest]
        found[one] = min(row.run_at, found.get(one, row.run_at))
    return found


def memberships(conn: Connection, ids: Collection[str]) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the groups that these users are in themselves: user -> compared form -> (name, origin)."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    if ids:
        statement = (
            select(membership.c.user_id, groups.c.name, groups.c.name_folded, membership.c.origin)
            .join(groups, groups.c.id == membership.c.group_id)
            .where(among(conn, membership.c.user_id, sorted(ids)))
        )
        for row in conn.execute(statement):
            found.setdefault(row.user_id, {})[row.name_folded] = (row.name, row.origin)
    return found


def groups_of_others(conn: Connection, source: str, accounts: Collection[str]) -> dict[str, set[str]]:
    """Return the groups, in compared form, that other sources want for these accounts."""
    rows = select_by(
        conn, feed_person.c.account, accounts, feed_person.c.account, feed_person.c.applied,
        where=[feed_person.c.source != source, feed_person.c.applied.is_not(None)],
    )  # fmt: skip
    found: dict[str, set[str]] = {}
    for row in rows:
        names = (*row.applied.get("groups", ()), *row.applied.get("grace", ()))
        found.setdefault(row.account, set()).update(fold(name) for name in names)
    return found
