"""Webhooks told by real worker processes: killed in the middle, or two at once, every event arrives under its one id."""

import pytest
from crew import Crew, all_done, until
from office import Office
from receiver import Receiver, add

HEALS_SECONDS = 20.0
"""The survivor finds the dead within its first round; the rest is a busy machine."""


@pytest.mark.timeout(180)
def test_a_worker_killed_between_call_and_settling_tells_it_again_under_the_same_id(front: Office, crew: Crew) -> None:
    with Receiver() as receiver:
        secret = add(front, receiver, "group.created")
        for number, point in enumerate(("gated", "carried", "settled")):
            front.submit("create_group", {"group": point})
            front.runner.run("create_group", urgent=False)
            before = len(receiver.got)
            victim = crew.hire(fault=f"{point}:1:kill", up=0)
            assert victim.wait() == -9, point
            [row] = [row for row in front.jobs("deliver_webhook") if row["state"] != "succeeded"] or [
                front.jobs("deliver_webhook")[-1]
            ]
            assert row["state"] == ("succeeded" if point == "settled" else "leased"), point
            assert len(receiver.got) - before == (0 if point == "gated" else 1), point
            survivor = crew.hire()
            all_done(front, f"the delivery killed at {point}", HEALS_SECONDS)
            survivor.kill()
            told = receiver.got[before:]
            assert len(told) == (2 if point == "carried" else 1), point
            assert {got.id for got in told} == {row["key"].partition("/")[2]}
            assert all(got.signed_with(secret) for got in told)
            assert len(front.jobs("deliver_webhook")) == number + 1


@pytest.mark.timeout(180)
def test_two_workers_tell_each_event_once(front: Office, crew: Crew) -> None:
    with Receiver() as receiver, Receiver() as broken:
        broken.answers(500)
        add(front, receiver, "user.created")
        add(front, broken, "*", name="broken")
        crew.hire(up=0)
        crew.hire()
        crew.workers[0].wait_until_up()
        for number in range(60):
            front.submit("create_user", {"username": f"u{number}"})
        until(lambda: len(set(receiver.ids())) == 60, "60 deliveries")
        until(
            lambda: {
                row["state"] for row in front.jobs("deliver_webhook") if row["payload"]["endpoint"] == good(front)
            } == {"succeeded"},
            "all to be settled",
        )  # fmt: skip
        assert len(receiver.ids()) == 60
        assert len(broken.got) < 20


def good(front: Office) -> str:
    """The id of the endpoint that works."""
    [row] = front.rows("webhook_endpoint", name="hook")
    return str(row["id"])
