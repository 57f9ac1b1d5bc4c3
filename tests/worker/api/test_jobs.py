"""Jobs over HTTP on a real server: keys, fingerprints, whose they are, waiting, listing, steering, and hostile input."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from handing_in import GROUP, send
from office import Office
from sqlalchemy import text

from worker.api import models
from worker.api.gather import MOST

WAIT = 30


# ------------------------------------------------------------------------------------------------------- keys


def test_a_job_its_repetition_and_its_stored_result(doors: Doors) -> None:
    client = doors.caller("jobs:submit:*", name="hr")
    new = send(client, GROUP)
    assert new.status_code == 202
    body = new.json()
    assert (body["state"], body["duplicate"], body["key"]) == ("queued", False, "k")
    assert new.headers["location"] == f"/v1/jobs/{body['id']}"
    running = send(client, GROUP)
    assert (running.status_code, running.json()["id"], running.json()["duplicate"]) == (202, body["id"], True)
    doors.office.drain()
    ended = send(client, GROUP)
    assert (ended.status_code, ended.json()["id"], ended.json()["state"]) == (200, body["id"], "succeeded")
    assert ended.json()["result"] == doors.office.ended(body["id"]).result
    other = send(client, {"kind": "create_group", "payload": {"group": "other"}})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    [row] = doors.office.jobs("create_group")[-1:]
    assert (row["source"], row["requested_by"]) == ("token/hr", "token/hr")


def test_the_same_key_from_eight_threads_at_once_is_one_job(doors: Doors) -> None:
    clients = [doors.caller("jobs:submit:*", name="hr")]
    token = clients[0].headers["authorization"]
    clients += [httpx.Client(base_url=doors.url, headers={"authorization": token}, timeout=WAIT) for _ in range(7)]
    start = threading.Barrier(8)

    def ask(client: httpx.Client) -> list[dict[str, Any]]:
        start.wait()
        return [send(client, GROUP, key=f"k{n}").json() for n in range(5)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, clients))
    for client in clients[1:]:
        client.close()
    for n in range(5):
        assert len({answer[n]["id"] for answer in answers}) == 1
        assert sum(not answer[n]["duplicate"] for answer in answers) == 1


def test_another_tokens_same_key_is_another_job_and_nobody_reads_it(doors: Doors) -> None:
    one, two = doors.caller("jobs:submit:*"), doors.caller("jobs:submit:*")
    first, second = send(one, GROUP).json(), send(two, GROUP).json()
    assert first["id"] != second["id"]
    assert not second["duplicate"]
    assert two.get(f"/v1/jobs/{first['id']}").status_code == 404
    assert two.get(f"/v1/jobs/{first['id']}").json() == two.get("/v1/jobs/01900000-0000-7000-8000-000000000000").json()
    assert two.post(f"/v1/jobs/{first['id']}/cancel").status_code == 404
    assert [row["id"] for row in two.get("/v1/jobs").json()["items"]] == [second["id"]]
    assert two.get("/v1/jobs", params={"source": "token/t1"}).status_code == 403
    reader = doors.caller("jobs:read")
    assert reader.get(f"/v1/jobs/{first['id']}").status_code == 200
    assert {first["id"], second["id"]} <= {row["id"] for row in reader.get("/v1/jobs").json()["items"]}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "key_missing"),
        (['""'], "bad_key"),
        (["a, b"], "bad_key"),
        (['"a"; x=1'], "bad_key"),
        (['"a', '"b"'], "bad_key"),
        (['"k"', '"k"'], "bad_key"),
        (['"' + "x" * 256 + '"'], "bad_key"),
        (['"tab\there"'], "bad_key"),
        (['"a\\n"'], "bad_key"),
        (["ümlaut"], "bad_key"),
    ],
)
def test_a_missing_or_garbled_key_is_a_bad_request(lite: Doors, headers: list[str], code: str) -> None:
    client = lite.caller("jobs:submit:*")
    answer = client.post("/v1/jobs", json=GROUP, headers=[(b"Idempotency-Key", value.encode("latin-1")) for value in headers])
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert lite.office.jobs() == []


@pytest.mark.parametrize(
    ("header", "key"),
    [('"hire 1, again"', "hire 1, again"), (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')), ("8e03978e-40d5", "8e03978e-40d5"), ("x" * 255, "x" * 255)],
)
def test_keys_are_strings_of_structured_fields_or_bare_words(lite: Doors, header: str, key: str) -> None:
    answer = lite.caller("jobs:submit:*").post("/v1/jobs", json=GROUP, headers={"Idempotency-Key": header})
    assert (answer.status_code, answer.json()["key"]) == (202, key)


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("job", "fields"),
    [
        ({"kind": "no_such", "payload": {}}, ["kind"]),
        ({"kind": "No such", "payload": {}}, ["kind"]),
        ({"kind": "add_to_group", "payload": {"group": 7}}, ["payload.user", "payload.group"]),
        ({"kind": "add_to_group", "payload": {"user": {"id": "x"}, "group": "a", "grp": 1}}, ["payload.user.id", "payload.grp"]),
        ({"kind": "create_group", "payload": {"group": "a\0"}}, ["payload.group"]),
        ({"kind": "create_group", "payload": {"group": "a", "attributes": {"n": float("nan")}}}, ["payload.attributes"]),
        ({"kind": "create_group", "payload": {"group": "a", "attributes": {"n": "\0"}}}, ["payload.attributes"]),
        ({**GROUP, "run_at": "tomorrow", "priority": True, "urgent": "yes", "more": 1}, ["run_at", "urgent", "priority", "more"]),
        ({**GROUP, "run_at": "0001-01-01T00:00:00+14:00"}, ["run_at"]),
        ({**GROUP, "run_at": 1767225600}, ["run_at"]),
        ({**GROUP, "run_at": "2999-01-01T00:00:00Z"}, ["run_at"]),
        ({**GROUP, "why": "\0", "hold": "x" * 4001, "on_behalf_of": "x" * 256}, ["on_behalf_of", "why", "hold"]),
        ({**GROUP, "version": 10**40}, ["version"]),
        ({**GROUP, "version": 99}, ["version"]),
        ({**GROUP, "source": "cli/root"}, ["source"]),
        ({**GROUP, "requested_by": "root"}, ["requested_by"]),
        ([GROUP], ["body"]),
    ],
)
def test_what_is_wrong_is_said_field_by_field(lite: Doors, job: Any, fields: list[str]) -> None:
    client = lite.caller("jobs:submit:*")
    body = json.dumps(job)
    answer = client.post("/v1/jobs", content=body, headers={"Idempotency-Key": '"k"', "Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert lite.office.jobs() == []


@pytest.mark.parametrize("body", ["", "{", "nonsense", b"\xff\xfe", '{"kind": "\\ud800", "payload": {}}', '{"\\ud800": 1}', "1" * 5000, "[" * 100_000,
                                  '{"kind": "create_group", "payload": {"group": "\\udfff"}}',
                                  '{"kind": "create_group", "payload": {"\\udfff": "\\udfff"}}'])  # fmt: skip
def test_what_cannot_be_read_is_refused_without_a_fault(lite: Doors, body: str | bytes) -> None:
    client = lite.caller("jobs:submit:*")
    answer = client.post("/v1/jobs", content=body, headers={"Idempotency-Key": '"k"', "Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]


def test_scopes_say_which_kinds(lite: Doors) -> None:
    client = lite.caller("jobs:submit:add_*")
    answer = send(client, GROUP)
    assert (answer.status_code, answer.json()["needed"]) == (403, "jobs:submit:create_group")
    assert send(client, {"kind": "add_to_group", "payload": {"user": "ann", "group": "x"}}).status_code == 202
    assert send(lite.caller("operate"), {"kind": "delete_group", "payload": {"group": "x"}}).status_code == 403
    assert lite.caller().post("/v1/jobs", json=GROUP).status_code == 401


def test_what_a_job_can_carry(lite: Doors) -> None:
    client = lite.caller("jobs:submit:*", "users:read")
    more = {"urgent": True, "priority": 1, "version": 1, "on_behalf_of": "bob", "why": "asked by phone", "hold": "let Ann look",
            "run_at": "2026-04-01T10:00:00+02:00"}  # fmt: skip
    job_id = send(client, {**GROUP, **more}).json()["id"]
    page = client.get(f"/v1/jobs/{job_id}").json()
    assert (page["state"], page["urgent"], page["priority"]) == ("held", True, 1)
    assert (page["on_behalf_of"], page["why"], page["reason_text"]) == ("bob", "asked by phone", "let Ann look")
    assert page["run_at"] == "2026-04-01T08:00:00Z"
    assert page["payload"] == {"group": "new"}


# ------------------------------------------------------------------------------------------------------ gathering


def test_many_callers_at_once_are_each_told_of_their_own(doors: Doors) -> None:
    """More than one shared commit holds, with refusals among them."""
    client = doors.caller("jobs:submit:*")

    def ask(n: int) -> tuple[int, httpx.Response]:
        payload = {"group": f"g{n}"} if n % 10 else {"grp": "x"}
        return n, send(client, {"kind": "create_group", "payload": payload}, key=f"g-{n}")

    with ThreadPoolExecutor(16) as pool:
        for n, answer in pool.map(ask, range(MOST + 50)):
            assert answer.status_code == (202 if n % 10 else 422), answer.text
            if n % 10:
                assert answer.json()["key"] == f"g-{n}"
    assert len(doors.office.jobs("create_group")) == 2 + (MOST + 50) * 9 // 10


def test_somebody_in_the_way_of_one_keeps_no_neighbour_waiting(postgres_url: str) -> None:
    """Another program holds a key in an open transaction: only the caller who sends the same key waits for it."""
    office = Office(postgres_url)
    with doors_of(office) as doors:
        client = doors.caller("jobs:submit:*", name="hr")
        answers: dict[str, httpx.Response] = {}

        def ask(key: str) -> None:
            answers[key] = send(client, {"kind": "create_group", "payload": {"group": key}}, key=key)

        with office.app.database.engine.connect() as conn, conn.begin():
            from worker.intake import Request

            office.app.submit([Request("create_group", {"group": "blocked"}, "token/hr", "blocked")], conn)
            waiting = threading.Thread(target=ask, args=("blocked",))
            waiting.start()
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(ask, ["a", "b", "c", "d"]))
            assert {answers[key].status_code for key in "abcd"} == {202}
            assert "blocked" not in answers
        waiting.join(WAIT)
        assert (answers["blocked"].status_code, answers["blocked"].json()["duplicate"]) == (202, True)
    office.close()


def test_a_database_that_is_away_is_said_and_nothing_is_lost(postgres_url: str) -> None:
    office = Office(postgres_url)
    with doors_of(office) as doors:
        client = doors.caller("jobs:submit:*")
        assert send(client, GROUP, key="before").status_code == 202
        with office.app.database.read() as conn:
            name = conn.execute(text("SELECT current_database()")).scalar_one()
        with office.app.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name "
                              "AND pid <> pg_backend_pid()"), {"name": name})  # fmt: skip
        # The pool holds dead connections now. Whoever is told 503 sends the same again, and it is the same job.
        job = {"kind": "create_group", "payload": {"group": "after"}}
        for _ in range(20):
            answer = send(client, job, key="after")
            if answer.status_code != 503:
                break
            assert answer.headers["retry-after"]
        assert answer.status_code == 202
        assert len(office.jobs("create_group")) == 2
    office.close()


# -------------------------------------------------------------------------------------------------- the description


def test_what_is_described_is_what_is_answered(lite: Doors) -> None:
    """No field is answered that the models do not know, and none is left out."""
    client = lite.caller("admin")
    lite.office.world()
    failed = lite.office.do("create_user", {"username": "dora", "groups": ["nowhere"]}).id
    answered = send(client, GROUP)
    assert set(answered.json()) == set(models.Accepted.model_fields)
    from worker import listing
    from worker.listing import JobFilter

    with lite.office.app.database.read() as conn:
        assert set(listing.jobs(conn, JobFilter(), limit=1)[0]) == set(models.Job.model_fields)
        page = listing.job_page(conn, failed)
    assert page is not None
    assert set(page) == set(models.JobShown.model_fields)
    assert set(page["tries"][0]) == set(models.Try.model_fields)


def test_every_route_is_described_with_its_problems() -> None:
    from fastapi import FastAPI

    from worker.api import batch, directory, jobs

    web = FastAPI()
    for part in (batch, jobs, directory):
        web.include_router(part.router)
    described = web.openapi()
    operations = [one for path in described["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) == 16
    for one in operations:
        assert {"200", "401", "403", "422", "429", "503"} <= set(one["responses"]), one["operationId"]
        assert set(one["responses"]["422"]["content"]) == {"application/problem+json"}
        assert one["security"], one["operationId"]
        assert one["summary"]
        assert one["tags"]
    [key] = [one for one in described["paths"]["/v1/jobs"]["post"]["parameters"] if one["name"] == "Idempotency-Key"]
    assert key["required"]

