"""Draws plans and runs of feeds on the terminal."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from worker.feeds.codes import ACTIONS
from worker.screen import card, console, harmless, heading, say, shown, table

if TYPE_CHECKING:
    from worker.feeds.runs import Run

# Lines of a section that people read; the rest comes with --all.
SECTION = 20
# As much of a run's id as names it, where there is no plan's hash to type.
RUN_SHOWN = 18
# One value of a person on the terminal; whole ones are printed with --json.
VALUE_SHOWN = 120

# Shown before all others, which follow by name: PostgreSQL keeps no order of them.
FIRST = ("user", "username", "external_id", "name", "email")

# ------------------------------------------------------------------------------------------------------- names


def name_of(run: "Run") -> str:
    """Return what people type to name a run: the beginning of its plan's hash, else of its id."""
    from worker.feeds.runs import HASH_SHOWN

    return run.hash[:HASH_SHOWN] if run.hash else run.id[:RUN_SHOWN]


def many(count: int, one: str, several: str | None = None) -> str:
    """Return a number with its word: 1 person, 2 people."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def counted(counts: Mapping[str, int]) -> str:
    """Return how many of each there are, in words: 3 joiners, 1 leaver."""
    return ", ".join(many(counts[name], *ACTIONS[name][:2]) for name in ACTIONS if counts.get(name))


# ------------------------------------------------------------------------------------------------------ a plan


def show_head(run: "Run") -> None:
    """Print what was read, and how."""
    show_reading(run.source, run.input or {"scan": "due dates"}.get(run.origin, run.origin), run.reading)


def show_reading(source: str, name: str, reading: Mapping[str, Any]) -> None:
    """Print how an input was read."""
    wrapped(f"{source}: {name}, {_read(reading)}" if reading.get("records") is not None else f"{source}: {name}", "")
    for note in reading.get("notes") or ():
        wrapped(f"note: {note}", "  ")


def _read(reading: Mapping[str, Any]) -> str:
    words = [many(reading["records"], "record")]
    if reading.get("encoding"):
        mark = " with byte order mark" if reading.get("byte_order_mark") else ""
        words.append(f"{reading['encoding']}{mark} ({reading['encoding_known_by']})")
    if reading.get("delimiter"):
        delimiter = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}.get(reading["delimiter"], reading["delimiter"])
        words.append(f"{delimiter} ({reading['delimiter_known_by']})")
    if reading.get("failed_rows"):
        words.append("a failed-rows file that came back: whoever is not in it is left alone")
    return ", ".join(words)


def show_counts(run: "Run", counts: Mapping[str, int]) -> None:
    """Print how many of each there are."""
    rows = [(ACTIONS[name][1], counts[name], ACTIONS[name][2]) for name in ACTIONS if counts.get(name)]
    unchanged = run.counts.get("unchanged", 0)
    if unchanged or not rows:
        rows.append(("unchanged", unchanged, "are as they were"))
    say()
    table(("", "people", "who"), [(name, f"{count:,}", words) for name, count, words in rows], right=("people",), whole=("",))
    mails = (run.reading.get("risks") or {}).get("mails", 0)
    if mails and run.applied_at is None:
        say(f"\nMails that it would send: {mails:,}.")


def show_brakes(run: "Run") -> None:
    """Print what holds a plan."""
    if run.brakes:
        heading("Held by these brakes" if run.state == "held" else "Brakes that held it")
        for brake in run.brakes:
            wrapped(f"{brake['brake']}: {brake['text']}", "  ")


def show_section(
    run: "Run", action: str, count: int, lines: Iterable[Mapping[str, Any]], *, jobs: bool, codes: Mapping[str, int]
) -> None:
    """Print the lines of one kind, as many as are given, and say how many more there are. `codes`: how many of each."""
    heading(f"{(ACTIONS[action][1] if action in ACTIONS else action).capitalize()} ({count:,})")
    if count > 1 and codes:
        wrapped(", ".join(f"{number:,} {code}" for code, number in codes.items()), "  ")
    number, said = 0, None
    for line in lines:
        number += 1
        _show_line(run, line, jobs=jobs, text=line["text"] if line["text"] != said or action != "refused" else None)
        said = line["text"]
    if number < count:
        say(f"  … and {count - number:,} more: --all")


def _show_line(run: "Run", line: Mapping[str, Any], *, jobs: bool, text: str | None) -> None:
    where = place(run, line)
    if line["action"] == "refused":
        head = [where, line["external_id"], line["code"]]
    else:
        head = [line["external_id"], cut(line["label"] or ""), line["username"], _how(line)]
    wrapped("  ".join(str(one) for one in head if one), "  ")
    if text:
        wrapped(text, "      ")
    _show_changes(line)
    _show_groups(line["groups"])
    for job in line["jobs"]:
        bad = job["state"] in ("failed", "rejected", "cancelled")
        if jobs:
            urgent = " urgent" if job.get("urgent") else ""
            wrapped(f"job{urgent} {job['kind']} {json.dumps(in_order(job['payload']), ensure_ascii=False)}", "      ")
        if bad or (jobs and job["id"]):
            wrapped(f"{job['kind']} {job['id'][:RUN_SHOWN]} {job['state']}: {job['reason_text'] or job['reason'] or ''}".rstrip(": "),
                    "      ")  # fmt: skip


def place(run: "Run", line: Mapping[str, Any]) -> str | None:
    """Return where in the input a line comes from, as file:line."""
    if line["place"] is None:
        return None
    if run.origin != "file":
        return f"message {line['place']}" if run.origin == "messages" else None
    if run.reading.get("form") in ("json", "scim"):
        return f"{run.input}, record {line['place']}"
    return f"{run.input}:{line['place']}"


def _how(line: Mapping[str, Any]) -> str:
    return f"[{line['result']}]" if line["result"] else ""


def _show_changes(line: Mapping[str, Any]) -> None:
    changes: Mapping[str, Sequence[Any]] = in_order(line["changes"])
    if line["action"] == "joiner":
        found = [f"{_field(name)}: {_value(after)}" for name, (_, after) in changes.items() if after is not None]
        if found:
            wrapped("; ".join(found), "      ")
        return
    for name, (before, after) in changes.items():
        wrapped(f"{_field(name)}: {_value(before)} → {_value(after)}", "      ")


def in_order(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields in the order in which people read them."""
    return {name: fields[name] for name in sorted(fields, key=lambda one: (FIRST.index(one) if one in FIRST else len(FIRST), one))}


def _field(name: str) -> str:
    return {"leaves_at": "leaves at"}.get(name, name.removeprefix("attributes."))


def _value(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    return cut(shown(value))


def cut(text: str) -> str:
    """Return a value as long as a line may show it."""
    return text if len(text) <= VALUE_SHOWN else text[: VALUE_SHOWN - 1] + "…"


def _show_groups(groups: Mapping[str, Mapping[str, str]]) -> None:
    words = chain(
        (f"+{cut(name)} ({rule})" for name, rule in (groups.get("added") or {}).items()),
        (f"-{cut(name)} ({rule})" for name, rule in (groups.get("removed") or {}).items()),
        (f"{cut(name)} kept until {shown(until)}" for name, until in (groups.get("kept") or {}).items()),
    )
    text = "  ".join(words)
    if text:
        wrapped(f"groups {text}", "      ")


def wrapped(text: str, indent: str) -> None:
    """Print text of others, harmless, folded to the width of the screen under its indent."""
    text = harmless(text)
    width = max(console().width, 40)
    if len(indent) + len(text) <= width:
        say(indent + text)
        return
    for part in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False):
        say(part)


def complain(text: str) -> None:
    """Print text of others, harmless, on standard error."""
    import click

    click.echo(harmless(text), err=True)


# ------------------------------------------------------------------------------------------------------- a run


def show_run(run: "Run", jobs: Mapping[str, int]) -> None:
    """Print the facts of a run. `jobs`: how many there are in each state."""
    say(f"plan {name_of(run)}" if run.hash else f"run {name_of(run)}")
    say()
    state = run.state if run.state != "applying" else f"applying: {run.carried:,} of {run.total:,} lines"
    if run.state == "approved" and run.approved_until is not None:
        state = f"approved until {shown(run.approved_until)}"
    card({
        "run": run.id, "feed": run.source, "made of": " ".join(filter(None, [run.origin, run.input])),
        "state": state, "": run.problem, "asked by": run.requested_by,
        "approved by": f"{run.approved_by}: {run.approved_reason}" if run.approved_by else None,
        "planned": run.created_at, "applied": run.applied_at,
        "jobs": ", ".join(f"{count:,} {state}" for state, count in jobs.items()) or ("none" if run.applied_at else None),
        "all ended": run.finished_at if run.applied_at else None,
    })  # fmt: skip


def next_step(run: "Run") -> str:
    """Return what a person may type next."""
    name = name_of(run)
    if run.state == "held":
        return (f"Nothing has been changed.\n"
                f"  who it is about   muster feed show {name}\n"
                f"  if it is right    muster feed approve {name} --reason '…'\n"
                f"  if it is not      muster feed drop {name} --reason '…'")  # fmt: skip
    if run.state in ("planned", "approved"):
        if not run.total:
            return "There is nothing to do."
        return f"Nothing has been changed. To carry it out: muster feed apply {name}"
    if run.state == "refused":
        return "Nothing was planned, and nobody was changed."
    if run.state == "applying":
        return f"It is decided and being carried out; workers go on with it, or: muster feed apply {name}"
    if run.state == "planning":
        return "It is being planned, or its planning was broken off; then plan the input anew."
    return ""


def ago(at: datetime, now: datetime) -> str:
    """Return a time as listings show it: with the hour when it is near, with the year when it is not."""
    return f"{at:%m-%d %H:%M}" if abs((now - at).days) < 90 else f"{at:%Y-%m-%d}"
