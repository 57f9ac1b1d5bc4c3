"""The runner: one batch, one transaction, every outcome where it belongs."""

from office import Office


def test_the_world_can_be_made(office: Office) -> None:
    office.world()
    ann = office.user("ann")
    assert ann is not None
    assert ann.is_active
    again = office.do("add_to_group", {"user": "ann", "group": "staff"})
    assert (again.state, again.result["changed"]) == ("succeeded", False)
    gone = office.do("deactivate_user", {"user": "ann"})
    assert (gone.state, gone.result["changed"]) == ("succeeded", True)
