"""What somebody might try at the HTTP doors who has a little and wants more: each attempt, and that it came to nothing."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from office import Office


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
    page = visitor.get(f"/console/people/do/add_to_group?user={ann.id}").text
    form = {**dict(re.findall(r'name="(csrf|nonce)" value="([^"]+)"', page)), "present": "{}"}
    assert {"csrf", "nonce"} < form.keys()
    before = len(street.office.jobs())
    for kind, fields in (
        ("add_to_group", {"user": ann.id, "group": "administrators"}), ("update_user", {"user": bob.id, "email": "eve@example.com"}),
        ("offboard_user", {"user": ann.id, "retention": "1 second", "typed": "ann"}), ("delete_user", {"user": ann.id, "typed": "ann"}),
    ):  # fmt: skip
        for step in ("look", "confirm"):
            answer = visitor.post(f"/console/people/do/{kind}", data={**form, **fields, "step": step})
            assert answer.status_code == 403, (kind, step)
    assert len(street.office.jobs()) == before
