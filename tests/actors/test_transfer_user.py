"""transfer_user: moving in one step, groups by who gave them."""

from typing import Any

import pytest
from office import Office


def groups_of(office: Office, username: str) -> dict[str, str]:
    user = office.user(username)
    assert user is not None
    names = {row["id"]: row["name"] for row in office.rows("groups")}
    return {names[row["group_id"]]: row["origin"] for row in office.rows("membership", user_id=user.id)}


def test_all_of_it_happens_in_one_step(office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "sales"})
    ended = office.do(
        "transfer_user",
        {"user": "ann", "path": "users/sales", "attributes": {"department": "sales"}, "manager": {"username": "carol"},
         "groups_add": ["sales"], "groups_remove": ["staff"], "origin": "manual", "notify_manager": True},
    )  # fmt: skip
    ann, carol = office.user("ann"), office.user("carol")
    assert ann is not None
    assert carol is not None
    assert ended.result == {
        "changed": True, "user": ann.id, "version": ann.version, "fields": ["attributes", "manager", "path"],
        "groups_added": ["sales"], "groups_removed": ["staff"],
    }  # fmt: skip
    assert (ann.path, ann.attributes, ann.manager) == ("users/sales", {"department": "sales"}, carol.id)
    assert groups_of(office, "ann") == {"sales": "manual"}
    assert [e["action"] for e in office.events("ann")][-4:] == [
        "user.updated", "membership.removed", "membership.added", "user.transferred",
    ]  # fmt: skip
    [notice] = office.jobs("send_manager_notice")
    assert notice["payload"]["change"] == "moves"


@pytest.mark.parametrize(
    ("given", "taken", "left"),
    [
        ("rule", "rule", {}),
        ("rule", "feed", {"sales": "rule"}),
        ("feed", "rule", {"sales": "feed"}),
        ("manual", "rule", {"sales": "manual"}),
        ("manual", "feed", {"sales": "manual"}),
        ("feed", "manual", {}),
        ("rule", "manual", {}),
    ],
)
def test_a_rule_removes_only_what_rules_added(office: Office, given: str, taken: str, left: dict[str, Any]) -> None:
    office.do("create_group", {"group": "sales"})
    office.do("create_user", {"username": "dora"})
    office.do("add_to_group", {"user": "dora", "group": "sales", "origin": given})
    ended = office.do("transfer_user", {"user": "dora", "groups_remove": ["sales"], "origin": taken})
    assert ended.result["groups_removed"] == ([] if left else ["sales"])
    assert ended.result["changed"] is not bool(left)
    assert groups_of(office, "dora") == left


def test_refusals_change_nothing(office: Office) -> None:
    office.world()
    for fields, reason in (
        ({"user": "bob", "groups_remove": ["administrators"], "origin": "manual", "path": "x"}, "last_administrator"),
        ({"user": "bob", "manager": "nobody", "path": "x", "groups_add": ["staff"]}, "unknown_manager"),
        ({"user": "bob", "groups_add": ["ghosts"], "patience": 0, "path": "x"}, "unknown_group"),
        ({"user": "nobody", "path": "x"}, "unknown_user"),
    ):
        before = office.user("bob"), groups_of(office, "bob"), office.events("bob")
        ended = office.do("transfer_user", fields)
        assert (ended.state, ended.reason) == ("rejected", reason)
        assert (office.user("bob"), groups_of(office, "bob"), office.events("bob")) == before


def test_the_last_administrator_may_leave_it_to_a_rule(office: Office) -> None:
    """A rule that would not remove the membership anyway is not refused for it."""
    office.world()
    ended = office.do("transfer_user", {"user": "bob", "groups_remove": ["administrators"], "origin": "rule"})
    assert (ended.state, ended.result["groups_removed"]) == ("succeeded", [])


def test_moving_where_one_is_changes_nothing(office: Office) -> None:
    office.world()
    ended = office.do("transfer_user", {"user": "ann", "manager": "bob", "groups_add": ["staff"], "notify_manager": True})
    assert ended.result["changed"] is False
    assert office.jobs("send_manager_notice") == []


def test_a_mover_takes_all_fields_in_one_job(office: Office) -> None:
    office.world()
    fields = {"user": "ann", "type": "external", "locale": "de", "zone": "Europe/Berlin", "start_date": "2026-03-02",
              "end_date": "2027-12-31", "groups_remove": ["staff"], "origin": "manual"}  # fmt: skip
    ended = office.do("transfer_user", fields)
    assert ended.result["fields"] == ["end_date", "locale", "start_date", "type", "zone"]
    ann = office.user("ann")
    assert ann is not None
    assert (ann.type, ann.locale, ann.zone) == ("external", "de", "Europe/Berlin")
    assert (str(ann.start_date), str(ann.end_date), groups_of(office, "ann")) == ("2026-03-02", "2027-12-31", {})
    cleared = dict.fromkeys(("locale", "zone", "start_date", "end_date", "type", "email"))
    office.do("transfer_user", {"user": "ann", **cleared})
    ann = office.user("ann")
    assert ann is not None
    assert (ann.locale, ann.zone, ann.start_date, ann.end_date) == (None, None, None, None)
    assert (ann.type, ann.email) == ("external", "ann@example.com"), "of these null means: as it is"


def test_a_group_that_comes_a_moment_later_is_joined_after_a_minute(office: Office) -> None:
    office.world()
    office.do("transfer_user", {"user": "ann", "groups_add": ["sales"], "patience": 1})
    office.do("create_group", {"group": "sales"})
    office.later(minutes=1)
    office.drain()
    assert groups_of(office, "ann") == {"sales": "feed", "staff": "manual"}
