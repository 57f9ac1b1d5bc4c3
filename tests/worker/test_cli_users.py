"""`muster users` and `muster groups`: looking at people, and recovering, resetting and deleting them, on both databases."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from shell import Shell

from worker.directory import credentials, recoveries
from worker.jobs import UserRef


@pytest.fixture
def shell(database_url: str) -> Iterator[Shell]:
    opened = Shell(database_url)
    opened.office.world()
    yield opened
    opened.close()


@pytest.fixture
def embedded(sqlite_url: str) -> Iterator[Shell]:
    """On SQLite without a worker the commands do their jobs themselves."""
    opened = Shell(sqlite_url)
    opened.office.world()
    yield opened
    opened.close()


def names(shell: Shell, *words: str) -> list[str]:
    return [user["username"] for user in shell.objects("users", "list", *words)]


def test_the_list_filters_and_goes_page_by_page(shell: Shell) -> None:
    assert names(shell) == ["ann", "bob", "carol"]
    assert names(shell, "--active") == ["ann", "bob"]
    assert names(shell, "--inactive") == ["carol"]
    assert names(shell, "--search", "BAKER") == ["bob"]
    assert names(shell, "--search", "e-1001") == ["ann"]
    assert names(shell, "--search", "%") == []
    assert names(shell, "--path", "users") == ["ann", "bob", "carol"]
    assert names(shell, "--path", "user") == []
    assert names(shell, "--limit", "1", "--after", "ANN") == ["bob"]


def test_a_page_shows_everything_but_what_opens_the_door(shell: Shell) -> None:
    user = shell.office.user("ann")
    assert user is not None
    shell.office.do("grant_permission", {"name": "read", "group": "staff"})
    with shell.office.scope() as scope:
        made = credentials.issue_session(scope, user.id, timedelta(hours=1), "192.0.2.1", "Firefox")
        assert made is not None
        credentials.record_consent(scope, user.id, "wiki", ["openid"])
        credentials.register_mfa_device(scope, user.id, "totp", "phone", "vault:secret-ref")
    page = shell.one("users", "show", "external_id:E-1001")
    assert (page["username"], page["manager"], page["has_password"]) == ("ann", "bob", False)
    assert page["groups"] == [{"group": "staff", "via": "staff", "origin": "manual"}]
    assert page["permissions"] == [{"permission": "read", "object": None, "via": "staff"}]
    assert [(one["ip"], one["usable"]) for one in page["sessions"]] == [("192.0.2.1", True)]
    assert [one["application"] for one in page["consents"]] == ["wiki"]
    assert [one["type"] for one in page["mfa_devices"]] == ["totp"]
    assert page["events"][0]["action"] == "user.created"
    assert made.token not in json.dumps(page)
    assert "secret-ref" not in json.dumps(page)
    text = shell.muster("users", "show", "ann").stdout
    for words in ("Ann Archer (ann)", "Sessions", "192.0.2.1", "Consents", "MFA devices", "Events", "read"):
        assert words in text
    assert len(shell.one("users", "show", "ann", "--events", "1")["events"]) == 1


def test_a_name_steers_no_terminal(shell: Shell) -> None:
    from sqlalchemy import update

    from worker.tables import users

    with shell.office.scope() as scope:  # as another program might have written it
        scope.conn.execute(update(users).where(users.c.username == "ann").values(name="[red]A\x1b[2Jnn\u202e"))
    for words in (("users", "list"), ("users", "show", "ann")):
        text = shell.muster(*words).stdout
        assert "[red]A\\u001b[2Jnn\\u202e" in text
        assert "\x1b" not in text


def test_an_unknown_user_ends_with_1(shell: Shell) -> None:
    result = shell.muster("users", "show", "nobody")
    assert result.exit_code == 1
    assert "There is no user nobody" in result.stderr


def test_a_recovery_link_is_shown_once_works_and_leaves_no_trace(embedded: Shell) -> None:
    result = embedded.muster("users", "recovery-link", "ann")
    assert result.exit_code == 0
    [link] = result.stdout.splitlines()
    token = link.rpartition("/")[2]
    assert token not in repr(embedded.rows())
    assert "recovery.link_shown" in {event["action"] for event in embedded.office.events("ann")}
    with embedded.office.scope() as scope:
        shown = recoveries.look(scope, token)
    assert shown is not None
    assert shown.username == "ann"


def test_no_link_for_who_may_not_get_in(embedded: Shell) -> None:
    result = embedded.muster("users", "recovery-link", "carol")
    assert result.exit_code == 1
    assert "carol is not active" in result.stderr
    assert result.stdout == ""


def test_a_password_is_hashed_at_the_door(embedded: Shell) -> None:
    password = "correct horse battery"
    assert embedded.muster("users", "reset-password", "ann", "--stdin", given=f"{password}\n").exit_code == 0
    assert password not in repr(embedded.rows())
    with embedded.office.scope() as scope:
        assert credentials.check_password(scope, UserRef(username="ann"), password) is not None
    asked = embedded.muster("users", "reset-password", "bob", given=f"{password}\n{password}\n")
    assert asked.exit_code == 0
    assert password not in asked.stdout + asked.stderr


def test_a_weak_password_is_bad_input(embedded: Shell) -> None:
    result = embedded.muster("users", "reset-password", "ann", "--stdin", given="short\n")
    assert result.exit_code == 2
    assert "12 to 1024" in result.stderr


def test_delete_says_what_would_go_and_then_deletes(embedded: Shell) -> None:
    before = embedded.rows()
    tried = embedded.muster("users", "delete", "ann", "carol", "nobody", "--dry-run")
    assert tried.exit_code == 1
    assert "member of staff" in tried.stdout
    assert "There is no user nobody" in " ".join(tried.stdout.split())
    assert embedded.rows() == before
    done = embedded.objects("users", "delete", "ann", "carol", "--yes")
    assert [(one["user"], one["state"]) for one in done] == [("ann", "succeeded"), ("carol", "succeeded")]
    assert names(embedded) == ["bob"]


def test_the_last_administrator_is_not_deleted(embedded: Shell) -> None:
    result = embedded.muster("users", "delete", "bob", "--yes")
    assert result.exit_code == 1
    assert "last administrator" in " ".join(result.stdout.split())
    assert "bob" in names(embedded)


def test_groups_are_listed_and_shown(shell: Shell) -> None:
    shell.office.do("create_group", {"group": "night shift", "parents": ["staff"]})
    shell.office.do("add_to_group", {"user": "bob", "group": "night shift"})
    rows = {group["name"]: group for group in shell.objects("groups", "list")}
    assert list(rows) == ["administrators", "night shift", "staff"]
    assert (rows["night shift"]["members"], rows["night shift"]["parents"]) == (1, ["staff"])
    assert [group["name"] for group in shell.objects("groups", "list", "--search", "SHIFT")] == ["night shift"]
    assert [group["name"] for group in shell.objects("groups", "list", "--after", "administrators", "--limit", "1")] == [
        "night shift"
    ]
    page = shell.one("groups", "show", "Staff")
    assert (page["children"], page["member_count"], page["direct_member_count"]) == (["night shift"], 2, 1)
    assert page["members"] == [
        {"username": "ann", "is_active": True, "direct": True}, {"username": "bob", "is_active": True, "direct": False},
    ]  # fmt: skip
    assert "inherited" in shell.muster("groups", "show", "staff").stdout
    assert shell.muster("groups", "show", "nowhere").exit_code == 1
