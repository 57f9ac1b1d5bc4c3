"""docs/cli.md names every field that a command prints as JSON, and no command that is not there."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from shell import Shell

from worker.cli import cli

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
ROWS = dict(re.findall(r"^\| (`.+?) \| (.+) \|$", TEXT, flags=re.MULTILINE))

Ask = Callable[[Shell], list[dict[str, Any]]]

ASKED: dict[str, Ask] = {
    "`submit`": lambda shell: [shell.submit("create_group", {"group": "x"})],
    "`submit --dry-run`": lambda shell: [shell.submit("create_group", {"group": "x"}, "--dry-run")],
    "`jobs list`": lambda shell: shell.objects("jobs", "list"),
    "`users list`": lambda shell: shell.objects("users", "list"),
    "`groups list`": lambda shell: shell.objects("groups", "list"),
    "`groups show`": lambda shell: [shell.one("groups", "show", "staff")],
    "`mail test`": lambda shell: [shell.one("mail", "test", "ola@example.com")],
    "`webhook list`": lambda shell: [
        shell.one("webhook", "add", "hook", "https://example.org/", "--event", "*") and shell.one("webhook", "list")
    ],
    "`doctor`": lambda shell: [shell.one("doctor")],
    "`jobs kinds`": lambda shell: [*shell.objects("jobs", "kinds"), shell.one("jobs", "kinds", "add_to_group")],
    "`mail preview`": lambda shell: [
        *shell.objects("mail", "preview"), shell.one("mail", "preview", "send_recovery_email")
    ],
}  # fmt: skip

MORE_THAN: dict[str, tuple[str, Ask]] = {
    "`users show`": ("`users list`", lambda shell: [shell.one("users", "show", "ann")]),
    "`jobs show`": ("`jobs list`", lambda shell: [shell.one("jobs", "show", shell.objects("jobs", "list")[0]["id"])]),
}
"""Rows that say "the same and"."""


@pytest.fixture
def shell(sqlite_url: str) -> Iterator[Shell]:
    opened = Shell(sqlite_url)
    opened.office.world()
    yield opened
    opened.close()


def named(row: str) -> set[str]:
    """The fields that a row of the table names, those of inner objects left out."""
    return set(re.findall(r"`(\w+)`", re.sub(r"\[[^\]]*\]|\((?!null)[^)]*\)", "", ROWS[row])))


@pytest.mark.parametrize("row", ASKED)
def test_the_fields_are_those_that_are_printed(row: str, shell: Shell) -> None:
    printed = {name for one in ASKED[row](shell) for name in one}
    assert printed <= named(row)
    assert row == "`submit --dry-run`" or printed == named(row)


@pytest.mark.parametrize("row", MORE_THAN)
def test_pages_print_what_the_list_prints_and_more(row: str, shell: Shell) -> None:
    less, ask = MORE_THAN[row]
    [page] = ask(shell)
    assert set(page) == named(row) | named(less)


def test_every_command_that_prints_json_has_its_row() -> None:
    def commands(group: click.Group, before: str = "") -> list[str]:
        found = []
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                found += commands(command, f"{before}{name} ")
            elif any("--json" in option.opts for option in command.params):
                found.append(f"{before}{name}")
        return found

    rows = " ".join(ROWS)
    missing = [name for name in commands(cli) if f"`{name}`" not in rows and f"`{name.split()[-1]}`" not in rows]
    assert not missing
