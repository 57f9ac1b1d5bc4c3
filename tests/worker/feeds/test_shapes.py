"""SCIM users and HR messages: paths into them, what odd clients send, and which flaw is named."""

import json
from typing import Any

import pytest

from worker.feeds.shapes import ENTERPRISE, MISSING, BadRecord, finder, read_message, read_scim, scim_records

CSV = "urn:ietf:params:scim:schemas:extension:csv:1.0:User"
USER: dict[str, Any] = {
    "externalId": "0701",
    "userName": "dora@example.com",
    "name": {"givenName": "Dora", "familyName": "Example"},
    "emails": [{"value": "d@home.example", "type": "home"}, {"value": "dora@example.com", "type": "Work"}],
    "phoneNumbers": [{"value": "1", "type": "work"}, {"value": "2", "type": "mobile"}, {"value": "3", "primary": True}],
    "active": True,
    ENTERPRISE: {"department": "Sales", "manager": {"value": "0007"}},
    CSV: {"HireDate": "2026-01-01", "Cost.Center": "CC1"},
}


def operation(**changes: Any) -> dict[str, Any]:
    return {"method": "POST", "bulkId": "b1", "path": "/Users", "data": USER} | changes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("externalId", "0701"),
        ("name.givenName", "Dora"),
        ("emails.0.value", "d@home.example"),
        ("emails[type=work].value", "dora@example.com"),
        ('emails[type eq "work"].value', "dora@example.com"),
        (f"{ENTERPRISE}.department", "Sales"),
        (f"{CSV}.HireDate", "2026-01-01"),
        (f"{CSV}.Cost.Center", "CC1"),
        ("name.middleName", MISSING),
        ("emails.7.value", MISSING),
        ("emails[type=other].value", MISSING),
        ("externalId.x", MISSING),
        ("name[x].y", MISSING),
        ("", MISSING),
        ("...", MISSING),
    ],
)
def test_paths(path: str, value: Any) -> None:
    assert finder(path)(USER) is value or finder(path)(USER) == value


def test_a_path_is_a_literal_key_first() -> None:
    assert finder("name.givenName")({"name.givenName": "Okta", "name": {"givenName": "nested"}}) == "Okta"


def test_a_scim_user_is_laid_out() -> None:
    person = read_scim(operation(), set())
    assert person.oddities == ()
    given = {name: person.value[name] for name in ("$status", "$manager", "$email", "$phone", "$mobile", "externalId")}
    assert given == {"$status": "active", "$manager": "0007", "$email": "dora@example.com", "$phone": "3", "$mobile": "2",
                     "externalId": "0701"}  # fmt: skip
    assert finder("enterprise.department")(person.value) == "Sales"
    assert finder(f"{CSV}.HireDate")(person.value) == "2026-01-01"


def test_a_plain_user_needs_no_operation() -> None:
    assert read_scim(USER, set()) == read_scim(operation(), set())


@pytest.mark.parametrize(
    ("active", "status"),
    [(True, "active"), ("True", "active"), (1, "active"), (False, "inactive"), ("False", "inactive"), ("no", "inactive"),
     (0, "inactive"), ("x", "x"), (None, MISSING)],
)  # fmt: skip
def test_how_clients_write_active(active: object, status: object) -> None:
    assert read_scim(USER | {"active": active}, set()).value.get("$status", MISSING) == status


def test_active_that_is_missing_enables_nobody() -> None:
    assert "$status" not in read_scim({"externalId": "1"}, set()).value


@pytest.mark.parametrize("manager", ["0007", {"value": "0007"}, [{"value": "0007", "displayName": "Bob"}], ["0007"]])
def test_how_clients_write_the_manager(manager: object) -> None:
    assert read_scim({"externalId": "1", ENTERPRISE: {"manager": manager}}, set()).value["$manager"] == "0007"
    assert read_scim({"externalId": "1", ENTERPRISE.upper(): {"Manager": manager}}, set()).value["$manager"] == "0007"


@pytest.mark.parametrize(
    ("record", "oddity"),
    [
        (operation(path="/users"), "where SCIM says “/Users”"),
        (operation(data={"externalId": "1", "username": "dora"}), "“username” is written “userName”"),
        (operation(data={"externalId": "1", "resourceType": "User"}), "resourceType"),
        (operation(bulkId="seen"), "“seen” stands on several operations"),
        (operation(bulkId=None), "no bulkId"),
        (operation(data={"externalId": "1", "active": "False"}), "“active” is “False”"),
    ],
)
def test_what_can_be_understood_is_taken_and_named(record: dict[str, Any], oddity: str) -> None:
    person = read_scim(record, {"seen"})
    assert any(oddity in one for one in person.oddities)
    assert person.value["externalId"]


def test_a_name_in_another_case_finds_its_column() -> None:
    assert read_scim({"externalid": "1", "username": "dora"}, set()).value == {"externalId": "1", "userName": "dora"}


@pytest.mark.parametrize(
    ("record", "code", "says"),
    [
        (operation(method="DELETE"), "bad_operation", "active: false"),
        (operation(method=None), "bad_operation", "missing"),
        (operation(path="/Groups"), "bad_operation", "“/Groups”"),
        ({"method": "POST", "path": "/Users", "bulkId": "1"}, "bad_operation", "no data"),
        (operation(data="dora"), "not_an_object", "no object"),
        ("dora", "not_an_object", "no object"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_flaw(record: Any, code: str, says: str) -> None:
    with pytest.raises(BadRecord, match=says) as caught:
        read_scim(record, set())
    assert caught.value.code == code


def test_where_the_records_of_a_document_are() -> None:
    assert scim_records({"schemas": [], "Operations": [1, 2]}) == [1, 2]
    assert scim_records({"operations": [1]}) == [1]
    assert scim_records({"Resources": [USER]}) == [USER]
    assert scim_records([USER]) == [USER]
    assert scim_records(USER) == [USER]
    with pytest.raises(BadRecord, match="no list of users"):
        scim_records("text")
    with pytest.raises(BadRecord, match="not a list"):
        scim_records({"Operations": {}})


@pytest.mark.parametrize(
    ("kind", "status"), [("onboard", "active"), ("offboard", "terminated"), ("transfer", None), ("person.changed", None)]
)
def test_the_type_of_a_message_says_a_status(kind: str, status: str | None) -> None:
    message = read_message(json.dumps({"id": "m1", "type": kind, "source": "hr", "occurred_at": "2026-01-31T12:00:00Z",
                                       "person": {"external_id": "1"}}))  # fmt: skip
    assert (message.id, message.type, message.source) == ("m1", kind, "hr")
    assert message.person.get("$status") == status
    assert message.person["$occurred_at"] == "2026-01-31T12:00:00+00:00"


def test_what_we_derive_cannot_be_sent() -> None:
    assert dict(read_message('{"type": "transfer", "person": {"$status": "active"}}').person) == {}
    assert read_scim({"externalId": "1", "$status": "active"}, set()).value == {"externalId": "1"}


def test_a_message_needs_neither_id_nor_time() -> None:
    message = read_message('{"type": "transfer", "person": {}}')
    assert (message.id, message.occurred_at, dict(message.person)) == (None, None, {})
    assert read_message('{"id": 7, "type": "transfer", "person": {}}').id == "7"


@pytest.mark.parametrize(
    ("raw", "code", "says"),
    [
        ("{", "bad_json", "line 1, column 2"),
        (b"\xff", "bad_json", "not JSON"),
        ('"Ping test"', "not_an_object", "no object"),
        ('{"person": {}}', "bad_message", "type is missing"),
        ('{"type": ["onboard"], "person": {}}', "bad_message", "type is"),
        ('{"type": "fired", "person": {}}', "bad_message", "“fired”"),
        ('{"type": "onboard"}', "bad_message", "no person"),
        ('{"type": "onboard", "person": {}, "occurred_at": 7}', "bad_message", "2026-01-31T12:00:00Z"),
        ('{"type": "onboard", "person": {}, "id": 1.5}', "bad_message", "id is"),
        ('{"type": "onboard", "person": {"first": "\\u0000"}}', "bad_json", "NUL"),
    ],
)
def test_messages_that_are_refused(raw: str | bytes, code: str, says: str) -> None:
    with pytest.raises(BadRecord, match=says) as caught:
        read_message(raw)
    assert caught.value.code == code
