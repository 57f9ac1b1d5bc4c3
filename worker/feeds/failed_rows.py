"""The failed rows of an input, in its own dialect and with what was wrong with each, to be corrected and pushed again."""

import codecs
import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from worker.feeds.declaration import Feed
from worker.feeds.guard import guarded
from worker.feeds.reading import restore
from worker.feeds.records import ERRORS, RECORD, dump


def write_failed_rows(
    feed: Feed, reading: Mapping[str, Any], rows: Iterable[tuple[str, str, str]], target: Path | IO[bytes]
) -> int:
    """Write the rows, each (the record's text, code, sentence), and return their number.

    `reading`: the report of the run that refused them (`Reading.as_json`). The two columns for the error come first, so that
    a row with too few or too many cells stays as it was. A path appears only when the file is complete, readable by its
    owner alone.
    """
    if not isinstance(target, Path):
        return _write(feed, reading, rows, target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            count = _write(feed, reading, rows, file)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return count


def _write(feed: Feed, reading: Mapping[str, Any], rows: Iterable[tuple[str, str, str]], file: IO[bytes]) -> int:
    encoding = codecs.lookup(reading["encoding"]).name
    text = io.TextIOWrapper(file, encoding, newline="", write_through=True)
    try:
        if reading["byte_order_mark"]:
            text.write("\ufeff")
        return _table(feed, reading, rows, text) if feed.form == "csv" else _objects(reading, rows, text)
    finally:
        text.detach()


def _table(feed: Feed, reading: Mapping[str, Any], rows: Iterable[tuple[str, str, str]], text: io.TextIOWrapper) -> int:
    writer = csv.writer(
        text, delimiter=reading["delimiter"], lineterminator=reading["line_end"], quoting=csv.QUOTE_ALL
    )  # fmt: skip
    writer.writerow([*ERRORS, *map(guarded, reading["header"])])
    count = 0
    for raw, code, sentence in rows:
        cells = restore(feed, raw)
        if not isinstance(cells, list):
            cells = [cells if isinstance(cells, str) else raw]
        # Only the sentence is ours, and may hold what the input's encoding does not have.
        told = sentence.encode(text.encoding, "replace").decode(text.encoding)
        writer.writerow([code, guarded(told), *map(guarded, cells)])
        count += 1
    return count


def _objects(reading: Mapping[str, Any], rows: Iterable[tuple[str, str, str]], text: io.TextIOWrapper) -> int:
    count = 0
    for raw, code, sentence in rows:
        value = json.loads(raw)
        record = value if isinstance(value, dict) else {RECORD: value}
        told = record | dict(zip(ERRORS, (code, sentence), strict=True))
        try:
            line = dump(told)
            line.encode(text.encoding)
        except UnicodeEncodeError:
            line = json.dumps(told)  # in ASCII
        text.write(line + reading["line_end"])
        count += 1
    return count
