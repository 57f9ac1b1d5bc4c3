"""The records of an input on disk while it is planned: sorted by id, the changed ones marked, managers before their people."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from types import TracebackType
from typing import Any, NamedTuple, Self

# Rows handed to SQLite at a time, and read from it.
SLICE = 2_000
# Memory for pages, in KiB: with more a million records are little quicker, and the planner has to stay below its limit.
CACHE = 16_384
# So many of the people whose managers stand in a circle are named; the others are counted.
LOOPS_NAMED = 1_000

# From those at the top, with their level, down to everybody below them. Sorted, so that the pages are written one by one.
_DESCEND = (
    "INSERT INTO turn WITH RECURSIVE below (level, head) AS ({begin} UNION ALL SELECT b.level + 1, r.head FROM below AS b "
    "CROSS JOIN rung AS r INDEXED BY rung_of_boss ON r.boss = b.head AND {other}) SELECT level, head FROM below ORDER BY 1, 2"
)


class Entry(NamedTuple):
    """A record: whose it is, its line or number (unique within the input), digest, manager's id, and its text."""

    external_id: str
    place: int
    digest: str
    manager: str | None
    text: str


class Spool:
    """A private database in a temporary file, which the operating system removes with the connection, even after a crash."""

    def __init__(self) -> None:
        # An empty name: a file of its own that nobody else can open.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(f"""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -{CACHE};
            CREATE TABLE entry (place INTEGER PRIMARY KEY, external_id TEXT, digest TEXT, manager TEXT, text TEXT);
            CREATE TABLE chosen (place INTEGER PRIMARY KEY);
        """)
        self.count = 0
        self._sorted = self._ordered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def add(self, entries: Iterable[Entry]) -> None:
        """Keep more records. All are added before anything is asked: the index is made at the first question."""
        rest = iter(entries)
        while part := list(islice(rest, SLICE)):
            self._many("INSERT INTO entry (external_id, place, digest, manager, text) VALUES (?, ?, ?, ?, ?)", part)
            self.count += len(part)

    def ids(self) -> Iterator[tuple[str, list[tuple[int, str]]]]:
        """Give each external id, in the order of its UTF-8 bytes, with the (place, digest) of its records."""
        self._sort()
        rows = self._rows("SELECT external_id, place, digest FROM entry INDEXED BY by_id ORDER BY external_id, place")
        for external_id, group in groupby(rows, key=itemgetter(0)):
            yield external_id, [(place, digest) for _, place, digest in group]

    def choose(self, places: Iterable[int]) -> None:
        """Mark the records that say something new."""
        self._ordered = False
        self._many("INSERT OR IGNORE INTO chosen VALUES (?)", [(place,) for place in places])

    def drop(self, ids: Iterable[str]) -> None:
        """Take all records of these ids out of the chosen ones."""
        self._sort()
        self._ordered = False
        self._many(
            "DELETE FROM chosen WHERE place IN (SELECT place FROM entry WHERE external_id = ?)", [(one,) for one in ids]
        )

    def text_of(self, place: int) -> str:
        """Return the text of one record. Raises KeyError."""
        row = self._db.execute("SELECT text FROM entry WHERE place = ?", [place]).fetchone()
        if row is None:
            raise KeyError(place)
        return str(row[0])

    def order(self) -> tuple[list[str], int]:
        """Put the chosen records in order, managers first.

        Returns the ids of those who stand in a circle of managers, or are their own, at most LOOPS_NAMED, and their number.
        """
        self._sort()
        db = self._db
        for table in ("person", "rung", "ring", "turn", "stuck"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute("BEGIN")
        # A person is known by the place of the last chosen record: joins of numbers are quicker than of texts.
        db.execute("CREATE TABLE person (id TEXT PRIMARY KEY, head INTEGER, manager TEXT, records INTEGER) WITHOUT ROWID")
        db.execute(
            "INSERT INTO person SELECT e.external_id, max(e.place), e.manager, count(*) FROM entry AS e INDEXED BY by_id "
            "CROSS JOIN chosen AS c ON c.place = e.place GROUP BY e.external_id"
        )
        db.execute("CREATE TABLE rung (head INTEGER, boss INTEGER)")
        db.execute("INSERT INTO rung SELECT p.head, m.head FROM person AS p LEFT JOIN person AS m ON m.id = p.manager")
        db.execute("CREATE TABLE ring (head INTEGER PRIMARY KEY)")
        # Their own managers stand at the top, where they mean to be.
        db.execute("INSERT INTO ring SELECT head FROM rung WHERE boss = head")
        db.execute("UPDATE rung SET boss = NULL WHERE boss = head")
        db.execute("CREATE INDEX rung_of_boss ON rung (boss, head)")
        db.execute("CREATE TABLE turn (level INTEGER, place INTEGER, PRIMARY KEY (level, place)) WITHOUT ROWID")
        db.execute(_DESCEND.format(begin="SELECT 0, head FROM rung WHERE boss IS NULL", other="1"))
        self._break_circles()
        self._add_others()
        db.execute("COMMIT")
        self._ordered = True
        (number,) = db.execute("SELECT count(*) FROM ring").fetchone()
        named = db.execute(
            "SELECT e.external_id FROM ring CROSS JOIN entry AS e ON e.place = ring.head ORDER BY 1 LIMIT ?", [LOOPS_NAMED]
        )
        return [one for (one,) in named], number

    def chosen(self, size: int = 1_000) -> Iterator[list[Entry]]:
        """Give the chosen records, `size` at a time: managers first, circles last, otherwise as in the input."""
        if not self._ordered:
            self.order()
        rows = self._rows(
            "SELECT e.external_id, e.place, e.digest, e.manager, e.text FROM turn AS t CROSS JOIN entry AS e "
            "ON e.place = t.place ORDER BY t.level, t.place"
        )
        while part := list(islice(rows, size)):
            yield [Entry(*row) for row in part]

    # ------------------------------------------------------------------------------------------------- order

    def _break_circles(self) -> None:
        """Give a turn to those who have none yet: circles, that is who is above anybody after enough steps, and those below."""
        db = self._db
        (left,) = db.execute("SELECT (SELECT count(*) FROM rung) - (SELECT count(*) FROM turn)").fetchone()
        if not left:
            return
        db.execute("CREATE TABLE stuck (head INTEGER PRIMARY KEY, boss INTEGER, far INTEGER)")
        db.execute("INSERT INTO stuck SELECT head, boss, boss FROM rung WHERE head NOT IN (SELECT place FROM turn)")
        # Each round at least doubles the steps: after as many steps as there are people everybody has arrived in a circle.
        for _ in range(int(left).bit_length()):
            db.execute("UPDATE stuck SET far = (SELECT s.far FROM stuck AS s WHERE s.head = stuck.far)")
        db.execute(
            "INSERT INTO ring WITH RECURSIVE circle (head) AS (SELECT DISTINCT far FROM stuck UNION "
            "SELECT s.boss FROM circle CROSS JOIN stuck AS s ON s.head = circle.head) SELECT head FROM circle"
        )
        begin = "SELECT 1 + (SELECT coalesce(max(level), 0) FROM turn), head FROM ring WHERE head IN (SELECT head FROM stuck)"
        db.execute(_DESCEND.format(begin=begin, other="r.head NOT IN (SELECT head FROM ring)"))

    def _add_others(self) -> None:
        """Where a person has several chosen records, they come together with the last one."""
        db = self._db
        (several,) = db.execute("SELECT EXISTS (SELECT * FROM person WHERE records > 1)").fetchone()
        if several:
            db.execute("CREATE INDEX turn_of ON turn (place)")
            db.execute(
                "INSERT INTO turn SELECT t.level, e.place FROM person AS p CROSS JOIN entry AS e INDEXED BY by_id "
                "ON e.external_id = p.id AND e.place < p.head CROSS JOIN chosen AS c ON c.place = e.place "
                "CROSS JOIN turn AS t ON t.place = p.head WHERE p.records > 1"
            )

    # ------------------------------------------------------------------------------------------------ SQLite

    def _sort(self) -> None:
        if not self._sorted:
            self._db.execute("CREATE INDEX by_id ON entry (external_id, place, digest, manager)")
            self._sorted = True

    def _many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(statement, rows)
        self._db.execute("COMMIT")

    def _rows(self, query: str) -> Iterator[Any]:
        cursor = self._db.execute(query)
        while part := cursor.fetchmany(SLICE):
            yield from part
