"""`muster demo` shows the whole way by itself, and leaves a folder to go on with."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from shell import environment


def muster(folder: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "worker", *words], cwd=folder, env=environment(folder, **settings), capture_output=True,
        text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of one demonstration, and what it printed. Settings that would lead it astray are ignored."""
    folder = tmp_path_factory.mktemp("demo")
    done = muster(folder, "demo", "--dir", "here", database_url="postgresql://nobody@127.0.0.1:1/none", unique_email="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder / "here", done.stdout


def rows(folder: Path, *words: str) -> list[dict[str, object]]:
    done = muster(folder, *words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_walks_from_the_feed_to_the_mails(shown: tuple[Path, str]) -> None:
    text = shown[1]
    parts = [
        "before today", "The HR feed comes in", "What was done", "Refused at the door", "turned down by the directory",
        "One leaver", "Mails", "opened", "One person", "The same file once more", "Go on from here",
    ]  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    for words in ("There is no job promote_user", "used before for something else", "ola.normann", "There is no user"):
        assert words in " ".join(text.split())
    assert "Welcome, Emma Lindqvist!" in text
    assert re.search(r"revoked +sessions: \d", text)


def test_the_same_feed_again_does_nothing(shown: tuple[Path, str]) -> None:
    again = shown[1].partition("The same file once more")[2]
    found = re.search(r"(\d+) lines: (\d+) new jobs, (\d+) handed in before, (\d+) refused. Jobs .*: (\d+), now: (\d+)", again)
    assert found
    lines, new, known, refused, before, now = map(int, found.groups())
    assert (new, known + refused, now) == (0, lines, before)


def test_it_is_plain_text_without_a_terminal(shown: tuple[Path, str]) -> None:
    assert "\x1b" not in shown[1]
    assert "\r" not in shown[1]
    assert "Traceback" not in (shown[0] / "muster.log").read_text()


def test_the_folder_can_be_gone_on_with(shown: tuple[Path, str]) -> None:
    folder = shown[0]
    users = rows(folder, "users", "list", "--limit", "100")
    assert 45 <= len(users) <= 60
    assert {user["username"] for user in users if not user["is_active"]} >= {"omar.haddad", "joao.pereira", "lucia.ferrari"}
    assert rows(folder, "jobs", "list", "--state", "failed") == []
    doctor = muster(folder, "doctor")
    assert doctor.returncode == 0, doctor.stdout


def test_who_came_and_left_has_no_access(shown: tuple[Path, str]) -> None:
    found = rows(shown[0], "users", "list", "--search", "quick.quitter")
    assert [user for user in found if user["is_active"]] == []


def test_the_feed_can_be_handed_in_by_anybody(shown: tuple[Path, str]) -> None:
    folder = shown[0]
    first = muster(folder, "submit", "--batch", "messages.ndjson", "--dry-run")
    assert first.returncode == 2
    done = muster(folder, "submit", "--batch", "messages.ndjson", "--source", "demo")
    assert done.returncode == 1
    assert done.stdout == "50 new, 2 handed in before, 5 refused.\n"


def test_a_folder_in_use_is_left_alone(shown: tuple[Path, str]) -> None:
    before = sorted(shown[0].iterdir())
    done = muster(shown[0], "demo", "--dir", ".")
    assert done.returncode == 2
    assert "holds a database already" in done.stdout
    assert sorted(shown[0].iterdir()) == before


def test_on_a_terminal_it_draws(tmp_path: Path) -> None:
    words: Sequence[str] = (sys.executable, "-m", "worker", "demo", "--dir", str(tmp_path / "tty"))
    import pty

    seen: list[bytes] = []

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        seen.append(data)
        return data

    before = dict(os.environ)
    os.environ.update(environment(tmp_path) | {"TERM": "xterm-256color"})
    try:
        code = pty.spawn(list(words), read)
    finally:
        os.environ.clear()
        os.environ.update(before)
    text = b"".join(seen).decode()
    assert os.waitstatus_to_exitcode(code) == 0
    assert "\x1b[" in text
    assert "working" in text
