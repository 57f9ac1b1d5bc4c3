"""From a record to a statement: names, how new it is, what is kept of it; SCIM, messages, and any input at all."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from feed_record import ARRIVED, STATUS, as_text, feed, record, refusal, row, said
from hypothesis import given
from hypothesis import strategies as st

from worker.feeds.claims import Refusal, Statement
from worker.feeds.codes import CODES
from worker.feeds.declaration import Feed
from worker.feeds.mapping import Mapper, looks_secret
from worker.feeds.shapes import read_message, read_scim

ARRIVAL = 1_795_435_200_000_000


@pytest.mark.parametrize(
    ("columns", "cells", "name"),
    [
        ({"first": "f", "last": "l"}, {"f": "Ann", "l": "O'Brien"}, "Ann O'Brien"),
        ({"first": "f", "middle": "m", "last": "l"}, {"f": "Ann", "m": "B.", "l": "Cee"}, "Ann B. Cee"),
        ({"first": "f", "middle": "m", "last": "l"}, {"f": "Ann", "m": "", "l": "Cee"}, "Ann Cee"),
        ({"last": "l"}, {"l": "Suharto"}, "Suharto"),
        ({"first": "f", "last": "l", "name": "n"}, {"f": "Ann", "l": "Cee", "n": "Cee, Ann"}, "Cee, Ann"),
        ({"first": "f", "last": "l", "name": "n"}, {"f": "Ann", "l": "Cee", "n": ""}, None),
        ({"first": "f", "last": "l"}, {"f": "", "l": ""}, None),
    ],
)
def test_a_full_name_is_put_together(columns: dict[str, str], cells: dict[str, str], name: str | None) -> None:
    assert said(row(feed(columns), **cells)).get("name") == name


def test_a_full_name_that_is_too_long_names_its_columns() -> None:
    found = refusal(row(feed({"first": "f", "last": "l"}), f="x" * 200, l="y" * 200))
    assert (found.code, found.column) == ("too_long", "f + l")


def test_free_attributes_have_a_size() -> None:
    columns = {f"attributes.a{number}": {"value": "ü" * 4_000} for number in range(9)}
    assert refusal(row(feed(columns), pad="x" * 20_000)).code == "too_long"


def test_a_row_that_is_too_short_is_refused() -> None:
    mapper = Mapper(feed({"last": "l"}), ["id", "l"], arrived=ARRIVED)
    assert refusal(mapper.read(["1"], '["1"]', 2)).code == "ragged_row"
    assert mapper.identify([], "[]")[0] == ""


def test_a_declared_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no column “Surname”"):
        Mapper(feed({"last": "Surname"}), ["id"], arrived=ARRIVED)


# ------------------------------------------------------------------------------------------------------------- how new


@pytest.mark.parametrize(
    ("cells", "stamp"),
    [
        ({}, (0, ARRIVAL)),
        ({"seq": "0012"}, (0, 12)),
        ({"mod": "1970-01-01T00:00:01Z"}, (0, 1_000_000)),
        ({"mod": "1970-01-01T01:00:01"}, (0, 1_000_000)),
        ({"mod": ""}, (0, ARRIVAL)),
        ({"mod": "1970-01-01T00:00:01Z", "seq": "5"}, (0, 5)),
        ({"mod": "1970-01-01T00:00:01Z", "eff": "1970-01-02"}, (23 * 3_600_000_000, 1_000_000)),
        ({"mod": "1970-01-01T00:00:01Z", "eff": "1970-01-02", "zone": "UTC"}, (86_400_000_000, 1_000_000)),
        ({"mod": "1970-01-01T00:00:01Z", "eff": "1970-01-02", "zone": ""}, (23 * 3_600_000_000, 1_000_000)),
        ({"mod": "1970-01-01T00:00:01Z", "eff": ""}, (1_000_000, 1_000_000)),
        ({"mod": "", "eff": ""}, (ARRIVAL - ARRIVAL % 1_000_000, ARRIVAL)),
    ],
)
def test_stamps(cells: dict[str, str], stamp: tuple[int, int]) -> None:
    names = {"seq": "sequence", "mod": "modified", "eff": "effective_on", "zone": "zone"}
    found = row(feed({names[name]: name for name in cells}, zone="Europe/Berlin"), **cells)
    assert isinstance(found, Statement)
    assert found.stamp == stamp
    assert found.fields.keys() <= {"status", "zone"}


def test_a_record_may_have_come_at_a_time_of_its_own() -> None:
    mapper = Mapper(feed({}), ["id"], arrived=ARRIVED)
    found = mapper.read(["1"], '["1"]', 2, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert isinstance(found, Statement)
    assert found.stamp == (0, 1_000_000)


def test_the_digest_is_of_the_record_and_of_what_the_declaration_makes_of_it() -> None:
    one, other = (Mapper(feed({"last": name}), ["id", "a", "b"], arrived=ARRIVED) for name in "ab")
    cells = ["1", "x", "y"]
    text = as_text(cells)
    whose, digest, manager = one.identify(cells, text)
    assert (whose, len(digest), manager) == ("1", 32, "")
    found = one.read(cells, text, 2)
    assert isinstance(found, Statement)
    assert found.digest == digest
    assert other.identify(cells, text)[1] != digest
    assert one.identify(["1", "z", "y"], as_text(["1", "z", "y"]))[1] != digest
    # A column that is not declared may change as it likes.
    assert one.identify(["1", "x", "z"], as_text(["1", "x", "z"]))[1] == digest


def test_the_manager_is_identified_as_read() -> None:
    declared = feed({"manager": {"column": "boss", "split": "/", "part": 2}})
    mapper = Mapper(declared, ["id", "boss"], arrived=ARRIVED)
    assert mapper.identify(["1", "E/ 007 "], "t")[2] == "007"
    assert said(row(declared, boss="E/ 007 "))["manager"] == "007"
    assert mapper.identify(["1", "E/1\u200f"], "t")[2] == ""


# ------------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize("name", ["password", "UserPasswd", "PWD", "client_secret", "PIN", "pinCode", "SSN", "IBAN_no", "apiToken", "Passwort"])
def test_columns_that_look_like_secrets(name: str) -> None:
    assert looks_secret(name)
    found = row(feed({"last": "l"}), l="Cee", **{name: "hush"})
    assert isinstance(found, Statement)
    assert found.raw == as_text(["1", "Cee", ""])
    assert found.digest != Mapper(feed({"last": "l"}), ["id", "l", name], arrived=ARRIVED).identify([], found.raw)[1]


@pytest.mark.parametrize("name", ["Secretary", "ShippingAddress", "opinion", "Pinneberg", "position", "Caliban"])
def test_columns_that_do_not(name: str) -> None:
    assert not looks_secret(name)


def test_secrets_in_json_are_emptied_at_any_depth() -> None:
    value = {"id": "1", "bank": [{"iban": "DE00", "name": "x"}], "password": {"a": 1}}
    found = record(feed({}, form="json"), value)
    assert isinstance(found, Statement)
    assert json.loads(found.raw) == {"id": "1", "bank": [{"iban": "", "name": "x"}], "password": ""}


def test_what_holds_no_secret_is_kept_as_it_came() -> None:
    text = '{ "id": "1",  "note": "shipping", "n": 1e5 }'
    assert Mapper(feed({}, form="json"), None, arrived=ARRIVED).kept(json.loads(text), text) == text


def test_a_value_of_a_column_that_looks_like_a_secret_is_not_shown() -> None:
    found = refusal(row(feed({"hired_on": "token_date"}), token_date="hush-hush"))
    assert "hush" not in found.text + found.raw
    assert "its value is no date" in found.text


# ---------------------------------------------------------------------------------------------------- SCIM and messages

SCIM = {"external_id": "externalId", "first": "name.givenName", "last": "name.familyName", "email": "$email", "manager": "$manager"}


def scim(user: Mapping[str, Any], columns: Mapping[str, Any] = SCIM, **more: Any) -> Statement | Refusal:
    return record(feed(columns, form="scim", **more), read_scim(user, set()).value)


def test_a_scim_user() -> None:
    user = {"externalId": "0701", "name": {"givenName": "Dora", "familyName": "Example"}, "active": True,
            "emails": [{"value": "dora@example.com"}], "manager": {"value": "7"}}  # fmt: skip
    assert said(scim(user)) == {"first": "Dora", "last": "Example", "name": "Dora Example", "email": "dora@example.com",
                                "manager": "7", "status": "active"}  # fmt: skip


def test_a_scim_user_who_is_not_active_needs_a_declared_meaning() -> None:
    user = {"externalId": "1", "active": "False"}
    assert refusal(scim(user)).code == "unknown_status"
    columns = SCIM | {"status": "$status"}
    assert said(scim(user, columns, status={"active": "active", "inactive": "terminated"})) == {"status": "terminated"}
    assert said(scim({"externalId": "1"}, columns, status={"active": "active"})) == {}


def message(declared: Feed, kind: str, **person: Any) -> Statement | Refusal:
    raw = {"id": "m", "type": kind, "occurred_at": "1970-01-01T00:00:05Z", "person": person}
    value = read_message(json.dumps(raw)).person
    return Mapper(declared, None, arrived=ARRIVED).read(value, json.dumps(raw), 1)


FREE = Feed.model_validate({"name": "hr", "form": "messages", "mode": "event", "columns": {}})


def test_a_message_in_the_names_of_the_fields_needs_no_columns() -> None:
    found = message(FREE, "onboard", external_id="1", first="Ann", last="Cee", attributes={"office": "B2", "desk": ""}, **{"attributes.floor": 3})
    assert said(found) == {"first": "Ann", "last": "Cee", "status": "active",
                           "attributes.office": "B2", "attributes.floor": "3"}  # fmt: skip
    assert isinstance(found, Statement)
    assert found.stamp == (5_000_000, 5_000_000)


@pytest.mark.parametrize(
    ("kind", "person", "fields"),
    [
        ("offboard", {}, {"status": "terminated"}),
        ("offboard", {"status": "retired", "last_day": "2026-12-31"}, {"status": "retired", "last_day": "2026-12-31"}),
        ("offboard", {"status": ""}, {"status": "terminated"}),
        ("person.changed", {"last": "Married"}, {"last": "Married"}),
        ("person.changed", {"manager": "<clear>"}, {"manager": None}),
        ("person.changed", {"attributes": {"desk": "<clear>"}}, {"attributes.desk": None}),
    ],
)
def test_a_message_claims_only_what_it_holds(kind: str, person: dict[str, Any], fields: dict[str, Any]) -> None:
    assert said(message(FREE, kind, external_id="1", **person)) == fields


def test_a_message_may_say_its_own_order_and_day() -> None:
    found = message(FREE, "transfer", external_id="1", sequence=3, effective_on="1970-01-02", modified="1970-01-01T00:00:09Z")
    assert isinstance(found, Statement)
    assert found.stamp == (86_400_000_000, 3)
    found = message(FREE, "transfer", external_id="1", modified="1970-01-01T00:00:09Z")
    assert isinstance(found, Statement)
    assert found.stamp == (9_000_000, 9_000_000)


@pytest.mark.parametrize("name", ["", "muster.internal/x", "a\ud800"])
def test_free_attributes_with_names_that_cannot_be(name: str) -> None:
    found = Mapper(FREE, None, arrived=ARRIVED).read({"external_id": "1", "attributes": {name: "x"}}, "{}", 1)
    assert refusal(found).code == "bad_value"


def test_a_message_with_columns_of_its_own() -> None:
    declared = feed({"external_id": "worker.id", "status": "state"}, form="messages", mode="event", status={"Gone": "retired"})
    assert said(message(declared, "offboard", worker={"id": "1"})) == {"status": "terminated"}
    assert said(message(declared, "offboard", worker={"id": "1"}, state="gone")) == {"status": "retired"}
    assert refusal(message(declared, "offboard", worker={"id": "1"}, state="terminated")).code == "unknown_status"
    assert refusal(message(declared, "offboard", state="Gone")).code == "missing_id"


# ---------------------------------------------------------------------------------------------------------- any input

EVERYTHING: dict[str, Any] = {
    "external_id": "0", "status": {"column": "1", "default": "Active"}, "reason": "2", "hired_on": "3", "start_date": "3", "last_day": "3",
    "leave_from": "3", "leave_to": {"columns": ["3", "4"]}, "manager": "4", "first": "5", "middle": "6", "last": "7", "email": "8",
    "username": "9", "type": {"column": "1", "words": {"x": "internal"}, "other_words": "refuse"}, "path": "2", "locale": "5",
    "zone": {"column": "6", "split": ";", "part": 2}, "groups": "7", "modified": "8", "effective_on": {"column": "9", "default": "2026-01-01"},
    "attributes.a": {"column": "0", "transform": ["title", "digits", "no_spaces", "lower", "upper"]}, "attributes.b": {"columns": ["1", "2"]},
}  # fmt: skip
LETTERS = st.characters(exclude_categories=())
LIKELY = st.sampled_from(["2026-01-31", "45292", "Active", "x", "<clear>", "", "9999-12-31", "a@b.example", "a;b", "Europe/Berlin", "1900-01-01"])
CELLS = st.text(LETTERS) | LIKELY


def check(mapper: Mapper, value: Sequence[str] | Mapping[str, Any], text: str) -> None:
    whose, digest, _ = mapper.identify(value, text)
    found = mapper.read(value, text, 3)
    assert found.external_id == whose
    if isinstance(found, Statement):
        assert found.digest == digest
        json.dumps(found.fields, allow_nan=False, ensure_ascii=False).encode()
    else:
        assert found.code in CODES
        assert "\0" not in found.text.encode().decode()
    assert "\0" not in found.raw.encode().decode()
    assert type(mapper.read(value, text, 3)) is type(found)


TABLE = Mapper(feed(EVERYTHING, status=STATUS, dates=["%d.%m.%Y", "%Y-%m-%d"]), "0123456789", arrived=ARRIVED)


@given(st.lists(CELLS, max_size=12))
def test_every_row_is_a_statement_or_a_refusal(cells: list[str]) -> None:
    check(TABLE, cells, as_text(cells))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | CELLS
JSON = st.recursive(LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(CELLS, below, max_size=3), max_leaves=6)
OBJECTS = [Mapper(feed(EVERYTHING, form="json", mode=mode, status=STATUS), None, arrived=ARRIVED) for mode in ("full", "delta")]


@given(st.dictionaries(st.sampled_from("0123456789"), JSON))
def test_every_object_is_a_statement_or_a_refusal(value: dict[str, Any]) -> None:
    for mapper in OBJECTS:
        check(mapper, value, json.dumps(value))


NAMES = st.sampled_from(["external_id", "status", "first", "last", "modified", "groups", "attributes", "attributes.x", "sequence", "effective_on"])


@given(st.dictionaries(NAMES | st.text(LETTERS), JSON))
def test_every_message_is_a_statement_or_a_refusal(value: dict[str, Any]) -> None:
    check(Mapper(FREE, None, arrived=ARRIVED), value, json.dumps(value))


@given(st.dictionaries(st.sampled_from(["externalId", "USERNAME", "active", "name", "emails", "manager", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]), JSON))
def test_every_scim_user_is_a_statement_or_a_refusal(value: dict[str, Any]) -> None:
    person = read_scim(value, set()).value
    check(Mapper(feed(SCIM, form="scim"), None, arrived=ARRIVED), person, json.dumps(value))
