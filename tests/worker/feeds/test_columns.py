"""Cells in columns: where a value comes from, what an empty cell means, and refusals that name the column."""

from typing import Any

import pytest
from feed_record import ARRIVED, STATUS, as_text, feed, record, refusal, row, said

from worker.feeds.mapping import Mapper


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
