"""Every form that people come in: lines and lists of JSON, SCIM, and messages in whatever order and number they arrive."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hr import HR, open_brakes, rules

from worker.feeds.runs import Run

DATED = 'effective_on = "from"\nmodified = "$occurred_at"'
JSON = """
[feeds.hr]
form = "{form}"
mode = "full"
[feeds.hr.columns]
external_id = "id"
first = "name.first"
last = "name.last"
status = "status"
manager = "manager.id"
"attributes.department" = "org.department"
[feeds.hr.status]
Active = "active"
Gone = "terminated"
"""
SCIM = """
[feeds.hr]
form = "scim"
mode = "delta"
[feeds.hr.columns]
external_id = "externalId"
first = "name.givenName"
last = "name.familyName"
status = "$status"
manager = "$manager"
email = "$email"
"attributes.department" = "enterprise.department"
[feeds.hr.status]
active = "active"
inactive = "terminated"
"""
EVENTS = """
[feeds.events]
form = "messages"
mode = "event"
email = "{{username}}@example.com"
[feeds.events.columns]
external_id = "id"
first = "first"
last = "last"
status = "status"
manager = "boss"
last_day = "last_day"
"attributes.department" = "department"
"attributes.type" = "type"
{more}
[feeds.events.status]
Active = "active"
Gone = "terminated"
"""


def declared(text: str, name: str, **facts: str) -> str:
    return text.format(**facts) + rules(name) + open_brakes(name)


def worker(number: str, first: str, last: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "name": {"first": first, "last": last}, "status": "Active", "org": {"department": "Sales"}, **more}


def refusals(hr: HR, run: Run) -> list[tuple[int, str]]:
    return [(line["place"], line["code"]) for line in hr.lines(run, "refused")]


# -------------------------------------------------------------------------------------------------------- JSON

WORKERS = [worker("001", "Ann", "Archer", manager={"id": "002"}), worker("002", "Bob", "Brewer", org={"department": "IT"})]


def as_lines(workers: list[Any]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in workers)


@pytest.mark.parametrize(("form", "write"), [("ndjson", as_lines), ("json", json.dumps)])
def test_json_becomes_people_and_the_same_again_nothing(
    declare_sqlite: Callable[[str], HR], form: str, write: Callable[[list[Any]], str]
) -> None:
    hr = declare_sqlite(declared(JSON, "hr", form=form))
    hr.apply(write(WORKERS))
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    ann, bob = hr.office.user("ann.archer"), hr.office.user("bob.brewer")
    assert ann
    assert bob
    assert ann.manager == bob.id
    assert hr.plan(write(WORKERS)).counts == {"unchanged": 2}
    run = hr.apply(write([{**WORKERS[0], "status": "Gone"}, WORKERS[1]]))
    assert [line["action"] for line in hr.lines(run)] == ["leaver"]


@pytest.mark.parametrize(("form", "write"), [("ndjson", as_lines), ("json", json.dumps)])
def test_a_bad_record_of_json_is_refused_alone(
    declare_sqlite: Callable[[str], HR], form: str, write: Callable[[list[Any]], str]
) -> None:
    hr = declare_sqlite(declared(JSON, "hr", form=form))
    hr.apply(write(WORKERS))
    bad = [worker("003", "Cat", "Cooper", status="Aktiv"), ["no object"], worker(17.5, "Dan", "Drew"), worker(None, "Eve", "Eden")]  # type: ignore[arg-type]
    run = hr.apply(write([*WORKERS, *bad, worker("009", "Ivy", "Ingram")]))
    assert refusals(hr, run) == [(4, "not_an_object"), (5, "bad_id"), (6, "missing_id"), (3, "unknown_status")]
    assert "Column “status”: “Aktiv”" in hr.lines(run, "refused")[-1]["text"]
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active", "ivy.ingram": "active"}


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_json_cut_off_is_refused_whole(declare_sqlite: Callable[[str], HR], form: str) -> None:
    hr = declare_sqlite(declared(JSON, "hr", form=form))
    text = (as_lines if form == "ndjson" else json.dumps)(WORKERS * 1)
    hr.apply(text)
    run = hr.plan(text[: len(text) * 6 // 10])
    assert run.state == "refused"
    assert run.problem is not None
    assert "not complete" in run.problem
    assert hr.plan("[]" if form == "json" else "\n").state == "refused"


# -------------------------------------------------------------------------------------------------------- SCIM

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def operation(number: str, given: str, family: str, *, bulk_id: str, **more: Any) -> dict[str, Any]:
    data = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE], "externalId": number,
        "name": {"givenName": given, "familyName": family}, "active": True,
        "emails": [{"value": f"{given}@example.com".lower(), "type": "work"}],
        ENTERPRISE: {"department": "Sales", "manager": {"value": "002"}}, **more,
    }  # fmt: skip
    return {"method": "POST", "bulkId": bulk_id, "path": "/Users", "data": data}


def bulk(*operations: Mapping[str, Any]) -> str:
    schema = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
    return json.dumps({"schemas": [schema], "Operations": operations, "failOnErrors": None})


def test_a_scim_bulk_request_is_state_and_the_rest_is_found_out(declare: Callable[[str], HR]) -> None:
    hr = declare(declared(SCIM, "hr"))
    hr.apply(bulk(operation("001", "Ann", "Archer", bulk_id="a"), operation("002", "Bob", "Brewer", bulk_id="b", **{ENTERPRISE: {}})))
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}
    assert hr.groups("ann.archer") == {"staff", "sales"}
    again = hr.plan(bulk(operation("001", "Ann", "Archer", bulk_id="another-id-each-time")))
    assert again.counts == {"unchanged": 1}, "absence from a delta means nothing"
    run = hr.apply(bulk(operation("001", "Ann", "Archer", bulk_id="c", active=False)))
    assert [line["action"] for line in hr.lines(run)] == ["leaver"]
    assert hr.states() == {"ann.archer": "closed", "bob.brewer": "active"}


def test_flawed_scim_is_understood_where_it_can_be_and_refused_with_its_flaw_where_not(
    declare_sqlite: Callable[[str], HR],
) -> None:
    hr = declare_sqlite(declared(SCIM, "hr"))
    odd = {"path": "/users", "method": "post", "bulkId": "same", "data": {
        "username": "aa", "externalId": "001", "id": "x", "name": {"givenname": "Ann", "familyName": "Archer"},
        "active": "True", "resourceType": "User", ENTERPRISE: {"manager": "002", "department": "Sales"},
    }}  # fmt: skip
    run = hr.apply(bulk(
        odd, operation("002", "Bob", "Brewer", bulk_id="same"), {**operation("003", "Cat", "Cooper", bulk_id="c"), "method": "PUT"},
        {**operation("004", "Dan", "Drew", bulk_id="d"), "path": "/Groups"}, operation("005", "Eve", "Eden", bulk_id="e", active="perhaps"),
        {"method": "POST", "path": "/Users", "bulkId": "f"},
    ))  # fmt: skip
    assert sorted(refusals(hr, run)) == [(3, "bad_operation"), (4, "bad_operation"), (5, "unknown_status"), (6, "bad_operation")]
    assert hr.states() == {"ann.archer": "active", "bob.brewer": "active"}
    told = " ".join(run.reading["notes"])
    for oddity in ("the path is “/users”", "bulkId “same” stands on several", "“resourceType” is no attribute", "“active” is “True”"):
        assert oddity in told
    ann, bob = hr.office.user("ann.archer"), hr.office.user("bob.brewer")
    assert ann
    assert bob
    assert ann.manager == bob.id


def test_a_password_in_an_operation_that_is_refused_is_kept_nowhere(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(declared(SCIM, "hr"))
    said = operation("001", "Ann", "Archer", bulk_id="a", password="hunter2-secret")
    twice = json.dumps(said).replace('"bulkId": "a"', '"bulkId": "b", "bulkId": "c"')
    text = bulk({**said, "method": "PATCH"}, operation("002", "Bob", "Brewer", bulk_id="d"))
    run = hr.apply(text.replace('"Operations": [', f'"Operations": [{twice}, '))
    assert refusals(hr, run) == [(1, "bad_json"), (2, "bad_operation")]
    assert "hunter2" not in str(hr.office.rows("feed_action"))
    assert hr.states() == {"bob.brewer": "active"}


def test_active_that_is_missing_or_null_opens_nobody_and_closes_nobody(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(declared(SCIM, "hr"))
    hr.apply(bulk(operation("001", "Ann", "Archer", bulk_id="a"), operation("002", "Bob", "Brewer", bulk_id="b", active=False)))
    for person in (operation("001", "Ann", "Abbott", bulk_id="x"), operation("002", "Bob", "Barber", bulk_id="x")):
        for active in (None, "missing"):
            changed = {**person, "data": {**person["data"], "active": active}}
            if active == "missing":
                del changed["data"]["active"]
            run = hr.plan(bulk(changed))
            hr.carry(run)
    assert {row["phase"] for row in hr.office.rows("feed_person", external_id="002")} <= {"left", "none"}
    assert hr.states() == {"ann.archer": "active"}


# ---------------------------------------------------------------------------------------------------- messages


@pytest.fixture
def events(declare: Callable[[str], HR]) -> HR:
    return declare(declared(EVENTS, "events", more=""))


def message(kind: str, at: str | None = None, key: str | None = None, **person: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind, "person": {"id": "001", **person}}
    return found | ({"occurred_at": at} if at else {}) | ({"id": key} if key else {})


NAMED = {"first": "Ann", "last": "Archer"}
MONDAY, TUESDAY, WEDNESDAY = "2026-02-23T08:00:00Z", "2026-02-24T08:00:00Z", "2026-02-25T08:00:00Z"


def test_onboard_transfer_and_offboard_by_the_door_of_the_jobs(events: HR) -> None:
    events.office.app.database.settings = events.settings  # of the workers, too

    def receive(said: Mapping[str, Any]) -> None:
        events.office.later(seconds=1)
        ended = events.office.do("receive_hr_message", {"source": "events", "message": said}, source="redis")
        assert ended.state == "succeeded", ended
        events.feeder.take_messages()
        events.rest()

    receive(message("onboard", **NAMED, department="Sales"))
    assert (events.states(), events.groups("ann.archer")) == ({"ann.archer": "active"}, {"staff", "sales"})
    receive(message("transfer", department="Engineering"))
    assert events.groups("ann.archer") == {"staff"}
    receive(message("person.changed", last="Abbott"))
    ann = events.office.user("ann.archer")
    assert ann
    assert (ann.name, ann.attributes["department"]) == ("Ann Abbott", "Engineering")
    receive(message("offboard"))
    assert events.states() == {"ann.archer": "closed"}


def test_a_hundred_redeliveries_are_one(events: HR) -> None:
    said = message("onboard", MONDAY, "evt-1", **NAMED)
    events.tell(*[said] * 50)
    jobs = len(events.office.jobs())
    for number in range(5):
        events.tell(*[said | {"timestamp": f"2026-03-02T09:00:{number:02}Z", "attempt": number}] * 10)
    assert len(events.office.jobs()) == jobs
    assert len(events.office.rows("feed_message")) == 1
    assert events.states() == {"ann.archer": "active"}


def test_without_an_id_the_same_content_is_the_same_message(events: HR) -> None:
    events.tell(*[message("onboard", MONDAY, **NAMED)] * 20)
    assert len(events.office.rows("feed_message")) == 1
    assert [row["state"] for row in events.office.rows("feed_message")] == ["taken"]


HISTORY = [
    message("onboard", MONDAY, **NAMED, department="Sales"),
    message("transfer", TUESDAY, department="Engineering"),
    message("person.changed", TUESDAY, last="Abbott"),
    message("offboard", WEDNESDAY),
]


def picture(hr: HR) -> dict[str, Any]:
    """The accepted state of the one person, and their account."""
    [person] = hr.office.rows("feed_person")
    users = [(row["username"], row["name"], row["is_active"], row["attributes"]) for row in hr.office.rows("users")]
    return {"fields": person["fields"], "stamps": person["stamps"], "phase": person["phase"], "users": users}


def test_in_whatever_order_messages_come_the_same_is_known_in_the_end(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(declared(EVENTS, "events", more=""))
    hr.tell(*HISTORY)
    known = picture(hr)
    assert known["phase"] == "left"
    dice = Random(7)
    for number in range(2, 8):
        shuffled = [{**one, "person": {**one["person"], "id": f"{number:03}"}} for one in HISTORY * 2]
        dice.shuffle(shuffled)
        cut = dice.randrange(len(shuffled))
        hr.tell(*shuffled[:cut])
        hr.tell(*shuffled[cut:])
    for person in hr.office.rows("feed_person"):
        assert {name: person[name] for name in ("fields", "stamps", "phase")} == {
            name: known[name] for name in ("fields", "stamps", "phase")
        }
    assert "active" not in hr.states().values(), "nobody who left is left behind with an account"


def test_a_change_that_overtakes_the_onboarding_makes_no_account_before_it(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(declared(EVENTS, "events", more=""))
    hr.tell(message("transfer", TUESDAY, department="Engineering"))
    assert hr.states() == {}, "nobody said yet that this person works here, nor how they are called"
    hr.tell(message("onboard", MONDAY, **NAMED, department="Sales"))
    assert hr.states() == {"ann.archer": "active"}
    assert hr.groups("ann.archer") == {"staff"}


def test_an_event_after_its_successor_is_told_as_older_and_changes_nothing(events: HR) -> None:
    events.tell(message("onboard", MONDAY, **NAMED, department="Sales"))
    events.tell(message("transfer", WEDNESDAY, department="Engineering"))
    before = picture(events)
    events.tell(message("transfer", TUESDAY, department="Marketing"))
    assert picture(events) == before
    last = max(events.office.rows("feed_run"), key=lambda row: str(row["id"]))
    assert [row["code"] for row in events.office.rows("feed_action", run=last["id"])] == ["older"]


def test_a_sequence_counts_more_than_the_time(declare: Callable[[str], HR]) -> None:
    hr = declare(declared(EVENTS, "events", more='sequence = "seq"'))
    hr.tell(message("onboard", WEDNESDAY, **NAMED, department="Sales", seq=1))
    hr.tell(message("transfer", MONDAY, department="Engineering", seq=3))
    hr.tell(message("transfer", WEDNESDAY, department="Sales", seq=2))
    assert hr.groups("ann.archer") == {"staff"}


def test_terminated_and_rehired_on_one_day_in_either_order(events: HR) -> None:
    events.tell(message("onboard", MONDAY, **NAMED))
    events.tell(message("onboard", "2026-02-24T15:00:00Z", **NAMED))
    events.tell(message("offboard", "2026-02-24T08:00:00Z"))
    assert events.states() == {"ann.archer": "active"}


def test_a_conversion_of_the_future_leaks_nothing_before_its_day(declare: Callable[[str], HR]) -> None:
    events = declare(declared(EVENTS, "events", more=DATED))
    events.tell(message("onboard", MONDAY, **NAMED, department="Sales", type="contractor"))
    events.tell(message("transfer", TUESDAY, **{"from": "2026-03-10"}, type="employee", department="Engineering", last="Abbott"))
    events.turn(days=7, hours=14, minutes=59)  # 9 March, 23:59 UTC
    ann = events.office.user("ann.archer")
    assert ann
    assert (ann.name, ann.attributes, events.groups("ann.archer")) == (
        "Ann Archer", {"department": "Sales", "type": "contractor"}, {"staff", "sales"},
    )  # fmt: skip
    events.tell(message("person.changed", WEDNESDAY, last="Adams"))
    events.turn(minutes=2)
    ann = events.office.user("ann.archer")
    assert ann
    assert ann.attributes == {"department": "Engineering", "type": "employee"}
    assert events.groups("ann.archer") == {"staff"}
    assert ann.name == "Ann Abbott", "what holds from a later day beats what was said for an earlier one"


def test_a_last_day_of_the_future_closes_nothing_before_its_end(events: HR) -> None:
    events.tell(message("onboard", MONDAY, **NAMED))
    events.tell(message("offboard", TUESDAY, last_day="2026-03-05"))
    events.turn(days=3, hours=14, minutes=59)
    assert events.states() == {"ann.archer": "active"}
    events.turn(minutes=2)
    assert events.states() == {"ann.archer": "closed"}
    assert [row["run_at"] for row in events.office.jobs("offboard_user") if row["key"] is None] <= [datetime(2026, 3, 6, tzinfo=UTC)]


def test_bad_messages_are_refused_with_what_is_wrong_and_kept(events: HR) -> None:
    events.tell({"type": "promote", "person": {"id": "1"}}, message("onboard", "yesterday", **NAMED), {"type": "onboard"},
                message("onboard", MONDAY, id="", **NAMED), message("onboard", MONDAY, **NAMED, status="Aktiv"),
                message("onboard", MONDAY, id="002", first="Bob", last="Brewer"))  # fmt: skip
    assert events.states() == {"bob.brewer": "active"}
    refused = [row for row in events.office.rows("feed_action") if row["action"] == "refused"]
    assert sorted(str(row["code"]) for row in refused) == ["bad_message"] * 3 + ["missing_id", "unknown_status"]
    assert all(row["raw"] for row in refused)
