"""Reading JSON: one object a line, or a list of any length read piece by piece. Doubtful records are refused."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TextIO

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.lines import Lines
from worker.feeds.mapping import names_secret, without_secrets
from worker.feeds.records import ERRORS, LARGEST, Raw, Reading, Unreadable, dump
from worker.feeds.shapes import MISSING, BadRecord, finder, read_scim
from worker.redact import DEEPEST, unstorable

PIECE = 2**16
# So many different oddities of SCIM are told; a client has few, and each of them in every record.
ODDITIES_TOLD = 20
# So many bulkIds are remembered, to tell when one comes twice.
BULK_IDS = 100_000
# A list that names more records than it brought, or where the next page is, holds only a part of the people.
TOTAL, NEXT_PAGE = "totalResults", "nextlink"
SCIM_LISTS = frozenset({"operations", "resources"})

_BLANK = re.compile(r"[ \t\r\n\ufeff]*")


class Flaw(NamedTuple):
    """What is wrong with a value that was read all the same, and its text."""

    told: str
    source: str


class Decoder:
    """JSON (RFC 8259) as the json module reads it, with everything noted that it would silently mend or lose."""

    def __init__(self) -> None:
        self._flaws: list[str] = []
        self._decode = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant, parse_float=self._float, parse_int=self._int
        ).raw_decode

    def value(self, text: str, at: int) -> tuple[Any, int, Flaw | None]:
        """Return the value that begins at a position, where it ends, and what is wrong with it. Raises JSONDecodeError."""
        self._flaws.clear()
        try:
            value, end = self._decode(text, at)
        except RecursionError:
            raise json.JSONDecodeError("Too many brackets within each other", text, at) from None
        source = text[at:end]
        if not self._flaws and ("\\u" in source or source.count("{") + source.count("[") > DEEPEST):
            problem = unstorable(value)
            self._flaws += [problem] if problem else []
        return value, end, Flaw(self._flaws[0], source) if self._flaws else None

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            self._flaws.append(f'the member "{twice}" stands there more than once')
        return made

    def _constant(self, word: str) -> None:
        self._flaws.append(f"{word} is no value of JSON")

    def _float(self, digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            self._flaws.append("a number is too large; send long numbers as text")
        return value

    def _int(self, digits: str) -> int:
        if len(digits) > 100:
            self._flaws.append("a number is too large; send long numbers as text")
            return 0
        return int(digits)


class _Objects:
    """What both ways of reading have in common: from a decoded value to a record."""

    def __init__(self, feed: Feed, reading: Reading) -> None:
        self._feed, self._reading, self._decoder = feed, reading, Decoder()
        self._ignore_errors = not declares_errors(feed)
        take = feed.columns.get("external_id")
        self._find_id: Callable[[Any], Any] = finder(take.column) if take and take.column else lambda _: MISSING
        self._bulk_ids: set[str] = set()
        self._odd: Counter[str] = Counter()

    def _record(self, place: int, value: Any, flaw: Flaw | None) -> Raw | Refusal:
        self._reading.records += 1
        if flaw is not None:
            return self._refuse(place, "bad_json", f"The record is not taken: {flaw.told}. Correct it and push it again.", value, flaw.source)
        if not isinstance(value, dict):
            return self._refuse(place, "not_an_object", "The record is no object with names and values.", value)
        if self._ignore_errors and all(name in value for name in ERRORS):
            self._reading.failed_rows = True
            value = {name: one for name, one in value.items() if name not in ERRORS}
        if self._feed.form != "scim":
            return Raw(place, value, dump(value))
        try:
            if len(self._bulk_ids) > BULK_IDS:
                self._bulk_ids.clear()
            person = read_scim(value, self._bulk_ids)
        except BadRecord as bad:
            return self._refuse(place, bad.code, bad.text, value)
        if len(self._odd) < ODDITIES_TOLD:
            self._odd.update(person.oddities)
        # Without the frame of the operation, whose bulkId is another one in each delivery.
        return Raw(place, dict(person.value), dump(_data(value)))

    def _refuse(self, place: int, code: str, text: str, value: Any, source: str | None = None) -> Refusal:
        self._reading.refused += 1
        found = self._find_id(_data(value)) if isinstance(value, dict) else MISSING
        known = str(found).strip() if isinstance(found, (str, int)) and not unstorable(found) else ""
        return Refusal(known, place, code, text, dump(without_secrets(value)) if source is None else _evidence(source))

    def _tell_oddities(self) -> None:
        for oddity, count in self._odd.items():
            self._reading.notes.append(f"In {count} records: {oddity}." if count > 1 else f"In a record: {oddity}.")


class ObjectLines(_Objects):
    """One JSON object a line."""

    def __init__(self, feed: Feed, text: TextIO, reading: Reading) -> None:
        super().__init__(feed, reading)
        self._lines = Lines(text, reading, feed.complete.trailer)

    def __iter__(self) -> Iterator[Raw | Refusal]:
        for place, line in enumerate(self._lines, 1):
            text = line.rstrip()
            if not text:
                continue
            if text.lstrip().startswith("[") and not self._reading.records:
                raise Unreadable(
                    f'{self._reading.file}, line {place}: this is a list of JSON, not one object a line. Declare form = "json".'
                )
            yield self._line(place, text, cut=line[-1] not in "\r\n")
        self._lines.check_trailer()
        self._tell_oddities()

    def _line(self, place: int, text: str, *, cut: bool) -> Raw | Refusal:
        if "\0" in text:
            code, problem = "nul_byte", "The line holds NUL bytes. The file was damaged; correct the line and push it again."
        else:
            try:
                value, end, flaw = self._decoder.value(text, len(text) - len(text.lstrip()))
            except ValueError as error:
                if cut:
                    raise Unreadable(
                        f"{self._reading.file}, line {place}: the file is not complete, it ends within a record. "
                        "Nothing was taken. Fetch it again."
                    ) from error
                at = error.pos + 1 if isinstance(error, json.JSONDecodeError) else 1
                code, problem = "bad_json", f"The line is not JSON at column {at}. Correct it and push it again."
            else:
                if end == len(text):
                    return self._record(place, value, flaw)
                at = len(text) - len(text[end:].lstrip()) + 1
                code, problem = "bad_json", f"More follows after the record at column {at}. Send one object a line."
        self._reading.records += 1
        self._reading.refused += 1
        return Refusal("", place, code, problem, _evidence(text))


class ObjectList(_Objects):
    """A list of objects, or an object that holds one such list, read in pieces: only one record is held at a time."""

    def __init__(self, feed: Feed, text: TextIO, reading: Reading) -> None:
        super().__init__(feed, reading)
        if feed.complete.trailer is not None:
            raise Unreadable(f"{reading.file}: a trailer is declared, but a JSON list has none. Take it out of the declaration.")
        self._text, self._buffer, self._at = text, "", 0
        self._line, self._column = 1, 1
        self._total: int | None = None
        self._page: str | None = None

    def __iter__(self) -> Iterator[Raw | Refusal]:
        first = self._peek()
        if first == "[":
            yield from self._records()
        elif first == "{":
            yield from self._within_object()
        elif first:
            raise self._broken(self._at, "a JSON list or object was expected")
        if self._peek():
            raise self._broken(self._at, 'more follows after the end. If each line is a record, declare form = "ndjson"')
        self._tell_oddities()

    def _records(self) -> Iterator[Raw | Refusal]:
        for value, flaw in self._elements():
            yield self._record(self._reading.records + 1, value, flaw)

    def _within_object(self) -> Iterator[Raw | Refusal]:
        """Give the elements of the one member that is a list of objects; the other members are small, or passed over."""
        self._take("{")
        found: str | None = None
        more = self._peek() != "}"
        while more:
            name, _ = self._value()
            if not isinstance(name, str):
                raise self._broken(self._at, "the name of a member was expected")
            self._take(":")
            if self._peek() != "[":
                value, _ = self._value()
                self._hold(name, value)
            elif self._begins_with_object() and (self._feed.form != "scim" or name.casefold() in SCIM_LISTS):
                if found is not None:
                    raise self._broken(self._at, f'there are two lists of objects, "{found}" and "{name}"; send one')
                found = name
                yield from self._records()
            else:
                for _ in self._elements():
                    pass
            more = self._peek() == ","
            if more:
                self._take(",")
        self._take("}")
        if found is None:
            raise Unreadable(f"{self._reading.file} holds no records: there is no list of objects in it. Nothing was taken.")
        self._check_whole()

    def _hold(self, name: str, value: Any) -> None:
        if name == TOTAL and isinstance(value, int):
            self._total = value
        elif name.casefold().endswith(NEXT_PAGE) and value:
            self._page = name

    def _check_whole(self) -> None:
        """Raises Unreadable where a full input says itself that it is one page of several."""
        if self._feed.mode != "full" or self._reading.failed_rows:
            return
        why = None
        if self._page is not None:
            why = f'"{self._page}" says that another page follows'
        elif self._total is not None and self._total > self._reading.records:
            why = f'"{TOTAL}" is {self._total}, but it holds {self._reading.records} records'
        if why:
            raise Unreadable(f"{self._reading.file} is not complete: {why}. Put all pages together; nothing was taken.")

    def _elements(self) -> Iterator[tuple[Any, Flaw | None]]:
        self._take("[")
        if self._peek() == "]":
            self._take("]")
            return
        while True:
            self._peek()
            yield self._value()
            if self._peek() != ",":
                break
            self._take(",")
        self._take("]")

    def _begins_with_object(self) -> bool:
        while (end := _BLANK.match(self._buffer, self._at + 1).end()) == len(self._buffer):  # type: ignore[union-attr]
            if not self._fill():
                return False
        return self._buffer[end] == "{"

    # ------------------------------------------------------------------------------------------------- pieces

    def _value(self) -> tuple[Any, Flaw | None]:
        self._peek()
        while True:
            try:
                value, end, flaw = self._decoder.value(self._buffer, self._at)
            except ValueError as error:
                at, told = (error.pos, error.msg) if isinstance(error, json.JSONDecodeError) else (self._at, str(error))
                if len(self._buffer) - self._at > LARGEST or not self._fill():
                    raise self._broken(at, f"this is not JSON ({told})") from error
                continue
            # A number may go on in the next piece.
            if end < len(self._buffer) or not self._fill():
                self._at = end
                return value, flaw

    def _peek(self) -> str:
        """Go on to what is not blank and return its first character; empty at the end."""
        while True:
            self._at = _BLANK.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill():
                return ""

    def _take(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise self._broken(self._at, f"{wanted} was expected")
        self._at += 1

    def _fill(self) -> bool:
        """Read another piece and forget what is done with; False at the end of the file."""
        piece = self._text.read(PIECE)
        if piece:
            self._line, self._column = self._place(self._at)
            self._buffer, self._at = self._buffer[self._at :] + piece, 0
        return bool(piece)

    def _place(self, at: int) -> tuple[int, int]:
        done = self._buffer[:at].replace("\r\n", "\n").replace("\r", "\n")
        lines = done.count("\n")
        return self._line + lines, (self._column if not lines else 0) + len(done) - (done.rfind("\n") + 1) + (1 if lines else 0)

    def _broken(self, at: int, why: str) -> Unreadable:
        line, column = self._place(at)
        if not self._buffer[at:].strip() or "Unterminated" in why:
            return Unreadable(
                f"{self._reading.file}, line {line}, column {column}: the file is not complete, it ends within a record. "
                "Nothing was taken. Fetch it again."
            )
        return Unreadable(f"{self._reading.file}, line {line}, column {column}: {why}. Nothing was taken.")


def is_failed_rows(feed: Feed, sample: str) -> bool:
    """Whether a text begins as a failed-rows file made of JSON does: one object a line, with what was wrong with it."""
    try:
        first = json.loads(sample.lstrip("\ufeff").split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and all(name in first for name in ERRORS) and not declares_errors(feed)


def declares_errors(feed: Feed) -> bool:
    """Whether the feed has columns of its own that are called as those of a failed-rows file."""
    return any(name in ERRORS for take in feed.columns.values() for name in (take.column, *take.columns))


def restored(feed: Feed, text: str) -> Any:
    """Return the value of a record from its text."""
    value = json.loads(text)
    if feed.form == "scim" and isinstance(value, Mapping):
        return dict(read_scim(value, set()).value)
    return value


def _evidence(text: str) -> str:
    """Return as JSON a text that was not taken; nothing of one that names something secret, as nobody knows where it is."""
    return dump("" if names_secret(text) else text)


def _data(record: Mapping[str, Any]) -> Any:
    """Return the person in an operation of a BulkRequest; anything else as it is."""
    if "method" not in {name.casefold() for name in record}:
        return record
    return next((value for name, value in record.items() if name.casefold() == "data"), record)
