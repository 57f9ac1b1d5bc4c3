"""Endpoints over HTTP: an administrator's whole round, and what is refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from office import Office
from receiver import Receiver


@pytest.fixture(scope="module")
def doors(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    file = tmp_path_factory.mktemp("webhooks") / "muster.sqlite"
    shutil.copy(sqlite_template, file)
    office = Office(f"sqlite:///{file}")
    office.world()
    with doors_of(office) as opened:
        yield opened
    office.close()


@pytest.fixture(scope="module")
def admin(doors: Doors) -> httpx.Client:
    return doors.caller("admin", name="boss")


@pytest.fixture(autouse=True)
def clean(admin: httpx.Client) -> Iterator[None]:
    yield
    for item in admin.get("/v1/webhooks").json()["items"]:
        assert admin.delete(f"/v1/webhooks/{item['name']}").status_code == 200


def add(admin: httpx.Client, receiver: Receiver, **given: Any) -> str:
    answer = admin.post(
        "/v1/webhooks", json={"name": "hook", "url": receiver.url, "events": ["user.*"], "private": True, **given}
    )
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/webhooks/hook")
    assert answer.headers["Cache-Control"] == "no-store"
    secret: str = answer.json()["secret"]
    return secret


def test_an_administrators_round(doors: Doors, admin: httpx.Client, receiver: Receiver) -> None:
    office = doors.office
    secret = add(admin, receiver)
    assert admin.post("/v1/webhooks/hook/test").json() == {"taken": True, "status": 204, "text": "204 No Content"}
    office.do("create_user", {"username": "ola"})
    assert receiver.got[-1].signed_with(secret)
    assert receiver.got[-1].told["type"] == "user.created"

    [item] = admin.get("/v1/webhooks").json()["items"]
    assert (item["state"], item["waiting"], item["created_by"]) == ("active", 0, "token/boss")
    assert "secret" not in item
    assert admin.get("/v1/webhooks/hook").json() == item

    changed = admin.patch("/v1/webhooks/hook", json={"events": ["group.*", "user.*"]}).json()
    assert (changed["events"], changed["url"]) == (["group.*", "user.*"], receiver.url)

    assert admin.post("/v1/webhooks/hook/pause", json={"why": "moving house"}).json()["changed"] is True
    count = len(receiver.got)
    office.do("create_group", {"group": "platform"})
    assert (len(receiver.got), admin.get("/v1/webhooks/hook").json()["paused_why"]) == (count, "moving house")
    assert admin.post("/v1/webhooks/hook/resume").json()["deliveries"] == 1
    office.drain()
    assert receiver.got[-1].told["type"] == "group.created"

    second = admin.post("/v1/webhooks/hook/rotate").json()["secret"]
    again = {"since": "2026-03-02T00:00:00Z", "events": ["group.created"]}
    total = len(office.rows("event", action="group.created"))
    assert admin.post("/v1/webhooks/hook/replay", json={**again, "dry_run": True}).json() == {
        "name": "hook", "deliveries": total, "dry_run": True,
    }  # fmt: skip
    assert admin.post("/v1/webhooks/hook/replay", json=again).json()["deliveries"] == total
    office.drain()
    assert receiver.got[-1].signed_with(secret)
    assert receiver.got[-1].signed_with(second)

    assert admin.delete("/v1/webhooks/hook", params={"dry_run": True}).json()["dry_run"] is True
    assert admin.delete("/v1/webhooks/hook").json() == {"name": "hook", "deliveries": 0, "dry_run": False}
    assert admin.get("/v1/webhooks/hook").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "", {"name": "hook", "url": "http://example.org/", "events": ["*"]}, 422, "invalid"),
        ("POST", "", {"name": "Hook!", "url": "https://example.org/", "events": ["*"]}, 422, "invalid"),
        ("POST", "", {"name": "x", "url": "https://example.org/", "events": ["user.eaten"]}, 422, "invalid"),
        ("POST", "", {"name": "x", "url": "https://example.org/", "events": []}, 422, "invalid"),
        ("POST", "", {"name": "x", "url": "https://example.org/", "events": ["*"], "state": "x"}, 422, "invalid"),
        ("PATCH", "/nobody", {"events": ["*"]}, 404, "unknown_endpoint"),
        ("GET", "/nobody", None, 404, "unknown_endpoint"),
        ("DELETE", "/nobody", None, 404, "unknown_endpoint"),
        ("POST", "/nobody/rotate", None, 404, "unknown_endpoint"),
        ("POST", "/nobody/resume", None, 404, "unknown_endpoint"),
        ("POST", "/nobody/test", None, 404, "unknown_endpoint"),
        ("POST", "/nobody/pause", {"why": "x"}, 404, "unknown_endpoint"),
        ("POST", "/nobody/replay", {"since": "0001-01-01T00:00:00Z"}, 404, "unknown_endpoint"),
    ],
)
def test_what_is_refused(
    admin: httpx.Client, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    answer = admin.request(method, f"/v1/webhooks{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_name_that_is_taken_is_a_conflict(admin: httpx.Client, receiver: Receiver) -> None:
    add(admin, receiver)
    answer = admin.post("/v1/webhooks", json={"name": "hook", "url": receiver.url, "events": ["*"], "private": True})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_a_replay_from_the_beginning_of_time(admin: httpx.Client, receiver: Receiver) -> None:
    add(admin, receiver)
    answer = admin.post(
        "/v1/webhooks/hook/replay",
        json={"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z", "dry_run": True},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("scopes", [(), ("look",), ("operate",), ("jobs:submit:*", "scim")])
def test_only_administrators_come_in(doors: Doors, scopes: tuple[str, ...]) -> None:
    caller = doors.caller(*scopes)
    wanted = 403 if scopes else 401
    assert caller.get("/v1/webhooks").status_code == wanted
    assert caller.post("/v1/webhooks/hook/rotate").status_code == wanted
