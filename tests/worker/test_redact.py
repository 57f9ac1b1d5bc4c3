"""No secret and no person's value in error texts and logs, and nothing that no database stores."""

import pytest

from worker.redact import DEEPEST, MASK, leaves, redact, storable, unstorable, without_secrets

TOKEN = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"
ARGON = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaGhhc2g"


@pytest.mark.parametrize(("text", "secret"), [
    (f"token {TOKEN} refused", TOKEN),
    (f"bad hash {ARGON}", "c29tZXNhbHQ"),
    ("GET https://id.example.org/recover/abc?x=1 failed", "recover/abc"),
    ("cannot open postgresql://muster:hunter2@db/muster", "hunter2"),
    ("redis://:hunter2@cache:6379/0 is away", "hunter2"),
])
def test_secrets_are_masked_whatever_they_stand_in(text: str, secret: str) -> None:
    assert secret in text
    said = redact(text)
    assert secret not in said
    assert MASK in said


def test_values_in_hand_are_masked_the_longest_first() -> None:
    assert redact("no user ann.archer at ann", ["ann", "ann.archer", "at"]) == f"no user {MASK} at {MASK}"


def test_what_stands_under_a_secret_like_name_is_masked_at_any_depth() -> None:
    message = {"user": "ann", "Password": "hunter2", "deep": [{"api_token": ["hunter2"], "n": 1, "ok": True, "no": None}]}
    assert without_secrets(message) == {
        "user": "ann", "Password": MASK, "deep": [{"api_token": MASK, "n": 1, "ok": True, "no": None}]}


def test_what_is_nested_without_end_is_cut() -> None:
    nested: object = "hunter2"
    for _ in range(50_000):
        nested = [nested]
    assert "hunter2" not in str(without_secrets(nested))
    assert list(leaves(nested)) == ["hunter2"]
    assert unstorable(nested) == "it is nested too deeply"


def test_leaves_are_all_texts_but_the_names() -> None:
    assert sorted(leaves({"a": ["b", {"c": "d"}], "e": 1, "f": None, "g": b"h"})) == ["b", "d"]


def test_texts_that_no_database_stores_are_mended() -> None:
    assert storable("plain") == "plain"
    assert storable("ünï 😀") == "ünï 😀"
    for odd in ("nul \0 here", "half \ud800 pair", "\udfff"):
        storable(odd).encode()
        assert "\0" not in storable(odd)
        assert "�" in redact(odd)


@pytest.mark.parametrize(("value", "problem"), [
    ({"a": "\0"}, "NUL"), ({"\0": 1}, "NUL"), ([["\0"]], "NUL"), ("\ud800", "surrogate"), ({"\udc00": 1}, "surrogate"),
    (float("nan"), "finite"), ([float("-inf")], "finite"),
])
def test_values_that_no_database_stores_are_named(value: object, problem: str) -> None:
    assert problem in (unstorable(value) or "")


@pytest.mark.parametrize("value", [None, "", "\\u0000", {"a": ["\\u0000", 1.5, 2**90]}, "[" * 99, "\x1f\x7f"])
def test_everything_else_is_fine(value: object) -> None:
    assert unstorable(value) is None


def test_depth_is_counted_in_levels() -> None:
    nested: object = "x"
    for _ in range(DEEPEST):
        nested = {"a": nested}
    assert unstorable(nested) is None
    assert unstorable([nested])
