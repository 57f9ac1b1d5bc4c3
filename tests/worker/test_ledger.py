"""The life of a job in the ledger: who is claimed first, what overtakes, cancelling, holding, re-driving, scrubbing."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from trial import Bench

from worker import ledger
from worker.ids import new_id
from worker.intake import Request, edge_kinds, release
from worker.jobs import Kind, Payload, Policy
from worker.tables import job


def redrive(bench: Bench, *where: Any) -> int:
    edges = {kind.name: kind.policy.life for kind in bench.app.registry if kind.name in edge_kinds(bench.app.registry)}
    with bench.scope() as scope:
        return len(ledger.redrive(scope, where, edges=edges)[0])


def chosen(bench: Bench, limit: int, *, urgent: bool = False) -> list[str]:
    with bench.scope() as scope:
        noted = ledger.note_batch(scope, bench.app.registry["trial"], urgent, bench.app.worker_id, limit)
    return noted[1] if noted else []


# ----------------------------------------------------------------------------------------------------- claiming


def test_the_lower_priority_number_goes_first(bench: Bench) -> None:
    ids = {priority: bench.ask(user=None, priority=priority) for priority in (9, 0, 5)}
    assert chosen(bench, 3) == [ids[0], ids[5], ids[9]]


def test_priority_ages_so_that_nothing_starves(bench: Bench) -> None:
    """Nine steps of a minute each: after that the oldest goes before the most important newcomer."""
    old = bench.ask(user=None, priority=9)
    bench.later(minutes=8)
    young = bench.ask(user=None, priority=0)
    assert chosen(bench, 2) == [young, old]
    bench.later(minutes=2)
    newcomer = bench.ask(user=None, priority=0)
    with bench.scope() as scope:
        rows = ledger.claim(scope, [old, newcomer])
    assert [row.id for row in rows] == [old, newcomer]


def test_within_a_line_priority_does_nothing(bench: Bench) -> None:
    bench.ask("first", priority=9)
    bench.ask("second", priority=0)
    bench.drain()
    assert bench.done() == ["first", "second"]


def test_urgent_jobs_are_served_apart_and_by_nobody_else(bench: Bench) -> None:
    calm, urgent = bench.ask(user=None), bench.ask(user=None, urgent=True)
    assert ("trial", "urgent") in bench.bell.rung
    assert chosen(bench, 9, urgent=True) == [urgent]
    assert chosen(bench, 9) == [calm]


def test_a_planned_job_is_not_claimed_before_its_time_however_important(bench: Bench) -> None:
    bench.ask(user=None, do="retry", priority=0)
    bench.step()
    bench.later(minutes=4)
    assert chosen(bench, 9) == []
    bench.later(minutes=2)
    assert len(chosen(bench, 9)) == 1


def test_what_somebody_has_noted_is_not_noted_again(bench: Bench) -> None:
    ids = [bench.ask(user=None) for _ in range(3)]
    assert chosen(bench, 2) == ids[:2]
    assert chosen(bench, 9) == ids[2:]


def test_a_payload_version_not_known_here_is_left_to_a_newer_worker(bench: Bench) -> None:
    newer, known = bench.ask(user=None), bench.ask(user=None)
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(version=2).where(job.c.id == newer))
    assert chosen(bench, 9) == [known]


def test_a_rank_is_the_same_instant_in_every_zone() -> None:
    """Adding minutes on a wall clock would lose an hour in the night when the clocks go back."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    at = datetime(2026, 10, 25, 2, 58, tzinfo=ZoneInfo("Europe/Berlin"))
    assert ledger.rank(at, 5) == ledger.rank(at.astimezone(UTC), 5) == datetime(2026, 10, 25, 1, 3, tzinfo=UTC)


def test_backoff_is_full_jitter_below_a_doubling_cap() -> None:
    policy = Policy(base=timedelta(seconds=2), cap=timedelta(seconds=60))
    for tries, top in ((0, 2), (1, 4), (3, 16), (10, 60), (500, 60)):
        drawn = [ledger.backoff(policy, tries).total_seconds() for _ in range(200)]
        assert 0.05 <= min(drawn) < top / 4
        assert top * 0.75 < max(drawn) <= top


# --------------------------------------------------------------------------------------------------- overtaking


def test_taking_access_away_runs_at_once_and_cancels_what_would_give_it_back(bench: Bench) -> None:
    retrying = bench.ask("retrying", do="retry", gives=True)
    bench.step()
    waiting = bench.ask("waiting", gives=True)
    harmless = bench.ask("harmless")
    held = bench.ask("held", gives=True, hold="wait")
    planned = bench.ask("planned", gives=True, at=bench.now + timedelta(days=1))
    mail = bench.ask("mail", "trial_edge", gives=True, at=bench.now + timedelta(hours=1))
    takes = bench.ask("takes", takes=True)
    later = bench.ask("later", gives=True)
    assert bench.states(takes, later) == ["queued", "waiting"]
    bench.step()
    assert bench.done() == ["takes"]
    for job_id in (retrying, waiting, held, planned, mail):
        ended = bench.ended(job_id)
        assert (ended.state, ended.reason) == ("cancelled", "superseded"), ended
        assert takes in (ended.reason_text or "")
    assert bench.states(harmless, later) == ["queued", "waiting"]
    bench.drain()
    assert bench.done() == ["takes", "harmless", "later"]


def test_a_revocation_does_not_touch_what_was_asked_for_after_it(bench: Bench) -> None:
    """Revoke the sessions, then send a recovery mail: the mail is the second thought, and goes out."""
    takes = bench.ask("takes", takes=True)
    mail = bench.ask("mail", "trial_edge", gives=True)
    held = bench.ask("held", gives=True, hold="wait")
    bench.step()
    assert bench.states(takes, mail, held) == ["succeeded", "queued", "held"]


def test_a_revocation_that_has_to_be_tried_again_lets_the_line_go_on(bench: Bench) -> None:
    gives = bench.ask("gives", gives=True)
    harmless = bench.ask("harmless")
    takes = bench.ask("takes", takes=True, do="retry")
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(kind="trial_bulk").where(job.c.id == gives))
    bench.step()
    assert bench.states(gives, harmless, takes) == ["cancelled", "queued", "queued"]


def test_a_revocation_by_a_name_still_to_be_given_comes_in_its_turn(bench: Bench) -> None:
    """Refused as unknown it would be lost, and the person would keep their access under the new name."""
    known: list[str] = []
    bench.trial.acts["rename"] = lambda ctx, ask: known.append("patricia") if ctx.task.attempts else bench.trial.acts["retry"](ctx, ask)
    bench.trial.acts["known?"] = lambda ctx, ask: None if known else bench.trial.acts["reject"](ctx, ask)
    rename = bench.ask("rename", becomes="patricia", do="rename")
    gives = bench.ask("gives", gives=True)
    takes = bench.ask("takes", user="patricia", takes=True, do="known?")
    later = bench.ask("later", gives=True)
    bench.drain()
    assert bench.states(rename, gives, takes, later) == ["queued", "cancelled", "waiting", "waiting"]
    assert (bench.tries(takes), bench.ended(takes).attempts) == ([], 0)
    bench.later(minutes=6)
    bench.drain()
    assert bench.done() == ["rename", "takes", "later"]


def test_of_two_revocations_in_one_batch_each_is_done_once(bench: Bench) -> None:
    ids = [bench.ask(str(number), takes=True) for number in range(3)]
    assert bench.states(*ids) == ["queued"] * 3
    bench.drain()
    assert sorted(bench.done()) == ["0", "1", "2"]
    assert bench.states(*ids) == ["succeeded"] * 3


def test_a_bar_keeps_a_late_release_from_giving_access(bench: Bench) -> None:
    """The person is not even known yet: the bar is all there is to stop the onboarding that lies in a drawer."""
    held = bench.ask("held", gives=True, hold="contract missing")
    with bench.scope() as scope:  # out of reach of the revocation's own cancelling
        scope.conn.execute(update(job).values(finished_at=bench.now).where(job.c.id == held))
    refused = bench.ask(takes=True, do="reject")
    bench.step()
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(finished_at=None).where(job.c.id == held))
    assert bench.states(refused, held) == ["rejected", "held"]
    with bench.scope() as scope:
        release(scope, [held], bench.app.registry)
    bench.drain()
    assert (bench.ended(held).state, bench.ended(held).reason, bench.done()) == ("cancelled", "superseded", [])


def test_a_planned_revocation_overtakes_when_it_is_due(bench: Bench) -> None:
    planned = bench.ask("planned", takes=True, at=bench.now + timedelta(hours=1))
    after = bench.ask("after the plan", gives=True, do="retry")
    bench.later(hours=2)
    bench.keeper.wake()
    assert bench.state(planned) == "queued"
    bench.step()
    assert bench.state(planned) == "succeeded"
    assert bench.state(after) == "queued"  # accepted after the revocation was decided


# ------------------------------------------------------------------------------------- cancel, hold, release


@pytest.mark.parametrize(("state", "cancelled"), [("leased", True), ("handing_over", False), ("unknown", True)])
def test_cancelling_a_mail_past_its_handing_over_comes_too_late(bench: Bench, state: str, cancelled: bool) -> None:
    mail = bench.ask(kind="trial_edge")
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(state=state).where(job.c.id == mail))
    with bench.scope() as scope:
        ids, _ = ledger.cancel(scope, [job.c.id == mail], by="tester")
    assert (ids, bench.state(mail)) == (([mail], "cancelled") if cancelled else ([], state))


def test_cancelling_what_ended_changes_nothing(bench: Bench) -> None:
    done = bench.ask()
    bench.drain()
    with bench.scope() as scope:
        assert ledger.cancel(scope, [job.c.id == done], by="tester") == ([], set())
    assert bench.state(done) == "succeeded"


def test_a_hold_says_why_and_a_release_forgets_it(bench: Bench) -> None:
    planned, due = bench.ask(at=bench.now + timedelta(days=1)), bench.ask(user="kim")
    with bench.scope() as scope:
        ids, _ = ledger.hold(scope, [job.c.id.in_([planned, due])], why="audit")
    assert sorted(ids) == sorted([planned, due])
    assert {bench.ended(i).reason_text for i in ids} == {"audit"}
    bench.drain()
    assert bench.done() == []
    with bench.scope() as scope:
        release(scope, ids, bench.app.registry)
    assert bench.states(planned, due) == ["scheduled", "queued"]
    assert {(bench.ended(i).reason, bench.ended(i).reason_text) for i in ids} == {(None, None)}


def test_a_cancelled_parent_leaves_its_follow_ups_to_be_found(bench: Bench) -> None:
    parent = bench.ask("parent", do="follow", extra={"do": "retry"})
    bench.drain()
    [child] = bench.rows("job", parent=parent)
    with bench.scope() as scope:
        assert ledger.cancel(scope, [job.c.parent == parent], by="tester")[0] == [child["id"]]


# ---------------------------------------------------------------------------------------------------- re-driving


def test_a_failed_job_gets_a_fresh_budget_and_keeps_its_history(bench: Bench) -> None:
    failing = bench.ask("text", do="fault")
    for _ in range(3):
        bench.drain()
        bench.later(minutes=11)
    assert (bench.state(failing), len(bench.tries(failing))) == ("failed", 3)
    bench.trial.acts.pop("fault")
    assert redrive(bench, job.c.id == failing) == 1
    row = bench.row(failing)
    assert (row["state"], row["attempts"], row["reason"], row["finished_at"]) == ("queued", 0, None, None)
    bench.drain()
    assert (bench.state(failing), bench.done(), len(bench.tries(failing))) == ("succeeded", ["text"], 3)


def test_what_succeeded_or_was_superseded_or_pruned_is_not_driven_again(bench: Bench) -> None:
    succeeded, superseded, pruned = bench.ask(), bench.ask(gives=True, do="retry", user="kim"), bench.ask(do="reject", user="jo")
    bench.drain()
    bench.do("trial", {"user": "kim", "takes": True})
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(pruned=True).where(job.c.id == pruned))
    assert redrive(bench, job.c.id.in_([succeeded, superseded, pruned])) == 0


def test_a_job_driven_again_goes_to_the_end_of_its_line(bench: Bench) -> None:
    rejected = bench.ask("again", do="reject")
    bench.step()
    bench.trial.acts.pop("reject")
    bench.ask("before")
    redrive(bench, job.c.id == rejected)
    assert bench.state(rejected) == "waiting"
    bench.drain()
    assert bench.done() == ["before", "again"]


def test_an_expired_mail_goes_out_afresh(bench: Bench) -> None:
    mail = bench.ask(kind="trial_edge", at=bench.now + timedelta(hours=1))
    bench.later(days=4)
    bench.drain()
    assert (bench.ended(mail).state, bench.ended(mail).reason) == ("cancelled", "expired")
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(frozen={"message_id": "the first"}).where(job.c.id == mail))
    assert redrive(bench, job.c.id == mail) == 1
    row = bench.row(mail)
    assert (row["state"], row["frozen"], row["deadline"]) == ("queued", None, bench.now + timedelta(days=2))
    bench.drain()
    assert bench.state(mail) == "succeeded"


def test_a_mail_of_unknown_fate_goes_out_with_the_same_bytes(bench: Bench) -> None:
    mail = bench.ask(kind="trial_edge")
    with bench.scope() as scope:
        scope.conn.execute(update(job).where(job.c.id == mail).values(
            state="unknown", frozen={"message_id": "the first"}, lease_until=bench.now + timedelta(minutes=9)))
    assert redrive(bench, job.c.id == mail) == 1
    assert bench.row(mail)["frozen"] == {"message_id": "the first"}
    bench.drain()
    assert bench.row(mail)["frozen"]["message_id"] == "the first"


def test_a_held_job_is_driven_again_too(bench: Bench) -> None:
    held = bench.ask("held", hold="wait")
    assert redrive(bench, job.c.id == held) == 1
    bench.drain()
    assert bench.done() == ["held"]


# ------------------------------------------------------------------------------------------ sealed, and forgetting


def test_sealed_fields_are_in_no_payload_and_go_when_the_job_ends(bench: Bench) -> None:
    seen = []
    bench.trial.acts["look"] = lambda ctx, ask: seen.append(ask.secret.get_secret_value() if ask.secret else None)
    job_id = bench.ask(do="look", secret="hunter2")
    row = bench.row(job_id)
    assert (row["payload"], row["sealed"]) == ({"user": {"username": "pat"}, "do": "look"}, {"secret": "hunter2"})
    bench.drain()
    assert seen == ["hunter2"]
    assert bench.row(job_id)["sealed"] is None


@pytest.mark.parametrize("do", ["reject", "fault"])
def test_a_sealed_field_is_in_no_history(bench: Bench, do: str) -> None:
    def tell(ctx: Any, ask: Any) -> None:
        raise ValueError(f"could not store {ask.secret.get_secret_value()}")

    bench.trial.acts["fault"] = tell
    job_id = bench.ask(do=do, secret="hunter2 and more")
    bench.drain()
    assert "hunter2" not in str(bench.rows("attempt"))
    assert "hunter2" not in str({**bench.row(job_id), "sealed": None})


def test_deleting_a_person_scrubs_their_jobs(bench: Bench) -> None:
    ids = [bench.ask("private words", key=f"pat@example.com {n}", do=do) for n, do in enumerate(("ok", "reject", "fault"))]
    other = bench.ask("public words", user="kim", key="kim@example.com")
    bench.drain()
    subject = bench.row(ids[0])["subject"]
    with bench.scope() as scope:
        assert ledger.scrub_person(scope, str(subject)) == 3
    said = str([bench.row(job_id) for job_id in ids]) + str([bench.rows("attempt", job=job_id) for job_id in ids])
    assert "pat" not in said
    assert "private" not in said
    assert "tester" not in said
    assert bench.states(*ids) == ["succeeded", "rejected", "queued"]
    assert "public words" in str(bench.row(other))


def test_deleting_a_person_cancels_all_their_unfinished_jobs_but_one(bench: Bench) -> None:
    keep, *others = [bench.ask(str(n)) for n in range(3)]
    others += [bench.ask(hold="wait"), bench.ask(at=bench.now + timedelta(days=1)), bench.ask(kind="trial_edge")]
    stranger = bench.ask(user="kim")
    with bench.scope() as scope:
        assert ledger.cancel_unfinished(scope, str(bench.row(keep)["subject"]), by="the end", keep=keep) == 5
    assert bench.states(keep, stranger, *others) == ["queued", "queued", *["cancelled"] * 5]


def test_a_plan_can_be_called_off_by_kind(bench: Bench) -> None:
    bench.give_account(new_id(), bench.ask())
    planned = bench.ask(at=bench.now + timedelta(days=1), becomes="patricia")
    other = bench.ask(kind="trial_bulk", at=bench.now + timedelta(days=1))
    with bench.scope() as scope:
        subject = str(bench.row(planned)["subject"])
        assert ledger.cancel_scheduled(scope, subject, ["trial"], by="a rehire") == 1
    assert bench.states(planned, other) == ["cancelled", "scheduled"]
    assert bench.row(bench.ask(user="patricia"))["subject"] != subject


def test_a_job_of_a_kind_with_no_fields_at_all(bench: Bench) -> None:
    class Nothing(Payload):
        pass

    bench.app.registry.add(Kind("bare", "", "single", Nothing, Policy(), lambda ctx, ask: None))
    [answer] = bench.app.submit([Request("bare", {}, "test")])
    bench.drain()
    with bench.app.database.read() as conn:
        assert conn.execute(select(job.c.state).where(job.c.id == answer.id)).scalar_one() == "succeeded"
