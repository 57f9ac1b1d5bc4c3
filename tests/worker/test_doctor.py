"""`muster doctor` finds what is wrong, says what to do, and ends with the right code, on both databases."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from doors import doors_of
from shell import Shell

from worker.api import health
from worker.cli import cli
from worker.mail.catcher import Catcher


def checks(shell: Shell, code: int) -> dict[str, dict[str, Any]]:
    found = shell.one("doctor", code=code)
    assert found["ok"] is (code == 0)
    return {check["check"]: check for check in found["checks"]}


def test_all_is_well(database_url: str, broker_url: str) -> None:
    with Catcher() as catcher:
        shell = Shell(database_url, smtp_url=catcher.url, broker_url=broker_url, listen="127.0.0.1:0")
        found = checks(shell, 0)
        shell.office.keeper.enlist()
        assert checks(shell, 0)["workers"]["state"] == "ok"
        shell.close()
    assert list(found) == [
        "settings", "secret key", "database", "schema", "same key", "workers", "backlog", "clock", "queue", "relay",
        "breaker", "templates", "http",
    ]  # fmt: skip
    assert {check["state"] for name, check in found.items() if name != "workers"} == {"ok"}
    assert found["workers"]["state"] == "warn"


def test_before_the_first_start_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor"], env={"MUSTER_DATABASE_URL": f"sqlite:///{tmp_path}/muster.db"})
    assert result.exit_code == 0
    assert "muster up" in result.stdout
    assert not list(tmp_path.iterdir())


def test_a_wrong_setting(sqlite_url: str) -> None:
    shell = Shell(sqlite_url, zone="Mars/Olympus")
    assert "MUSTER_ZONE" in checks(shell, 1)["settings"]["text"]
    shell.close()


def test_mails_in_a_folder_are_a_warning(sqlite_url: str) -> None:
    shell = Shell(sqlite_url)
    relay = checks(shell, 0)["relay"]
    assert relay["state"] == "warn"
    assert "trying out" in relay["text"]
    shell.close()


def test_a_relay_that_is_away_ends_with_3(database_url: str) -> None:
    shell = Shell(database_url, smtp_url="smtp://127.0.0.1:1")
    assert checks(shell, 3)["relay"]["state"] == "away"
    shell.close()


def test_a_queue_that_is_away_ends_with_3(database_url: str) -> None:
    shell = Shell(database_url, broker_url="redis://127.0.0.1:1/0")
    assert checks(shell, 3)["queue"]["state"] == "away"
    shell.close()


def test_a_database_that_is_away_ends_with_3(sqlite_url: str) -> None:
    shell = Shell(sqlite_url)
    shell.env["MUSTER_DATABASE_URL"] = "postgresql://muster:hidden-word@127.0.0.1:1/muster"
    found = checks(shell, 3)
    assert found["database"]["state"] == "away"
    assert "hidden-word" not in str(found)
    shell.close()


def test_another_secret_key_is_found(database_url: str) -> None:
    shell = Shell(database_url)
    shell.env["MUSTER_SECRET_KEY"] = "another key of more than thirty-two characters"
    found = checks(shell, 1)["same key"]
    assert "first key" in found["text"]
    shell.close()


def test_an_old_schema_says_what_to_type(database_url: str) -> None:
    from sqlalchemy import text

    shell = Shell(database_url)
    with shell.office.scope() as scope:
        scope.conn.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert "muster db upgrade" in checks(shell, 1)["schema"]["text"]
    shell.close()


def test_a_broken_template_is_named(sqlite_url: str, tmp_path: Path) -> None:
    own = tmp_path / "own" / "send_welcome_email"
    own.mkdir(parents=True)
    (own / "body.txt").write_text("Dear {{ nmae }}")
    shell = Shell(sqlite_url, templates=str(own.parent))
    assert "nmae" in checks(shell, 1)["templates"]["text"]
    shell.close()


def test_a_job_that_waits_too_long_is_told(database_url: str) -> None:
    shell = Shell(database_url)
    shell.office.later(minutes=-20)
    shell.office.submit("create_group", {"group": "staff"})
    backlog = checks(shell, 0)["backlog"]
    assert backlog["state"] == "warn"
    assert "20 minutes" in backlog["text"]
    shell.close()


def test_a_key_file_that_others_can_read_is_a_warning(sqlite_url: str) -> None:
    file = Path(sqlite_url.removeprefix("sqlite:///")).with_suffix(".key")
    file.write_text("k" * 64)
    file.chmod(0o644)
    result = CliRunner().invoke(cli, ["doctor", "--json"], env={"MUSTER_DATABASE_URL": sqlite_url})
    assert f"chmod 600 {file}" in result.stdout


@pytest.mark.parametrize("width", ["60", "80"])
def test_it_reads_well_on_a_narrow_screen(sqlite_url: str, width: str) -> None:
    shell = Shell(sqlite_url)
    shell.env["COLUMNS"] = width
    text = shell.muster("doctor").stdout
    assert max(map(len, text.splitlines())) <= int(width)
    shell.close()


def test_who_answers_at_the_address_of_the_doors(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_SECONDS", -1.0)
    shell = Shell(sqlite_url)
    with doors_of(shell.office) as doors:
        shell.env["MUSTER_LISTEN"] = doors.url.removeprefix("http://")
        found = checks(shell, 0)["http"]
        assert (found["state"], found["text"]) == ("ok", f"Muster answers at {shell.env['MUSTER_LISTEN']}")
        shell.office.submit("create_group", {"group": "waits"})
        shell.office.later(minutes=1)
        assert "not all is well: consuming" in checks(shell, 0)["http"]["text"]
    assert "nothing answers" in checks(shell, 0)["http"]["text"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        shell.env["MUSTER_LISTEN"] = f"127.0.0.1:{other.getsockname()[1]}"

        def hang_up() -> None:
            other.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        found = checks(shell, 0)["http"]
        assert (found["state"], "MUSTER_LISTEN" in found["text"]) == ("warn", True)
    shell.close()
