"""Birthright groups: for whom a rule is, and what its groups are called."""

from typing import Any

import pytest

from worker.feeds.declaration import Feed
from worker.feeds.rules import birthright


def feed(*rules: dict[str, Any]) -> Feed:
    return Feed.model_validate({"name": "hr", "mode": "full", "columns": {"external_id": "id"}, "groups": list(rules)})


SALES = {"rule": "sales", "when": {"attributes.department": ["Sales", "Presales"]}, "groups": ["sales", "crm"]}


def test_a_rule_is_for_whoever_has_one_of_the_values_in_every_field() -> None:
    both = {"rule": "chiefs", "when": {"attributes.department": ["Sales"], "type": ["internal"]}, "groups": ["chiefs"]}
    assert birthright(feed(both), {"attributes.department": "Sales", "type": "internal"}, "active") == {"chiefs": "chiefs"}
    assert birthright(feed(both), {"attributes.department": "Sales", "type": "external"}, "active") == {}
    assert birthright(feed(both), {"attributes.department": "Sales"}, "active") == {}
    assert birthright(feed(SALES), {"attributes.department": "Presales"}, "active") == {"sales": "sales", "crm": "sales"}
    assert birthright(feed({"rule": "all", "groups": ["staff"]}), {}, "active") == {"staff": "all"}


@pytest.mark.parametrize("department", ["sales", "SALES", "Sales ", "Sal", "", None])
def test_values_count_exactly_as_they_are_written(department: str | None) -> None:
    assert birthright(feed(SALES), {"attributes.department": department}, "active") == {}


def test_a_star_stands_for_anything_but_nothing() -> None:
    rule = {"rule": "placed", "when": {"attributes.office": ["*"]}, "groups": ["visitors"]}
    assert birthright(feed(rule), {"attributes.office": "B2"}, "active") == {"visitors": "placed"}
    for missing in ({"attributes.office": None}, {"attributes.office": ""}, {}):
        assert birthright(feed(rule), missing, "active") == {}


def test_of_a_list_any_one_value_counts() -> None:
    rule = {"rule": "keys", "when": {"groups": ["guards", "cleaners"]}, "groups": ["keyholders"]}
    found = birthright(feed(rule), {"groups": ["drivers", "guards"]}, "active")
    assert found == {"keyholders": "keys", "drivers": "column", "guards": "column"}
    assert "keyholders" not in birthright(feed(rule), {"groups": ["drivers"]}, "active")


def test_the_name_of_a_group_may_hold_what_is_said_of_the_person() -> None:
    rule = {"rule": "places", "groups": ["staff", "dept-{attributes.department}", "{attributes.country}-{type}"]}
    said = {"attributes.department": "R&D", "attributes.country": "DE", "type": "internal"}
    assert birthright(feed(rule), said, "active") == {"staff": "places", "dept-R&D": "places", "DE-internal": "places"}
    assert birthright(feed(rule), {**said, "attributes.country": None}, "active") == {"staff": "places", "dept-R&D": "places"}


def test_of_two_rules_the_first_one_is_named_and_a_column_comes_last() -> None:
    rules = ({"rule": "one", "groups": ["staff"]}, {"rule": "two", "groups": ["staff", "club"]})
    assert birthright(feed(*rules), {"groups": ["club", "choir"]}, "active") == {
        "staff": "one", "club": "two", "choir": "column",
    }  # fmt: skip


def test_who_is_about_to_start_and_who_is_on_leave_has_groups_and_others_have_none() -> None:
    rule = {"rule": "all", "groups": ["staff"]}
    having = {phase for phase in ("none", "prehire", "active", "leave", "left") if birthright(feed(rule), {}, phase)}
    assert having == {"prehire", "active", "leave"}
