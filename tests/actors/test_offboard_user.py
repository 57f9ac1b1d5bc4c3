"""offboard_user: leaving now, leaving at a time in a zone, and changing one's mind."""

from datetime import UTC, datetime, timedelta
from typing import Any

from office import Office

from worker.directory.users import User


def there(office: Office, username: str) -> User:
    user = office.user(username)
    assert user is not None
    return user


def test_leaving_takes_everything_and_plans_the_rest(office: Office) -> None:
    office.world()
    office.do("grant_permission", {"name": "wiki.edit", "user": "ann"})
    office.do("add_to_group", {"user": "ann", "group": "administrators", "origin": "rule"})
    ended = office.do("offboard_user", {"user": "ann", "reason": "contract ended"})
    ann = there(office, "ann")
    ends = office.now + timedelta(days=90)
    assert (ended.state, ended.result["changed"]) == ("succeeded", True)
    assert (ended.result["groups"], ended.result["permissions"]) == (["administrators", "staff"], 1)
    assert (ann.is_active, ann.delete_at, ended.result["delete_at"]) == (False, ends, ends.isoformat())
    assert office.rows("membership", user_id=ann.id) == office.rows("permission", user_id=ann.id) == []
    [notice] = office.jobs("send_manager_notice")
    assert (notice["payload"]["change"], notice["payload"]["user"]) == ("leaves", {"id": ann.id})
    told = [e["action"] for e in office.events("ann") if e["action"] != "manager_notice.sent"]
    assert told[-5:] == [
        "user.deactivated", "membership.removed", "membership.removed", "user.offboarded", "user.deletion_scheduled",
    ]  # fmt: skip
    again = office.do("offboard_user", {"user": "ann"})
    assert (again.result["changed"], again.result["delete_at"]) == (False, ends.isoformat())
    office.later(days=91)
    office.drain()
    assert office.user("ann") is None


def test_without_retention_nothing_is_deleted(office: Office) -> None:
    office.world()
    ended = office.do("offboard_user", {"user": "ann", "retention": None, "notify_manager": False})
    assert ended.result["delete_at"] is None
    assert office.jobs("delete_user") == office.jobs("send_manager_notice") == []


def test_leaving_at_a_time_in_a_zone(office: Office) -> None:
    office.world()
    ended = office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00", "zone": "America/New_York"})
    assert ended.result["scheduled_for"] == "2026-03-31T18:00:00-04:00"
    office.now = datetime(2026, 3, 31, 21, 59, tzinfo=UTC)
    office.drain()
    assert there(office, "ann").is_active
    office.now = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
    office.drain()
    assert not there(office, "ann").is_active
    assert there(office, "ann").delete_at == office.now + timedelta(days=90)


def test_wall_time_means_the_persons_own_zone_when_none_is_given(office: Office) -> None:
    office.world()
    office.do("update_user", {"user": "ann", "zone": "Asia/Tokyo"})
    ended = office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
    assert ended.result["scheduled_for"] == "2026-03-31T18:00:00+09:00"


def test_a_double_hour_means_the_first_and_a_skipped_one_is_counted_on_from_before_it(office: Office) -> None:
    office.world()
    double = office.do("offboard_user", {"user": "ann", "at": "2026-10-25T02:30", "zone": "Europe/Berlin"})
    assert double.result["scheduled_for"] == "2026-10-25T02:30:00+02:00"
    hole = office.do("offboard_user", {"user": "ann", "at": "2027-03-28T02:30", "zone": "Europe/Berlin"})
    [planned] = [job for job in office.jobs("offboard_user") if job["state"] == "scheduled"]
    assert hole.result["scheduled_for"] == "2027-03-28T02:30:00+01:00"
    assert planned["run_at"] == datetime(2027, 3, 28, 1, 30, tzinfo=UTC), "which the clocks call 03:30"


def test_a_planned_leaving_can_be_cancelled_until_it_runs(office: Office) -> None:
    from worker import ledger, lines

    office.world()
    office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
    with office.scope() as scope:
        subject = lines.subject_of(scope, office.rows("users", username="ann")[0]["id"])
        assert ledger.cancel_scheduled(scope, subject, ["offboard_user"], by="tester") == 1
    office.later(days=60)
    office.drain()
    assert there(office, "ann").is_active


def test_another_time_takes_the_place_of_the_first_and_now_of_both(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
    office.do("offboard_user", {"user": "ann", "at": "2026-05-31T18:00"})
    office.now = datetime(2026, 4, 15, tzinfo=UTC)
    office.drain()
    assert there(office, "ann").is_active
    office.do("offboard_user", {"user": "ann"})
    assert not there(office, "ann").is_active
    office.do("reactivate_user", {"user": "ann"})
    office.now = datetime(2026, 6, 15, tzinfo=UTC)
    office.drain()
    assert there(office, "ann").is_active, "the plan from before is gone"


def test_the_last_administrator_is_refused_and_keeps_everything(office: Office) -> None:
    office.world()
    bob = there(office, "bob")
    planned = office.do("offboard_user", {"user": "bob", "at": "2026-03-31T18:00"})
    assert planned.state == "succeeded", "by then there may be another one"
    ended = office.do("offboard_user", {"user": "bob"})
    assert (ended.state, ended.reason) == ("rejected", "last_administrator")
    assert there(office, "bob") == bob
    assert len(office.rows("membership", user_id=bob.id)) == 1
    assert [job["state"] for job in office.jobs("offboard_user")].count("scheduled") == 1, "the plan stands too"


def test_the_end_of_time_is_no_leaving_day(office: Office) -> None:
    """HR systems write 9999-12-31 for "no end": refused at the door, and the person's line is not held up."""
    office.world()
    answer = office.accept("offboard_user", {"user": "ann", "at": "9999-12-31T23:59", "zone": "America/New_York"})
    assert (answer.state, answer.reason) == ("refused", "bad_payload")
    assert office.do("update_user", {"user": "ann", "locale": "de"}).state == "succeeded"


def groups_of(office: Office, username: str) -> list[str]:
    names = {row["id"]: row["name"] for row in office.rows("groups")}
    return sorted(names[row["group_id"]] for row in office.rows("membership", user_id=there(office, username).id))


def planned(office: Office) -> dict[str, datetime]:
    return {job["kind"]: job["run_at"] for job in office.jobs() if job["state"] == "scheduled"}


def leave(office: Office, **fields: object) -> None:
    """Ann leaves, and keeps her group for 30 days."""
    office.world()
    office.do("grant_permission", {"name": "wiki.edit", "user": "ann"})
    ended = office.do("offboard_user", {"user": "ann", "keep_access": "P30D", "reason": "contract ended", **fields})
    assert ended.state == "succeeded", ended


def test_access_can_be_kept_for_a_while_after_the_account_is_closed(office: Office) -> None:
    leave(office)
    gone, ann = office.now, there(office, "ann")
    assert (ann.is_active, groups_of(office, "ann")) == (False, ["staff"])
    assert planned(office) == {"offboard_user": gone + timedelta(days=30), "delete_user": gone + timedelta(days=90)}
    assert office.jobs("offboard_user")[0]["result"]["access_until"] == (gone + timedelta(days=30)).isoformat()
    [notice] = office.jobs("send_manager_notice")
    assert "Groups and permissions are kept until 2026-04-01" in notice["payload"]["details"]
    office.later(days=29)
    office.drain()
    assert groups_of(office, "ann") == ["staff"]
    office.later(days=1)
    office.drain()
    assert (groups_of(office, "ann"), office.rows("permission", user_id=ann.id)) == ([], [])
    second = office.jobs("offboard_user")[1]
    assert (second["state"], second["result"]["groups"], second["result"]["permissions"]) == ("succeeded", ["staff"], 1)
    assert there(office, "ann").delete_at == gone + timedelta(days=90), "the deletion counts from the leaving"
    assert len(office.jobs("send_manager_notice")) == 1
    office.later(days=60)
    office.drain()
    assert office.user("ann") is None


def test_being_told_again_of_a_leaving_makes_it_no_later(office: Office) -> None:
    leave(office)
    steps = planned(office)
    office.later(days=10)
    again = office.do("offboard_user", {"user": "ann", "keep_access": "P30D"})
    assert (again.result["changed"], planned(office)) == (False, steps)
    office.later(days=20)
    office.drain()
    assert groups_of(office, "ann") == []
    late = office.do("offboard_user", {"user": "ann", "keep_access": "P30D"})
    assert late.result["changed"] is False
    assert list(planned(office)) == ["delete_user"], "nothing is left to be taken away"


def test_leaving_now_without_keeping_ends_what_was_kept(office: Office) -> None:
    leave(office)
    office.do("offboard_user", {"user": "ann"})
    assert (groups_of(office, "ann"), list(planned(office))) == ([], ["delete_user"])


def test_a_leaving_to_come_keeps_access_as_long_after_it(office: Office) -> None:
    leave(office, at="2026-03-31T18:00", zone="Europe/Berlin")
    office.now = datetime(2026, 3, 31, 16, 0, tzinfo=UTC)
    office.drain()
    assert not there(office, "ann").is_active
    assert planned(office)["offboard_user"] == datetime(2026, 4, 30, 16, 0, tzinfo=UTC)


def test_a_deletion_before_that_takes_everything_with_it(office: Office) -> None:
    leave(office, retention="P7D")
    [notice] = office.jobs("send_manager_notice")
    assert not [line for line in notice["payload"]["details"] if "kept until" in line]
    office.later(days=8)
    office.drain()
    assert (office.user("ann"), planned(office)) == (None, {})


def test_a_legal_hold_stops_the_deletion_and_not_the_second_step(office: Office) -> None:
    office.world()
    office.do("set_legal_hold", {"user": "ann", "owner": "legal team", "reason": "litigation"})
    gone = office.now
    office.do("offboard_user", {"user": "ann", "keep_access": "P30D"})
    assert list(planned(office)) == ["offboard_user"]
    office.later(days=10)
    office.do("release_legal_hold", {"user": "ann"})
    office.later(days=20)
    office.drain()
    assert groups_of(office, "ann") == []
    assert there(office, "ann").delete_at == gone + timedelta(days=90), "still counted from the leaving"


def test_who_is_active_again_keeps_groups_even_if_the_second_step_was_not_called_off(office: Office) -> None:
    office.world()
    ended = office.do("offboard_user", {"user": "ann", "left_at": "2026-02-01T00:00:00Z"})
    assert (ended.result["changed"], ended.result["is_active"], groups_of(office, "ann")) == (False, True, ["staff"])
    assert office.accept("offboard_user", {"user": "ann", "left_at": "2026-02-01T00:00"}).reason == "bad_payload"


def test_the_second_step_stands_in_the_line_behind_what_came_before(office: Office) -> None:
    """It takes nothing urgent away: who comes back at this very moment is not overtaken."""
    leave(office)
    office.later(days=30)
    office.submit("onboard_user", {"username": "ann", "external_id": "E-1001"})
    office.drain()
    assert (there(office, "ann").is_active, groups_of(office, "ann")) == (True, ["staff"])
    assert len(office.rows("permission", user_id=there(office, "ann").id)) == 1


def test_coming_back_calls_off_what_was_to_follow(office: Office) -> None:
    ways: dict[str, dict[str, Any]] = {
        "reactivate_user": {"user": "ann"},
        "restore_user": {"user": "ann"},
        "update_user": {"user": "ann", "is_active": True},
        "create_user": {"username": "ann", "external_id": "E-1001", "if_exists": "update", "is_active": True},
        "onboard_user": {"username": "ann", "external_id": "E-1001"},
    }
    leave(office)
    for kind, fields in ways.items():
        office.do("offboard_user", {"user": "ann", "keep_access": "P30D"})
        assert set(planned(office)) == {"offboard_user", "delete_user"}, kind
        back = office.do(kind, fields)
        assert (back.state, there(office, "ann").is_active, planned(office)) == ("succeeded", True, {}), kind
    office.later(days=91)
    office.drain()
    assert (there(office, "ann").is_active, groups_of(office, "ann")) == (True, ["staff"])


def test_back_from_a_closed_account_the_leaving_to_come_stays_planned(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
    office.do("deactivate_user", {"user": "ann"})
    office.do("reactivate_user", {"user": "ann"})
    assert there(office, "ann").is_active
    assert planned(office) == {"offboard_user": datetime(2026, 3, 31, 18, 0, tzinfo=UTC)}
