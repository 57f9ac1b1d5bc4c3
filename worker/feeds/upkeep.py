"""What grows old: plans, messages, deliveries and reserved names that nobody needs any more."""

from datetime import timedelta

from sqlalchemy import delete, select, update

from worker.feed_tables import feed_action, feed_message, feed_run
from worker.feeds import deliveries, runs, usernames
from worker.scope import Scope

# A plan that is still being made after this long was left by a process that was killed.
ABANDONED = timedelta(days=1)
# Deleted in one transaction: few enough that nobody waits for them.
PRUNED_AT_ONCE = 500

TOO_OLD = "too old: plan the input anew"
OPEN = (runs.PLANNED, runs.HELD, runs.APPROVED)
ENDED = (runs.APPLIED, runs.REFUSED, runs.DROPPED)


def expire(scope: Scope) -> int:
    """Put plans aside that are too old, or that nobody goes on making; returns how many. Bodies of old deliveries go, too."""
    old = (feed_run.c.state.in_(OPEN) & (feed_run.c.created_at < scope.now - runs.PLAN_LIFE)) | (
        (feed_run.c.state == runs.PLANNING) & (feed_run.c.created_at < scope.now - ABANDONED)
    )
    values = {"state": runs.DROPPED, "finished_at": scope.now, "problem": TOO_OLD}
    gone = scope.conn.execute(update(feed_run).where(old).values(values)).rowcount
    # Their messages are planned anew, and held anew: nobody decided anything of them.
    dropped = select(feed_run.c.id).where(feed_run.c.state == runs.DROPPED, feed_run.c.problem == TOO_OLD)
    which = (feed_message.c.state == "new", feed_message.c.run.in_(dropped))
    scope.conn.execute(update(feed_message).where(*which).values(run=None))
    # Names that plans reserved and nobody got; an open plan is younger than this.
    usernames.free(scope, scope.now - runs.PLAN_LIFE - ABANDONED)
    deliveries.forget(scope)
    return int(gone)


def prune(scope: Scope) -> int:
    """Delete some lines of runs, messages and deliveries that ended longer ago than the retention; returns how many rows."""
    before = scope.now - timedelta(days=scope.settings.retention_days)
    ended = select(feed_run.c.id).where(feed_run.c.state.in_(ENDED), feed_run.c.created_at < before)
    some = (
        select(feed_action.c.run, feed_action.c.number)
        .where(feed_action.c.run.in_(ended))
        .limit(PRUNED_AT_ONCE)
        .subquery()
    )
    gone = 0
    for run, numbers in _by_run(scope, some):
        which = (feed_action.c.run == run, feed_action.c.number.in_(numbers))
        gone += int(scope.conn.execute(delete(feed_action).where(*which)).rowcount)
    if gone < PRUNED_AT_ONCE:
        empty = ~select(feed_action.c.run).where(feed_action.c.run == feed_run.c.id).exists()
        gone += int(scope.conn.execute(delete(feed_run).where(feed_run.c.id.in_(ended), empty)).rowcount)
        old = select(feed_message.c.id).where(feed_message.c.state != "new", feed_message.c.received_at < before)
        oldest = old.order_by(feed_message.c.id).limit(PRUNED_AT_ONCE)
        gone += int(scope.conn.execute(delete(feed_message).where(feed_message.c.id.in_(oldest))).rowcount)
        gone += deliveries.prune(scope)
    return gone


def _by_run(scope: Scope, some: object) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for row in scope.conn.execute(select(some)):  # type: ignore[call-overload]
        found.setdefault(row.run, []).append(row.number)
    return sorted(found.items())
