"""revoke_permission takes back just the one that is named."""

from office import Office


def test_just_the_named_one_is_taken_back(office: Office) -> None:
    office.world()
    for holder in ({"user": "ann"}, {"group": "staff"}, {"user": "ann", "object": "door/1"}):
        office.do("grant_permission", {"name": "read", **holder})
    assert office.do("revoke_permission", {"name": "read", "user": "ann"}).result == {"changed": True}
    assert office.do("revoke_permission", {"name": "read", "user": "ann"}).result == {"changed": False}
    assert sorted(row["object"] for row in office.rows("permission")) == ["", "door/1"]
    assert office.events("ann")[-1]["action"] == "permission.revoked"
    assert office.do("revoke_permission", {"name": "read", "group": "Staff"}).result == {"changed": True}
