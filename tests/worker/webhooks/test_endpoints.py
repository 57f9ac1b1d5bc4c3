"""Endpoints: made, changed, rotated and removed; whom they are shown to, what is refused, and what the trail says."""

import base64
import logging
from typing import Any

import pytest
from office import Office
from receiver import Receiver, add, endpoint
from sqlalchemy import select

from worker.logs import Lines
from worker.tables import metadata
from worker.webhooks import endpoints
from worker.webhooks.endpoints import BadEndpoint, NoSuchEndpoint


def tell(office: Office, name: str) -> None:
    office.do("create_user", {"username": name})


def test_a_rotated_secret_and_the_one_before_are_both_good_for_a_day(office: Office, receiver: Receiver) -> None:
    first = add(office, receiver, "user.created")
    tell(office, "u1")
    with office.scope() as scope:
        second = endpoints.rotate(scope, "hook", by="tester")
    assert first != second
    tell(office, "u2")
    office.later(hours=23)
    tell(office, "u3")
    office.later(hours=2)
    tell(office, "u4")
    signed = [(got.signed_with(first), got.signed_with(second)) for got in receiver.got]
    assert signed == [(True, False), (True, True), (True, True), (False, True)]
    with office.scope() as scope:
        endpoints.rotate(scope, "hook", by="tester")
        third = endpoints.rotate(scope, "hook", by="tester")
    tell(office, "u5")
    assert (receiver.got[-1].signed_with(third), receiver.got[-1].signed_with(second)) == (True, False)


def test_secrets_are_long_and_each_endpoints_own(office: Office, receiver: Receiver) -> None:
    one, two = add(office, receiver, name="one"), add(office, receiver, name="two")
    assert one.startswith("whsec_")
    assert one != two
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32


def test_a_secret_rests_nowhere(office: Office, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known = [add(office, receiver)]
    receiver.answers(500, 200)
    tell(office, "u1")
    office.later(hours=1)
    office.drain()
    with office.scope() as scope:
        known.append(endpoints.rotate(scope, "hook", by="tester"))
    lines = Lines()
    said = "\n".join(f"{lines.format(record)} {vars(record)!r}" for record in caplog.records)
    with office.app.database.read() as conn:
        said += "".join(repr(row) for table in metadata.sorted_tables for row in conn.execute(select(table)))
    assert not [one for one in known if one in said or one.removeprefix("whsec_") in said]


def test_an_endpoint_can_be_moved_and_its_events_changed(office: Office, receiver: Receiver) -> None:
    secret = add(office, receiver, "user.created")
    with Receiver() as other:
        with office.scope() as scope:
            endpoints.change(scope, "hook", by="tester", url=other.url, patterns=["group.*"])
        tell(office, "u1")
        office.do("create_group", {"group": "engineering"})
        assert (receiver.got, other.actions()) == ([], ["group.created"])
        assert other.got[0].signed_with(secret)
        assert other.got[0].told["data"]["target_name"] == "engineering"
    [changed] = office.rows("event", action="webhook.changed")
    assert changed["data"] == {"changed": ["patterns", "url"]}


def test_one_that_was_moved_has_failed_nowhere_yet(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.created")
    receiver.answers(500)
    tell(office, "u1")
    office.later(hours=23)
    with Receiver() as other:
        other.answers(500)
        with office.scope() as scope:
            endpoints.change(scope, "hook", by="tester", url=other.url)
        office.later(hours=2)
        tell(office, "u2")
        assert len(other.got) == 1
    assert (endpoint(office)["state"], endpoint(office)["failing_since"]) == ("active", office.now)


def test_what_is_told_of_an_endpoint(office: Office, receiver: Receiver) -> None:
    add(office, receiver, "user.*", "access.cut")
    found = endpoint(office)
    assert (found["events"], found["state"], found["waiting"]) == (["access.cut", "user.*"], "active", 0)
    assert (found["created_by"], found["private"], found["url"]) == ("tester", True, receiver.url)
    assert "whsec" not in repr(found)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": "Hook"}, "name has"),
    ({"name": ""}, "name has"),
    ({"url": "http://example.org/"}, "https"),
    ({"url": "https://u:p@example.org/"}, "user or password"),
    ({"patterns": []}, "Name the events"),
    ({"patterns": ["user.eaten"]}, "No event fits"),
    ({"patterns": ["webhook.*"]}, "No event fits"),
    ({"patterns": ["user.*; drop table"]}, "No event fits"),
    ({"patterns": [f"{'*' * n}user.*" for n in range(21)]}, "More than 20"),
]


@pytest.mark.parametrize(("given", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_refused(office: Office, given: dict[str, Any], said: str) -> None:
    fields: dict[str, Any] = {"name": "hook", "url": "https://example.org/", "patterns": ["*"], **given}
    with pytest.raises(BadEndpoint, match=said), office.scope() as scope:
        endpoints.create(scope, by="tester", **fields)
    assert office.rows("webhook_endpoint") == []


def test_a_name_is_given_once_and_unknown_ones_are_said(office: Office, receiver: Receiver) -> None:
    add(office, receiver)
    with pytest.raises(BadEndpoint, match="already"):
        add(office, receiver)
    for verb in (endpoints.rotate, endpoints.resume, endpoints.remove):
        with pytest.raises(NoSuchEndpoint, match="'nobody'"), office.scope() as scope:
            verb(scope, "nobody", by="tester")


def test_every_action_on_an_endpoint_stands_in_the_audit_trail(office: Office, receiver: Receiver) -> None:
    add(office, receiver)
    with office.scope() as scope:
        endpoints.rotate(scope, "hook", by="ann")
        endpoints.pause(scope, "hook", by="ann", why="moving house")
        endpoints.resume(scope, "hook", by="ann")
        endpoints.remove(scope, "hook", by="ann")
    told = [row for row in office.rows("event") if row["action"].startswith("webhook.")]
    assert [row["action"].partition(".")[2] for row in sorted(told, key=lambda row: str(row["id"]))] == [
        "added", "rotated", "paused", "resumed", "removed",
    ]  # fmt: skip
    assert {row["target_name"] for row in told} == {"hook"}
    assert office.jobs("deliver_webhook") == []


def test_a_test_call_says_what_came_of_it_and_makes_no_job(office: Office, receiver: Receiver) -> None:
    secret = add(office, receiver)
    courier = office.app.courier()
    assert courier.test("hook").said == "204 No Content"
    assert receiver.got[0].told["type"] == "webhook.test"
    assert receiver.got[0].signed_with(secret)
    receiver.answers(401)
    assert not courier.test("hook").taken
    assert office.jobs("deliver_webhook") == []
    assert endpoint(office)["failing_since"] is None
