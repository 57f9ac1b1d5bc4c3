"""The command line starts quickly, says what it can do, and ends with the promised exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from servers import PostgresServer
from shell import environment

from worker.cli import cli

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"sqlalchemy", "pydantic", "jinja2", "alembic", "redis", "rich", "dramatiq", "psycopg", "argon2", "email_validator"}


def in_fresh_python(statement: str, folder: Path) -> str:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd=folder,
        env=environment(folder),
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    "words", [["--help"], ["submit", "--help"], ["jobs", "list", "--help"], ["users", "--help"], ["worker", "--help"]]
)
def test_help_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    ask = f"from click.testing import CliRunner; from worker.cli import cli; CliRunner().invoke(cli, {words!r})"
    loaded = in_fresh_python(f"{ask}; import json; print(json.dumps(sorted(sys.modules)))", tmp_path)
    assert not {name.split(".")[0] for name in json.loads(loaded)} & HEAVY


def test_help_names_every_command_in_whole_sentences() -> None:
    said = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "80"}).stdout
    for command in ("demo", "up", "worker", "db", "doctor", "submit", "jobs", "users", "groups", "mail", "refusals"):
        assert f"  {command} " in said
    assert "..." not in said.replace("[ARGS]...", "")


@pytest.mark.parametrize("name", ["jobs", "users", "groups", "mail", "refusals", "db"])
def test_every_group_helps(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "Commands:" in result.stdout


def test_a_wrong_setting_is_named_and_ends_with_2(tmp_path: Path) -> None:
    env = {"MUSTER_DATABASE_URL": f"sqlite:///{tmp_path}/muster.db", "MUSTER_LOG_LEVEL": "loud"}
    result = CliRunner().invoke(cli, ["jobs", "list"], env=env)
    assert result.exit_code == 2
    assert "MUSTER_LOG_LEVEL" in result.stderr
    assert "'warning'" in result.stderr


def test_looking_at_nothing_makes_nothing_and_ends_with_3(tmp_path: Path) -> None:
    file = tmp_path / "muster.db"
    result = CliRunner().invoke(cli, ["users", "list"], env={"MUSTER_DATABASE_URL": f"sqlite:///{file}"})
    assert result.exit_code == 3
    assert "There is no database" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_away_ends_with_3_and_keeps_the_password(tmp_path: Path) -> None:
    url = "postgresql://muster:hidden-word@127.0.0.1:1/muster"
    result = CliRunner().invoke(
        cli, ["submit", "create_group", '{"group": "x"}'],
        env={"MUSTER_DATABASE_URL": url, "MUSTER_SECRET_KEY": "s" * 32},
    )  # fmt: skip
    assert result.exit_code == 3
    assert "cannot be reached" in result.stderr
    assert "hidden-word" not in result.stderr


def test_an_empty_postgresql_says_what_to_type(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("never_upgraded")
    result = CliRunner().invoke(
        cli, ["submit", "create_group", '{"group": "x"}'],
        env={"MUSTER_DATABASE_URL": url, "MUSTER_SECRET_KEY": "s" * 32},
    )  # fmt: skip
    postgres_server.drop_database("never_upgraded")
    assert result.exit_code == 3
    assert "muster db upgrade" in result.stderr


def test_db_upgrade_goes_from_nothing_to_the_newest_once(tmp_path: Path) -> None:
    env = {"MUSTER_DATABASE_URL": f"sqlite:///{tmp_path}/muster.db"}
    tried = CliRunner().invoke(cli, ["db", "upgrade", "--dry-run"], env=env)
    assert "Nothing was changed" in tried.stdout
    assert not list(tmp_path.iterdir())
    assert "now" in CliRunner().invoke(cli, ["db", "upgrade"], env=env).stdout
    assert "up to date" in CliRunner().invoke(cli, ["db", "upgrade"], env=env).stdout


def test_bad_usage_ends_with_2() -> None:
    assert CliRunner().invoke(cli, ["submit"]).exit_code == 2
    assert CliRunner().invoke(cli, ["fly"]).exit_code == 2


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "jobs", "kinds", "--json"], capture_output=True, text=True, check=True,
        cwd=tmp_path, env=environment(tmp_path),
    )  # fmt: skip
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert kinds == sorted(kinds)
    assert "create_user" in kinds
