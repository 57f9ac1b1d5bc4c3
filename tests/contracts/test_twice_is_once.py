"""Every job, submitted or delivered twice, takes effect once: the same directory, audit trail, follow-ups and mails."""

from typing import Any

import pytest
from stage import KEY, KINDS, NAMES, SOURCE, Stage, directory, effects, examples


def test_there_are_jobs_of_all_three_shapes() -> None:
    """Of an empty registry every contract would hold."""
    assert len(KINDS) >= 32
    assert {kind.shape for kind in KINDS} == {"single", "bulk", "edge"}


@pytest.mark.parametrize("kind", NAMES)
def test_twice_is_once(stage: Stage, kind: str) -> None:
    for number in range(len(examples(kind))):
        fields = stage.set_for(kind, number)
        job_id = stage.submit(kind, fields)
        _submitted_again_while_it_waits(stage, kind, fields, job_id)
        assert stage.step(kind) == 1
        _done_for_good(stage, job_id)
        _delivered_again(stage, kind, job_id)
        stage.office.drain()
        _submitted_again_when_it_is_over(stage, kind, fields, job_id)


def _submitted_again_while_it_waits(stage: Stage, kind: str, fields: dict[str, Any], job_id: str) -> None:
    before = effects(stage.rows())
    again = stage.office.accept(kind, fields, key=KEY, source=SOURCE)
    assert (again.id, again.duplicate, again.state, again.result) == (job_id, True, "queued", None)
    assert effects(stage.rows()) == before


def _done_for_good(stage: Stage, job_id: str) -> None:
    """The other contracts would hold of a job that is always refused, too."""
    ended = stage.office.ended(job_id)
    assert (ended.state, ended.attempts) == ("succeeded", 0), ended
    assert "changed" in ended.result
    assert stage.office.rows("job", id=job_id)[0]["sealed"] is None


def _delivered_again(stage: Stage, kind: str, job_id: str) -> None:
    """A second bell, and a worker that was late with its note, find nothing to do."""
    before, mails = effects(stage.rows()), stage.mails()
    assert stage.step(kind) == len(stage.office.rows("job", kind=kind, state="queued"))
    stage.deliver_again(kind, job_id)
    assert effects(stage.rows()) == before
    assert stage.mails() == mails


def _submitted_again_when_it_is_over(stage: Stage, kind: str, fields: dict[str, Any], job_id: str) -> None:
    before, mails = stage.rows(), stage.mails()
    [row] = stage.office.rows("job", id=job_id)
    again = stage.office.accept(kind, fields, key=KEY, source=SOURCE)
    stage.office.drain()
    if row["pruned"]:
        # A deletion takes the person's keys too, for they may hold personal data; then the tombstone answers.
        assert again.id is not None
        assert stage.office.ended(again.id).result == {"changed": False, "already": "deleted"}
        assert directory(stage.rows()) == directory(before)
    else:
        assert (again.id, again.duplicate, again.state) == (job_id, True, row["state"])
        assert again.result == row["result"]
        assert effects(stage.rows()) == effects(before)
    assert stage.mails() == mails
