"""What somebody might try at the HTTP doors who has a little and wants more: each attempt, and that it came to nothing."""

import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from at_console import opened
from doors import Doors, doors_of
from knocks import Knock
from office import Office

from worker import api_tokens


class Street:
    """The doors of an office, whoever knocks there, and a new key for each job."""

    def __init__(self, doors: Doors) -> None:
        self.doors, self.office = doors, doors.office
        self.operator = doors.caller("operate", name="operator")
        self.administrator = doors.caller("admin", name="administrator")
        self._keys = 0

    def submit(self, who: httpx.Client, kind: str, payload: Mapping[str, Any], **more: Any) -> httpx.Response:
        """Hand a job in under a key of its own."""
        self._keys += 1
        headers = {"Idempotency-Key": f'"attack-{self._keys}"'}
        return who.post("/v1/jobs", json={"kind": kind, "payload": payload, **more}, headers=headers)


@pytest.fixture(scope="module")
def street(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    file = tmp_path_factory.mktemp("attacks") / "muster.sqlite"
    shutil.copy(sqlite_template, file)
    office = Office(f"sqlite:///{file}")
    office.world()
    office.do("create_group", {"group": "crew", "parents": ["administrators"]})
    with doors_of(office) as doors:
        yield Street(doors)
    office.close()


# ------------------------------------------------------------------------------------------------------ power

REACHING: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("add_to_group", {"user": "ann", "group": "administrators"}),
    ("add_to_group", {"user": "ann", "group": "Ａdministrators "}),
    ("add_to_group", {"user": "ann", "group": "crew"}),
    ("remove_from_group", {"user": "bob", "group": "administrators"}),
    ("create_group", {"group": "lads", "parents": ["crew"]}),
    ("update_group", {"group": "staff", "add_parents": ["administrators"]}),
    ("update_group", {"group": "staff", "set_parents": ["crew"]}),
    ("update_group", {"group": "crew", "name": "anything"}),
    ("create_user", {"username": "eve", "groups": ["administrators"]}),
    ("create_user", {"username": "bob", "if_exists": "update", "email": "eve@example.com"}),
    ("onboard_user", {"username": "eve", "groups": ["crew"]}),
    ("onboard_user", {"username": "bob", "email": "eve@example.com"}),
    ("transfer_user", {"user": "ann", "groups_add": ["crew"]}),
    ("send_invitation", {"email": "eve@example.com", "groups": ["administrators"]}),
    ("update_user", {"user": "bob", "email": "eve@example.com"}),
    ("update_user", {"user": "bob", "external_id": "E-666"}),
    ("remove_mfa_devices", {"user": "bob"}),
    ("offboard_user", {"user": "ann", "retention": 1}),
    ("offboard_user", {"user": "carol", "left_at": "2020-01-01T00:00:00Z"}),
    ("deliver_webhook", {"endpoint": "01930f3e-0000-7000-8000-000000000001", "event": "01930f3e-0000-7000-8000-000000000002"}),
)
"""Jobs of kinds that are open to those who operate, and that would make them as good as administrators."""


@pytest.mark.parametrize(("kind", "payload"), REACHING, ids=lambda one: one if isinstance(one, str) else "")
def test_who_operates_gains_no_power_over_others(street: Street, kind: str, payload: Mapping[str, Any]) -> None:
    before = len(street.office.jobs())
    assert street.submit(street.operator, kind, payload).status_code == 403
    line = {"kind": kind, "payload": payload, "key": "attack"}
    assert street.operator.post("/v1/jobs/batch", json=line).json()["problem"]["status"] == 403
    assert len(street.office.jobs()) == before


def test_neither_does_a_token_for_a_few_kinds(street: Street) -> None:
    narrow = street.doors.caller("jobs:submit:add_*", "jobs:submit:receive_hr_message")
    assert street.submit(narrow, "add_to_group", {"user": "ann", "group": "administrators"}).status_code == 403
    refused = street.submit(narrow, "receive_hr_message", {"source": "hr", "message": {"id": "1"}})
    assert refused.status_code == 403
    assert refused.json()["needed"] == "feeds:push:hr"
    assert street.submit(narrow, "add_to_group", {"user": "ann", "group": "staff"}).status_code == 202


def test_everyday_work_is_not_in_the_way(street: Street) -> None:
    """Administrators are looked after like everybody else, as long as nobody else comes to own their accounts."""
    for kind, payload in (
        ("onboard_user", {"username": "bob", "email": "bob@example.com", "groups": ["staff"]}),
        ("update_user", {"user": "bob", "name": "Bob B. Baker"}), ("update_user", {"user": "ann", "email": "ann.a@example.com"}),
        ("offboard_user", {"user": "carol"}), ("offboard_user", {"user": "carol", "retention": None}),
    ):  # fmt: skip
        assert street.submit(street.operator, kind, payload).status_code == 202, kind
    assert street.submit(street.administrator, "add_to_group", {"user": "ann", "group": "crew"}, hold="not now").status_code == 202


@pytest.mark.parametrize("move", ["release", "retry", "cancel"])
@pytest.mark.parametrize(("kind", "payload"), [
    ("delete_user", {"user": "carol"}), ("add_to_group", {"user": "ann", "group": "administrators"}),
], ids=["grave", "reaching"])  # fmt: skip
def test_held_jobs_of_administrators_are_not_let_go_by_others(
    street: Street, kind: str, payload: Mapping[str, Any], move: str
) -> None:
    job = street.submit(street.administrator, kind, payload, hold="until it was looked at").json()["id"]
    for who in (street.operator, street.doors.caller("jobs:operate", "jobs:read")):
        assert who.post(f"/v1/jobs/{job}/{move}").status_code == 403
    assert street.office.ended(job).state == "held"


def test_the_console_gives_no_more_power_than_the_api(street: Street) -> None:
    visitor = street.doors.caller()
    assert visitor.post("/console/sign-in", data={"token": street.doors.token("operate")}).status_code == 303
    ann, bob = street.office.user("ann"), street.office.user("bob")
    assert ann is not None
    assert bob is not None
    before = len(street.office.jobs())
    for kind, user, typed in (
        ("add_to_group", ann, {"group": "administrators"}), ("update_user", bob, {"email": "eve@example.com"}),
        ("offboard_user", ann, {"retention": "1 second"}),
    ):  # fmt: skip
        form = opened(visitor, kind, user=user.id).form("/console/people/do/")
        assert form.send(visitor, "Show what", typed).status_code == 403
        straight = {**form.fields(), **typed, "step": "confirm", "typed": user.username}  # as if the look had been shown
        assert visitor.post(f"/console/people/do/{kind}", data=straight).status_code == 403
    for other in ("delete_user", "grant_permission", "reset_password"):
        assert visitor.get(f"/console/people/do/{other}", params={"user": ann.id}).status_code == 403
        tampered = {**form.fields(), "step": "confirm", "typed": "ann"}  # another job's form, sent to this address
        assert visitor.post(f"/console/people/do/{other}", data=tampered).status_code == 403
    assert len(street.office.jobs()) == before


def test_the_console_lets_no_held_job_of_administrators_go(street: Street) -> None:
    visitor = street.doors.caller()
    visitor.post("/console/sign-in", data={"token": street.doors.token("operate")})
    csrf = {"csrf": hidden(visitor.get("/console/jobs").text, "csrf")}
    held = [
        street.submit(street.administrator, "delete_user", {"user": "carol"}, hold="wait").json()["id"],
        street.submit(street.administrator, "add_to_group", {"user": "ann", "group": "crew"}, hold="wait").json()["id"],
    ]
    for job in held:
        assert visitor.post(f"/console/jobs/{job}/release", data=csrf).status_code in (403, 409)
    for kind in ("delete_user", "add_to_group"):
        visitor.post("/console/jobs/move", data={**csrf, "move": "release", "kind": kind, "state": "held", "shown": "1000"})
    assert [street.office.ended(job).state for job in held] == ["held", "held"]


# ---------------------------------------------------------------------------------------------- in the meantime


def test_a_token_revoked_while_somebody_waits_learns_nothing(street: Street) -> None:
    secret = street.doors.token("jobs:submit:create_group", name="waiting")
    waiting = httpx.Client(base_url=street.doors.url, headers={"Authorization": f"Bearer {secret}"}, timeout=30)
    with ThreadPoolExecutor(1) as pool, waiting:
        job = street.submit(waiting, "create_group", {"group": "awaited"}, hold="wait").json()["id"]
        answer = pool.submit(waiting.get, f"/v1/jobs/{job}?wait=1")
        with street.office.scope() as scope:
            api_tokens.revoke(scope, "waiting", by="tester")
        assert answer.result().status_code == 401


def test_a_server_that_stops_answers_those_who_wait(sqlite_url: str) -> None:
    office = Office(sqlite_url)
    with doors_of(office) as doors:
        client = doors.caller("admin")
        body = {"kind": "create_group", "payload": {"group": "later"}, "hold": "wait"}
        job = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": '"k"'}).json()["id"]
        waiting = Knock(doors.url)
        waiting.send(f"GET /v1/jobs/{job}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n\r\n")
        client.get("/health/live")  # another one was answered since, so that the server has seen the first
    answer = waiting.answer()
    assert (answer.status, answer.json()["state"]) == (200, "held")
    waiting.close()
    office.close()


def test_whoever_asks_whether_muster_lives_waits_behind_nobody(sqlite_url: str) -> None:
    """Forms of strangers that all wait for the database take every thread that there is for requests."""
    office = Office(sqlite_url)
    form = "POST /recover HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nwho=ann"
    with doors_of(office) as doors:
        with office.app.database.write():
            waiting = [Knock(doors.url) for _ in range(60)]
            for one in waiting:
                one.send(form)
            assert doors.caller().get("/health/live", timeout=5).status_code == 200
        for one in waiting:
            one.close()
    office.close()


@pytest.mark.parametrize("present", [
    '{"email": "\\ud800"}', '{"attributes": {"a\\u0000": 1}}', '{"attributes": 5}', '{"manager": [1]}', "[]", "NaN", '{"a":' * 3000,
])  # fmt: skip
def test_a_form_that_came_back_changed_does_nothing(street: Street, present: str) -> None:
    visitor = street.doors.caller()
    visitor.post("/console/sign-in", data={"token": street.doors.token("admin")})
    ann = street.office.user("ann")
    assert ann is not None
    form = opened(visitor, "update_user", user=ann.id).form("/console/people/do/")
    answer = visitor.post("/console/people/do/update_user", data={**form.fields(), "present": present, "step": "look"})
    assert answer.status_code == 422


# ------------------------------------------------------------------------------------------------- who is known


def test_the_next_answer_on_a_connection_does_not_tell_who_is_known(postgres_url: str) -> None:
    """Whoever asks for a recovery mail and then for something else would wait while the first is looked up."""
    office = Office(postgres_url)
    with doors_of(office) as doors:
        client = doors.caller()
        with office.app.database.write() as conn:
            conn.exec_driver_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")  # the lookup does not get on now
            assert client.post("/recover", data={"who": "ann"}).status_code == 303
            assert client.get("/recover/page.css", timeout=10).status_code == 200
    office.close()


def hidden(page: str, name: str) -> str:
    """The value of a hidden field of a page."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found is not None
    return found[1]
