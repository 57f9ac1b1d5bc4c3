"""Hard cases of plans: brakes that are not passed by, messages that are neither lost nor taken twice, no endless runs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hr import DECLARED, HEADER, HR, csv_text, open_brakes, person
from sqlalchemy import update

from worker.feed_tables import feed_action
from worker.feeds import apply, cases, desk, runs
from worker.feeds.inbox import store

NORA = person("1", "Nora", "Lind")
TEAM = [person(str(number), "Nora", f"Lind{letter}") for number, letter in enumerate("abcdefgh", 1)]
MESSAGES = """
[feeds.events]
form = "messages"
mode = "event"
usernames = ["{first}.{last}", "{first}.{last}{n}"]
""" + open_brakes("events")
DEFAULT_BRAKES = DECLARED.split("[feeds.hr.brakes]")[0]


def joins(number: str, first: str = "Nora", last: str = "Lind", **more: str) -> dict[str, Any]:
    facts = {"external_id": number, "first": first, "last": last, "status": "active", **more}
    return {"type": "onboard", "person": facts}


def leaves(number: str) -> dict[str, Any]:
    return {"type": "offboard", "person": {"external_id": number}}


def all_runs(hr: HR, state: str | None = None) -> list[dict[str, Any]]:
    return [row for row in hr.office.rows("feed_run") if state in (None, row["state"])]


def braked(declare: Callable[[str], HR], brake: str, count: int, declared: str = DECLARED) -> HR:
    return declare(declared.replace(f"\n{brake} = {{}}", f"\n{brake} = {{ count = {count} }}"))


# ------------------------------------------------------------------------------------------- what counts for a brake


def test_staying_on_and_going_on_leave_in_one_record_counts_as_losing_access(
    declare_sqlite: Callable[[str], HR],
) -> None:
    hr = braked(declare_sqlite, "disable", 1)
    hr.apply(TEAM)
    leaving = hr.plan([one | {"end": "2026-03-31"} for one in TEAM])
    hr.carry(hr.feeds.approve(leaving, by="olga", reason="the office is closed"))
    run = hr.plan([one | {"status": "Leave"} for one in TEAM])
    assert (run.state, run.reading["risks"]["disable"]) == (runs.HELD, len(TEAM))


def found_accounts(hr: HR) -> None:
    for one in TEAM:
        hr.office.do("create_user", {"username": f"u{one['id']}", "external_id": one["id"], "name": "Right Name"})


def test_new_names_of_accounts_that_are_taken_over_count(declare_sqlite: Callable[[str], HR]) -> None:
    hr = braked(declare_sqlite, "attributes", 1)
    found_accounts(hr)
    run = hr.plan(TEAM)
    assert (run.state, run.reading["risks"]["attributes"]) == (runs.HELD, len(TEAM))
    assert [brake["brake"] for brake in run.brakes] == ["attributes"]


def test_last_days_of_accounts_that_are_taken_over_count(declare_sqlite: Callable[[str], HR]) -> None:
    hr = braked(declare_sqlite, "disable", 1)
    found_accounts(hr)
    run = hr.plan([one | {"end": "2026-03-03"} for one in TEAM])
    assert (run.state, run.reading["risks"]["disable"]) == (runs.HELD, len(TEAM))


def test_mails_about_leavers_planned_for_later_count(declare_sqlite: Callable[[str], HR]) -> None:
    noticed = DECLARED.replace("[feeds.hr.leavers]", "[feeds.hr.leavers]\nnotify_managers = true")
    hr = braked(declare_sqlite, "mails", 1, noticed)
    boss, *team = TEAM
    team = [one | {"boss": boss["id"]} for one in team]
    hr.carry(hr.feeds.approve(hr.plan([boss, *team]), by="olga", reason="the first load"))
    run = hr.plan([boss, *[one | {"end": "2026-03-04"} for one in team]])
    assert (run.state, run.reading["risks"]["mails"]) == (runs.HELD, len(team))


def vanished(hr: HR, people: list[dict[str, str]]) -> bool:
    """Whether a file is held because of those who are not in it."""
    run = hr.plan(people)
    return run.state == runs.HELD and "vanished" in [brake["brake"] for brake in run.brakes]


def test_many_copies_of_one_record_hide_nobody_who_vanished(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DEFAULT_BRAKES)
    many = [person(str(number), "Nora", "Lind") for number in range(50)]
    hr.apply(many)
    assert vanished(hr, many[:1] * 50)


def test_ids_that_have_all_changed_are_everybody_vanished(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DEFAULT_BRAKES)
    many = [person(str(number), "Nora", "Lind") for number in range(40)]
    hr.apply(many)
    assert vanished(hr, [one | {"id": f"N{one['id']}"} for one in many])
    assert len(hr.states()) == 40


# ------------------------------------------------------------------------------------------- messages


def test_messages_of_a_plan_that_was_put_aside_do_not_come_back(declare_sqlite: Callable[[str], HR]) -> None:
    hr = braked(declare_sqlite, "disable", 0, MESSAGES)
    hr.tell(joins("7"))
    hr.tell(leaves("7"))
    [held] = all_runs(hr, runs.HELD)
    hr.feeds.drop(hr.feeds.find(held["id"]), by="olga", reason="wrong")
    hr.tell(joins("8", "Tom", "Oka"))
    assert all_runs(hr, runs.HELD) == []
    assert hr.states() == {"nora.lind": "active", "tom.oka": "active"}


def test_messages_of_a_plan_that_expired_are_held_anew(declare_sqlite: Callable[[str], HR]) -> None:
    hr = braked(declare_sqlite, "disable", 0, MESSAGES)
    hr.tell(joins("7"))
    hr.tell(leaves("7"))
    [first] = all_runs(hr, runs.HELD)
    for _ in range(10):
        hr.office.later(days=1)
        hr.feeder.pass_once()
        hr.rest()
    [again] = all_runs(hr, runs.HELD)
    assert again["id"] != first["id"]
    hr.carry(hr.feeds.approve(hr.feeds.find(again["id"]), by="olga", reason="right"))
    assert hr.states() == {"nora.lind": "closed"}


def test_more_held_messages_than_are_taken_at_once_make_one_plan(
    declare: Callable[[str], HR], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "AT_ONCE", 2)
    hr = braked(declare, "create", 0, MESSAGES)
    for number in range(3):
        hr.tell(joins(str(number)))
    before = len(all_runs(hr))
    for _ in range(5):
        hr.office.later(seconds=2)
        hr.feeder.take_messages()
    assert len(all_runs(hr)) == before
    assert hr.states() == {}


def test_held_messages_do_not_hold_up_an_urgent_leaver(declare: Callable[[str], HR]) -> None:
    hr = braked(declare, "create", 1, MESSAGES.replace("[feeds.events.brakes]", '[feeds.events.leavers]\nurgent_reasons = ["fraud"]\n[feeds.events.brakes]'))
    hr.tell(joins("7"))
    fraud = {"type": "offboard", "person": {"external_id": "7", "reason": "fraud"}}
    hr.tell(joins("8"), joins("9"), fraud)  # the joiners are too many for a day
    hr.feeder.take_messages()
    hr.rest()
    assert hr.states() == {"nora.lind": "closed"}
    [held] = all_runs(hr, "held")
    assert held["counts"]["joiner"] == 2
    hr.tell(joins("10"))
    assert [run["counts"]["joiner"] for run in all_runs(hr, "held")] == [3], "what waits is one plan"
    hr.tell({"type": "offboard", "id": "again", "person": {"external_id": "7", "reason": "retired"}})
    assert [job["payload"].get("reason") for job in hr.office.jobs("offboard_user")] == ["fraud"]
    hr.feeder.take_messages()  # what was held is planned anew, since another plan was applied
    assert [run["counts"]["joiner"] for run in all_runs(hr, "held")] == [3]


def test_a_message_without_a_date_counts_after_one_with_a_date(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(MESSAGES)
    hr.tell(joins("7", effective_on="2026-03-01"))
    assert hr.states() == {"nora.lind": "active"}
    hr.office.later(hours=5)
    hr.tell(leaves("7"))
    assert hr.states() == {"nora.lind": "closed"}


def test_a_leaver_by_message_whose_job_was_refused_is_tried_again(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(MESSAGES)
    hr.tell(joins("7"))
    hr.office.do("create_group", {"group": "administrators"})
    hr.office.do("add_to_group", {"user": "nora.lind", "group": "administrators"})
    hr.tell(leaves("7"))
    assert [job["reason"] for job in hr.office.jobs("offboard_user")] == ["last_administrator"]
    hr.office.do("create_user", {"username": "root", "groups": ["administrators"]})
    for _ in range(3):
        hr.turn(days=1)
    assert hr.states() == {"nora.lind": "closed", "root": "active"}


# ------------------------------------------------------------------------------------------- no endless runs


def test_a_case_that_is_decided_again_makes_no_endless_runs(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(MESSAGES.replace('mode = "event"', 'mode = "event"\ncorrelate = ["external_id", "email"]'))
    for username in ("first", "second"):
        hr.office.do("create_user", {"username": username, "email": "nora@example.com"})
    hr.tell(joins("7", email="nora@example.com"))
    [case] = hr.office.rows("feed_case")

    def decide() -> None:
        with hr.office.scope() as scope:
            cases.decide(scope, case["id"], "link", "first", by="olga", reason="her desk")

    decide()
    for _ in range(2):
        hr.turn(seconds=3)
    [nora] = hr.office.rows("users", username="first")
    assert nora["external_id"] == "7"
    decide()
    before = len(all_runs(hr))
    for _ in range(5):
        hr.turn(seconds=3)
    assert len(all_runs(hr)) <= before + 1


def test_a_job_that_is_refused_at_intake_makes_no_endless_runs(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DECLARED.replace('mode = "full"', 'mode = "full"\npath = "users/{attributes.department}"', 1))
    hr.apply([NORA | {"start": "2026-04-01", "department": "a//b" + "x" * 300}])
    hr.office.later(days=29)
    before = len(all_runs(hr))
    for _ in range(5):
        hr.turn(seconds=2)
    assert len(all_runs(hr)) <= before + 1
    assert hr.states() == {}


def test_a_file_with_history_is_empty_when_it_comes_again(declare_sqlite: Callable[[str], HR]) -> None:
    dated = DECLARED.replace('mode = "full"', 'mode = "delta"').replace('boss"', 'boss"\nmodified = "changed"')
    hr = declare_sqlite(dated)
    then, since = {"changed": "2026-02-01T00:00:00Z"}, {"changed": "2026-02-03T00:00:00Z", "department": "Engineering"}
    history = csv_text([NORA | then, NORA | since], (*HEADER, "changed"))
    hr.apply(history)
    assert hr.groups("nora.lind") == {"staff"}
    assert hr.plan(history).total == 0


# ------------------------------------------------------------------------------------------- plans that are stuck


def test_a_plan_that_cannot_be_carried_stops_no_other_feed(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + MESSAGES)
    run = hr.plan([NORA])
    with hr.office.scope() as scope:
        assert apply.decide(scope.conn, run, scope.now).state == runs.APPLYING
        scope.conn.execute(update(feed_action).where(feed_action.c.run == run.id).values(jobs=[{"kind": 7}]))
    with hr.office.scope() as scope:
        store(scope, "events", [(None, json.dumps(joins("7", "Ada", "Brandt")))])
    for _ in range(4):
        hr.office.later(minutes=1)
        hr.feeder.pass_once()
        hr.office.drain()
    assert hr.feeds.find(run.id).state == runs.APPLYING
    assert [message["state"] for message in hr.office.rows("feed_message")] == ["taken"]
    assert hr.states() == {"ada.brandt": "active"}
