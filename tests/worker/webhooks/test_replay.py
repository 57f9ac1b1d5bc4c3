"""A replay tells again what happened in a time, each event under its first id, to whoever had missed it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from office import Office
from receiver import Receiver, add

from worker import outbox
from worker.intake import Request
from worker.scope import Scope
from worker.webhooks import replay as replays
from worker.webhooks.endpoints import BadEndpoint
from worker.webhooks.replay import replay


def people(office: Office, *names: str) -> None:
    for name in names:
        office.do("create_user", {"username": name})


def again(office: Office, hours: float, until: float | None = None, *patterns: str, dry_run: bool = False) -> int:
    """Replay from so many hours ago until so many hours ago."""
    count, _ = replay(
        office.app.database, office.app.clock, "hook", office.now - timedelta(hours=hours),
        None if until is None else office.now - timedelta(hours=until), patterns=patterns, by="tester", dry_run=dry_run,
    )  # fmt: skip
    office.drain()
    return count


def test_a_range_is_told_again_under_the_same_ids(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    for name in ("u1", "u2", "u3"):
        people(office, name)
        office.later(hours=1)
    first = receiver.ids()
    assert again(office, 2.5, 1.5) == 1
    assert receiver.ids()[3:] == [first[1]]
    office.later(seconds=1)
    assert again(office, 2.5) == 2
    assert sorted(receiver.ids()[4:]) == sorted(first[1:])
    keys = [row["key"] for row in office.jobs("deliver_webhook")]
    assert len([key for key in keys if "/replay-" in key]) == 3


def test_it_reaches_what_was_before_the_endpoint(office: Office, receiver: Receiver) -> None:
    people(office, "u1")
    office.later(hours=1)
    add(office, receiver, "user.created")
    again(office, 1)
    assert "u1" in {got.told["data"]["target_name"] for got in receiver.got}


def test_other_events_than_the_endpoints_own_can_be_asked_for(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "login.*")
    office.later(hours=1)
    office.do("create_user", {"username": "dora", "groups": ["staff"]})
    assert receiver.got == []
    assert again(office, 0.5, None, "membership.*") == 1
    assert receiver.actions() == ["membership.added"]


def test_a_dry_run_only_counts(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    office.later(hours=1)
    people(office, "u1", "u2")
    before = len(office.jobs())
    assert again(office, 0.5, dry_run=True) == 2
    assert len(office.jobs()) == before
    assert office.rows("event", action="webhook.replayed") == []


def test_many_events_are_gone_through_in_slices(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "SLICE", 3)
    office.later(hours=2)
    for number in range(10):
        office.submit("create_user", {"username": f"u{number}"})
    office.drain()
    office.later(hours=2)
    add(office, receiver, "user.created")
    assert again(office, 3) == 10
    assert len(set(receiver.ids())) == 10
    [said] = office.rows("event", action="webhook.replayed")
    assert (said["data"]["events"], said["data"]["until"]) == (["user.created"], None)


def test_a_replay_that_breaks_off_stands_in_the_audit_trail(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "SLICE", 1)
    office.later(hours=2)
    add(office, receiver, "user.created")
    people(office, "u1", "u2")
    office.later(hours=1)
    offered = outbox.submit
    told: list[Request] = []

    def once(scope: Scope, requests: Sequence[Request]) -> outbox.Rung:
        if told:
            raise ZeroDivisionError
        told.extend(requests)
        return offered(scope, requests)

    monkeypatch.setattr(outbox, "submit", once)
    with pytest.raises(ZeroDivisionError):
        again(office, 1.5)
    office.drain()
    assert len(receiver.got) == 3
    assert len(office.rows("event", action="webhook.replayed")) == 1


def test_a_time_that_ends_before_it_begins_is_refused(office: Office, receiver: Receiver) -> None:
    add(office, receiver)
    with pytest.raises(BadEndpoint, match="before it begins"):
        again(office, 1, 2)
