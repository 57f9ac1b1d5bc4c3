"""Trying a job out says what it would do, and leaves nothing behind, on both databases."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from shell import Shell


@pytest.fixture
def shell(database_url: str) -> Iterator[Shell]:
    opened = Shell(database_url, smtp_url="smtp://127.0.0.1:1")  # nobody listens there
    opened.office.world()
    yield opened
    opened.close()


def tried(shell: Shell, kind: str, fields: Mapping[str, Any], *, code: int = 0) -> dict[str, Any]:
    """Try a job out, and make sure that the database is as it was."""
    before = shell.rows()
    found = shell.submit(kind, fields, "--dry-run", code=code)
    assert shell.rows() == before
    return found


def changes(found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {change["what"]: (change["before"], change["after"]) for change in found["changes"]}


def test_a_bulk_job_shows_rows_events_and_what_follows(shell: Shell) -> None:
    found = tried(shell, "offboard_user", {"user": "ann", "reason": "left"})
    assert found["state"] == "succeeded"
    assert changes(found)["user is_active"] == (True, False)
    assert changes(found)["member of staff"] == ("manual", None)
    assert "user.offboarded" in {event["action"] for event in found["events"]}
    assert {(one["kind"], one["about"]) for one in found["follow_ups"]} >= {("delete_user", "ann")}


def test_a_new_person_has_no_before(shell: Shell) -> None:
    found = tried(shell, "create_user", {"username": "dora", "groups": ["staff"]})
    assert changes(found)["user username"] == (None, "dora")
    assert changes(found)["member of staff"] == (None, "manual")


def test_a_single_job_and_a_group(shell: Shell) -> None:
    found = tried(shell, "update_group", {"group": "staff", "attributes": {"floor": 3}})
    assert changes(found) == {"group attribute floor": (None, 3)}
    assert changes(tried(shell, "create_group", {"group": "new", "parents": ["staff"]}))["parent staff"] == (None, True)
    assert changes(tried(shell, "delete_group", {"group": "staff", "force": True}))["group name"] == ("staff", None)


def test_a_job_for_later_is_tried_as_of_now(shell: Shell) -> None:
    before = shell.rows()
    found = shell.submit("deactivate_user", {"user": "ann"}, "--at", "2h", "--dry-run")
    assert changes(found)["user is_active"] == (True, False)
    assert shell.rows() == before


def test_a_mail_is_not_sent(shell: Shell) -> None:
    found = tried(shell, "send_recovery_email", {"user": "ann"})
    assert found["letter"]["email"] == "ann@example.com"
    assert changes(found) == {"recoveries": (0, 1)}


def test_a_password_is_not_shown(shell: Shell) -> None:
    from worker.directory.passwords import hash_password

    phc = hash_password("correct horse battery")
    found = tried(shell, "reset_password", {"user": "ann", "password_hash": phc})
    assert changes(found)["user password_hash"] == (None, "(set)")
    assert "argon2" not in str(found)


def test_a_refusal_is_told_and_ends_with_1(shell: Shell) -> None:
    found = tried(shell, "add_to_group", {"user": "ann", "group": "nowhere"}, code=1)
    assert (found["state"], found["reason"]) == ("rejected", "unknown_group")
    assert tried(shell, "create_group", {}, code=1)["reason"] == "bad_payload"


def test_what_waits_before_it_and_what_it_would_cancel(shell: Shell) -> None:
    shell.submit("add_to_group", {"user": "ann", "group": "administrators"})
    assert tried(shell, "update_user", {"user": "ann", "name": "Ann"})["ahead"] == 1
    found = tried(shell, "deactivate_user", {"user": "ann"})
    assert found["ahead"] == 0
    [other] = found["jobs_changed"]
    assert (other["kind"], other["after"]) == ("add_to_group", "cancelled")


def test_a_key_that_is_known_does_nothing(shell: Shell) -> None:
    first = shell.submit("create_group", {"group": "new"}, "--key", "k")
    found = shell.submit("create_group", {"group": "new"}, "--key", "k", "--dry-run", code=1)
    assert found["duplicate_of"] == first["id"]


def test_people_read_it_as_tables(shell: Shell) -> None:
    result = shell.muster("submit", "offboard_user", '{"user": "ann"}', "--dry-run")
    assert result.exit_code == 0
    for words in ("nothing was changed", "member of staff", "Audit trail", "Jobs that would follow"):
        assert words in result.stdout
