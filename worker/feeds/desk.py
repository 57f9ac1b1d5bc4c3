"""The feeds as their users see them: check, plan, approve, apply; the one thing that doors and workers call."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, or_, select

from worker.database import Busy, Database, Unreachable
from worker.feed_tables import feed_action, feed_run, feed_source
from worker.feeds import apply, cases, drift, hearing, inbox, mending, persons, runs
from worker.feeds.compare import Step
from worker.feeds.declaration import Feed
from worker.feeds.planner import Planner
from worker.feeds.runs import APPLIED, APPLYING, Run
from worker.jobs import Registry
from worker.scope import Scope
from worker.settings import Settings

log = logging.getLogger(__name__)

Advance = Callable[[int], object]
# A plan made of messages or of due dates takes at most so many people; what is left comes with the next one.
AT_ONCE = 5_000


class NoSuchFeed(Exception):
    """No feed of that name is declared."""


class Feeds:
    """All declared feeds on one database. Safe to use from several processes: plans that lose a race are stale."""

    def __init__(
        self, database: Database, registry: Registry, settings: Settings, clock: Callable[[], datetime],
        ring: Callable[[str, bool], None], feeds: Mapping[str, Feed],
    ) -> None:
        """`ring` wakes the workers after a commit."""
        self.database, self.registry, self.settings = database, registry, settings
        self.clock, self.ring, self.feeds = clock, ring, feeds
        # The plans that this process has just made, by id: their lines need not be read again to be believed.
        self._made: dict[str, str | None] = {}

    def feed(self, name: str) -> Feed:
        """Return the feed called `name`. Raises NoSuchFeed."""
        found = self.feeds.get(name)
        if found is None:
            names = ", ".join(sorted(self.feeds)) or "none"
            raise NoSuchFeed(f"There is no feed {name!r} in muster.toml; declared are: {names}. docs/feeds.md shows how.")
        return found

    # ----------------------------------------------------------------------------------------------- planning

    def plan_file(
        self, source: str, path: Path, *, by: str | None, delta: bool = False, advance: Advance = lambda _: None,
        began: Callable[[str], object] = lambda _: None,
    ) -> Run:
        """Plan a file of a source. Nothing is changed, no mail is sent.

        `delta`: some records of a feed of full files, such as corrected ones; whoever is not in it is not missing. `began`
        is told the run's id before the file is read.
        """
        planner = self._planner(source, "file", by, path.name, delta=delta, advance=advance)
        began(planner.run_id)
        run = planner.file(path)
        self._made = {run.id: run.hash}
        return run

    def plan_messages(
        self, source: str, *, by: str | None = None, of: Run | None = None, only: Collection[str] | None = None,
        every: bool = False,
    ) -> Run | None:
        """Plan messages of a source: those that no plan knows; None when there are none.

        `of` and `only`: those of a plan that is held, about these people. `every`: those of all plans that are held too;
        the new plan takes their place.
        """
        feed = self.feed(source)
        with self.database.read() as conn:
            found = inbox.new_messages(conn, source, AT_ONCE, of=of.id if of else None, every=every)
        if every and len(found) == AT_ONCE:
            return None  # more than one plan takes: they stay apart
        said = [
            (message, one) for message, one in hearing.statements(feed, found) if only is None or one.external_id in only
        ]
        if not said:
            return None
        run = self._planner(source, "messages", by).statements([one for _, one in said])
        whose = {message.id: one.external_id for message, one in said if one.external_id}

        def note(conn: Connection) -> None:
            scope = Scope(conn, self.clock(), self.settings)
            # Still new until the plan is applied: a plan that is held or stale takes no message along.
            inbox.mark(scope, [message.id for message, _ in said], "new", run.id, whose)
            if every:
                apply.replace_earlier(conn, run, scope.now)

        self.database.transact(note)
        return run

    def urgent_in(self, run: Run) -> list[str]:
        """Return of whom a plan ends the access urgently."""
        with self.database.read() as conn:
            leaving = runs.all_lines(conn, run.id, feed_action.c.action == "leaver", only=("external_id", "jobs"))
            return [line["external_id"] for line in leaving if any(job.get("urgent") for job in line["jobs"] or ())]

    def plan_due(self, source: str, *, by: str | None = None) -> Run | None:
        """Plan what time has brought: first days, last days, returns, ends of grace, managers who came."""
        feed = self.feed(source)
        now = self.clock()
        with self.database.read() as conn:
            due = persons.due(conn, source, now, AT_ONCE)
            came = persons.whose_manager_came(conn, source, feed.id_prefix, AT_ONCE)
        if not due and not came:
            return None
        run = self._planner(source, "scan", by).people(due, [one for one in came if one not in due])
        self.database.transact(lambda conn: apply.replace_earlier(conn, run, now))
        return run

    def find_drift(self, source: str) -> drift.Search:
        """Compare what was accepted with the directory; changes nothing. Going through it gives the differences."""
        return drift.find(self.database, self.settings, self.feed(source), self.clock)

    def plan_drift(self, source: str, *, by: str | None, advance: Advance = lambda _: None) -> Run:
        """Plan what brings the directory back to what was accepted. What people closed by hand stays, as a case."""
        planner = self._planner(source, "drift", by, advance=advance)

        def decided() -> Iterator[list[tuple[dict[str, Any], Step | None]]]:
            for page in self.find_drift(source).pages():
                self._ask(source, mending.questions(page))
                yield [(mending.line_of(one), one.step) for one in page]

        return planner.decided(decided())

    def _ask(self, source: str, questions: Sequence[Mapping[str, Any]]) -> None:
        if questions:
            self.database.transact(
                lambda conn: cases.open_cases(Scope(conn, self.clock(), self.settings), source, questions)
            )

    def _planner(
        self, source: str, origin: str, by: str | None, name: str | None = None, *, delta: bool = False,
        advance: Advance = lambda _: None,
    ) -> Planner:
        feed = self.feed(source)
        self.catch_up(source)
        return Planner(
            self.database, self.settings, feed, self.clock, origin=origin, by=by, input_name=name, delta=delta,
            advance=advance,
        )

    # ----------------------------------------------------------------------------------------------- applying

    def find(self, name: str) -> Run:
        """Return the run that a hash or an id names. Raises NoSuchRun."""
        with self.database.read() as conn:
            return runs.find(conn, name)

    def approve(self, run: Run, *, by: str, reason: str) -> Run:
        """Release a held plan, this one only, for a day."""
        return self.database.transact(lambda conn: apply.approve(conn, run, by=by, reason=reason, now=self.clock()))

    def drop(self, run: Run, *, by: str, reason: str) -> Run:
        """Put a plan aside."""
        return self.database.transact(lambda conn: apply.drop(conn, run, by=by, reason=reason, now=self.clock()))

    def supersede(self, run: Run) -> None:
        """Put aside a plan that lost the race; its messages are planned anew."""
        self.database.transact(lambda conn: apply.supersede(conn, run, self.clock()))

    def apply(self, run: Run, *, advance: Advance = lambda _: None) -> Run:
        """Decide for a plan, and turn it into jobs. Raises NotApplied, and then nothing has happened."""
        return self.carry(self.decide(run), advance=advance)

    def decide(self, run: Run) -> Run:
        """Decide for a plan: from here on all of it becomes jobs, by `carry` or by the next worker that comes by.

        Raises NotApplied, and then nothing has happened.
        """
        self.feed(run.source)
        if self._made.pop(run.id, None) != run.hash:  # made by another process, or a while ago
            with self.database.read() as conn:
                apply.verify(conn, run)
        return self.database.transact(lambda conn: apply.decide(conn, run, self.clock()))

    def carry(self, run: Run, *, advance: Advance = lambda _: None) -> Run:
        """Turn a plan that was decided into jobs; of any other one nothing."""
        return self._carry(run, self.feed(run.source), advance)

    def _carry(self, run: Run, feed: Feed, advance: Advance = lambda _: None) -> Run:
        return apply.carry(self.database, self.registry, self.settings, self.clock, self.ring, run, feed, advance)

    def catch_up(
        self, source: str | None = None, *, standing: Collection[tuple[str, int]] | None = None
    ) -> set[tuple[str, int]]:
        """Go on with plans whose applying was interrupted, and settle those whose jobs have ended.

        `standing`: what an earlier call returned, the plans being applied and how far they were: only those that have not
        moved since are gone on with, the others are in somebody's hand. None: all of them.
        """
        unsettled = or_(feed_run.c.state == APPLYING, (feed_run.c.state == APPLIED) & feed_run.c.finished_at.is_(None))
        which = [unsettled] + ([feed_run.c.source == source] if source else [])
        with self.database.read() as conn:
            open_runs = runs.latest(conn, *which, limit=100)
        moving = set()
        for run in reversed(open_runs):
            feed = self.feeds.get(run.source)
            if feed is None:
                continue
            if standing is not None and run.state == APPLYING and (run.id, run.carried) not in standing:
                moving.add((run.id, run.carried))
            else:
                try:
                    self._settle(self._carry(run, feed), feed)
                except (Busy, Unreachable):
                    raise
                except Exception:
                    # One plan that cannot be carried out stops no other one.
                    log.exception("feed.stuck", extra={"run": run.id, "source": run.source})
        return moving

    def _settle(self, run: Run, feed: Feed) -> None:
        self.database.transact(lambda conn: apply.settle(Scope(conn, self.clock(), self.settings), run, feed))

    def scanned(self, source: str, now: datetime) -> None:
        """Note up to when due dates have been planned."""
        self.database.transact(
            lambda conn: conn.execute(feed_source.update().where(feed_source.c.name == source).values(scanned_to=now))
        )

    def scanned_to(self, source: str) -> datetime | None:
        """Return the instant up to which due dates have been planned."""
        with self.database.read() as conn:
            return conn.execute(select(feed_source.c.scanned_to).where(feed_source.c.name == source)).scalar_one_or_none()
