"""delete_group deletes what is empty, and the rest only when told so."""

from office import Office


def test_an_empty_group_goes_with_its_permissions(office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "team", "parents": ["staff"]})
    office.do("grant_permission", {"name": "read", "group": "team"})
    assert office.do("delete_group", {"group": "Team"}).result == {"changed": True, "members": 0, "child_groups": 0}
    assert office.rows("groups", name="team") == office.rows("permission") == office.rows("group_parent") == []
    ended = office.do("delete_group", {"group": "team"})
    assert (ended.state, ended.reason) == ("rejected", "unknown_group")


def test_a_group_in_use_goes_by_force_only(office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "team", "parents": ["staff"]})
    ended = office.do("delete_group", {"group": "staff"})
    assert (ended.state, ended.reason) == ("rejected", "group_not_empty")
    assert ended.reason_text is not None
    assert "2 members or child groups" in ended.reason_text
    ended = office.do("delete_group", {"group": "staff", "force": True})
    assert ended.result == {"changed": True, "members": 1, "child_groups": 1}
    assert [row["name"] for row in office.rows("groups")] == ["administrators", "team"]


def test_the_administrators_stay_and_so_does_what_makes_them(office: Office) -> None:
    office.world()
    ended = office.do("delete_group", {"group": "administrators", "force": True})
    assert (ended.state, ended.reason) == ("rejected", "administrators_group")
    office.do("create_group", {"group": "chiefs", "parents": ["administrators"]})
    office.do("add_to_group", {"user": "bob", "group": "chiefs"})
    office.do("remove_from_group", {"user": "bob", "group": "administrators"})
    ended = office.do("delete_group", {"group": "chiefs", "force": True})
    assert (ended.state, ended.reason) == ("rejected", "last_administrator")
    assert office.rows("groups", name="chiefs")
