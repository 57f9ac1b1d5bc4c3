"""Jobs that reach outside: the gate, the lease and its fence, and honesty about what may have arrived."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from trial import Bench, Crash

from worker import faultpoints, ledger
from worker.context import Context
from worker.edge import HANDOVER_LEASE, LEASE
from worker.errand import Deferred, Desk, Receipt, Refused, Unavailable, Unknown
from worker.intake import Request
from worker.outcomes import Reject
from worker.tables import job


def carrying(bench: Bench, *, before: Any = None, after: Any = None) -> list[str]:
    """The outside says what the test wants, before and after the point of no return; gives the Message-IDs seen there."""
    seen: list[str] = []

    def carry(desk: Desk, ask: Any) -> Receipt:
        seen.append(str(desk.frozen["message_id"]))
        if before:
            before(desk)
        desk.handing_over()
        if after:
            after(desk)
        return Receipt("250 queued as 4711", desk.now)

    bench.trial.carry = carry
    return seen


def raising(error: BaseException) -> Any:
    def act(*_: Any) -> None:
        raise error

    return act


def mail(bench: Bench, text: str = "mail", **fields: Any) -> str:
    return bench.ask(text, "trial_edge", **fields)


def test_a_yes_from_outside_is_written_down_with_what_it_said(bench: Bench) -> None:
    carrying(bench)
    sent = mail(bench)
    bench.step("trial_edge")
    ended = bench.ended(sent)
    assert (ended.state, ended.result["reply"], bench.done()) == ("succeeded", "250 queued as 4711", ["mail"])


def test_a_refusal_at_the_gate_never_goes_outside(bench: Bench) -> None:
    seen = carrying(bench)
    refused, cancelled = mail(bench, do="refuse"), mail(bench, do="overtaken", user="kim")
    bench.trial.acts["overtaken"] = raising(Reject("address_changed", user="kim"))
    bench.step("trial_edge")
    assert (bench.states(refused, cancelled), seen) == (["rejected", "cancelled"], [])


def test_a_gate_that_snoozes_costs_no_attempt(bench: Bench) -> None:
    snoozing = mail(bench, do="snooze")
    bench.step("trial_edge")
    assert (bench.state(snoozing), bench.ended(snoozing).attempts) == ("scheduled", 0)
    bench.later(minutes=6)
    bench.trial.acts.pop("snooze")
    bench.drain()
    assert bench.state(snoozing) == "succeeded"


def test_a_relay_that_cannot_be_reached_burns_no_attempt(bench: Bench) -> None:
    def away(desk: Desk) -> None:
        raise Unavailable("no_route", "connection refused", desk.now + wait)

    carrying(bench, before=away)
    waiting = mail(bench)
    for wait in (timedelta(minutes=3), timedelta(0), *[timedelta(minutes=3)] * 7):
        bench.drain()
        assert (bench.state(waiting), bench.ended(waiting).attempts) == ("queued", 0)
        assert bench.row(waiting)["run_at"] == bench.now + max(wait, timedelta(seconds=1))
        bench.later(minutes=4)
    carrying(bench)
    bench.drain()
    assert bench.state(waiting) == "succeeded"


def test_not_now_counts_and_not_ever_is_final(bench: Bench) -> None:
    carrying(bench, after=raising(Deferred("greylisted", "451 later", timedelta(minutes=10))))
    deferred = mail(bench)
    bench.step("trial_edge")
    assert (bench.state(deferred), bench.ended(deferred).attempts) == ("queued", 1)
    assert bench.row(deferred)["run_at"] == bench.now + timedelta(minutes=10)
    bench.later(minutes=11)
    carrying(bench, after=raising(Refused("relay_refused", "550 no such user")))
    bench.drain()
    ended = bench.ended(deferred)
    assert (ended.state, ended.reason, "550 no such user" in (ended.reason_text or "")) == ("rejected", "relay_refused", True)


@pytest.mark.parametrize("code", ["a_word_of_its_own", "no_email"])
def test_a_refusal_with_any_code_ends_the_job_and_not_the_batch(bench: Bench, code: str) -> None:
    carrying(bench, after=raising(Refused(code, "because")))
    ids = [mail(bench, user=f"u{n}") for n in range(2)]
    assert bench.step("trial_edge") == 2
    assert [(bench.ended(i).state, bench.ended(i).reason) for i in ids] == [("rejected", code)] * 2


def test_a_fault_before_the_handing_over_is_tried_again_even_after_an_earlier_answer(bench: Bench) -> None:
    carrying(bench, after=raising(Deferred("greylisted", "451 later")))
    mail_id = mail(bench)
    bench.step("trial_edge")
    bench.later(minutes=11)
    carrying(bench, before=raising(OSError("no file")))
    bench.step("trial_edge")
    assert (bench.state(mail_id), bench.ended(mail_id).attempts) == ("queued", 2)


@pytest.mark.parametrize("surprise", [OSError("cut"), Unknown("outcome_unknown", "the line broke")])
def test_a_surprise_after_the_handing_over_leaves_it_unknown(bench: Bench, surprise: Exception) -> None:
    carrying(bench, after=raising(surprise))
    lost = mail(bench)
    bench.step("trial_edge")
    assert (bench.state(lost), bench.row(lost)["lease"]) == ("unknown", None)
    assert bench.tries(lost) == [("unknown", "outcome_unknown")]
    bench.drain()
    assert bench.state(lost) == "unknown"


def test_what_is_unknown_goes_out_twice_more_with_the_same_bytes_and_then_asks_a_person(bench: Bench) -> None:
    seen = carrying(bench, after=raising(OSError("cut")))
    lost = mail(bench)
    for _ in range(5):
        bench.drain()
        bench.later(minutes=16)
        bench.keeper.settle_leases()
    assert (len(seen), len(set(seen))) == (3, 1)
    assert (bench.state(lost), bench.ended(lost).reason) == ("held", "outcome_unknown")


def test_a_kind_may_ask_a_person_at_once(bench: Bench) -> None:
    from dataclasses import replace

    kind = bench.app.registry["trial_edge"]
    kind.policy = replace(kind.policy, unknown="hold")
    carrying(bench, after=raising(OSError("cut")))
    lost = mail(bench)
    bench.step("trial_edge")
    bench.later(minutes=16)
    bench.keeper.settle_leases()
    assert bench.state(lost) == "held"


def test_a_mail_past_its_useful_life_is_not_sent(bench: Bench) -> None:
    seen = carrying(bench)
    late = mail(bench)
    bench.later(days=2)
    bench.step("trial_edge")
    assert (bench.ended(late).state, bench.ended(late).reason, seen) == ("cancelled", "expired", [])


# ------------------------------------------------------------------------------------------------ lease and fence


def die_at(point: str) -> Any:
    def die(name: str) -> None:
        if name == point:
            raise Crash

    return die


@pytest.mark.parametrize(("point", "state", "after"), [
    ("gated", "leased", "queued"), ("leased", "leased", "queued"), ("handing_over", "handing_over", "unknown"),
    ("carried", "handing_over", "unknown"), ("settled", "succeeded", "succeeded"),
])
@pytest.mark.parametrize("end", ["lapse", "death"])
def test_a_worker_lost_on_the_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, point: str, state: str, after: str, end: str
) -> None:
    """Before the handing over it is done again; after it the outcome is unknown, and never queued by itself."""
    carrying(bench)
    lost = mail(bench)
    if end == "death":
        bench.edge.worker_id = bench.colleague_id()
    with monkeypatch.context() as patch:
        patch.setattr(faultpoints, "reached", die_at(point))
        with pytest.raises(Crash):
            bench.step("trial_edge")
    assert bench.state(lost) == state
    if end == "death":
        bench.keeper.bury()
    else:
        bench.keeper.settle_leases()
        assert bench.state(lost) == state
        bench.now += HANDOVER_LEASE if state == "handing_over" else LEASE
        bench.keeper.settle_leases()
    assert bench.state(lost) == after
    row = bench.row(lost)
    assert (row["lease"], row["crashes"]) == (None, 1 if (end, after) == ("death", "queued") else 0)
    bench.drain()
    assert bench.state(lost) == ("unknown" if after == "unknown" else "succeeded")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stale_completion_is_refused_by_the_fence(bench: Bench, when: str, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that slept through its lease may neither hand over nor write an outcome."""
    state = {"before": "queued", "after": "unknown"}[when]

    def sleep(desk: Desk) -> None:
        bench.later(minutes=20)
        bench.keeper.settle_leases()
        assert bench.state(slow) == state

    carrying(bench, **{when: sleep})
    slow = mail(bench)
    bench.step("trial_edge")
    assert (bench.state(slow), bench.done()) == (state, [])
    assert {"before": "edge.lease_lost", "after": "edge.stale_completion_refused"}[when] in caplog.messages


def test_a_worker_that_slept_does_not_take_the_lease_of_its_successor(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def taken_over(desk: Desk) -> None:
        with bench.scope() as scope:
            scope.conn.execute(update(job).where(job.c.id == slow).values(lease="the successor's"))

    carrying(bench, before=taken_over)
    slow = mail(bench)
    bench.step("trial_edge")
    assert (bench.state(slow), bench.row(slow)["lease"]) == ("leased", "the successor's")
    assert "edge.lease_lost" in caplog.messages


@pytest.mark.parametrize("do", ["cancel", "hold"])
def test_cancelling_or_holding_before_the_handing_over_wins_and_after_it_comes_too_late(bench: Bench, do: str) -> None:
    moved: list[list[str]] = []

    def interfere(desk: Desk) -> None:
        with bench.scope() as scope:
            where = [job.c.id == ids[len(moved)]]
            done = ledger.cancel(scope, where, by="tester") if do == "cancel" else ledger.hold(scope, where, why="wait")
            moved.append(done[0])

    carrying(bench, before=interfere)
    ids = [mail(bench)]
    bench.step("trial_edge")
    carrying(bench, after=interfere)
    ids.append(mail(bench))
    bench.step("trial_edge")
    assert moved == [[ids[0]], []]
    assert bench.states(*ids) == ["cancelled" if do == "cancel" else "held", "succeeded"]


def test_a_revocation_stops_a_mail_on_its_way(bench: Bench) -> None:
    def revoke(desk: Desk) -> None:
        bench.ask(takes=True)
        bench.step()

    carrying(bench, before=revoke)
    link = mail(bench, gives=True)
    bench.step("trial_edge")
    assert (bench.ended(link).state, bench.ended(link).reason) == ("cancelled", "superseded")


# ------------------------------------------------------------------------------------------- poison and neighbours


def test_a_poisoned_gate_takes_nobody_with_it(bench: Bench) -> None:
    def odd(ctx: Context, ask: Any) -> None:
        ctx.freeze(never=object())

    bench.trial.acts["odd"] = odd
    carrying(bench)
    ids = [mail(bench, str(n), user=f"u{n}", do="odd" if n == 1 else "ok") for n in range(3)]
    bench.step("trial_edge")
    assert bench.states(*ids) == ["succeeded", "queued", "succeeded"]
    assert (bench.ended(ids[1]).attempts, bench.rows("batch")) == (1, [])


def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(bench: Bench) -> None:
    seen = carrying(bench)
    bench.trial.acts["odd settled"] = raising(ValueError("a bug"))
    ids = [mail(bench, user=f"u{n}", do="odd" if n == 0 else "ok") for n in range(2)]
    bench.step("trial_edge")
    assert (bench.ended(ids[0]).state, bench.ended(ids[0]).reason) == ("rejected", "unsettled")
    assert bench.state(ids[1]) == "succeeded"
    bench.later(days=1)
    bench.keeper.settle_leases()
    bench.drain()
    assert len(seen) == 2


def test_an_edge_job_that_stood_in_a_line_leaves_it(bench: Bench) -> None:
    """A worker that knew the kind by another shape put it there; it must not block the person for ever."""
    odd = mail(bench)
    behind = bench.ask("behind")
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(seq=1).where(job.c.id == odd))
        scope.conn.execute(update(job).values(state="waiting", seq=2).where(job.c.id == behind))
    bench.drain()
    assert bench.done() == ["mail", "behind"]


def test_urgent_mail_has_a_way_of_its_own(bench: Bench) -> None:
    carrying(bench)
    [answer] = bench.app.submit([Request("trial_edge", {"user": "pat"}, "test", urgent=True)])
    assert bench.step("trial_edge") == 0
    assert bench.step("trial_edge", urgent=True) == 1
    assert bench.state(answer.id or "") == "succeeded"


def test_a_handing_over_whose_commit_was_not_answered_is_gone_on_with(bench: Bench) -> None:
    """Done again after a lost answer, it finds its own lease in the state that it was about to write."""
    carrying(bench, before=lambda desk: desk.handing_over())
    sent = mail(bench)
    bench.step("trial_edge")
    assert (bench.state(sent), bench.done()) == ("succeeded", ["mail"])
