"""`muster token`: a token is shown once, listed without what opens, and revoked at once, on both databases."""

from collections.abc import Iterator

import pytest
from doors import doors_of
from shell import Shell

from worker import api_tokens


@pytest.fixture
def shell(database_url: str) -> Iterator[Shell]:
    opened = Shell(database_url)
    yield opened
    opened.close()


def test_it_is_shown_once_and_nothing_else_on_that_stream(shell: Shell) -> None:
    made = shell.muster("token", "create", "hr-sync", "--scope", "jobs:submit:add_*", "--scope", "jobs:read")
    assert made.exit_code == 0
    token = made.stdout.strip()
    assert "\n" not in token
    assert "Shown once. It works until it is revoked." in made.stderr
    assert token not in made.stderr
    with shell.office.app.database.read() as conn:
        found = api_tokens.find(conn, token, shell.office.now)
    assert found is not None
    assert found[0].scopes == ("jobs:read", "jobs:submit:add_*")
    listed = shell.muster("token", "list")
    assert "hr-sync" in listed.stdout
    assert token not in listed.stdout
    assert token.split("_")[2] not in str(shell.rows())


def test_made_for_a_program(shell: Shell) -> None:
    made = shell.one("token", "create", "x", "--scope", "look", "--scope", "look", "--expires", "90d")
    assert made["scopes"] == ["look"]
    assert made["token"].startswith("muster_")
    [row] = shell.objects("token", "list")
    assert (row["name"], row["state"], row["scopes"], row["last_used_at"]) == ("x", "valid", ["look"], None)
    assert row["expires_at"] == made["expires_at"]
    assert not {"digest", "lookup", "token"} & set(row)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hr sync", "--scope", "look"), "name has 1 to 64"),
        (("x", "--scope", "everything"), "There is no scope 'everything'"),
        (("x",), "--scope"),
        (("x", "--scope", "look", "--expires", "2001-01-01"), "expired already"),
        (("x", "--scope", "look", "--expires", "whenever"), "whenever"),
    ],
)
def test_what_cannot_be_made_is_said(shell: Shell, words: tuple[str, ...], said: str) -> None:
    made = shell.muster("token", "create", *words)
    assert made.exit_code == 2
    assert said in " ".join(made.stderr.replace("│", " ").split())
    assert shell.office.rows("api_token") == []


def test_a_name_that_was_given_is_not_given_again(shell: Shell) -> None:
    shell.one("token", "create", "x", "--scope", "look")
    shell.muster("token", "revoke", "x", "--yes")
    again = shell.muster("token", "create", "x", "--scope", "look")
    assert again.exit_code == 2
    assert "every name is given once" in " ".join(again.stderr.replace("│", " ").split())


def test_revoked_is_revoked_at_once(shell: Shell) -> None:
    token = shell.one("token", "create", "x", "--scope", "users:read")["token"]
    with doors_of(shell.office) as doors:
        caller = doors.caller()
        bearer = {"Authorization": f"Bearer {token}"}
        assert caller.get("/v1/users", headers=bearer).status_code == 200
        assert shell.one("token", "revoke", "x", "--yes") == {"revoked": ["x"]}
        assert caller.get("/v1/users", headers=bearer).status_code == 401
    assert shell.one("token", "revoke", "x", "--yes") == {"revoked": []}
    assert "had been revoked before" in shell.muster("token", "revoke", "x", "--yes").stdout
    [row] = shell.objects("token", "list")
    assert row["state"] == "revoked"
    assert row["revoked_by"]


def test_revoking_several_is_all_or_nothing(shell: Shell) -> None:
    shell.one("token", "create", "x", "--scope", "look")
    gone = shell.muster("token", "revoke", "x", "nobody", "--yes")
    assert gone.exit_code != 0
    assert "There is no token nobody" in gone.stderr
    assert [row["state"] for row in shell.objects("token", "list")] == ["valid"]


def test_an_empty_list_says_what_to_type(shell: Shell) -> None:
    listed = shell.muster("token", "list")
    assert "muster token create NAME --scope look" in listed.stdout + listed.stderr
