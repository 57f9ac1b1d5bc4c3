"""Endpoints that fail: left alone for a while, paused when they stay dead, and nothing is lost meanwhile."""

from datetime import timedelta

import pytest
from office import Office
from receiver import Got, Receiver, Reply, add, endpoint

from worker.errand import Deferred
from worker.ids import new_id
from worker.listing import JobFilter
from worker.steering import Move, steer
from worker.webhooks import endpoints
from worker.webhooks.parcel import Parcel


def create(office: Office, *names: str) -> None:
    for name in names:
        office.submit("create_user", {"username": name})
    office.drain()


def states(office: Office) -> list[str]:
    return sorted(row["state"] for row in office.jobs("deliver_webhook"))


def resume(office: Office, name: str = "hook") -> int:
    with office.scope() as scope:
        count, _ = endpoints.resume(scope, name, by="tester")
    office.drain()
    return count


def test_one_that_fails_is_asked_once_and_the_rest_waits_without_using_up_its_tries(
    office: Office, receiver: Receiver
) -> None:
    add(office, receiver, "user.created")
    receiver.answers(503)
    create(office, *[f"u{n}" for n in range(30)])
    assert len(receiver.got) == 1
    assert sorted(row["attempts"] for row in office.jobs("deliver_webhook")) == [0] * 29 + [1]
    assert len(office.rows("attempt")) == 1
    for _ in range(5):
        office.later(minutes=6)
        office.drain()
    assert len(receiver.got) == 6
    receiver.answers(204)
    office.later(minutes=6)
    office.drain()
    office.later(hours=6)
    office.drain()
    assert states(office) == ["succeeded"] * 30
    assert len(set(receiver.ids())) == 30


def test_one_that_fails_does_not_keep_another_one_waiting(office: Office, receiver: Receiver) -> None:
    with Receiver() as dead:
        dead.answers(500)
        add(office, dead, "user.created", name="dead")
        add(office, receiver, "user.created")
        create(office, *[f"u{n}" for n in range(12)])
    assert len(set(receiver.ids())) == 12
    assert endpoint(office)["waiting"] == 0
    assert endpoint(office, "dead")["waiting"] == 12
    assert endpoint(office, "dead")["failing_since"] == office.now


def test_what_cannot_be_reached_at_all_is_the_same(office: Office) -> None:
    with Receiver() as closed:
        pass
    add(office, closed, "user.created")
    create(office, "u1", "u2")
    assert states(office) == ["queued", "queued"]
    assert "could not be reached" in endpoint(office)["failure"]


@pytest.mark.parametrize("status", [429, 503])
def test_whoever_says_when_to_come_back_is_asked_then(office: Office, receiver: Receiver, status: int) -> None:
    add(office, receiver, "user.created")
    receiver.answer = lambda got: Reply(status, {"Retry-After": "7200"})
    create(office, "u1", "u2")
    receiver.answers(200)
    office.later(minutes=119)
    office.drain()
    assert len(receiver.got) == 1
    office.later(minutes=2)
    office.drain()
    assert states(office) == ["succeeded"] * 2


def test_whoever_asks_for_a_second_each_time_does_not_use_up_the_tries_of_three_days(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answer = lambda got: Reply(503, {"Retry-After": "1"})
    create(office, "u1")
    for _ in range(150):
        office.later(seconds=2)
        office.drain()
    assert len(receiver.got) < 50
    receiver.answers(200)
    office.later(hours=6)
    office.drain()
    assert states(office) == ["succeeded"]


def test_a_success_that_began_before_a_failure_ends_it(office: Office, receiver: Receiver) -> None:
    """Two workers have a delivery each in hand: what one is told counts, although the other failed in between."""
    add(office, receiver, "user.created")
    create(office, "u1")
    with office.app.database.read() as conn:
        row = endpoints.named(conn, "hook")
    courier = office.app.courier()
    failing, taken = (Parcel(row, event_id, b"{}") for event_id in (new_id(), new_id()))

    def answer(got: Got) -> Reply:
        if got.id == failing.event_id:
            return Reply(500)
        with pytest.raises(Deferred):
            courier.deliver(failing, office.now)
        return Reply(200)

    receiver.answer = answer
    courier.deliver(taken, office.now)
    assert (endpoint(office)["failing_since"], endpoint(office)["failure"]) == (None, None)


def test_one_that_is_gone_is_paused_at_once(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(410)
    create(office, "u1", "u2", "u3")
    assert len(receiver.got) == 1
    found = endpoint(office)
    assert (found["state"], found["paused_by"], "410" in found["paused_why"]) == ("paused", "muster", True)
    office.later(hours=20)
    office.drain()
    assert len(receiver.got) == 1
    assert endpoint(office)["waiting"] == 3


def test_one_that_is_dead_for_a_day_is_paused_with_a_notice_and_resumed_without_a_loss(
    office: Office, receiver: Receiver
) -> None:
    add(office, receiver)
    receiver.answers(500)
    create(office, "u1")
    for _ in range(23):
        office.later(hours=1)
        office.drain()
    assert endpoint(office)["state"] == "active"
    for _ in range(10):
        office.later(hours=1)
        office.drain()
    found = endpoint(office)
    assert (found["state"], found["paused_by"]) == ("paused", "muster")
    assert "nothing since 2026-03-02 09:00 UTC" in found["paused_why"]
    [notice] = office.rows("event", action="webhook.paused")
    assert (notice["target_name"], notice["actor"], notice["data"]["why"]) == ("hook", "muster", found["paused_why"])
    calls = len(receiver.got)
    create(office, "u2", "u3")
    receiver.answers(200)
    office.later(hours=5)
    office.drain()
    assert len(receiver.got) == calls
    assert endpoint(office)["waiting"] == len(office.jobs("deliver_webhook"))
    waiting = endpoint(office)["waiting"]
    assert resume(office) == waiting
    assert set(states(office)) == {"succeeded"}
    told = {got.told["data"]["target_name"] for got in receiver.got[calls:]}
    assert told == {"u1", "u2", "u3"}


def test_a_single_failure_after_a_long_silence_pauses_nobody(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(500, 200)
    create(office, "u1")
    office.later(hours=1)
    office.drain()
    assert states(office) == ["succeeded"]
    office.later(days=5)
    receiver.answers(500, 200)
    create(office, "u2")
    assert (endpoint(office)["state"], endpoint(office)["failing_since"]) == ("active", office.now)


def test_what_waited_longer_than_three_days_at_a_paused_endpoint_is_not_let_go(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    with office.scope() as scope:
        assert endpoints.pause(scope, "hook", by="tester", why="moving house")
        assert not endpoints.pause(scope, "hook", by="tester", why="again")
    create(office, "old")
    office.later(days=2)
    create(office, "new")
    office.later(days=1, hours=1)
    office.drain()
    assert resume(office) == 1
    assert [got.told["data"]["target_name"] for got in receiver.got] == ["new"]
    assert states(office) == ["cancelled", "succeeded"]


def test_a_delivery_brought_back_too_late_rests_while_its_endpoint_is_paused(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    with office.scope() as scope:
        endpoints.pause(scope, "hook", by="tester", why="moving house")
    create(office, "old")
    office.later(days=4)
    office.drain()
    [row] = office.jobs("deliver_webhook")
    assert row["reason"] == "expired"
    steer(office.app, Move.RETRY, JobFilter(ids=[row["id"]]), by="tester")
    office.drain()
    [row] = office.jobs("deliver_webhook")
    assert (row["state"], row["run_at"]) == ("scheduled", office.now + timedelta(hours=1))
    assert resume(office) == 1
    assert states(office) == ["succeeded"]


def test_told_to_pause_what_is_in_the_queue_goes_out_of_the_way_in_one_go(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(503)
    create(office, *[f"u{n}" for n in range(10)])
    with office.scope() as scope:
        endpoints.pause(scope, "hook", by="tester", why="moving house")
    assert states(office) == ["scheduled"] * 10
    receiver.answers(200)
    assert resume(office) == 10
    assert states(office) == ["succeeded"] * 10


def test_removing_one_cancels_what_it_was_not_told(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(503)
    create(office, "u1", "u2")
    with office.scope() as scope:
        assert endpoints.remove(scope, "hook", by="tester") == 2
    create(office, "u3")
    assert states(office) == ["cancelled", "cancelled"]
    assert office.rows("webhook_endpoint") == []
    assert [row for row in office.rows("relay") if row["name"].startswith("webhook-")] == []
    add(office, receiver, "user.created")  # the name is free again


def test_webhooks_about_webhooks_are_told_to_nobody(office: Office, receiver: Receiver) -> None:
    """Two endpoints that hear of everything and fail would otherwise have news for each other for ever."""
    with Receiver() as other:
        other.answers(410)
        add(office, receiver, "*")
        add(office, other, "*", name="other")
        create(office, "u1")
        office.later(hours=1)
        office.drain()
    assert {row["action"] for row in office.rows("event")} >= {"webhook.added", "webhook.paused"}
    assert receiver.actions() == ["user.created"]
    assert len(office.jobs("deliver_webhook")) == 2
