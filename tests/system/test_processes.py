"""Processes that are killed, frozen or asked to stop: others go on, nobody is orphaned, and what was in hand is done once."""

import json
import signal
import time

import pytest
from crew import Crew, alive, all_done, kill, told, until
from desk import put_raw
from office import Office
from servers import RedisServer
from smtp_double import SILENT, SmtpDouble

HEALS_SECONDS = 5.0
STOPS_SECONDS = 10.0

pytestmark = pytest.mark.timeout(150)

on_both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@on_postgresql
def test_one_killed_process_is_replaced_while_the_others_go_on(front: Office, crew: Crew) -> None:
    worker = crew.hire(processes=2, up=2)
    before = worker.children()
    kill(before[0])
    begin = time.monotonic()
    job_id = front.submit("nap", {"name": "meanwhile"})
    until(lambda: front.ended(job_id).state == "succeeded", "the other process to work")
    worker.wait_until_up(3)
    took = time.monotonic() - begin
    print(f"replaced after {took:.1f} s")  # noqa: T201 (a figure, shown by pytest -s)
    now = worker.children()
    assert before[1] in now
    assert len(now) == 2
    assert took < HEALS_SECONDS * 4  # the promise is 5 s on a machine of one's own


@on_both
def test_a_killed_parent_leaves_no_orphan(front: Office, crew: Crew) -> None:
    worker = crew.hire(processes=2, up=2)
    children = worker.children()
    worker.kill()
    took = until(lambda: not any(alive(pid) for pid in children), "the orphans to end")
    print(f"the last child ended after {took:.1f} s")  # noqa: T201
    assert worker.said("worker.stopped") == 2
    assert not front.rows("worker")


@on_postgresql
def test_a_frozen_worker_that_comes_back_does_nothing_twice(front: Office, crew: Crew) -> None:
    frozen = crew.hire()
    job_id = front.submit("nap", {"name": "frozen", "seconds": 2.0})
    until(lambda: front.rows("batch"), "the job to be in hand")
    frozen.signal(signal.SIGSTOP)
    crew.hire()
    until(lambda: front.ended(job_id).state == "succeeded", "the job to be done by another")
    assert alive(frozen.pid)
    frozen.signal(signal.SIGCONT)
    second = front.submit("nap", {"name": "afterwards"})
    until(lambda: front.ended(second).state == "succeeded", "work to go on")
    until(lambda: len(front.rows("worker")) == 2, "the frozen one to be back on the list")
    assert told(front, "nap.taken") == ["afterwards", "frozen"]
    assert (front.ended(job_id).state, front.ended(job_id).attempts) == ("succeeded", 0)
    assert frozen.stop() == 0


@on_both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_what_is_in_hand_finish(front: Office, crew: Crew, number: signal.Signals) -> None:
    worker = crew.hire()
    job_id = front.submit("nap", {"name": "long", "seconds": 2.0})
    until(lambda: front.rows("batch"), "the job to be in hand")
    worker.signal(number)
    assert worker.wait(STOPS_SECONDS) == 0
    assert front.ended(job_id).state == "succeeded"
    assert not front.rows("batch")
    assert not front.rows("worker")


@on_both
def test_a_stop_releases_what_takes_too_long(front: Office, crew: Crew) -> None:
    worker = crew.hire()
    job_id = front.submit("nap", {"name": "endless", "seconds": 100.0})
    until(lambda: front.rows("batch"), "the job to be in hand")
    begin = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.wait(STOPS_SECONDS * 3) == 1
    print(f"released after {time.monotonic() - begin:.1f} s")  # noqa: T201
    assert (front.ended(job_id).state, front.ended(job_id).attempts) == ("queued", 0)
    assert not front.rows("attempt")


@on_postgresql
def test_a_stop_releases_mails_that_a_silent_relay_holds_up(front: Office, crew: Crew) -> None:
    with SmtpDouble(lines_script=[{"EHLO": SILENT}] * 20) as relay:
        worker = crew.hire(smtp_url=relay.url)
        front.submit("create_user", {"username": "ann", "email": "ann@example.com"})
        all_done(front, "ann to be there")
        mail = front.submit("send_recovery_email", {"user": "ann"})
        until(lambda: relay.said.count("EHLO"), "the mail to be on its way")
        worker.signal(signal.SIGTERM)
        assert worker.wait(STOPS_SECONDS * 3) == 1
        assert (front.ended(mail).state, front.ended(mail).attempts) == ("queued", 0)


@on_postgresql
def test_a_foreign_job_taken_by_a_worker_that_died_is_done_once(
    front: Office, crew: Crew, redis_server: RedisServer
) -> None:
    victim = crew.hire(fault="ingressed:1:kill", up=0)
    body = {
        "queue_name": "directory", "actor_name": "nap", "args": [], "kwargs": {"payload": {"name": "foreign"}},
        "options": {}, "message_id": "m-1", "message_timestamp": 0,
    }  # fmt: skip
    with redis_server.client() as client:
        put_raw(client, "directory", "slip-1", json.dumps(body))
        assert victim.wait() == -9
        crew.hire()
        all_done(front, "the foreign job")
        until(lambda: not client.hlen("dramatiq:directory.msgs"), "the message to be recognised and removed")
    assert told(front, "nap.taken") == ["foreign"]
    assert len(front.jobs()) == 1
