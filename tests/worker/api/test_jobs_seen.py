"""Jobs seen over HTTP on a real server: waiting for their end, listing, the story of one, and steering."""

import threading
from typing import Any

import httpx
import pytest
from doors import Doors
from handing_in import GROUP, send

WAIT = 30


# -------------------------------------------------------------------------------------------------------- waiting


def test_a_wait_ends_when_the_job_does(doors: Doors) -> None:
    client = doors.caller("jobs:submit:*", "users:read")
    job_id = send(client, GROUP).json()["id"]
    found: list[httpx.Response] = []
    waiting = [threading.Thread(target=lambda: found.append(client.get(f"/v1/jobs/{job_id}", params={"wait": WAIT}))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    doors.office.drain()
    for thread in waiting:
        thread.join(WAIT)
    assert [answer.json()["state"] for answer in found] == ["succeeded"] * 3
    assert found[0].json()["events"][0]["action"] == "group.created"


def test_a_job_can_be_waited_for_as_it_is_handed_in(lite: Doors) -> None:
    client = lite.caller("jobs:submit:*")
    found: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: found.append(send(client, GROUP, wait=WAIT)))
    waiting.start()
    while not found:
        lite.office.drain()
    waiting.join(WAIT)
    assert (found[0].status_code, found[0].json()["state"], found[0].json()["duplicate"]) == (200, "succeeded", False)
    later = send(client, {**GROUP, "run_at": "2026-04-01T00:00:00Z"}, key="later", wait=1)
    assert (later.status_code, later.json()["state"]) == (202, "scheduled")
    assert client.get(f"/v1/jobs/{later.json()['id']}", params={"wait": 61}).status_code == 422


# -------------------------------------------------------------------------------------------------------- looking


def test_lists_filter_and_go_page_by_page(doors: Doors) -> None:
    office = doors.office
    client = doors.caller("look")
    for n in range(5):
        office.submit("create_group", {"group": f"g{n}"}, source="feed/hr", key=f"k{n}")
    office.later(hours=1)
    office.submit("offboard_user", {"user": "ann"}, source="cli/bob")

    def about(**query: Any) -> list[str]:
        return [row["about"] for row in client.get("/v1/jobs", params=query).json()["items"]]

    assert about(kind="create_group", source="feed/*") == ["g4", "g3", "g2", "g1", "g0"]
    assert about(kind=["create_group", "offboard_user"], state=["queued"]) == ["ann", "g4", "g3", "g2", "g1", "g0"]
    assert about(subject="ann", state="queued") == ["ann"]
    assert about(subject="group:g1") == ["g1"]
    assert about(subject="nobody") == []
    assert about(source="feed/hr", key="k2") == ["g2"]
    assert about(since=office.now.isoformat()) == ["ann"]
    assert "ann" not in about(until=office.now.isoformat(), state="queued")
    seen: list[str] = []
    address = "/v1/jobs?source=feed%2Fhr&limit=2"
    while address:
        answer = client.get(address)
        seen += [row["about"] for row in answer.json()["items"]]
        address = answer.links.get("next", {}).get("url", "")
        assert bool(address) == (answer.json()["next"] is not None)
    assert seen == ["g4", "g3", "g2", "g1", "g0"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "query.limit"), ("limit=1001", "query.limit"), (f"limit={'9' * 400}", "query.limit"), ("state=gone", "query.state.0"),
        ("since=yesterday", "query.since"), ("since=0001-01-01T00:00:00%2B14:00", "query.since"), ("since=99999-01-01", "query.since"),
        ("cursor=x", "query.cursor"), ("cursor=%C3%BC", "query.cursor"), ("cursor=YWJj", "query.cursor"), ("kind=%F0%9F%92%A9", "query.kind.0"),
        ("subject=", "query.subject"), (f"key={'x' * 301}", "query.key"),
    ],
)  # fmt: skip
def test_wrong_filters_are_named(lite: Doors, query: str, field: str) -> None:
    answer = lite.caller("look").get(f"/v1/jobs?{query}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("job_id", ["x", "%F0%9F%92%A9", "%ED%A0%80", "0190", "01900000-0000-7000-8000-00000000000g", "%2E%2E%20", "%27%20OR%201=1"])
def test_ids_of_any_shape_lead_nowhere(doors: Doors, job_id: str) -> None:
    client = doors.caller("admin")
    assert client.get(f"/v1/jobs/{job_id}").status_code == 404
    assert client.post(f"/v1/jobs/{job_id}/retry").status_code == 404
    assert client.get("/v1/jobs", params={"subject": "\ud800".encode("utf-8", "surrogatepass"), "source": "'%_\\"}).json()["items"] == []


def test_the_trail_of_a_job_is_for_readers_of_people(lite: Doors) -> None:
    client = lite.caller("jobs:submit:*")
    job_id = send(client, GROUP).json()["id"]
    lite.office.drain()
    assert client.get(f"/v1/jobs/{job_id}").json()["events"] is None
    assert lite.caller("look").get(f"/v1/jobs/{job_id}").json()["events"][0]["action"] == "group.created"


def test_sealed_fields_are_never_shown(lite: Doors) -> None:
    client = lite.caller("admin")
    hash_ = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b7dWRWJTmaaJObG"
    answer = send(client, {"kind": "reset_password", "payload": {"user": "ann", "password_hash": hash_}})
    assert answer.status_code == 202
    for address in (answer.headers["location"], "/v1/jobs"):
        assert "argon2" not in client.get(address).text


def test_kinds_and_what_they_take(lite: Doors) -> None:
    client = lite.caller("scim")
    kinds = {one["kind"]: one for one in client.get("/v1/jobs/kinds").json()["items"]}
    assert kinds["add_to_group"]["summary"] == "Add a user to a group."
    one = client.get("/v1/jobs/kinds/add_to_group").json()
    assert one["payload"]["required"] == ["user", "group"]
    assert one["examples"]
    assert client.get("/v1/jobs/kinds/fly").status_code == 404
    assert lite.caller().get("/v1/jobs/kinds").status_code == 401


def test_refusals_are_for_readers(lite: Doors) -> None:
    from worker.intake import Request, record_refusal, refused

    with lite.office.scope() as scope:
        for n in range(3):
            answer = refused(Request("create_group", {}, "queue/hr", f"k{n}"), "unreadable", problem="it is torn")
            record_refusal(scope, answer, {"password": "secret", "n": n})
    client = lite.caller("jobs:read")
    first = client.get("/v1/refusals", params={"limit": 2})
    assert [row["key"] for row in first.json()["items"]] == ["k2", "k1"]
    assert "secret" not in first.text
    assert [row["key"] for row in client.get(first.links["next"]["url"]).json()["items"]] == ["k0"]
    assert lite.caller("jobs:submit:*").get("/v1/refusals").status_code == 403


# ------------------------------------------------------------------------------------------------------- steering


def test_retry_release_and_cancel(doors: Doors) -> None:
    office = doors.office
    desk, sender = doors.caller("jobs:operate", name="desk"), doors.caller("jobs:submit:*", name="hr")
    job_id = send(sender, {"kind": "add_to_group", "payload": {"user": "ann", "group": "new"}}).json()["id"]
    office.drain()
    assert sender.post(f"/v1/jobs/{job_id}/retry").status_code == 403
    office.do("create_group", {"group": "new"})
    again = desk.post(f"/v1/jobs/{job_id}/retry")
    assert (again.status_code, again.json()["state"]) == (200, "queued")
    office.drain()
    late = desk.post(f"/v1/jobs/{job_id}/retry")
    assert (late.status_code, late.json()["state"]) == (409, "succeeded")
    assert late.json()["detail"].startswith("The job is succeeded, so there is nothing to retry.")
    held = send(sender, {**GROUP, "hold": "wait"}, key="held").json()["id"]
    assert sender.post(f"/v1/jobs/{held}/release").status_code == 403
    assert desk.post(f"/v1/jobs/{held}/release").json()["state"] == "queued"
    assert desk.post(f"/v1/jobs/{held}/release").status_code == 409
    assert sender.post(f"/v1/jobs/{held}/cancel").json()["reason_text"] == "Cancelled by token/hr."
    assert sender.post(f"/v1/jobs/{held}/cancel").status_code == 409
    assert desk.post(f"/v1/jobs/{held}/fly").status_code == 422
