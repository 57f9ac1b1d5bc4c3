"""Times with their zone, durations in words, and names that stay inside their place in the sentence."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.mail import wording

AT = datetime(2026, 11, 23, 15, 4, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "language", "shown"),
    [
        ("UTC", "en", "Monday, 23 November 2026, 15:04 UTC"),
        ("Europe/Berlin", "en", "Monday, 23 November 2026, 16:04 CET (UTC+01:00)"),
        ("America/Sao_Paulo", "en-GB", "Monday, 23 November 2026, 12:04 UTC-03:00"),
        ("Pacific/Auckland", "en", "Tuesday, 24 November 2026, 04:04 NZDT (UTC+13:00)"),
        ("Asia/Kolkata", "de", "2026-11-23 20:34 IST (UTC+05:30)"),
        ("No/Such_Zone", "en", "Monday, 23 November 2026, 15:04 UTC"),
        ("../../etc/passwd", "en", "Monday, 23 November 2026, 15:04 UTC"),
        ("Europe", "en", "Monday, 23 November 2026, 15:04 UTC"),
        ("", "en", "Monday, 23 November 2026, 15:04 UTC"),
    ],
)
def test_a_time_is_shown_in_the_readers_zone_and_names_it(zone: str, language: str, shown: str) -> None:
    assert wording.moment(AT, zone, language) == shown


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        wording.moment(AT.replace(tzinfo=None))


def test_a_day_has_no_zone() -> None:
    assert wording.day(date(2026, 12, 1)) == "Tuesday, 1 December 2026"
    assert wording.day(date(2026, 12, 1), "ar") == "2026-12-01"


@pytest.mark.parametrize(
    ("minutes", "shown", "elsewhere"),
    [
        (0, "0 minutes", "0 min"), (1, "1 minute", "1 min"), (60, "60 minutes", "60 min"), (90, "90 minutes", "90 min"),
        (120, "2 hours", "2 h"), (125, "2 hours 5 minutes", "2 h 5 min"), (1440, "24 hours", "24 h"),
        (2880, "2 days", "2 d"), (4320, "3 days", "3 d"), (1501, "25 hours 1 minute", "25 h 1 min"),
    ],
)
def test_a_duration_in_words(minutes: int, shown: str, elsewhere: str) -> None:
    assert wording.duration(minutes) == shown
    assert wording.duration(minutes, "fr") == elsewhere


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann Smith", "Ann Smith"),
        ("  Ann\r\n\r\nSmith\u2028x\x85y ", "Ann Smith x y"),
        ("محمد", "\u2068محمد\u2069"),
        ("דנה Cohen", "\u2068דנה Cohen\u2069"),
        ("Ann\u202egnp.exe", "Anngnp.exe"),
        ("A\u2069nn\u2066", "Ann"),
        ("", ""),
    ],
)
def test_a_name_stays_in_its_place(name: str, shown: str) -> None:
    assert wording.isolated(name) == shown


@given(st.text())
def test_no_name_can_leave_its_line_or_steer_the_text_around_it(name: str) -> None:
    shown = wording.isolated(name)
    assert len(shown.splitlines()) <= 1
    inner = shown[1:-1] if shown.startswith("\u2068") else shown
    assert not set(inner) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert wording.isolated(shown) == shown


@pytest.mark.parametrize(
    ("language", "dir_"),
    [("en", "ltr"), ("de-AT", "ltr"), ("ar", "rtl"), ("ar-EG", "rtl"), ("he_IL", "rtl"), ("fa", "rtl"), ("ur-PK", "rtl"),
     ("az-Arab", "rtl"), ("az", "ltr"), ("", "ltr")],
)
def test_the_direction_of_a_language(language: str, dir_: str) -> None:
    assert wording.direction(language) == dir_


def test_a_locale_falls_back_to_what_is_less_special() -> None:
    assert wording.fallbacks("fr_CA.UTF-8") == ["fr-CA", "fr"]
    assert wording.fallbacks("zh-Hant-TW") == ["zh-Hant-TW", "zh-Hant", "zh"]
    assert wording.fallbacks("") == []
    assert wording.fallbacks("../../etc") == []
