"""create_user: new accounts, accounts taken over, and names that are never given twice."""

from collections import Counter
from typing import Any

import pytest
from office import Office
from sqlalchemy import event

from worker import outbox
from worker.directory.users import User


def made(office: Office, username: str) -> User:
    user = office.user(username)
    assert user is not None
    return user


def test_a_new_account_has_what_was_given_and_defaults_for_the_rest(office: Office) -> None:
    office.world()
    ended = office.do(
        "create_user",
        {
            "username": "Dora", "external_id": "E-7", "name": "Dora Dean", "email": " Dora@EXAMPLE.com",
            "attributes": "office: B2\ncountry: NO", "locale": "pt_BR", "zone": "Europe/Lisbon", "groups": ["Staff"],
            "manager": {"external_id": "E-1001"}, "start_date": "2026-01-01",
        },
    )  # fmt: skip
    dora = made(office, "dora")
    assert ended.result == {"changed": True, "user": dora.id, "created": True, "groups": ["staff"]}
    assert (dora.username, dora.external_id, dora.path, dora.type, dora.is_active) == ("Dora", "E-7", "users", "internal", True)
    assert (dora.email, dora.email_folded) == ("Dora@example.com", "dora@example.com")
    assert (dora.attributes, dora.locale, dora.zone) == ({"office": "B2", "country": "NO"}, "pt-BR", "Europe/Lisbon")
    assert (dora.manager, dora.version, dora.password_hash) == (made(office, "ann").id, 1, None)
    assert [(e["action"], e["data"]) for e in office.events("dora")] == [
        ("user.created", {"active": True, "path": "users"}),
        ("membership.added", {"group": "staff", "origin": "manual"}),
    ]


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"username": "ANN"}, "username_taken", "ANN belongs to somebody else"),
        ({"username": "dora", "external_id": "E-1001"}, "external_id_taken", "already belongs to the user ann"),
        ({"username": "dora", "groups": ["staff", "ghosts"]}, "unknown_group", "no group ghosts"),
        ({"username": "dora", "manager": "nobody"}, "unknown_manager", "no user nobody"),
        ({"username": "dora", "manager": "Dora"}, "own_manager", "dora cannot be their own manager"),
        ({"username": "dora", "email": "dora@"}, "bad_email", "dora cannot be used"),
        ({"username": "dora", "start_date": "2026-02-01", "end_date": "2026-01-01"}, "invalid", "before the start date"),
    ],
)
def test_refusals_are_precise_and_leave_nothing(office: Office, fields: dict[str, Any], reason: str, said: str) -> None:
    office.world()
    before = office.rows("users"), office.rows("membership"), office.rows("event")
    ended = office.do("create_user", fields)
    assert (ended.state, ended.reason) == ("rejected", reason)
    assert said in (ended.reason_text or "")
    assert (office.rows("users"), office.rows("membership"), office.rows("event")) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"username": ""},
        {"username": "dora", "path": ""},
        {"username": "dora", "path": "muster.internal/x"},
        {"username": "dora", "type": "internal_service_account"},
        {"username": "dora", "attributes": "a: &b [1]\nc: *b"},
        {"username": "dora", "zone": "Mars/Olympus"},
    ],
)
def test_what_has_no_shape_is_refused_at_the_door(office: Office, fields: dict[str, Any]) -> None:
    answer = office.accept("create_user", fields)
    assert answer.reason == "bad_payload"


def test_of_two_in_one_batch_the_first_gets_the_name(office: Office) -> None:
    first = office.submit("create_user", {"username": "Straße"})
    second = office.submit("create_user", {"username": "STRASSE", "external_id": "E-5"})
    office.drain()
    assert office.ended(first).state == "succeeded"
    assert (office.ended(second).state, office.ended(second).reason) == ("rejected", "username_taken")


def test_people_of_one_batch_can_be_each_others_managers(office: Office) -> None:
    office.submit("create_user", {"username": "chief"})
    report = office.submit("create_user", {"username": "clerk", "manager": "chief"})
    office.drain()
    assert office.ended(report).state == "succeeded"
    assert made(office, "clerk").manager == made(office, "chief").id


def test_adopting_takes_an_account_over_and_notes_a_missing_external_id(office: Office) -> None:
    office.world()
    wish = {"username": "bob", "external_id": "E-9", "name": "Robert", "if_exists": "adopt"}
    ended = office.do("create_user", wish)
    bob = made(office, "bob")
    assert ended.result == {"changed": True, "user": bob.id, "created": False, "username": "bob", "fields": ["external_id"]}
    assert (bob.external_id, bob.name) == ("E-9", "Bob Baker")
    again = office.do("create_user", wish)
    assert (again.result["changed"], made(office, "bob").version) == (False, bob.version)


def test_updating_changes_only_what_was_given(office: Office) -> None:
    office.world()
    ended = office.do(
        "create_user",
        {"username": "ann", "external_id": "E-1001", "attributes": {"desk": 4}, "groups": ["administrators"], "if_exists": "update"},
    )
    ann = made(office, "ann")
    assert (ended.result["changed"], ended.result["fields"], ended.result["groups"]) == (True, ["attributes"], ["administrators"])
    assert (ann.name, ann.email, ann.is_active) == ("Ann Archer", "ann@example.com", True)


def test_two_names_that_lead_to_two_people_are_a_conflict(office: Office) -> None:
    office.world()
    ended = office.do("create_user", {"username": "bob", "external_id": "E-1001", "if_exists": "adopt"})
    assert (ended.state, ended.reason) == ("rejected", "conflicting_names")
    assert "ann, bob" in (ended.reason_text or "")


def test_somebody_of_another_external_id_is_not_taken_over(office: Office) -> None:
    office.world()
    ended = office.do("create_user", {"username": "ann", "external_id": "E-2", "if_exists": "adopt"})
    assert (ended.state, ended.reason) == ("rejected", "username_taken")


def test_a_name_given_up_by_a_rename_is_nobody_elses(office: Office) -> None:
    office.world()
    office.do("update_user", {"user": "ann", "username": "ann.new"})
    ended = office.do("create_user", {"username": "Ann"})
    assert (ended.state, ended.reason) == ("rejected", "username_taken")


def test_deleted_people_come_back_only_with_a_newer_hire_date_and_another_username(office: Office) -> None:
    office.world()
    old = made(office, "ann").id
    assert office.do("update_user", {"user": "ann", "start_date": "2020-05-01"}).state == "succeeded"
    assert office.do("delete_user", {"user": "ann"}).state == "succeeded"
    back = {"username": "ann", "external_id": "E-1001", "if_exists": "update"}
    late = office.do("create_user", back)
    assert (late.state, late.reason) == ("rejected", "deleted")
    same = office.do("create_user", {**back, "hired_on": "2020-05-01"})
    assert (same.state, same.reason) == ("rejected", "deleted")
    taken = office.do("create_user", {**back, "hired_on": "2026-05-01"})
    assert (taken.state, taken.reason) == ("rejected", "username_taken")
    new = office.do("create_user", {**back, "username": "ann2", "hired_on": "2026-05-01"})
    assert new.state == "succeeded"
    assert made(office, "ann2").id != old
    assert office.do("delete_user", {"user": "ann2"}).state == "succeeded"
    assert office.do("create_user", {**back, "username": "ann3", "hired_on": "2026-05-01"}).reason == "deleted"


def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(office: Office) -> None:
    office.world()
    counts: list[Counter[str]] = []

    def count(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        counts[-1][statement.split(maxsplit=1)[0]] += 1

    event.listen(office.app.database.engine, "before_cursor_execute", count)
    for name, size in (("few", 3), ("many", 60)):
        counts.append(Counter())
        for number in range(size):
            fields = {"username": f"{name}{number}", "external_id": f"{name}-{number}", "email": f"{name}{number}@example.com",
                      "groups": ["staff"], "manager": "bob"}  # fmt: skip
            office.submit("create_user", fields)
        with office.app.database.read() as conn:
            outbox.forget(conn)  # who is told of events is remembered for a second: both batches look
        counts.append(Counter())
        assert office.runner.run("create_user", urgent=False) == size
    assert counts[1] == counts[3]
