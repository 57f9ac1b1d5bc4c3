"""What foreign messages may hold, and that whatever else they hold is recorded as refused, once, instead of coming back."""

from collections.abc import Mapping

import pytest
from office import Office

from worker.process import Doorway

GOOD = {"username": "ann"}


@pytest.mark.parametrize("said", [
    {"payload": GOOD, "run_at": "9999-12-31T23:59:59-23:59"},
    {"payload": GOOD, "run_at": "0001-01-01T00:00:00+23:59"},
    {"payload": GOOD, "run_at": "2026-03-02T09:00"},
    {"payload": GOOD, "run_at": "tomorrow"},
    {"payload": GOOD, "priority": True},
    {"payload": GOOD, "priority": 11},
    {"payload": GOOD, "version": True},
    {"payload": ["ann"]},
    {"payload": GOOD, "surprise": 1},
])  # fmt: skip
def test_what_cannot_be_a_job_is_recorded_and_over(office: Office, said: Mapping[str, object]) -> None:
    Doorway(office.app).ingress("create_user", "directory", said, "m-1")
    [refusal] = office.rows("refusal")
    assert (refusal["source"], refusal["key"], refusal["kind"]) == ("queue/dramatiq", "m-1", "create_user")
    assert refusal["text"]
    assert office.jobs() == []


def test_a_good_message_is_a_job_and_twice_the_same(office: Office) -> None:
    doorway = Doorway(office.app)
    for _ in range(2):
        doorway.ingress("create_user", "directory", {"payload": GOOD, "source": "portal"}, "m-1")
    [job] = office.jobs()
    assert (job["source"], job["key"], job["requested_by"]) == ("queue/portal", "m-1", "queue/portal")
    assert office.rows("refusal") == []
