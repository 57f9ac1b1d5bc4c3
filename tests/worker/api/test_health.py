"""Alive and ready: strangers hear which check failed and no name; red means that due work is done by nobody."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import Doors, doors_of
from office import Office
from sqlalchemy import text

from worker.api import health


@pytest.fixture
def office(sqlite_url: str) -> Iterator[Office]:
    """An office on SQLite: what the database answers is asked in test_telemetry.py, on both."""
    opened = Office(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def doors(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    """Its doors, which look anew at each question."""
    monkeypatch.setattr(health, "FRESH_SECONDS", -1.0)
    with doors_of(office) as opened:
        yield opened


ALL = {"database": True, "schema": True, "key": True, "queue": True, "consuming": True}


def test_the_process_answers(doors: Doors) -> None:
    said = doors.caller().get("/health/live")
    assert (said.status_code, said.json()) == (200, {"alive": True})


def test_all_is_well(doors: Doors) -> None:
    said = doors.caller().get("/health/ready")
    assert (said.status_code, said.json()) == (200, {"ready": True, "checks": ALL, "workers": True})


def test_without_workers_it_is_green_until_something_waits_in_vain(office: Office, doors: Doors) -> None:
    office.keeper.resign()
    stranger = doors.caller()
    assert stranger.get("/health/ready").json() == {"ready": True, "checks": ALL, "workers": False}
    office.submit("create_group", {"group": "staff"})
    assert stranger.get("/health/ready").status_code == 200
    office.later(seconds=31)
    said = stranger.get("/health/ready")
    assert (said.status_code, said.headers["content-type"]) == (503, "application/problem+json")
    assert said.headers["retry-after"]
    assert said.json()["checks"] == ALL | {"consuming": False}
    assert "create_group" not in said.text  # a stranger hears no names
    office.drain()
    assert stranger.get("/health/ready").status_code == 200


def test_who_may_know_is_told_what_is_stuck(office: Office, doors: Doors) -> None:
    office.submit("create_group", {"group": "staff"}, urgent=True)
    office.later(seconds=11)
    said = doors.caller("metrics").get("/health/ready")
    assert said.status_code == 503
    assert said.json()["details"] == {
        "workers": 1, "stuck": [{"queue": "urgent", "kind": "create_group", "urgent": True}],
        "trouble": {"consuming": "Nobody does what is due: create_group. Do workers run, and do they serve these queues?"},
    }  # fmt: skip
    assert "details" not in doors.caller("users:read").get("/health/ready").json()
    stranger = doors.caller()
    assert stranger.get("/health/ready", headers={"Authorization": "Bearer muster_wrong_token"}).status_code == 401


def test_a_queue_that_is_away(office: Office, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office.bell, "trouble", lambda: "redis://user:secret@host refused", raising=False)
    said = doors.caller("metrics").get("/health/ready")
    assert (said.status_code, said.json()["checks"]) == (503, ALL | {"queue": False})
    assert "secret" not in said.text


def test_a_schema_of_another_release(office: Office, doors: Doors) -> None:
    with office.app.database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    said = doors.caller().get("/health/ready")
    assert said.status_code == 503
    assert said.json()["checks"] == {"database": True, "schema": False, "key": True, "queue": True}


def test_another_secret_key(office: Office, doors: Doors) -> None:
    with office.app.database.write() as conn:
        conn.execute(text("INSERT INTO meta (name, value) VALUES ('key_check', 'another')"))
    said = doors.caller().get("/health/ready")
    assert (said.status_code, said.json()["checks"]["key"]) == (503, False)


def test_a_database_that_is_away(tmp_path: Path, sqlite_template: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(sqlite_template, home / "muster.sqlite")
    office = Office(f"sqlite:///{home / 'muster.sqlite'}")
    with doors_of(office) as doors:
        caller = doors.caller("metrics")
        office.app.database.dispose()
        home.rename(tmp_path / "gone")
        said = caller.get("/health/ready")
        assert (said.status_code, said.json()["checks"]) == (503, {"database": False, "queue": True})
        assert doors.caller().get("/health/live").status_code == 200
    office.close()


def test_strangers_cannot_make_it_work_harder(office: Office, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_SECONDS", 60.0)
    asked = []
    monkeypatch.setattr(office.bell, "trouble", lambda: asked.append(1), raising=False)
    stranger = doors.caller()
    assert {stranger.get("/health/ready").status_code for _ in range(20)} == {200}
    assert len(asked) == 1
