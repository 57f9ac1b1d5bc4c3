"""Whatever stands in an HR system's files, a plan alone changes nothing, and applied it leads to exactly what the files say.

The yardstick is a model of a few lines: file after file it notes who is there, who is on leave, who has left.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hr import DECLARED, HR, department, person
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

Record = dict[str, str]

PEOPLE = 8
# What a plan may write: itself, the names it reserves, and the questions it asks.
OF_PLANS = {"feed_action", "feed_run", "feed_source", "feed_name", "feed_case", "worker", "batch"}
# Whoever is missing from so many files in a row has left.
ABSENT_FILES = 2
FEED = DECLARED.replace('mode = "full"', 'mode = "full"\ncomplete = { size_percent = 100 }').replace(
    "[feeds.hr.brakes]", f'[feeds.hr.absent]\nfiles = {ABSENT_FILES}\nremove_access_days = 0\ndelete_days = "never"\n[feeds.hr.brakes]'
).replace("[feeds.hr.leavers]", '[feeds.hr.leavers]\ndelete_days = "never"')  # fmt: skip
BROKEN = [{"status": "Vanished"}, {"start": "31/12/2026"}, {"zone": "Mars/Olympus"}]


@st.composite
def records(draw: st.DrawFn, number: int) -> list[Record]:
    """The records of one person in one file: mostly one, at times none, a broken one, or two that differ."""
    one = person(f"{number:03}", draw(st.sampled_from(["Ann", "Bob", "Jürgen"])), draw(st.sampled_from(["Archer", "Smith"])))
    one["department"] = draw(st.sampled_from(["Sales", "Engineering", ""]))
    one["status"] = draw(st.sampled_from(["Active"] * 6 + ["Leave", "Gone", "Never"]))
    one["boss"] = draw(st.sampled_from(["", "", "000", f"{draw(st.integers(0, PEOPLE)):03}"]))
    if one["status"] == "Gone":
        one["reason"] = draw(st.sampled_from(["", "fraud", "retired"]))
    kind = draw(st.sampled_from(["one"] * 8 + ["none", "broken", "doubled", "twins"]))
    if kind == "none":
        return []
    if kind == "broken":
        return [one | draw(st.sampled_from(BROKEN))]
    if kind == "doubled":
        return [one, one | {"last": "Other"}]
    return [one, dict(one)] if kind == "twins" else [one]


@st.composite
def files(draw: st.DrawFn) -> list[list[Record]]:
    """Several files one after the other, each of the people in any order; at times the same one again."""
    found: list[list[Record]] = []
    for _ in range(draw(st.integers(2, 5))):
        if found and draw(st.integers(0, 4)) == 0:
            found.append(found[-1])
            continue
        people = [one for number in range(PEOPLE) for one in draw(records(number))]
        found.append(list(draw(st.permutations([person("999", "Zoe", "Zeta"), *people]))))
    return found


@dataclass
class Told:
    """What the files said of one person so far."""

    phase: str = "none"
    name: str = ""
    department: str | None = None
    groups: set[str] = field(default_factory=set)
    missing: int = 0
    there: bool = False


def follow(people: dict[str, Told], file: list[Record]) -> None:
    """Take one file into the model."""
    said: dict[str, list[Record]] = {}
    for record in file:
        said.setdefault(record["id"], []).append(record)
    for number, told in people.items():
        if number not in said and told.phase in ("active", "leave"):
            told.missing += 1
            if told.missing >= ABSENT_FILES:
                told.phase, told.groups = "left", set()
    for number, those in said.items():
        told = people.setdefault(number, Told())
        if any(one != those[0] for one in those) or any(those[0].items() >= broken.items() for broken in BROKEN):
            continue
        told.missing = 0
        read(told, those[0])


def read(told: Told, record: Record) -> None:
    told.name = f"{record['first']} {record['last']}"
    told.department = record["department"] or told.department
    wanted = {"Active": "active", "Leave": "leave", "Gone": "left", "Never": "left"}[record["status"]]
    if wanted == "leave" and not (told.there and told.phase in ("active", "leave")):
        # An account is made, or opened again, at the return.
        wanted = "left" if told.there else "none"
    told.phase = wanted
    told.there = told.there or wanted == "active"
    told.groups = {"staff"} | ({"sales"} if told.department == "Sales" else set()) if wanted != "left" else set()


def everything(hr: HR) -> dict[str, list[str]]:
    """All rows of all tables but those that plans are made of."""
    from worker.tables import metadata

    return {name: sorted(map(repr, hr.office.rows(name))) for name in metadata.tables if name not in OF_PLANS}


def standing(hr: HR) -> dict[str, Any]:
    """Who is open with which name, department and groups; who is closed, and keeps which groups."""
    found = {}
    for row in hr.office.rows("users"):
        department_ = row["attributes"].get("department")
        found[row["external_id"]] = (bool(row["is_active"]), hr.groups(row["username"]),
                                     (row["name"], department_) if row["is_active"] else None)  # fmt: skip
    return found


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """By person what there is and what there should be, where that differs."""
    return {
        who: (found.get(who), wanted.get(who)) for who in sorted(found.keys() | wanted.keys()) if found.get(who) != wanted.get(who)
    }  # fmt: skip


@pytest.mark.timeout(300)
@settings(max_examples=10, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(said=files())
def test_plans_lead_to_what_the_files_say_and_change_nothing_by_themselves(
    said: list[list[Record]], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    people: dict[str, Told] = {}
    with department(sqlite_template, tmp_path_factory.mktemp("office"), FEED) as hr:
        for file in said:
            note("\n".join(",".join(one.values()) for one in file))
            hr.office.later(days=1)
            before = everything(hr)
            run = hr.plan(file)
            assert run.state == "planned", (run.problem, run.brakes)
            assert everything(hr) == before, "planning alone changed something"
            hr.carry(run)
            hr.turn(minutes=1)  # whose manager came by this very file
            bad = [row for row in hr.office.rows("job", source="feed/hr") if row["state"] in ("rejected", "failed")]
            assert not [(row["kind"], row["payload"], row["reason_text"]) for row in bad]
            follow(people, file)
            wanted = {
                number: (told.phase == "active", told.groups, (told.name, told.department) if told.phase == "active" else None)
                for number, told in people.items() if told.there
            }  # fmt: skip
            assert not differences(standing(hr), wanted)
            again = hr.plan(file)
            done = [line for line in hr.lines(again) if line["action"] not in ("refused", "warning")]
            assert not [(line["external_id"], line["action"], line["text"], line["jobs"]) for line in done], "again"
