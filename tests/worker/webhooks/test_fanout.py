"""Each event and its deliveries commit together or not at all, and whoever has no endpoints pays nothing for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from office import Office
from receiver import Receiver, add
from sqlalchemy import Connection, event

from worker import dryrun, outbox
from worker.directory import credentials
from worker.intake import Request
from worker.jobs import Registry, UserRef
from worker.process import Staff
from worker.queue import open_bell
from worker.webhooks import endpoints


@contextmanager
def looks(office: Office) -> Iterator[list[str]]:
    """The statements that ask for endpoints."""
    seen: list[str] = []

    def note(_conn: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "webhook_endpoint" in statement:
            seen.append(statement)

    event.listen(office.app.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(office.app.database.engine, "before_cursor_execute", note)


def test_a_batch_is_told_event_by_event(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    for number in range(25):
        office.submit("create_user", {"username": f"u{number}"})
    office.drain()
    assert sorted(got.told["data"]["target_name"] for got in receiver.got) == sorted(f"u{n}" for n in range(25))


def test_two_endpoints_are_told_each_its_own(office: Office, receiver: Receiver) -> None:
    with Receiver() as other:
        add(office, receiver, "user.*")
        add(office, other, "*", name="other")
        office.do("create_user", {"username": "dora", "groups": ["staff"]})
        assert receiver.actions() == ["user.created"]
        assert other.actions() == ["membership.added", "user.created"]
        assert receiver.ids()[0] in other.ids()


def test_what_belongs_to_no_job_is_told_too(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "login.*")
    with office.scope() as scope:
        credentials.record_login_failed(scope, UserRef(username="ann"), "bad password")
    office.drain()
    assert receiver.actions() == ["login.failed"]


def test_what_is_rolled_back_is_told_to_nobody(office: Office, receiver: Receiver) -> None:
    add(office, receiver)

    def broken_off() -> None:
        with office.scope() as scope:
            credentials.record_login_failed(scope, UserRef(username="ann"), "bad password")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert dryrun.preview(office.app, Request("create_user", {"username": "dora"}, "test")).state == "succeeded"
    office.drain()
    assert (receiver.got, office.jobs("deliver_webhook")) == ([], [])


def test_a_change_of_an_endpoint_that_is_rolled_back_costs_no_event(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")

    def broken_off() -> None:
        with office.scope() as scope:
            endpoints.remove(scope, "hook", by="tester")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    office.do("create_user", {"username": "dora"})
    assert [got.told["data"]["target_name"] for got in receiver.got] == ["dora"]


def test_without_endpoints_nothing_is_asked_for_a_second(office: Office) -> None:
    begin = time.monotonic()
    with looks(office) as seen:
        for number in range(20):
            office.do("create_user", {"username": f"u{number}"})
    assert len(seen) <= 1 + (time.monotonic() - begin) / outbox.LOOK_EVERY_SECONDS
    assert office.jobs("deliver_webhook") == []


def test_an_endpoint_made_elsewhere_is_known_after_a_second(office: Office, receiver: Receiver) -> None:
    office.do("create_user", {"username": "before"})
    elsewhere = Office(office.settings.database_url)
    add(elsewhere, receiver, "user.created")
    elsewhere.close()
    time.sleep(outbox.LOOK_EVERY_SECONDS + 0.05)  # what the documentation promises
    office.do("create_user", {"username": "after"})
    assert [got.told["data"]["target_name"] for got in receiver.got] == ["after"]


def test_a_process_without_the_job_says_so_and_its_work_goes_on(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add(office, receiver)
    monkeypatch.setattr(outbox, "REGISTRY", Registry())
    assert office.do("create_user", {"username": "dora"}).state == "succeeded"
    assert "webhook.kind_missing" in caplog.text


def test_resumed_while_a_worker_stands_at_the_gate_nothing_is_left_behind(office: Office, receiver: Receiver) -> None:
    """Paused and resumed over and over while deliveries pass: each is delivered, none sleeps on."""
    add(office, receiver, "user.created")
    ended = threading.Event()

    def meddle() -> None:
        for turn in range(30):
            with office.scope() as scope:
                if turn % 2:
                    endpoints.resume(scope, "hook", by="tester")
                else:
                    endpoints.pause(scope, "hook", by="tester", why="a test")
        ended.set()

    for number in range(40):
        office.submit("create_user", {"username": f"u{number}"})
    office.runner.run("create_user", urgent=False)
    thread = threading.Thread(target=meddle)
    thread.start()
    while not ended.is_set():
        office.edge.run("deliver_webhook", urgent=False)
    thread.join(60)
    with office.scope() as scope:
        endpoints.resume(scope, "hook", by="tester")
    office.drain()
    assert {row["state"] for row in office.jobs("deliver_webhook")} == {"succeeded"}
    assert len(set(receiver.ids())) == 40


def test_a_whole_process_delivers_while_mails_go_on(office: Office, receiver: Receiver) -> None:
    """The threads of webhooks are their own: slow endpoints keep nothing else waiting."""
    let_go = threading.Event()
    answer = receiver.answer

    def slow(got: object) -> object:
        let_go.wait(30)
        return answer(got)  # type: ignore[arg-type]

    receiver.answer = slow  # type: ignore[assignment]
    office.keeper.resign()
    add(office, receiver, "group.created")
    office.app.bell = open_bell(None)
    with Staff(office.app, threads=2, mail_threads=1):
        for number in range(3):
            office.app.submit([Request("create_group", {"group": f"g{number}"}, "test")])
        receiver.wait_for(1)
        mail = office.submit("send_recovery_email", {"user": "ann"})
        ends = time.monotonic() + 30
        while office.ended(mail).state not in ("succeeded", "rejected"):
            assert time.monotonic() < ends
            time.sleep(0.02)
        let_go.set()
        receiver.wait_for(3)
    assert len(set(receiver.ids())) == 3
