"""Forms made from jobs' payloads: each kind has one, and what stands in it is the payload again."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.app import load_jobs
from worker.console.forms import (
    JobForm,
    attribute_text,
    duration_of,
    duration_text,
    patch_between,
    user_of,
    user_text,
)
from worker.directory.attributes import merge
from worker.jobs import Kind, Payload

REGISTRY = load_jobs(["actors"])
# Taken down at once: tests of other modules add kinds of their own to the registry of this process.
KINDS = tuple(REGISTRY)
CASES = [(kind, number) for kind in KINDS for number in range(len(kind.payload.examples))]  # type: ignore[attr-defined]


def sample(kind: Kind, number: int) -> Payload:
    found: Mapping[str, Any] = kind.payload.examples[number]  # type: ignore[attr-defined]
    return kind.payload.model_validate(found)


@pytest.mark.parametrize(("kind", "number"), CASES, ids=[f"{kind.name}-{number}" for kind, number in CASES])
def test_a_form_filled_in_with_an_example_gives_the_example_back(kind: Kind, number: int) -> None:
    payload = sample(kind, number)
    wanted = payload.open_fields()
    form = JobForm(kind.payload)
    read = form.read(form.texts(wanted))
    # Clearing what is empty changes nothing, and a null inside a patch is a removal: both need something to clear.
    cleared = {name: value for name, value in wanted.items() if value is None and form.payload.model_fields[name].default is None}
    assert read.problems == {}
    again = kind.payload.model_validate(read.fields | (payload.sealed_values() or {})).open_fields()
    assert again == {name: value for name, value in wanted.items() if name not in cleared}


def test_every_kind_yields_inputs_with_a_label_and_a_hint() -> None:
    for kind in KINDS:
        for one in JobForm(kind.payload).inputs:
            assert one.label
            assert one.kind in {
                "text", "long", "bool", "choice", "choices", "number", "date", "moment", "duration", "list", "mapping", "user",
            }, (kind.name, one)  # fmt: skip
            assert one.hint, f"{kind.name}.{one.name} has no description"
            assert one.kind != "choice" or one.options


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_an_untouched_form_gives_nothing(kind: Kind) -> None:
    form = JobForm(kind.payload)
    assert form.read(form.texts({})).fields == {}


def test_no_form_asks_for_a_sealed_field() -> None:
    for kind in KINDS:
        assert not kind.payload.sealed_fields & {one.name for one in JobForm(kind.payload).inputs}


PRESENT = {
    "username": "ann", "name": "Ann Archer", "email": "ann@example.com", "external_id": None, "path": "users",
    "type": "internal", "is_active": True, "attributes": {"office": "B2", "desk": 4, "deep": {"a": 1, "b": [2]}, "no": "7"},
    "locale": "de", "zone": None, "manager": {"username": "bob"}, "start_date": "2024-01-01", "end_date": None,
}  # fmt: skip


@pytest.fixture
def update() -> JobForm:
    return JobForm(REGISTRY["update_user"].payload, without={"user", "expected_version", "patience"})


def test_an_update_says_only_what_was_changed(update: JobForm) -> None:
    typed = update.texts(PRESENT)
    assert update.read(typed, PRESENT).fields == {}
    typed |= {"name": ["Ann Married"], "email": [""], "manager": ["external_id:E-7"], "is_active": ["false"], "zone": ["Europe/Rome"]}
    assert update.read(typed, PRESENT).fields == {
        "name": "Ann Married", "email": None, "manager": {"external_id": "E-7"}, "is_active": False, "zone": "Europe/Rome",
    }  # fmt: skip


def test_what_cannot_be_null_is_emptied_or_refused_in_its_own_words(update: JobForm) -> None:
    read = update.read(update.texts(PRESENT) | {"name": [""], "path": [""]}, PRESENT)
    assert read.fields == {"name": "", "path": ""}
    assert update.problems({"user": "ann", **read.fields}) == {
        "path": "a path must not be empty; leave it out for “users”"
    }


def test_attributes_become_a_merge_patch(update: JobForm) -> None:
    typed = update.texts(PRESENT)
    assert typed["attributes.name"] == ["office", "desk", "deep", "no"]
    assert typed["attributes.value"] == ["B2", "4", '{"a": 1, "b": [2]}', '"7"']
    typed["attributes.name"] = ["office", "desk", "deep", "no", "new", ""]
    typed["attributes.value"] = ["C3", "", '{"b": [2]}', '"7"', "true", ""]
    patch = update.read(typed, PRESENT).fields["attributes"]
    assert patch == {"office": "C3", "desk": None, "deep": {"a": None}, "new": True}


@pytest.mark.parametrize(
    ("names", "values", "said"),
    [
        ([""], ["x"], "there is a value without a name"),
        (["a", " a"], ["1", "2"], "there are two rows called a"),
    ],
)
def test_rows_that_cannot_be_read_are_said_so(update: JobForm, names: list[str], values: list[str], said: str) -> None:
    assert update.read({"attributes.name": names, "attributes.value": values}, {}).problems["attributes"] == said


def test_emptying_a_default_that_may_be_null_clears_it() -> None:
    form = JobForm(REGISTRY["offboard_user"].payload, without={"user"})
    typed = form.texts({})
    assert typed["retention"] == ["90 days"]
    assert form.read(typed | {"retention": [""]}).fields == {"retention": None}
    assert form.read(typed | {"retention": ["90 d"]}).fields == {}
    assert form.read(typed | {"retention": ["2 weeks"], "at": ["2030-03-31T18:00"]}).fields == {
        "retention": "P14D", "at": "2030-03-31T18:00",
    }  # fmt: skip


def test_problems_stand_beside_their_fields() -> None:
    form = JobForm(REGISTRY["create_user"].payload)
    typed = form.texts({}) | {"zone": ["Mars/North"], "path": ["/x"], "start_date": ["soon"], "name": ["n" * 300]}
    read = form.read(typed)
    problems = read.problems | form.problems(read.fields)
    assert set(problems) == {"username", "zone", "path", "start_date", "name"}
    assert problems["username"] == "this is needed"
    assert "IANA" in problems["zone"]
    shown = {one.input.name: one for one in form.filled(typed, problems)}
    assert shown["zone"].text == "Mars/North"
    assert shown["zone"].problem == problems["zone"]


def test_a_required_text_left_empty_is_asked_for() -> None:
    form = JobForm(REGISTRY["lock_user"].payload, without={"user"})
    read = form.read({"owner": [""], "reason": ["x"]})
    assert form.problems({"user": "ann", **read.fields}) == {"owner": "this is needed"}


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)).map(lambda d: timedelta(days=d.days, seconds=d.seconds)))
def test_lengths_of_time_are_read_as_they_are_shown(length: timedelta) -> None:
    assert duration_of(duration_text(length)) == length


@pytest.mark.parametrize(
    ("text", "length"),
    [("30 days", timedelta(days=30)), ("2h", timedelta(hours=2)), ("1 day, 6 hours", timedelta(days=1, hours=6)),
     ("90 MIN", timedelta(minutes=90)), ("pt30m", timedelta(minutes=30)), ("P30D", timedelta(days=30))],
)  # fmt: skip
def test_lengths_of_time_as_people_type_them(text: str, length: timedelta) -> None:
    assert duration_of(text) == length


@pytest.mark.parametrize("text", ["30", "soon", "-3 days", "3 lightyears", "P", "9" * 40 + " days", "999999999 weeks", "1 day x"])
def test_a_length_without_a_unit_is_no_length(text: str) -> None:
    with pytest.raises(ValueError, match="has a unit"):
        duration_of(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8,
)  # fmt: skip
FILLED = st.recursive(
    st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_a_value_of_an_attribute_survives_being_typed(value: Any) -> None:
    form = JobForm(REGISTRY["create_user"].payload)
    typed = {"attributes.name": ["a"], "attributes.value": [attribute_text(value)]}
    read = form.read({"username": ["x"], **typed})
    assert json.dumps(read.fields["attributes"]) == json.dumps({"a": value})


@example({"a": [0]}, {"a": [False]})
@example({"a": {"b": 1}}, {"a": {"b": True}})
@given(st.dictionaries(st.text("ab", max_size=2), FILLED, max_size=4), st.dictionaries(st.text("ab", max_size=2), FILLED, max_size=4))
def test_the_patch_between_two_states_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert json.dumps(merge(before, patch_between(before, after)), sort_keys=True) == json.dumps(after, sort_keys=True)


@pytest.mark.parametrize("name", ["ann", "id:x", "external_id:E-1", "a:b", "username:x", "אנה"])
def test_a_username_stays_one_however_it_looks(name: str) -> None:
    assert user_of(user_text({"username": name})) == {"username": name}
