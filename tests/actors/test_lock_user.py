"""lock_user: a security lock beats whatever HR says."""

from office import Office

LOCK = {"user": "ann", "owner": "security team", "reason": "stolen laptop"}


def test_the_lock_beats_hr(office: Office) -> None:
    office.world()
    before = office.user("ann")
    assert before is not None
    ended = office.do("lock_user", LOCK)
    ann = office.user("ann")
    assert ann is not None
    assert ended.result["changed"]
    assert (ann.is_active, ann.locked, ann.usable, ann.epoch) == (True, True, False, before.epoch + 1)
    onboarded = office.do("onboard_user", {"username": "ann", "external_id": "E-1001"})
    assert (onboarded.state, onboarded.result["locked"]) == ("succeeded", True)
    still = office.user("ann")
    assert still is not None
    assert still.locked


def test_locking_twice_changes_nothing_more(office: Office) -> None:
    office.world()
    office.do("lock_user", LOCK)
    events = office.events("ann")
    again = office.do("lock_user", LOCK)
    assert (again.state, again.result["changed"]) == ("succeeded", False)
    assert office.events("ann") == events


def test_even_the_last_administrator_can_be_locked_out(office: Office) -> None:
    office.world()
    assert office.do("lock_user", {**LOCK, "user": "bob"}).state == "succeeded"
