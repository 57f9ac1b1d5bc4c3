"""`muster feed`: plans to look at, brakes that hold, applying, what became of each record, cases and messages."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from shell import Shell, environment

from worker.cli import cli

DECLARED = """
[feeds.hr]
form = "csv"
mode = "full"
zone = "Europe/Berlin"
correlate = ["external_id", "email"]
prehire_days = 7

[feeds.hr.columns]
external_id = "Id"
first = "First"
last = "Last"
email = "Mail"
status = "Status"
reason = "Reason"
last_day = "LastDay"
"attributes.department" = "Department"

[feeds.hr.status]
Active = "active"
Left = "terminated"

[feeds.hr.leavers]
urgent_reasons = ["Gross misconduct"]

[[feeds.hr.groups]]
rule = "sales people"
when = { "attributes.department" = ["Sales"] }
groups = ["sales"]

[feeds.hr.brakes]
disable = { percent = 10, floor = 1 }
"""
EVENTS = """
[feeds.events]
form = "messages"
mode = "event"
[feeds.events.columns]
external_id = "id"
first = "first"
last = "last"
email = "mail"
"""
HEADER = ("Id", "First", "Last", "Mail", "Status", "Reason", "LastDay", "Department")


class Desk:
    """An HR operations person: a shell, a folder of files, and declared feeds."""

    def __init__(self, folder: Path, database_url: str, declared: str = DECLARED) -> None:
        self.folder = folder
        (folder / "muster.toml").write_text(declared)
        self.shell = Shell(database_url, config=str(folder / "muster.toml"))
        self.muster = self.shell.muster

    def file(self, *people: tuple[str, ...], name: str = "people.csv") -> str:
        """Write a file; people are given as far as they differ from an active one."""
        with (self.folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            for one in people:
                filled = (*one, *("", "", "", "Active", "", "", "")[len(one) - 1 :])
                writer.writerow(filled)
        return str(self.folder / name)

    def users(self) -> dict[str, bool]:
        """Usernames, and whether they are active."""
        return {row["username"]: row["is_active"] for row in self.shell.office.rows("users")}

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs of feeds."""
        return [row for row in self.shell.office.rows("job") if row["source"].startswith("feed/")]


@pytest.fixture
def desk(tmp_path: Path, sqlite_url: str) -> Iterator[Desk]:
    opened = Desk(tmp_path, sqlite_url)
    yield opened
    opened.shell.close()


ANN = ("00017", "Ann", "Lee", "ann@example.org", "Active", "", "", "Sales")
BOB = ("00018", "Bob", "Ray", "bob@example.org")


def crowd(number: int) -> list[tuple[str, ...]]:
    return [(f"{100 + n}", "Kim", f"Number{n}", f"kim{n}@example.org") for n in range(number)]


def plan_named(text: str) -> str:
    """The plan that a printed next step names."""
    found = re.search(r"(?:apply|approve|show) ([0-9a-f]{12})", text)
    assert found, text
    return found[1]


def test_a_plan_is_looked_at_and_that_very_plan_is_applied(tmp_path: Path, database_url: str) -> None:
    desk = Desk(tmp_path, database_url)
    before = len(desk.shell.office.rows("users"))
    shown = desk.muster("feed", "plan", "hr", desk.file(ANN, BOB), "--jobs")
    assert shown.exit_code == 0
    assert "people.csv, 2 records, utf-8" in shown.stdout
    assert re.search(r"joiners +2 ", shown.stdout)
    assert "00017  Ann Lee  ann.lee" in shown.stdout
    assert "+sales (sales people)" in shown.stdout
    assert 'onboard_user {"username": "ann.lee"' in shown.stdout
    assert len(desk.shell.office.rows("users")) == before
    assert desk.jobs() == []

    plan = plan_named(shown.stdout)
    done = desk.muster("feed", "apply", plan)
    assert done.exit_code == 0, done.stderr
    assert "2 joiners, 0 unchanged" in done.stdout
    assert "2 jobs: 2 queued." in done.stdout
    assert "No worker is running" in done.stderr
    desk.shell.work()
    assert "2 succeeded" in desk.muster("feed", "show", plan).stdout
    assert desk.users() == {"ann.lee": True, "bob.ray": True}

    again = desk.muster("feed", "apply", "hr", desk.file(ANN, BOB))
    assert (again.exit_code, again.stdout) == (0, "Nothing to do: 2 people are as they were.\n")
    assert len(desk.jobs()) == 2
    desk.shell.close()


def test_a_mover_is_shown_attribute_by_attribute(desk: Desk) -> None:
    desk.muster("feed", "apply", "hr", desk.file(ANN), "--wait", "20")
    moved = (*ANN[:7], "Marketing")
    said = desk.muster("feed", "plan", desk.file(moved)).stdout  # one feed is declared: its name may be left out
    assert "department: Sales → Marketing" in said
    assert "-sales (sales people)" in said


def test_json_is_the_run_and_then_every_line(desk: Desk) -> None:
    run, *lines = desk.shell.objects("feed", "plan", "hr", desk.file(*crowd(25)))
    assert (run["state"], run["counts"]["joiner"], len(lines)) == ("planned", 25, 25)
    assert lines[0]["jobs"][0]["kind"] == "onboard_user"
    assert lines[0]["result"] is None
    desk.shell.one("feed", "apply", run["plan"])
    run, *lines = desk.shell.objects("feed", "show", run["plan"])
    assert run["jobs"] == {"queued": 25}
    assert {line["result"] for line in lines} == {"waiting"}
    desk.shell.work()
    _, line = desk.shell.objects("feed", "show", run["id"], "--person", "103")
    assert (line["external_id"], line["result"], line["jobs"][0]["state"]) == ("103", "succeeded", "succeeded")


def test_twenty_of_a_kind_are_shown_unless_all_are_wanted(desk: Desk) -> None:
    file = desk.file(*crowd(25))
    short = desk.muster("feed", "plan", "hr", file).stdout
    assert "… and 5 more: --all" in short
    assert "Number24" not in short
    assert "Number24" in desk.muster("feed", "plan", "hr", file, "--all").stdout


# ---------------------------------------------------------------------------------------------------- brakes


def test_what_a_brake_holds_waits_for_somebody_who_takes_it_on(desk: Desk) -> None:
    people = crowd(6)
    desk.muster("feed", "apply", "hr", desk.file(*people), "--wait", "20")
    gone = [(*one, "Left") for one in people]
    held = desk.muster("feed", "apply", "hr", desk.file(*gone))
    assert held.exit_code == 1
    assert "disable: 6 people who lose their access; at most 1 of 6" in " ".join(held.stdout.split())
    assert "nothing was changed" in held.stderr
    plan = plan_named(held.stdout)
    assert desk.muster("feed", "apply", plan).exit_code == 1
    assert all(desk.users().values())

    assert desk.muster("feed", "approve", plan).exit_code == 2  # not without a reason
    kept = desk.muster("feed", "approve", plan, "--reason", "the office is closed", "--no-apply")
    assert "Approved until" in kept.stdout
    run = desk.shell.one("feed", "apply", plan, "--wait", "20")
    assert (run["state"], run["approved_reason"], run["jobs"]) == ("applied", "the office is closed", {"succeeded": 6})
    assert not any(desk.users().values())
    assert {row["why"] for row in desk.jobs() if row["kind"] == "offboard_user"} == {f"plan {plan}: the office is closed"}

    twice = desk.muster("feed", "apply", plan)
    assert twice.exit_code == 0
    assert "nothing is done twice" in twice.stderr
    late = desk.muster("feed", "approve", plan, "--reason", "once more")
    assert late.exit_code == 1
    assert "applied, not held" in late.stderr


def test_a_plan_that_was_put_aside_is_not_applied(desk: Desk) -> None:
    plan = plan_named(desk.muster("feed", "plan", "hr", desk.file(ANN)).stdout)
    assert "put aside" in desk.muster("feed", "drop", plan, "--reason", "wrong file").stdout
    said = desk.muster("feed", "apply", plan)
    assert said.exit_code == 1
    assert "wrong file" in said.stderr
    assert desk.jobs() == []


def test_a_stale_plan_is_refused_and_says_so(desk: Desk) -> None:
    old = plan_named(desk.muster("feed", "plan", "hr", desk.file(ANN)).stdout)
    desk.muster("feed", "apply", "hr", desk.file(ANN, BOB))
    said = desk.muster("feed", "apply", old)
    assert said.exit_code == 1
    assert "another plan was applied" in said.stderr
    assert len(desk.jobs()) == 2


# --------------------------------------------------------------------------------------------- what goes wrong


def test_refused_records_are_named_by_file_and_line_corrected_and_pushed_again(desk: Desk, tmp_path: Path) -> None:
    wrong = (*BOB, "Fired")
    done = desk.muster("feed", "apply", "hr", desk.file(ANN, wrong), "--wait", "20")
    assert done.exit_code == 0  # the rest was carried out
    assert "1 refused" in done.stdout
    plan = desk.shell.objects("feed", "runs")[0]["plan"][:12]
    shown = desk.muster("feed", "show", plan, "--refused").stdout
    assert "people.csv:3  00018  unknown_status" in shown
    assert "Fired" in shown
    assert "Ann Lee" not in shown

    target = tmp_path / "failed.csv"
    assert "1 record in" in desk.muster("feed", "failed", plan, "-o", str(target)).stdout
    assert "unknown_status" in target.read_text()
    assert desk.muster("feed", "failed", plan, "-o", str(target)).exit_code == 2  # not over a file that is there
    target.write_text(target.read_text().replace('"Fired"', '"Active"'))
    again = desk.muster("feed", "apply", "hr", str(target), "--wait", "20")
    assert (again.exit_code, desk.users()) == (0, {"ann.lee": True, "bob.ray": True})


def test_a_job_that_is_refused_ends_with_1_and_its_record_is_in_the_failed_rows(desk: Desk, tmp_path: Path) -> None:
    plan = plan_named(desk.muster("feed", "plan", "hr", desk.file(ANN, BOB)).stdout)
    desk.shell.office.submit("create_user", {"username": "ann.lee", "external_id": "of another source"})
    desk.shell.work()
    done = desk.muster("feed", "apply", plan, "--wait", "20")
    assert done.exit_code == 1
    assert "1 rejected, 1 succeeded" in done.stdout
    assert "onboard_user" in done.stderr
    shown = desk.muster("feed", "show", plan, "--refused").stdout
    assert "00017  Ann Lee  ann.lee  [rejected]" in shown
    assert "ann.lee" in shown.split("rejected:")[1]
    desk.shell.one("feed", "failed", plan, "-o", str(tmp_path / "failed.csv"))
    [row] = list(csv.DictReader((tmp_path / "failed.csv").read_text().splitlines()))
    assert (row["Id"], row["error_code"]) == ("00017", "username_taken")


@pytest.mark.parametrize("text", ["", "Id,First\n", "Id,First,Last,Mail\n00017,Ann,Lee,a@b.c\n"])
def test_a_file_that_cannot_be_used_changes_nobody_and_ends_with_1(desk: Desk, tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.csv").write_text(text)
    said = desk.muster("feed", "apply", "hr", str(tmp_path / "broken.csv"))
    assert said.exit_code == 1
    assert "broken.csv" in said.stdout
    assert "Nothing was planned" in said.stdout
    [run] = desk.shell.objects("feed", "runs", "--state", "refused")
    assert "broken.csv" in run["problem"]
    assert desk.jobs() == []


def test_bad_usage_ends_with_2_and_what_is_not_there_with_1(desk: Desk) -> None:
    file = desk.file(ANN)
    unknown = desk.muster("feed", "plan", "payroll", file)
    assert unknown.exit_code == 2
    assert "declared are: hr" in unknown.stderr
    assert desk.muster("feed", "plan", "hr", "nowhere.csv").exit_code == 2
    assert desk.muster("feed", "apply", "nowhere.csv").exit_code == 2
    for words in (["apply", "0123456789ab"], ["show", "0123456789ab"], ["show", "x"], ["decide", "00017", "new", "--reason", "x"]):
        said = desk.muster("feed", *words)
        assert said.exit_code == 1, words
        assert "There is no" in said.stderr
    desk.muster("feed", "plan", "hr", file)
    plan = desk.shell.objects("feed", "runs")[0]["plan"]
    assert "says nothing about 99" in desk.muster("feed", "show", plan, "--person", "99").stderr


def test_a_wrong_declaration_ends_with_2_and_names_the_line(tmp_path: Path, sqlite_url: str) -> None:
    desk = Desk(tmp_path, sqlite_url, DECLARED.replace('mode = "full"', 'mode = "whole"'))
    said = desk.muster("feed", "list")
    assert said.exit_code == 2
    assert "muster.toml line 4: feeds.hr.mode" in said.stderr
    desk.shell.close()


def test_what_people_are_called_steers_no_terminal_and_breaks_no_column(desk: Desk) -> None:
    strange = ("00019", "Eve\u202e", "x" * 100, "eve@example.org", "Active", "", "", "D" * 120)
    said = desk.muster("feed", "plan", "hr", desk.file(ANN, strange)).stdout
    assert "\u202e" not in said
    assert max(map(len, said.splitlines())) <= 100


# -------------------------------------------------------------------------------------------- cases, messages


def test_a_case_is_shown_and_decided_and_the_next_run_acts_on_it(desk: Desk) -> None:
    for name in ("ann", "ann2"):
        desk.shell.office.submit("create_user", {"username": name, "email": "ann@example.org"})
    desk.shell.work()
    done = desk.muster("feed", "apply", "hr", desk.file(ANN))
    assert "1 case to be decided: muster feed cases" in done.stdout
    listed = desk.muster("feed", "cases").stdout
    assert "hr 00017  Ann Lee" in listed
    assert "could be ann2" in listed
    assert desk.muster("feed", "decide", "00017", "enable", "--reason", "x").exit_code == 1
    decided = desk.shell.one("feed", "decide", "00017", "link", "--account", "ann2", "--reason", "asked her")
    assert (decided["state"], decided["reason"]) == ("link", "asked her")
    assert desk.muster("feed", "cases").stdout == "No case is waiting for a decision.\n"
    assert "decided: link" in desk.muster("feed", "cases", "--all").stdout
    said = desk.muster("feed", "plan", "hr", desk.file(ANN)).stdout
    assert "takes over the account ann2" in said


def test_messages_are_handed_in_once_and_what_is_no_message_is_said_of_its_line(tmp_path: Path, sqlite_url: str) -> None:
    desk = Desk(tmp_path, sqlite_url, DECLARED + EVENTS)
    lines = [
        {"id": "m-1", "type": "onboard", "person": {"id": "7", "first": "Dora", "last": "Day", "mail": "dora@example.org"}},
        {"id": "m-2", "type": "onboard", "person": {"id": "8", "first": "Eli", "last": "Eve", "mail": "eli@example.org"}},
    ]
    text = "\n".join([json.dumps(lines[0]), "{broken", json.dumps(lines[1])])
    said = desk.muster("feed", "push", "events", "-", given=text)
    assert said.exit_code == 1
    assert "2 new, 0 handed in before, 1 refused." in said.stdout
    assert "muster feed runs --source events" in said.stdout
    assert "line 2: " in said.stderr
    good = "\n".join(map(json.dumps, lines))
    done = desk.muster("feed", "push", "events", "-", "--plan", given=good)
    assert done.exit_code == 0, done.stderr
    assert "0 new, 2 handed in before" in done.stdout
    assert "joiners" in done.stdout
    desk.shell.work()
    assert desk.users() == {"dora.day": True, "eli.eve": True}
    desk.shell.close()


# ------------------------------------------------------------------------------------------ listing, checking


def test_feeds_are_listed_and_samples_explained_without_a_database(tmp_path: Path) -> None:
    (tmp_path / "muster.toml").write_text(DECLARED)
    env = {"MUSTER_CONFIG": str(tmp_path / "muster.toml"), "MUSTER_DATABASE_URL": f"sqlite:///{tmp_path}/no.db"}

    def muster(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["feed", *words], env=env)
        return result.exit_code, result.output

    sample = tmp_path / "sample.csv"
    sample.write_text("Id,First,Last,Mail,Status,Reason,LastDay,Department\n7,Ann,Lee,a@b.org,Gone,,,Sales\n")
    assert "never" in muster("list")[1]
    code, said = muster("check", "hr", str(sample))
    assert code == 1
    assert "Gone" in said
    assert "sample.csv:2" in said
    code, said = muster("check", "--propose", str(sample))
    assert code == 0
    assert 'external_id = "Id"' in said
    assert not (tmp_path / "no.db").exists()


def test_help_loads_nothing_heavy_and_lists_every_command(tmp_path: Path) -> None:
    heavy = {"sqlalchemy", "pydantic", "jinja2", "alembic", "redis", "rich", "dramatiq", "psycopg"}
    ask = "import sys, json; from click.testing import CliRunner; from worker.cli import cli; "
    ask += "said = CliRunner().invoke(cli, ['feed', '--help']).output; print(json.dumps([said, sorted(sys.modules)]))"
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment(tmp_path)
    )
    said, loaded = json.loads(done.stdout)
    assert not {name.split(".")[0] for name in loaded} & heavy
    group = cli.commands["feed"]
    assert isinstance(group, click.Group)
    assert re.findall(r"^  (\w+)  ", said, flags=re.MULTILINE) == group.list_commands(click.Context(group))
    assert set(group.commands) == set(group.list_commands(click.Context(group)))


def test_runs_are_listed_the_newest_first_and_page_by_page(desk: Desk) -> None:
    for people in ([ANN], [ANN, BOB]):
        desk.muster("feed", "plan", "hr", desk.file(*people))
    newest, older = desk.shell.objects("feed", "runs", "--source", "hr")
    assert (newest["counts"]["joiner"], older["counts"]["joiner"]) == (2, 1)
    [page] = desk.shell.objects("feed", "runs", "--limit", "1", "--before", newest["id"][:18])
    assert page["id"] == older["id"]
    assert "2 joiners" in desk.muster("feed", "runs").stdout
    assert [run["id"] for run in desk.shell.objects("feed", "runs", "--person", "00018")] == [newest["id"]]
    [listed] = desk.shell.objects("feed", "list")
    assert listed["last_run"]["id"] == newest["id"]


def test_the_page_of_the_command_line_names_every_field(desk: Desk, tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
    rows = dict(re.findall(r"^\| `feed (\w+)`[^|]*\| (.+) \|$", text, flags=re.MULTILINE))
    file = desk.file(ANN, (*BOB, "Fired"))
    run, line, _ = desk.shell.objects("feed", "plan", "hr", file)
    desk.shell.office.submit("create_user", {"username": "ann", "email": "ann@example.org"})
    desk.shell.office.submit("create_user", {"username": "ann2", "email": "ann@example.org"})
    desk.shell.work()
    desk.muster("feed", "plan", "hr", file)
    printed = {
        "list": [desk.shell.one("feed", "list")],
        "check": [desk.shell.one("feed", "check", "hr", file, code=1)],
        "plan": [run, line],
        "runs": desk.shell.objects("feed", "runs"),
        "failed": [desk.shell.one("feed", "failed", run["plan"], "-o", str(tmp_path / "failed.csv"))],
        "cases": desk.shell.objects("feed", "cases"),
    }
    for command, found in printed.items():
        named = set(re.findall(r"`(\w+)`", re.sub(r"\[[^\]]*\]|\((?!null)[^)]*\)", "", rows[command])))
        assert found
        assert {name for one in found for name in one} == named, command
