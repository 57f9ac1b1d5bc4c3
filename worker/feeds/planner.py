"""Plans a run: walks a source's records beside the accepted state and stores, line by line, what is to be done."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, update

from worker.bulk import insert_rows
from worker.database import Database
from worker.feed_tables import feed_action, feed_run, feed_source
from worker.feeds import brakes, correlate, persons, runs
from worker.feeds.claims import Refusal, Statement
from worker.feeds.compare import Step
from worker.feeds.decisions import Decider, Line, Tally, refused, warning
from worker.feeds.declaration import Feed
from worker.feeds.mapping import Mapper
from worker.feeds.reading import Input, Unreadable, open_input, restore
from worker.feeds.spool import Entry, Spool
from worker.ids import new_id
from worker.scope import Scope
from worker.settings import Settings

# As many people are decided in one transaction; on SQLite, whose one writer everybody shares, fewer.
CHUNK, CHUNK_SQLITE = 1_000, 75
# Records are handed to the spool so many at a time.
SLICE = 2_000
# The brakes of feeds of changes look back this far.
BUDGET = timedelta(hours=24)

Advance = Callable[[int], object]


class Planner:
    """Makes one plan. Afterwards `run` tells what became of it: planned, held or refused."""

    def __init__(
        self, database: Database, settings: Settings, feed: Feed, clock: Callable[[], datetime], *, origin: str,
        by: str | None, input_name: str | None = None, delta: bool = False, advance: Advance = lambda _: None,
    ) -> None:
        """Open the run. `delta`: a part of a full file, in which absence means nothing. `advance` hears of each record twice: read, and decided."""
        self.database, self.settings, self.feed = database, settings, feed
        self.now = clock()
        self.clock = clock
        self.full = feed.mode == "full" and not delta
        self.run_id = new_id()
        self.advance = advance
        self.chunk = CHUNK if database.on_postgresql else CHUNK_SQLITE
        self.number = 0
        self.tally = Tally()
        self.unchanged = 0
        self.people_named = 0
        # Whose records were refused: they are in the file all the same. "": a record of nobody knows whom.
        self._unread: set[str] = set()
        database.transact(lambda conn: self._begin(conn, origin, by, input_name))
        self.decider = Decider(feed, self.run_id, self.now)

    def _begin(self, conn: Connection, origin: str, by: str | None, name: str | None) -> None:
        source = {"name": self.feed.name, "version": 0, "rows": None, "scanned_to": None}
        insert_rows(conn, feed_source, [source], conflict="skip")
        row = conn.execute(select(feed_source).where(feed_source.c.name == self.feed.name)).one()
        self.base, self.last_rows = row.version, row.rows
        self._digest = runs.fingerprint(self.feed.name, row.version)
        # What came later counts as newer, also when two files come within one tick of a clock, or it was put back.
        last = conn.execute(
            select(func.max(feed_run.c.created_at)).where(feed_run.c.source == self.feed.name, feed_run.c.applied_at.is_not(None))
        ).scalar_one()
        self.arrived = self.now if last is None else max(self.now, last + timedelta(microseconds=1))
        insert_rows(conn, feed_run, [{
            "id": self.run_id, "source": self.feed.name, "origin": origin, "input": name, "state": runs.PLANNING,
            "base_version": row.version, "requested_by": by, "total": 0, "carried": 0, "created_at": self.arrived,
        }])  # fmt: skip

    # ------------------------------------------------------------------------------------------------- inputs

    def file(self, path: Path) -> runs.Run:
        """Plan a file."""
        with ExitStack() as stack:
            try:
                source = stack.enter_context(open_input(self.feed, path))
                spool = stack.enter_context(Spool())
                mapper = Mapper(self.feed, source.reading.header, arrived=self.arrived)
                self._spool(source, mapper, spool)
            except Unreadable as problem:
                return self._refuse(str(problem))
            self.full = self.full and not source.reading.failed_rows
            absent = self._walk(mapper, spool)
            self._decide_chosen(mapper, spool)
            self._decide_missing(absent)
            reading = source.reading.as_json() | {"full": self.full}
        refusals = self.tally.actions["refused"]
        found = [] if source.reading.failed_rows else [brakes.unreadable(refusals, reading["records"])]
        if self.full:
            with self.database.read() as conn:
                people = persons.present(conn, self.feed.name)
            found += [brakes.shrunken(self.feed, self.people_named, self.last_rows), brakes.vanished(len(absent), people)]
        return self._finish(reading | {"people_named": self.people_named}, [held for held in found if held])

    def statements(self, given: Iterable[Statement | Refusal]) -> runs.Run:
        """Plan what messages say: few enough to be held in memory."""
        heard: dict[str, list[Statement]] = {}
        lines = []
        for one in given:
            if isinstance(one, Refusal):
                lines.append(refused(one))
            else:
                heard.setdefault(one.external_id, []).append(one)
        self._store(lines)
        self._decide(heard)
        return self._finish({"records": len(heard) + len(lines)}, [])

    def people(self, due: Collection[str], again: Collection[str] = ()) -> runs.Run:
        """Plan what time, a manager who came, or a repair brings, without a word from the source."""
        self._decide({}, due=due, again=again)
        return self._finish({}, [])

    def decided(self, found: Iterable[Sequence[tuple[Line, Step | None]]]) -> runs.Run:
        """Plan lines that were decided by looking at the directory alone, each with what it does, if anything."""
        for part in found:
            self._store([line for line, _ in part])
            for _, step in part:
                if step is not None:
                    self.tally.add(step, found=False)
            self.advance(len(part))
        return self._finish({}, [])

    # ------------------------------------------------------------------------------------------------- stages

    def _spool(self, source: Input, mapper: Mapper, spool: Spool) -> None:
        """Read everything once: whose record it is and whether it is the same as before; the rest later."""
        entries: list[Entry] = []
        problems: list[Line] = []
        for raw in source:
            if isinstance(raw, Refusal):
                self._unread.add(raw.external_id)
                problems.append(refused(raw))
            else:
                external_id, digest, manager = mapper.identify(raw.value, raw.text)
                if external_id:
                    entries.append(Entry(external_id, raw.place, digest, manager, raw.text))
                else:
                    self._unnamed(mapper, raw.value, raw.text, raw.place, problems)
            if len(entries) >= SLICE:
                spool.add(entries)
                entries.clear()
            if len(problems) >= self.chunk:
                self._store(problems)
                problems.clear()
            self.advance(1)
        spool.add(entries)
        self._store(problems)

    def _unnamed(self, mapper: Mapper, value: Any, text: str, place: int, problems: list[Line]) -> None:
        self._unread.add("")
        found = mapper.read(value, text, place)
        if isinstance(found, Statement):
            found = Refusal("", place, "missing_id", "There is no id of the person in this record.", mapper.kept(value, text))
        problems.append(refused(found))

    def _walk(self, mapper: Mapper, spool: Spool) -> list[str]:
        """Go along the sorted ids and the stored people side by side; returns who is missing from a full file."""
        self.several: dict[str, list[int]] = {}
        absent: list[str] = []
        chosen: list[int] = []
        problems: list[Line] = []
        stored = persons.walk(self.database, self.feed.name)
        known = next(stored, None)
        versioned = self.feed.mode != "full" and bool({"sequence", "modified"} & self.feed.columns.keys())
        for external_id, records in spool.ids():
            key = external_id.encode()
            self.people_named += 1
            while known is not None and known.external_id.encode() < key:
                self._miss(known, absent)
                known = next(stored, None)
            person = known if known is not None and known.external_id == external_id else None
            if len(records) > 1 and len({digest for _, digest in records}) > 1 and not versioned:
                problems.extend(self._doubled(mapper, spool, external_id, [place for place, _ in records]))
            elif person and not person.absent_runs and all(digest == person.digest for _, digest in records):
                self.unchanged += 1
                self.advance(len(records))
            else:
                chosen.append(records[0][0])
                if len({digest for _, digest in records}) > 1:
                    self.several[external_id] = [place for place, _ in records]
            if person is not None:
                known = next(stored, None)
            if len(chosen) >= SLICE:
                spool.choose(chosen)
                chosen.clear()
            if len(problems) >= self.chunk:
                self._store(problems)
                problems.clear()
        while known is not None:
            self._miss(known, absent)
            known = next(stored, None)
        spool.choose(chosen)
        self._store(problems)
        return absent

    def _miss(self, known: persons.Known, absent: list[str]) -> None:
        if not self.full or not self.feed.absent.files or known.phase not in persons.PRESENT:
            return
        # While there is a record that says not whose it is, nobody is missing for certain.
        if "" not in self._unread and known.external_id not in self._unread:
            absent.append(known.external_id)

    def _doubled(self, mapper: Mapper, spool: Spool, external_id: str, places: Sequence[int]) -> Iterator[Line]:
        """The same id on different records: all of them are refused, and nobody is touched."""
        for place in places:
            others = ", ".join(str(other) for other in places if other != place)
            text = (f"The id {external_id} stands on line {others} too, with other content. Nobody is changed: two people "
                    "would become one. Correct the id, or leave one record.")  # fmt: skip
            raw = spool.text_of(place)
            kept = mapper.kept(restore(self.feed, raw), raw)
            yield refused(Refusal(external_id, place, "duplicate_id", text, kept, self.feed.columns["external_id"].column))

    def _decide_chosen(self, mapper: Mapper, spool: Spool) -> None:
        loops, _ = spool.order()
        self._store([
            warning(one, "manager_loop", "is below themselves in the line of managers; carried out all the same") for one in loops
        ])  # fmt: skip
        for entries in spool.chosen(self.chunk):
            heard: dict[str, list[Statement]] = {}
            problems: list[Line] = []
            for entry in entries:
                for place in self.several.get(entry.external_id, [entry.place]):
                    text = entry.text if place == entry.place else spool.text_of(place)
                    value = restore(self.feed, text)
                    found = mapper.read(value, text, place)
                    if isinstance(found, Statement):
                        heard.setdefault(found.external_id, []).append(found)
                    else:
                        problems.append(refused(found))
            self._store(problems)
            self._decide(heard)
            self.advance(len(entries))

    def _decide_missing(self, absent: Sequence[str]) -> None:
        for start in range(0, len(absent), self.chunk):
            self._decide({}, absent=absent[start : start + self.chunk])

    def _decide(
        self, heard: Mapping[str, Sequence[Statement]], absent: Collection[str] = (), due: Collection[str] = (),
        again: Collection[str] = (),
    ) -> None:
        """Decide and store one chunk after another. Whoever waited for a manager who joins by it comes with the next round."""
        queue = [(one, "heard") for one in heard] + [(one, "absent") for one in absent]
        queue += [(one, "due") for one in due] + [(one, "again") for one in again]
        waiting = iter(queue)
        while part := list(islice(waiting, self.chunk)):
            words = {one: heard[one] for one, why in part if why == "heard"}
            sets = {why: [one for one, its in part if its == why] for why in ("absent", "due", "again")}

            def work(conn: Connection, words: Any = words, sets: Any = sets) -> tuple[list[Line], Tally]:
                scope = Scope(conn, self.now, self.settings)
                lines, tally = self.decider.decide(scope, words, **sets)
                lines += self._near_misses(conn)
                self._insert(conn, lines)
                return lines, tally

            lines, tally = self.database.transact(work)
            self._stored(lines)
            self.tally.actions.update(line["action"] for line in lines)
            self.tally.risks.update(tally.risks)
            self.unchanged += len(part) - sum(line["action"] != "warning" for line in lines)

    def _near_misses(self, conn: Connection) -> list[Line]:
        """Warn of unknown ids that equal a known one but for leading zeros: a spreadsheet takes them off."""
        found = correlate.near_misses(conn, self.feed, self.decider.unknown) if self.decider.unknown else {}
        return [
            warning(one, "near_miss_id", f"The id {one} is unknown, {other} is known: have leading zeros been lost? They are "
                                         "taken for two people.")
            for one, other in sorted(found.items())
        ]  # fmt: skip

    # ------------------------------------------------------------------------------------------------ storing

    def _store(self, lines: Sequence[Line]) -> None:
        """Store lines that were decided without looking at the directory."""
        for start in range(0, len(lines), self.chunk):
            part = lines[start : start + self.chunk]
            self.database.transact(partial(self._insert, lines=part))
            self._stored(part)
            self.tally.actions.update(line["action"] for line in part)

    def _insert(self, conn: Connection, lines: Sequence[Line]) -> None:
        insert_rows(conn, feed_action, [
            {"run": self.run_id, "number": number} | line for number, line in enumerate(lines, start=self.number + 1)
        ])  # fmt: skip

    def _stored(self, lines: Sequence[Line]) -> None:
        self.number += len(lines)
        for line in lines:
            runs.tell(self._digest, line)

    def _refuse(self, problem: str) -> runs.Run:
        return self._close(runs.REFUSED, {"problem": problem, "counts": dict(self.tally.actions)})

    def _finish(self, reading: Mapping[str, Any], held: list[brakes.Held]) -> runs.Run:
        """Name the plan by its hash, and ask the brakes."""
        with self.database.read() as conn:
            people = persons.present(conn, self.feed.name)
            spent = spent_today(conn, self.feed, self.now)
        held += brakes.check(self.feed, self.tally.risks, spent, people)
        counts = dict(self.tally.actions) | {"unchanged": self.unchanged}
        return self._close(runs.HELD if held else runs.PLANNED, {
            "hash": self._digest.hexdigest(), "counts": counts, "brakes": [one.as_json() for one in held],
            "reading": dict(reading) | {"risks": dict(self.tally.risks), "people": people},
        })  # fmt: skip

    def _close(self, state: str, values: Mapping[str, Any]) -> runs.Run:
        def work(conn: Connection) -> runs.Run:
            conn.execute(
                update(feed_run).where(feed_run.c.id == self.run_id)
                .values(state=state, total=self.number, **values,
                        finished_at=self.clock() if state == runs.REFUSED else None)
            )  # fmt: skip
            return runs.get(conn, self.run_id)

        return self.database.transact(work)


def spent_today(conn: Connection, feed: Feed, now: datetime) -> dict[str, int]:
    """What plans of changes let through within the last 24 hours; a full file's plan stands for itself."""
    if feed.mode == "full":
        return {}
    found: dict[str, int] = {}
    which = (feed_run.c.source == feed.name, feed_run.c.applied_at > now - BUDGET, feed_run.c.approved_by.is_(None))
    for row in conn.execute(select(feed_run.c.reading).where(*which)):
        for name, count in ((row.reading or {}).get("risks") or {}).items():
            found[name] = found.get(name, 0) + count
    return found
