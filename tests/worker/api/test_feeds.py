"""Feeds at a real server: files planned, held plans approved and carried out, messages, cases, and live progress."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Doors
from hr import DECLARED, HR, csv_text, open_brakes, person
from hr_doors import hr_doors

from worker.api import feed_runs, feeds
from worker.feeds.desk import Feeds

BRAKED = DECLARED.replace("[feeds.hr.brakes]\ncreate = {}\ndisable = {}\n", "[feeds.hr.brakes]\ncreate = {}\ndisable = { count = 0 }\n")
EVENTS = '[feeds.events]\nform = "messages"\nmode = "event"\nid_prefix = "ev-"\n' + open_brakes("events")
ANN, BEN, CYD = person("1", "Ann", "Ash"), person("2", "Ben", "Birch"), person("3", "Cyd", "Cedar")
STAFF = [ANN, BEN, CYD]
Ground = tuple[HR, Doors]


@pytest.fixture(scope="module")
def module_ground(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with hr_doors(sqlite_template, tmp_path_factory.mktemp("feeds"), BRAKED + EVENTS) as opened:
        yield opened


@pytest.fixture
def ground(module_ground: Ground) -> Iterator[Ground]:
    """The same office for all; its feeds begin with nobody each time."""
    yield module_ground
    hr, _ = module_ground
    hr.rest()
    with hr.office.scope() as scope:
        for table in ("feed_person", "feed_name", "feed_message", "feed_case", "feed_action", "feed_run", "feed_source"):
            scope.conn.exec_driver_sql(f"DELETE FROM {table}")
        scope.conn.exec_driver_sql("DELETE FROM membership WHERE user_id IN (SELECT id FROM users WHERE external_id IS NOT NULL)")
        scope.conn.exec_driver_sql("DELETE FROM users WHERE external_id IS NOT NULL")


def plan(ground: Ground, people: Any, caller: httpx.Client | None = None, **asked: Any) -> httpx.Response:
    content = people if isinstance(people, bytes) else csv_text(people).encode()
    caller = caller or ground[1].caller("feeds:push:hr")
    return caller.post("/v1/feeds/hr/plans", content=content, **{"headers": {"Content-Type": "text/csv"}, **asked})


def planned(ground: Ground, people: Any, **asked: Any) -> dict[str, Any]:
    answer = plan(ground, people, **asked)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def applied(ground: Ground, people: Any) -> dict[str, Any]:
    hr, doors = ground
    run = planned(ground, people)
    answer = doors.caller("feeds:approve:hr").post(f"/v1/feeds/runs/{run['id']}/apply")
    assert answer.status_code == 200, answer.text
    hr.rest()
    found: dict[str, Any] = answer.json()
    return found


# -------------------------------------------------------------------------------------------------------- files


def test_a_file_is_planned_looked_at_and_carried_out(ground: Ground) -> None:
    hr, doors = ground
    answer = plan(ground, STAFF, headers={"Content-Disposition": "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fp%C3%A4ople%20(1).csv"})
    run = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/feeds/runs/{run['id']}")
    assert (run["state"], run["counts"]["joiner"], run["total"], run["jobs"]) == ("planned", 3, 3, {})
    assert (run["input"], run["requested_by"].split("/")[0]) == ("päople (1).csv", "token")
    looking = doors.caller("feeds:read")
    for name in (run["id"], run["plan"], run["plan"][:12], run["id"][:18]):
        assert looking.get(f"/v1/feeds/runs/{name}").json()["id"] == run["id"]
    again = planned(ground, STAFF, params={"name": "again.csv"})
    assert (again["plan"], again["input"]) == (run["plan"], "again.csv")  # nothing was changed by looking
    done = doors.caller("feeds:approve:*").post(f"/v1/feeds/runs/{run['id']}/apply")
    assert done.status_code == 200
    hr.rest()
    [told] = looking.get("/v1/feeds/hr/runs", params={"state": "applied"}).json()["items"]
    assert (told["state"], told["carried"], told["finished_at"] is not None) == ("applied", 3, True)
    assert {row["username"] for row in hr.office.rows("users")} >= {"ann.ash", "ben.birch", "cyd.cedar"}
    asked = {row["on_behalf_of"] for row in hr.office.jobs("onboard_user")}
    assert run["requested_by"] in asked


def test_lines_come_page_by_page_with_before_and_after(ground: Ground) -> None:
    _, doors = ground
    applied(ground, STAFF)
    run = planned(ground, [{**ANN, "last": "Alder"}, {**BEN, "department": "Legal"}, CYD, person("4", "Dot", "Dogwood")])
    looking = doors.caller("feeds:read")
    address = f"/v1/feeds/runs/{run['id']}/actions"
    every = looking.get(address).json()
    assert [(one["external_id"], one["action"]) for one in every["items"]] == [("1", "mover"), ("2", "mover"), ("4", "joiner")]
    assert every["items"][0]["changes"]["name"] == ["Ann Ash", "Ann Alder"]
    assert every["items"][1]["groups"]["removed"] == {"sales": "sales people"}
    assert every["items"][2]["jobs"][0]["kind"] == "onboard_user"
    assert every["items"][2]["result"] is None
    found, link = [], f"{address}?limit=1&action=mover"
    while link:
        page = looking.get(link)
        found += [one["external_id"] for one in page.json()["items"]]
        link = page.links.get("next", {}).get("url", "")
    assert found == ["1", "2"]
    assert looking.get(address, params={"person": "4"}).json()["items"][0]["label"] == "Dot Dogwood"
    for wrong in ({"action": "leaver2"}, {"cursor": "bm9uc2Vuc2U="}, {"limit": 0}):
        assert looking.get(address, params=wrong).status_code == 422, wrong


def test_a_held_plan_waits_for_a_reason(ground: Ground) -> None:
    hr, doors = ground
    applied(ground, STAFF)
    run = planned(ground, [ANN, {**BEN, "status": "Gone", "end": "2026-03-01"}, CYD])
    assert (run["state"], [brake["brake"] for brake in run["brakes"]]) == ("held", ["disable"])
    operator = doors.caller("feeds:approve:hr", "feeds:read")
    address = f"/v1/feeds/runs/{run['id']}"
    held = operator.post(f"{address}/apply")
    assert (held.status_code, held.json()["code"]) == (409, "not_applied")
    assert "is held" in held.json()["detail"]
    assert [one["id"] for one in operator.get("/v1/feeds").json()["items"][1]["held"]] == [run["id"]]
    for wrong in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "a\0"}, {"reason": "x", "more": 1}):
        assert operator.post(f"{address}/approve", json=wrong).status_code == 422, wrong
    approved = operator.post(f"{address}/approve", json={"reason": "the shop was closed"}).json()
    assert (approved["state"], approved["approved_reason"]) == ("approved", "the shop was closed")
    assert operator.post(f"{address}/apply").status_code == 200
    hr.rest()
    ben = hr.office.user("ben.birch")
    assert ben is not None
    assert not ben.is_active
    assert operator.post(f"{address}/drop", json={"reason": "too late"}).status_code == 409


def test_a_plan_put_aside_stays_there(ground: Ground) -> None:
    _, doors = ground
    run = planned(ground, STAFF)
    operator = doors.caller("feeds:approve:hr")
    dropped = operator.post(f"/v1/feeds/runs/{run['id']}/drop", json={"reason": "the wrong file"}).json()
    assert (dropped["state"], dropped["problem"].endswith("the wrong file")) == ("dropped", True)
    assert operator.post(f"/v1/feeds/runs/{run['id']}/apply").status_code == 409


def test_corrected_rows_make_nobody_missing(ground: Ground) -> None:
    _, doors = ground
    applied(ground, STAFF)
    bad = csv_text([ANN, BEN, {**CYD, "start": "tomorrow"}]).encode()
    run = planned(ground, bad)
    assert run["counts"]["refused"] == 1
    looking = doors.caller("feeds:read")
    file = looking.get(f"/v1/feeds/runs/{run['id']}/failed-rows")
    assert file.headers["content-type"].startswith("text/csv; charset=utf")
    assert file.headers["content-disposition"] == f'attachment; filename="failed-{run["plan"][:12]}.csv"'
    assert file.text.splitlines()[1].startswith('"bad_date"')
    back = planned(ground, file.content.replace(b"tomorrow", b"2026-03-03"))
    assert back["counts"].get("absent", 0) == 0
    assert looking.get(f"/v1/feeds/runs/{back['id']}/failed-rows").status_code == 204
    assert planned(ground, [ANN], params={"delta": "true"})["counts"].get("absent", 0) == 0
    assert planned(ground, [ANN])["counts"]["absent"] == 2


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 422, "empty"),
        (b"id,first", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "no_form"),
        (b"--x", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "no_form"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_said_to_be_none(ground: Ground, body: bytes, headers: Mapping[str, str], status: int, code: str) -> None:
    answer = plan(ground, body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ground[0].office.rows("feed_run") == []


def test_an_input_that_cannot_be_read_is_a_refused_run(ground: Ground) -> None:
    run = planned(ground, b"\x00\x01\x02" * 50)
    assert run["state"] == "refused"
    assert run["problem"]


def test_a_large_file_is_answered_before_it_is_planned(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    doors = ground[1]
    go_on, spooled = threading.Event(), []
    real = Feeds.plan_file

    def slow(self: Any, source: str, path: Path, **facts: Any) -> Any:
        spooled.append(path)
        began = facts.pop("began")
        return real(self, source, path, began=lambda run: (began(run), go_on.wait(30)), **facts)

    monkeypatch.setattr(Feeds, "plan_file", slow)
    monkeypatch.setattr(feeds, "WAIT_SECONDS", 0.05)
    both = [plan(ground, STAFF) for _ in range(feeds.PLANS_AT_ONCE)]
    assert [(one.status_code, one.json()["state"]) for one in both] == [(202, "planning")] * 2
    full = plan(ground, STAFF)
    assert (full.status_code, full.json()["code"], "retry-after" in full.headers) == (503, "busy", True)
    go_on.set()
    looking = doors.caller("feeds:read")
    for one in both:
        assert [name for name, _ in events(looking, one.headers["location"], until="planned")][-1] == "progress"
    for thread in threading.enumerate():
        if thread.name == "feed":
            thread.join(30)
    assert not any(path.parent.exists() for path in spooled)  # nothing of the people stays on the disk


# ------------------------------------------------------------------------------------------------------ progress


def events(caller: httpx.Client, address: str, until: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Read the events of a run to the end, or to a state."""
    found: list[tuple[str, dict[str, Any]]] = []
    with caller.stream("GET", f"{address}/events", headers={"Last-Event-ID": "7"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                if found[-1][1]["state"] == until:
                    break
    return found


def test_whoever_watches_sees_it_move_and_end(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real apply of several chunks, carried in the background while it is watched, and then the jobs."""
    hr, doors = ground
    monkeypatch.setattr(feed_runs, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(feed_runs, "LOOK_SECONDS_WAITING", 0.02)
    monkeypatch.setattr(feed_runs, "LOOK_SHARE", 1)
    monkeypatch.setattr("worker.feeds.apply.CHUNK_SQLITE", 2)
    monkeypatch.setattr(feed_runs, "WAIT_SECONDS", 0.0)
    run = planned(ground, [person(str(number), "Pat", f"P{number}") for number in range(1, 21)])
    told: list[tuple[str, dict[str, Any]]] = []
    looking = doors.caller("feeds:read")
    watching = threading.Thread(target=lambda: told.extend(events(looking, f"/v1/feeds/runs/{run['id']}")))
    watching.start()
    answer = doors.caller("feeds:approve:hr").post(f"/v1/feeds/runs/{run['id']}/apply")
    assert answer.status_code == 202
    assert answer.json()["state"] in ("applying", "applied")
    for thread in threading.enumerate():
        if thread.name == "feed":
            thread.join(30)
    hr.rest()
    watching.join(30)
    assert not watching.is_alive()
    names = [name for name, _ in told]
    assert names == ["progress"] * (len(names) - 1) + ["end"]
    carried = [one["carried"] for _, one in told]
    assert carried == sorted(carried)
    assert told[-1][1] == {
        "run": run["id"], "state": "applied", "carried": 20, "total": 20, "jobs": {"succeeded": told[-1][1]["jobs"]["succeeded"]},
        "moving": True, "ended": True,
    }  # fmt: skip
    assert told[-1][1]["jobs"]["succeeded"] >= 20


def test_what_the_server_cannot_carry_any_more_a_worker_does(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    hr, doors = ground
    run = planned(ground, STAFF)
    monkeypatch.setattr(Feeds, "carry", lambda *_: (_ for _ in ()).throw(TimeoutError))  # it dies after the decision
    monkeypatch.setattr(feed_runs, "WAIT_SECONDS", 0.2)
    answer = doors.caller("feeds:approve:hr").post(f"/v1/feeds/runs/{run['id']}/apply")
    assert (answer.status_code, answer.json()["state"]) == (202, "applying")
    assert not any(row["key"].startswith(run["id"]) for row in hr.office.jobs())
    hr.feeds.catch_up()
    assert hr.feeds.find(run["id"]).carried == 3


def test_a_silent_run_shows_that_the_line_stands(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    _, doors = ground
    run = planned(ground, STAFF)
    monkeypatch.setattr(feed_runs, "LOOK_SECONDS_WAITING", 0.02)
    monkeypatch.setattr(feed_runs, "LOOK_SHARE", 1)
    monkeypatch.setattr(feed_runs, "HEARTBEAT_SECONDS", 0.05)
    with doors.caller("feeds:read").stream("GET", f"/v1/feeds/runs/{run['id']}/events") as stream:
        assert any(line.startswith(":") for line in stream.iter_lines())


def test_a_token_that_is_revoked_sees_no_more(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker import api_tokens

    hr, doors = ground
    monkeypatch.setattr(feed_runs, "LOOK_SECONDS_WAITING", 0.02)
    run = planned(ground, STAFF)
    with doors.caller("feeds:read", name="leaves").stream("GET", f"/v1/feeds/runs/{run['id']}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: progress"
        with hr.office.scope() as scope:
            api_tokens.revoke(scope, "leaves", by="tester")
        assert len(list(lines)) < 10  # it ends


# ------------------------------------------------------------------------------------------------------ messages


def onboard(number: str, **facts: Any) -> dict[str, Any]:
    return {"id": f"evt-{number}", "type": "onboard", "person": {"external_id": number, "first": "Kim", "last": f"N{number}"}, **facts}


def push(ground: Ground, content: Any, kind: str = "application/json", source: str = "events") -> httpx.Response:
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return ground[1].caller("feeds:push:*").post(f"/v1/feeds/{source}/messages", content=content, headers={"Content-Type": kind})


def test_messages_come_alone_as_a_list_or_as_lines(ground: Ground) -> None:
    hr, _ = ground
    lines = b"\n".join(json.dumps(onboard(number)).encode() for number in ("13", "14")) + b"\n\n"
    for content, kind, new in ((onboard("11"), "application/json", 1), ([onboard("12"), onboard("13")], "application/json", 2),
                               (lines, "application/x-ndjson", 2)):  # fmt: skip
        answer = push(ground, content, kind)
        assert (answer.status_code, answer.json()["new"], answer.json()["refused"]) == (202, new, 0), answer.text
    hr.office.drain()
    stored = hr.office.rows("feed_message")
    assert sorted(row["key"] for row in stored) == ["evt-11", "evt-12", "evt-13", "evt-14"]  # one came through two tokens
    hr.feeder.pass_once()
    hr.rest()
    assert hr.office.user("kim.n14") is not None


def test_each_message_hears_what_became_of_it(ground: Ground) -> None:
    content = json.dumps(onboard("21")).encode() + b"\n[5]\n{not json}\n" + json.dumps(onboard("22")).encode()
    answer = push(ground, content, "application/x-ndjson").json()
    assert [(one["line"], one["state"], one["reason"]) for one in answer["items"]] == [
        (1, "queued", None), (2, "refused", "unreadable"), (3, "refused", "unreadable"), (4, "queued", None),
    ]  # fmt: skip
    again = ground[1].caller("feeds:push:events", name="sender")
    for expected in ({"new": 1, "duplicate": 0}, {"new": 0, "duplicate": 1}):
        found = again.post("/v1/feeds/events/messages", json=onboard("23")).json()
        assert {name: found[name] for name in expected} == expected
    other = again.post("/v1/feeds/events/messages", json=onboard("23", occurred_at="2026-03-02T09:00:00Z"))
    assert (other.status_code, other.json()["code"]) == (422, "refused")
    assert "evt-23" in other.json()["errors"][0]["problem"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{", "application/json", 400), (b"[" * 100_000, "application/json", 400), (b"[]", "application/json", 422),
     (b"\n\n", "application/x-ndjson", 422), (b"5", "application/json", 422), (b"{\xff}", "application/json", 400),
     (b"a=b", "application/x-www-form-urlencoded", 415)],
)  # fmt: skip
def test_what_is_no_message_is_said_to_be_none(ground: Ground, content: bytes, kind: str, status: int) -> None:
    answer = push(ground, content, kind)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text


# --------------------------------------------------------------------------------------------------------- cases


def test_a_case_is_decided(ground: Ground) -> None:
    hr, doors = ground
    hr.office.do("create_user", {"username": "ann", "name": "Ann Ash", "email": "ann@example.com", "external_id": "1"})
    assert hr.office.do("deactivate_user", {"user": "ann"}).state == "succeeded"
    assert applied(ground, STAFF)["counts"]["case"] == 1
    operator = doors.caller("feeds:read", "feeds:approve:hr")
    [case] = operator.get("/v1/feeds/cases", params={"source": "hr"}).json()["items"]
    assert (case["code"], case["external_id"], case["state"]) == ("disabled_by_hand", "1", "open")
    assert [one["username"] for one in case["candidates"]] == ["ann"]
    address = f"/v1/feeds/cases/{case['id']}/decide"
    for wrong, told in (({"decision": "new"}, "needs the external id that ann has"), ({"decision": "link"}, "Say which account")):
        answer = operator.post(address, json={**wrong, "reason": "because"})
        assert (answer.status_code, answer.json()["code"], told in answer.json()["detail"]) == (422, "cannot_decide", True)
    decided = operator.post(address, json={"decision": "ignore", "reason": "on purpose"}).json()
    assert (decided["state"], decided["reason"], decided["decided_by"].startswith("token/")) == ("ignore", "on purpose", True)
    assert operator.get("/v1/feeds/cases").json()["items"] == []
    assert len(operator.get("/v1/feeds/cases", params={"state": "all", "limit": 1}).json()["items"]) == 1
    for nothing in ("x", "00000000-0000-7000-8000-000000000000"):
        answer = operator.post(f"/v1/feeds/cases/{nothing}/decide", json={"decision": "new", "reason": "r"})
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_case")


# --------------------------------------------------------------------------------------------------- permissions


def test_a_token_reaches_its_own_feed_alone(ground: Ground) -> None:
    _, doors = ground
    pusher = doors.caller("feeds:push:events")
    answer = plan(ground, STAFF, pusher)
    assert (answer.status_code, answer.json()["needed"]) == (403, "feeds:push:hr")
    assert pusher.post("/v1/feeds/hr/messages", json=onboard("31")).status_code == 403
    assert pusher.post("/v1/feeds/events/messages", json=onboard("31")).status_code == 202
    assert pusher.get("/v1/feeds").status_code == 403
    assert doors.caller().post("/v1/feeds/hr/plans", content=b"x").status_code == 401
    assert doors.caller("admin").post("/v1/feeds/nothing/plans", content=b"x").json()["code"] == "no_such_feed"


@pytest.mark.parametrize(
    ("scopes", "there", "nowhere"),
    [
        (("feeds:approve:hr",), 200, 404),
        (("feeds:approve:*",), 200, 404),
        (("operate",), 200, 404),
        (("feeds:read",), 403, 403),  # may look, and is told what it lacks
        (("feeds:read", "feeds:approve:events"), 403, 404),
        (("feeds:approve:events",), 404, 404),  # may not even know that it is there
        (("feeds:push:hr",), 403, 403),
        (("jobs:read",), 403, 403),
    ],
)  # fmt: skip
def test_who_may_decide(ground: Ground, scopes: tuple[str, ...], there: int, nowhere: int) -> None:
    _, doors = ground
    run = planned(ground, STAFF)
    caller = doors.caller(*scopes)
    assert caller.post("/v1/feeds/runs/00000000-0000-7000-8000-000000000000/apply").status_code == nowhere
    assert caller.post(f"/v1/feeds/runs/{run['id']}/drop", json={"reason": "r"}).status_code == there


def test_what_there_is_not(ground: Ground) -> None:
    _, doors = ground
    looking = doors.caller("feeds:read")
    for address, code in (
        ("/v1/feeds/nothing/runs", "no_such_feed"), ("/v1/feeds/runs/00000000", "no_such_run"), ("/v1/feeds/runs/runs", "no_such_feed"),
        ("/v1/feeds/runs/x'--", "no_such_run"), ("/v1/feeds/runs/00000000/events", "no_such_run"),
        ("/v1/feeds/runs/00000000/actions", "no_such_run"), ("/v1/feeds/runs/00000000/failed-rows", "no_such_run"),
    ):  # fmt: skip
        answer = looking.get(address)
        assert (answer.status_code, answer.json()["code"]) == (404, code), address


def test_how_all_feeds_stand(ground: Ground) -> None:
    _, doors = ground
    push(ground, onboard("41"))
    ground[0].office.drain()
    events_feed, hr_feed = doors.caller("look").get("/v1/feeds").json()["items"]
    assert (events_feed["name"], events_feed["messages_waiting"], events_feed["last_run"]) == ("events", 1, None)
    assert (hr_feed["name"], hr_feed["people"], hr_feed["open_cases"], hr_feed["held"], hr_feed["webhook"]) == ("hr", 0, 0, [], None)
