"""Whole filters of jobs brought back, released or cancelled: what is counted first is what is moved, on both databases."""

import pytest
from office import Office

from worker import steering
from worker.listing import JobFilter
from worker.steering import Move, counts, steer

HELD = JobFilter(states=["held"])


def held(office: Office, count: int) -> list[str]:
    return [office.submit("create_group", {"group": f"g{n}"}, hold="somebody looks first") for n in range(count)]


def test_what_is_counted_is_what_is_moved_slice_by_slice(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "SLICE", 2)
    ids = held(office, 5)
    assert counts(office.app, Move.RELEASE, HELD) == [{"kind": "create_group", "state": "held", "reason": "held", "count": 5}]
    heard: list[tuple[int, int]] = []
    office.bell.rung.clear()
    assert steer(office.app, Move.RELEASE, HELD, by="ann", advance=lambda done, of: heard.append((done, of))) == 5
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert office.bell.rung == {("create_group", "directory")}
    assert counts(office.app, Move.RELEASE, HELD) == []
    office.drain()
    assert {office.ended(job_id).state for job_id in ids} == {"succeeded"}


def test_a_cancelled_job_says_who_did_it(office: Office) -> None:
    [job_id] = held(office, 1)
    assert steer(office.app, Move.CANCEL, JobFilter(ids=[job_id]), by="token/desk") == 1
    assert office.ended(job_id).reason_text == "Cancelled by token/desk."
    assert steer(office.app, Move.CANCEL, JobFilter(ids=[job_id]), by="token/desk") == 0


def test_retry_takes_only_what_can_be_brought_back(office: Office) -> None:
    office.world()
    wrong = office.do("add_to_group", {"user": "ann", "group": "new"}).id
    right = office.do("create_group", {"group": "new"}).id
    both = JobFilter(ids=[wrong, right])
    assert [row["count"] for row in counts(office.app, Move.RETRY, both)] == [1]
    assert steer(office.app, Move.RETRY, both, by="ann") == 1
    office.drain()
    assert office.ended(wrong).state == "succeeded"


def test_filters_by_key_and_by_time(office: Office) -> None:
    early = office.submit("create_group", {"group": "early"}, key="k-1", hold="wait")
    office.later(hours=1)
    noon = office.now
    office.submit("create_group", {"group": "late"}, key="k-2", hold="wait")
    assert steer(office.app, Move.RELEASE, JobFilter(key="k-3"), by="ann") == 0
    assert steer(office.app, Move.RELEASE, JobFilter(until=noon), by="ann") == 1
    assert office.ended(early).state == "queued"
    assert steer(office.app, Move.RELEASE, JobFilter(key="k-2", since=noon), by="ann") == 1
