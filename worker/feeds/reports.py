"""The report beside a file that was taken out of a watched folder: what was read, planned, refused, and what to do next."""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection

from worker.database import Database
from worker.feed_tables import feed_action
from worker.feeds import runs
from worker.feeds.apply import shown
from worker.feeds.declaration import Feed
from worker.feeds.failed_rows import write_failed_rows
from worker.feeds.runs import Run

TEXT, JSON, FAILED = ".report.txt", ".report.json", ".failed.csv"
# Of each kind of line the text shows so many; the JSON beside it holds all.
LINES_SHOWN = 50
# In the order in which a reader wants them: first what needs a person.
_ORDER = (
    "refused", "case", "warning", "leaver", "leave", "joiner", "rehire", "mover", "reference", "stays", "return", "absent",
    "noted",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What is to be told of one file. `state`: done, held or refused; `told`: that in a sentence; `run`: if there was one."""

    source: str
    name: str
    state: str
    told: str
    at: datetime
    run: Run | None


def write(database: Database, feed: Feed, report: Report, data: Path, beside: Path) -> None:
    """Write the report (and the refused rows, if there are any) beside `beside`, readable by whoever may read `data`."""
    mode = stat.S_IMODE(data.stat().st_mode) & 0o666
    with database.read() as conn:
        with _appearing(_named(beside, TEXT), mode) as file:
            _write_text(conn, report, file)
        with _appearing(_named(beside, JSON), mode) as file:
            _write_json(conn, report, file)
        if report.run is not None and report.run.counts.get("refused"):
            target = _named(beside, FAILED)
            write_failed_rows(feed, report.run.reading, _refused(conn, report.run), target)
            target.chmod(mode)


def run_of(beside: Path) -> str | None:
    """Return the run that the report beside a file tells of; None when there is no such report."""
    try:
        with _named(beside, JSON).open(encoding="utf-8") as file:
            said = json.loads(file.readline() + "]}")  # its lines come after the first one, and may be very many
        return str(said["run"]["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove(beside: Path) -> None:
    """Take away the report beside a file that was moved on."""
    for ending in (TEXT, JSON, FAILED):
        _named(beside, ending).unlink(missing_ok=True)


def _named(beside: Path, ending: str) -> Path:
    return beside.with_name(beside.name + ending)


@contextmanager
def _appearing(target: Path, mode: int) -> Iterator[IO[str]]:
    """A file that is there only when it is complete. A name in it that is no text is shown as far as it is."""
    passing = target.with_name(f".{target.name}"[:250] + ".tmp")
    try:
        with passing.open("w", encoding="utf-8", errors="backslashreplace") as file:
            os.fchmod(file.fileno(), mode)
            yield file
        passing.replace(target)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise


# ------------------------------------------------------------------------------------------------------- text


def _write_text(conn: Connection, report: Report, file: IO[str]) -> None:
    file.write(f"{report.name} of {report.source}: {report.state}\n{report.told}\n")
    run = report.run
    if run is None:
        return
    file.write(f"\nplan {shown(run)}, made at {run.created_at:%Y-%m-%d %H:%M:%S} UTC\n" if run.hash else f"\nrun {run.id}\n")
    file.writelines(f"{name}: {value}\n" for name, value in _how_read(run.reading))
    file.writelines(f"note: {note}\n" for note in run.reading.get("notes") or ())
    for brake in run.brakes:
        file.write(f"brake {brake['brake']}: {brake['text']}\n")
    if run.counts:
        file.write("\n" + "".join(f"{run.counts[name]:>9,} {name}\n" for name in (*_ORDER, "unchanged") if run.counts.get(name)))
    for action in _ORDER:
        if count := run.counts.get(action, 0):
            file.write(f"\n{action} ({count:,})\n")
            found = runs.lines(conn, run.id, feed_action.c.action == action, limit=LINES_SHOWN)
            file.writelines(f"  {_told(line)}\n" for line in found)
            if count > len(found):
                file.write(f"  and {count - len(found):,} more: muster feed show {shown(run)} --all\n")


def _how_read(reading: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("records", "encoding", "delimiter"):
        if reading.get(name) is not None:
            known = reading.get(f"{name}_known_by")
            value = repr(reading[name]) if name == "delimiter" else reading[name]
            yield name, f"{value} ({known})" if known else value


def _told(line: Mapping[str, Any]) -> str:
    where = f"line {line['place']}" if line["place"] else None
    changes = ", ".join(f"{name}: {_said(before)} -> {_said(after)}" for name, (before, after) in (line["changes"] or {}).items())
    moved = [f"+{name}" for name in (line["groups"] or {}).get("added", ())]
    moved += [f"-{name}" for name in (line["groups"] or {}).get("removed", ())]
    parts = (where, line["external_id"], line["label"], line["code"], line["text"], changes, " ".join(moved))
    return _one_line("  ".join(str(part) for part in parts if part))


def _said(value: Any) -> str:
    return "(none)" if value is None else str(value)


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


# ------------------------------------------------------------------------------------------------------- JSON


def _write_json(conn: Connection, report: Report, file: IO[str]) -> None:
    """One object; its `lines` are written one by one, however many there are."""
    head = {
        "source": report.source, "file": report.name, "state": report.state, "told": report.told,
        "at": report.at, "run": report.run.as_json() if report.run else None,
    }  # fmt: skip
    file.write(json.dumps(head, default=_plain)[:-1] + ', "lines": [\n')
    if report.run is not None:
        for number, line in enumerate(runs.all_lines(conn, report.run.id)):
            file.write((",\n" if number else "") + json.dumps(_shown(line), default=_plain))
    file.write("]}\n")


def _shown(line: Mapping[str, Any]) -> dict[str, Any]:
    names = ("number", "external_id", "label", "place", "action", "code", "text", "changes", "groups")
    return {name: line[name] for name in names} | {"jobs": [job["kind"] for job in line["jobs"] or ()]}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _refused(conn: Connection, run: Run) -> Iterator[tuple[str, str, str]]:
    for line in runs.all_lines(conn, run.id, feed_action.c.action == "refused"):
        if line["raw"] is not None and line["place"] is not None:
            yield line["raw"], line["code"] or "refused", line["text"] or ""
