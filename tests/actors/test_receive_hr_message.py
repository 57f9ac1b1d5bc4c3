"""receive_hr_message keeps each message of an HR system once, and keeps its content out of the ledger."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from office import Office

from worker.feeds.inbox import MESSAGE_BYTES
from worker.redact import DEEPEST

MESSAGE: dict[str, Any] = {"id": "evt-1", "data": {"worker": "00017", "first": "Dörthe", "status": "Active"}}


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    """An office with one feed."""
    opened = Office(database_url, feeds={"hr": {"form": "messages", "mode": "event", "columns": {"external_id": "data.worker"}}})
    yield opened
    opened.close()


def receive(office: Office, message: Any, **more: Any) -> Any:
    return office.do("receive_hr_message", {"source": "hr", "message": message, **more})


def test_a_message_is_stored_and_leaves_the_ledger(office: Office) -> None:
    ended = receive(office, MESSAGE)
    [stored] = office.rows("feed_message")
    assert (ended.state, ended.result) == ("succeeded", {"changed": True, "message": stored["id"], "duplicate": False})
    assert (stored["source"], stored["key"], stored["state"], stored["run"]) == ("hr", "evt-1", "new", None)
    assert json.loads(stored["raw"]) == MESSAGE
    [job] = office.jobs()
    assert set(job["payload"]) == {"source", "digest"}
    for word in ("Dörthe", "00017"):
        assert word not in repr([office.rows(table) for table in ("job", "attempt", "event", "line", "alias")])


def test_the_same_message_under_another_key_of_the_ledger_is_stored_once(office: Office) -> None:
    first = receive(office, MESSAGE)
    again = receive(office, json.dumps(MESSAGE | {"deliveredAt": "2026-03-02T10:00:00Z"}, indent=1))
    assert (again.state, again.result) == ("succeeded", {"changed": False, "message": first.result["message"], "duplicate": True})
    assert len(office.rows("feed_message")) == 1


def test_the_id_given_goes_before_the_one_in_the_message(office: Office) -> None:
    receive(office, MESSAGE, message_id="d/1")
    receive(office, MESSAGE, message_id="d/2")
    receive(office, {"status": "Leave"})
    keys = [row["key"] for row in office.rows("feed_message")]
    assert sorted(keys)[:2] == ["d/1", "d/2"]
    assert sorted(keys)[2].startswith("digest:")


def test_an_id_used_for_something_else_is_refused(office: Office) -> None:
    receive(office, MESSAGE)
    ended = receive(office, MESSAGE | {"data": {"worker": "00018"}})
    assert (ended.state, ended.reason) == ("rejected", "key_reused")
    assert [json.loads(row["raw"]) for row in office.rows("feed_message")] == [MESSAGE]


def test_the_ledger_tells_messages_apart_that_it_does_not_keep(office: Office) -> None:
    def send(message: Any) -> Any:
        return office.accept("receive_hr_message", {"source": "hr", "message": message}, key="queue-1")

    first = send(MESSAGE)
    office.drain()
    assert (send(MESSAGE).id, send(json.dumps(MESSAGE)).duplicate) == (first.id, True)
    assert send(MESSAGE | {"timestamp": "of another delivery"}).duplicate
    assert send(MESSAGE | {"data": None}).reason == "key_reused"
    lying = {"source": "hr", "message": {"b": 1}, "digest": office.jobs()[0]["payload"]["digest"]}
    assert office.accept("receive_hr_message", lying, key="queue-1").reason == "key_reused"


def test_a_source_that_is_not_declared_is_refused(office: Office) -> None:
    ended = office.do("receive_hr_message", {"source": "sap", "message": MESSAGE})
    assert (ended.state, ended.reason) == ("rejected", "unknown_source")
    assert "sap" in str(ended.reason_text)
    assert office.rows("feed_message") == []
    assert "Dörthe" not in repr(office.jobs()), "what was refused does not rest either"


def test_many_messages_are_stored_together(office: Office) -> None:
    ids = [office.submit("receive_hr_message", {"source": source, "message": {"n": number % 3}})
           for number, source in enumerate(["hr", "hr", "hr", "hr", "sap"])]
    office.drain()
    ended = [office.ended(one) for one in ids]
    assert [one.state for one in ended] == ["succeeded"] * 4 + ["rejected"]
    assert [one.result["duplicate"] for one in ended[:4]] == [False, False, False, True]
    assert len(office.rows("feed_message")) == 3


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Ping test", "JSON object"), ("[1]", "JSON object"), ([1], "JSON object"), (None, "JSON object"),
        ({"a": "\0"}, "NUL"), ('{"a": "\\u0000"}', "NUL"), ('{"a": "\\ud800"}', "surrogate"), ('{"a": 1e999}', "not finite"),
        ('{"a": ' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1), "nested"), ({"a": "x" * MESSAGE_BYTES}, "bytes"),
    ],
    ids=["text", "list text", "list", "nothing", "NUL", "NUL written out", "surrogate", "endless", "deep", "large"],
)  # fmt: skip
def test_what_is_no_message_is_refused_at_the_door(office: Office, message: Any, said: str) -> None:
    answer = office.accept("receive_hr_message", {"source": "hr", "message": message})
    assert (answer.id, answer.reason) == (None, "bad_payload")
    assert said in str(answer.reason_text)
    assert "xxx" not in str(answer.reason_text)
