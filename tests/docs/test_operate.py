"""docs/operate.md can be followed: its commands exist, its questions can be asked, its names are the code's."""

import re
import shlex
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from manual import DOCS, ROOT, blocks, example, page, pages
from office import Office
from shell import Shell
from sqlalchemy import text

from worker.cli import cli
from worker.outcomes import REASONS
from worker.settings import PREFIX, Settings
from worker.states import State

QUESTIONS = re.findall(r"<!-- example: (\w+) -->\n```sql", page("operate.md"))


def commands() -> list[str]:
    """Every line in every page that calls muster, without the words that explain it."""
    return sorted({
        re.split(r"\s{2,}", line)[0]
        for path in pages()
        for language in ("sh", "")
        for block in blocks(language, path.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.startswith("muster ")
    })  # fmt: skip


@pytest.mark.parametrize("line", commands())
def test_every_command_that_a_page_shows_exists(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "feed.ndjson").write_text("")
    _, *words = shlex.split(line)
    command: click.Command = cli
    context = click.Context(cli, info_name="muster")
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"`{line}`: there is no {name}"
        command = found
    command.make_context(command.name, words, parent=context)  # reads the options, carries nothing out


def test_every_command_inside_a_sentence_exists() -> None:
    for path in pages():
        for words in re.findall(r"`muster ([a-z][a-z -]*)", path.read_text(encoding="utf-8")):
            command: click.Command = cli
            for word in words.split():
                if not isinstance(command, click.Group):
                    break
                found = command.get_command(click.Context(cli), word)
                assert found is not None, f"{path.name}: there is no `muster {words}`"
                command = found


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_can_be_asked(postgres_url: str, tmp_path: Path, name: str) -> None:
    office = Office(postgres_url, mail_folder=tmp_path)
    try:
        office.world()
        office.submit("create_group", {"group": "waits"})
        office.submit("offboard_user", {"user": "carol", "retention": "P1D"})
        office.drain()
        office.submit("create_group", {"group": "still waits"})
        with office.app.database.read() as conn:
            answer = conn.execute(text(example(name, "operate.md"))).mappings().all()
    finally:
        office.close()
    expected = {"deletions": ["username", "delete_at"], "failed": ["kind", "state", "reason", "count"]}
    if name in expected and answer:
        assert list(answer[0]) == expected[name]
    assert isinstance(answer, list)


def test_the_questions_are_about_what_they_say(postgres_url: str) -> None:
    office = Office(postgres_url)
    try:
        office.world()
        office.submit("create_group", {"group": "due"})
        office.accept("create_group", {"group": "held"}, hold="wait for the go-ahead")
        with office.app.database.write() as conn:
            conn.execute(text("UPDATE job SET run_at = now() - interval '1 hour' WHERE state = 'queued'"))
            due = conn.execute(text(example("due", "operate.md"))).mappings().all()
            waiting = conn.execute(text(example("waiting", "operate.md"))).mappings().all()
        assert [(row["kind"], row["due"]) for row in due] == [("create_group", 1)]
        assert due[0]["oldest"].total_seconds() > 3500
        assert [(row["state"], row["reason_text"]) for row in waiting] == [("held", "wait for the go-ahead")]
    finally:
        office.close()


def test_a_backup_of_sqlite_is_whole(tmp_path: Path, sqlite_template: Path) -> None:
    live = tmp_path / "muster.db"
    live.write_bytes(sqlite_template.read_bytes())
    office = Office(f"sqlite:///{live}")
    office.submit("create_group", {"group": "staff"})  # stands in the write-ahead log alone
    command = shlex.split(example("backup", "operate.md"))
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    office.close()
    copy = sqlite3.connect(tmp_path / "backup.db")
    assert copy.execute("SELECT kind FROM job").fetchall() == [("create_group",)]
    copy.close()


def test_expired_recovery_mails_are_brought_back_by_the_command_that_the_page_gives(tmp_path: Path) -> None:
    from worker.migrate import upgrade

    url = f"sqlite:///{tmp_path}/muster.db"
    upgrade(url)
    shell = Shell(url)
    office = shell.office
    office.world()
    mail = office.submit("send_recovery_email", {"user": "ann"})
    office.later(hours=48)  # nobody worked all this time
    office.drain()
    assert (office.ended(mail).state, office.ended(mail).reason) == ("cancelled", "expired")
    [line] = [line for line in commands() if line == "muster jobs retry --kind send_recovery_email --since 3d"]
    assert shell.muster(*shlex.split(line)[1:]).exit_code == 0
    office.now = datetime.now(UTC)
    office.drain()
    assert office.ended(mail).state == "succeeded"
    office.close()


def test_every_variable_exists_and_every_event_is_logged() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {f"{PREFIX}CONFIG", f"{PREFIX}REQUIRE"}
    source = "\n".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    for path in pages():
        told = path.read_text(encoding="utf-8")
        assert set(re.findall(r"MUSTER_[A-Z_]+[A-Z]", told)) <= known, path.name
    logs = page("operate.md").partition("Worth an alert:")[2].partition("\n\n")[0]
    events = re.findall(r"`(\w+\.\w+)`", logs)
    assert len(events) > 4
    assert all(f'"{event}"' in source for event in events)


def test_states_and_reasons_are_the_codes() -> None:
    for path in (DOCS / "operate.md", DOCS / "enqueue.md"):
        told = path.read_text(encoding="utf-8")
        for state in re.findall(r"--state (\w+)", told):
            assert state in set(State)
        for reason in re.findall(r"\(`([a-z]+_[a-z_]+)`\)", told):
            assert reason in REASONS or reason in {"restore_user", "newer_version"}, f"{path.name}: {reason}"
