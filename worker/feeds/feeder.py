"""The thread that looks after the feeds: goes on with interrupted plans, takes deliveries, plans messages and due dates."""

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from worker.database import Busy, Unreachable
from worker.feed_tables import feed_run
from worker.feeds import apply, deliveries, inbox, persons, runs, upkeep
from worker.feeds.desk import Feeds
from worker.feeds.runs import Run
from worker.scope import Scope

log = logging.getLogger(__name__)

# Who asked for a plan that nobody asked for.
BY = "feeder"
# Messages are planned this soon after they came; a look costs two short queries a feed.
ROUND_SECONDS = 2.0
# Whether all jobs of a plan have ended is a count over them, not worth more.
SETTLE_SECONDS = 10.0
# How often the end of the scanned window is noted when nothing was due: a write a minute.
SCAN_NOTED = timedelta(minutes=1)
TIDY_EVERY = timedelta(hours=1)
# Another process's plan of messages or due dates takes seconds; one as old as this was left by a crash.
PLANNING_LIFE = timedelta(minutes=2)
# Due dates whose plan was held are planned anew after this long, with what became due meanwhile.
HELD_AGAIN = timedelta(hours=1)


class Feeder:
    """One round after another; every worker has one, and plans that lose a race are simply dropped."""

    def __init__(self, feeds: Feeds) -> None:
        """Begin with nothing done."""
        self.feeds = feeds
        self._settled = 0.0
        self._standing: set[tuple[str, int]] = set()
        self._tidied = feeds.clock() - TIDY_EVERY
        self._scanned: dict[str, datetime] = {}
        self._looked_again = False

    def pass_once(self) -> None:
        """Do what there is to do. A database that is busy or away is met again in the next round."""
        for step in (self.settle, self.take_deliveries, self.take_messages, self.scan, self.tidy):
            try:
                step()
            except (Busy, Unreachable) as problem:
                log.warning("feed.put_off", extra={"step": step.__name__, "error": type(problem).__name__})
            except Exception:
                log.exception("feed.step_failed", extra={"step": step.__name__})

    def settle(self) -> None:
        """Go on with plans that were decided and not carried out, and close those whose jobs have ended."""
        if time.monotonic() - self._settled >= SETTLE_SECONDS:
            self._standing = self.feeds.catch_up(standing=self._standing)
            self._settled = time.monotonic()

    def take_deliveries(self) -> None:
        """Cut what came by webhooks into messages. What was refused is tried once more by every new process."""
        feeds = self.feeds
        hooks = {name: feed for name, feed in feeds.feeds.items() if feed.webhook is not None}
        if not hooks:
            return
        if not self._looked_again:
            feeds.database.transact(lambda conn: deliveries.look_again(self._scope(conn), hooks))
            self._looked_again = True
        with feeds.database.read() as conn:
            waiting = deliveries.waiting(conn, hooks)
        while waiting and feeds.database.transact(lambda conn: deliveries.take(self._scope(conn), hooks)) == deliveries.TAKEN_AT_ONCE:
            """There may be more."""

    def _scope(self, conn: Connection) -> Scope:
        return Scope(conn, self.feeds.clock(), self.feeds.settings)

    def take_messages(self) -> None:
        """Plan and apply the messages that no plan knows yet."""
        for source in self.feeds.feeds:
            for run in self._left_behind(source):
                self._apply(run)
            with self.feeds.database.read() as conn:
                fresh = inbox.unplanned(conn, source)
            if fresh and not self._being_planned(source, "messages"):
                self._take(source)

    def _take(self, source: str) -> None:
        """Plan what came; what is held gets out of the way of urgent leavers, and is kept together as one plan."""
        held_before = self._held(source, "messages", runs.PLAN_LIFE)
        run = self.feeds.plan_messages(source, by=BY)
        self._apply(run)
        if run is None or run.state != runs.HELD:
            return
        urgent = self.feeds.urgent_in(run)
        if urgent and len(urgent) < run.total:
            self._apply(self.feeds.plan_messages(source, by=BY, of=run, only=urgent))
        elif held_before:
            self.feeds.plan_messages(source, by=BY, every=True)

    def scan(self) -> None:
        """Plan and apply what time has brought."""
        now = self.feeds.clock()
        for source, feed in self.feeds.feeds.items():
            with self.feeds.database.read() as conn:
                due = persons.due(conn, source, now, 1) or persons.whose_manager_came(conn, source, feed.id_prefix, 1)
            if due and not self._being_planned(source, "scan") and not self._held(source, "scan"):
                self._apply(self.feeds.plan_due(source, by=BY))
            elif now - self._scanned.get(source, datetime.min.replace(tzinfo=UTC)) < SCAN_NOTED:
                continue
            self.feeds.scanned(source, now)
            self._scanned[source] = now

    def tidy(self) -> None:
        """Put aside and prune what is too old."""
        now = self.feeds.clock()
        if now - self._tidied < TIDY_EVERY:
            return
        self._tidied = now

        def work(conn: Connection) -> int:
            scope = self._scope(conn)
            upkeep.expire(scope)
            return upkeep.prune(scope)

        while self.feeds.database.transact(work):
            pass

    def _apply(self, run: Run | None) -> None:
        if run is None:
            return
        if run.state == runs.HELD:
            log.warning("feed.held", extra={"run": run.id, "source": run.source, "plan": apply.shown(run)})
            return
        try:
            self.feeds.apply(run)
        except apply.NotApplied:
            # Another plan was applied meanwhile; what this one was made of is planned anew in the next round.
            self.feeds.supersede(run)

    def _left_behind(self, source: str) -> list[Run]:
        """Plans of messages that a feeder made and, being ended before it could, did not apply."""
        table = feed_run.c
        before = self.feeds.clock() - PLANNING_LIFE
        with self.feeds.database.read() as conn:
            which = (table.source == source, table.origin == "messages", table.state == runs.PLANNED,
                     table.requested_by == BY, table.created_at < before)  # fmt: skip
            return runs.latest(conn, *which, limit=1)

    def _being_planned(self, source: str, origin: str) -> bool:
        return any(self._any(source, origin, state, PLANNING_LIFE) for state in (runs.PLANNING, runs.PLANNED))

    def _held(self, source: str, origin: str, age: timedelta = HELD_AGAIN) -> bool:
        return self._any(source, origin, runs.HELD, age)

    def _any(self, source: str, origin: str, state: str, age: timedelta) -> bool:
        table = feed_run.c
        since = self.feeds.clock() - age
        with self.feeds.database.read() as conn:
            which = (table.source == source, table.origin == origin, table.state == state, table.created_at > since)
            return bool(runs.latest(conn, *which, limit=1))


def look_after(do_round: Callable[[], object], stopped: Callable[[float], bool]) -> None:
    """Go round until `stopped(seconds)`, which waits that long, says so."""
    # At uneven times, so that two workers that began at once do not plan the same messages at once for ever.
    while not stopped(ROUND_SECONDS * random.uniform(0.75, 1.25)):
        try:
            do_round()
        except (Busy, Unreachable) as problem:
            log.warning("feed.put_off", extra={"error": type(problem).__name__})
        except Exception:
            log.exception("feed.round_failed")
