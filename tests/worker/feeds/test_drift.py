"""What somebody changed by hand is found, with who it was; a repair brings back all but what people closed."""

from pathlib import Path
from typing import Any

import pytest
from hr import DECLARED, HR, person
from shell import Shell
from sqlalchemy import delete

from worker import ledger
from worker.feeds import cases
from worker.feeds.declaration import Brake
from worker.feeds.drift import Drift
from worker.feeds.runs import Run
from worker.tables import job, users

ANN = person("001", "Ann", "Archer", boss="002")
BOB = person("002", "Bob", "Brewer", department="Engineering")
CAT = person("003", "Cat", "Cooper", boss="001")
TEAM = [ANN, BOB, CAT]
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def team(hr: HR) -> HR:
    """Three people, accepted and carried out."""
    hr.apply(TEAM)
    return hr


def found(hr: HR) -> list[Drift]:
    return list(hr.feeds.find_drift("hr"))


def by_hand(hr: HR, kind: str, fields: dict[str, Any], **facts: Any) -> None:
    assert hr.office.do(kind, fields, requested_by="eve", why="a ticket", **facts).state == "succeeded"


def repair(hr: HR) -> Run:
    return hr.feeds.plan_drift("hr", by="tester")


def brief(drifts: list[Drift]) -> list[tuple[Any, ...]]:
    return [(one.username, one.what, one.should_be, one.found, one.by) for one in drifts]


def ends_in_peace(hr: HR) -> None:
    """The repair brings everything back, and there is nothing more to do."""
    hr.carry(repair(hr))
    assert found(hr) == []
    assert repair(hr).total == 0
    assert hr.plan(TEAM).total == 0


@ON_SQLITE
def test_nothing_was_changed(team: HR) -> None:
    search = team.feeds.find_drift("hr")
    assert list(search) == []
    assert (search.people, search.under_way) == (3, 0)


def test_fields_changed_by_hand_are_found_and_brought_back(team: HR) -> None:
    by_hand(team, "update_user", {"user": "ann.archer", "name": "Annie", "attributes": {"department": "Arts", "desk": "7"}, "manager": "cat.cooper"})
    drifts = found(team)
    assert sorted(brief(drifts)) == [
        ("ann.archer", "attributes.department", "Sales", "Arts", "eve"),
        ("ann.archer", "manager", "002", "cat.cooper", "eve"),
        ("ann.archer", "name", "Ann Archer", "Annie", "eve"),
    ]
    assert {(one.at, one.why, one.left) for one in drifts} == {(team.office.now, "a ticket", None)}
    run = repair(team)
    assert (run.origin, run.state, run.counts) == ("drift", "planned", {"mover": 1, "unchanged": 0})
    [line] = team.lines(run)
    assert line["changes"]["name"] == ["Annie", "Ann Archer"]
    assert "changed by eve on 2026-03-02" in line["text"]
    [job] = line["jobs"]
    assert job["kind"] == "update_user"
    assert job["payload"] == {
        "user": {"external_id": "001"}, "name": "Ann Archer", "attributes": {"department": "Sales"}, "manager": {"external_id": "002"},
    }  # fmt: skip
    assert team.office.user("ann.archer").name == "Annie"  # type: ignore[union-attr] # nothing is changed by a plan
    ends_in_peace(team)
    ann, bob = team.office.user("ann.archer"), team.office.user("bob.brewer")
    assert ann is not None
    assert bob is not None
    assert (ann.name, ann.attributes["desk"], ann.manager) == ("Ann Archer", "7", bob.id)


def test_groups_of_rules_come_back_and_groups_given_by_hand_are_no_drift(team: HR) -> None:
    by_hand(team, "remove_from_group", {"user": "ann.archer", "group": "sales"})
    by_hand(team, "add_to_group", {"user": "bob.brewer", "group": "sales", "origin": "rule"})
    by_hand(team, "add_to_group", {"user": "cat.cooper", "group": "engineering"})
    assert brief(found(team)) == [
        ("ann.archer", "group sales", "member", None, "eve"), ("bob.brewer", "group sales", None, "member", "eve"),
    ]  # fmt: skip
    run = repair(team)
    assert [(line["external_id"], line["groups"]) for line in team.lines(run)] == [
        ("001", {"added": {"sales": "sales people"}}), ("002", {"removed": {"sales": "drift"}}),
    ]  # fmt: skip
    ends_in_peace(team)
    assert (team.groups("ann.archer"), team.groups("bob.brewer")) == ({"staff", "sales"}, {"staff"})
    assert "engineering" in team.groups("cat.cooper")


@ON_SQLITE
def test_a_rule_of_somebody_else_is_left_alone(team: HR) -> None:
    by_hand(team, "add_to_group", {"user": "bob.brewer", "group": "engineering", "origin": "rule"})
    assert found(team) == []


@ON_SQLITE
def test_a_group_that_is_gone_is_told_of_and_left(team: HR) -> None:
    by_hand(team, "delete_group", {"group": "sales", "force": True})
    assert {(one.what, one.left) for one in found(team)} == {("group sales", "there is no such group")}
    run = repair(team)
    assert run.counts == {"noted": 2, "unchanged": 0}
    assert [line["jobs"] for line in team.lines(run)] == [None, None]


def test_who_was_closed_by_hand_stays_closed_until_somebody_says_so(team: HR) -> None:
    by_hand(team, "deactivate_user", {"user": "ann.archer"})
    by_hand(team, "remove_from_group", {"user": "ann.archer", "group": "sales"})
    by_hand(team, "lock_user", {"user": "cat.cooper", "owner": "security", "reason": "stolen laptop"})
    ann, cat = found(team)
    assert brief([ann, cat]) == [
        ("ann.archer", "access", "active", "inactive", "eve"), ("cat.cooper", "access", "active", "locked", "security"),
    ]  # fmt: skip
    assert "deactivated by eve on 2026-03-02, not by this feed" in (ann.left or "")
    assert (cat.why, "only unlock_user lifts that" in (cat.left or "")) == ("stolen laptop", True)
    run = repair(team)
    assert [(line["external_id"], line["action"], line["jobs"]) for line in team.lines(run)] == [
        ("001", "case", None), ("003", "noted", None),
    ]  # fmt: skip
    team.carry(run)
    assert team.states()["ann.archer"] == "closed"
    [case] = team.office.rows("feed_case")
    assert (case["external_id"], case["code"], case["state"]) == ("001", "disabled_by_hand", "open")

    with team.office.scope() as scope:
        cases.decide(scope, case["id"], "enable", by="boss", reason="she is back")
    team.carry(repair(team))
    assert team.states()["ann.archer"] == "active"
    assert "sales" in team.groups("ann.archer")
    assert [one.username for one in found(team)] == ["cat.cooper"]


@ON_SQLITE
def test_who_was_let_in_again_after_leaving_is_closed(team: HR) -> None:
    gone = [ANN, BOB, CAT | {"status": "Gone"}]
    team.apply(gone)
    by_hand(team, "reactivate_user", {"user": "cat.cooper"})
    assert brief(found(team)) == [("cat.cooper", "access", "inactive", "active", "eve")]
    run = repair(team)
    [line] = team.lines(run)
    assert (line["action"], [job["kind"] for job in line["jobs"]]) == ("leaver", ["offboard_user"])
    team.carry(run)
    assert team.states()["cat.cooper"] == "closed"
    assert found(team) == []
    assert [row["state"] for row in team.office.rows("job", kind="delete_user")].count("scheduled") == 1


@ON_SQLITE
def test_who_is_on_leave_and_was_let_in_is_suspended_again(team: HR) -> None:
    team.apply([ANN, BOB, CAT | {"status": "Leave"}])
    assert found(team) == []
    by_hand(team, "reactivate_user", {"user": "cat.cooper"})
    run = repair(team)
    assert [(line["action"], line["jobs"][0]["kind"]) for line in team.lines(run)] == [("leave", "deactivate_user")]
    team.carry(run)
    assert (team.states()["cat.cooper"], found(team)) == ("closed", [])


@ON_SQLITE
def test_who_was_let_in_before_the_first_day_is_closed_until_then(hr: HR) -> None:
    hr.apply([ANN, BOB, CAT | {"start": "2026-03-06"}])
    assert found(hr) == []
    by_hand(hr, "reactivate_user", {"user": "cat.cooper"})
    assert brief(found(hr)) == [("cat.cooper", "access", "inactive", "active", "eve")]
    hr.carry(repair(hr))
    assert (hr.states()["cat.cooper"], found(hr)) == ("closed", [])
    hr.turn(days=5)
    assert hr.states()["cat.cooper"] == "active", "the first day was planned anew"


@ON_SQLITE
def test_a_leaving_that_was_called_off_by_hand_is_planned_again(hr: HR) -> None:
    hr.apply([ANN, BOB, CAT | {"end": "2026-03-31"}])
    assert found(hr) == []
    [planned] = [row for row in hr.office.rows("job", kind="offboard_user") if row["state"] == "scheduled"]
    with hr.office.scope() as scope:
        ledger.cancel(scope, [job.c.id == planned["id"]], by="eve")
    [drift] = found(hr)
    assert (drift.what, drift.should_be, drift.found) == ("leaving", "2026-04-01T00:00:00+00:00", None)
    hr.carry(repair(hr))
    assert found(hr) == []
    hr.turn(days=31)
    assert hr.states()["cat.cooper"] == "closed"


@ON_SQLITE
def test_accounts_that_are_gone_or_lost_their_id(team: HR) -> None:
    by_hand(team, "delete_user", {"user": "bob.brewer"})
    with team.office.scope() as scope:
        scope.conn.execute(delete(users).where(users.c.username == "ann.archer"))
    by_hand(team, "update_user", {"user": "cat.cooper", "external_id": "other"})
    assert brief(found(team)) == [
        ("ann.archer", "account", "there", "missing", None), ("cat.cooper", "external_id", "003", "other", "eve"),
    ], "who was deleted by a job is not remembered, and so not missed"  # fmt: skip
    run = repair(team)
    assert [(line["external_id"], line["action"]) for line in team.lines(run)] == [("001", "joiner"), ("003", "mover")]
    team.carry(run)
    assert [(one.username, one.what) for one in found(team)] == [("cat.cooper", "manager")], "the new account is another one"
    team.carry(repair(team))
    ann, cat = team.office.user("ann.archer"), team.office.user("cat.cooper")
    assert ann is not None
    assert cat is not None
    assert (cat.external_id, cat.manager) == ("003", ann.id)
    assert team.groups("ann.archer") == {"staff", "sales"}


@ON_SQLITE
def test_people_with_open_jobs_are_left_out_and_counted(team: HR) -> None:
    team.office.submit("update_user", {"user": "ann.archer", "name": "Annie"})
    by_hand_later = team.office.submit("update_user", {"user": "bob.brewer", "name": "Bobby"})
    search = team.feeds.find_drift("hr")
    assert list(search) == []
    assert (search.people, search.under_way) == (1, 2)
    team.office.drain()
    assert team.office.ended(by_hand_later).state == "succeeded"
    assert [one.username for one in found(team)] == ["ann.archer", "bob.brewer"]


def test_pages_are_walked_to_the_end(team: HR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.feeds.drift.PAGE", 1)
    for name in ("ann.archer", "bob.brewer", "cat.cooper"):
        by_hand(team, "update_user", {"user": name, "zone": "Europe/Berlin", "name": "X"})
    assert [(one.external_id, one.what) for one in found(team)] == [("001", "name"), ("002", "name"), ("003", "name")]
    ends_in_peace(team)


@ON_SQLITE
def test_the_brakes_hold_a_repair_too(hr: HR) -> None:
    hr.apply(TEAM)
    brakes = hr.feed().brakes.model_copy(update={"attributes": Brake(count=2)})
    hr.feeds.feeds = {"hr": hr.feed().model_copy(update={"brakes": brakes})}
    for name in ("ann.archer", "bob.brewer", "cat.cooper"):
        by_hand(hr, "update_user", {"user": name, "name": "X"})
    run = repair(hr)
    assert (run.state, [brake["brake"] for brake in run.brakes]) == ("held", ["attributes"])
    hr.carry(hr.feeds.approve(run, by="boss", reason="seen"))
    assert found(hr) == []


@ON_SQLITE
def test_what_is_written_otherwise_means_the_same(declare: Any) -> None:
    hr: HR = declare(DECLARED.replace('email = "{username}@example.com"\n', "").replace('first = "first"', 'email = "reason"\nfirst = "first"').replace(
        'reason = "reason"\n', "").replace('"attributes.department"', 'locale = "end"\n"attributes.department"', 1).replace('last_day = "end"\n', ""))
    hr.apply([person("001", "Ann", "Archer", reason="Ann.Archer@EXAMPLE.com", end="de_AT")])
    assert hr.office.user("ann.archer").locale == "de-AT"  # type: ignore[union-attr]
    assert found(hr) == []


@ON_SQLITE
def test_what_the_feed_says_of_newcomers_only_is_no_drift(declare: Any) -> None:
    hr: HR = declare(DECLARED.replace('"attributes.department" = "department"', '"attributes.department" = { column = "department", authority = "create" }'))
    hr.apply(TEAM)
    by_hand(hr, "update_user", {"user": "ann.archer", "attributes": {"department": "Arts"}})
    assert found(hr) == []


def test_the_command_shows_who_changed_what_and_plans_the_repair(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "muster.toml").write_text(DECLARED)
    shell = Shell(sqlite_url, config=str(tmp_path / "muster.toml"))
    hr = HR(shell.office, tmp_path)
    for group in ("staff", "sales"):
        shell.office.do("create_group", {"group": group})
    hr.apply(TEAM)
    quiet = shell.muster("feed", "drift", "hr")
    assert (quiet.exit_code, "The directory is as it was accepted." in quiet.stdout) == (0, True)
    assert "there is nothing to repair" in shell.muster("feed", "drift", "hr", "--repair").stdout
    by_hand(hr, "update_user", {"user": "ann.archer", "name": "Annie", "manager": None})
    by_hand(hr, "remove_from_group", {"user": "cat.cooper", "group": "sales"})
    result = shell.muster("feed", "drift", "hr")
    assert result.exit_code == 0
    assert "3 differences of 2 people; 3 people compared." in result.stdout
    assert "eve: a ticket" in result.stdout
    found = shell.objects("feed", "drift", "hr", "--limit", "2")
    assert [(one["external_id"], one["by"]) for one in found] == [("001", "eve"), ("001", "eve")]
    planned = shell.muster("feed", "drift", "hr", "--repair")
    plan = planned.stdout.split()[1]
    assert f"muster feed apply {plan}" in planned.stdout
    assert shell.muster("feed", "apply", plan).exit_code == 0
    shell.work()
    assert shell.objects("feed", "drift", "hr") == []
    shell.close()
