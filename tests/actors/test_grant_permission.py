"""grant_permission gives a permission once, to a user or to a group."""

import pytest
from office import Office

from worker.directory import permissions


def test_a_permission_is_granted_once(office: Office) -> None:
    office.world()
    assert office.do("grant_permission", {"name": "read", "user": "ann"}).result == {"changed": True}
    assert office.do("grant_permission", {"name": "read", "user": "ann"}).result == {"changed": False}
    assert office.do("grant_permission", {"name": "read", "object": "door/1", "user": "ann"}).result == {"changed": True}
    assert office.do("grant_permission", {"name": "write", "group": "staff"}).result == {"changed": True}
    ann = office.user("ann")
    assert ann is not None
    with office.scope() as scope:
        found = [(one.name, one.object, one.via) for one in permissions.effective(scope, ann.id)]
    assert found == [("read", "", None), ("read", "door/1", None), ("write", "", "staff")]
    assert office.events("ann")[-1]["data"] == {"permission": "read", "object": "door/1"}


@pytest.mark.parametrize(("holder", "reason"), [({"user": "no"}, "unknown_user"), ({"group": "no"}, "unknown_group")])
def test_an_unknown_holder_is_refused(office: Office, holder: dict[str, str], reason: str) -> None:
    ended = office.do("grant_permission", {"name": "read", **holder})
    assert (ended.state, ended.reason) == ("rejected", reason)


def test_a_holder_is_one(office: Office) -> None:
    assert office.accept("grant_permission", {"name": "read"}).id is None
    assert office.accept("grant_permission", {"name": "read", "user": "ann", "group": "staff"}).id is None
