"""Whose account it is: one for each person, never two for one, never one for two, and where it is not certain a question."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hr import DECLARED, HR, person
from rivals import Rival

from worker.feeds import cases
from worker.feeds.cases import CannotDecide, Case
from worker.feeds.runs import Run

ANN = person("001", "Ann", "Archer")
BOB = person("002", "Bob", "Brewer")
CAT = person("003", "Cat", "Cooper")
WITH_EMAIL = DECLARED.replace('email = "{username}@example.com"', 'correlate = ["external_id", "email"]').replace(
    'reason = "reason"', 'email = "reason"'
)


def found(hr: HR, run: Run) -> dict[str, tuple[str, str | None]]:
    return {line["external_id"]: (line["action"], line["code"]) for line in hr.lines(run)}


def by_hand(hr: HR, username: str, **fields: Any) -> None:
    ended = hr.office.do("create_user", {"username": username, **fields}, source="console")
    assert ended.state == "succeeded", ended


def open_cases(hr: HR) -> dict[str, Case]:
    with hr.office.app.database.read() as conn:
        return {one.external_id: one for one in cases.list_cases(conn)}


def decide(hr: HR, external_id: str, decision: str, account: str | None = None) -> None:
    with hr.office.scope() as scope:
        cases.decide(scope, open_cases(hr)[external_id].id, decision, account, by="olga", reason="asked HR")


# ------------------------------------------------------------------------------------------------------- keys


def test_a_lost_leading_zero_warns_and_never_touches_the_one_it_resembles(hr: HR) -> None:
    hr.apply([ANN, BOB])
    run = hr.plan([BOB, person("1", "Ann", "Archer", department="Engineering")])
    [line] = hr.lines(run, "warning")
    assert (line["external_id"], line["code"]) == ("1", "near_miss_id")
    assert "The id 1 is unknown, 001 is known: have leading zeros been lost?" in line["text"]
    hr.carry(run)
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active", "ann.archer2": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales"}, "the first one is another person"
    assert hr.groups("ann.archer2") == {"staff"}


def test_one_id_on_two_people_refuses_both_naming_each_other_and_touches_neither(hr: HR) -> None:
    hr.apply([ANN, BOB])
    other = person("001", "Andy", "Able", department="Engineering")
    run = hr.apply([CAT, ANN | {"status": "Gone"}, BOB | {"last": "Barber"}, other])
    lines = {line["place"]: line for line in hr.lines(run, "refused")}
    assert {place: (line["external_id"], line["code"]) for place, line in lines.items()} == {
        3: ("001", "duplicate_id"), 5: ("001", "duplicate_id")
    }
    assert "stands on line 5 too" in lines[3]["text"]
    assert "stands on line 3 too" in lines[5]["text"]
    assert "Andy" in lines[5]["raw"]
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active", "cat.cooper": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    bob = hr.office.user("bob.brewer")
    assert bob
    assert bob.name == "Bob Barber", "the rest is carried out"
    [ann] = hr.office.rows("feed_person", external_id="001")
    assert ann["absent_runs"] == 0, "somebody refused is not missing"


def test_one_id_in_two_normal_forms_is_one_id(hr_sqlite: HR) -> None:
    run = hr_sqlite.apply([person("\u00c41", "Ann", "Archer"), person("A\u03081", "Bob", "Brewer"), CAT])
    assert [line["code"] for line in hr_sqlite.lines(run, "refused")] == ["duplicate_id"] * 2
    assert hr_sqlite.states() == {"cat.cooper": "active"}


def test_an_id_in_other_case_is_another_id(hr_sqlite: HR) -> None:
    run = hr_sqlite.apply([person("a1", "Ann", "Archer"), person("A1", "Bob", "Brewer")])
    assert run.counts["joiner"] == 2
    assert {row["external_id"] for row in hr_sqlite.office.rows("users")} == {"a1", "A1"}


def test_the_same_row_twice_is_once(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    run = hr.apply([ANN, BOB, ANN])
    assert run.counts == {"joiner": 2, "unchanged": 0}
    assert hr.plan([ANN, BOB, ANN, BOB]).counts == {"unchanged": 2}


# ------------------------------------------------------------------------------------------------- same names


def test_two_people_of_one_name_in_one_file_get_two_names(hr: HR) -> None:
    johns = [person(f"10{number}", "John", "Smith") for number in range(4)]
    hr.apply(johns)
    assert set(hr.states()) == {"john.smith", "john.smith2", "john.smith3", "john.smith4"}
    assert len({row["email"] for row in hr.office.rows("users")}) == 4
    assert hr.plan(johns).counts == {"unchanged": 4}


TWO_SOURCES = DECLARED + DECLARED.replace("feeds.hr", "feeds.acme").replace('mode = "full"', 'mode = "full"\nid_prefix = "acme-"')


def test_people_of_one_name_from_two_sources_at_once_get_names_of_their_own(declare: Callable[[str], HR]) -> None:
    hr = declare(TWO_SOURCES)
    people = [person(f"{number:03}", "John", "Smith") for number in range(20)]
    paths = {source: hr.write(people, f"{source}.csv") for source in ("hr", "acme")}
    ready = threading.Barrier(2)

    def work(source: str) -> Run:
        ready.wait(30)
        return hr.feeds.apply(hr.feeds.plan_file(source, paths[source], by=source))

    both = [Rival(partial(work, source)) for source in paths]
    assert {run.join().state for run in both} <= {"applied", "applying"}
    hr.rest()
    assert hr.states() == {f"john.smith{number or ''}": "active" for number in (0, *range(2, 41))}
    assert {job["state"] for job in hr.office.jobs("onboard_user")} == {"succeeded"}
    for source, path in paths.items():
        assert hr.feeds.plan_file(source, path, by=source).counts == {"unchanged": 20}


def test_two_sources_planned_at_once_never_make_one_account_of_two_people(declare: Callable[[str], HR]) -> None:
    hr = declare(TWO_SOURCES.replace('id_prefix = "acme-"', ""))
    one = hr.plan([ANN])
    other = hr.plan([person("001", "Zoe", "Zimmer", department="Engineering")], "acme", name="acme.csv")
    hr.carry(one)
    hr.carry(other)
    ann = hr.office.user("ann.archer")
    assert ann
    assert (ann.name, hr.groups("ann.archer")) == ("Ann Archer", {"staff", "sales"})
    assert found(hr, hr.apply([person("001", "Zoe", "Zimmer")], "acme")) == {"001": ("case", "owned_by_another")}


# ------------------------------------------------------------------------------------------ whose account it is


def test_an_account_with_the_same_external_id_is_the_persons(hr: HR) -> None:
    by_hand(hr, "aa", external_id="001", name="A. Archer")
    run = hr.plan([ANN])
    [line] = hr.lines(run)
    assert (line["action"], line["text"]) == ("joiner", "takes over the account aa; found by external_id")
    hr.carry(run)
    aa = hr.office.user("aa")
    assert aa
    assert (aa.name, hr.states(), hr.groups("aa")) == ("Ann Archer", {"aa": "active"}, {"staff", "sales"})


def test_an_account_with_the_same_address_is_found_next(declare: Callable[[str], HR]) -> None:
    hr = declare(WITH_EMAIL)
    by_hand(hr, "aa", email="ann@example.com")
    hr.apply([ANN | {"reason": "Ann@Example.com"}, BOB])
    aa = hr.office.user("aa")
    assert aa
    assert aa.external_id == "001"
    assert hr.states() == {"aa": "active", "bob.brewer": "active"}


def test_without_the_declared_key_an_address_alone_says_nothing(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(WITH_EMAIL.replace('correlate = ["external_id", "email"]', 'correlate = ["external_id"]'))
    by_hand(hr, "aa", email="ann@example.com")
    hr.apply([ANN | {"reason": "ann@example.com"}])
    aa = hr.office.user("aa")
    assert aa
    assert aa.external_id is None


AMBIGUOUS = [ANN | {"reason": "shared@example.com"}, BOB]


@pytest.fixture
def shared(declare: Callable[[str], HR]) -> HR:
    """Two accounts share the address that Ann's record holds; Bob is carried through all the same."""
    hr = declare(WITH_EMAIL)
    for name in ("aa", "ab"):
        by_hand(hr, name, email="shared@example.com")
    run = hr.apply(AMBIGUOUS)
    assert found(hr, run) == {"001": ("case", "ambiguous_match"), "002": ("joiner", None)}
    assert hr.states() == {"aa": "active", "ab": "active", "bob.brewer": "active"}
    case = open_cases(hr)["001"]
    assert [one["username"] for one in case.candidates] == ["aa", "ab"]
    assert case.label == "Ann Archer"
    assert found(hr, hr.apply(AMBIGUOUS)) == {"001": ("case", "ambiguous_match")}, "asked again, but one case"
    assert list(open_cases(hr)) == ["001"]
    return hr


def test_a_link_gives_the_account_with_the_next_file(shared: HR) -> None:
    decide(shared, "001", "link", "ab")
    run = shared.apply(AMBIGUOUS)
    assert [line["text"] for line in shared.lines(run)] == ["takes over the account ab; found by decision"]
    ab = shared.office.user("ab")
    assert ab
    assert ab.external_id == "001"
    assert shared.plan(AMBIGUOUS).counts == {"unchanged": 2}


def test_none_of_them_makes_a_new_account(shared: HR) -> None:
    decide(shared, "001", "new")
    assert found(shared, shared.apply(AMBIGUOUS)) == {"001": ("joiner", None)}
    assert shared.states()["ann.archer"] == "active"
    assert {shared.groups(name) == set() for name in ("aa", "ab")} == {True}


def test_whom_somebody_ignores_nothing_is_done_about(shared: HR) -> None:
    decide(shared, "001", "ignore")
    assert found(shared, shared.apply(AMBIGUOUS)) == {"001": ("noted", "ignored")}
    assert set(shared.states()) == {"aa", "ab", "bob.brewer"}
    assert open_cases(shared) == {}


def test_an_account_of_another_person_cannot_be_given_away(shared: HR) -> None:
    with pytest.raises(CannotDecide, match=r"bob\.brewer already belongs to another person of hr, with the id 002"):
        decide(shared, "001", "link", "bob.brewer")


def test_who_was_closed_by_hand_comes_back_only_when_somebody_says_so(hr: HR) -> None:
    hr.apply([ANN, BOB])
    hr.apply([ANN | {"status": "Leave"}, BOB])
    hr.office.do("lock_user", {"user": "ann.archer", "owner": "security", "reason": "phished"})
    assert found(hr, hr.apply([ANN, BOB])) == {"001": ("case", "disabled_by_hand")}
    assert hr.plan([ANN, BOB]).counts == {"unchanged": 2}, "asked once"
    assert hr.states()["ann.archer"] == "closed"
    hr.office.do("unlock_user", {"user": "ann.archer", "reason": "over"})
    decide(hr, "001", "enable")
    assert found(hr, hr.apply([ANN, BOB])) == {"001": ("return", None)}
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}


def test_a_deactivated_account_that_was_there_is_not_opened_unasked(hr: HR) -> None:
    by_hand(hr, "aa", external_id="001", is_active=False)
    assert found(hr, hr.apply([ANN])) == {"001": ("case", "disabled_by_hand")}
    assert hr.states() == {"aa": "closed"}
    decide(hr, "001", "enable")
    hr.apply([ANN])
    assert hr.states() == {"aa": "active"}


# ----------------------------------------------------------------------------------------- accounts by hand


def test_an_account_made_by_hand_is_never_taken_for_its_name(hr: HR) -> None:
    by_hand(hr, "ann.archer", email="another@example.org")
    hr.apply([ANN])
    hand = hr.office.user("ann.archer")
    assert hand
    assert (hand.external_id, hr.groups("ann.archer")) == (None, set())
    assert hr.states() == {"ann.archer": "active", "ann.archer2": "active"}


def test_an_account_made_by_hand_between_plan_and_job_is_not_taken_over_either(hr: HR) -> None:
    run = hr.plan([ANN, BOB])
    by_hand(hr, "ann.archer", email="another@example.org")
    hr.carry(run)
    hand = hr.office.user("ann.archer")
    assert hand
    assert (hand.external_id, hand.email, hr.groups("ann.archer")) == (None, "another@example.org", set())
    assert hr.states()["bob.brewer"] == "active"
    hr.apply([ANN, BOB])
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active", "ann.archer2": "active"}
    mine = hr.office.user("ann.archer2")
    assert mine
    assert mine.external_id == "001"


def test_one_made_by_hand_after_the_plan_was_applied_is_told_that_the_name_is_taken(hr: HR) -> None:
    hr.feeds.apply(hr.plan([ANN, BOB]))
    job = hr.office.submit("create_user", {"username": "ann.archer"}, urgent=True, source="console")
    hr.rest()
    assert (hr.office.ended(job).state, hr.office.ended(job).reason) == ("rejected", "username_taken")
    assert {row["username"]: row["external_id"] for row in hr.office.rows("users")} == {"ann.archer": "001", "bob.brewer": "002"}


def test_an_address_alone_hands_nobody_an_administrators_account(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED.replace('form = "csv"', 'form = "csv"\ncorrelate = ["external_id", "email"]', 1).replace(
        'reason = "reason"', 'email = "reason"'))
    hr.office.do("create_group", {"group": "administrators"})
    hr.office.do("create_user", {"username": "root", "email": "root@example.com", "groups": ["administrators"]})
    hr.office.do("create_user", {"username": "ben", "email": "ben@example.com"})
    run = hr.apply([person("001", "Ann", "Archer", reason="root@example.com"), person("002", "Ben", "Bell", reason="ben@example.com")])
    assert {line["external_id"]: (line["action"], line["code"]) for line in hr.lines(run)} == {
        "001": ("case", "administrator"), "002": ("joiner", None),
    }  # fmt: skip
    root, ben = hr.office.user("root"), hr.office.user("ben")
    assert root
    assert ben
    assert (root.external_id, root.name, ben.external_id) == (None, "", "002")
