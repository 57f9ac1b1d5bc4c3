"""Joiners, movers and leavers over time: each thing at its hour in the person's zone, and nothing early."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hr import DECLARED, HR, person

from worker.feeds import cases

# The office's clock begins on Monday 2026-03-02, 09:00 UTC.
ANN = person("001", "Ann", "Archer")


def scheduled(hr: HR, kind: str) -> list[dict[str, Any]]:
    return [row for row in hr.office.jobs(kind) if row["state"] == "scheduled"]


def test_a_pre_hire_gets_the_account_days_before_and_it_opens_on_the_day(hr: HR) -> None:
    run = hr.apply([ANN | {"start": "2026-03-20", "zone": "Australia/Melbourne"}])
    [line] = hr.lines(run)
    assert (line["action"], line["text"]) == ("noted", "joins on 2026-03-20; the account is made 7 days before")
    hr.turn(days=10, hours=3)  # 12 March, 12:00 UTC: 23:00 in Melbourne
    assert hr.states() == {}
    hr.turn(hours=1)
    assert hr.states() == {"ann.archer": "closed"}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    hr.turn(days=6, hours=23)  # 19 March, 12:00 UTC
    assert hr.states() == {"ann.archer": "closed"}
    hr.turn(hours=1)
    assert hr.states() == {"ann.archer": "active"}
    assert len(hr.office.jobs("send_welcome_email")) == 1


def test_a_rescinded_hire_never_opens(hr: HR) -> None:
    hr.apply([ANN | {"start": "2026-03-05"}])
    assert hr.states() == {"ann.archer": "closed"}
    run = hr.apply([ANN | {"start": "2026-03-05", "status": "Never"}])
    [line] = hr.lines(run)
    assert (line["action"], line["text"]) == ("leaver", "never came")
    hr.turn(days=10)
    assert hr.states() == {"ann.archer": "closed"}
    assert hr.office.jobs("send_welcome_email") == []


def test_a_first_day_that_moves_moves_the_opening(hr: HR) -> None:
    hr.apply([ANN | {"start": "2026-03-05"}])
    hr.apply([ANN | {"start": "2026-03-08"}])
    hr.turn(days=4)
    assert hr.states() == {"ann.archer": "closed"}
    hr.turn(days=2)
    assert hr.states() == {"ann.archer": "active"}


def test_a_pre_hires_other_changes_do_not_wait_and_do_not_open(hr: HR) -> None:
    hr.apply([ANN | {"start": "2026-03-05"}])
    hr.apply([ANN | {"start": "2026-03-05", "last": "Baker"}])
    ann = hr.office.user("ann.archer")
    assert ann
    assert (ann.name, ann.is_active) == ("Ann Baker", False)


def test_a_last_day_ends_at_midnight_where_the_person_is(hr: HR) -> None:
    zoned = ANN | {"zone": "Australia/Melbourne"}
    hr.apply([zoned])
    run = hr.apply([zoned | {"end": "2026-03-10"}])
    [line] = hr.lines(run)
    assert line["action"] == "leaver"
    assert line["text"] == "leaves at the end of 2026-03-10"
    [job] = scheduled(hr, "offboard_user")
    assert job["run_at"] == datetime(2026, 3, 10, 13, 0, tzinfo=UTC)
    hr.turn(days=8, hours=3, minutes=59)  # 10 March 12:59 UTC: 23:59 in Melbourne
    assert hr.states() == {"ann.archer": "active"}
    hr.turn(minutes=2)
    assert hr.states() == {"ann.archer": "closed"}
    [left] = hr.office.rows("feed_person")
    assert left["phase"] == "left"


def test_a_planned_leaving_can_be_taken_back_and_moved(hr: HR) -> None:
    hr.apply([ANN])
    hr.apply([ANN | {"end": "2026-03-10"}])
    hr.apply([ANN | {"end": "2026-03-20"}])
    [job] = scheduled(hr, "offboard_user")
    assert job["run_at"] == datetime(2026, 3, 21, 0, 0, tzinfo=UTC)
    run = hr.apply([ANN])
    [line] = hr.lines(run)
    assert (line["action"], line["changes"]["leaves_at"][1]) == ("stays", None)
    assert scheduled(hr, "offboard_user") == []
    hr.turn(days=40)
    assert hr.states() == {"ann.archer": "active"}


def test_a_late_termination_acts_now_and_says_how_late(hr: HR) -> None:
    hr.apply([ANN])
    run = hr.apply([ANN | {"status": "Gone", "end": "2026-01-20"}])
    [line] = hr.lines(run)
    assert line["text"] == "leaves, terminated, late by 40 days"
    assert hr.states() == {"ann.archer": "closed"}


def test_the_ladder_down_has_rungs_that_can_be_seen_and_stopped(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED.replace("[feeds.hr.leavers]", "[feeds.hr.leavers]\nremove_access_days = 14\ndelete_days = 60"))
    hr.apply([ANN])
    hr.apply([ANN | {"status": "Gone"}])
    assert hr.states() == {"ann.archer": "closed"}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    assert len(scheduled(hr, "offboard_user")) == 1
    hr.turn(days=15)
    assert hr.groups("ann.archer") == set()
    [deletion] = scheduled(hr, "delete_user")
    assert deletion["run_at"] == datetime(2026, 5, 1, 9, 0, tzinfo=UTC)
    hr.office.do("set_legal_hold", {"user": "ann.archer", "owner": "legal", "reason": "case 7"})
    hr.turn(days=60)
    assert hr.states() == {"ann.archer": "closed"}


def test_deletion_at_the_foot_of_the_ladder_takes_what_the_feed_knew(hr: HR) -> None:
    hr.apply([ANN])
    hr.apply([ANN | {"status": "Gone"}])
    hr.turn(days=91)
    assert hr.states() == {}
    assert hr.office.rows("feed_person") == []
    assert "Archer" not in str(hr.office.rows("feed_action"))


def test_a_rehire_has_the_same_account_new_groups_and_no_deletion(hr: HR) -> None:
    hr.apply([ANN])
    hr.apply([ANN | {"status": "Gone"}])
    before = hr.office.user("ann.archer")
    hr.turn(days=30)
    run = hr.apply([ANN | {"department": "Engineering"}])
    [line] = hr.lines(run)
    assert line["action"] == "rehire"
    after = hr.office.user("ann.archer")
    assert before
    assert after
    assert (after.id, after.is_active) == (before.id, True)
    assert after.epoch >= before.epoch
    assert hr.groups("ann.archer") == {"staff"}
    assert scheduled(hr, "delete_user") == []
    hr.turn(days=100)
    assert hr.states() == {"ann.archer": "active"}


def test_terminated_and_rehired_on_one_day_is_there_in_the_end(hr: HR) -> None:
    hr.apply([ANN])
    hr.carry(hr.plan([ANN | {"status": "Gone"}]))
    hr.carry(hr.plan([ANN]))
    assert hr.states() == {"ann.archer": "active"}
    hr.turn(days=100)
    assert hr.states() == {"ann.archer": "active"}


def test_leave_suspends_and_the_return_restores_exactly(hr: HR) -> None:
    hr.apply([ANN])
    hr.office.do("add_to_group", {"user": "ann.archer", "group": "engineering"})
    run = hr.apply([ANN | {"status": "Leave"}])
    assert [line["action"] for line in hr.lines(run)] == ["leave"]
    assert hr.states() == {"ann.archer": "closed"}
    assert hr.groups("ann.archer") == {"staff", "sales", "engineering"}
    run = hr.apply([ANN])
    assert [line["action"] for line in hr.lines(run)] == ["return"]
    assert hr.states() == {"ann.archer": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales", "engineering"}
    assert len(hr.office.jobs("send_welcome_email")) == 1


def test_what_security_closed_during_a_leave_stays_closed(hr: HR) -> None:
    hr.apply([ANN])
    hr.apply([ANN | {"status": "Leave"}])
    hr.office.do("lock_user", {"user": "ann.archer", "owner": "security", "reason": "phished"})
    run = hr.apply([ANN])
    [line] = hr.lines(run)
    assert (line["action"], line["code"]) == ("case", "disabled_by_hand")
    assert "locked by security" in line["text"]
    assert hr.states() == {"ann.archer": "closed"}


def test_active_in_the_file_does_not_undo_a_deactivation_by_hand(hr: HR) -> None:
    hr.apply([ANN])
    hr.office.do("deactivate_user", {"user": "ann.archer", "reason": "suspicion"})
    hr.apply([ANN | {"department": "Engineering"}])
    assert hr.states() == {"ann.archer": "closed"}
    hr.apply([ANN | {"status": "Gone"}])
    run = hr.apply([ANN])
    assert [line["code"] for line in hr.lines(run)] == ["disabled_by_hand"]
    assert hr.states() == {"ann.archer": "closed"}


def test_old_groups_can_be_kept_for_a_while(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + "[feeds.hr.movers]\ngrace_days = 14\n")
    hr.apply([ANN])
    run = hr.apply([ANN | {"department": "Engineering"}])
    [line] = hr.lines(run)
    assert line["groups"] == {"kept": {"sales": "2026-03-16T09:00:00+00:00"}}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    hr.turn(days=13)
    assert "sales" in hr.groups("ann.archer")
    hr.turn(days=2)
    assert hr.groups("ann.archer") == {"staff"}


def test_moving_back_within_the_grace_keeps_the_group(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + "[feeds.hr.movers]\ngrace_days = 14\n")
    hr.apply([ANN])
    hr.apply([ANN | {"department": "Engineering"}])
    hr.apply([ANN])
    hr.turn(days=30)
    assert hr.groups("ann.archer") == {"staff", "sales"}


def test_absence_has_to_be_seen_three_times_and_is_taken_back(hr: HR) -> None:
    bob = person("002", "Bob", "Brewer")
    hr.apply([ANN, bob])
    assert [line["text"] for line in hr.lines(hr.apply([bob]))] == ["missing from 1 of 3 full files"]
    for _ in range(5):  # the same file handed in again is not another day's
        assert hr.apply([bob]).total == 0
    hr.office.later(days=1)
    hr.apply([bob])
    assert hr.states()["ann.archer"] == "active"
    hr.apply([ANN, bob])  # there again: counting begins anew
    for _ in range(2):
        hr.office.later(days=1)
        hr.apply([bob])
    assert hr.states()["ann.archer"] == "active"
    hr.office.later(days=1)
    run = hr.apply([bob])
    [line] = hr.lines(run)
    assert (line["action"], line["text"]) == ("leaver", "leaves, missing from 3 full files in a row")
    assert line["jobs"][0]["payload"]["keep_access"] == "P30D"
    assert hr.states() == {"ann.archer": "closed", "bob.brewer": "active"}
    run = hr.apply([ANN, bob])
    assert [line["action"] for line in hr.lines(run)] == ["rehire"]
    assert hr.states()["ann.archer"] == "active"


def test_a_refused_record_is_not_an_absent_person(hr: HR) -> None:
    hr.apply([ANN])
    for _ in range(4):
        run = hr.carry(hr.plan([ANN | {"status": "Aktiv"}, person("002", "Bob", "Brewer")]))
        assert [line["code"] for line in hr.lines(run, "refused")] == ["unknown_status"]
    assert hr.states()["ann.archer"] == "active"


def test_a_week_of_downtime_loses_no_due_date(hr: HR) -> None:
    bob = person("002", "Bob", "Brewer")
    hr.apply([ANN | {"start": "2026-03-12"}, bob])
    hr.office.later(days=30)  # nobody worked
    hr.feeder.scan()
    hr.rest()
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}
    assert hr.feeds.scanned_to("hr") == hr.office.now


def test_somebody_first_seen_as_gone_who_then_comes_is_a_joiner(hr: HR) -> None:
    run = hr.apply([ANN | {"status": "Gone"}])
    assert [line["text"] for line in hr.lines(run)] == ["has left, and never had an account"]
    assert hr.plan([ANN | {"status": "Gone"}]).total == 0
    run = hr.apply([ANN])
    [line] = hr.lines(run)
    assert line["action"] == "joiner"
    assert line["changes"]["email"] == [None, "ann.archer@example.com"]
    assert hr.states() == {"ann.archer": "active"}


def decide(hr: HR, decision: str) -> None:
    with hr.office.scope() as scope:
        [case] = cases.list_cases(scope.conn, "hr")
        cases.decide(scope, case.id, decision, by="olga", reason="looked into it")


def test_a_return_that_was_allowed_happens_with_the_next_round_and_only_once(hr: HR) -> None:
    hr.apply([ANN])
    hr.apply([ANN | {"status": "Leave"}])
    hr.office.do("reactivate_user", {"user": "ann.archer"})
    hr.office.do("deactivate_user", {"user": "ann.archer"})
    hr.office.later(minutes=1)
    run = hr.apply([ANN])
    assert [line["code"] for line in hr.lines(run)] == ["disabled_by_hand"]
    runs = len(hr.office.rows("feed_run"))
    hr.turn(minutes=1)
    hr.turn(minutes=1)
    assert len(hr.office.rows("feed_run")) == runs, "what waits for a person is not planned again and again"
    decide(hr, "enable")
    hr.turn(minutes=1)
    assert hr.states() == {"ann.archer": "active"}
    hr.apply([ANN | {"status": "Leave"}])
    hr.office.later(minutes=1)
    hr.office.do("reactivate_user", {"user": "ann.archer"})
    hr.office.do("deactivate_user", {"user": "ann.archer"})
    run = hr.apply([ANN])
    assert [line["code"] for line in hr.lines(run)] == ["disabled_by_hand"]
    assert hr.states() == {"ann.archer": "closed"}
    with hr.office.scope() as scope:
        assert len(cases.list_cases(scope.conn, "hr")) == 1
