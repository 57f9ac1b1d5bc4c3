"""Every job, broken off at whichever statement, leaves nothing behind; done afterwards, it ends as if undisturbed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from stage import KINDS, NAMES, Broken, Rows, Stage, Wire, alike, directory, effects, spread
from trial import Crash

from worker.edge import HANDOVER_LEASE, LEASE, UNKNOWN_REST

EDGES = [kind.name for kind in KINDS if kind.shape == "edge" and kind.policy.unknown != "again"]
# Whoever gets these twice knows it: they know no handing over.
AGAIN = [kind.name for kind in KINDS if kind.shape == "edge" and kind.policy.unknown == "again"]
# The writing transactions of one batch, in their order: the first one notes it, the second does it (or is the gate).
BATCH, ALONE = 2, 3
HANDING_OVER, SETTLING = 3, 4
SETTLING_AGAIN = 3


class Play:
    """One example of a kind, played from the same beginning as often as a test likes."""

    def __init__(self, stage: Stage, kind: str) -> None:
        self.stage, self.kind = stage, kind
        self.fields = stage.set_for(kind, 0)
        self.beginning = stage.rows()
        self.wire = Wire(stage.office)
        self.undisturbed, self.statements, self.mails = self._undisturbed()

    def _undisturbed(self) -> tuple[dict[str, list[str]], list[int], int]:
        job_id = self.begin()
        with self.wire() as wire:
            self.stage.step(self.kind)
        self.stage.office.drain()
        assert self.stage.office.ended(job_id).state == "succeeded"
        return self.seen(), wire.transactions, len(self.stage.mails())

    def begin(self) -> str:
        """Put everything back and submit the job anew."""
        self.stage.put_back(self.beginning)
        return self.stage.submit(self.kind, self.fields)

    def seen(self) -> dict[str, list[str]]:
        """Return what there is now, in a form that is the same for all runs that did the same."""
        return alike(self.stage.rows(), self.beginning)

    def crash(self, number: int, transaction: int) -> None:
        """The process dies at this statement of the batch, and its note is cleared as a dead worker's is."""
        with self.wire(number, [transaction], Crash), pytest.raises(Crash):
            self.stage.step(self.kind)
        self.stage.forget_notes()

    def wait(self, **time: float) -> None:
        """Let time pass, and the keeper see to what is late."""
        self.stage.office.later(**time)
        self.stage.office.keeper.settle_leases()

    def ends_as_undisturbed(self) -> None:
        """Work until nothing is due: it all ends as if nothing had happened."""
        self.stage.office.drain()
        assert self.seen() == self.undisturbed
        assert self.stage.office.rows("batch") == []


@pytest.mark.parametrize("kind", NAMES)
def test_broken_off_it_leaves_nothing_and_then_it_is_done(stage: Stage, kind: str) -> None:
    """At one statement of the transaction that holds the effect (of a mail: the gate) the worker dies, then a fault comes.

    The fault comes in the batch and again when the job is tried alone; all that stays is the note of a try.
    """
    play = Play(stage, kind)
    total = play.statements[BATCH - 1]
    for number in spread(total):
        job_id = play.begin()
        before = stage.rows()
        play.crash(number, BATCH)
        assert effects(stage.rows()) == effects(before), f"something was left by a crash at statement {number}"
        with play.wire(number, [BATCH, ALONE]):
            stage.step(kind)
        # The last statement takes the batch's note away. Alone there is none to take, and the job is through.
        if number < total:
            assert directory(stage.rows()) == directory(before), f"something was left by a fault at statement {number}"
            _noted_once(stage, job_id)
            play.wait(hours=1)
        play.ends_as_undisturbed()
        assert len(stage.mails()) == play.mails


def _noted_once(stage: Stage, job_id: str) -> None:
    ended = stage.office.ended(job_id)
    assert (ended.state, ended.attempts) == ("queued", 1), ended
    [note] = stage.office.rows("attempt", job=job_id)
    assert (note["outcome"], note["code"]) == ("retry", Broken.__name__)


@pytest.mark.parametrize("kind", EDGES)
def test_a_mail_not_handed_over_is_sent_once(stage: Stage, kind: str) -> None:
    play = Play(stage, kind)
    for number in spread(play.statements[HANDING_OVER - 1]):
        job_id = play.begin()
        play.crash(number, HANDING_OVER)
        assert stage.mails() == []
        assert stage.office.ended(job_id).state == "leased"
        play.wait(seconds=LEASE.total_seconds())
        play.ends_as_undisturbed()
        assert len(stage.mails()) == play.mails


@pytest.mark.parametrize("kind", EDGES)
def test_a_mail_not_settled_goes_out_again_as_the_same_one(stage: Stage, kind: str) -> None:
    play = Play(stage, kind)
    for number in spread(play.statements[SETTLING - 1]):
        job_id = play.begin()
        handed = _directory_at_the_handing_over(play)
        play.crash(number, SETTLING)
        assert directory(stage.rows()) == handed()
        assert stage.office.ended(job_id).state == "handing_over"
        mails = stage.mails()
        assert len(mails) == 1
        play.wait(seconds=HANDOVER_LEASE.total_seconds())
        assert stage.office.ended(job_id).state == "unknown"
        play.wait(seconds=UNKNOWN_REST.total_seconds())
        play.ends_as_undisturbed()
        assert stage.mails() == mails


@pytest.mark.parametrize("kind", EDGES)
def test_a_mail_that_cannot_be_settled_is_left_to_a_person(stage: Stage, kind: str) -> None:
    """The relay has it: after a fault of ours it is not sent again by itself, and none of the effect is there."""
    play = Play(stage, kind)
    for number in spread(play.statements[SETTLING - 1], 3):
        job_id = play.begin()
        handed = _directory_at_the_handing_over(play)
        with play.wire(number, [SETTLING]):
            stage.step(kind)
        ended = stage.office.ended(job_id)
        assert (ended.state, ended.reason) == ("rejected", "unsettled"), ended
        assert directory(stage.rows()) == handed()
        play.wait(hours=3)
        stage.office.drain()
        assert len(stage.mails()) == 1


def _directory_at_the_handing_over(play: Play) -> Callable[[], Rows]:
    """Keep the directory as the next batch has it between gate and call: what is to be found when settling fails."""
    kept: list[Rows] = []
    desk = play.stage.office.edge
    carry = desk._carry

    def keeping(*arguments: Any) -> None:
        kept.append(directory(play.stage.rows()))
        del vars(desk)["_carry"]
        carry(*arguments)

    vars(desk)["_carry"] = keeping
    return lambda: kept[0]


@pytest.mark.parametrize("kind", AGAIN)
def test_a_delivery_not_settled_goes_out_again_under_the_same_id(stage: Stage, kind: str) -> None:
    play = Play(stage, kind)
    for number in spread(play.statements[SETTLING_AGAIN - 1]):
        job_id = play.begin()
        play.crash(number, SETTLING_AGAIN)
        [sent] = stage.mails()
        assert stage.office.ended(job_id).state == "leased"
        play.wait(seconds=LEASE.total_seconds())
        play.ends_as_undisturbed()
        assert stage.mails() == [sent, sent]


@pytest.mark.parametrize("kind", AGAIN)
def test_a_delivery_that_cannot_be_settled_is_tried_again(stage: Stage, kind: str) -> None:
    play = Play(stage, kind)
    for number in spread(play.statements[SETTLING_AGAIN - 1], 3):
        job_id = play.begin()
        with play.wire(number, [SETTLING_AGAIN]):
            stage.step(kind)
        _noted_once(stage, job_id)
        play.wait(hours=3)
        play.ends_as_undisturbed()
        assert len(set(stage.mails())) == 1


def test_leases_end_before_the_rest(stage: Stage) -> None:
    """What these tests wait for, in the order in which they do."""
    assert timedelta(0) < LEASE < HANDOVER_LEASE < UNKNOWN_REST
