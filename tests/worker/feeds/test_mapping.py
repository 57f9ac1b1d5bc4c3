"""From a record to a statement: columns, empty cells, refusals in words, secrets, and how new a record is."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.feeds.claims import Refusal, Statement
from worker.feeds.codes import CODES
from worker.feeds.declaration import Feed
from worker.feeds.mapping import Mapper, looks_secret
from worker.feeds.shapes import read_message, read_scim

ARRIVED = datetime(2026, 11, 23, 12, tzinfo=UTC)
ARRIVAL = 1_795_435_200_000_000
STATUS = {"Active": "active", "Former employee": "terminated"}


def feed(columns: Mapping[str, Any], **more: Any) -> Feed:
    return Feed.model_validate({"name": "hr", "mode": "full", "columns": {"external_id": "id"} | dict(columns)} | more)


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def row(declared: Feed, **cells: str) -> Statement | Refusal:
    """Read one row of a table whose header is the names of the cells."""
    cells = {"id": "1"} | cells
    return Mapper(declared, list(cells), arrived=ARRIVED).read(list(cells.values()), as_text(list(cells.values())), 2)


def record(declared: Feed, value: Mapping[str, Any]) -> Statement | Refusal:
    """Read one record of JSON."""
    return Mapper(declared, None, arrived=ARRIVED).read(value, as_text(value), 2)


def said(found: Statement | Refusal) -> Mapping[str, Any]:
    assert isinstance(found, Statement), found
    return found.fields


def refusal(found: Statement | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    assert found.code in CODES
    return found


# ------------------------------------------------------------------------------------------------- where values come from


@pytest.mark.parametrize(
    ("take", "cells", "value"),
    [
        ("a", {"a": " Sales\u00a0"}, "Sales"),
        ({"columns": ["a", "b", "c"]}, {"a": "x", "b": " ", "c": "z"}, "x z"),
        ({"columns": ["a", "b"], "join": "-"}, {"a": "x", "b": "<clear>"}, "x"),
        ({"columns": ["a", "b"]}, {"a": "<clear>", "b": ""}, None),
        ({"value": "HQ"}, {}, "HQ"),
        ({"column": "a", "split": "#"}, {"a": "124#CEO"}, "124"),
        ({"column": "a", "split": "#", "part": 2}, {"a": "124#CEO"}, "CEO"),
        ({"column": "a", "split": "#", "part": 3, "default": "-"}, {"a": "124#CEO"}, "-"),
        ({"column": "a", "transform": ["no_spaces", "upper"]}, {"a": " d e "}, "DE"),
        ({"column": "a", "words": {"UK": "GB"}}, {"a": "uk"}, "GB"),
        ({"column": "a", "words": {"UK": "GB"}}, {"a": "FR"}, "FR"),
        ({"column": "a", "words": {"n/a": ""}, "default": "none"}, {"a": "N/A"}, "none"),
        ({"column": "a", "words": {"n/a": "<clear>"}}, {"a": "n/a"}, None),
        ({"column": "a", "split": "#", "part": 2, "transform": ["lower"], "words": {"ceo": "boss"}}, {"a": "1#CEO"}, "boss"),
        ({"column": "a", "default": "none"}, {"a": "\u200b"}, "none"),
    ],
)
def test_a_value_is_taken_joined_split_transformed_and_translated(take: Any, cells: dict[str, str], value: str | None) -> None:
    assert said(row(feed({"attributes.x": take}), **cells))["attributes.x"] == value


NOTHING = object()


@pytest.mark.parametrize(
    ("field", "take", "policy", "cell", "value"),
    [
        ("attributes.x", {}, None, "", NOTHING),
        ("attributes.x", {}, "clear", "", None),
        ("attributes.x", {"empty": "ignore"}, "clear", "", NOTHING),
        ("attributes.x", {"empty": "clear"}, None, "  ", None),
        ("attributes.x", {"default": "d"}, "clear", "", "d"),
        ("attributes.x", {"default": "d"}, None, "<clear>", None),
        ("last_day", {}, None, "", None),
        ("last_day", {}, "ignore", "", NOTHING),
        ("last_day", {}, None, "9999-12-31", None),
        ("reason", {}, None, "", None),
        ("manager", {}, None, "", NOTHING),
        ("manager", {}, None, "<clear>", None),
        ("groups", {}, None, "", NOTHING),
        ("groups", {}, None, "<clear>", None),
        ("groups", {}, None, " ; ;", NOTHING),
    ],
)
def test_empty_cells(field: str, take: dict[str, Any], policy: str | None, cell: str, value: Any) -> None:
    fields = said(row(feed({field: {"column": "a"} | take}, empty=policy), a=cell))
    assert fields.get(field, NOTHING) is value or fields[field] == value


@pytest.mark.parametrize(
    ("field", "take", "cell", "code"),
    [
        ("status", {}, "", "missing_value"),
        ("status", {}, "<clear>", "missing_value"),
        ("status", {}, "Aktive", "unknown_status"),
        ("status", {}, "active ", None),
        ("sequence", {}, "", "missing_value"),
        ("attributes.x", {"required": True}, "", "missing_value"),
        ("attributes.x", {"required": True}, "<clear>", "missing_value"),
        ("attributes.x", {"words": {"UK": "GB"}, "other_words": "refuse"}, "XX", "unknown_word"),
        ("last_day", {"dates": ["%d.%m.%Y"]}, "2026-01-31", "bad_date"),
        ("start_date", {}, "2150-01-01", "bad_date"),
        ("hired_on", {}, "45292", "excel_serial_date"),
        ("zone", {"words": {"Berlin": "Europe/Berlin"}}, "Paris", "bad_zone"),
        ("manager", {}, "1E+05", "bad_id"),
        ("modified", {}, "soon", "bad_modified"),
        ("email", {}, "nobody", "bad_value"),
    ],
)
def test_refusals_name_the_column(field: str, take: dict[str, Any], cell: str, code: str | None) -> None:
    found = row(feed({field: {"column": "Col A"} | take}, status=STATUS), **{"Col A": cell})
    if code is None:
        assert said(found)[field] == "active"
        return
    refused = refusal(found)
    assert (refused.code, refused.external_id, refused.place, refused.column) == (code, "1", 2, "Col A")
    assert refused.text.startswith("Column “Col A”")
    assert cell in refused.text or cell == "<clear>"


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = refusal(row(feed({"hired_on": "hired", "email": "mail"}), hired="0203-05-01", mail="nobody"))
    assert found.code == "bad_date"
    assert "0203" in found.text
    assert "“nobody” is no e-mail address" in found.text


@pytest.mark.parametrize(
    ("cell", "code"), [("", "missing_id"), ("\u00a0", "missing_id"), ("<clear>", "missing_id"), ("1\u200f2", "bad_id"), ("x" * 256, "too_long")]
)
def test_ids_that_are_refused_identify_nobody(cell: str, code: str) -> None:
    mapper = Mapper(feed({}), ["id"], arrived=ARRIVED)
    assert refusal(mapper.read([cell], as_text([cell]), 2)).code == code
    assert mapper.identify([cell], as_text([cell]))[0] == ""


def test_an_id_with_the_prefix_of_the_feed_has_to_fit() -> None:
    assert refusal(row(feed({}, id_prefix="p-"), id="x" * 254)).code == "too_long"


@pytest.mark.parametrize(
    ("value", "external_id"), [("007", "007"), (7, "7"), (7.0, None), (1e21, None), (True, None), (None, None), ([], None), (10**400, None)]
)
def test_ids_in_json(value: object, external_id: str | None) -> None:
    found = record(feed({}, form="ndjson"), {"id": value})
    assert (found.external_id or None) == external_id
    if external_id is None:
        assert refusal(found).code in ("bad_id", "missing_id", "bad_value", "too_long")


@pytest.mark.parametrize(
    ("value", "code"),
    [(45292, "excel_serial_date"), (20260131, "bad_date"), (True, "bad_date"), (["2026-01-31"], "bad_value"), ({}, "bad_value")],
)
def test_dates_in_json_are_texts(value: object, code: str) -> None:
    assert refusal(record(feed({"hired_on": "d"}, form="json"), {"id": "1", "d": value})).code == code


def test_other_values_in_json_become_texts() -> None:
    fields = said(record(feed({"attributes.a": "a", "attributes.b": "b.c", "attributes.d": "d"}, form="json"), {"id": "1", "a": True, "b": {"c": 1.5}, "d": 7}))
    assert fields == {"status": "active", "attributes.a": "true", "attributes.b": "1.5", "attributes.d": "7"}


def test_a_key_that_is_missing_is_an_empty_cell_in_a_full_feed_and_says_nothing_in_others() -> None:
    columns = {"last_day": "end", "status": "status", "attributes.x": {"column": "x", "default": "d"}}
    full, delta = (feed(columns, form="json", mode=mode, status=STATUS) for mode in ("full", "delta"))
    assert refusal(record(full, {"id": "1"})).code == "missing_value"
    assert said(record(full, {"id": "1", "status": "Active"})) == {"last_day": None, "status": "active", "attributes.x": "d"}
    assert said(record(delta, {"id": "1"})) == {}
    assert said(record(delta, {"id": "1", "end": None})) == {"last_day": None}


@pytest.mark.parametrize(
    ("take", "value", "groups"),
    [
        ("g", "sales; all ;sales", ["all", "sales"]),
        ("g", "sales,all", ["all", "sales"]),
        ("g", "sales, EMEA; all", ["all", "sales, EMEA"]),
        ({"column": "g", "split": "|"}, "a;b|c", ["a;b", "c"]),
        ({"column": "g", "transform": ["lower"], "words": {"x": "all", "y": ""}}, "X;Y;Z", ["all", "z"]),
        ("g", ["b", "a"], ["a", "b"]),
        ("g", [{"value": "1", "display": "Sales"}, {"value": "2"}], ["2", "Sales"]),
    ],
)
def test_groups(take: Any, value: Any, groups: list[str]) -> None:
    assert said(record(feed({"groups": take}, form="json"), {"id": "1", "g": value}))["groups"] == groups


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
        ({"mod": "", "eff": ""}, (0, ARRIVAL)),
    ],
)
def test_stamps(cells: dict[str, str], stamp: tuple[int, int]) -> None:
    names = {"seq": "sequence", "mod": "modified", "eff": "effective_on", "zone": "zone"}
    found = row(feed({names[name]: name for name in cells}, zone="Europe/Berlin"), **cells)
    assert isinstance(found, Statement)
    assert found.stamp == stamp
    assert found.fields.keys() <= {"status", "zone"}


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
    assert one.identify(cells, text + " ")[1] != digest


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
    assert said(found) == {"first": "Ann", "last": "Cee", "name": "Ann Cee", "status": "active",
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
