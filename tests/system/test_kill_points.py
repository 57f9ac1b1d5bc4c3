"""A worker killed with -9 at every point of the way leaves nothing or everything, for each shape of job, on both databases."""

import re

import pytest
from crew import Crew, all_done, real_time, until
from office import Office
from sqlalchemy import update

from worker.mail.catcher import Catcher
from worker.tables import job

SINGLE_AND_BULK = ["noted", "claimed", "handled", "before_commit", "committed"]
EDGE = ["gated", "leased", "handing_over", "carried", "settled"]
KILLED = -9

HEALS_SECONDS = 20.0
"""The survivor finds the dead within its first round; the rest is a busy machine."""

@pytest.mark.timeout(180)
@pytest.mark.parametrize("shape", ["single", "bulk"])
def test_directory_jobs_leave_nothing_or_everything(front: Office, crew: Crew, shape: str) -> None:
    for number, point in enumerate(SINGLE_AND_BULK):
        names = [f"{point}-{n}".replace("_", "-") for n in range(3)]
        for name in names:
            if shape == "single":
                front.submit("create_group", {"group": name})
            else:
                front.submit("create_user", {"username": name})
        victim = crew.hire(fault=f"{point}:1:kill", up=0)
        assert victim.wait() == KILLED, point
        rows = [row for row in front.jobs() if row["finished_at"] is None]
        made = front.rows("groups" if shape == "single" else "users")
        events = [row for row in front.rows("event") if row["target_name"] in names]
        if point == "committed":
            assert not rows
            assert len(made) == len(front.jobs())
            assert len(events) == len(names)
        else:
            assert [row["state"] for row in rows] == ["queued"] * 3, point
            assert len(made) == 3 * number
            assert not events
        survivor = crew.hire()
        all_done(front, f"the jobs killed at {point}", HEALS_SECONDS)
        until(lambda: not front.rows("batch") and len(front.rows("worker")) == 1, "the dead to be buried")
        survivor.kill()
        ended = front.jobs()[-3:]
        assert [(row["state"], row["crashes"]) for row in ended] == [("succeeded", int(point != "committed"))] * 3
        told = sorted(row["target_name"] for row in front.rows("event") if row["target_name"] in names)
        assert told == sorted(names)


@pytest.mark.timeout(180)
def test_mails_are_sent_once_or_their_fate_is_called_unknown(front: Office, crew: Crew) -> None:
    with Catcher() as catcher:
        for point in EDGE:
            name, before = f"killed-{point.replace('_', '-')}", len(catcher.mails)
            front.submit("create_user", {"username": name, "email": f"{name}@example.com", "name": name})
            front.runner.run("create_user", urgent=False)
            mail = front.submit("send_recovery_email", {"user": name})
            assert crew.hire(fault=f"{point}:1:kill", smtp_url=catcher.url, up=0).wait() == KILLED, point
            after_gate = front.jobs()[-1]
            assert after_gate["state"] == {"gated": "leased", "leased": "leased", "settled": "succeeded"}.get(
                point, "handing_over"
            )
            survivor = crew.hire(smtp_url=catcher.url)
            if point in ("handing_over", "carried"):
                becomes(front, mail, "unknown")
                assert front.ended(mail).reason == "outcome_unknown"
                assert rest_of(front, mail) > 14 * 60
                copies = len(catcher.mails) - before
                assert copies <= 1 if point == "handing_over" else copies == 1
                let_rest_pass(front, mail)
            becomes(front, mail, "succeeded")
            survivor.kill()
            ids = [message_id(caught.message) for caught in catcher.mails[before:]]
            assert set(ids) == {front.ended(mail).result["message_id"]}, point
            assert len(ids) == (2 if point == "carried" else 1), point
            sent = [row for row in front.events(name) if row["action"] == "recovery.sent"]
            assert len(sent) == 1


def becomes(front: Office, job_id: str, state: str) -> None:
    """Wait until the survivor has brought a job to a state."""
    until(lambda: front.ended(job_id).state == state, f"{job_id} {state}", HEALS_SECONDS)


def rest_of(front: Office, job_id: str) -> float:
    """The seconds until the keeper decides about a mail of unknown fate."""
    [row] = front.rows("job", id=job_id)
    rest: float = (row["lease_until"] - real_time()).total_seconds()
    return rest


def let_rest_pass(front: Office, job_id: str) -> None:
    """Turn the clock by the rest that an unknown outcome is given."""
    with front.scope() as scope:
        scope.conn.execute(update(job).where(job.c.id == job_id).values(lease_until=scope.now))


def message_id(message: bytes) -> str:
    found = re.search(rb"^message-id:\s*(\S+)", message, re.IGNORECASE | re.MULTILINE)
    assert found is not None
    return found.group(1).decode()


@pytest.mark.timeout(120)
def test_a_job_that_kills_its_worker_is_given_up_after_three_and_takes_no_neighbour_along(
    front: Office, crew: Crew
) -> None:
    worker = crew.hire(processes=2, up=2)
    killer = front.submit("blast", {"name": "killer"})
    neighbours = [front.submit("create_group", {"group": f"neighbour-{n}"}) for n in range(5)]
    all_done(front, "all jobs")
    given_up = front.ended(killer)
    assert (given_up.state, given_up.reason) == ("failed", "worker_killed")
    assert [front.ended(job_id).state for job_id in neighbours] == ["succeeded"] * 5
    assert len([row for row in front.rows("attempt", job=killer) if row["outcome"] == "crash"]) == 3
    worker.wait_until_up(5)
    assert len(worker.children()) == 2
