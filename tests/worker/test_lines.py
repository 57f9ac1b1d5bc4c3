"""A line for each person: whoever names them comes in turn, and every way out lets the next one go."""

import pytest
from sqlalchemy import select
from trial import Bench

from worker import ledger, lines
from worker.ids import new_id
from worker.intake import Request, release
from worker.jobs import NameKind
from worker.tables import job, line


def subjects(bench: Bench, *ids: str) -> set[str]:
    return {str(bench.row(job_id)["subject"]) for job_id in ids}


def places(bench: Bench, *ids: str) -> list[int | None]:
    return [bench.row(job_id)["seq"] for job_id in ids]


# ---------------------------------------------------------------------------------------------- who it is about


def test_every_spelling_of_a_username_leads_to_one_line(bench: Bench) -> None:
    ids = [bench.ask(user=name) for name in ("pat", "PAT", "Ｐａｔ")]
    assert len(subjects(bench, *ids)) == 1
    assert bench.states(*ids) == ["queued", "waiting", "waiting"]


def test_two_people_do_not_wait_for_each_other(bench: Bench) -> None:
    ids = [bench.ask(user=name) for name in ("pat", "kim")]
    assert bench.states(*ids) == ["queued", "queued"]


def test_an_external_id_and_a_username_lead_to_one_line_once_a_job_names_both(bench: Bench) -> None:
    both = bench.ask(external_id="E-1")
    ids = [bench.ask(external_id="E-1", user=None), bench.ask(), bench.ask(user=None)]
    assert len(subjects(bench, both, *ids[:2])) == 1
    assert bench.row(ids[2])["subject"] is None
    assert bench.states(both, *ids) == ["queued", "waiting", "waiting", "queued"]


def test_a_rename_makes_the_new_name_lead_to_the_same_line_at_once(bench: Bench) -> None:
    ids = [bench.ask(), bench.ask(becomes="patricia"), bench.ask(user="patricia")]
    assert len(subjects(bench, *ids)) == 1
    assert bench.states(*ids) == ["queued", "waiting", "waiting"]


@pytest.mark.parametrize("end", ["reject", "cancel"])
def test_a_name_that_was_promised_and_not_given_is_free_again(bench: Bench, end: str) -> None:
    bench.give_account(new_id(), bench.ask())
    rename = bench.ask(becomes="patricia", do="reject")
    if end == "cancel":
        with bench.scope() as scope:
            ledger.cancel(scope, [job.c.id == rename], by="tester")
    bench.drain()
    assert bench.state(rename) in ("rejected", "cancelled")
    assert subjects(bench, rename) != subjects(bench, bench.ask(user="patricia"))


def test_without_an_account_it_stays_with_those_who_came_by_it(bench: Bench) -> None:
    """Otherwise a revocation of the account to come would miss what waits under its name."""
    rename = bench.ask(becomes="patricia", do="reject")
    waits = bench.ask(user="patricia", do="retry", gives=True)
    bench.drain()
    takes = bench.ask(user="patricia", takes=True)
    assert len(subjects(bench, rename, waits, takes)) == 1
    bench.drain()
    assert bench.states(rename, waits, takes) == ["rejected", "cancelled", "succeeded"]


def test_a_name_barred_before_it_was_read_is_free_again(bench: Bench) -> None:
    bench.give_account(new_id(), bench.ask())
    rename = bench.ask(becomes="patricia", gives=True, hold="not before monday")
    bench.do("trial", {"user": "pat", "takes": True})
    assert bench.state(rename) == "cancelled"
    assert subjects(bench, rename) != subjects(bench, bench.ask(user="patricia"))


def test_a_name_given_stays(bench: Bench) -> None:
    rename = bench.ask(becomes="patricia")
    bench.drain()
    assert subjects(bench, rename) == subjects(bench, bench.ask(user="patricia"))


# ----------------------------------------------------------------------------------------------- who comes when


def test_they_run_in_the_order_in_which_they_were_accepted(bench: Bench) -> None:
    ids = [bench.ask(str(number), "trial_bulk" if number % 2 else "trial", priority=9 - number) for number in range(6)]
    assert places(bench, *ids) == [1, 2, 3, 4, 5, 6]
    for number, job_id in enumerate(ids):
        assert bench.states(*ids[number:]) == ["queued", *["waiting"] * (5 - number)]
        assert bench.step(bench.row(job_id)["kind"]) == 1
    assert bench.done() == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(("do", "state"), [("ok", "succeeded"), ("reject", "rejected"), ("snooze", "scheduled"),
                                           ("follow", "succeeded")])
def test_every_outcome_lifts_the_next(bench: Bench, do: str, state: str) -> None:
    first, second = bench.ask(do=do), bench.ask("second")
    bench.bell.rung.clear()
    bench.step()
    assert bench.states(first, second) == [state, "queued"]
    assert ("trial", "directory") in bench.bell.rung


def test_a_failure_lifts_the_next_when_the_budget_is_spent_and_not_before(bench: Bench) -> None:
    first, second = bench.ask(do="fault"), bench.ask("second")
    for _ in range(2):
        bench.step()
        assert bench.states(first, second) == ["queued", "waiting"]
        bench.later(minutes=11)
    bench.step()
    assert bench.states(first, second) == ["failed", "queued"]


def test_a_retry_keeps_its_place(bench: Bench) -> None:
    bench.trial.acts["once"] = lambda ctx, ask: None if ctx.task.attempts else bench.trial.acts["retry"](ctx, ask)
    bench.ask("first", do="once")
    second = bench.ask("second")
    bench.drain()
    assert (bench.done(), bench.state(second)) == ([], "waiting")
    bench.later(minutes=6)
    bench.drain()
    assert bench.done() == ["first", "second"]


def test_cancelling_and_holding_the_head_lifts_the_next(bench: Bench) -> None:
    ids = [bench.ask(str(number)) for number in range(4)]
    with bench.scope() as scope:
        assert ledger.cancel(scope, [job.c.id == ids[0]], by="tester") == ([ids[0]], {("trial", False)})
    assert bench.states(*ids) == ["cancelled", "queued", "waiting", "waiting"]
    with bench.scope() as scope:
        assert ledger.hold(scope, [job.c.id == ids[1]], why="ask first") == ([ids[1]], {("trial", False)})
    assert bench.states(*ids) == ["cancelled", "held", "queued", "waiting"]
    bench.drain()
    assert bench.done() == ["2", "3"]


def test_cancelling_from_the_middle_lifts_nobody(bench: Bench) -> None:
    ids = [bench.ask(str(number)) for number in range(3)]
    with bench.scope() as scope:
        ledger.cancel(scope, [job.c.id == ids[1]], by="tester")
    assert bench.states(*ids) == ["queued", "cancelled", "waiting"]
    bench.drain()
    assert bench.done() == ["0", "2"]


def test_scheduled_held_and_edge_jobs_stand_in_no_line(bench: Bench) -> None:
    from datetime import timedelta

    parked = [
        bench.ask("planned", at=bench.now + timedelta(days=90)),
        bench.ask("held", hold="wait for the contract"),
        bench.ask("mail", "trial_edge"),
    ]
    assert places(bench, *parked) == [None, None, None]
    assert bench.states(*parked) == ["scheduled", "held", "queued"]
    assert bench.state(bench.ask("now")) == "queued"
    bench.step()
    assert bench.done() == ["now"]


def test_a_scheduled_job_takes_its_place_when_it_is_due(bench: Bench) -> None:
    from datetime import timedelta

    planned = bench.ask("planned", at=bench.now + timedelta(days=1))
    bench.ask("retrying", do="retry")
    bench.step()
    bench.later(days=1)
    bench.keeper.wake()
    assert (bench.state(planned), places(bench, planned)) == ("waiting", [3])


def test_a_held_job_comes_last_when_it_is_released(bench: Bench) -> None:
    held = bench.ask("held", hold="wait")
    bench.ask("first")
    with bench.scope() as scope:
        release(scope, [held], bench.app.registry)
    assert bench.state(held) == "waiting"
    bench.drain()
    assert bench.done() == ["first", "held"]


# ---------------------------------------------------------------------------------------- two lines become one


def in_one_line(bench: Bench, *ids: str) -> None:
    """All are of one line, and at most one of them is let go."""
    assert len(subjects(bench, *ids)) == 1
    assert bench.states(*ids).count("queued") == 1
    found = [place for place in places(bench, *ids) if place is not None]
    assert len(set(found)) == len(found)


def test_two_lines_of_one_person_become_one(bench: Bench) -> None:
    one = [bench.ask("E1", user=None, external_id="E-1"), bench.ask("E2", user=None, external_id="E-1")]
    two = [bench.ask("p1"), bench.ask("p2")]
    both = bench.ask("both", external_id="E-1")
    in_one_line(bench, *one, *two, both)
    bench.drain()
    done = bench.done()
    assert sorted(done) == ["E1", "E2", "both", "p1", "p2"]
    assert done[-1] == "both"
    assert done.index("E1") < done.index("E2")
    assert done.index("p1") < done.index("p2")


def test_two_lines_of_one_person_become_one_within_a_single_submission(bench: Bench) -> None:
    fields = [{"external_id": "E-1"}, {"user": "pat"}, {"user": "pat", "external_id": "E-1"}, {"user": "pat"}]
    answers = bench.app.submit([Request("trial", asked, "test") for asked in fields])
    in_one_line(bench, *[answer.id or "" for answer in answers])
    bench.drain()
    assert len(bench.done()) == 4


def test_a_job_may_adopt_an_account_that_lacks_one_of_the_names(bench: Bench) -> None:
    account = bench.ask()
    bench.give_account(new_id(), account)
    strict = bench.ask(external_id="E-1", user="pat")
    adopting = bench.ask(external_id="E-2", user="pat", adopts=True)
    assert subjects(bench, account) == subjects(bench, adopting) != subjects(bench, strict)


def test_two_accounts_are_never_made_one_line(bench: Bench) -> None:
    one, two = bench.ask(user=None, external_id="E-1"), bench.ask()
    bench.give_account(new_id(), one)
    bench.give_account(new_id(), two)
    bench.ask(external_id="E-1", adopts=True)
    assert len(subjects(bench, one, two)) == 2


def test_whoever_waited_under_a_name_comes_along_when_an_account_takes_it(bench: Bench) -> None:
    """Without it a revocation under one name would miss what waits under the other."""
    account = bench.ask("account")
    bench.give_account(new_id(), account)
    early = bench.ask("early", user="patricia", hold="not known yet")
    rename = bench.ask("rename", becomes="patricia")
    assert len(subjects(bench, account, early, rename)) == 1


def test_the_bar_of_a_line_comes_along(bench: Bench) -> None:
    held = bench.ask(gives=True, hold="wait")
    bench.do("trial", {"external_id": "E-1", "takes": True})
    bench.ask(external_id="E-1")
    with bench.scope() as scope:
        release(scope, [held], bench.app.registry)
    bench.drain()
    assert bench.ended(held).reason == "superseded"


def named(bench: Bench, job_id: str, *names: tuple[NameKind, str]) -> None:
    with bench.scope() as scope:
        lines.name_accounts(scope, [(str(bench.row(job_id)["subject"]), names)])


def test_the_directory_brings_a_name_home_that_led_elsewhere(bench: Bench) -> None:
    one, stray = bench.ask("one"), bench.ask("stray", user="patricia")
    named(bench, one, (NameKind.ID, new_id()), (NameKind.USERNAME, "patricia"))
    in_one_line(bench, one, stray, bench.ask("later", user="patricia"))
    bench.drain()
    assert bench.done() == ["one", "stray", "later"]


def test_an_external_id_that_moved_to_another_account_leads_there(bench: Bench) -> None:
    one, two = bench.ask(user=None, external_id="E-1"), bench.ask()
    named(bench, one, (NameKind.ID, new_id()), (NameKind.EXTERNAL_ID, "E-1"))
    named(bench, two, (NameKind.ID, new_id()), (NameKind.EXTERNAL_ID, "E-1"))
    assert subjects(bench, bench.ask(user=None, external_id="E-1")) == subjects(bench, two) != subjects(bench, one)


def test_a_second_account_in_a_line_gets_a_line_of_its_own(bench: Bench) -> None:
    """A rename to `patricia` failed, and meanwhile somebody else of that name was accepted into the same line."""
    one, two = bench.ask(becomes="patricia"), bench.ask(user="patricia")
    assert subjects(bench, one) == subjects(bench, two)
    first, second = new_id(), new_id()
    named(bench, one, (NameKind.ID, first), (NameKind.USERNAME, "pat"))
    named(bench, two, (NameKind.ID, second), (NameKind.USERNAME, "patricia"))
    assert subjects(bench, bench.ask()) != subjects(bench, bench.ask(user="patricia"))
    with bench.app.database.read() as conn:
        accounts = {row.account for row in conn.execute(select(line.c.account).where(line.c.account.is_not(None)))}
    assert accounts == {first, second}
