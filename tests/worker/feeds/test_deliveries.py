"""Deliveries on both databases: one of an id is kept, whoever comes at once, and workers take them in their order."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hr import HR, open_brakes

from worker.feeds import deliveries, inbox
from worker.scope import Scope

DECLARED = """
[feeds.events]
form = "messages"
mode = "event"
[feeds.events.webhook]
secrets = ["env:NOT_ASKED_FOR"]
""" + open_brakes("events")


@pytest.fixture
def events(declare: Callable[[str], HR]) -> HR:
    return declare(DECLARED)


def said(number: int, **person: Any) -> bytes:
    return json.dumps({"type": "onboard", "person": {"external_id": str(number), "first": "Kim", "last": f"N{number}", **person}}).encode()


def keep(hr: HR, body: bytes, sent_id: str | None) -> deliveries.Kept:
    database = hr.office.app.database
    return database.transact(lambda conn: deliveries.keep(Scope(conn, hr.office.now, hr.settings), "events", sent_id, body))


def test_of_many_at_once_one_is_kept(events: HR) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: keep(events, said(1), "evt-1"), range(12)))
    assert (sum(one.new for one in found), len({one.id for one in found})) == (1, 1)
    assert keep(events, said(2), "evt-1").reused
    assert not keep(events, said(1), "evt-1").reused


def test_without_an_id_the_body_is_what_tells(events: HR) -> None:
    assert keep(events, said(1), None).new
    assert not keep(events, said(1), None).new
    assert keep(events, said(2), None).new
    long_id = "x" * 300
    assert keep(events, said(3), long_id).new
    assert not keep(events, said(3), long_id).new
    assert all(len(row["key"]) <= 255 and "Kim" not in row["key"] for row in events.office.rows("webhook_delivery"))


def test_several_workers_take_each_once_and_in_order(events: HR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "TAKEN_AT_ONCE", 3)
    for number in range(20):
        keep(events, said(number), f"evt-{number}")
    feeders = [HR(events.office, events.folder, DECLARED).feeder for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda feeder: feeder.take_deliveries(), feeders))
    stored = sorted(events.office.rows("feed_message"), key=lambda row: str(row["id"]))
    assert [row["key"] for row in stored] == [f"evt-{number}/1" for number in range(20)]
    assert {row["state"] for row in events.office.rows("webhook_delivery")} == {"taken"}
    assert all(row["body"] is None for row in events.office.rows("webhook_delivery"))


def test_what_came_first_is_older_however_late_it_is_taken(events: HR) -> None:
    """A worker that was away takes up yesterday's delivery after today's message: today's counts."""
    keep(events, said(1, last="Yesterday", email="old@example.com"), "evt-1")
    events.office.later(days=1)
    events.tell({"id": "m-1", "type": "onboard", "person": {"external_id": "1", "first": "Kim", "last": "Today"}})
    events.rest()
    events.feeder.pass_once()
    events.rest()
    [row] = [row for row in events.office.rows("users") if row["external_id"] == "1"]
    assert row["name"] == "Kim Today"


def test_a_worker_that_dies_in_the_middle_takes_nothing(events: HR, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(events, said(1), "evt-1")
    keep(events, said(2), "evt-2")
    store = inbox.store

    def dying(scope: Scope, source: str, messages: Any) -> Any:
        found = store(scope, source, messages)
        if messages[0][0].startswith("evt-2"):
            raise RuntimeError("killed")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "store", dying)
        with pytest.raises(RuntimeError, match="killed"):
            events.feeder.take_deliveries()
    assert events.office.rows("feed_message") == []
    assert [row["state"] for row in events.office.rows("webhook_delivery")] == ["new"] * 2
    events.feeder.take_deliveries()
    assert len(events.office.rows("feed_message")) == 2


def test_strangers_are_counted_by_many_at_once(events: HR) -> None:
    database = events.office.app.database

    def count(_: int) -> None:
        database.transact(
            lambda conn: deliveries.count_unproven(Scope(conn, events.office.now, events.settings), "events", 2, "no signature")
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(8)))
    assert [(row["count"], row["last_problem"]) for row in events.office.rows("webhook_refusal")] == [(16, "no signature")]
