"""Messages of HR systems on their way in: each becomes a job that stores it, whichever door it came through."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from worker.feeds.inbox import own_id
from worker.intake import KEY_LENGTH, Acceptance, Request, refused
from worker.messages import LONGEST_LINE, SLICE, Answered, BadLine

KIND = "receive_hr_message"

TakeIn = Callable[[Sequence[Request]], list[Acceptance]]


def submit_lines(take_in: TakeIn, source: str, lines: Iterable[bytes], *, door: str, asker: str) -> Iterator[Answered]:
    """Hand in every line that holds a message, slice by slice, and yield what became of each, in order.

    `door`: the source of the jobs. Blank lines are skipped; lines count from 1.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    return _submit(take_in, source, ((number, _read(line)) for number, line in numbered), door, asker)


def submit_objects(take_in: TakeIn, source: str, found: Iterable[Any], *, door: str, asker: str) -> Iterator[Answered]:
    """Hand in messages that were read already; like `submit_lines`."""
    return _submit(take_in, source, enumerate(found, start=1), door, asker)


def _submit(
    take_in: TakeIn, source: str, numbered: Iterable[tuple[int, Any]], door: str, asker: str
) -> Iterator[Answered]:
    rest = iter(numbered)
    while part := list(islice(rest, SLICE)):
        answers = {}
        requests = []
        for number, message in part:
            try:
                fields, key = _job(source, message)
                requests.append((number, Request(KIND, fields, door, key, requested_by=asker)))
            except BadLine as problem:
                answers[number] = refused(Request(KIND, {}, door), "unreadable", problem=problem)
        taken = take_in([request for _, request in requests]) if requests else []
        answers |= {number: answer for (number, _), answer in zip(requests, taken, strict=True)}
        for number, _ in part:
            yield Answered(number, answers[number])


def _read(line: bytes) -> Any:
    """Return the JSON value of one line, or a BadLine that says why there is none."""
    if len(line) > LONGEST_LINE:
        return BadLine(f"it is longer than {LONGEST_LINE} bytes")
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return BadLine("it is not UTF-8 text")
    except RecursionError:
        return BadLine("it is nested too deeply")
    except ValueError as error:
        return BadLine(f"it is not JSON, at character {getattr(error, 'pos', 0) + 1}; a message is one object on one line")


def _job(source: str, message: Any) -> tuple[Mapping[str, Any], str | None]:
    """Return the payload and the key of the job that stores a message. Raises BadLine."""
    if isinstance(message, BadLine):
        raise message
    if not isinstance(message, Mapping):
        raise BadLine("it is not a JSON object; a message is one object on one line")
    named = own_id(message)
    return {"source": source, "message": message}, f"{source}/{named}"[:KEY_LENGTH] if named else None
