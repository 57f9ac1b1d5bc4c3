"""Several sources: each keeps to its own people and to the fields on which it has the say; an empty cell means what is declared."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hr import DECLARED, HEADER, HR, csv_text, person

from worker.feeds.apply import NotApplied

ANN = person("001", "Ann", "Archer")
BOB = person("002", "Bob", "Brewer")

ACME = DECLARED.replace("feeds.hr", "feeds.acme").replace('mode = "full"', 'mode = "full"\nid_prefix = "acme-"')

# A badge system knows people by the same ids and by their addresses; it has no status, and absence says nothing.
BADGE = """
[feeds.badge]
form = "csv"
mode = "delta"
correlate = ["external_id", "email"]
[feeds.badge.columns]
external_id = "id"
email = "email"
"attributes.badge" = "badge"
"attributes.phone" = "phone"
"attributes.department" = "unit"
[feeds.badge.brakes]
create = { count = 0 }
mails = {}
[authority]
"attributes.phone" = ["badge", "hr"]
"attributes.department" = ["hr"]
"""
HR_WITH_PHONE = DECLARED.replace('reason = "reason"', '"attributes.phone" = "reason"')


def attributes(hr: HR, username: str) -> Mapping[str, Any]:
    user = hr.office.user(username)
    assert user
    return user.attributes


def badge(external_id: str, username: str, **cells: str) -> dict[str, str]:
    return {"id": external_id, "email": f"{username}@example.com", **cells}


def badges(*people: Mapping[str, str]) -> str:
    return csv_text(people, ("id", "email", "badge", "phone", "unit"))


# -------------------------------------------------------------------------------------------------- own people


def test_a_full_file_touches_nobody_of_another_source(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + ACME)
    hr.apply([ANN, BOB])
    run = hr.apply([person("001", "Zoe", "Zimmer"), person("003", "Yan", "York")], "acme")
    assert run.counts == {"joiner": 2, "unchanged": 0}, "001 of acme is another 001"
    everybody = {"ann.archer", "bob.brewer", "zoe.zimmer", "yan.york"}
    for _ in range(5):
        hr.office.later(days=1)
        hr.apply([person("003", "Yan", "York")], "acme")
    assert hr.states() == {name: "closed" if name == "zoe.zimmer" else "active" for name in everybody}
    assert {row["external_id"]: row["absent_runs"] for row in hr.office.rows("feed_person", source="hr")} == {"001": 0, "002": 0}
    hr.apply([person("003", "Yan", "York", status="Gone")], "acme")
    assert {hr.states()[name] for name in ("ann.archer", "bob.brewer")} == {"active"}


def test_a_prefix_keeps_the_ids_of_two_sources_apart(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + ACME)
    hr.apply([ANN, BOB | {"boss": "001"}])
    hr.apply([person("001", "Zoe", "Zimmer"), person("002", "Yan", "York", boss="001")], "acme")
    users = {row["username"]: row for row in hr.office.rows("users")}
    assert {name: row["external_id"] for name, row in users.items()} == {
        "ann.archer": "001", "bob.brewer": "002", "zoe.zimmer": "acme-001", "yan.york": "acme-002",
    }  # fmt: skip
    assert users["bob.brewer"]["manager"] == users["ann.archer"]["id"]
    assert users["yan.york"]["manager"] == users["zoe.zimmer"]["id"]


def test_without_a_prefix_the_same_id_in_two_sources_is_a_question_and_not_one_account(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED + ACME.replace('id_prefix = "acme-"', ""))
    hr.apply([ANN])
    run = hr.apply([person("001", "Zoe", "Zimmer", status="Gone"), person("009", "Yan", "York")], "acme")
    assert {line["external_id"]: (line["action"], line["code"]) for line in hr.lines(run)} == {
        "001": ("case", "owned_by_another"), "009": ("joiner", None)
    }
    ann = hr.office.user("ann.archer")
    assert ann
    assert (ann.name, ann.is_active) == ("Ann Archer", True)


def test_one_person_in_two_sources_keeps_the_groups_that_each_gives(declare: Callable[[str], HR]) -> None:
    clinic = ACME.replace('id_prefix = "acme-"', 'correlate = ["external_id", "email"]').replace('groups = ["staff"]', 'groups = ["engineering"]')
    hr = declare(DECLARED + clinic.replace('reason = "reason"', 'email = "reason"'))
    hr.apply([ANN])
    hr.apply([ANN | {"reason": "ann.archer@example.com", "department": ""}], "acme")
    assert hr.states() == {"ann.archer": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales", "engineering"}


# --------------------------------------------------------------------------------------------------- authority


@pytest.fixture
def both(declare: Callable[[str], HR]) -> HR:
    """HR's people, whose phones the badge system knows better."""
    hr = declare(HR_WITH_PHONE + BADGE)
    hr.apply([ANN | {"reason": "1"}, BOB | {"reason": "2"}])
    run = hr.apply(badges(badge("001", "ann.archer", badge="B7", phone="77", unit="Engineering")), "badge")
    assert [line["text"] for line in hr.lines(run)] == ["takes over the account ann.archer; found by external_id"]
    return hr


def test_whoever_comes_first_has_the_say_on_a_field(both: HR) -> None:
    assert attributes(both, "ann.archer") == {"department": "Sales", "phone": "77", "badge": "B7"}
    run = both.apply([ANN | {"reason": "5", "last": "Abbott"}, BOB | {"reason": "6"}])
    changes = {line["external_id"]: line["changes"] for line in both.lines(run)}
    assert changes == {"001": {"name": ["Ann Archer", "Ann Abbott"]}, "002": {"attributes.phone": ["2", "6"]}}
    assert attributes(both, "ann.archer")["phone"] == "77"
    assert attributes(both, "bob.brewer")["phone"] == "6", "of him the badge system says nothing"


def test_who_has_no_say_never_writes_a_field(both: HR) -> None:
    both.apply(badges(badge("001", "ann.archer", badge="B8", phone="78", unit="Marketing")), "badge")
    assert attributes(both, "ann.archer") == {"department": "Sales", "phone": "78", "badge": "B8"}
    assert both.groups("ann.archer") == {"staff", "sales"}


def test_a_second_source_opens_nobody_whom_the_first_one_let_go(both: HR) -> None:
    both.apply([ANN | {"reason": "1", "status": "Gone"}, BOB | {"reason": "2"}])
    assert both.states()["ann.archer"] == "closed"
    both.apply(badges(badge("001", "ann.archer", badge="B9")), "badge")
    assert both.states()["ann.archer"] == "closed"


def test_a_source_that_may_not_create_is_held_when_it_would(both: HR) -> None:
    run = both.plan(badges(badge("009", "nobody", badge="B1"), badge("002", "bob.brewer", badge="B2")), "badge")
    assert [(brake["brake"], brake["count"]) for brake in run.brakes] == [("create", 1)]
    with pytest.raises(NotApplied, match="is held"):
        both.feeds.apply(run)
    both.apply(badges(badge("002", "bob.brewer", badge="B2")), "badge")
    assert attributes(both, "bob.brewer")["badge"] == "B2"
    assert set(both.states()) == {"ann.archer", "bob.brewer"}


def test_a_column_for_newcomers_alone_never_overwrites(declare: Callable[[str], HR]) -> None:
    hr = declare(DECLARED.replace('"attributes.department" = "department"',
                                  '"attributes.department" = { column = "department", authority = "create" }'))  # fmt: skip
    hr.apply([ANN])
    assert attributes(hr, "ann.archer")["department"] == "Sales"
    hr.office.do("update_user", {"user": "ann.archer", "attributes": {"department": "by hand"}})
    hr.apply([ANN | {"department": "Engineering", "last": "Abbott"}])
    ann = hr.office.user("ann.archer")
    assert ann
    assert (ann.name, ann.attributes["department"]) == ("Ann Abbott", "by hand")


# ------------------------------------------------------------------------------------------------- empty cells


def emptied(declare: Callable[[str], HR], column: str, cell: str = "", **more: str) -> HR:
    hr = declare(DECLARED.replace('"attributes.department" = "department"', f'"attributes.department" = {column}', 1))
    hr.apply([ANN, BOB])
    hr.apply([ANN | {"department": cell, **more}, BOB])
    return hr


def test_an_emptied_cell_changes_nothing_unless_it_is_declared(declare_sqlite: Callable[[str], HR]) -> None:
    hr = emptied(declare_sqlite, '"department"', last="Abbott")
    assert attributes(hr, "ann.archer") == {"department": "Sales"}
    assert hr.groups("ann.archer") == {"staff", "sales"}


def test_an_emptied_cell_that_clears_takes_what_hung_on_it(declare: Callable[[str], HR]) -> None:
    hr = emptied(declare, '{ column = "department", empty = "clear" }')
    assert attributes(hr, "ann.archer").get("department") is None
    assert hr.groups("ann.archer") == {"staff"}
    assert attributes(hr, "bob.brewer") == {"department": "Sales"}


def test_the_clear_word_always_clears(declare_sqlite: Callable[[str], HR]) -> None:
    hr = emptied(declare_sqlite, '"department"', "<clear>")
    assert attributes(hr, "ann.archer").get("department") is None
    assert hr.groups("ann.archer") == {"staff"}


def test_a_last_day_that_is_emptied_is_taken_back(hr_sqlite: HR) -> None:
    hr_sqlite.apply([ANN | {"end": "2026-03-09"}])
    hr_sqlite.apply([ANN])
    hr_sqlite.turn(days=30)
    assert hr_sqlite.states() == {"ann.archer": "active"}


def test_a_manager_that_is_emptied_stays_and_one_that_is_cleared_goes(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply([ANN, BOB | {"boss": "001"}])
    hr.apply([ANN, BOB | {"boss": ""}])
    bob, ann = hr.office.user("bob.brewer"), hr.office.user("ann.archer")
    assert bob
    assert ann
    assert bob.manager == ann.id
    hr.apply([ANN, BOB | {"boss": "<clear>"}])
    bob = hr.office.user("bob.brewer")
    assert bob
    assert bob.manager is None


def test_columns_that_are_not_mapped_change_nobody(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    header = [*HEADER, "Shoe size"]
    hr.apply(csv_text([ANN, BOB], header))
    run = hr.plan(csv_text([ANN | {"Shoe size": "39"}, BOB], header))
    assert [line["jobs"] for line in hr.lines(run) if line["jobs"]] == []
    hr.carry(run)
    assert hr.plan(csv_text([ANN | {"Shoe size": "39"}, BOB], header)).counts == {"unchanged": 2}


def test_a_source_that_creates_nobody_adds_to_those_who_are_here_and_looks_again(declare: Callable[[str], HR]) -> None:
    hr = declare(HR_WITH_PHONE + BADGE.replace('mode = "delta"', 'mode = "delta"\ncreates = false'))
    hr.apply([ANN])
    run = hr.apply(badges(badge("001", "ann.archer", badge="B-1"), badge("002", "bob.brewer", badge="B-2")), "badge")
    assert {line["external_id"]: (line["action"], line["code"]) for line in hr.lines(run)} == {
        "001": ("joiner", None), "002": ("noted", "not_here"),
    }  # fmt: skip
    assert hr.states() == {"ann.archer": "active"}
    hr.turn(hours=1)
    assert len(hr.office.rows("feed_run")) == 2, "whoever is not here is not planned again and again"
    hr.apply([ANN, BOB])
    hr.turn(days=1)
    assert attributes(hr, "bob.brewer")["badge"] == "B-2"
