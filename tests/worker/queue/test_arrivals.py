"""Tests of reading messages: what is taken for a bell, for a foreign job, or for unreadable, and the reason given."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from worker.queue.arrivals import BODY_LIMIT_BYTES, Arrival, bell_body, read

KINDS = {"create_user"}
SLIP = "slip-1"


def message(**changes: object) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "queue_name": "directory",
        "actor_name": "create_user",
        "args": [],
        "kwargs": {"payload": {"name": "ada"}, "key": "hr/1"},
        "options": {"redis_message_id": SLIP},
        "message_id": "m-1",
        "message_timestamp": 1,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def reading(body: bytes | Mapping[str, object]) -> Arrival:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read("directory", SLIP, raw, size=len(raw), kinds=KINDS)


def test_kwargs_make_a_foreign_job() -> None:
    arrival = reading(message())
    assert (arrival.kind, arrival.message_id, arrival.refused) == ("create_user", "m-1", None)
    assert arrival.kwargs == {"payload": {"name": "ada"}, "key": "hr/1"}


def test_the_least_that_a_foreign_producer_may_send() -> None:
    arrival = reading({"actor_name": "create_user", "kwargs": {"payload": {}}})
    assert (arrival.refused, arrival.message_id) == (None, SLIP)


def test_no_arguments_make_a_bell() -> None:
    arrival = reading(bell_body("create_user", "directory", SLIP))
    assert (arrival.kind, arrival.kwargs, arrival.refused, arrival.done) == ("create_user", {}, None, False)


def test_a_bell_for_a_kind_that_newer_workers_know_is_let_go() -> None:
    arrival = reading(bell_body("teleport_user", "directory", SLIP))
    assert arrival.done
    assert arrival.refused is None


def test_a_delay_becomes_the_time_of_the_job() -> None:
    arrival = reading(message(options={"eta": 1_700_000_000_000}))
    assert arrival.kwargs["run_at"] == "2023-11-14T22:13:20+00:00"
    own = {"payload": {}, "run_at": "2030-01-01T00:00:00Z"}
    assert reading(message(kwargs=own, options={"eta": 1_700_000_000_000})).kwargs["run_at"] == own["run_at"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{not json", "not JSON"),
        (b"", "not JSON"),
        (b"\x80\x04\x95pickle", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "not JSON"),
        (b'{"actor_name": NaN}', "NaN is not JSON"),
        (b"[]", "not a JSON object"),
        (message(actor_name=...), "names no actor"),
        (message(actor_name=7), "names no actor"),
        (message(actor_name="drop_table"), "no job called 'drop_table'"),
        (message(args=[1]), "positional arguments"),
        (message(args="x"), "positional arguments"),
        (message(kwargs=[]), "kwargs is not an object"),
        (message(kwargs="payload"), "kwargs is not an object"),
        (message(options=[]), "options is not an object"),
        (message(schema=3), "unknown field 'schema'"),
        (message(kwargs={"payload": {"name": "a\0b"}}), "NUL"),
        (message(kwargs={"payload": {"a\0b": 1}}), "NUL"),
        (message(kwargs={"payload": ["half \ud83d pair"]}), "surrogate"),
        (message(options={"eta": 1e300}), "not a time"),
    ],
)
def test_what_cannot_be_read_says_why(body: bytes | Mapping[str, object], reason: str) -> None:
    arrival = reading(body)
    assert arrival.refused is not None
    assert reason in arrival.refused
    assert arrival.kind == ""
    assert not arrival.done
    assert arrival.raw == (body if isinstance(body, bytes) else json.dumps(body).encode())


def test_the_producers_id_is_kept_when_it_can_be_read() -> None:
    assert reading(message(args=[1])).message_id == "m-1"
    assert reading(b"{").message_id == SLIP
    for unusable in (7, "", "x" * 201, "a\0", "\ud83d"):
        assert reading(message(message_id=unusable)).message_id == SLIP


def test_an_id_of_any_bytes_becomes_text_that_can_be_stored() -> None:
    slip = b"\xff\xfe".decode(errors="surrogateescape")
    arrival = read("directory", slip, b"{", size=1, kinds=KINDS)
    assert arrival.slip == slip
    assert arrival.message_id.isascii()


def test_a_huge_message_is_not_read() -> None:
    arrival = read("directory", SLIP, b"{", size=BODY_LIMIT_BYTES + 1, kinds=KINDS)
    assert arrival.refused == f"the message has {BODY_LIMIT_BYTES + 1} bytes; at most {BODY_LIMIT_BYTES} are read"


def test_content_does_not_show_in_logs() -> None:
    assert "ada" not in repr(reading(message()))
    assert "secret" not in repr(reading(b"secret"))
