"""Groups: a large one is changed without reading its members, groups lie in groups, and rules keep their own members."""

from collections.abc import Iterator
from typing import Any

import pytest
from office import Office
from scim_client import ScimClient, found, refused
from sqlalchemy import event

from worker.bulk import insert_rows
from worker.ids import new_ids
from worker.scim import protocol
from worker.tables import membership, users

MANY = 1_200


@pytest.fixture
def statements(office: Office) -> Iterator[list[tuple[str, int]]]:
    """Every statement on the tables of members, with how many rows it gave."""
    seen: list[tuple[str, int]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
        seen.append((statement, cursor.rowcount))

    event.listen(office.app.database.engine, "after_cursor_execute", note)
    yield seen
    event.remove(office.app.database.engine, "after_cursor_execute", note)


def crowd(office: Office, group_id: str, count: int) -> list[str]:
    """Put so many people into a group at once; returns their ids."""
    ids = new_ids(count)
    with office.scope() as scope:
        insert_rows(scope.conn, users, [
            {"id": one, "username": one, "username_folded": one, "path": "users", "name": "", "type": "internal",
             "attributes": {}, "is_active": True, "epoch": 1, "version": 1, "created_at": office.now, "updated_at": office.now}
            for one in ids
        ])  # fmt: skip
        insert_rows(scope.conn, membership, [
            {"user_id": one, "group_id": group_id, "origin": "manual", "added_at": office.now} for one in ids
        ])  # fmt: skip
    return ids


def test_a_large_group_is_changed_without_reading_its_members(
    client: ScimClient, office: Office, statements: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = client.group("everybody")
    path = f"/Groups/{group['id']}"
    ids = crowd(office, group["id"], MANY)
    ann = client.create("ann")["id"]
    read: list[object] = []
    whole = protocol.Reader.team
    monkeypatch.setattr(protocol.Reader, "team", lambda *args, **more: read.append(more) or whole(*args, **more))
    statements.clear()

    added = client.patch(path, {"op": "Add", "path": "members", "value": [{"value": ann}]})
    removed = client.patch(path, {"op": "Remove", "path": "members", "value": [{"value": ids[0]}]})
    by_filter = client.patch(path, {"op": "remove", "path": f'members[value eq "{ids[1]}"]'})
    renamed = client.patch(path, {"op": "replace", "value": {"displayName": "all of us"}})

    for answer in (added, removed, by_filter, renamed):
        assert (answer.status_code, answer.content) == (204, b""), "as RFC 7644, 3.5.2 allows"
        assert answer.headers["etag"]
    assert {str(one) for one in read} == {"{'with_members': False}"}
    listing = "SELECT membership.group_id, membership.user_id"
    assert not [one for one, _ in statements if one.startswith(listing)]
    assert client.patch(path, {"op": "remove", "path": "externalId"}, ).status_code == 204
    short = client.http.patch(path, params={"excludedAttributes": "members"}, json={
        "Operations": [{"op": "add", "path": "members", "value": [{"value": ids[1]}]}]})  # fmt: skip
    assert found(short)["displayName"] == "all of us"
    assert len(client.get(path)["members"]) == MANY


def test_many_members_at_once(client: ScimClient, office: Office) -> None:
    group = client.group("everybody")
    path = f"/Groups/{group['id']}"
    ids = crowd(office, client.group("others")["id"], 150)
    office.submit("update_user", {"user": "nobody", "name": "somebody else's job, which waits for a worker"})

    changed = client.patch(path, {"op": "add", "path": "members", "value": [{"value": one} for one in ids]})

    assert len(found(changed)["members"]) == 150
    assert len(office.jobs("add_to_group")) == 150
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
    assert left(add, {"op": "remove", "path": 'members[type eq "User"]'}) == set(), "where the members have to be looked at"
    assert left({"op": "add", "value": {"members": [{"value": two}]}}) == {one, two}
    assert left({"op": "remove", "path": "members", "value": []}) == {one}
