"""What reading an input gives: its records, a report of how it was read, or one sentence why none of it can be used."""

from dataclasses import dataclass, field
from json.encoder import JSONEncoder
from typing import Any

#: One line, one cell, one JSON record: nothing about a person is longer. What is longer is a quote or a bracket that was
#: never closed, and would otherwise be read into memory to the end of the file.
LARGEST = 2**20
#: Names of the two columns that a failed-rows file has besides those of the input.
ERRORS = ("error_code", "error_text")
#: The member that holds the text of a record that is no object, in a failed-rows file of JSON.
RECORD = "record"

#: What a choice is known by, where the declaration makes it.
DECLARED = "declared"

# Made once: json.dumps makes a new encoder at each call that does not use the defaults.
dump = JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Unreadable(Exception):
    """The whole input is refused. The message names the file, line and column where it can, and what to do."""


@dataclass(frozen=True, slots=True)
class Raw:
    """One record as it came.

    `place`: the line on which it begins, counted from 1 (csv, ndjson, messages), or its number (json, scim). `text`: the
    same value as JSON; `reading.restore` makes the value of it again.
    """

    place: int
    value: list[str] | dict[str, Any]
    text: str


@dataclass
class Reading:
    """How an input was read, for the report. Counts and `failed_rows` are final once all records have been read.

    `records`: all of them, with those refused; blank lines and the trailer do not count. `line_end`: of the header line.
    `failed_rows`: the input is a failed-rows file that came back: only a part, so absence from it means nothing.
    """

    file: str
    form: str
    encoding: str
    encoding_known_by: str
    byte_order_mark: bool
    sha256: str
    delimiter: str | None = None
    delimiter_known_by: str | None = None
    header: tuple[str, ...] | None = None
    line_end: str = "\n"
    records: int = 0
    refused: int = 0
    failed_rows: bool = False
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report as it is stored with a run."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return told | {"header": None if self.header is None else list(self.header), "notes": list(self.notes)}
