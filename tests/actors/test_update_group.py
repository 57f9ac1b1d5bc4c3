"""update_group renames, moves and describes groups, and never loses the administrators."""

from office import Office


def test_a_group_is_renamed_and_its_line_goes_with_it(office: Office) -> None:
    office.world()
    first = office.submit("update_group", {"group": "staff", "name": "employees"})
    then = office.submit("update_group", {"group": "employees", "attributes": {"floor": 3}})
    office.drain()
    assert office.ended(first).result["changed"] is True
    assert office.ended(then).result["changed"] is True
    assert office.do("update_group", {"group": "employees", "name": "employees"}).result["changed"] is False
    [row] = office.rows("groups", name="employees")
    assert [event["action"] for event in office.rows("event", target=row["id"])] == [
        "group.created", "group.renamed", "group.updated"
    ]  # fmt: skip


def test_a_name_that_is_taken_is_refused(office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "team"})
    ended = office.do("update_group", {"group": "team", "name": "Staff"})
    assert (ended.state, ended.reason) == ("rejected", "group_exists")


def test_parents_are_set_added_and_removed(office: Office) -> None:
    office.world()
    for name in ("a", "b", "c"):
        office.do("create_group", {"group": name})
    office.do("update_group", {"group": "a", "add_parents": ["b", "staff"]})
    ended = office.do("update_group", {"group": "a", "add_parents": ["c"], "remove_parents": ["b", "nowhere"]})
    assert ended.result["changed"] is True
    [row] = office.rows("groups", name="a")
    names = {group["id"]: group["name"] for group in office.rows("groups")}
    assert {names[up["parent"]] for up in office.rows("group_parent", child=row["id"])} == {"c", "staff"}
    assert office.do("update_group", {"group": "a", "set_parents": ["c", "staff"]}).result["changed"] is False
    office.do("update_group", {"group": "a", "set_parents": []})
    assert office.rows("group_parent", child=row["id"]) == []


def test_a_circle_is_refused_and_nothing_of_the_job_stays(office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "team", "parents": ["staff"]})
    ended = office.do("update_group", {"group": "staff", "add_parents": ["team"], "attributes": {"x": 1}, "name": "y"})
    assert (ended.state, ended.reason) == ("rejected", "group_cycle")
    assert office.rows("groups", name="staff")[0]["attributes"] == {}


def test_attributes_are_merged(office: Office) -> None:
    office.world()
    office.do("update_group", {"group": "staff", "attributes": {"a": 1, "b": {"c": 2, "d": 3}}})
    office.do("update_group", {"group": "staff", "attributes": {"a": None, "b": {"d": 4}}})
    assert office.rows("groups", name="staff")[0]["attributes"] == {"b": {"c": 2, "d": 4}}


def test_the_administrators_keep_their_name_and_a_member(office: Office) -> None:
    office.world()
    ended = office.do("update_group", {"group": "administrators", "name": "chiefs"})
    assert (ended.state, ended.reason) == ("rejected", "administrators_group")
    office.do("create_group", {"group": "chiefs", "parents": ["administrators"]})
    office.do("add_to_group", {"user": "bob", "group": "chiefs"})
    assert office.do("remove_from_group", {"user": "bob", "group": "administrators"}).state == "succeeded"
    ended = office.do("update_group", {"group": "chiefs", "set_parents": []})
    assert (ended.state, ended.reason) == ("rejected", "last_administrator")
    assert len(office.rows("group_parent")) == 1


def test_parents_are_said_in_one_way(office: Office) -> None:
    assert office.accept("update_group", {"group": "a", "set_parents": [], "add_parents": ["b"]}).id is None
