"""`muster webhook`: an endpoint's whole life from the command line."""

from collections.abc import Iterator

import pytest
from receiver import Receiver
from shell import Shell


@pytest.fixture
def shell(sqlite_url: str) -> Iterator[Shell]:
    opened = Shell(sqlite_url)
    yield opened
    opened.close()


def add(shell: Shell, receiver: Receiver, *events: str) -> str:
    words = [word for event in events or ("*",) for word in ("--event", event)]
    secret: str = shell.one("webhook", "add", "hook", receiver.url, *words, "--private")["secret"]
    return secret


def create(shell: Shell, *names: str) -> None:
    for name in names:
        shell.submit("create_user", {"username": name})
    shell.work()


def test_added_it_hears_of_what_happens(shell: Shell, receiver: Receiver) -> None:
    secret = add(shell, receiver, "user.*")
    create(shell, "ola")
    [got] = receiver.got
    assert got.signed_with(secret)
    listed = shell.one("webhook", "list")
    assert (listed["name"], listed["state"], listed["events"], listed["waiting"]) == ("hook", "active", ["user.*"], 0)
    assert listed["created_by"].startswith("cli/")
    assert secret not in shell.muster("webhook", "list").stdout


def test_the_secret_is_the_only_thing_on_standard_output(shell: Shell, receiver: Receiver) -> None:
    result = shell.muster("webhook", "add", "hook", receiver.url, "--event", "*", "--private")
    assert result.stdout.startswith("whsec_")
    assert len(result.stdout.split()) == 1
    assert "Shown once" in result.stderr
    rotated = shell.one("webhook", "rotate", "hook")["secret"]
    assert rotated not in result.stdout


def test_no_endpoints_is_said(shell: Shell) -> None:
    shell.muster("db", "upgrade")
    assert "There are no endpoints" in shell.muster("webhook", "list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "hook", "http://example.org/", "--event", "*"], "https://"),
        (["add", "hook", "https://example.org/"], "Name the events"),
        (["add", "hook", "https://example.org/", "--event", "user.eaten"], "user.created"),
        (["change", "hook"], "Say what to change"),
        (["replay", "hook", "--since", "whenever"], "is no time"),
    ],
)
def test_bad_usage_ends_with_2(shell: Shell, words: list[str], said: str) -> None:
    result = shell.muster("webhook", *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [["test"], ["rotate"], ["resume"], ["pause", "--why", "x"], ["remove", "--yes"],
                                   ["replay", "--since", "1h"]])  # fmt: skip
def test_an_unknown_endpoint_ends_with_1(shell: Shell, words: list[str]) -> None:
    shell.muster("db", "upgrade")
    result = shell.muster("webhook", words[0], "nobody", *words[1:])
    assert (result.exit_code, "'nobody'" in result.stderr) == (1, True)


def test_a_test_says_what_it_answers(shell: Shell, receiver: Receiver) -> None:
    add(shell, receiver)
    assert shell.muster("webhook", "test", "hook").stdout == "204 No Content\n"
    receiver.answers(401)
    result = shell.muster("webhook", "test", "hook")
    assert (result.exit_code, "401 Unauthorized" in result.stdout) == (1, True)
    assert shell.one("webhook", "test", "hook", code=1)["status"] == 401


def test_paused_and_resumed(shell: Shell, receiver: Receiver) -> None:
    add(shell, receiver, "user.created")
    assert shell.one("webhook", "pause", "hook", "--why", "moving house")["changed"] is True
    create(shell, "ola", "pat")
    assert receiver.got == []
    assert "moving house" in shell.muster("webhook", "list").stdout
    assert shell.one("webhook", "resume", "hook")["deliveries"] == 2
    shell.work()
    assert len(receiver.got) == 2


def test_changed_it_hears_of_something_else(shell: Shell, receiver: Receiver) -> None:
    add(shell, receiver, "user.*")
    assert shell.one("webhook", "change", "hook", "--event", "group.*")["events"] == ["group.*"]
    create(shell, "ola")
    assert receiver.got == []
    result = shell.muster("webhook", "change", "hook", "--public")
    assert (result.exit_code, "https://" in result.stderr) == (2, True)


def test_a_replay_tells_it_again(shell: Shell, receiver: Receiver) -> None:
    add(shell, receiver, "user.created")
    create(shell, "ola", "pat")
    first = receiver.ids()
    assert shell.one("webhook", "replay", "hook", "--since", "1h", "--dry-run")["deliveries"] == 2
    assert len(receiver.got) == 2
    assert shell.one("webhook", "replay", "hook", "--since", "1h")["deliveries"] == 2
    shell.work()
    assert sorted(receiver.ids()[2:]) == sorted(first)


def test_removed_it_is_told_nothing_more(shell: Shell, receiver: Receiver) -> None:
    add(shell, receiver, "user.created")
    receiver.answers(500)
    create(shell, "ola")
    assert shell.one("webhook", "remove", "hook", "--dry-run")["cancelled"] == 1
    assert shell.one("webhook", "list")["waiting"] == 1
    assert shell.one("webhook", "remove", "hook", "--yes") == {
        "name": "hook", "removed": True, "cancelled": 1, "dry_run": False,
    }  # fmt: skip
    assert shell.objects("webhook", "list") == []


def test_doctor_tells_of_endpoints_that_fail_or_are_paused(shell: Shell, receiver: Receiver) -> None:
    def told() -> list[tuple[str, str]]:
        return [
            (check["state"], check["text"]) for check in shell.one("doctor")["checks"] if check["check"] == "webhooks"
        ]

    shell.muster("db", "upgrade")
    assert told() == []
    add(shell, receiver, "user.created")
    assert told() == [("ok", "all 1 endpoints take what they are told")]
    receiver.answers(500)
    create(shell, "ola")
    [(state, text)] = told()
    assert (state, "hook fails since" in text, "500" in text) == ("warn", True, True)
    shell.muster("webhook", "pause", "hook", "--why", "moving house")
    [(state, text)] = told()
    assert (state, "moving house" in text, "muster webhook resume hook" in text) == ("warn", True, True)
