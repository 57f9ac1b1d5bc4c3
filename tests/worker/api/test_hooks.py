"""Webhooks of HR systems at a real server: proved, kept once, answered at once, and taken by the workers in order."""

import json
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from hr import HR, open_brakes
from hr_doors import hr_doors
from office import Office
from senders import ENVIRONMENT, PROFILES, headers_of, hibob
from senders import SECRET as HOOK_SECRET

from worker.feeds import deliveries
from worker.feeds.declaration import Feed
from worker.process import Staff
from worker.scope import Scope
from worker.web.limits import Buckets


def toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


def declared(name: str, webhook: Mapping[str, Any]) -> str:
    lines = "".join(f"{key} = {toml(value)}\n" for key, value in webhook.items())
    return f'[feeds.{name}]\nform = "messages"\nmode = "event"\n[feeds.{name}.webhook]\n{lines}{open_brakes(name)}'


BAMBOO_LISTS = {**PROFILES["bamboo"], "items": "employees", "person": "fields"}
BOB_TYPES = {
    **PROFILES["hibob"], "person": "employee", "type": "type", "occurred_at": "creationDate",
    "types": {"employee.left": "offboard", "employee.joined": "onboard", "employee.deleted": "ignore"},
}  # fmt: skip
DECLARED = (
    "".join(declared(name, webhook) for name, webhook in PROFILES.items())
    + declared("lists", BAMBOO_LISTS) + declared("bob", BOB_TYPES)
    + '[feeds.closed]\nform = "messages"\nmode = "event"\n'
)  # fmt: skip
Ground = tuple[HR, Doors]


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def ground(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with hr_doors(sqlite_template, tmp_path_factory.mktemp("hooks"), DECLARED) as opened:
        yield opened


@pytest.fixture(autouse=True)
def clean(ground: Ground) -> Iterator[None]:
    """Whatever a test leaves waiting is no other test's."""
    yield
    with ground[0].office.scope() as scope:
        for table in ("webhook_delivery", "webhook_refusal", "feed_message"):
            scope.conn.exec_driver_sql(f"DELETE FROM {table}")


def message(number: str, **person: Any) -> bytes:
    said = {"id": f"m-{number}", "type": "onboard", "person": {"external_id": number, "first": "Kim", "last": f"N{number}", **person}}
    return json.dumps(said).encode()


def send(ground: Ground, feed: str, body: bytes, headers: Mapping[str, str] | None = None, *, sent_id: str = "evt-1") -> httpx.Response:
    hr, doors = ground
    profile = {"lists": "bamboo", "bob": "hibob"}.get(feed, feed)
    proof = headers_of(profile, body, hr.office.now, sent_id=sent_id) if headers is None else headers
    return doors.caller().post(f"/v1/feeds/{feed}/events", content=body, headers=proof)


def kept(ground: Ground, feed: str) -> list[dict[str, Any]]:
    return sorted(ground[0].office.rows("webhook_delivery", source=feed), key=lambda row: str(row["id"]))


def texts(ground: Ground, feed: str) -> list[Any]:
    rows = sorted(ground[0].office.rows("feed_message", source=feed), key=lambda row: str(row["id"]))
    return [json.loads(row["raw"]) for row in rows]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_proved_is_kept_and_taken(ground: Ground, profile: str) -> None:
    body = message("301")
    answer = send(ground, profile, body)
    assert (answer.status_code, answer.json()["new"]) == (202, True)
    [row] = kept(ground, profile)
    assert (row["state"], row["body"], row["id"]) == ("new", body, answer.json()["id"])
    assert texts(ground, profile) == []  # the answer waits for nothing but the insert; a worker that is killed now loses nothing
    ground[0].feeder.take_deliveries()
    [row] = kept(ground, profile)
    assert (row["state"], row["messages"], row["body"], row["problem"]) == ("taken", 1, None, None)
    assert texts(ground, profile) == [json.loads(body)]
    # Sent again, as after a lost answer: the same, whatever became of it meanwhile.
    again = send(ground, profile, body)
    assert (again.status_code, again.json()) == (202, {"id": answer.json()["id"], "new": False})
    ground[0].feeder.take_deliveries()
    assert len(texts(ground, profile)) == 1


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_not_proved_is_counted_and_nothing_of_it_kept(ground: Ground, profile: str) -> None:
    body = message("302")
    good = headers_of(profile, body, ground[0].office.now)
    wrong = {name: value[:-2] + ("00" if not value.endswith("00") else "11") for name, value in good.items()}
    answers = [send(ground, profile, body, wrong), send(ground, profile, body, {})]
    if profile != "bearer":
        answers.append(send(ground, profile, body.replace(b"Kim", b"Kin"), good))
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.json()["code"] == "not_proven"
    assert kept(ground, profile) == []
    [row] = ground[0].office.rows("webhook_refusal", source=profile)
    assert row["count"] == len(answers)
    assert "Kim" not in row["last_problem"]


def test_nobody_learns_which_feeds_there_are(ground: Ground) -> None:
    body = message("303")
    told = [send(ground, name, body, {"X-Signature": "x"}) for name in ("merge", "closed", "nothing-of-the-kind", "x" * 300)]
    assert {(one.status_code, one.text) for one in told} == {(401, told[0].text)}
    counts = {row["source"]: row["count"] for row in ground[0].office.rows("webhook_refusal")}
    assert counts == {"merge": 1, deliveries.NOWHERE: 3}  # no name that somebody made up


def test_a_flood_of_strangers_causes_few_writes_and_lines_of_the_log(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from worker.api.hooks import Unproven

    app = ground[0].office.app
    note = Unproven()
    time = [0.0]
    monkeypatch.setattr(note, "_writes", Buckets(1.0, 2.0, lambda: time[0]))
    with caplog.at_level(logging.WARNING, "worker.api.hooks"):
        for _ in range(50):
            note.note(app, "merge", "no signature")
    assert [row["count"] for row in ground[0].office.rows("webhook_refusal")] == [2]
    assert len(caplog.records) == 3
    time[0] = 1.0
    note.note(app, "merge", "no signature")
    assert [row["count"] for row in ground[0].office.rows("webhook_refusal")] == [51]  # none is forgotten


def test_two_at_once_are_one(ground: Ground) -> None:
    body = message("304")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(ground, "standard", body), range(8)))
    assert {one.status_code for one in answers} == {202}
    assert sum(one.json()["new"] for one in answers) == 1
    assert len(kept(ground, "standard")) == 1


def test_the_same_id_with_another_body_keeps_the_first_and_says_so_in_the_log(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    assert send(ground, "standard", message("305")).json()["new"]
    with caplog.at_level(logging.WARNING, "worker.api.hooks"):
        assert send(ground, "standard", message("306")).json()["new"] is False
    assert [record.message for record in caplog.records] == ["webhook.id_reused"]
    ground[0].feeder.take_deliveries()
    assert [one["person"]["external_id"] for one in texts(ground, "standard")] == ["305"]
    assert send(ground, "standard", message("306"), sent_id="evt-2").json()["new"]


def test_a_body_of_more_than_a_mebibyte_is_too_large(ground: Ground) -> None:
    body = message("307", note="x" * (1024 * 1024))
    assert send(ground, "hibob", body).status_code == 413
    assert kept(ground, "hibob") == []


@pytest.mark.parametrize("body", [b'"Ping test"', b"Ping test", b'{"text": "Ping test"}'])
def test_a_ping_is_taken_and_says_nothing(ground: Ground, body: bytes) -> None:
    assert send(ground, "hibob", body).status_code == 202
    ground[0].feeder.take_deliveries()
    [row] = kept(ground, "hibob")
    assert (row["state"], row["messages"]) == ("taken", 0)
    assert send(ground, "hibob", b"Ping tests", hibob(b"Ping test", HOOK_SECRET)).status_code == 401


def test_one_delivery_holds_several_people(ground: Ground) -> None:
    hr = ground[0]
    fields = [{"external_id": str(number), "first": "Lou", "last": f"Marsh{number}", "status": "active"} for number in (311, 312)]
    body = json.dumps({"employees": [{"id": one["external_id"], "action": "Updated", "fields": one} for one in fields]}).encode()
    assert send(ground, "lists", body).status_code == 202
    hr.feeder.pass_once()
    assert texts(ground, "lists") == [{"type": "person.changed", "person": one} for one in fields]
    hr.rest()
    assert {row["username"] for row in hr.office.rows("users") if row["username"].startswith("lou.")} == {"lou.marsh311", "lou.marsh312"}


def test_words_for_what_happened_are_translated(ground: Ground) -> None:
    def told(kind: str) -> bytes:
        said = {"type": kind, "creationDate": 1772442000, "employee": {"external_id": "321", "first": "Jo", "last": "Ash"}}
        return json.dumps(said).encode()

    for kind in ("employee.joined", "employee.updated", "employee.left", "employee.deleted"):
        assert send(ground, "bob", told(kind)).status_code == 202
    ground[0].feeder.take_deliveries()
    assert [(one["type"], one["occurred_at"]) for one in texts(ground, "bob")] == [
        (kind, "2026-03-02T09:00:00+00:00") for kind in ("onboard", "person.changed", "offboard")
    ]
    assert [row["messages"] for row in kept(ground, "bob")] == [1, 1, 1, 0]


def test_the_same_said_on_two_days_is_said_twice(ground: Ground) -> None:
    """Two deliveries of one content: without ids of their own the messages are known by their delivery."""
    said = b'{"type": "transfer", "person": {"external_id": "331", "path": "staff"}}'
    assert send(ground, "standard", said, sent_id="monday").json()["new"]
    assert send(ground, "standard", said, sent_id="friday").json()["new"]
    ground[0].feeder.take_deliveries()
    assert len(texts(ground, "standard")) == 2


@pytest.mark.parametrize(
    ("feed", "body", "told"),
    [
        ("hibob", b"not json", "it is not JSON, at character 1"),
        ("hibob", b'"a word"', "number 1 is no JSON object"),
        ("hibob", b"\xff\xfe", "it is not UTF-8 text"),
        ("hibob", b"[" * 100_000, "it is nested too deeply"),
        ("hibob", b'[{"a": "\\u0000"}]', "number 1 cannot be stored: it holds a NUL character"),
        ("lists", b'{"employees": 5}', "there is no list at employees, where `items` says that one is"),
        ("lists", b'{"employees": [{"id": 1}]}', "number 1 has no object at fields, where `person` says that one is"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_and_kept_for_a_while(ground: Ground, feed: str, body: bytes, told: str) -> None:
    hr, doors = ground
    assert send(ground, feed, body).status_code == 202  # it is from whom it says, and the sender could do nothing about it
    hr.feeder.take_deliveries()
    [row] = kept(ground, feed)
    assert (row["state"], row["problem"], row["body"]) == ("refused", told, body)
    [shown] = [one for one in doors.caller("feeds:read").get("/v1/feeds").json()["items"] if one["name"] == feed]
    assert (shown["webhook"]["refused"], shown["webhook"]["last_refused"]["problem"]) == (1, told)
    assert texts(ground, feed) == []


def test_after_the_declaration_was_corrected_what_was_refused_is_taken(ground: Ground, tmp_path: Path) -> None:
    hr = ground[0]
    body = json.dumps({"staff": [{"external_id": "341", "first": "Ida", "last": "Moss"}]}).encode()
    assert send(ground, "lists", body).status_code == 202
    hr.feeder.take_deliveries()
    assert kept(ground, "lists")[0]["state"] == "refused"
    corrected = HR(hr.office, tmp_path, declared("lists", {**BAMBOO_LISTS, "items": "staff", "person": "."}))
    try:
        corrected.feeder.take_deliveries()
        assert texts(ground, "lists")[0]["person"]["last"] == "Moss"
        assert kept(ground, "lists")[0]["problem"] is None
    finally:
        HR(hr.office, hr.folder, DECLARED)


def test_refused_and_sent_again_is_looked_at_again(ground: Ground) -> None:
    send(ground, "standard", b"5")
    ground[0].feeder.take_deliveries()
    assert send(ground, "standard", message("342")).json()["new"]
    ground[0].feeder.take_deliveries()
    assert [row["state"] for row in kept(ground, "standard")] == ["taken"]


def test_bodies_go_and_keys_stay(ground: Ground) -> None:
    hr = ground[0]
    send(ground, "hibob", b"unreadable")
    hr.feeder.take_deliveries()
    send(ground, "merge", message("343"))  # no worker takes it
    hr.office.later(days=7, seconds=1)
    hr.feeder.tidy()
    assert [(row["state"], row["body"]) for row in (*kept(ground, "hibob"), *kept(ground, "merge"))] == [("refused", None)] * 2
    hr.office.later(days=392)
    hr.feeder.tidy()
    assert len(kept(ground, "hibob")) == 1
    hr.office.later(days=2)
    hr.feeder.tidy()
    assert kept(ground, "hibob") == []


def test_a_deletion_leaves_nothing_of_the_person_in_deliveries(ground: Ground) -> None:
    hr = ground[0]
    send(ground, "standard", message("351"))
    hr.feeder.pass_once()
    hr.rest()
    send(ground, "standard", b'{"broken": "Kim N351"', sent_id="evt-2")
    hr.feeder.take_deliveries()
    assert hr.office.do("delete_user", {"user": "kim.n351"}).state == "succeeded"
    assert [row["body"] for row in kept(ground, "standard")] == [None, None]
    assert not any("N351" in str(row) for table in ("feed_message", "webhook_delivery") for row in hr.office.rows(table))


def test_while_the_feeds_are_declared_wrongly_senders_are_told_to_come_back(ground: Ground) -> None:
    hr = ground[0]
    before = hr.office.app.settings
    hr.office.app.settings = before.model_copy(update={"feeds": {"hibob": {"mode": "hunter2"}}})
    try:
        answer = send(ground, "hibob", message("361"))
    finally:
        hr.office.app.settings = before
    assert (answer.status_code, answer.json()["code"]) == (503, "feeds_declared_wrongly")
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("taken", [True, False])
def test_workers_take_it_at_once_or_within_their_round(sqlite_url: str, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    """A whole process: rung, the feeder wakes; with the bell lost it comes by itself."""
    import tomllib

    planned = Event()
    take = deliveries.take

    def watched(scope: Scope, feeds: Mapping[str, Feed]) -> int:
        number = take(scope, feeds)
        planned.set()
        return number

    monkeypatch.setattr("worker.feeds.feeder.ROUND_SECONDS", 600.0 if taken else 0.2)
    monkeypatch.setattr(deliveries, "take", watched)
    office = Office(sqlite_url)
    office.keeper.resign()  # the process below enlists itself
    office.app.settings = office.settings.model_copy(update={"feeds": tomllib.loads(declared("hibob", PROFILES["hibob"]))["feeds"]})
    try:
        with Staff(office.app, threads=1, mail_threads=1), doors_of(office) as doors:
            if not taken:
                monkeypatch.setattr(office.app, "ring", lambda *_: None)
            body = message("371")
            answer = doors.caller().post("/v1/feeds/hibob/events", content=body, headers=headers_of("hibob", body, office.now))
            assert answer.status_code == 202
            assert planned.wait(30)
    finally:
        office.close()


def test_a_secret_stands_nowhere_in_the_database(ground: Ground) -> None:
    for profile in PROFILES:
        send(ground, profile, message("381"))
    found = "".join(str(row) for table in ("webhook_delivery", "webhook_refusal") for row in ground[0].office.rows(table))
    assert not any(secret in found for secret in ENVIRONMENT.values())
