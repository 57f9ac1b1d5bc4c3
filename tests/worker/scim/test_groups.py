"""Groups: a large one is changed without reading its members, groups lie in groups, and rules keep their own members."""

from collections.abc import Iterator
from typing import Any

import pytest
from office import Office
from scim_client import ScimClient, found, refused
from sqlalchemy import event

from worker.intake import Request

MANY = 1_200


@pytest.fixture
def statements(office: Office) -> Iterator[list[str]]:
    """What the database is asked from now on."""
    seen: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        seen.append(statement)

    event.listen(office.app.database.engine, "after_cursor_execute", note)
    yield seen
    event.remove(office.app.database.engine, "after_cursor_execute", note)


def crowd(office: Office, group: str, count: int) -> list[str]:
    """Let so many people come into a group; returns their ids."""
    asked = [Request("create_user", {"username": f"c{number}", "groups": [group]}, "crowd") for number in range(count)]
    office.app.submit(asked)
    office.drain()
    return sorted(row["id"] for row in office.rows("users") if row["username"].startswith("c"))


def test_a_large_group_is_changed_without_reading_its_members(
    client: ScimClient, office: Office, statements: list[str]
) -> None:
    group = client.group("everybody")
    path = f"/Groups/{group['id']}"
    ids = crowd(office, "everybody", MANY)
    ann = client.create("ann")["id"]
    statements.clear()

    added = client.patch(path, {"op": "Add", "path": "members", "value": [{"value": ann}]})
    removed = client.patch(path, {"op": "Remove", "path": "members", "value": [{"value": ids[0]}]})
    by_filter = client.patch(path, {"op": "remove", "path": f'members[value eq "{ids[1]}"]'})
    renamed = client.patch(path, {"op": "replace", "value": {"displayName": "all of us"}})

    for answer in (added, removed, by_filter, renamed):
        assert (answer.status_code, answer.content) == (204, b""), "as RFC 7644, 3.5.2 allows"
        assert answer.headers["etag"]
    reads_members = "SELECT membership.group_id, membership.user_id"
    assert not [one for one in statements if one.startswith(reads_members)]
    assert client.patch(path, {"op": "remove", "path": "externalId"}).status_code == 204
    short = client.http.patch(path, params={"excludedAttributes": "members"}, json={
        "Operations": [{"op": "add", "path": "members", "value": [{"value": ids[1]}]}]})  # fmt: skip
    assert found(short)["displayName"] == "all of us"
    assert not [one for one in statements if one.startswith(reads_members)]
    assert len(client.get(path)["members"]) == MANY
    assert [one for one in statements if one.startswith(reads_members)]


def test_many_members_at_once(client: ScimClient, office: Office) -> None:
    group = client.group("everybody")
    path = f"/Groups/{group['id']}"
    client.group("others")
    ids = crowd(office, "others", 150)
    office.submit("add_to_group", {"user": "c7", "group": "others"})  # stands in front, and no worker comes by

    changed = client.patch(path, {"op": "add", "path": "members", "value": [{"value": one} for one in ids]})

    assert len(found(changed)["members"]) == 150
    assert len([one for one in office.jobs("add_to_group") if one["source"] == "token/idp"]) == 150
    left = client.patch(path, {"op": "replace", "path": "members", "value": [{"value": one} for one in ids[:30]]})
    assert len(found(left)["members"]) == 30
    assert len(office.jobs("remove_from_group")) == 120


def test_groups_in_groups(client: ScimClient, office: Office) -> None:
    ann = client.create("ann")["id"]
    below, above = client.group("interns", ann), client.group("staff")
    path = f"/Groups/{above['id']}"

    client.patch(path, {"op": "add", "path": "members", "value": [{"value": below["id"], "type": "Group"}]})

    [member] = client.get(path)["members"]
    assert (member["value"], member["type"]) == (below["id"], "Group")
    assert member["$ref"].endswith(f"/scim/v2/Groups/{below['id']}")
    circle = client.patch(f"/Groups/{below['id']}", {"op": "add", "path": "members", "value": [{"value": above["id"]}]})
    assert "circle" in refused(circle, 400, "invalidValue")
    assert "members" not in found(client.patch(path, {"op": "remove", "path": "members"}))


def test_what_a_rule_added_is_removed_when_somebody_says_so(client: ScimClient, office: Office) -> None:
    office.world()
    office.do("create_group", {"group": "sales"})
    office.do("add_to_group", {"user": "ann", "group": "sales", "origin": "rule"})
    [sales] = client.search('displayName eq "sales"', "/Groups")
    [ann] = client.search('userName eq "ann"')
    assert [one["display"] for one in ann["groups"]] == ["sales", "staff"]

    client.patch(f"/Groups/{sales['id']}", {"op": "remove", "path": f'members[value eq "{ann["id"]}"]'})
    client.patch(f"/Groups/{sales['id']}", {"op": "add", "path": "members", "value": [{"value": ann["id"]}]})

    [kept] = office.rows("membership", group_id=sales["id"])
    assert kept["origin"] == "manual"


def test_operations_follow_each_other(client: ScimClient) -> None:
    one, two, three = (client.create(name)["id"] for name in ("one", "two", "three"))
    group = client.group("g", one)
    path = f"/Groups/{group['id']}"
    add = {"op": "add", "path": "members", "value": [{"value": two}, {"value": three}]}
    drop = {"op": "remove", "path": "members", "value": [{"value": two}]}

    def left(*operations: dict[str, Any]) -> set[str]:
        client.patch(path, {"op": "replace", "path": "members", "value": [{"value": one}]})
        return {member["value"] for member in found(client.patch(path, *operations)).get("members", [])}

    assert left(add, drop) == {one, three}
    assert left(drop, add) == {one, two, three}
    assert left({"op": "remove", "path": "members"}, add) == {two, three}
    assert left(add, {"op": "replace", "path": "members", "value": [{"value": two}]}) == {two}
    assert left(add, {"op": "replace", "path": "members", "value": []}) == set()
    assert left({"op": "remove", "path": f'members[value eq "{one}" or value eq "{two}"]'}) == set()
    assert left({"op": "remove", "path": 'members[type eq "User"]'}) == set(), "where the members have to be looked at"
    assert left({"op": "add", "value": {"members": [{"value": two}]}}) == {one, two}
    assert left({"op": "remove", "path": "members", "value": []}) == {one}
