"""The lines of an input, one by one; a trailer at its end is kept apart and has to name the number of records."""

import re
from collections.abc import Iterator
from functools import partial
from typing import TextIO

from worker.feeds.records import LARGEST, Reading, Unreadable

# What programs leave before the first name of a header, or around any: nobody sees it, and no name equals it.
UNSEEN = "\ufeff\u200b\u200c\u200d\u2060"


class Lines:
    """The physical lines with their line ends: CR, LF or CRLF. Those that were given are all but the trailer."""

    def __init__(self, text: TextIO, reading: Reading, trailer: str | None) -> None:
        self._text, self._reading, self._trailer = text, reading, trailer
        self._end: list[str] = []
        self.given = 0

    def __iter__(self) -> Iterator[str]:
        lines = self._whole() if self._trailer is None else self._held_back()
        for line in lines:
            self.given += 1
            yield line.lstrip(UNSEEN) if self.given == 1 else line

    def _whole(self) -> Iterator[str]:
        for line in iter(partial(self._text.readline, LARGEST), ""):
            if len(line) == LARGEST:
                raise Unreadable(
                    f"{self._reading.file}, line {self.given + len(self._end) + 1} is longer than {LARGEST:,} characters. "
                    "Is it text with one record a line? Check the form and the encoding of the feed."
                )
            yield line

    def _held_back(self) -> Iterator[str]:
        """Give a line only when another follows that is not blank: the last one is no record."""
        for line in self._whole():
            if line.strip():
                yield from self._end
                self._end = [line]
            else:
                self._end.append(line)
        if self._reading.failed_rows:
            yield from self._end

    def check_trailer(self) -> None:
        """Compare the trailer with the number of records. Raises Unreadable: the file was cut, or belongs to another."""
        if self._trailer is None or self._reading.failed_rows:
            return
        file, records = self._reading.file, self._reading.records
        last = self._end[0].strip() if self._end else ""
        found = re.search(self._trailer, last)
        rows = found["rows"] if found else ""
        where = f"{file}, line {self.given + 1}: the file is not complete"
        if found is None:
            raise Unreadable(
                f"{where}: its last line is not the declared trailer ({self._trailer}). Fetch the file again; nothing was taken."
            )
        if not rows or not rows.isdecimal() or int(rows) != records:
            raise Unreadable(
                f"{where}: its trailer says {rows or 'nothing'}, but it holds {records} records. "
                "Fetch the file again; nothing was taken."
            )
