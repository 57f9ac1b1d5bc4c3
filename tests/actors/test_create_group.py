"""create_group makes a group once, below the parents it is given."""

from office import Office


def test_a_group_is_created_below_its_parents(office: Office) -> None:
    office.world()
    ended = office.do("create_group", {"group": "team", "parents": ["staff"], "attributes": {"floor": 3}})
    assert ended.result["changed"] is True
    [row] = office.rows("groups", name="team")
    assert row["attributes"] == {"floor": 3}
    assert [parent["child"] for parent in office.rows("group_parent")] == [row["id"]]
    [event] = office.rows("event", target=row["id"])
    assert (event["action"], event["data"], event["actor"]) == ("group.created", {"parents": ["staff"]}, "tester")


def test_the_name_is_unique_in_any_spelling(office: Office) -> None:
    office.world()
    ended = office.do("create_group", {"group": "STAFF"})
    assert (ended.state, ended.reason) == ("rejected", "group_exists")
    ended = office.do("create_group", {"group": "STAFF", "if_exists": "adopt"})
    assert ended.result["changed"] is False
    assert len(office.rows("groups")) == 2


def test_two_of_one_name_in_one_batch_make_one_group(office: Office) -> None:
    ids = [office.submit("create_group", {"group": name}) for name in ("team", "Team")]
    office.drain()
    assert [office.ended(job_id).state for job_id in ids] == ["succeeded", "rejected"]


def test_an_unknown_parent_leaves_nothing_behind(office: Office) -> None:
    ended = office.do("create_group", {"group": "team", "parents": ["nowhere"]})
    assert (ended.state, ended.reason) == ("rejected", "unknown_group")
    assert office.rows("groups") == []


def test_a_name_with_a_control_character_is_no_name(office: Office) -> None:
    assert office.accept("create_group", {"group": "te\u0007am"}).id is None
    assert office.accept("create_group", {"group": " team"}).id is None
