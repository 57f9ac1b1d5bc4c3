"""From a file to a plan, and from exactly that plan to jobs and accepted state."""

import pytest
from hr import HR, person

from worker.feed_tables import feed_action
from worker.feeds.apply import NotApplied

ANN = person("001", "Ann", "Archer", boss="002")
BOB = person("002", "Bob", "Brewer", department="Engineering")
CAT = person("003", "Cat", "Cooper", boss="001")
TEAM = [ANN, BOB, CAT]


def test_a_plan_says_what_would_be_done_and_does_nothing(hr: HR) -> None:
    before = len(hr.office.jobs())
    run = hr.plan(TEAM)
    assert run.state == "planned"
    assert run.counts == {"joiner": 3, "unchanged": 0}
    assert len(hr.office.jobs()) == before
    assert hr.office.rows("users") == []
    [ann] = [line for line in hr.lines(run) if line["external_id"] == "001"]
    assert ann["label"] == "Ann Archer"
    assert ann["changes"]["attributes.department"] == [None, "Sales"]
    assert ann["groups"] == {"added": {"sales": "sales people", "staff": "everybody"}}
    [job] = ann["jobs"]
    assert job["kind"] == "onboard_user"
    assert job["payload"]["username"] == "ann.archer"
    assert job["payload"]["email"] == "ann.archer@example.com"
    assert job["payload"]["manager"] == {"external_id": "002"}


def test_exactly_the_plan_becomes_jobs(hr: HR) -> None:
    run = hr.plan(TEAM)
    planned = [job for line in hr.lines(run) for job in line["jobs"] or ()]
    hr.carry(run)
    made = [row for row in hr.office.jobs() if row["source"] == "feed/hr"]
    assert [{"kind": row["kind"], "payload": row["payload"]} for row in made] == planned
    assert {row["state"] for row in made} == {"succeeded"}
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active", "cat.cooper": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    assert hr.groups("bob.brewer") == {"staff"}
    ann, bob = hr.office.user("ann.archer"), hr.office.user("bob.brewer")
    assert ann
    assert bob
    assert ann.manager == bob.id


def test_managers_come_before_their_reports(hr: HR) -> None:
    run = hr.plan(TEAM)
    assert [line["external_id"] for line in hr.lines(run)] == ["002", "001", "003"]


def test_the_same_file_again_yields_nothing(hr: HR) -> None:
    hr.apply(TEAM)
    jobs = len(hr.office.jobs())
    again = hr.plan(TEAM)
    assert again.counts == {"unchanged": 3}
    assert again.total == 0
    hr.carry(again)
    assert len(hr.office.jobs()) == jobs


def test_a_mover_is_shown_before_and_after_with_the_rules(hr: HR) -> None:
    hr.apply(TEAM)
    run = hr.plan([ANN | {"department": "Engineering", "last": "Miller"}, BOB, CAT])
    [line] = hr.lines(run)
    assert line["action"] == "mover"
    assert line["changes"] == {"attributes.department": ["Sales", "Engineering"], "name": ["Ann Archer", "Ann Miller"]}
    assert line["groups"] == {"removed": {"sales": "sales people"}}
    hr.carry(run)
    ann = hr.office.user("ann.archer")
    assert ann
    assert ann.name == "Ann Miller"
    assert ann.attributes["department"] == "Engineering"
    assert hr.groups("ann.archer") == {"staff"}


def test_a_group_given_by_hand_stays(hr: HR) -> None:
    hr.apply(TEAM)
    hr.office.do("add_to_group", {"user": "bob.brewer", "group": "sales"})
    hr.apply([ANN, BOB | {"department": "Sales"}, CAT])
    hr.apply([ANN, BOB, CAT])
    assert "sales" in hr.groups("bob.brewer")


def test_a_new_manager_alone_is_a_reference(hr: HR) -> None:
    hr.apply(TEAM)
    run = hr.plan([ANN | {"boss": "003"}, BOB, CAT])
    [line] = hr.lines(run)
    assert (line["action"], line["changes"]) == ("reference", {"manager": ["002", "003"]})
    hr.carry(run)
    ann, cat = hr.office.user("ann.archer"), hr.office.user("cat.cooper")
    assert ann
    assert cat
    assert ann.manager == cat.id


def test_a_leaver_without_a_last_day_leaves_now(hr: HR) -> None:
    hr.apply(TEAM)
    run = hr.plan([ANN, BOB, CAT | {"status": "Gone", "reason": "retired"}])
    [line] = hr.lines(run)
    assert line["action"] == "leaver"
    assert line["jobs"][0]["payload"]["reason"] == "retired"
    assert "urgent" not in line["jobs"][0]
    hr.carry(run)
    assert hr.states()["cat.cooper"] == "closed"


def test_a_reason_on_the_list_is_urgent(hr: HR) -> None:
    hr.apply(TEAM)
    run = hr.plan([ANN, BOB, CAT | {"status": "Gone", "reason": "fraud", "end": "2026-12-31"}])
    [line] = hr.lines(run)
    assert line["jobs"][0]["urgent"] is True
    assert "at" not in line["jobs"][0]["payload"]
    hr.carry(run)
    assert hr.states()["cat.cooper"] == "closed"


def test_the_same_plan_has_the_same_hash_and_another_one_another(hr: HR) -> None:
    one, other = hr.plan(TEAM), hr.plan(TEAM)
    assert one.hash == other.hash
    assert hr.plan(TEAM[:2]).hash != one.hash


def test_a_plan_is_stale_once_another_one_was_applied(hr: HR) -> None:
    old, new = hr.plan(TEAM[:2]), hr.plan(TEAM)
    hr.carry(new)
    with pytest.raises(NotApplied, match="another plan was applied"):
        hr.feeds.apply(hr.feeds.find(old.id))
    assert len(hr.states()) == 3


def test_a_plan_whose_stored_lines_were_changed_is_not_applied(hr: HR) -> None:
    run = hr.plan(TEAM)
    with hr.office.scope() as scope:
        scope.conn.execute(
            feed_action.update().where(feed_action.c.number == 1)
            .values(jobs=[{"kind": "delete_user", "payload": {"user": "root"}}])
        )  # fmt: skip
    another_process = HR(hr.office, hr.folder)
    with pytest.raises(NotApplied, match="not those"):
        another_process.feeds.apply(run)


def test_applying_twice_is_applying_once(hr: HR) -> None:
    run = hr.plan(TEAM)
    hr.carry(run)
    jobs = len(hr.office.jobs())
    hr.carry(run)
    assert len(hr.office.jobs()) == jobs


def test_a_plan_is_good_for_a_week(hr: HR) -> None:
    run = hr.plan(TEAM)
    hr.office.later(days=8)
    with pytest.raises(NotApplied, match="older than 7 days"):
        hr.feeds.apply(run)


def test_jobs_say_whose_they_are_and_why(hr: HR) -> None:
    run = hr.apply(TEAM)
    row = next(row for row in hr.office.jobs() if row["source"] == "feed/hr")
    assert row["requested_by"] == "feed/hr"
    assert row["on_behalf_of"] == "tester"
    assert row["why"] == f"plan {run.hash[:12] if run.hash else ''}"
    assert row["urgent"] in (False, 0)


def test_a_name_that_somebody_else_was_given_since_the_plan_is_theirs(hr: HR) -> None:
    run = hr.plan([ANN])
    hr.office.do("create_user", {"username": "ann.archer", "name": "Another Ann"})
    hr.carry(run)
    [made] = hr.office.rows("users")
    assert (made["name"], made["external_id"]) == ("Another Ann", None)
    [job] = hr.office.jobs("onboard_user")
    assert (job["state"], job["reason"]) == ("rejected", "username_taken")
    again = hr.apply([ANN])
    assert [line["action"] for line in hr.lines(again)] == ["joiner"]
    assert hr.states() == {"ann.archer": "active", "ann.archer2": "active"}


def test_what_was_refused_is_planned_again_with_the_same_file(hr: HR) -> None:
    hr.apply([BOB])
    hr.office.do("set_legal_hold", {"user": "bob.brewer", "owner": "legal", "reason": "case 7"})
    with hr.office.scope() as scope:  # the directory has become one in which the job is refused
        scope.conn.exec_driver_sql("UPDATE users SET type = 'internal_service_account'")
    moved = [BOB | {"department": "Sales"}]
    hr.apply(moved)
    assert hr.office.jobs("transfer_user")[0]["state"] == "rejected"
    with hr.office.scope() as scope:
        scope.conn.exec_driver_sql("UPDATE users SET type = 'internal'")
    again = hr.apply(moved)
    assert again.counts == {"mover": 1, "unchanged": 0}
    assert hr.groups("bob.brewer") == {"staff", "sales"}
    assert hr.plan(moved).total == 0
