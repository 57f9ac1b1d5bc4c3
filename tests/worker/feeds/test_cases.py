"""Cases are opened once, kept up to date, and decided by somebody who is told when a decision makes no sense."""

import json
from typing import Any

import pytest
from office import Office

from worker.bulk import insert_rows
from worker.feed_tables import feed_person
from worker.feeds import cases
from worker.feeds.cases import CannotDecide, Case
from worker.ids import new_id


@pytest.fixture
def office(office: Office) -> Office:
    """The small office with its world: bob, ann (E-1001) and carol."""
    office.world()
    return office


def opened(office: Office, *external_ids: str, source: str = "hr", **said: Any) -> list[Case]:
    row = {"label": "Ann Archer", "code": "ambiguous_match", "text": "which?", "candidates": [], **said}
    with office.scope() as scope:
        cases.open_cases(scope, source, [{"external_id": one, **row} for one in external_ids])
    return listed(office, source, None)


def listed(office: Office, source: str | None = None, state: str | None = "open") -> list[Case]:
    with office.app.database.read() as conn:
        return cases.list_cases(conn, source, state)


def decide(office: Office, case: Case | str, decision: str, account: str | None = None) -> Case:
    with office.scope() as scope:
        return cases.decide(scope, case if isinstance(case, str) else case.id, decision, account, by="carol", reason="asked HR")


def refused(office: Office, case: Case | str, decision: str, account: str | None = None) -> str:
    with pytest.raises(CannotDecide) as refusal:
        decide(office, case, decision, account)
    return str(refusal.value)


def known(office: Office, external_id: str, account: str, source: str = "hr") -> None:
    row = {"source": source, "external_id": external_id, "account": account, "digest": "d" * 32, "fields": {}, "stamps": {},
           "later": [], "phase": "active", "absent_runs": 0, "run": new_id(), "changed_at": office.now}
    with office.scope() as scope:
        insert_rows(scope.conn, feed_person, [row])


def test_a_case_is_opened_once_and_kept_up_to_date(office: Office) -> None:
    candidates = [{"id": "x", "username": "ann", "external_id": None, "name": "Ann Ö", "by": ["email"]}]
    [first, _] = opened(office, "1", "2")
    office.later(hours=1)
    now = opened(office, "2", "1", "3", text="which of these?", candidates=candidates)
    assert [(one.external_id, one.state, one.text) for one in now] == [(n, "open", "which of these?") for n in "123"]
    assert (now[0].id, now[0].created_at, now[0].candidates) == (first.id, first.created_at, candidates)
    assert [one.external_id for one in listed(office, "badges")] == []
    opened(office, "1", source="badges", label="x" * 300)
    assert [(one.source, one.external_id) for one in listed(office)] == [("hr", "1"), ("hr", "2"), ("hr", "3"), ("badges", "1")]


def test_a_decided_case_stays_decided(office: Office) -> None:
    [case] = opened(office, "1")
    made = decide(office, case, "ignore")
    assert (made.state, made.decided_by, made.reason, made.decided_at) == ("ignore", "carol", "asked HR", office.now)
    [after] = opened(office, "1", text="which, now?")
    assert (after.state, after.text) == ("ignore", "which?")
    assert listed(office) == []
    assert decide(office, case, "new").state == "new", "somebody may think better of it"


def test_another_question_opens_it_again(office: Office) -> None:
    [case] = opened(office, "1")
    decide(office, case, "link", "ann")
    with office.scope() as scope:
        row = {"external_id": "1", "code": "disabled_by_hand", "text": "deactivated by bob", "candidates": ()}
        assert [cases.open_cases(scope, "hr", [row]) for _ in range(2)] == [1, 0]
    [again] = listed(office)
    assert (again.id, again.code, again.account, again.decided_by, again.reason) == (case.id, "disabled_by_hand", None, None, None)


def test_a_link_names_an_account_by_any_of_its_names(office: Office) -> None:
    [case] = opened(office, "1")
    ann = office.user("ann")
    assert ann is not None
    for name in ("ann", "ANN", "E-1001", ann.id):
        made = decide(office, case, "link", name)
        assert (made.state, made.account) == ("link", ann.id)


def test_a_link_to_somebody_elses_account_is_refused(office: Office) -> None:
    [case, other] = opened(office, "1", "2")
    known(office, "00017", "E-1001")
    known(office, "1", "E-1001", source="badges")
    assert "already belongs to another person of hr, with the id 00017" in refused(office, case, "link", "ann")
    decide(office, other, "link", "carol")
    assert "with the id 2" in refused(office, case, "link", "carol")
    assert decide(office, case, "link", "bob").state == "link"


@pytest.mark.parametrize(
    ("decision", "account", "said"),
    [
        ("link", "nobody", "no account nobody"), ("link", None, "Say which account"), ("new", "ann", "only a link takes one"),
        ("link", "", "no account"), ("maybe", None, "link, new, ignore, enable"), ("enable", None, "not closed by hand"),
    ],
)  # fmt: skip
def test_a_decision_that_makes_no_sense_is_refused_in_words(office: Office, decision: str, account: str | None, said: str) -> None:
    [case] = opened(office, "1")
    assert said in refused(office, case, decision, account)
    assert listed(office) == [case]


def test_an_external_id_cannot_be_had_twice(office: Office) -> None:
    candidate = {"id": new_id(), "username": "ann", "external_id": "1", "name": "Ann", "by": ["external_id"]}
    [case] = opened(office, "1", code="owned_by_another", candidates=[candidate])
    assert "the external id that ann has" in refused(office, case, "new")


def test_a_case_that_is_not_there_is_said_so(office: Office) -> None:
    for missing in ("7", new_id(), "'; --"):
        assert f"no case {missing}" in refused(office, missing, "ignore")


def test_what_was_closed_by_hand_is_opened_only_when_somebody_says_so(office: Office) -> None:
    known(office, "1", "E-1001")
    [case] = opened(office, "1", code="disabled_by_hand")
    opened(office, "2", code="disabled_by_hand")
    assert "closed by hand" in refused(office, case, "new")
    assert decide(office, case, "enable").state == "enable"
    with office.app.database.read() as conn:
        assert set(cases.enabled(conn, "hr", ["1", "2", "3"])) == {"1"}
        assert cases.enabled(conn, "badges", ["1"]) == {}
    assert office.rows("feed_person")[0]["digest"] is None, "the next run looks at the record, though it is the same"


def test_cases_that_settled_themselves_are_dropped(office: Office) -> None:
    [case, *_] = opened(office, "1", "2", "3")
    decide(office, case, "ignore")
    with office.scope() as scope:
        assert [cases.close_cases(scope, "hr", ids) for ids in (["1", "2", "9"], [])] == [1, 0]
    assert [(one.external_id, one.state) for one in listed(office, "hr", None)] == [("1", "ignore"), ("3", "open")]


def test_a_case_is_shown_as_json(office: Office) -> None:
    [case] = opened(office, "1")
    shown = json.loads(json.dumps(cases.as_json(decide(office, case, "ignore"))))
    assert (shown["id"], shown["state"], shown["decided_at"]) == (case.id, "ignore", office.now.isoformat())
    assert shown.keys() == set(Case.__dataclass_fields__)
