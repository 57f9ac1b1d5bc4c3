"""Permissions: granted once, inherited through groups, taken back one by one."""

from office import Office

from worker.directory import groups, permissions, users
from worker.directory.permissions import Effective, Holder
from worker.jobs import UserRef


def test_effective_permissions_say_where_they_come_from(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        firm = groups.create(scope, "firm", [], {})
        assert firm is not None
        staff = groups.get(scope, "staff")
        groups.add_parents(scope, staff, [firm])
        permissions.grant(scope, Holder(user_id=ann), "read")
        permissions.grant(scope, Holder(user_id=ann), "read", "door/1")
        permissions.grant(scope, Holder(group_id=staff.id), "write")
        permissions.grant(scope, Holder(group_id=firm.id), "read")
        assert permissions.effective(scope, ann) == [
            Effective("read", "", None),
            Effective("read", "", "firm"),
            Effective("read", "door/1", None),
            Effective("write", "", "staff"),
        ]
        bob = users.get(scope, UserRef(username="bob")).id
        assert permissions.effective(scope, bob) == []


def test_granting_twice_is_granting_once(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = Holder(user_id=users.get(scope, UserRef(username="ann")).id)
        staff = Holder(group_id=groups.get(scope, "staff").id)
        for holder in (ann, staff):
            assert permissions.grant(scope, holder, "read")
            assert not permissions.grant(scope, holder, "read")
    assert len(office.rows("permission")) == 2
    with office.scope() as scope:
        assert permissions.revoke(scope, ann, "read")
        assert not permissions.revoke(scope, ann, "read")
        assert permissions.held_by_group(scope, str(staff.group_id)) == [("read", "")]
