"""The brakes: what changes too much is held, and one approval releases one plan, once, for a day."""

from collections.abc import Callable

import pytest
from hr import DECLARED, HEADER, HR, csv_text, person

from worker.feeds import brakes
from worker.feeds.apply import NotApplied
from worker.feeds.declaration import Brake

# As declared, but for creating: a first file may come in without a look.
BRAKED = DECLARED[: DECLARED.index("[feeds.hr.brakes]")] + "[feeds.hr.brakes]\ncreate = {}\nmails = {}\n"
MANY = [person(f"{number:03}", "Pat", f"Person{number}") for number in range(1, 41)]


@pytest.fixture
def braked(declare: Callable[[str], HR]) -> HR:
    hr = declare(BRAKED)
    hr.apply(MANY)
    return hr


def held_by(hr: HR, people: list[dict[str, str]]) -> list[str]:
    run = hr.plan(people)
    assert run.state == ("held" if run.brakes else "planned")
    return [brake["brake"] for brake in run.brakes]


def test_everybody_terminated_is_held_and_nobody_is_touched(braked: HR) -> None:
    run = braked.plan([one | {"status": "Gone"} for one in MANY])
    assert {brake["brake"] for brake in run.brakes} == {"disable", "delete"}
    assert run.brakes[0]["text"] == "40 people who lose their access; at most 5 of 40 people are let through without a look"
    jobs = len(braked.office.jobs())
    with pytest.raises(NotApplied, match="is held: 40 people who lose their access"):
        braked.feeds.apply(run)
    assert len(braked.office.jobs()) == jobs
    assert set(braked.states().values()) == {"active"}


def test_a_few_leavers_pass(braked: HR) -> None:
    assert held_by(braked, [*({**one, "status": "Gone"} for one in MANY[:5]), *MANY[5:]]) == []
    assert held_by(braked, [*({**one, "status": "Gone"} for one in MANY[:6]), *MANY[6:]]) == ["disable", "delete"]


def test_leavers_planned_for_later_count_as_well(braked: HR) -> None:
    assert held_by(braked, [one | {"end": "2026-09-30"} for one in MANY]) == ["disable", "delete"]


def test_a_changed_column_is_held(braked: HR) -> None:
    assert held_by(braked, [one | {"department": "Engineering"} for one in MANY]) == ["groups", "attributes"]


def test_a_shrunken_file_is_held_though_absence_alone_does_nothing_yet(braked: HR) -> None:
    run = braked.plan(MANY[:24])
    assert [brake["brake"] for brake in run.brakes] == ["shrunken"]
    assert run.brakes[0]["text"].startswith("24 records, the last full file had 40")


@pytest.mark.parametrize("content", ["", "\n\n", ",".join(HEADER) + "\n"], ids=["zero bytes", "blank lines", "header only"])
def test_an_empty_file_is_refused_and_cannot_be_approved(braked: HR, content: str) -> None:
    run = braked.plan(content)
    assert run.state == "refused"
    assert run.problem
    with pytest.raises(NotApplied, match="not held"):
        braked.feeds.approve(run, by="eve", reason="I insist")
    assert set(braked.states().values()) == {"active"}


def test_a_file_cut_at_60_percent_disables_nobody(braked: HR) -> None:
    text = csv_text(MANY)
    run = braked.plan(text[: len(text) * 6 // 10])
    assert run.state in ("held", "refused")
    assert "leaver" not in run.counts


def test_a_lost_column_refuses_the_file(braked: HR) -> None:
    run = braked.plan(csv_text(MANY, [name for name in HEADER if name != "status"]))
    assert run.state == "refused"
    assert run.problem is not None
    assert "status" in run.problem


def test_an_approval_releases_this_plan_and_is_on_record(braked: HR) -> None:
    leaving = [one | {"status": "Gone"} for one in MANY]
    run, other = braked.plan(leaving), braked.plan(leaving[:39] + MANY[39:])
    approved = braked.feeds.approve(run, by="olga", reason="the company is closed")
    assert (approved.state, approved.approved_by, approved.approved_reason) == ("approved", "olga", "the company is closed")
    with pytest.raises(NotApplied, match="held"):
        braked.feeds.apply(other)
    braked.carry(approved)
    assert set(braked.states().values()) == {"closed"}
    left = next(row for row in braked.office.jobs("offboard_user"))
    assert left["on_behalf_of"] == "olga"
    assert "the company is closed" in left["why"]


def test_an_approval_ends_after_a_day(braked: HR) -> None:
    run = braked.feeds.approve(braked.plan([one | {"status": "Gone"} for one in MANY]), by="olga", reason="closed")
    braked.office.later(hours=25)
    with pytest.raises(NotApplied, match=r"approval .* ended"):
        braked.feeds.apply(run)


def test_an_approved_plan_whose_people_changed_is_stale(braked: HR) -> None:
    run = braked.feeds.approve(braked.plan([one | {"status": "Gone"} for one in MANY]), by="olga", reason="closed")
    braked.apply([MANY[0] | {"last": "Married"}, *MANY[1:]])
    with pytest.raises(NotApplied, match="another plan was applied"):
        braked.feeds.apply(braked.feeds.find(run.id))


def test_approving_what_is_stale_is_refused(braked: HR) -> None:
    run = braked.plan([one | {"status": "Gone"} for one in MANY])
    braked.apply([MANY[0] | {"last": "Married"}, *MANY[1:]])
    with pytest.raises(NotApplied):
        braked.feeds.approve(braked.feeds.find(run.id), by="olga", reason="late")


def test_mails_have_a_brake_of_their_own(declare: Callable[[str], HR]) -> None:
    hr = declare(BRAKED.replace("mails = {}", "mails = { count = 10 }"))
    run = hr.plan(MANY)
    assert [brake["brake"] for brake in run.brakes] == ["mails"]
    assert run.brakes[0]["count"] == 40


def test_a_held_plan_can_be_put_aside(braked: HR) -> None:
    run = braked.feeds.drop(braked.plan([one | {"status": "Gone"} for one in MANY]), by="olga", reason="wrong file")
    assert (run.state, run.problem) == ("dropped", "put aside by olga: wrong file")
    with pytest.raises(NotApplied):
        braked.feeds.approve(run, by="olga", reason="after all")


@pytest.mark.parametrize(
    ("brake", "people", "limit"),
    [
        (Brake(percent=2, floor=5), 10, 5), (Brake(percent=2, floor=5), 1_000, 20), (Brake(percent=2, floor=5, count=10), 1_000, 10),
        (Brake(count=3), 10**6, 3), (Brake(), 10, None), (Brake(percent=0, floor=0), 100, 0),
    ],
)  # fmt: skip
def test_percent_floor_and_count(brake: Brake, people: int, limit: int | None) -> None:
    assert brakes.allowed(brake, people) == limit


def test_a_day_of_messages_has_one_budget(declare: Callable[[str], HR]) -> None:
    hr = declare("""
[feeds.events]
form = "messages"
mode = "event"
usernames = ["{first}.{last}"]
[feeds.events.columns]
external_id = "id"
first = "first"
last = "last"
status = "status"
[feeds.events.status]
Active = "active"
Gone = "terminated"
[feeds.events.brakes]
create = {}
mails = {}
disable = { count = 2 }
delete = {}
""")

    def say(number: int, status: str) -> None:
        hr.tell({"type": "person.changed", "person": {"id": f"{number}", "first": "Pat", "last": f"P{number}", "status": status}})

    for number in range(1, 6):
        say(number, "Active")
    for number in (1, 2, 3):
        say(number, "Gone")
        hr.office.later(hours=1)
    assert sorted(hr.states().values()) == ["active"] * 3 + ["closed"] * 2
    [held] = [run for run in hr.office.rows("feed_run") if run["state"] == "held"]
    assert held["brakes"][0]["count"] == 3
    hr.office.later(hours=24)
    say(6, "Active")  # the next message is a reason to look again, and the day is over
    hr.feeder.take_messages()
    hr.rest()
    assert sorted(hr.states().values()) == ["active"] * 3 + ["closed"] * 3


def test_a_team_of_four_does_not_lose_more_than_half(declare: Callable[[str], HR]) -> None:
    hr = declare(BRAKED)
    hr.apply(MANY[:4])
    assert held_by(hr, [one | {"status": "Gone"} for one in MANY[:2]] + MANY[2:4]) == []
    assert held_by(hr, [one | {"status": "Gone"} for one in MANY[:3]] + MANY[3:4]) == ["disable", "delete"]
