"""`muster jobs`: listing page by page, one job in full, and bringing back, releasing and cancelling, on both databases."""

import json
from collections.abc import Iterator

import pytest
from posts import HASH
from shell import Shell

from worker.intake import Request
from worker.intake import refused as refuse


@pytest.fixture
def shell(database_url: str) -> Iterator[Shell]:
    opened = Shell(database_url)
    yield opened
    opened.close()


def test_lists_filter_by_everything_and_go_page_by_page(shell: Shell) -> None:
    office = shell.office
    for name in ("a", "b", "c"):
        office.submit("create_group", {"group": name}, source="feed/hr")
    office.drain()
    office.do("create_group", {"group": "a"}, source="cli/ann")
    office.submit("create_user", {"username": "ann"}, source="cli/ann")
    newest = shell.objects("jobs", "list")
    assert [job["about"] for job in newest] == ["ann", "a", "c", "b", "a"]
    assert "sealed" not in newest[0]

    def about(*words: str) -> list[str]:
        return [job["about"] for job in shell.objects("jobs", "list", *words)]

    assert about("--kind", "create_user") == ["ann"]
    assert about("--state", "rejected") == ["a"]
    assert about("--state", "rejected", "--state", "queued") == ["ann", "a"]
    assert about("--source", "feed/hr") == ["c", "b", "a"]
    assert about("--source", "cli/*") == ["ann", "a"]
    assert about("--subject", "ann") == ["ann"]
    assert about("--subject", "group:A") == ["a", "a"]
    assert about("--subject", "nobody") == []
    assert about("--since", "1h") == ["ann", "a", "c", "b", "a"]
    assert about("--since", "2035-01-01") == []
    assert about("--limit", "2") == ["ann", "a"]
    assert about("--limit", "2", "--before", newest[1]["id"]) == ["c", "b"]
    assert shell.muster("jobs", "list", "--kind", "no_such").exit_code == 2
    assert shell.muster("jobs", "list", "--state", "no_such").exit_code == 2


def test_one_job_in_full_by_the_beginning_of_its_id(shell: Shell) -> None:
    shell.office.world()
    job_id = shell.office.do("offboard_user", {"user": "ann"}, why="asked by phone").id
    page = shell.one("jobs", "show", job_id[:18])
    assert (page["id"], page["state"], page["why"]) == (job_id, "succeeded", "asked by phone")
    assert page["payload"] == {"user": {"username": "ann"}}
    assert "user.deactivated" in {event["action"] for event in page["events"]}
    assert "delete_user" in {job["kind"] for job in page["follow_ups"]}
    assert "Jobs that followed" in shell.muster("jobs", "show", job_id).stdout
    failed = shell.office.do("create_user", {"username": "dora", "groups": ["nowhere"]}).id
    assert shell.one("jobs", "show", failed)["tries"][0]["code"] == "unknown_group"


def test_an_unknown_id_ends_with_1_and_no_id_with_2(shell: Shell) -> None:
    assert shell.muster("jobs", "show", "01900000-0000-7000-8000-000000000000").exit_code == 1
    assert shell.muster("jobs", "show", "0190").exit_code == 2
    assert shell.muster("jobs", "show", "zzzzzzzz-0000").exit_code == 2


def test_kinds_are_listed_with_their_payloads(shell: Shell) -> None:
    kinds = {kind["kind"]: kind["summary"] for kind in shell.objects("jobs", "kinds")}
    assert kinds["add_to_group"] == "Add a user to a group."
    one = shell.one("jobs", "kinds", "add_to_group")
    assert one["payload"]["required"] == ["user", "group"]
    assert "muster submit add_to_group" in shell.muster("jobs", "kinds", "add_to_group").stdout
    assert shell.muster("jobs", "kinds", "fly").exit_code == 2


def test_retry_brings_refused_jobs_back_once_their_cause_is_mended(shell: Shell) -> None:
    office = shell.office
    office.world()
    ids = [office.do("add_to_group", {"user": user, "group": "new"}).id for user in ("ann", "bob")]
    counted = shell.objects("jobs", "retry", "--state", "rejected", "--dry-run")
    assert counted == [{"kind": "add_to_group", "state": "rejected", "reason": "unknown_group", "count": 2}]
    assert office.ended(ids[0]).state == "rejected"
    office.do("create_group", {"group": "new"})
    assert shell.one("jobs", "retry", "--kind", "add_to_group") == {"retried": 2}
    shell.work()
    assert {office.ended(job_id).state for job_id in ids} == {"succeeded"}
    again = shell.muster("jobs", "retry", ids[0])
    assert again.exit_code == 1
    assert "could not be retried" in again.stderr


def test_cancel_takes_what_has_not_ended(shell: Shell) -> None:
    later = shell.submit("create_group", {"group": "later"}, "--at", "2h")["id"]
    assert shell.muster("jobs", "cancel", later[:18]).stdout == "1 job cancelled.\n"
    ended = shell.office.ended(later)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled")
    assert shell.muster("jobs", "cancel", later).exit_code == 1


def test_release_lets_held_jobs_go(shell: Shell) -> None:
    held = shell.office.submit("create_group", {"group": "held"}, hold="a person looks at it first")
    assert shell.objects("jobs", "list", "--state", "held")[0]["id"] == held
    assert shell.objects("jobs", "release", "--state", "held", "--dry-run")[0]["count"] == 1
    assert shell.one("jobs", "release", held) == {"released": 1}
    shell.work()
    assert shell.office.ended(held).state == "succeeded"


def test_no_choice_is_not_every_job(shell: Shell) -> None:
    for word in ("retry", "cancel", "release"):
        result = shell.muster("jobs", word)
        assert result.exit_code == 2
        assert "Say which jobs" in result.stderr


def test_on_a_terminal_many_jobs_are_asked_about(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.cli.jobs.on_terminal", lambda: True)
    for name in ("a", "b"):
        shell.submit("create_group", {"group": name}, "--at", "2h")
    no = shell.muster("jobs", "cancel", "--kind", "create_group", given="n\n")
    assert no.exit_code == 1
    assert "2 jobs will be cancelled" in no.stderr
    assert len(shell.objects("jobs", "list", "--state", "scheduled")) == 2
    assert shell.muster("jobs", "cancel", "--kind", "create_group", "--yes").stdout == "2 jobs cancelled.\n"


def test_refusals_are_listed(shell: Shell) -> None:
    from worker.intake import record_refusal

    request = Request("create_group", {}, "queue/hr", "key-1")
    with shell.office.scope() as scope:
        record_refusal(scope, refuse(request, "unreadable", problem="it is \x1b[31mred"), {"password": "hidden-word"})
    [found] = shell.objects("refusals", "list")
    assert (found["source"], found["reason"]) == ("queue/hr", "unreadable")
    plain = shell.muster("refusals", "list").stdout
    assert "queue/hr" in plain
    assert "\x1b" not in plain
    assert "hidden-word" not in json.dumps(found)


def test_tables_for_people_are_plain_without_a_terminal(shell: Shell) -> None:
    shell.office.world()
    text = shell.muster("jobs", "list").stdout
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_what_was_sealed_is_not_brought_back_without_it(shell: Shell) -> None:
    """The hash was erased when the job ended: trying again could only fail, so it is said at once."""
    reset = shell.office.do("reset_password", {"user": "nobody", "password_hash": HASH})
    assert (reset.state, reset.reason) == ("rejected", "unknown_user")
    tried = shell.muster("jobs", "retry", reset.id)
    assert tried.exit_code == 1
    assert "could not be retried" in tried.stderr
    assert shell.office.ended(reset.id) == reset
