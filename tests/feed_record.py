"""One record of a feed, read as a test declares it: a row of a table, or an object of JSON."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from worker.feeds.claims import Refusal, Statement
from worker.feeds.codes import CODES
from worker.feeds.declaration import Feed
from worker.feeds.mapping import Mapper

ARRIVED = datetime(2026, 11, 23, 12, tzinfo=UTC)
STATUS = {"Active": "active", "Former employee": "terminated"}


def feed(columns: Mapping[str, Any], **more: Any) -> Feed:
    return Feed.model_validate({"name": "hr", "mode": "full", "columns": {"external_id": "id"} | dict(columns)} | more)


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def row(declared: Feed, **cells: str) -> Statement | Refusal:
    """Read one row of a table whose header is the names of the cells."""
    cells = {"id": "1"} | cells
    return Mapper(declared, list(cells), arrived=ARRIVED).read(list(cells.values()), as_text(list(cells.values())), 2)


def record(declared: Feed, value: Mapping[str, Any]) -> Statement | Refusal:
    """Read one record of JSON."""
    return Mapper(declared, None, arrived=ARRIVED).read(value, as_text(value), 2)


def said(found: Statement | Refusal) -> Mapping[str, Any]:
    assert isinstance(found, Statement), found
    return found.fields


def refusal(found: Statement | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    assert found.code in CODES
    return found
