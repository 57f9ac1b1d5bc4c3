"""Two at once: of two plans of one state one is applied, each person is taken once, and nobody waits for ever."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hr import DECLARED, HR, person
from rivals import Rival
from sqlalchemy import select

from worker.feed_tables import feed_name, feed_person
from worker.feeds import apply, runs
from worker.feeds.apply import NotApplied
from worker.feeds.feeder import Feeder
from worker.feeds.inbox import store
from worker.feeds.runs import APPLIED, APPLYING, DROPPED, HELD, Run

T = TypeVar("T")

TEAM = [person(f"{number:03}", "Ann", "Archer", boss="000" if number else "") for number in range(40)]


def together(*works: Callable[[], T]) -> list[T | NotApplied]:
    """Do them at once, each in a thread of its own; a plan that was not applied is an answer too."""
    start = threading.Barrier(len(works))

    def one(work: Callable[[], T]) -> T | NotApplied:
        start.wait()
        try:
            return work()
        except NotApplied as refused:
            return refused

    rivals = [Rival(lambda work=work: one(work)) for work in works]  # type: ignore[misc]
    return [rival.join() for rival in rivals]


def of_feed(hr: HR) -> list[dict[str, Any]]:
    return [row for row in hr.office.jobs() if str(row["source"]).startswith("feed/")]


def each_once(hr: HR, run: Run, team: list[dict[str, str]]) -> None:
    """Everybody was taken by one run, with one job and a name of their own."""
    hr.rest()
    assert sorted(row["external_id"] for row in hr.office.rows("feed_person")) == [one["id"] for one in team]
    assert {row["run"] for row in hr.office.rows("feed_person")} == {run.id}
    jobs = [row for row in of_feed(hr) if row["kind"] == "onboard_user"]
    assert sorted(row["payload"]["external_id"] for row in jobs) == [one["id"] for one in team]
    assert {row["state"] for row in jobs} == {"succeeded"}
    assert sorted(row["external_id"] for row in hr.office.rows("users")) == [one["id"] for one in team]


def test_the_same_file_planned_and_applied_twice_at_once_is_taken_once(hr: HR) -> None:
    path = hr.write(TEAM)

    def push() -> Run:
        return hr.feeds.apply(hr.feeds.plan_file("hr", path, by="tester"))

    answers = together(push, push, push)
    won = [one for one in answers if isinstance(one, Run) and one.total]
    assert len({run.id for run in won}) == 1, answers
    for other in answers:  # came too late: its plan is stale, or it was made after the other one and is empty
        assert isinstance(other, NotApplied) or other.total == 0 or other.id == won[0].id
    each_once(hr, won[0], TEAM)


def test_of_two_plans_applied_at_once_one_is_stale(hr: HR) -> None:
    changed = [one | {"department": "Engineering"} for one in TEAM]
    plans = [hr.plan(TEAM, name="one.csv"), hr.plan(changed, name="two.csv")]
    answers = together(*(lambda plan=plan: hr.feeds.apply(plan) for plan in plans))
    [won] = [one for one in answers if isinstance(one, Run)]
    [lost] = [one for one in answers if isinstance(one, NotApplied)]
    assert "another plan was applied" in str(lost)
    assert {hr.feeds.find(plan.id).state for plan in plans} == {APPLIED, DROPPED}
    each_once(hr, won, TEAM)


def test_one_plan_applied_by_several_at_once_is_carried_once(hr: HR, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHUNK", "CHUNK_SQLITE"):
        monkeypatch.setattr(apply, name, 7)
    plan = hr.plan(TEAM)
    answers = together(*[lambda: hr.feeds.apply(plan)] * 3)
    assert [one.state for one in answers if isinstance(one, Run)] == [APPLIED] * 3
    each_once(hr, hr.feeds.find(plan.id), TEAM)


def test_two_carry_on_with_one_interrupted_plan(hr: HR, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHUNK", "CHUNK_SQLITE"):
        monkeypatch.setattr(apply, name, 7)
    plan = hr.plan(TEAM)
    with hr.office.scope() as scope:
        assert apply.decide(scope.conn, plan, scope.now).state == APPLYING
    together(hr.feeds.catch_up, hr.feeds.catch_up, hr.feeder.settle)
    run = hr.feeds.find(plan.id)
    assert (run.state, run.carried) == (APPLIED, len(TEAM))
    each_once(hr, run, TEAM)


def test_two_feeders_take_the_same_messages_once(declare: Callable[[str], HR]) -> None:
    hr = declare('[feeds.events]\nform = "messages"\nmode = "event"\n')
    messages = [(f"m{number}", f'{{"type": "onboard", "person": {{"external_id": "{number:03}", "first": "Ann", "last": "Archer"}}}}')
                for number in range(20)]  # fmt: skip
    with hr.office.scope() as scope:
        store(scope, "events", messages)
    feeders = [Feeder(hr.feeds), Feeder(hr.feeds)]
    together(*(feeder.take_messages for feeder in feeders))
    feeders[0].take_messages()  # who lost the race looks again in the next round
    hr.rest()
    assert {row["state"] for row in hr.office.rows("feed_message")} == {"taken"}
    jobs = [row["payload"]["external_id"] for row in of_feed(hr) if row["kind"] == "onboard_user"]
    assert sorted(jobs) == [f"{number:03}" for number in range(20)]
    assert len(hr.states()) == 20


def test_messages_of_a_plan_that_lost_the_race_are_planned_anew(declare: Callable[[str], HR]) -> None:
    hr = declare('[feeds.events]\nform = "messages"\nmode = "event"\n')

    def come(number: int) -> None:
        with hr.office.scope() as scope:
            text = f'{{"type": "onboard", "person": {{"external_id": "{number:03}", "first": "Ann", "last": "Archer"}}}}'
            store(scope, "events", [(f"m{number}", text)])

    come(1)
    quicker = hr.feeds.plan_messages("events", by="feeder")
    come(2)
    slower = hr.feeds.plan_messages("events", by="feeder")
    assert quicker
    assert slower
    hr.feeder._apply(quicker)
    hr.feeder._apply(slower)
    hr.feeder.take_messages()
    hr.rest()
    assert {row["state"] for row in hr.office.rows("feed_message")} == {"taken"}
    assert sorted(row["external_id"] for row in hr.office.rows("users")) == ["001", "002"]


def test_messages_whose_feeder_was_killed_before_applying_are_taken_by_the_next(declare: Callable[[str], HR]) -> None:
    hr = declare('[feeds.events]\nform = "messages"\nmode = "event"\n')
    with hr.office.scope() as scope:
        store(scope, "events", [("m1", '{"type": "onboard", "person": {"external_id": "001", "first": "Ann", "last": "Archer"}}')])
    assert hr.feeds.plan_messages("events", by="feeder")
    hr.feeder.take_messages()
    assert of_feed(hr) == [], "it may be another feeder that is just about to apply it"
    hr.office.later(minutes=3)
    hr.feeder.take_messages()
    hr.rest()
    assert {row["state"] for row in hr.office.rows("feed_message")} == {"taken"}
    assert hr.states() == {"ann.archer": "active"}


def test_approving_and_applying_at_once_ends_applied_or_approved(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED.replace("create = {}", "create = { count = 10 }"))
    plan = hr.plan(TEAM)
    assert plan.state == HELD
    approved, applied = together(lambda: hr.feeds.approve(plan, by="ann", reason="a new team"), lambda: hr.feeds.apply(plan))
    assert isinstance(approved, Run), approved
    if isinstance(applied, NotApplied):  # came before the approval, and was told so
        assert "is held" in str(applied)
        assert of_feed(hr) == []
        applied = hr.feeds.apply(hr.feeds.find(plan.id))
    assert {row["on_behalf_of"] for row in of_feed(hr)} == {"ann"}
    each_once(hr, applied, TEAM)


def test_dropping_and_applying_at_once_is_one_of_the_two(hr: HR) -> None:
    plan = hr.plan(TEAM)
    dropped, applied = together(lambda: hr.feeds.drop(plan, by="ann", reason="wrong file"), lambda: hr.feeds.apply(plan))
    state = hr.feeds.find(plan.id).state
    if isinstance(applied, Run):
        assert isinstance(dropped, NotApplied)
        assert state == APPLIED
        each_once(hr, applied, TEAM)
    else:
        assert state == DROPPED
        assert hr.office.rows("feed_person") == of_feed(hr) == []


def test_two_sources_that_want_the_same_names_in_crossing_order(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + DECLARED.replace("feeds.hr", "feeds.payroll"))
    names = [("Ann", "Archer"), ("Bob", "Brewer"), ("Cat", "Cooper"), ("Dan", "Dyer")] * 10
    paths = {}
    for source, ordered in (("hr", names), ("payroll", names[::-1])):
        people = [person(f"{source}{number:03}", *name) for number, name in enumerate(ordered)]
        paths[source] = hr.write(people, f"{source}.csv")
    plans = together(*(lambda source=source: hr.feeds.plan_file(source, paths[source], by="tester") for source in paths))
    together(*(lambda plan=plan: hr.feeds.apply(plan) for plan in plans))
    hr.rest()
    with hr.office.app.database.read() as conn:
        given = conn.execute(select(feed_person.c.source, feed_person.c.username)).all()
        reserved = list(conn.execute(select(feed_name.c.username)).scalars())
        assert {run.state for run in runs.latest(conn, limit=9)} == {APPLIED}
    assert len({row.username for row in given}) == len(given) == 80
    assert {row.username for row in given} <= set(reserved)
    assert sorted(hr.states()) == sorted(row.username for row in given)
    assert {row["state"] for row in of_feed(hr)} == {"succeeded"}
