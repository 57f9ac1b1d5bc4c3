"""Opening an input of a feed: whatever its form, it gives its records one by one, in constant memory, or is refused whole."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.delimited import Table
from worker.feeds.encoding import CP1252, sample, survey
from worker.feeds.objects import ObjectLines, ObjectList, is_failed_rows, restored
from worker.feeds.records import Raw, Reading, Unreadable

__all__ = ["Input", "Raw", "Reading", "Unreadable", "open_input", "restore"]


class Input:
    """An open input. Its `reading` knows encoding, dialect and header at once, counts and completeness at the end.

    Going through it, once, raises Unreadable where the rest cannot be read, or the end shows that it is not complete.
    """

    def __init__(self, feed: Feed, name: str, file: BinaryIO) -> None:
        found = survey(file, name, feed.encoding)
        if found.size == found.begins:
            raise Unreadable(f"{name} holds no records: it is empty ({found.size} bytes). Nothing was taken.")
        self._file, self._before = file, _version(file)
        self.reading = Reading(name, feed.form, found.encoding, found.known_by, found.begins > 0, found.sha256)
        if found.known_by == CP1252:
            self.reading.notes.append("The file is not UTF-8 and was read as cp1252. Where names look wrong, declare its encoding.")
        begin = sample(file, found)
        file.seek(found.begins)
        text = io.TextIOWrapper(file, found.encoding, newline="")
        self._text = text
        self._records: Table | ObjectLines | ObjectList
        if feed.form == "csv":
            self._records = Table(feed, text, begin, self.reading)
        elif feed.form in {"ndjson", "messages"} or is_failed_rows(feed, begin):
            self.reading.failed_rows = is_failed_rows(feed, begin)
            self._records = ObjectLines(feed, text, self.reading)
        else:
            self._records = ObjectList(feed, text, self.reading)

    def __iter__(self) -> Iterator[Raw | Refusal]:
        yield from self._records
        name = self.reading.file
        if not self.reading.records:
            raise Unreadable(f"{name} holds no records. Nothing was taken, and nobody counts as missing.")
        if _version(self._file) != self._before:
            raise Unreadable(f"{name} was changed while it was read. Nothing was taken. Read it when it is complete.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._text.close()


def open_input(feed: Feed, path: Path) -> Input:
    """Open an input as its feed declares it. Raises Unreadable with the reason and what to do."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise Unreadable(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        return Input(feed, path.name, file)
    except BaseException:
        file.close()
        raise


def restore(feed: Feed, text: str) -> Any:
    """Return the value of a record from `Raw.text`, or of a refused one from `Refusal.raw`.

    Of csv a list of cells, else an object; of a row or line that could not be taken apart its text.
    """
    return restored(feed, text)


def _version(file: BinaryIO) -> tuple[int, int]:
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns
