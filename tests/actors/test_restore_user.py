"""restore_user: a planned deletion is taken back."""

from office import Office


def test_the_person_stays_and_comes_in_again(office: Office) -> None:
    office.world()
    office.do("delete_user", {"user": "ann", "grace": "P30D"})
    ended = office.do("restore_user", {"user": "ann"})
    ann = office.user("ann")
    assert ann is not None
    assert ended.result == {"changed": True, "user": ann.id, "is_active": True}
    assert [e["action"] for e in office.events("ann")][-2:] == ["user.deletion_cancelled", "user.reactivated"]
    office.later(days=31)
    office.drain()
    assert office.user("ann") is not None


def test_it_can_leave_the_account_closed(office: Office) -> None:
    office.world()
    office.do("delete_user", {"user": "ann", "grace": "P30D"})
    assert office.do("restore_user", {"user": "ann", "reactivate": False}).result["is_active"] is False
    ann = office.user("ann")
    assert ann is not None
    assert (ann.is_active, ann.delete_at) == (False, None)


def test_where_nothing_is_planned_there_is_nothing_to_restore(office: Office) -> None:
    office.world()
    assert office.do("restore_user", {"user": "ann"}).reason == "not_scheduled"


def test_a_locked_person_is_not_let_in_by_it(office: Office) -> None:
    office.world()
    office.do("delete_user", {"user": "ann", "grace": "P30D"})
    office.do("lock_user", {"user": "ann", "owner": "security team", "reason": "lost laptop"})
    assert office.do("restore_user", {"user": "ann"}).reason == "locked"
    assert office.jobs("delete_user")[-1]["state"] == "scheduled", "what is refused has no effect"
    assert office.do("restore_user", {"user": "ann", "reactivate": False}).state == "succeeded"
