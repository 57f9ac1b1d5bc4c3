"""What the tests of reading share: a feed, a file, and what comes of reading it."""

from pathlib import Path
from typing import Any

import pytest

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.reading import Input, Raw, Unreadable, open_input

COLUMNS = {"external_id": "WorkerID", "first": "First", "last": "Last"}
HEADER = "WorkerID,First,Last\n"


def feed(form: str = "csv", **more: Any) -> Feed:
    mode = more.pop("mode", "full")
    return Feed.model_validate({"name": "hr", "form": form, "mode": mode, "columns": COLUMNS} | more)


def read(tmp_path: Path, content: bytes | str, declared: Feed | None = None) -> tuple[list[Raw | Refusal], Input]:
    path = tmp_path / "hr.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_input(declared or feed(), path) as source:
        return list(source), source


def refusal(tmp_path: Path, content: bytes | str, declared: Feed | None = None) -> str:
    with pytest.raises(Unreadable) as caught:
        read(tmp_path, content, declared)
    return str(caught.value)
