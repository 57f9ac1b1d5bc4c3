"""Every job, submitted or delivered twice, takes effect once: the same directory, audit trail and follow-ups."""

import pytest
from stage import KEY, NAMES, SOURCE, Stage, effects, examples

from worker.jobs import Kind


@pytest.mark.parametrize("kind", NAMES)
def test_every_example_does_what_it_says(stage: Stage, kind: str) -> None:
    """The other contracts would hold of jobs that are always refused, too."""
    for number in range(len(examples(kind))):
        job_id = stage.submit(kind, stage.set_for(kind, number))
        stage.office.drain()
        ended = stage.office.ended(job_id)
        assert ended.state == "succeeded", (number, ended)
        assert "changed" in ended.result, (number, ended)
        [row] = stage.office.rows("job", id=job_id)
        assert row["sealed"] is None
        assert row["attempts"] == 0


@pytest.mark.parametrize("kind", NAMES)
def test_submitted_twice(stage: Stage, kind: str) -> None:
    """Before the job is done and after it: the same id, and the stored result."""
    for number in range(len(examples(kind))):
        fields = stage.set_for(kind, number)
        job_id = stage.submit(kind, fields)
        waiting = stage.office.accept(kind, fields, key=KEY, source=SOURCE)
        assert (waiting.id, waiting.duplicate, waiting.result) == (job_id, True, None), number
        stage.office.drain()
        ended, before, mails = stage.office.ended(job_id), effects(stage.rows()), stage.mails()
        again = stage.office.accept(kind, fields, key=KEY, source=SOURCE)
        if _forgotten(stage, job_id):
            # The person is gone, and with the personal data the key that may hold some; the tombstone says no.
            assert again.id is not None
            stage.office.drain()
            assert stage.office.ended(again.id).state == "rejected", number
            before = {**before, "job": [], "attempt": []}
            after = {**effects(stage.rows()), "job": [], "attempt": []}
            assert {name: rows for name, rows in after.items() if name not in ("line", "alias")} == {
                name: rows for name, rows in before.items() if name not in ("line", "alias")
            }
            continue
        assert (again.id, again.duplicate, again.state) == (job_id, True, "succeeded"), number
        assert again.result == ended.result, number
        stage.office.drain()
        assert effects(stage.rows()) == before, number
        assert stage.mails() == mails, number


@pytest.mark.parametrize("kind", NAMES)
def test_delivered_twice(stage: Stage, kind: str) -> None:
    """A second bell, and a late worker that names the job again, find nothing to do."""
    for number in range(len(examples(kind))):
        job_id = stage.submit(kind, stage.set_for(kind, number))
        assert stage.step(kind) == 1, number
        before, mails = effects(stage.rows()), stage.mails()
        assert stage.step(kind) == _own_follow_ups(stage, kind), number
        stage.deliver_again(kind, job_id)
        assert effects(stage.rows()) == before, number
        assert stage.mails() == mails, number


def _forgotten(stage: Stage, job_id: str) -> bool:
    return bool(stage.office.rows("job", id=job_id)[0]["pruned"])


def _own_follow_ups(stage: Stage, kind: str) -> int:
    return len(stage.office.rows("job", kind=kind, state="queued"))


def test_the_registry_is_not_empty() -> None:
    """What is read off an empty registry would always hold."""
    from stage import KINDS

    assert len(KINDS) >= 32
    assert {kind.shape for kind in KINDS} == {"single", "bulk", "edge"}
    assert all(isinstance(kind, Kind) for kind in KINDS)
