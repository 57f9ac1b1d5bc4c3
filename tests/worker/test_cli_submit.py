"""`muster submit`: one job, a file of jobs, waiting for the end, and trying out, on both databases."""

import json
from collections.abc import Iterator

import pytest
from shell import Shell


@pytest.fixture
def shell(database_url: str) -> Iterator[Shell]:
    opened = Shell(database_url)
    yield opened
    opened.close()


def test_a_job_is_taken_in_once_per_key(shell: Shell) -> None:
    first = shell.submit("create_group", {"group": "staff"}, "--key", "g-1")
    assert set(first) == {"id", "kind", "key", "state", "result", "reason", "reason_text", "duplicate"}
    assert (first["kind"], first["key"], first["state"], first["duplicate"]) == ("create_group", "g-1", "queued", False)
    again = shell.submit("create_group", {"group": "staff"}, "--key", "g-1")
    assert (again["id"], again["duplicate"]) == (first["id"], True)
    other = shell.submit("create_group", {"group": "other"}, "--key", "g-1", code=1)
    assert (other["id"], other["state"], other["reason"]) == (None, "refused", "key_reused")
    assert len(shell.office.jobs()) == 1


def test_the_source_comes_from_the_door(shell: Shell) -> None:
    shell.submit("create_group", {"group": "a"}, "--source", "hr")
    shell.submit("create_group", {"group": "b"})
    sources = {row["source"] for row in shell.office.jobs()}
    assert "cli/hr" in sources
    assert all(source.startswith("cli/") for source in sources)


def test_options_reach_the_ledger(shell: Shell) -> None:
    shell.submit("create_group", {"group": "a"}, "--at", "2h", "--urgent", "--why", "asked by phone")
    [row] = shell.office.jobs()
    assert (row["state"], bool(row["urgent"]), row["why"]) == ("scheduled", True, "asked by phone")
    assert row["requested_by"]
    result = shell.muster("submit", "create_group", '{"group": "b"}', "--at", "tomorrow")
    assert result.exit_code == 2
    assert "is no time" in result.stderr


def test_the_payload_may_come_from_standard_input(shell: Shell) -> None:
    assert shell.one("submit", "create_group", "-", given='{"group": "staff"}')["state"] == "queued"


@pytest.mark.parametrize("text", ["{bad", "[]", '"text"', ""])
def test_what_is_no_json_object_ends_with_2(shell: Shell, text: str) -> None:
    assert shell.muster("submit", "create_group", "-", given=text).exit_code == 2
    assert not shell.office.jobs()


def test_a_refusal_is_a_sentence_on_standard_error(shell: Shell) -> None:
    result = shell.muster("submit", "create_usr", "{}")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "There is no job create_usr" in result.stderr
    assert "create_user" in result.stderr


def test_waiting_gives_the_end_of_the_job(sqlite_url: str) -> None:
    shell = Shell(sqlite_url)
    done = shell.submit("create_group", {"group": "staff"}, "--wait", "30")
    assert (done["state"], done["result"]["changed"]) == ("succeeded", True)
    refused = shell.submit("create_group", {"group": "staff"}, "--wait", "30", code=1)
    assert (refused["state"], refused["reason"]) == ("rejected", "group_exists")
    assert "already a group staff" in refused["reason_text"]
    assert shell.office.rows("worker") == []
    shell.close()


def test_waiting_does_what_stands_before_it_in_the_line(sqlite_url: str) -> None:
    shell = Shell(sqlite_url)
    shell.submit("create_user", {"username": "ann", "name": "Ann"})
    done = shell.submit("update_user", {"user": "ann", "name": "Ann Archer"}, "--wait", "30")
    assert done["state"] == "succeeded"
    user = shell.office.user("ann")
    assert user is not None
    assert user.name == "Ann Archer"
    shell.close()


def test_waiting_where_nobody_works_says_so(postgres_url: str) -> None:
    shell = Shell(postgres_url)
    result = shell.muster("submit", "create_group", '{"group": "staff"}', "--wait", "0.1", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["state"] == "queued"
    assert "No worker is running" in result.stderr
    shell.close()


# --------------------------------------------------------------------------------------------------- a file

FEED = """\
{"kind": "create_group", "payload": {"group": "staff"}, "key": "1"}

{"kind": "create_user", "payload": {"username": "ann"}, "key": "2", "source": "hr", "run_at": "2035-01-01T00:00:00+01:00"}
{"kind": "create_user", "payload": {"username": "ann"
{"kind": "create_user", "payload": {"username": "bob", "pass": "hidden-word"}, "key": "3"}
{"kind": "create_group", "payload": {"group": "staff"}, "key": "1"}
{"kind": "create_group", "payload": {"group": "other"}, "key": "1"}
{"kind": "create_group", "payload": [], "key": "4"}
{"kind": "create_group", "payload": {"group": "x"}, "colour": "red"}
{"kind": "create_group", "payload": {"group": "x"}, "run_at": "2035-01-01T00:00:00"}
{"kind": "create_group", "payload": {"group": "last"}, "key": "5"}
"""


def test_a_batch_goes_on_past_its_bad_lines(shell: Shell) -> None:
    result = shell.muster("submit", "--batch", "-", given=FEED)
    assert result.exit_code == 1
    assert result.stdout == "3 new, 1 handed in before, 6 refused.\n"
    told = dict(line.split(": ", 1) for line in result.stderr.splitlines())
    assert list(told) == ["line 4", "line 5", "line 7", "line 8", "line 9", "line 10"]
    assert "not JSON" in told["line 4"]
    assert "pass" in told["line 5"]
    assert "used before for something else" in told["line 7"]
    assert "payload is no JSON object" in told["line 8"]
    assert "'colour'" in told["line 9"]
    assert "time with a zone" in told["line 10"]
    assert "hidden-word" not in result.stderr
    assert {(row["source"].split("/")[0], row["state"]) for row in shell.office.jobs()} == {
        ("cli", "queued"), ("cli", "scheduled"),
    }  # fmt: skip
    assert "cli/hr" in {row["source"] for row in shell.office.jobs()}


def test_a_batch_answers_every_line_as_json(shell: Shell) -> None:
    answers = shell.objects("submit", "--batch", "-", given=FEED, code=1)
    assert [answer["line"] for answer in answers] == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert [answer["state"] for answer in answers if answer["id"] is None] == ["refused"] * 6
    assert answers[4]["duplicate"] is True


def test_the_same_batch_twice_makes_no_new_job(shell: Shell) -> None:
    lines = "".join(
        json.dumps({"kind": "create_user", "payload": {"username": f"user{number}"}, "key": str(number)}) + "\n"
        for number in range(2_500)
    )
    assert shell.muster("submit", "--batch", "-", given=lines).stdout == "2500 new, 0 handed in before, 0 refused.\n"
    assert shell.muster("submit", "--batch", "-", given=lines).stdout == "0 new, 2500 handed in before, 0 refused.\n"
    assert len(shell.office.jobs()) == 2_500


def test_a_batch_can_be_waited_for(sqlite_url: str) -> None:
    shell = Shell(sqlite_url)
    lines = "".join(json.dumps({"kind": "create_group", "payload": {"group": name}}) + "\n" for name in ("a", "b", "a"))
    result = shell.muster("submit", "--batch", "-", "--wait", "30", given=lines)
    assert result.exit_code == 1
    assert result.stdout == "3 new, 0 handed in before, 0 refused.\n1 rejected, 2 succeeded.\n"
    shell.close()


def test_a_batch_takes_no_options_of_a_single_job(shell: Shell) -> None:
    assert shell.muster("submit", "--batch", "-", "--key", "k", given="").exit_code == 2
    assert shell.muster("submit", "--batch", "no-such-file.ndjson").exit_code == 2


def test_times_past_the_calendars_end_are_refused_one_by_one(shell: Shell) -> None:
    said = shell.muster("submit", "create_group", '{"group": "staff"}', "--at", "9999-12-31T23:59-12:00")
    assert (said.exit_code, "is no time" in said.stderr) == (2, True)
    lines = [{"kind": "create_group", "payload": {"group": name}} for name in ("a", "b", "c")]
    lines[1]["run_at"] = "9999-12-31T23:59:59-12:00"
    result = shell.muster("submit", "--batch", "-", given="\n".join(map(json.dumps, lines)))
    assert result.stdout == "2 new, 0 handed in before, 1 refused.\n"
    assert result.stderr.startswith("line 2: ")


def test_what_is_nested_without_end_is_a_sentence(shell: Shell) -> None:
    deep = '{"group": "staff", "attributes": {"a": ' + "[" * 5000 + "]" * 5000 + "}}"
    result = shell.muster("submit", "create_group", deep)
    assert (result.exit_code, "nested too deeply" in result.stderr) == (2, True)
    assert shell.muster("users", "show", "").exit_code == 2
