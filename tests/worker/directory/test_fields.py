"""The fields about a person: what is taken, what is tidied, and what is refused with which words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from worker.directory import fields
from worker.jobs import fold


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize("path", ["users", "users/sales/emea", "müller & söhne", "a/b.c"])
def test_paths_that_are_taken(path: str) -> None:
    assert read(fields.Path, path) == path


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "empty"),
        ("/users", "slash"),
        ("users/", "slash"),
        ("users//sales", "between two slashes"),
        ("users/ /sales", "between two slashes"),
        ("users/../admins", "between two slashes"),
        ("muster.internal/robots", "kept for Muster"),
        ("Muster.INTERNAL", "kept for Muster"),
        ("users/\nsales", "U\\+000A"),
        ("x" * 256, "255"),
    ],
)
def test_paths_that_are_refused(path: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        read(fields.Path, path)


@pytest.mark.parametrize(
    ("username", "problem"),
    [
        ("", "at least 1"),
        (" ann", "blank"),
        ("\u3000", "blank"),
        ("an\u200bn", "invisible character U\\+200B"),
        ("ann\0", "U\\+0000"),
        ("x" * 151, "150"),
        ("\ufdfa" * 150, "compared form"),
    ],
)
def test_usernames_that_are_refused(username: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        read(fields.Username, username)


@given(st.text(max_size=40))
def test_a_username_that_is_taken_fits_its_columns_and_stays_as_it_is(text: str) -> None:
    try:
        username = read(fields.Username, text)
    except ValidationError:
        return
    assert read(fields.Username, username) == username
    assert 0 < len(fold(username)) <= fields.LONGEST_FOLDED
    assert "\0" not in username


def test_names_keep_their_letters_and_lose_nothing_else() -> None:
    assert read(fields.PersonName, " Zoe\u0308 O’Brien-Łukasz ") == "Zoë O’Brien-Łukasz"
    assert read(fields.PersonName, "می\u200cخواهم") == "می\u200cخواهم"
    for hostile in ("Ann\r\nBcc: all@example.com", "Ann\u202egro.live", "Ann\0"):
        with pytest.raises(ValidationError):
            read(fields.PersonName, hostile)


@pytest.mark.parametrize(("given", "kept"), [("de", "de"), ("pt_BR", "pt-BR"), (" zh-Hant-TW ", "zh-Hant-TW")])
def test_locales_are_language_tags(given: str, kept: str) -> None:
    assert read(fields.Locale, given) == kept


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe", ""])
def test_a_time_zone_must_exist(zone: str) -> None:
    with pytest.raises(ValidationError, match="IANA"):
        read(fields.Zone, zone)
    assert read(fields.Zone, "Europe/Berlin") == "Europe/Berlin"


def test_the_protected_type_cannot_be_given() -> None:
    with pytest.raises(ValidationError):
        read(fields.UserType, fields.PROTECTED)
