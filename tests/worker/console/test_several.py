"""Several people at once in the console: those ticked, or everybody whom a search finds; each a job of its own."""


from typing import Any

import httpx
import pytest
from at_console import confirmed, looked
from belongings import equip
from sheet import Sheet

from worker.console import actions


def test_several_people_at_once(peopled: Any, chief: httpx.Client) -> None:
    for name in ("multi-a", "multi-b", "multi-c"):
        made = peopled.do("create_user", {"username": name, "email": f"{name}@example.com"})
        equip(peopled, made.result["user"])
    listed = Sheet(chief.get("/console/people?search=multi-"))
    ids = [peopled.user(name).id for name in ("multi-a", "multi-b")]
    [ticked] = [one for one in listed.forms() if "several" in one.fields()]
    form = Sheet(ticked.send(chief, "Deactivate", {"user": ids}))
    assert "Deactivate: 2 people" in form.text
    look = Sheet(form.form("/console/people/do/").send(chief, "Show what", {"reason": "closed"}))
    assert "2 would be done, 0 refused" in look.text
    assert "multi-a" in look.text
    assert "multi-c" not in look.text
    assert confirmed(chief, look, "Deactivate", typed="3").status_code == 422
    done = confirmed(chief, look, "Deactivate", typed="2")
    assert done.status_code == 303
    assert confirmed(chief, look, "Deactivate", typed="2").headers["location"] == done.headers["location"]
    page = Sheet(chief.get(done.headers["location"]))
    assert "0 of 2" in page.text
    peopled.drain()
    page = Sheet(chief.get(done.headers["location"]))
    assert "2 of 2" in page.text
    assert "2 succeeded" in page.text
    assert [peopled.user(name).is_active for name in ("multi-a", "multi-b", "multi-c")] == [False, False, True]


def test_everybody_whom_a_search_finds(peopled: Any, chief: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        peopled.do("create_user", {"username": f"all-{number}"})
    monkeypatch.setattr(actions, "TRIED", 2)
    about = {"everybody": "1", "search": "all-", "state": "active"}
    look = looked(chief, "add_to_group", on=about, group="staff")
    assert "Of the first 2 that were tried, 2 would be done, 0 refused. 2 more were not tried." in look.text
    done = confirmed(chief, look, "Add to group")
    peopled.drain()
    assert "4 succeeded" in Sheet(chief.get(done.headers["location"])).text
    monkeypatch.setattr(actions, "MOST_PEOPLE", 3)
    answer = chief.get("/console/people/do/add_to_group", params=about)
    assert answer.status_code == 422
    assert "more than 3 people" in answer.text


def test_what_is_for_one_is_not_done_to_two(peopled: Any, chief: httpx.Client) -> None:
    two = f"{peopled.user('ann').id} {peopled.user('bob').id}"
    assert chief.get("/console/people/do/reset_password", params={"user": two}).status_code == 404
