"""release_legal_hold: the person may be deleted again, when somebody asks for it."""

from office import Office


def test_after_the_release_a_deletion_goes_through(office: Office) -> None:
    office.world()
    office.do("set_legal_hold", {"user": "ann", "owner": "legal department", "reason": "case 12/2026"})
    ended = office.do("release_legal_hold", {"user": "ann", "reason": "case closed"})
    assert ended.result["changed"]
    last = office.events("ann")[-1]
    assert (last["action"], last["data"]) == ("user.released", {"owner": "legal department", "reason": "case closed"})
    assert office.do("release_legal_hold", {"user": "ann"}).result["changed"] is False
    assert office.do("delete_user", {"user": "ann"}).result["changed"]
    assert office.user("ann") is None
