"""The command line for tests: real commands on a database of their own, with a small office to furnish it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from office import SECRET, Office

from worker.cli import cli


class Shell:
    """Runs `muster` in the test's own process and environment; `office` submits and works behind it."""

    def __init__(self, database_url: str, **settings: str) -> None:
        self.env = {
            "MUSTER_DATABASE_URL": database_url, "MUSTER_SECRET_KEY": SECRET, "COLUMNS": "100",
            "MUSTER_MAIL_FROM": "Muster <muster@example.org>",
            **{f"MUSTER_{name.upper()}": value for name, value in settings.items()},
        }  # fmt: skip
        self.office = Office(database_url)
        self.office.keeper.resign()  # otherwise the commands would wait for the office to work
        self.office.now = datetime.now(UTC)
        self.office.app.check_key()

    def muster(self, *words: str, given: str = "") -> Result:
        """Run one command; what it prints is in `stdout` and `stderr`, how it ended in `exit_code`."""
        result = CliRunner().invoke(cli, list(words), input=given, env=self.env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def objects(self, *words: str, given: str = "", code: int = 0) -> list[dict[str, Any]]:
        """Run one command with --json and return the objects that it printed."""
        result = self.muster(*words, "--json", given=given)
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def one(self, *words: str, given: str = "", code: int = 0) -> dict[str, Any]:
        """Run one command with --json that prints one object."""
        [found] = self.objects(*words, given=given, code=code)
        return found

    def submit(self, kind: str, fields: Mapping[str, Any], *words: str, code: int = 0) -> dict[str, Any]:
        """Run `muster submit` with a payload."""
        return self.one("submit", kind, json.dumps(fields), *words, code=code)

    def work(self) -> None:
        """Do what is due at the present moment."""
        self.office.now = datetime.now(UTC)
        self.office.drain()

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Everything in the database, by table."""
        from worker.tables import metadata

        return {name: sorted(self.office.rows(name), key=repr) for name in metadata.tables}

    def close(self) -> None:
        """Close connections."""
        self.office.close()


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the variables for a process of its own that works in `folder` and finds this tree."""
    import os

    root = Path(__file__).resolve().parent.parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    return {
        **kept, "PYTHONPATH": str(root), "HOME": str(folder), "COLUMNS": "80",
        **{f"MUSTER_{name.upper()}": value for name, value in settings.items()},
    }  # fmt: skip
