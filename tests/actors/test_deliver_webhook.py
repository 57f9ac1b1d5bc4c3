"""deliver_webhook tells an endpoint each event once under one id, until it is taken or three days have passed."""

from collections.abc import Iterator

import pytest
from office import Office
from receiver import Receiver, Reply, add, endpoint

from worker.directory import credentials, trail
from worker.directory.events import Action
from worker.webhooks import endpoints


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    opened = Office(database_url)
    opened.world()
    yield opened
    opened.close()


def deliveries(office: Office) -> list[tuple[str, str | None]]:
    return [(row["state"], row["reason"]) for row in office.jobs("deliver_webhook")]


def test_each_event_is_told_once_signed_and_under_its_own_id(office: Office, receiver: Receiver) -> None:
    secret = add(office, receiver)
    office.do("create_user", {"username": "dora", "email": "dora@example.com", "groups": ["staff"]}, why="she joins")
    events = {row["id"]: row for row in office.events("dora")}
    assert sorted(receiver.ids()) == sorted(events)
    for got in receiver.got:
        event = events[got.id]
        assert got.signed_with(secret)
        assert (got.path, got.sent_at) == ("/hook", office.now)
        assert got.told["type"] == event["action"]
        assert got.told["timestamp"] == "2026-03-02T09:00:00Z"
        data = got.told["data"]
        assert (data["id"], data["target"], data["target_name"]) == (event["id"], event["target"], "dora")
        assert (data["actor"], data["why"], data["job"]) == ("tester", "she joins", event["job"])
    assert [row["result"]["webhook_id"] for row in office.jobs("deliver_webhook")] == [
        row["key"].partition("/")[2] for row in office.jobs("deliver_webhook")
    ]
    office.later(days=1)
    office.drain()
    assert len(receiver.got) == len(events)


def test_only_events_that_fit_are_told(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "membership.*", "sessions.revoked")
    office.do("create_user", {"username": "dora", "groups": ["staff"]})
    office.do("revoke_sessions", {"user": "dora", "all": True})
    office.do("update_user", {"user": "dora", "name": "Dora Diaz"})
    assert receiver.actions() == ["membership.added", "sessions.revoked"]


def test_nothing_personal_is_told_but_the_username_and_nothing_rests_in_the_job(office: Office, receiver: Receiver) -> None:
    add(office, receiver)
    office.do("update_user", {"user": "ann", "name": "Ann Secretname", "email": "ann.private@example.net"})
    [got] = receiver.got
    assert got.told["data"]["facts"] == {"changes": ["email", "name"]}
    for text in (got.body.decode(), repr(office.jobs("deliver_webhook"))):
        assert "Secretname" not in text
        assert "private" not in text
    assert "ann" not in repr([row["payload"] for row in office.jobs("deliver_webhook")])


def test_who_was_deleted_meanwhile_is_not_named(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.locked")
    receiver.answers(503, 200)
    office.do("lock_user", {"user": "ann", "owner": "security", "reason": "stolen"})
    office.do("delete_user", {"user": "ann"})
    office.later(hours=1)
    office.drain()
    assert [got.told["data"]["target_name"] for got in receiver.got] == ["ann", None]


def test_what_was_not_taken_is_tried_again_under_the_same_id(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(500, 404, 200)
    office.do("create_user", {"username": "dora"})
    [job] = office.jobs("deliver_webhook")
    assert (job["state"], job["attempts"]) == ("queued", 1)
    for _ in range(2):
        office.later(hours=1)
        office.drain()
    assert len(set(receiver.ids())) == 1
    assert [got.sent_at.hour for got in receiver.got] == [9, 10, 11]
    assert deliveries(office) == [("succeeded", None)]
    tries = [row["text"] for row in sorted(office.rows("attempt"), key=lambda row: row["number"])]
    assert tries == [
        "It answered 500 Internal Server Error.",
        "It answered 404 Not Found. Check its address, and its secret on the other side.",
    ]
    assert endpoint(office)["failing_since"] is None


def test_a_line_that_breaks_after_the_request_is_tried_again_at_once_and_not_called_unknown(
    office: Office, receiver: Receiver
) -> None:
    add(office, receiver, "user.created")
    replies = [Reply(drop=True), Reply()]
    receiver.answer = lambda got: replies.pop(0)
    office.do("create_user", {"username": "dora"})
    assert deliveries(office) == [("queued", None)]
    office.later(hours=1)
    office.drain()
    assert (len(receiver.got), len(set(receiver.ids()))) == (2, 1)
    assert deliveries(office) == [("succeeded", None)]


def test_after_three_days_it_is_given_up(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(400)
    office.do("create_user", {"username": "dora"})
    hours = 0
    while office.jobs("deliver_webhook")[0]["finished_at"] is None:
        hours += 6
        office.later(hours=6)
        if endpoint(office)["state"] == "paused":
            with office.scope() as scope:
                endpoints.resume(scope, "hook", by="tester")
        office.drain()
    assert deliveries(office) == [("cancelled", "expired")]
    assert hours == 72
    assert len(receiver.got) > 10


def test_without_the_endpoint_or_the_event_nothing_is_delivered(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    [row] = office.rows("webhook_endpoint")
    nobody = "01930f3e-0000-7000-8000-000000000009"
    event = office.rows("event")[0]["id"]
    gone = office.do("deliver_webhook", {"endpoint": nobody, "event": event})
    assert (gone.state, gone.reason) == ("cancelled", "unknown_endpoint")
    lost = office.do("deliver_webhook", {"endpoint": row["id"], "event": nobody})
    assert (lost.state, lost.reason) == ("rejected", "unknown_event")
    assert receiver.got == []


def test_a_huge_event_is_shortened(office: Office, receiver: Receiver) -> None:
    add(office, receiver)
    with office.scope() as scope:
        trail.record(scope, Action.LOGIN_FAILED, None, None, data={"reason": "y" * 20_000})
    office.drain()
    [got] = receiver.got
    assert len(got.body) < 20_000
    assert (got.told["data"]["shortened"], got.told["data"]["facts"]) == (True, {})


def test_where_somebody_logged_in_stays_here(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "login.*")
    ann = office.user("ann")
    assert ann is not None
    with office.scope() as scope:
        credentials.record_login(scope, ann.id, "01930f3e-0000-7000-8000-000000000001", "203.0.113.7")
    office.drain()
    [got] = receiver.got
    assert got.told["data"]["target_name"] == "ann"
    assert "203.0.113.7" not in got.body.decode()
