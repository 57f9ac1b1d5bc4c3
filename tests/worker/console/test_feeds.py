"""Feeds in the console: plans are read, approved, rejected and corrected, and cases decided, by those who may."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from doors import Doors, doors_of
from hr import DECLARED, HR, department, person

from worker.feeds import cases

# Nobody may leave without somebody's word.
CAREFUL = DECLARED.replace("disable = {}", "disable = { count = 0, percent = 0 }")
ANN, BOB = person("1", "Ann", "Archer"), person("2", "Bob", "Baker")
HOSTILE = "<script>alert(1)</script>'\"&"


@pytest.fixture(scope="module")
def house(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HR, Doors]]:
    with department(sqlite_template, tmp_path_factory.mktemp("hr"), CAREFUL) as hr, doors_of(hr.office) as doors:
        yield hr, doors


Guest = Callable[..., httpx.Client]


@pytest.fixture
def guest(house: tuple[HR, Doors]) -> Guest:
    """Signs in with a token of these scopes."""
    _, doors = house

    def signed_in(*scopes: str) -> httpx.Client:
        client = doors.caller()
        answer = client.post("/console/sign-in", data={"token": doors.token(*scopes), "next": "/console/feeds"})
        assert answer.status_code == 303, answer.text
        return client

    return signed_in


def csrf(client: httpx.Client) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/console/feeds").text)
    assert found is not None
    return found[1]


def post(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return client.post(path, data={"csrf": csrf(client), **fields})


def test_a_file_is_planned_held_approved_and_carried_out(house: tuple[HR, Doors], guest: Guest) -> None:
    hr, _ = house
    hr.apply([ANN, BOB])
    boss = guest("operate")
    file = hr.write([ANN, {**BOB, "status": "Gone", "end": "2026-02-01"}])
    planned = boss.post("/console/feeds/hr/plan", data={"csrf": csrf(boss)}, files={"file": (file.name, file.read_bytes())})
    assert planned.status_code == 303, planned.text
    page = boss.get(planned.headers["location"]).text
    assert "Bob Baker" in page
    assert "Brake disable" in page
    assert "Is it right?" in page
    assert hr.states()["bob.baker"] == "active"

    here = planned.headers["location"]
    assert post(boss, f"{here}/approve", reason=" ").status_code == 422
    assert post(boss, f"{here}/apply").status_code == 409
    assert post(boss, f"{here}/approve", reason="he left", then="apply").status_code == 303
    hr.rest()
    assert hr.states() == {"ann.archer": "active", "bob.baker": "closed"}
    page = boss.get(here).text
    assert "he left" in page
    assert "token/" in page  # who approved
    assert "Is it right?" not in page
    assert boss.get(f"{here}/standing").status_code == 286


def test_rejecting_changes_nobody(house: tuple[HR, Doors], guest: Guest) -> None:
    hr, _ = house
    run = hr.plan([ANN, BOB, person("3", "Cleo", "Cooper")])
    boss = guest("operate")
    assert post(boss, f"/console/feeds/runs/{run.id}/drop", reason="too early").status_code == 303
    assert "cleo.cooper" not in hr.states()
    assert hr.feeds.find(run.id).state == "dropped"


def test_failed_rows_come_back_to_be_corrected(house: tuple[HR, Doors], guest: Guest) -> None:
    hr, _ = house
    run = hr.plan([ANN, person("4", HOSTILE, "Dore"), person("5", "Eve", "Ember", start="tomorrow")], name=f"{'x' * 90}.csv")
    boss = guest("look")
    page = boss.get(f"/console/feeds/runs/{run.id}").text
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    rows = boss.get(f"/console/feeds/runs/{run.id}/failed-rows")
    assert rows.status_code == 200
    assert "attachment" in rows.headers["content-disposition"]
    assert "tomorrow" in rows.text
    assert "error_text" in rows.text


def test_lines_are_shown_page_by_page(house: tuple[HR, Doors], guest: Guest) -> None:
    hr, _ = house
    run = hr.plan([person(str(number), f"P{number}", "Person") for number in range(100, 190)])
    boss = guest("look")
    first = boss.get(f"/console/feeds/runs/{run.id}?action=joiner").text
    assert first.count("<tr>") == 51
    link = re.search(r'rel="next" href="([^"]+)"', first)
    assert link is not None
    second = boss.get(f"/console/feeds/runs/{run.id}{link[1].replace('&amp;', '&')}").text
    assert second.count("<tr>") == 41
    assert "P177 Person" in boss.get(f"/console/feeds/runs/{run.id}?person=177").text


def test_a_case_is_decided(house: tuple[HR, Doors], guest: Guest) -> None:
    hr, _ = house
    with hr.office.scope() as scope:
        cases.open_cases(scope, "hr", [
            {"external_id": "77", "label": HOSTILE, "code": "ambiguous_match", "text": "Who is it?", "candidates": []}
        ])  # fmt: skip
    boss = guest("operate")
    page = boss.get("/console/feeds/cases").text
    assert HOSTILE not in page
    where = re.search(r'action="(/console/feeds/cases/[^"]+)"', page)
    assert where is not None
    assert post(boss, where[1], decision="link", account="nobody", reason="x").status_code == 409
    assert post(boss, where[1], decision="new", reason="a newcomer").status_code == 303
    assert "No case is waiting" in boss.get("/console/feeds/cases").text
    [row] = hr.office.rows("feed_case")
    assert (row["state"], row["reason"], row["decided_by"].split("/")[0]) == ("new", "a newcomer", "token")


@pytest.mark.parametrize("scopes", [("look",), ("feeds:read", "feeds:approve:other", "feeds:push:other")])
def test_who_may_not_decide_is_refused_and_not_asked(house: tuple[HR, Doors], guest: Guest, scopes: tuple[str, ...]) -> None:
    hr, _ = house
    run = hr.plan([ANN, BOB, person("6", "Finn", "Fisher")])
    looker = guest(*scopes)
    page = looker.get(f"/console/feeds/runs/{run.id}").text
    assert "Carry it out" not in page
    assert "Plan a file" not in looker.get("/console/feeds").text
    for path in (f"runs/{run.id}/apply", f"runs/{run.id}/approve", f"runs/{run.id}/drop", "hr/plan"):
        answer = post(looker, f"/console/feeds/{path}", reason="x")
        assert answer.status_code == 403, path
    assert hr.feeds.find(run.id).state == "planned"


def test_what_is_not_there_is_said(guest: Guest) -> None:
    boss = guest("look")
    for path in ("runs/00000000-0000-0000-0000-000000000000", "runs/..%2f..", "runs/zz", "runs/%00"):
        assert boss.get(f"/console/feeds/{path}").status_code == 404, path
    assert boss.get("/console/feeds?before=nothing").status_code == 404
    assert boss.get("/console/feeds/runs/x?after=" + "9" * 30).status_code in (404, 422)
