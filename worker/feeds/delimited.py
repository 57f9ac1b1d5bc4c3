"""Reading CSV: whatever its delimiter, header and line ends. A doubtful row is refused, a doubtful file as a whole."""

import csv
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from io import StringIO
from json.encoder import encode_basestring
from typing import TextIO
from unicodedata import normalize

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.guard import unguarded
from worker.feeds.lines import UNSEEN, Lines
from worker.feeds.mapping import emptied, looks_secret
from worker.feeds.records import DECLARED, ERRORS, LARGEST, Raw, Reading, Unreadable, dump

# A record with more line breaks than this is a quote that was never closed.
MOST_LINES = 1_000
CANDIDATES = ",;\t|"
# So many rows are looked at to find the delimiter.
ROWS_TRIED = 20
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

_SAYS = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')

# The limit is one for the whole process; only feeds read CSV here.
csv.field_size_limit(LARGEST)


def declared_columns(feed: Feed) -> list[str]:
    """Return the names of the columns that the header has to hold."""
    named = [name for take in feed.columns.values() for name in (take.column, *take.columns) if name is not None]
    return list(dict.fromkeys(named))


class Table:
    """The rows of a CSV text. Made, it knows the dialect and the header; gone through, it gives each row once."""

    def __init__(self, feed: Feed, text: TextIO, sample: str, reading: Reading) -> None:
        self._reading, self._columns = reading, declared_columns(feed)
        self._delimiter, reading.delimiter_known_by = find_delimiter(feed, sample)
        reading.delimiter = self._delimiter
        self._lines = Lines(text, reading, feed.complete.trailer)
        self._held: list[str] = []
        self._secret: list[int] = []
        self._nul = False
        self._reader = csv.reader(self._watched(), delimiter=self._delimiter, strict=True)
        header = self._header()
        reading.failed_rows = set(ERRORS) <= set(header) and not set(ERRORS) & set(self._columns)
        errors = {header.index(name) for name in ERRORS} if reading.failed_rows else set()
        self._dropped = errors
        self._width = len(header)
        self._names = [unguarded(name) if errors else name for at, name in enumerate(header) if at not in errors]
        reading.header = tuple(self._names)
        self._secret = [place for place, name in enumerate(self._names) if looks_secret(name)]
        self._check_header()
        take = feed.columns.get("external_id")
        column = take.column if take is not None else None
        self._id_at = self._names.index(column) if column in self._names else None

    # ------------------------------------------------------------------------------------------------- header

    def _header(self) -> list[str]:
        """Return the names as they are declared, where they differ only in what nobody sees."""
        meant = {normalize("NFC", name): name for name in self._columns}
        while True:
            row = self._next()
            if row is None:
                raise Unreadable(f"{self._reading.file} holds no records, not even a header. Nothing was taken.")
            if isinstance(row, Refusal):
                raise Unreadable(f"{self._reading.file}, line {row.place}: the header cannot be read. {row.text}")
            if self._nul:
                raise Unreadable(
                    f"{self._reading.file}, line 1: the header holds NUL bytes. "
                    'If the file is UTF-16 without a byte-order mark, declare encoding = "utf-16".'
                )
            says_delimiter = self._reader.line_num == 1 and _SAYS.fullmatch(self._held[0])
            if any(map(str.strip, row)) and not says_delimiter:
                break
        self._reading.line_end = next((end for end in ("\r\n", "\n", "\r") if self._held[-1].endswith(end)), "\n")
        names = (normalize("NFC", name).strip(UNSEEN + " \t\r\n\xa0") for name in row)
        return [meant.get(name, name) for name in names]

    def _check_header(self) -> None:
        file, names = f"{self._reading.file}, line {self._reader.line_num}", self._names
        missing = [name for name in self._columns if name not in names]
        if missing:
            told = "; ".join(self._missed(name) for name in missing)
            raise Unreadable(f"{file}: {told}. The header holds: {_told(names)}. Nothing was taken. {self._hint()}".rstrip())
        for name in sorted({name for name in names if names.count(name) > 1}):
            at = " and ".join(str(number) for number, one in enumerate(names, 1) if one == name)
            if name in self._columns:
                raise Unreadable(
                    f'{file}: the header names the column "{name}" more than once (columns {at}), and the feed reads it. '
                    "Nothing was taken: nobody knows which one is meant."
                )
            if name:
                self._reading.notes.append(f'The header names "{name}" more than once (columns {at}); it is not used.')

    def _missed(self, name: str) -> str:
        near = {one.casefold(): one for one in self._names if one}
        found = get_close_matches(name.casefold(), near, 1)
        return f'the header lacks the column "{name}"' + (f' (is it "{near[found[0]]}"?)' if found else "")

    def _hint(self) -> str:
        only = self._names[0] if len(self._names) == 1 else ""
        for other in CANDIDATES:
            if other != self._delimiter and other in only:
                return f"Its cells seem to be parted by a {NAMES[other]}, not by {_told([self._delimiter])}."
        return ""

    # --------------------------------------------------------------------------------------------------- rows

    def __iter__(self) -> Iterator[Raw | Refusal]:
        reading, width, dropped = self._reading, self._width, self._dropped
        first = self._names[0] if self._names else ""
        while True:
            begun = self._reader.line_num + 1
            row = self._next()
            if row is None:
                break
            if isinstance(row, Refusal):
                reading.records += 1
                reading.refused += 1
                yield row
                continue
            if not any(map(str.strip, row)):
                continue
            count = len(row)
            if count > width and not any(map(str.strip, row[width:])):
                row, count = row[:width], width
            if dropped:
                row = [unguarded(cell) for at, cell in enumerate(row) if at not in dropped]
            if row and row[0] == first and row == self._names:
                reading.notes.append(f"Line {begun} repeats the header and was left out. Were two files put together?")
                continue
            reading.records += 1
            text = "[" + ",".join(map(encode_basestring, row)) + "]"
            if count == width and not self._nul:
                yield Raw(begun, row, text)
                continue
            if count < width and self._held[-1][-1] not in "\r\n":
                raise Unreadable(
                    f"{reading.file}, line {self._reader.line_num}: the file is not complete, it ends within a row ({count} of "
                    f"{width} cells, and no line end). Nothing was taken. Fetch it again."
                )
            reading.refused += 1
            if self._secret:
                text = dump(emptied(row, self._secret, width))
            yield self._nul_byte(begun, row, text) if self._nul else self._ragged(begun, row, text)
        self._lines.check_trailer()

    def _next(self) -> list[str] | Refusal | None:
        """Return the next row; None when there is none. Raises Unreadable where it is not known where a row ends."""
        self._held.clear()
        self._nul = False
        begun = self._reader.line_num + 1
        try:
            return next(self._reader, None)
        except csv.Error as error:
            text = "".join(self._held)
            at, cell = _flaw(text, self._delimiter)
            line, column = _place(text, at, begun)
            closed = _QUOTED.match(text, at)
            where = f"line {line}, column {column}"
            if closed is None or len(text) > LARGEST:
                raise self._unclosed(begun) from error
            if len(self._held) > 1:
                line, column = _place(text, closed.end(), begun)
                raise Unreadable(
                    f"{self._reading.file}, {where}: a quote opens here and meets text after the quote on line {line}, column "
                    f"{column}. It is not known where the record ends, so nothing was taken. Close the first quote or double "
                    "those within the cell."
                ) from error
            name = self._reading.header[cell] if self._reading.header and cell < len(self._reading.header) else None
            named = f' of "{name}"' if name else ""
            told = f"At column {column} the cell{named} goes on after its closing quote. Double the quotes within the cell."
            return Refusal("", begun, "bad_quotes", told, dump("" if self._secret else text.rstrip("\r\n")), name)

    def _watched(self) -> Iterator[str]:
        """Give the lines to the csv module, and keep those of the record at hand."""
        held = self._held
        for line in self._lines:
            held.append(line)
            if len(held) > MOST_LINES:
                raise self._unclosed(self._reader.line_num - len(held) + 2)
            if "\0" in line:
                self._nul = True
            yield line

    def _unclosed(self, begun: int) -> Unreadable:
        text = "".join(self._held)
        line, column = _place(text, _flaw(text, self._delimiter)[0], begun)
        return Unreadable(
            f"{self._reading.file}, line {line}, column {column}: the quote that opens here is never closed, or the file was "
            "cut off. Nothing was taken. Close the quote, or fetch the file again."
        )

    def _ragged(self, begun: int, row: list[str], text: str) -> Refusal:
        given, wanted = len(row), len(self._names)
        which = (
            f'the last one filled is "{self._names[given - 1]}"' if 0 < given < wanted
            else "look for a delimiter that is not in quotes"
        )  # fmt: skip
        told = f"The row has {given} cells, but the header has {wanted}: {which}. Correct the row and push it again."
        return Refusal(self._id_of(row), begun, "ragged_row", told, text)

    def _nul_byte(self, begun: int, row: list[str], text: str) -> Refusal:
        hit = [name for name, cell in zip(self._names, row, strict=False) if "\0" in cell]
        told = f"The row holds NUL bytes in {_told(hit)}. The file was damaged; correct the row and push it again."
        return Refusal(self._id_of(row).replace("\0", ""), begun, "nul_byte", told, text, hit[0] if hit else None)

    def _id_of(self, row: list[str]) -> str:
        return row[self._id_at].strip() if self._id_at is not None and self._id_at < len(row) else ""


def find_delimiter(feed: Feed, sample: str) -> tuple[str, str]:
    """Return the delimiter and what it is known by: declared, or that with which header and rows fit best."""
    if feed.delimiter is not None:
        return feed.delimiter, DECLARED
    lines = list(StringIO(sample.lstrip(UNSEEN), newline=""))
    if lines and (says := _SAYS.fullmatch(lines[0])):
        return says[1], 'its first line, "sep="'
    columns = set(declared_columns(feed))
    best = max(CANDIDATES, key=lambda one: _fit(lines, one, columns))
    if _fit(lines, best, columns)[2] < 2:
        return ",", "nothing: there is one column"
    return best, "the header and the rows after it"


def _fit(lines: Sequence[str], delimiter: str, columns: set[str]) -> tuple[int, float, int]:
    """Return how well it fits: declared columns found, share of rows as wide as the header, width of the header."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) > ROWS_TRIED:
                break
    except csv.Error:
        return 0, 0, 0
    if not rows:
        return 0, 0, 0
    header, others = rows[0], rows[1:]
    alike = sum(len(row) == len(header) for row in others) / len(others) if others else 1
    return len(columns & {name.strip() for name in header}), alike if len(header) > 1 else 0, len(header)


def _flaw(text: str, delimiter: str) -> tuple[int, int]:
    """Return where in the record the first cell begins that is not well formed, and its number, both from 0."""
    bare = re.compile(rf'(?:[^"{re.escape(delimiter)}\r\n][^{re.escape(delimiter)}\r\n]*+)?')
    at = cell = 0
    while at < len(text):
        match = _QUOTED.match(text, at) if text[at] == '"' else bare.match(text, at)
        end = len(text) if match is None else match.end()
        if match is None or (end < len(text) and text[end] not in (delimiter, "\r", "\n")):
            break
        at, cell = end + 1, cell + 1
    return at, cell


def _place(text: str, at: int, begun: int) -> tuple[int, int]:
    """Return line and column, from 1, of a position in a record that begins on the line `begun`."""
    before = re.split(r"\r\n|\r|\n", text[:at])
    return begun + len(before) - 1, len(before[-1]) + 1


def _told(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names) or "no cell"
