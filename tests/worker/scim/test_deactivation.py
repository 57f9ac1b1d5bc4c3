"""Whichever way a SCIM client closes an account, nothing of it opens anything any more, and the trail says who did it."""

from collections.abc import Callable
from typing import Any

import pytest
from belongings import equip
from office import Office
from scim_client import BULK, USER, ScimClient

from worker.directory import access

Way = Callable[[ScimClient, str], Any]

WAYS: dict[str, Way] = {
    "patch without a path": lambda client, one: client.patch(f"/Users/{one}", {"op": "replace", "value": {"active": False}}),
    "patch with a text": lambda client, one: client.patch(
        f"/Users/{one}", {"op": "Replace", "path": "active", "value": "False"}
    ),
    "patch with more in it": lambda client, one: client.patch(
        f"/Users/{one}", {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Replace", "path": "userName", "value": "gone-ann"}, {"op": "Add", "path": "title", "value": "former"},
    ),
    "put": lambda client, one: client.ask("PUT", f"/Users/{one}", {"schemas": [USER], "userName": "ann", "active": False}),
    "bulk": lambda client, one: client.ask("POST", "/Bulk", {"schemas": [BULK], "Operations": [
        {"method": "PATCH", "path": f"/Users/{one}", "data": {"Operations": [
            {"op": "replace", "path": "active", "value": False}]}}]}),
    "delete": lambda client, one: client.ask("DELETE", f"/Users/{one}"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_nothing_usable_is_left(client: ScimClient, office: Office, way: str) -> None:
    office.world()
    [ann] = client.search('userName eq "ann"')
    equip(office, ann["id"])

    answer = WAYS[way](client, ann["id"])

    assert answer.status_code in (200, 204), answer.text
    for kind in access.CREDENTIALS:
        assert office.rows(kind.table.name, user_id=ann["id"]) == [], kind.counted
    told = [one for one in office.rows("event", target=ann["id"]) if one["actor"] == "token/idp"]
    assert {one["action"] for one in told} & {"user.deactivated", "user.deleted"}


def test_the_trail_shows_the_token(client: ScimClient, office: Office) -> None:
    made = client.create("dora", displayName="Dora")
    client.patch(f"/Users/{made['id']}", {"op": "replace", "path": "title", "value": "Pilot"})
    group = client.group("pilots", made["id"])
    client.ask("DELETE", f"/Groups/{group['id']}")

    told = office.rows("event")

    assert {one["actor"] for one in told} == {"token/idp"}
    assert [one["action"] for one in sorted(told, key=lambda one: str(one["id"]))] == [
        "user.created", "user.updated", "group.created", "membership.added", "group.deleted",
    ]
    assert {one["requested_by"] for one in office.jobs()} == {"token/idp"} == {one["source"] for one in office.jobs()}


def test_what_waits_to_open_somebody_is_cancelled(client: ScimClient, office: Office) -> None:
    """Somebody inactive already is closed again all the same: an opening may stand in the line."""
    office.world()
    [carol] = client.search('userName eq "carol"')
    waiting = office.submit("reactivate_user", {"user": "carol"})

    client.patch(f"/Users/{carol['id']}", {"op": "Replace", "path": "active", "value": "False"})
    office.drain()

    assert office.ended(waiting).state == "cancelled"
    assert client.get(f"/Users/{carol['id']}")["active"] is False


def test_closing_comes_before_the_rest_and_not_without_it(client: ScimClient, office: Office) -> None:
    office.world()
    [ann] = client.search('userName eq "ann"')
    path = f"/Users/{ann['id']}"

    refusal = client.patch(
        path, {"op": "replace", "path": "active", "value": False}, {"op": "replace", "path": "userName", "value": "bob"}
    )
    assert refusal.status_code == 409
    assert client.get(path)["active"] is True, "all operations of a patch, or none"

    client.patch(path, {"op": "replace", "path": "active", "value": False}, {"op": "add", "path": "title", "value": "former"})
    kinds = [one["kind"] for one in office.jobs() if one["source"] == "token/idp"]
    assert kinds == ["deactivate_user", "update_user"]
    assert client.get(path)["title"] == "former"


def test_opening_again(client: ScimClient, office: Office) -> None:
    office.world()
    [ann] = client.search('userName eq "ann"')
    office.do("delete_user", {"user": "ann", "grace": "P30D"})

    answer = client.patch(f"/Users/{ann['id']}", {"op": "Replace", "path": "active", "value": "True"})

    assert answer.json()["active"] is True
    user = office.user("ann")
    assert user is not None
    assert user.delete_at is None, "the planned deletion is called off"
