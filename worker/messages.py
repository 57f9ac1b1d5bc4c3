"""Reads jobs from lines of JSON and hands them to the intake in slices; what is wrong with a line is said of that line."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from worker.intake import Acceptance, Request, refused

# One slice is one transaction: large enough to be quick, small enough that others get their turn in between.
SLICE = 2_000
# A job is a few hundred bytes; a line of this length is a file of another kind.
LONGEST_LINE = 1_000_000
# What a line may hold; `kind` and `payload` it must.
FIELDS: Mapping[str, type] = {
    "kind": str, "payload": dict, "key": str, "source": str, "run_at": str, "urgent": bool, "priority": int, "why": str,
}  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """What became of one line. `line` counts from 1."""

    line: int
    acceptance: Acceptance


class BadLine(ValueError):
    """The line holds no job."""


def moment(text: str) -> datetime:
    """Return the instant that an ISO 8601 time with a zone names. Raises ValueError for one without."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time needs a zone, as in 2026-01-31T17:00:00+01:00")
    return found.astimezone(UTC)


def read(line: str | bytes, *, source: Callable[[str | None], str], asker: str | None) -> Request:
    """Return the job that one line asks for. `source` says, for the word in the line, whose job it is.

    Raises BadLine in words that repeat nothing of the content but names of fields.
    """
    if len(line) > LONGEST_LINE:
        raise BadLine(f"it is longer than {LONGEST_LINE} bytes")
    try:
        found = json.loads(line)
    except UnicodeDecodeError:
        raise BadLine("it is not UTF-8 text") from None
    except ValueError as error:
        raise BadLine(f"it is not JSON, at character {getattr(error, 'pos', 0) + 1}") from None
    except RecursionError:
        raise BadLine("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise BadLine("it is not a JSON object")
    if unknown := sorted(set(found) - set(FIELDS)):
        raise BadLine(f"it has a field {unknown[0]!r}; known are {', '.join(FIELDS)}")
    for name, wanted in FIELDS.items():
        value = found.get(name)
        if value is None and name in {"kind", "payload"}:
            raise BadLine(f"it has no {name}")
        if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            raise BadLine(f"its {name} is no {_WORDS[wanted]}")
    try:
        run_at = None if found.get("run_at") is None else moment(found["run_at"])
    except (ValueError, OverflowError):
        raise BadLine("its run_at is no time with a zone, as in 2026-01-31T17:00:00+01:00") from None
    return Request(
        found["kind"], found["payload"], source(found.get("source")), found.get("key"), run_at=run_at,
        urgent=bool(found.get("urgent")), priority=found.get("priority"), why=found.get("why"), requested_by=asker,
    )  # fmt: skip


_WORDS = {str: "text", dict: "JSON object", bool: "true or false", int: "whole number"}


def submit(
    lines: Iterable[str | bytes],
    take_in: Callable[[Sequence[Request]], list[Acceptance]],
    *,
    source: Callable[[str | None], str],
    asker: str | None = None,
) -> Iterator[Answered]:
    """Submit every line that holds a job, slice by slice, and yield what became of each, in order. Blank lines are skipped.

    `take_in` is the door (`App.submit`): each slice is a transaction of its own, and a slice that was taken in stays.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    while part := list(islice(numbered, SLICE)):
        answers: dict[int, Acceptance] = {}
        requests: list[tuple[int, Request]] = []
        for number, line in part:
            try:
                requests.append((number, read(line, source=source, asker=asker)))
            except BadLine as problem:
                nameless = Request("", {}, source(None))
                answers[number] = refused(nameless, "unreadable", problem=problem)
        taken = take_in([request for _, request in requests]) if requests else []
        answers |= {number: answer for (number, _), answer in zip(requests, taken, strict=True)}
        for number, _ in part:
            yield Answered(number, answers[number])


def counted(answers: Iterable[Answered], totals: dict[str, int]) -> Iterator[Answered]:
    """Pass the answers on and count them: new, duplicate, refused."""
    for answer in answers:
        word = "refused" if answer.acceptance.refused else "duplicate" if answer.acceptance.duplicate else "new"
        totals[word] = totals.get(word, 0) + 1
        yield answer


def as_json(answer: Answered) -> dict[str, Any]:
    """The object that `submit --batch --json` prints for a line."""
    return {"line": answer.line, **answer.acceptance.as_json()}
