"""reactivate_user: back in, with nothing of what was before."""

from office import Office


def test_somebody_inactive_can_come_in_again(office: Office) -> None:
    office.world()
    before = office.user("carol")
    assert before is not None
    ended = office.do("reactivate_user", {"user": "carol"})
    assert ended.result == {"changed": True, "user": before.id}
    after = office.user("carol")
    assert after is not None
    assert (after.is_active, after.epoch, after.version) == (True, before.epoch, before.version + 1)
    assert office.events("carol")[-1]["action"] == "user.reactivated"
    again = office.do("reactivate_user", {"user": "carol"})
    assert (again.state, again.result["changed"]) == ("succeeded", False)


def test_a_locked_person_stays_out(office: Office) -> None:
    office.world()
    office.do("lock_user", {"user": "carol", "owner": "security team", "reason": "lost laptop"})
    ended = office.do("reactivate_user", {"user": "carol"})
    assert (ended.state, ended.reason) == ("rejected", "locked")
    assert "security team" in (ended.reason_text or "")


def test_a_planned_deletion_is_taken_back(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann"})
    assert office.do("reactivate_user", {"user": "ann"}).result["changed"]
    assert [job["state"] for job in office.jobs("delete_user")] == ["cancelled"]
    office.later(days=91)
    office.drain()
    ann = office.user("ann")
    assert ann is not None
    assert (ann.is_active, ann.delete_at) == (True, None)
    assert "user.deletion_cancelled" in [e["action"] for e in office.events("ann")]
