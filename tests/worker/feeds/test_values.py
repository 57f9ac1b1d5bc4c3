"""Cells become values: what is tidied, which dates are read, and what is refused with which words."""

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.feeds import values
from worker.feeds.values import Flaw

ANYTHING = st.text(st.characters(exclude_categories=()))


def flaw(read: Any, text: str) -> Flaw:
    with pytest.raises(Flaw) as caught:
        read(text)
    return caught.value


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" Ann\t\r\n", "Ann"),
        ("\u00a0Ann\u202f\u3000", "Ann"),
        ("\ufeff\u200bAnn\u2060", "Ann"),
        ("Mu\u0308ller", "Müller"),
        ("Anna  Lena", "Anna  Lena"),
        ("\u00a0 \u200b", ""),
    ],
)
def test_what_nobody_sees_around_a_cell_is_taken_off(cell: str, text: str) -> None:
    assert values.tidy(cell) == text


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("O' Byrne", "O' Byrne"),
        ("Nguyễn", "Nguyễn"),
        ("山田", "山田"),
        ("محمد", "محمد"),
        ("Anna \n Lena", "Anna Lena"),
        ("\u202eevil\u202c Ann\u200f", "evil Ann"),
        ("نیم\u200cفاصله", "نیم\u200cفاصله"),
        ("👩\u200d🔬 Ann", "👩\u200d🔬 Ann"),
        ("x" * 255, "x" * 255),
        ("X", "X"),
    ],
)
def test_names_are_kept_as_people_write_them(name: str, kept: str) -> None:
    assert values.person_name(name) == kept


@pytest.mark.parametrize(
    ("read", "text", "code", "says"),
    [
        (values.person_name, "x" * 300, "too_long", "255"),
        (values.person_name, "An\0n", "bad_value", "U\\+0000"),
        (values.identifier, "12\u200f34", "bad_id", "U\\+200F"),
        (values.identifier, "1.23E+05", "bad_id", "spreadsheet"),
        (values.identifier, '="00017"', "bad_id", "spreadsheet"),
        (values.identifier, "'00017", "bad_id", "spreadsheet"),
        (values.identifier, "9" * 256, "too_long", "255"),
        (values.plain_text, "a\ud800", "bad_value", "U\\+D800"),
        (values.plain_text, "x" * 4_001, "too_long", "4000"),
        (values.email, "ann.example.com", "bad_value", "no e-mail address"),
        (values.email, "ann@ex ample.com", "bad_value", "no e-mail address"),
        (values.email, "a" * 250 + "@example.com", "too_long", "254"),
        (values.READERS["zone"], "Berlin", "bad_zone", "IANA"),
        (values.READERS["locale"], "german", "bad_value", "language tag"),
        (values.READERS["path"], "users//x", "bad_value", "between two slashes"),
        (values.READERS["type"], "FTE", "bad_value", "internal"),
        (values.READERS["username"], "x" * 151, "too_long", "150"),
        (values.sequence, "1.5", "bad_sequence", "whole number"),
        (values.sequence, "9" * 19, "bad_sequence", "whole number"),
    ],
)
def test_what_is_refused_says_why(read: Any, text: str, code: str, says: str) -> None:
    found = flaw(read, text)
    assert found.code == code
    assert found.value == text
    assert re.search(says, found.says)


@pytest.mark.parametrize("address", ["ann@example.com", "ann@corp.local", "ann.o'neil@example.co.uk", "jürgen@example.com"])
def test_addresses_are_checked_for_their_form_alone(address: str) -> None:
    assert values.email(address) == address


def test_the_domain_of_an_address_is_written_in_small_letters() -> None:
    assert values.email("Ann@Example.COM") == "Ann@example.com"


@pytest.mark.parametrize(
    ("name", "text", "result"),
    [
        ("lower", "ÄNN", "änn"),
        ("upper", "straße", "STRASSE"),
        ("title", "ANN-MARIE o'brien", "Ann-Marie O'Brien"),
        ("title", "people's ops", "People's Ops"),
        ("digits", "+49 (30) 12-٣", "4930123"),
        ("no_spaces", "DE 12\u00a034", "DE1234"),
    ],
)
def test_transforms(name: str, text: str, result: str) -> None:
    assert values.TRANSFORMS[name](text) == result


def test_words_are_found_in_any_case_unless_case_tells_them_apart() -> None:
    find = values.words({"Active": "active", "L": "leave", "l": "terminated"})
    assert [find(word) for word in ("Active", "ACTIVE", "L", "l", "gone")] == ["active", "active", "leave", "terminated", None]


GERMAN_AND_ISO = ("%Y-%m-%d", "%d.%m.%Y")


@pytest.mark.parametrize(
    ("forms", "text", "day"),
    [
        (GERMAN_AND_ISO, "2026-01-31", "2026-01-31"),
        (GERMAN_AND_ISO, "31.1.2026", "2026-01-31"),
        (("%d/%m/%Y", "%m/%d/%Y"), "13/04/2026", "2026-04-13"),
        (("%d/%m/%Y", "%m/%d/%Y"), "04/04/2026", "2026-04-04"),
        (("%d %b %Y",), "31 Jan 2026", "2026-01-31"),
        (("%Y-%m-%dT%H:%M:%SZ",), "2026-01-31T23:00:00Z", "2026-01-31"),
        (("%Y%m%d",), "20260131", "2026-01-31"),
    ],
)
def test_dates_in_declared_forms(forms: tuple[str, ...], text: str, day: str) -> None:
    assert values.day_reader(forms)(text) == day


@pytest.mark.parametrize(
    ("forms", "text", "code", "says"),
    [
        (GERMAN_AND_ISO, "01/31/2026", "bad_date", "YYYY-MM-DD, DD\\.MM\\.YYYY"),
        (GERMAN_AND_ISO, "2026-02-30", "bad_date", "no date in a declared form"),
        (GERMAN_AND_ISO, "2026-01-31T00:00:00Z", "bad_date", "no date in a declared form"),
        (GERMAN_AND_ISO, "0203-05-01", "bad_date", "the year 0203, but only 1900 to 2200"),
        (GERMAN_AND_ISO, "9999-12-31", "bad_date", "the year 9999"),
        (GERMAN_AND_ISO, "45292", "excel_serial_date", "probably 2024-01-01"),
        (GERMAN_AND_ISO, "45292.5", "excel_serial_date", "probably 2024-01-01"),
        (("%y%m%d",), "45212", "excel_serial_date", "2023-10-13"),
        (("%d/%m/%Y", "%m/%d/%Y"), "03/04/2026", "bad_date", "2026-04-03 \\(DD/MM/YYYY\\) or 2026-03-04 \\(MM/DD/YYYY\\)"),
    ],
)
def test_dates_that_are_refused(forms: tuple[str, ...], text: str, code: str, says: str) -> None:
    found = flaw(values.day_reader(forms), text)
    assert found.code == code
    assert re.search(says, found.says)


@pytest.mark.parametrize("text", ["9999-12-31", "31.12.9999", "2999-12-31"])
def test_an_end_in_the_year_9999_is_none(text: str) -> None:
    assert values.day_reader(GERMAN_AND_ISO, ends=True)(text) is None


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+05:00", datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("2026-01-31 12:00:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ("2026-07-31T12:00:00.000001", datetime(2026, 7, 31, 10, 0, 0, 1, tzinfo=UTC)),
        ("31.01.2026 12:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 30, 23, tzinfo=UTC)),
    ],
)
def test_times_of_change(text: str, instant: datetime) -> None:
    read = values.moment_reader(("%d.%m.%Y %H:%M",), ZoneInfo("Europe/Berlin"))
    assert read(text) == values.microseconds(instant)


@pytest.mark.parametrize("text", ["yesterday", "1769860800000", "0203-05-01T00:00:00Z", "2026-13-01"])
def test_times_that_are_refused(text: str) -> None:
    assert flaw(values.moment_reader(("%d.%m.%Y",), ZoneInfo("UTC")), text).code == "bad_modified"


def test_a_time_that_two_forms_read_differently_is_refused() -> None:
    assert "two ways" in flaw(values.moment_reader(("%d/%m/%Y", "%m/%d/%Y"), ZoneInfo("UTC")), "03/04/2026").says


def test_groups_are_listed_once_in_order() -> None:
    assert values.group_names([" sales ", "all", "", "sales"], str) == ["all", "sales"]
    assert flaw(lambda _: values.group_names(["x" * 256], str), "").code == "too_long"
    assert flaw(lambda _: values.group_names([f"g{number}" for number in range(201)], str), "").code == "bad_value"


def test_what_errors_repeat_is_short_and_harmless() -> None:
    assert values.shown("a\x1b[31mb\u202e") == "a\\u001b[31mb\\u202e"
    assert len(values.shown("word " * 100)) == 41
    assert "secret" not in values.shown("https://example.com/secret")


@given(ANYTHING)
def test_every_text_is_read_or_refused(text: str) -> None:
    readers = [*values.READERS.values(), values.plain_text, values.sequence, values.day_reader(("%Y-%m-%d", "%d.%m.%Y"), ends=True),
               values.moment_reader(("%d.%m.%Y %H:%M", "%Y-%m-%d %z"), ZoneInfo("UTC"))]  # fmt: skip
    for read in readers:
        try:
            got = read(values.tidy(text))
        except Flaw as found:
            got = values.shown(found.value or "")
        if isinstance(got, str):
            got.encode()
    for change in values.TRANSFORMS.values():
        assert isinstance(change(text), str)
