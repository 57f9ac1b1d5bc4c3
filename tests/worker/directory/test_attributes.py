"""Free attributes: what JSON and YAML texts are taken to mean, and how a merge patch changes them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.directory.attributes import DEEPEST, LARGEST_BYTES, merge, parse

leaves = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="\0", codec="utf-8"))
names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=5)
trees = st.dictionaries(
    names, st.recursive(leaves, lambda below: st.lists(below) | st.dictionaries(names, below), max_leaves=8)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ('{"office": "B2", "desk": 7}', {"office": "B2", "desk": 7}),
        ("country: NO\nborn: 1999-01-31\nremote: true", {"country": "NO", "born": "1999-01-31", "remote": True}),
        ("badge: '007'\nfloor: -3\nrate: 0.5\nnone: null", {"badge": "007", "floor": -3, "rate": 0.5, "none": None}),
        ("skills: [sql, python]\nhome: {town: Łódź}", {"skills": ["sql", "python"], "home": {"town": "Łódź"}}),
    ],
)
def test_texts_are_read_as_an_administrator_means_them(text: str, value: dict[str, Any]) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("- a list", "an object"),
        ("'just a text'", "an object"),
        ("a: [1", "neither JSON nor YAML"),
        ("a: &x [1, 2]\nb: *x", "neither JSON nor YAML"),
        ("a: !!python/object/apply:os.system [ls]", "neither JSON nor YAML"),
        ("7: seven", "names must be texts"),
        ({"a": "nul \0"}, "NUL"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": float("nan")}, "NaN"),
        ({"a": object()}, "kind object"),
        ({"Muster.Internal/x": 1}, "kept for Muster"),
        ({"a": "x" * LARGEST_BYTES}, "KiB"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(given: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(given)


def test_nesting_has_an_end() -> None:
    deep: Any = 1
    for _ in range(DEEPEST + 1):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        parse({"a": deep})


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the cases of RFC 7396, appendix A, whose target and patch are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@given(target=trees, patch=trees)
def test_a_merge_patch_given_twice_does_nothing_more(target: Any, patch: Any) -> None:
    once = merge(target, patch)
    assert merge(once, patch) == once


@given(target=trees)
def test_an_empty_patch_changes_nothing(target: Any) -> None:
    assert merge(target, {}) == target


@given(value=trees)
def test_what_is_read_once_is_read_again_the_same(value: Any) -> None:
    assert parse(parse(value)) == parse(value)
