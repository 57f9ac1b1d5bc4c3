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


def test_it_walks_from_the_file_to_the_mails(shown: tuple[Path, str]) -> None:
    text = shown[1]
    parts = [
        "before today", "Monday: HR sends its file", "feed plan hr monday.csv", "Nothing has been changed.",
        "feed apply hr monday.csv", "45 jobs: 45 succeeded.", "Tuesday: people move and leave", "feed plan hr tuesday.csv",
        "feed apply hr tuesday.csv", "The refused records come back", '"error_code";"error_text";"PersonnelNo"', "Wednesday: a filter went wrong",
        "Held by these brakes", "Nobody was touched: 44 people are still active.", "What was done", "5. One leaver", "6. Mails",
        "One of them, opened", "7. One person", "8. Tuesday's file once more", "No job was needed.", "Go on from here",
    ]  # fmt: skip
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert "Welcome, Emma Lindqvist!" in text
    assert re.search(r"revoked +sessions: \d", text)


def test_its_plan_shows_what_changes_and_by_which_rule(shown: tuple[Path, str]) -> None:
    text = " ".join(shown[1].split())
    for words in (
        "E-1009 Zofia Nowak zofia.nowak department: engineering → platform", "-engineering (the department's group)",
        "takes over the account tomas.kral; found by external_id", "manager E-9999 is not there yet",
        "E-3005 Emma Lindqvist emma.lindqvist2", "leave of absence: suspended, groups kept", "leaves at the end of 2031-03-31",
        "tuesday.csv:50 E-3004 bad_date Column “LastDay”: “31.02.2031” is no date",
        "The id E-3006 stands on line 53 too, with other content.", "42 people who lose their access; at most 5 of 45",
    ):
        assert words in text


def test_the_refused_records_can_be_corrected_and_sent_again(shown: tuple[Path, str]) -> None:
    rows = (shown[0] / "failed.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 6
    corrected = [row.replace("Aktiv\"", "Active\"") for row in rows if "E-3003" in row or "error_code" in row]
    (shown[0] / "corrected.csv").write_text("\r\n".join(corrected) + "\r\n", encoding="utf-8")
    done = muster(shown[0], "feed", "apply", "hr", "corrected.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 joiner" in done.stdout
    assert "leaver" not in done.stdout


def test_the_same_file_again_does_nothing(shown: tuple[Path, str]) -> None:
    found = re.search(r"Jobs in the ledger before: (\d+), now: (\d+)", shown[1])
    assert found
    assert found[1] == found[2]


def test_it_is_plain_text_without_a_terminal(shown: tuple[Path, str]) -> None:
    assert "\x1b" not in shown[1]
    assert "\r" not in shown[1]
    assert "Traceback" not in (shown[0] / "muster.log").read_text()


def test_the_folder_can_be_gone_on_with(shown: tuple[Path, str]) -> None:
    folder = shown[0]
    users = rows(folder, "users", "list", "--limit", "100")
    assert 45 <= len(users) <= 60
    assert {user["username"] for user in users if not user["is_active"]} >= {"omar.haddad", "joao.pereira", "andrei.popescu"}
    assert rows(folder, "jobs", "list", "--state", "failed") == []
    doctor = muster(folder, "doctor")
    assert doctor.returncode == 0, doctor.stdout


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
