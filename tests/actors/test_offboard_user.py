"""offboard_user: leaving now, leaving at a time in a zone, and changing one's mind."""

from datetime import UTC, datetime, timedelta

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


def test_a_hole_or_double_hour_of_the_clock_means_the_earlier_reading(office: Office) -> None:
    office.world()
    double = office.do("offboard_user", {"user": "ann", "at": "2026-10-25T02:30", "zone": "Europe/Berlin"})
    assert double.result["scheduled_for"] == "2026-10-25T02:30:00+02:00"
    hole = office.do("offboard_user", {"user": "ann", "at": "2027-03-28T02:30", "zone": "Europe/Berlin"})
    [planned] = [job for job in office.jobs("offboard_user") if job["state"] == "scheduled"]
    assert hole.result["scheduled_for"] == "2027-03-28T02:30:00+01:00"
    assert planned["run_at"] == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)


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
