"""remove_from_group takes people out, a rule only whom rules put in, and never the last administrator."""

from office import Office


def test_removing_says_whether_anything_changed(office: Office) -> None:
    office.world()
    assert office.do("remove_from_group", {"user": "ann", "group": "STAFF"}).result == {"changed": True}
    assert office.do("remove_from_group", {"user": "ann", "group": "staff"}).result == {"changed": False}
    assert office.events("ann")[-1]["action"] == "membership.removed"
    ended = office.do("remove_from_group", {"user": "ann", "group": "nowhere"})
    assert (ended.state, ended.reason) == ("rejected", "unknown_group")


def test_a_rule_removes_only_what_rules_added(office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "team"})
    office.do("add_to_group", {"user": "ann", "group": "team", "origin": "rule"})
    for group, changed in (("staff", False), ("team", True)):
        ended = office.do("remove_from_group", {"user": "ann", "group": group, "origins": ["rule"]})
        assert ended.result == {"changed": changed}


def test_the_last_administrator_stays(office: Office) -> None:
    office.world()
    office.do("add_to_group", {"user": "ann", "group": "administrators"})
    ids = [office.submit("remove_from_group", {"user": name, "group": "administrators"}) for name in ("ann", "bob")]
    office.drain()
    ended = [office.ended(job_id) for job_id in ids]
    assert sorted((one.state, one.reason or "") for one in ended) == [
        ("rejected", "last_administrator"), ("succeeded", "")
    ]  # fmt: skip
