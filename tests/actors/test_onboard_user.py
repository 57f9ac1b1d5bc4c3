"""onboard_user: joining, coming back, joining too early, and what is not there yet."""

from datetime import UTC, datetime
from typing import Any

from office import Office

from worker.directory.users import User

DORA = {"username": "dora", "external_id": "E-7", "name": "Dora Dean", "email": "dora@example.com", "groups": ["staff"],
        "manager": "bob"}  # fmt: skip


def there(office: Office, username: str) -> User:
    user = office.user(username)
    assert user is not None
    return user


def groups_of(office: Office, username: str) -> dict[str, str]:
    names = {row["id"]: row["name"] for row in office.rows("groups")}
    return {names[row["group_id"]]: row["origin"] for row in office.rows("membership", user_id=there(office, username).id)}


def mails(office: Office) -> list[dict[str, Any]]:
    return [job["payload"] for job in office.jobs("send_welcome_email")]


def test_somebody_new_gets_account_groups_manager_and_welcome_mail(office: Office) -> None:
    office.world()
    ended = office.do("onboard_user", DORA)
    dora = there(office, "dora")
    assert ended.result == {"changed": True, "user": dora.id, "created": True, "groups": ["staff"], "welcome_mail": True}
    assert (dora.is_active, dora.manager) == (True, there(office, "bob").id)
    assert groups_of(office, "dora") == {"staff": "feed"}
    assert mails(office) == [{"user": {"id": dora.id}}]
    assert [e["action"] for e in office.events("dora")][:3] == ["user.created", "membership.added", "user.onboarded"]


def test_the_same_message_again_changes_nothing_and_mails_nobody(office: Office) -> None:
    office.world()
    office.do("onboard_user", DORA)
    before = there(office, "dora")
    again = office.do("onboard_user", DORA)
    assert (again.state, again.result["changed"], again.result["created"]) == ("succeeded", False, False)
    assert there(office, "dora") == before
    assert len(mails(office)) == 1


def test_an_unknown_group_and_manager_stop_nothing_and_come_later(office: Office) -> None:
    office.world()
    ended = office.do("onboard_user", {**DORA, "groups": ["staff", "sales"], "manager": "zoe"})
    assert (ended.result["deferred_groups"], ended.result["deferred_manager"]) == (["sales"], "zoe")
    assert groups_of(office, "dora") == {"staff": "feed"}
    assert office.do("update_user", {"user": "dora", "locale": "de"}).state == "succeeded", "they hold nothing else up"
    office.do("create_group", {"group": "sales"})
    office.do("create_user", {"username": "zoe"})
    office.later(minutes=1)
    office.drain()
    assert groups_of(office, "dora") == {"staff": "feed", "sales": "feed"}, "the first look comes soon"
    assert there(office, "dora").manager == there(office, "zoe").id


def test_what_never_comes_is_refused_in_the_end_with_a_reason(office: Office) -> None:
    office.world()
    office.do("onboard_user", {**DORA, "groups": ["sales"], "manager": "zoe"})
    for _ in range(13):
        office.later(hours=7)
        office.drain()
    ends = {(job["kind"], job["reason"]) for job in office.jobs() if job["state"] == "rejected"}
    assert {("transfer_user", "unknown_group"), ("update_user", "unknown_manager")} <= ends
    assert not [job for job in office.jobs() if job["kind"] in ("transfer_user", "update_user") and not job["finished_at"]]


def test_manager_and_report_may_join_in_one_batch_in_any_order(office: Office) -> None:
    office.submit("onboard_user", {"username": "clerk", "manager": "chief"})
    office.submit("onboard_user", {"username": "chief", "manager": "chief"})
    office.drain()
    assert there(office, "clerk").manager == there(office, "chief").id
    assert there(office, "chief").manager is None, "nobody is their own manager, which feeds say of the one at the top"


def test_whose_last_day_is_over_ends_up_inactive(office: Office) -> None:
    office.world()
    new = office.do("onboard_user", {"username": "emil", "email": "emil@example.com", "end_date": "2026-03-01"})
    assert (new.state, there(office, "emil").is_active) == ("succeeded", False)
    known = office.do("onboard_user", {"username": "ann", "end_date": "2026-03-01"})
    assert (known.state, there(office, "ann").is_active) == ("succeeded", False)
    assert office.do("onboard_user", {"username": "bob", "end_date": "2026-03-01"}).reason == "last_administrator"
    assert mails(office) == []


def test_the_last_day_counts_where_the_person_lives(office: Office) -> None:
    office.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # already the third of March on Kiritimati (UTC+14)? 23:00 there
    office.do("onboard_user", {"username": "kiri", "zone": "Pacific/Kiritimati", "end_date": "2026-03-02"})
    assert there(office, "kiri").is_active
    office.later(hours=2)
    office.do("onboard_user", {"username": "kiri2", "zone": "Pacific/Kiritimati", "end_date": "2026-03-02"})
    assert not there(office, "kiri2").is_active


def test_who_joins_later_is_opened_when_the_first_day_begins(office: Office) -> None:
    office.world()
    ended = office.do("onboard_user", {**DORA, "start_date": "2026-03-09", "zone": "Europe/Berlin"})
    assert ended.result["begins_at"] == "2026-03-09T00:00:00+01:00"
    assert (there(office, "dora").is_active, groups_of(office, "dora"), mails(office)) == (False, {"staff": "feed"}, [])
    office.do("update_user", {"user": "dora", "name": "Dora Newname"})
    office.now = datetime(2026, 3, 8, 22, 59, tzinfo=UTC)
    office.drain()
    assert not there(office, "dora").is_active
    office.now = datetime(2026, 3, 8, 23, 0, tzinfo=UTC)
    office.drain()
    assert (there(office, "dora").is_active, there(office, "dora").name) == (True, "Dora Newname")
    assert len(mails(office)) == 1


def test_a_first_day_that_moves_moves_the_opening(office: Office) -> None:
    office.do("onboard_user", {"username": "dora", "start_date": "2026-03-09"})
    office.do("onboard_user", {"username": "dora", "start_date": "2026-03-20"})
    office.now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    office.drain()
    assert not there(office, "dora").is_active
    office.do("update_user", {"user": "dora", "start_date": "2026-03-25"})
    office.now = datetime(2026, 3, 21, 12, 0, tzinfo=UTC)
    office.drain()
    assert not there(office, "dora").is_active
    office.now = datetime(2026, 3, 25, 12, 0, tzinfo=UTC)
    office.drain()
    assert there(office, "dora").is_active


def test_who_comes_back_is_opened_and_no_longer_to_be_deleted(office: Office) -> None:
    office.world()
    old = there(office, "ann")
    office.do("offboard_user", {"user": "ann"})
    back = office.do("onboard_user", {"username": "ann", "external_id": "E-1001", "groups": ["staff"]})
    ann = there(office, "ann")
    assert (ann.id, ann.is_active, ann.delete_at, back.result["welcome_mail"]) == (old.id, True, None, True)
    assert ann.epoch > old.epoch
    office.later(days=91)
    office.drain()
    assert there(office, "ann").id == old.id


def test_a_person_is_known_by_the_external_id_before_the_username(office: Office) -> None:
    office.world()
    ended = office.do("onboard_user", {"username": "a.archer", "external_id": "E-1001", "name": "Ann A. Archer"})
    assert (ended.result["created"], ended.result["username"]) == (False, "ann")
    assert there(office, "ann").name == "Ann A. Archer"


def test_after_a_deletion_only_a_newer_hire_makes_a_new_account(office: Office) -> None:
    office.world()
    office.do("delete_user", {"user": "ann"})
    late = {"username": "ann2", "external_id": "E-1001"}
    assert office.do("onboard_user", late).reason == "deleted"
    assert office.do("onboard_user", {**late, "hired_on": "2027-01-01"}).result["created"]


def test_a_deactivation_that_comes_later_beats_a_planned_first_day(office: Office) -> None:
    office.do("onboard_user", {"username": "dora", "start_date": "2026-03-09"})
    office.do("deactivate_user", {"user": "dora"})
    office.later(days=10)
    office.drain()
    assert not there(office, "dora").is_active


def planned(office: Office) -> list[str]:
    return [job["kind"] for job in office.jobs() if job["state"] == "scheduled"]


def test_after_the_first_look_it_is_looked_again_every_six_hours_for_three_days(office: Office) -> None:
    office.do("onboard_user", {"username": "dora", "groups": ["sales"], "manager": "zoe"})
    began, looks = office.now, 0
    while planned(office):
        assert len(planned(office)) == 2
        office.now = min(job["run_at"] for job in office.jobs() if job["state"] == "scheduled")
        office.drain()
        looks += 1
    assert (looks, (office.now - began).total_seconds()) == (13, 60 + 12 * 6 * 3600)


def test_who_stays_after_all_is_not_offboarded(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
    office.do("onboard_user", {"username": "ann", "external_id": "E-1001"})
    assert planned(office) == []
    office.later(days=60)
    office.drain()
    assert there(office, "ann").is_active


def test_a_last_day_given_keeps_the_leaving_planned_for_it_and_calls_off_earlier_ones(office: Office) -> None:
    office.world()
    for end, left in (("2026-03-31", ["offboard_user"]), ("2026-03-30", ["offboard_user"]), ("2026-04-01", [])):
        office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
        office.do("onboard_user", {"username": "ann", "external_id": "E-1001", "end_date": end})
        assert planned(office) == left, end
    office.do("offboard_user", {"user": "ann", "at": "2026-03-31T18:00"})
    office.do("onboard_user", {"username": "ann", "external_id": "E-1001", "end_date": "2026-03-01"})
    assert planned(office) == ["offboard_user"], "it says itself that the person has left"


def test_a_new_contract_after_a_leaving_calls_off_deletion_and_second_step(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann", "keep_access": "P30D"})
    office.later(days=10)
    office.do("onboard_user", {"username": "ann", "external_id": "E-1001", "groups": ["staff"], "end_date": "2027-12-31"})
    assert (planned(office), there(office, "ann").is_active, there(office, "ann").delete_at) == ([], True, None)
    office.later(days=200)
    office.drain()
    assert (there(office, "ann").is_active, set(groups_of(office, "ann"))) == (True, {"staff"})


def test_who_comes_back_on_a_day_to_come_is_there_still_on_that_day(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann", "keep_access": "P30D", "retention": "P60D"})
    office.do("onboard_user", {"username": "ann", "external_id": "E-1001", "start_date": "2026-07-01"})
    ann = there(office, "ann")
    assert (planned(office), ann.is_active, ann.delete_at) == (["onboard_user"], False, None)
    assert "user.deletion_cancelled" in [event["action"] for event in office.events("ann")]
    office.now = datetime(2026, 7, 1, 0, 0, tzinfo=UTC)
    office.drain()
    assert (there(office, "ann").id, there(office, "ann").is_active) == (ann.id, True)


def test_coming_back_can_end_what_rules_and_feeds_gave_and_nothing_else(office: Office) -> None:
    office.world()
    for name, origin in (("sales", "rule"), ("old", "feed"), ("club", "manual")):
        office.do("create_group", {"group": name})
        office.do("add_to_group", {"user": "ann", "group": name, "origin": origin})
    office.do("deactivate_user", {"user": "ann"})
    ask = {"username": "ann", "external_id": "E-1001", "groups": ["Sales"], "origin": "rule"}
    assert "groups_removed" not in office.do("onboard_user", ask).result
    back = office.do("onboard_user", {**ask, "only_these_groups": True})
    assert (back.result["changed"], back.result["groups_removed"]) == (True, ["old"])
    assert groups_of(office, "ann") == {"club": "manual", "sales": "rule", "staff": "manual"}
    assert {"group": "old"} in [e["data"] for e in office.events("ann") if e["action"] == "membership.removed"]
    again = office.do("onboard_user", {**ask, "only_these_groups": True})
    assert again.result["changed"] is False


def test_the_last_administrator_stays_one_and_it_is_said(office: Office) -> None:
    office.do("create_group", {"group": "administrators"})
    office.do("onboard_user", {"username": "bob", "groups": ["administrators"], "origin": "rule"})
    ended = office.do("onboard_user", {"username": "bob", "only_these_groups": True})
    assert (ended.state, ended.result["last_administrator_of"]) == ("succeeded", ["administrators"])
    assert groups_of(office, "bob") == {"administrators": "rule"}


def test_whose_first_day_is_unknown_waits_for_it(office: Office) -> None:
    office.world()
    office.do("onboard_user", {**DORA, "first_day_unknown": True})
    assert (there(office, "dora").is_active, groups_of(office, "dora"), mails(office)) == (False, {"staff": "feed"}, [])
    office.do("onboard_user", {**DORA, "first_day_unknown": True})
    assert not there(office, "dora").is_active
    office.do("onboard_user", {**DORA, "start_date": "2026-03-01"})
    assert (there(office, "dora").is_active, len(mails(office))) == (True, 1)
    office.do("onboard_user", {**DORA, "first_day_unknown": True})
    assert there(office, "dora").is_active, "who is in is not put out by it"
