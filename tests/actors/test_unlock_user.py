"""unlock_user: the lock is lifted, and nothing else."""

from office import Office


def test_unlocking_lifts_the_lock_alone(office: Office) -> None:
    office.world()
    office.do("lock_user", {"user": "carol", "owner": "security team", "reason": "stolen laptop"})
    epoch = office.rows("users", username="carol")[0]["epoch"]
    ended = office.do("unlock_user", {"user": "carol", "reason": "laptop found"})
    carol = office.user("carol")
    assert carol is not None
    assert ended.result == {"changed": True, "user": carol.id, "is_active": False}
    assert (carol.locked, carol.lock_owner, carol.is_active, carol.epoch) == (False, None, False, epoch)
    last = office.events("carol")[-1]
    assert (last["action"], last["data"]) == ("user.unlocked", {"owner": "security team", "reason": "laptop found"})


def test_who_is_not_locked_stays_as_they_are(office: Office) -> None:
    office.world()
    ended = office.do("unlock_user", {"user": "ann"})
    assert (ended.state, ended.result["changed"]) == ("succeeded", False)
