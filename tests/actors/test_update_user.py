"""update_user: patches, renames, versions, and accounts opened or closed by a field."""

from datetime import timedelta
from typing import Any

import pytest
from office import Office

from worker.directory import accounts, recoveries
from worker.directory.users import User


def there(office: Office, username: str) -> User:
    user = office.user(username)
    assert user is not None
    return user


def test_only_what_is_given_changes(office: Office) -> None:
    office.world()
    before = there(office, "ann")
    ended = office.do(
        "update_user", {"user": "ann", "path": "users/sales", "attributes": {"desk": 4, "none": None}, "locale": "de"}
    )
    after = there(office, "ann")
    assert ended.result == {"changed": True, "user": after.id, "version": before.version + 1,
                            "fields": ["attributes", "locale", "path"]}  # fmt: skip
    assert (after.path, after.attributes, after.locale) == ("users/sales", {"desk": 4}, "de")
    assert (after.name, after.email, after.manager, after.epoch) == (before.name, before.email, before.manager, before.epoch)
    last = office.events("ann")[-1]
    assert (last["action"], last["data"]) == (
        "user.updated",
        {"changes": {"path": ["users", "users/sales"], "attributes": ["desk"], "locale": [None, "de"]}},
    )


def test_a_change_that_changes_nothing_says_so(office: Office) -> None:
    office.world()
    before, events = there(office, "ann"), office.events("ann")
    ended = office.do("update_user", {"user": "ann", "name": "Ann Archer", "email": "ann@example.com", "manager": "bob"})
    assert (ended.result["changed"], ended.result["fields"]) == (False, [])
    assert (there(office, "ann"), office.events("ann")) == (before, events)


def test_null_clears_what_may_be_empty_and_nothing_else(office: Office) -> None:
    office.world()
    assert office.do("update_user", {"user": "ann", "email": None, "manager": None, "external_id": None}).result["changed"]
    ann = there(office, "ann")
    assert (ann.email, ann.email_folded, ann.manager, ann.external_id) == (None, None, None, None)
    for field in ("username", "name", "path", "type", "is_active", "attributes"):
        assert office.accept("update_user", {"user": "ann", field: None}).reason == "bad_payload"


def test_an_old_message_cannot_undo_a_newer_change(office: Office) -> None:
    office.world()
    version = there(office, "ann").version
    assert office.do("update_user", {"user": "ann", "name": "Ann B", "expected_version": version}).state == "succeeded"
    stale = office.do("update_user", {"user": "ann", "name": "Ann A", "expected_version": version})
    assert (stale.state, stale.reason) == ("rejected", "stale_version")
    assert there(office, "ann").name == "Ann B"


def test_a_rename_keeps_the_old_name_for_its_owner(office: Office) -> None:
    office.world()
    ann = there(office, "ann")
    assert office.do("update_user", {"user": "ann", "username": "ann.archer"}).result["fields"] == ["username"]
    assert there(office, "ann.archer").id == ann.id
    assert there(office, "ANN").id == ann.id, "a late message with the old name means the same person"
    taken = office.do("update_user", {"user": "bob", "username": "Ann"})
    assert (taken.state, taken.reason) == ("rejected", "username_taken")
    assert office.do("update_user", {"user": "ann", "username": "ann"}).state == "succeeded"
    assert there(office, "ann").username == "ann"
    assert office.do("update_user", {"user": "bob", "username": "ann.archer"}).reason == "username_taken"


def test_another_spelling_of_the_same_name_is_a_rename_too(office: Office) -> None:
    office.world()
    assert office.do("update_user", {"user": "ann", "username": "Ann"}).result["changed"]
    assert there(office, "ann").username == "Ann"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"username": "bob"}, "username_taken"),
        ({"manager": "ann"}, "own_manager"),
        ({"manager": "nobody"}, "unknown_manager"),
        ({"email": "not an address"}, "bad_email"),
        ({"start_date": "2026-02-01", "end_date": "2026-01-31"}, "invalid"),
        ({"attributes": {"big": "x" * 60_000, "bigger": "x" * 6_000}}, None),
    ],
)
def test_refusals_change_nothing(office: Office, fields: dict[str, Any], reason: str | None) -> None:
    office.world()
    before, events = there(office, "ann"), office.events("ann")
    if reason is None:
        assert office.accept("update_user", {"user": "ann", **fields}).reason == "bad_payload"
    else:
        ended = office.do("update_user", {"user": "ann", "name": "Changed", **fields})
        assert (ended.state, ended.reason) == ("rejected", reason)
    assert (there(office, "ann"), office.events("ann")) == (before, events)


def test_somebody_elses_external_id_and_a_deleted_persons_are_refused(office: Office) -> None:
    office.world()
    taken = office.do("update_user", {"user": "bob", "external_id": "E-1001"})
    assert (taken.reason, taken.reason_text) == (
        "external_id_taken",
        "The external id E-1001 already belongs to the user ann. Check which of the two records is wrong.",
    )
    office.do("delete_user", {"user": "ann"})
    assert office.do("update_user", {"user": "bob", "external_id": "E-1001"}).reason == "deleted"


def test_a_new_address_ends_open_links_to_the_old_one(office: Office) -> None:
    office.world()
    user_id = there(office, "ann").id
    with office.scope() as scope:
        ann = accounts.by_ids(scope, [user_id])[user_id]
        link = recoveries.create(scope, ann, purpose="recovery", valid_for=timedelta(hours=1))
    office.do("update_user", {"user": "ann", "name": "Ann B"})
    assert [row["state"] for row in office.rows("recovery")] == ["open"]
    office.do("update_user", {"user": "ann", "email": "ann@example.org"})
    assert [row["state"] for row in office.rows("recovery")] == ["revoked"]
    with office.scope() as scope:
        assert recoveries.look(scope, link.token) is None


def test_is_active_does_what_the_jobs_of_that_name_do(office: Office) -> None:
    office.world()
    assert office.do("update_user", {"user": "bob", "is_active": False}).reason == "last_administrator"
    closed = office.do("update_user", {"user": "ann", "is_active": False, "name": "Ann Away"})
    assert closed.result["fields"] == ["is_active", "name"]
    assert set(closed.result["revoked"].values()) == {0}
    assert [e["action"] for e in office.events("ann")][-2:] == ["user.updated", "user.deactivated"]
    office.do("lock_user", {"user": "ann", "owner": "security team", "reason": "lost laptop"})
    assert office.do("update_user", {"user": "ann", "is_active": True}).reason == "locked"
    office.do("unlock_user", {"user": "ann"})
    epoch = there(office, "ann").epoch
    assert office.do("update_user", {"user": "ann", "is_active": True}).result["changed"]
    assert (there(office, "ann").is_active, there(office, "ann").epoch) == (True, epoch)


def test_opening_an_account_takes_back_its_planned_deletion(office: Office) -> None:
    office.world()
    office.do("delete_user", {"user": "ann", "grace": "P10D"})
    assert office.do("update_user", {"user": "ann", "is_active": True}).state == "succeeded"
    assert there(office, "ann").delete_at is None
    office.later(days=11)
    office.drain()
    assert there(office, "ann").is_active
    assert [job["state"] for job in office.jobs("delete_user")] == ["succeeded", "cancelled"]


def test_a_protected_account_is_left_alone(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        scope.conn.exec_driver_sql("UPDATE users SET type = 'internal_service_account' WHERE username = 'ann'")
    for kind, more in (("update_user", {"name": "x"}), ("deactivate_user", {}), ("delete_user", {}), ("offboard_user", {})):
        assert office.do(kind, {"user": "ann", **more}).reason == "protected_type", kind
    assert there(office, "ann").is_active


def test_a_manager_who_is_not_there_yet_is_looked_for_again(office: Office) -> None:
    office.world()
    ended = office.do("update_user", {"user": "ann", "manager": "zoe", "patience": 2})
    assert ended.result == {"changed": False, "user": there(office, "ann").id, "deferred_manager": "zoe"}
    assert office.do("update_user", {"user": "ann", "name": "Ann B"}).state == "succeeded", "it holds nothing else up"
    office.do("create_user", {"username": "zoe"})
    office.later(minutes=1)
    office.drain()
    assert there(office, "ann").manager == there(office, "zoe").id


def test_patience_ends(office: Office) -> None:
    office.world()
    office.do("update_user", {"user": "ann", "manager": "zoe", "patience": 1})
    for hours in (1, 7):
        office.later(hours=hours)
        office.drain()
    assert [(job["state"], job["reason"]) for job in office.jobs("update_user")] == [
        ("succeeded", None), ("succeeded", None), ("rejected", "unknown_manager"),
    ]  # fmt: skip
