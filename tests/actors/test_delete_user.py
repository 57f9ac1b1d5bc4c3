"""delete_user: gone for good, with no personal data left anywhere, unless somebody takes it back in time."""

import json
from datetime import timedelta

from office import Office

from worker.directory import credentials
from worker.directory.removal import pseudonym
from worker.tables import metadata

PERSONAL = ("ann", "archer", "e-1001", "secret office", "example.org")


def test_nothing_personal_is_left_in_any_table(office: Office) -> None:
    """But in jobs about other people that name this one, until they are pruned."""
    office.world()
    ann = office.user("ann")
    assert ann is not None
    office.do("update_user", {"user": "ann", "username": "ann.archer", "email": "ann@example.org"}, key="ann-rename")
    office.do("update_user", {"user": "ann.archer", "attributes": {"room": "secret office"}}, why="ann moved")
    office.do("lock_user", {"user": "ann", "owner": "security team", "reason": "ann lost the laptop"})
    office.do("unlock_user", {"user": "ann"})
    office.do("add_to_group", {"user": "bob", "group": "staff"}, requested_by="ann", on_behalf_of="ann.archer")
    office.do("update_user", {"user": "carol", "manager": "ann"})
    office.do("update_user", {"user": "ann", "email": "no address of ann"})
    with office.scope() as scope:
        opened = credentials.issue_session(scope, ann.id, timedelta(hours=1), ip="192.0.2.7", user_agent="ann's phone")
        assert opened is not None
        credentials.record_login(scope, ann.id, opened.id, "192.0.2.7")
    later = office.submit("reactivate_user", {"user": "ann"}, at=office.now + timedelta(days=5))
    ended = office.do("delete_user", {"user": "ann.archer"}, key="delete ann")
    assert (ended.state, ended.result["changed"], ended.result["revoked"]["sessions"]) == ("succeeded", True, 1)
    assert office.ended(later).state == "cancelled"
    line = office.rows("job", id=ended.id)[0]["subject"]
    for table in metadata.sorted_tables:
        for row in office.rows(table.name):
            if table.name == "job" and row["subject"] != line:
                continue
            held = json.dumps({key: str(value) for key, value in row.items()}).casefold()
            found = [word for word in PERSONAL if word in held]
            assert not found, f"{table.name} still holds {found}: {held}"


def test_the_trail_stays_under_a_pseudonym(office: Office) -> None:
    office.world()
    ann = office.user("ann")
    assert ann is not None
    before = office.events("ann")
    office.do("delete_user", {"user": "ann"})
    after = sorted(office.rows("event", target=ann.id), key=lambda row: str(row["id"]))
    assert [e["action"] for e in after] == [*(e["action"] for e in before), "user.deleted"]
    assert {e["target_name"] for e in after} == {pseudonym(ann.id)}
    assert after[1]["data"] == {"group": "staff", "origin": "manual"}


def test_deleting_twice_says_that_it_is_done(office: Office) -> None:
    office.world()
    assert office.do("delete_user", {"user": "ann"}).result["changed"]
    for name in ("ann", "ANN", {"external_id": "E-1001"}):
        again = office.do("delete_user", {"user": name})
        assert (again.state, again.result) == ("succeeded", {"changed": False, "already": "deleted"})
    assert office.do("delete_user", {"user": "never.there"}).reason == "unknown_user"


def test_a_late_message_does_not_bring_anybody_back(office: Office) -> None:
    office.world()
    office.do("update_user", {"user": "ann", "username": "ann.b"})
    office.do("delete_user", {"user": "ann.b"})
    for late in ("ann", "ann.b"):
        assert office.do("update_user", {"user": late, "name": "x"}).reason == "unknown_user"
        assert office.do("onboard_user", {"username": late}).reason == "deleted"
    assert len(office.rows("users")) == 2


def test_whose_manager_is_deleted_has_none(office: Office) -> None:
    office.world()
    office.do("add_to_group", {"user": "ann", "group": "administrators"})
    before = office.user("ann")
    assert before is not None
    assert office.do("delete_user", {"user": "bob"}).result["changed"]
    after = office.user("ann")
    assert after is not None
    assert (after.manager, after.version) == (None, before.version + 1)


def test_the_last_administrator_cannot_be_deleted(office: Office) -> None:
    office.world()
    for fields in ({"user": "bob"}, {"user": "bob", "grace": "P1D"}):
        assert office.do("delete_user", fields).reason == "last_administrator"
    bob = office.user("bob")
    assert bob is not None
    assert bob.is_active


def test_a_deletion_with_grace_closes_now_and_deletes_later(office: Office) -> None:
    office.world()
    ended = office.do("delete_user", {"user": "ann", "grace": "P30D"})
    ann = office.user("ann")
    assert ann is not None
    assert (ann.is_active, ann.delete_at) == (False, office.now + timedelta(days=30))
    assert ended.result["delete_at"] == (office.now + timedelta(days=30)).isoformat()
    office.later(days=29)
    office.drain()
    assert office.user("ann") is not None
    office.later(days=2)
    office.drain()
    assert office.user("ann") is None


def test_a_newer_plan_takes_the_place_of_the_older(office: Office) -> None:
    office.world()
    office.do("delete_user", {"user": "ann", "grace": "P5D"})
    office.do("delete_user", {"user": "ann", "grace": "P50D"})
    office.later(days=6)
    office.drain()
    assert office.user("ann") is not None
    office.later(days=45)
    office.drain()
    assert office.user("ann") is None


def test_a_planned_deletion_runs_only_while_its_plan_stands(office: Office) -> None:
    """Also when its job got away before the plan was taken back."""
    office.world()
    office.do("delete_user", {"user": "ann", "grace": "P5D"})
    planned = office.jobs("delete_user")[-1]
    office.do("restore_user", {"user": "ann"})
    late = office.do("delete_user", planned["payload"])
    assert (late.state, late.reason) == ("rejected", "schedule_changed")
    assert office.user("ann") is not None
