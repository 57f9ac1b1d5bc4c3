"""A plan as people read it: its lines page by page, before and after, what became of each, and the rows that failed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from worker.bulk import among
from worker.database import Database
from worker.feed_tables import feed_action
from worker.feeds import runs
from worker.feeds.declaration import Feed
from worker.feeds.failed_rows import write_failed_rows
from worker.feeds.runs import Run
from worker.states import FINISHED
from worker.tables import job

# Jobs that ended without having done what was asked.
BAD = ("rejected", "failed", "cancelled")
# Lines read in one transaction.
PAGE = 1_000
# What a line is whose jobs have not all ended.
WAITING = "waiting"
# How failed messages are written: they came one by one, not in a file.
_AS_LINES = {"encoding": "utf-8", "byte_order_mark": False, "line_end": "\n"}


@dataclass(frozen=True)
class LineFilter:
    """Which lines of a plan. Empty means all; `actions` are keys of `codes.ACTIONS`; `person`: an id in the source.

    `refused`: what was refused, and lines of which a job was rejected, failed or was cancelled.
    """

    actions: Collection[str] = ()
    person: str | None = None
    refused: bool = False

    def conditions(self, conn: Connection, run: Run) -> list[ColumnElement[bool]]:
        """The conditions on the table `feed_action`."""
        found: list[ColumnElement[bool]] = []
        if self.actions:
            found.append(feed_action.c.action.in_(sorted(self.actions)))
        if self.person is not None:
            found.append(feed_action.c.external_id == self.person)
        if self.refused:
            found.append((feed_action.c.action == "refused") | among(conn, feed_action.c.number, unsuccessful(conn, run)))
        return found


# --------------------------------------------------------------------------------------------------------- runs


def run_json(conn: Connection, run: Run) -> dict[str, Any]:
    """The object of a run with its jobs counted by state."""
    return run.as_json() | {"jobs": progress(conn, run)}


def progress(conn: Connection, run: Run) -> dict[str, int]:
    """Count the jobs of a run by state."""
    return runs.progress(conn, run, _source(run)) if run.applied_at is not None else {}


def counts(conn: Connection, run: Run, wanted: LineFilter) -> dict[str, dict[str | None, int]]:
    """Return how many lines there are of each action and code: action -> code or None -> number."""
    which = (feed_action.c.action, feed_action.c.code)
    statement = select(*which, func.count()).where(feed_action.c.run == run.id, *wanted.conditions(conn, run))
    found: dict[str, dict[str | None, int]] = {}
    for action, code, count in conn.execute(statement.group_by(*which).order_by(*which)):
        found.setdefault(action, {})[code] = count
    return found


def unsuccessful(conn: Connection, run: Run) -> list[int]:
    """Return the numbers of the lines of which a job was rejected, failed or was cancelled."""
    if run.applied_at is None:
        return []
    mine = (*runs.jobs_of(run, _source(run)), job.c.state.in_(BAD))
    return sorted({int(key.split("/")[1]) for key in conn.execute(select(job.c.key).where(*mine)).scalars()})


def _source(run: Run) -> str:
    return f"feed/{run.source}"


# -------------------------------------------------------------------------------------------------------- lines


def page(conn: Connection, run: Run, wanted: LineFilter, *, after: int = 0, limit: int) -> list[dict[str, Any]]:
    """Return up to `limit` lines in the order of the plan, those after number `after`, as `line_json` makes them."""
    return _page(conn, run, wanted.conditions(conn, run), after, limit)


def lines(database: Database, run: Run, wanted: LineFilter, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield all lines, or the first `limit`; no transaction is open while a slow reader, such as a pager, waits."""
    with database.read() as conn:
        which = wanted.conditions(conn, run)
    after, left = 0, limit
    while left is None or left > 0:
        with database.read() as conn:
            part = _page(conn, run, which, after, min(left or PAGE, PAGE))
        if not part:
            return
        yield from part
        after = part[-1]["number"]
        left = None if left is None else left - len(part)


def _page(conn: Connection, run: Run, which: Sequence[ColumnElement[bool]], after: int, limit: int) -> list[dict[str, Any]]:
    found = runs.lines(conn, run.id, *which, after=after, limit=limit)
    ended = runs.outcomes(conn, _source(run), found) if run.applied_at is not None else {}
    return [line_json(line, run, ended) for line in found]


def line_json(line: Mapping[str, Any], run: Run, ended: Mapping[tuple[int, int], Mapping[str, Any]]) -> dict[str, Any]:
    """The object for one line of a plan: `changes` is {field: [before, after]}, and each job says what became of it.

    `ended`: as `runs.outcomes` gives it.
    """
    nothing = {"id": None, "state": None, "reason": None, "reason_text": None}
    jobs = [
        dict(wanted) | dict(ended.get((line["number"], place)) or nothing) for place, wanted in enumerate(line["jobs"] or ())
    ]
    return {
        "run": run.id, "number": line["number"], "external_id": line["external_id"], "label": line["label"],
        "username": (line["person"] or {}).get("username"), "place": line["place"], "action": line["action"],
        "code": line["code"], "text": line["text"], "changes": line["changes"] or {}, "groups": line["groups"] or {},
        "jobs": jobs, "result": result(line, jobs), "raw": line["raw"],
    }  # fmt: skip


def result(line: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what became of a line: its worst job's state, `waiting` while one has not ended, None without any job yet."""
    if line["action"] == "refused":
        return "refused"
    states = [one["state"] for one in jobs if one["state"] is not None]
    if not states:
        return None
    for worst in ("failed", "rejected", "cancelled"):
        if worst in states:
            return worst
    return "succeeded" if all(state in FINISHED for state in states) and len(states) == len(jobs) else WAITING


# -------------------------------------------------------------------------------------------------- failed rows


def write_failed(database: Database, feed: Feed, run: Run, target: Path) -> int:
    """Write the records that were refused, or whose jobs did not succeed, as the input was; returns how many.

    Without any, there is no file.
    """
    rows = list(_failed_rows(database, run))
    if rows:
        form, reading = feed, run.reading
        if run.origin != "file":  # messages: objects, one a line
            form, reading = feed.model_copy(update={"form": "ndjson"}), {**_AS_LINES, **run.reading}
        write_failed_rows(form, reading, rows, target)
    return len(rows)


def _failed_rows(database: Database, run: Run) -> Iterator[tuple[str, str, str]]:
    """Yield (record as it came, code, sentence) of each that was refused, and of each whose job did not succeed."""
    with database.read() as conn:
        which = LineFilter(refused=True).conditions(conn, run)
    after = 0
    while True:
        with database.read() as conn:
            part = runs.lines(conn, run.id, *which, after=after, limit=PAGE)
            ended = runs.outcomes(conn, _source(run), part)
        if not part:
            return
        after = part[-1]["number"]
        for line in part:
            raw = line["raw"] or (line["person"] or {}).get("raw")
            if raw is None or line["place"] is None:  # nothing in the input said so
                continue
            bad = [one for (number, _), one in ended.items() if number == line["number"] and one["state"] in BAD]
            code, text = (bad[0]["reason"], bad[0]["reason_text"]) if bad else (line["code"], line["text"])
            yield raw, code or "failed", text or "The job of this record did not succeed."
