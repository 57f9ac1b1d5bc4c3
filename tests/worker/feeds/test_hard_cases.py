"""Hard cases of people: days that move back and forth, and what was closed by hand meanwhile stays closed."""

from collections.abc import Callable
from typing import Any

import pytest
from hr import DECLARED, HR, csv_text, open_brakes, person
from sqlalchemy import update

from worker.bulk import insert_rows
from worker.feeds import cases
from worker.ids import new_id
from worker.tables import job, users

NORA = person("1", "Nora", "Lind")
TOM = person("2", "Tom", "Oka")
BADGES = """
[feeds.badges]
mode = "full"
id_prefix = "b-"
creates = false
correlate = ["email"]
[feeds.badges.columns]
external_id = "card"
email = "mail"
[[feeds.badges.groups]]
rule = "everybody with a badge"
groups = ["sales"]
""" + open_brakes("badges")
BADGE = "card,mail\nC1,nora.lind@example.com\n"


def decide(hr: HR, source: str, decision: cases.Decision, account: str | None = None) -> None:
    with hr.office.scope() as scope:
        [case] = cases.list_cases(scope.conn, source)
        cases.decide(scope, case.id, decision, account, by="olga", reason="looked into it")


def of_kind(hr: HR, kind: str, state: str) -> list[dict[str, Any]]:
    return [one for one in hr.office.jobs(kind) if one["state"] == state]


def security_closes(hr: HR, username: str) -> None:
    hr.office.do("deactivate_user", {"user": username, "reason": "suspicion"}, source="security")


# ------------------------------------------------------------------------------------------- accounts that were found


def test_a_found_account_learns_nothing_before_its_first_day(hr_sqlite: HR) -> None:
    hr_sqlite.office.do("create_user", {"username": "nora", "external_id": "1", "name": "Nora By Hand"})
    hr_sqlite.apply([NORA | {"start": "2026-06-01"}])
    nora = hr_sqlite.office.user("nora")
    assert nora
    assert nora.name == "Nora By Hand"
    assert hr_sqlite.groups("nora") == set()


def test_a_found_account_of_somebody_who_is_then_terminated_is_closed(hr_sqlite: HR) -> None:
    hr_sqlite.office.do("create_user", {"username": "nora", "external_id": "1", "name": "Nora By Hand"})
    hr_sqlite.apply([NORA | {"start": "2026-06-01"}])
    hr_sqlite.apply([NORA | {"start": "2026-06-01", "status": "Gone"}])
    assert hr_sqlite.states() == {"nora": "closed"}


def test_a_link_opens_nobody(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DECLARED + BADGES)
    hr.apply([NORA])
    hr.apply(BADGE, "badges")
    decide(hr, "badges", "link", "nora.lind")
    security_closes(hr, "nora.lind")
    hr.apply(BADGE, "badges")
    assert hr.states() == {"nora.lind": "closed"}


def test_a_group_that_another_source_wants_stays(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DECLARED + BADGES)
    hr.apply([NORA])
    hr.apply(BADGE, "badges")
    decide(hr, "badges", "link", "nora.lind")
    hr.apply(BADGE, "badges")
    assert hr.groups("nora.lind") == {"staff", "sales"}
    hr.apply([NORA | {"department": "Engineering"}])
    assert hr.groups("nora.lind") == {"staff", "sales"}


# ------------------------------------------------------------------------------------------- closed by hand meanwhile


def test_staying_on_opens_nobody_who_was_closed_by_hand(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA | {"end": "2026-03-31"}])
    security_closes(hr_sqlite, "nora.lind")
    run = hr_sqlite.apply([NORA])
    assert [line["action"] for line in hr_sqlite.lines(run)] == ["stays"]
    assert hr_sqlite.states() == {"nora.lind": "closed"}


def test_whoever_is_closed_by_hand_before_the_first_day_stays_closed_on_it(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA | {"start": "2026-03-05"}])
    security_closes(hr_sqlite, "nora.lind")
    hr_sqlite.turn(days=5)
    assert hr_sqlite.states() == {"nora.lind": "closed"}


# ------------------------------------------------------------------------------------------- leave, staying, coming


def test_staying_on_and_going_on_leave_in_one_record_calls_the_leaving_off(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA | {"end": "2026-03-31"}])
    assert len(of_kind(hr_sqlite, "offboard_user", "scheduled")) == 1
    hr_sqlite.apply([NORA | {"status": "Leave"}])
    assert hr_sqlite.states() == {"nora.lind": "closed"}
    assert of_kind(hr_sqlite, "offboard_user", "scheduled") == []
    hr_sqlite.turn(days=40)
    hr_sqlite.apply([NORA])
    assert hr_sqlite.states() == {"nora.lind": "active"}


def test_a_first_day_ahead_of_somebody_on_leave_opens_nothing_yet(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA])
    hr_sqlite.apply([NORA | {"status": "Leave"}])
    hr_sqlite.apply([NORA | {"start": "2026-03-07"}])
    assert hr_sqlite.states() == {"nora.lind": "closed"}


def test_leave_before_the_first_day_does_not_open_on_it(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA | {"start": "2026-03-05"}])
    hr_sqlite.apply([NORA | {"start": "2026-03-05", "status": "Leave"}])
    hr_sqlite.turn(days=5)
    assert hr_sqlite.states() == {"nora.lind": "closed"}


@pytest.mark.parametrize("status", ["Never", "Gone"])
def test_a_first_day_put_off_far_and_then_called_off_never_comes(hr_sqlite: HR, status: str) -> None:
    hr_sqlite.apply([NORA | {"start": "2026-03-05"}])
    hr_sqlite.apply([NORA | {"start": "2026-04-20"}])
    hr_sqlite.apply([NORA | {"start": "2026-04-20", "reason": "looked at again"}])
    hr_sqlite.apply([NORA | {"start": "2026-04-20", "status": status}])
    for _ in range(10):
        hr_sqlite.turn(days=6)
    assert hr_sqlite.states() == {"nora.lind": "closed"}
    assert hr_sqlite.groups("nora.lind") == set()
    assert hr_sqlite.office.jobs("send_welcome_email") == []


def test_an_extension_after_the_last_day_had_its_effect_opens_again(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA | {"end": "2026-03-10"}])
    hr_sqlite.office.later(days=9)
    hr_sqlite.office.drain()  # the job ran, and no feed has looked since
    assert hr_sqlite.states() == {"nora.lind": "closed"}
    run = hr_sqlite.apply([NORA | {"end": "2026-06-30"}])
    assert [line["action"] for line in hr_sqlite.lines(run)] == ["rehire"]
    assert hr_sqlite.states() == {"nora.lind": "active"}
    assert len(of_kind(hr_sqlite, "offboard_user", "scheduled")) == 1


def test_a_manager_and_a_report_due_on_one_day_are_planned_once_each(hr: HR) -> None:
    hr.apply([NORA | {"start": "2026-04-01"}, TOM | {"start": "2026-04-01", "boss": "1"}])
    hr.office.later(days=29)
    hr.feeder.scan()
    [run] = [hr.feeds.find(row["id"]) for row in hr.office.rows("feed_run", origin="scan")]
    assert sorted(line["external_id"] for line in hr.lines(run)) == ["1", "2"]
    hr.rest()
    hr.turn(days=7)
    assert hr.states() == {"nora.lind": "active", "tom.oka": "active"}
    manager, report = hr.office.user("nora.lind"), hr.office.user("tom.oka")
    assert manager
    assert report
    assert report.manager == manager.id


# ------------------------------------------------------------------------------------------- jobs that failed


def test_a_second_plan_before_the_first_job_failed_still_ends_in_an_account(hr_sqlite: HR) -> None:
    hr_sqlite.feeds.apply(hr_sqlite.plan([NORA]))
    moved = NORA | {"department": "Engineering"}
    hr_sqlite.feeds.apply(hr_sqlite.plan([moved]))
    with hr_sqlite.office.scope() as scope:  # somebody else was quicker with the name
        row = {"id": new_id(), "username": "nora.lind", "username_folded": "nora.lind", "path": "users", "name": "Nora Other",
               "type": "internal", "attributes": {}, "is_active": True, "epoch": 1, "version": 1,
               "created_at": scope.now, "updated_at": scope.now}  # fmt: skip
        insert_rows(scope.conn, users, [row])
    hr_sqlite.rest()
    hr_sqlite.office.later(days=1)
    hr_sqlite.apply([moved])
    [made] = hr_sqlite.office.rows("users", external_id="1")
    assert (made["username"], made["is_active"]) == ("nora.lind2", True)
    assert made["attributes"] == {"department": "Engineering"}


@pytest.mark.parametrize("mode", ["full", "delta"])
def test_a_leaver_whose_offboarding_was_refused_is_tried_again(declare_sqlite: Callable[[str], HR], mode: str) -> None:
    hr = declare_sqlite(DECLARED.replace('mode = "full"', f'mode = "{mode}"'))
    hr.apply([NORA, TOM])
    hr.office.do("create_group", {"group": "administrators"})
    hr.office.do("add_to_group", {"user": "nora.lind", "group": "administrators"})
    leaving = [NORA | {"end": "2026-03-20"}, TOM]
    hr.apply(leaving)
    hr.turn(days=25)
    assert {one["reason"] for one in of_kind(hr, "offboard_user", "rejected")} == {"last_administrator"}
    assert hr.states()["nora.lind"] == "active"
    hr.office.do("add_to_group", {"user": "tom.oka", "group": "administrators"})
    hr.apply(leaving)
    hr.turn(days=1)
    hr.turn(days=1)
    assert hr.states() == {"nora.lind": "closed", "tom.oka": "active"}


def test_only_the_spoilt_line_of_a_file_waits(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA, TOM])
    run = hr_sqlite.apply(
        csv_text([NORA | {"start": "soon", "department": "Engineering"}, TOM | {"department": "Engineering"}])
    )
    assert [(line["external_id"], line["action"]) for line in hr_sqlite.lines(run)] == [
        ("1", "refused"),
        ("2", "mover"),
    ]
    assert (hr_sqlite.groups("nora.lind"), hr_sqlite.groups("tom.oka")) == ({"staff", "sales"}, {"staff"})
    hr_sqlite.apply([NORA | {"department": "Engineering"}, TOM | {"department": "Engineering"}])
    assert hr_sqlite.groups("nora.lind") == {"staff"}


def test_a_record_of_which_one_job_failed_is_made_good_by_the_next_file(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA])
    hr_sqlite.feeds.apply(hr_sqlite.plan([NORA | {"status": "Leave", "end": "2026-03-31"}]))
    with hr_sqlite.office.scope() as scope:
        values = {"state": "failed", "reason": "unexpected", "finished_at": scope.now}
        scope.conn.execute(update(job).where(job.c.kind == "offboard_user").values(values))
    hr_sqlite.rest()
    assert hr_sqlite.states() == {"nora.lind": "closed"}
    hr_sqlite.apply([NORA])
    assert hr_sqlite.states() == {"nora.lind": "active"}


# ------------------------------------------------------------------------------------------- who is missing


def test_three_files_of_one_day_show_nobody_missing_three_times(hr_sqlite: HR) -> None:
    hr_sqlite.apply([NORA, TOM])
    for blank_lines in range(4):  # each a file of its own
        hr_sqlite.office.later(minutes=10)
        hr_sqlite.apply(csv_text([TOM]) + "\n" * blank_lines)
    assert hr_sqlite.states()["nora.lind"] == "active"
    hr_sqlite.turn(days=1)
    hr_sqlite.apply([TOM])
    assert hr_sqlite.states()["nora.lind"] == "active"
    hr_sqlite.turn(days=1)
    hr_sqlite.apply([TOM])
    assert hr_sqlite.states()["nora.lind"] == "closed"
