"""However an HR system's messages come, late, twice, in pieces or all at once, people end as their newest word says.

Two offices hear the same messages: one in the order of the source, one after the other, the other one in any order,
with repetitions, in any batches, and with time going by in between. The first is the yardstick.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hr import HR, department, open_brakes, rules
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from worker.feeds.inbox import store

Message = dict[str, Any]

# Deletion is left out: it is counted from the day on which Muster hears of a leaving, and takes what was accepted along.
DECLARED = """
[feeds.events]
form = "messages"
mode = "event"
usernames = ["u{external_id}"]
email = "{username}@example.com"
prehire_days = 3
[feeds.events.leavers]
delete_days = "never"
urgent_reasons = ["fraud"]
""" + rules("events") + open_brakes("events")
PEOPLE = 3
# The office's clock begins here.
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 30


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).date().isoformat()


DEPARTMENTS = st.sampled_from(["Sales", "Engineering"])


@st.composite
def said(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """The type of a message, and what it says of the person."""
    name = {"first": draw(st.sampled_from(["Ann", "Anna"])), "last": draw(st.sampled_from(["Archer", "Baker"]))}
    # Nobody leaves before they start: what contradicts itself is refused, and later words are another story.
    department, near, end = draw(DEPARTMENTS), day(draw(st.integers(-3, 10))), day(draw(st.integers(11, DAYS)))
    full = {**name, "attributes": {"department": department, "phone": "1"}, "last_day": "", "leave_from": "", "leave_to": ""}
    choices: list[tuple[str, dict[str, Any]]] = [
        ("onboard", full),
        ("onboard", full | {"start_date": near}),
        ("onboard", {**name, "status": "prehire", "start_date": near}),
        ("transfer", {"attributes": {"department": department}}),
        ("transfer", {"attributes": {"department": department}, "manager": str(draw(st.integers(0, PEOPLE - 1)))}),
        ("person.changed", {"first": name["first"]}),
        ("person.changed", name | {"attributes": {"phone": draw(st.sampled_from(["2", "<clear>"]))}}),
        ("person.changed", {"leave_from": near, "leave_to": day(DAYS)}),
        ("person.changed", {"status": "leave"}),
        ("person.changed", {"status": "active"}),
        ("person.changed", {"status": "rescinded"}),
        ("person.changed", {"manager": "<clear>"}),
        ("offboard", {"reason": "retired"}),
        ("offboard", {"reason": "fraud"}),
        ("offboard", {"last_day": end}),
        ("person.changed", {"last_day": end}),
    ]
    kind, words = draw(st.sampled_from(choices))
    return kind, words


@st.composite
def stories(draw: st.DrawFn) -> list[Message]:
    """What happened to several people, in the order of the source."""
    way = draw(st.sampled_from(["sequence", "modified", "effective"]))
    found = []
    for number, (kind, words) in enumerate(draw(st.lists(said(), min_size=3, max_size=12))):
        person = words | {"external_id": str(draw(st.integers(0, PEOPLE - 1)))}
        if way == "sequence":
            person["sequence"] = number
        else:
            person["modified"] = (FIRST + timedelta(minutes=number)).isoformat()
        if way == "effective":
            person["effective_on"] = day(draw(st.integers(-2, DAYS)))
        found.append({"id": f"m{number}", "type": kind, "person": person})
    return found


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Message], list[tuple[list[Message], int]]]:
    """A story, and the same in batches as they came, each with the hours until the next one."""
    story = draw(stories())
    again = draw(st.lists(st.sampled_from(story), max_size=4))
    twins = [one | {"id": f"{one['id']}-again{place}"} if place % 2 else one for place, one in enumerate(again)]
    came = draw(st.permutations([*story, *twins]))
    batches = []
    while came:
        size = draw(st.integers(1, 5))
        batches.append((list(came[:size]), draw(st.sampled_from([0, 0, 0, 5, 200]))))
        came = came[size:]
    return story, batches


def tell(hr: HR, batch: Sequence[Message]) -> None:
    with hr.office.scope() as scope:
        store(scope, "events", [(one["id"], json.dumps(one)) for one in batch])
    hr.feeder.take_messages()
    hr.feeder.scan()
    hr.rest()


def come_to_rest(hr: HR) -> None:
    """Turn the clock past every date that a message may name, day by day where something may happen."""
    for _ in range(3):
        hr.turn(days=DAYS)
    assert not [row for row in hr.office.rows("feed_run") if row["state"] != "applied" and row["problem"] is None]
    unfinished = [row for row in hr.office.jobs() if row["finished_at"] is None]
    assert not unfinished, unfinished
    bad = [row for row in hr.office.rows("job", source="feed/events") if row["state"] in ("rejected", "failed")]
    assert not [(row["kind"], row["payload"], row["reason_text"]) for row in bad]


def accepted(hr: HR) -> dict[str, Any]:
    """What is known of each person: field by field with how new that is, and where they stand.

    Who was on leave, or had left, when Muster first heard of them has no account; that is no phase of its own here.
    """
    found = {}
    for row in hr.office.rows("feed_person"):
        stamps = {name: row["stamps"].get(name, row["stamps"].get("*")) for name in row["fields"]}
        phase = "leave" if row["phase"] == "none" and row["fields"].get("status") == "leave" else row["phase"]
        found[row["external_id"]] = {"fields": row["fields"], "stamps": stamps, "later": row["later"], "phase": phase}
    return found


def directory(hr: HR) -> dict[str, Any]:
    """Who has access, with all that counts; of everybody else that they have none."""
    rows = {row["id"]: row for row in hr.office.rows("users")}
    return {
        row["username"]: {
            "name": row["name"], "email": row["email"], "attributes": row["attributes"], "groups": hr.groups(row["username"]),
            "manager": rows[row["manager"]]["username"] if row["manager"] and rows[row["manager"]]["is_active"] else None,
            "start": row["start_date"], "end": row["end_date"], "external_id": row["external_id"],
        }
        for row in rows.values() if row["is_active"]
    }  # fmt: skip


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """By person what there is and what there should be, where that differs."""
    return {
        who: (found.get(who), wanted.get(who)) for who in sorted(found.keys() | wanted.keys()) if found.get(who) != wanted.get(who)
    }  # fmt: skip


@pytest.mark.timeout(300)
@settings(max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(told=deliveries())
def test_any_order_and_any_repetition_end_in_the_same_state(
    told: tuple[list[Message], list[tuple[list[Message], int]]], sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    story, batches = told
    for one in story:
        note(json.dumps(one))
    for batch, hours in batches:
        note(f"{[one['id'] for one in batch]} +{hours} h")
    ends_alike(story, batches, sqlite_template, tmp_path_factory)


ANN = {"external_id": "0", "first": "Ann", "last": "Archer"}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([("onboard", {}), ("offboard", {"reason": "retired"}), ("onboard", {"start_date": day(20)})], id="returns later"),
        pytest.param([("offboard", {}), ("onboard", {"email": "ann@example.com"}), ("transfer", {"email": "<clear>"})], id="first heard of as gone"),
        pytest.param([("onboard", {"last_day": day(5)}), ("offboard", {"reason": "fraud"}), ("onboard", {"last_day": ""})], id="ends taken back"),
        pytest.param([("onboard", {}), ("person.changed", {"status": "leave", "attributes": {"department": "Sales"}}),
                      ("person.changed", {"status": "active"})], id="moves on leave"),
    ],
)  # fmt: skip
def test_told_in_order_backwards_or_all_at_once(
    words: list[tuple[str, dict[str, Any]]], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    story = [
        {"id": f"m{number}", "type": kind, "person": ANN | said | {"sequence": number}} for number, (kind, said) in enumerate(words)
    ]  # fmt: skip
    for batches in ([(story, 0)], [([one], 0) for one in story[::-1]]):
        ends_alike(story, batches, sqlite_template, tmp_path_factory)


def ends_alike(
    story: list[Message], batches: list[tuple[list[Message], int]], template: Path, folders: pytest.TempPathFactory
) -> None:
    """Tell one office the story, and another one the batches; both must end with the same people and the same access."""
    with department(template, folders.mktemp("model"), DECLARED) as model, department(template, folders.mktemp("office"), DECLARED) as hr:
        for one in story:
            tell(model, [one])
        for batch, hours in batches:
            tell(hr, batch)
            if hours:
                hr.turn(hours=hours)
        come_to_rest(model)
        come_to_rest(hr)
        assert not differences(accepted(hr), accepted(model))
        assert not differences(directory(hr), directory(model))
        assert {row["phase"] for row in hr.office.rows("feed_person") if row["username"] in directory(hr)} <= {"active"}
