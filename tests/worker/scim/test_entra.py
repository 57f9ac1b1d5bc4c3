"""What Microsoft Entra is documented to send: matching, capital operations, text truth values, bare managers."""

import uuid
from typing import Any

import pytest
from scim_client import ENTERPRISE, USER, ScimClient, found, refused


def entra_user(username: str) -> dict[str, Any]:
    """A user as Entra's default mapping sends one."""
    return {
        "schemas": [USER, ENTERPRISE], "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef", "userName": username,
        "active": True, "meta": {"resourceType": "User"}, "name": {"formatted": "given family", "familyName": "family",
                                                                  "givenName": "given"},
        "emails": [{"primary": True, "type": "work", "value": username}], "roles": [],
    }  # fmt: skip


def test_the_connection_test(client: ScimClient) -> None:
    """It asks for somebody who cannot exist, and wants an empty list, no 404."""
    client.create("ann@example.com")

    listed = client.get("/Users", filter=f'userName eq "{uuid.uuid4()}"')

    assert (listed["totalResults"], listed.get("Resources", [])) == (0, [])
    assert client.get("/Groups", excludedAttributes="members", filter=f'displayName eq "{uuid.uuid4()}"')["totalResults"] == 0


def test_matching_by_any_attribute(client: ScimClient) -> None:
    made = found(client.ask("POST", "/Users", entra_user("Test_User_00aa00aa@example.com")))
    client.create("other@example.com", emails=[{"type": "work", "value": "other@example.com"}])
    for where in (
        f'externalId eq "{made["externalId"]}"',
        'emails[type eq "work"].value eq "TEST_user_00aa00aa@example.com"',
        'userName eq "test_user_00AA00aa@example.com" and active eq true',
        f'id eq "{made["id"]}"',
    ):
        assert [one["id"] for one in client.search(where)] == [made["id"]], where

    assert client.search(f'externalId eq "{made["externalId"].upper()}"') == [], "an externalId is exact"


def test_an_external_id_is_the_clients_own(client: ScimClient) -> None:
    made = found(client.ask("POST", "/Users", entra_user("ann@example.com")))
    from doors import Doors

    with ScimClient(Doors(client.office, str(client.http.base_url).removesuffix("/scim/v2/"))) as other:
        assert "externalId" not in other.get(f"/Users/{made['id']}")
        assert other.search(f'externalId eq "{made["externalId"]}"') == []
        other.patch(f"/Users/{made['id']}", {"op": "Add", "path": "externalId", "value": "theirs"})
        assert other.get(f"/Users/{made['id']}")["externalId"] == "theirs"
    assert client.get(f"/Users/{made['id']}")["externalId"] == made["externalId"]
    user = client.office.user("ann@example.com")
    assert user is not None
    assert user.external_id is None, "that is the id in the HR system"


@pytest.mark.parametrize("value", ["False", "false", False])
def test_deactivating(client: ScimClient, value: object) -> None:
    made = found(client.ask("POST", "/Users", entra_user("ann@example.com")))

    answer = client.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": value})

    assert found(answer)["active"] is False
    assert client.search('userName eq "ann@example.com"')[0]["active"] is False


def test_a_work_address_is_made_where_there_is_none(client: ScimClient) -> None:
    made = client.create("ann@example.com")

    answer = client.patch(
        f"/Users/{made['id']}",
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "ann.archer@example.com"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 201 555 0123"},
        {"op": "Add", "path": 'addresses[type eq "work"].country', "value": "NO"},
        {"op": "Add", "path": 'roles[primary eq "True"].value', "value": "Pilot"},
    )

    changed = found(answer)
    assert changed["emails"] == [{"value": "ann.archer@example.com", "type": "work"}]
    assert changed["phoneNumbers"] == [{"value": "+1 201 555 0123", "type": "mobile"}]
    assert changed["addresses"] == [{"country": "NO", "type": "work"}]
    assert changed["roles"] == [{"value": "Pilot", "primary": True}]
    user = client.office.user("ann@example.com")
    assert user is not None
    assert user.email == "ann.archer@example.com"


def test_dotted_and_full_names_in_a_value(client: ScimClient) -> None:
    made = found(client.ask("POST", "/Users", entra_user("ann@example.com")))

    changed = found(client.patch(
        f"/Users/{made['id']}",
        {"op": "replace", "value": {
            "displayName": "Bjfe", "name.givenName": "Kim", "name.familyName": "Unset",
            f"{ENTERPRISE}:department": "Sales",
        }},
        {"op": "Replace", "path": f"{ENTERPRISE}:costCenter", "value": "4711"},
        {"op": "Replace", "path": f"{USER}:nickName", "value": "Kimmy"},
    ))  # fmt: skip

    assert changed["displayName"] == "Bjfe"
    assert changed["name"] == {"formatted": "given family", "givenName": "Kim", "familyName": "Unset"}
    assert changed[ENTERPRISE] == {"department": "Sales", "costCenter": "4711"}
    assert changed["nickName"] == "Kimmy"


def test_a_manager_as_a_bare_text(client: ScimClient) -> None:
    bob = client.create("bob@example.com", externalId="B-7")
    ann = client.create("ann@example.com", **{ENTERPRISE: {"manager": bob["id"]}})
    path = f"/Users/{ann['id']}"
    assert ann[ENTERPRISE]["manager"]["value"] == bob["id"]
    assert ann[ENTERPRISE]["manager"]["$ref"].endswith(f"/scim/v2/Users/{bob['id']}")
    assert [one["id"] for one in client.search(f'{ENTERPRISE}:manager eq "{bob["id"]}"')] == [ann["id"]]

    for gone in ({"op": "Remove", "path": f"{ENTERPRISE}:manager"},
                 {"op": "Replace", "path": f"{ENTERPRISE}:manager", "value": ""}):  # fmt: skip
        assert ENTERPRISE not in found(client.patch(path, gone))
        for named in (bob["id"], "B-7", "BOB@example.com", {"value": bob["id"]}, [{"value": bob["id"]}]):
            client.patch(path, {"op": "Remove", "path": f"{ENTERPRISE}:manager"})
            again = client.patch(path, {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": named})
            assert found(again)[ENTERPRISE]["manager"]["value"] == bob["id"], named

    said = refused(client.patch(path, {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "zed"}), 400, "invalidValue")
    assert "zed" in said
    assert client.get(path)[ENTERPRISE]["manager"]["value"] == bob["id"]


def test_members_are_removed_by_value(client: ScimClient) -> None:
    """An Entra Remove carries a value, which a server to the letter would overlook and empty the group."""
    people = [client.create(f"p{number}@example.com")["id"] for number in range(3)]
    group = client.group("Everybody", *people)

    answer = client.patch(
        f"/Groups/{group['id']}", {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": people[0]}]}
    )

    assert {one["value"] for one in found(answer)["members"]} == set(people[1:])
    client.patch(f"/Groups/{group['id']}", {"op": "Add", "path": "members", "value": [{"$ref": None, "value": people[0]}]})
    assert {one["value"] for one in client.get(f"/Groups/{group['id']}")["members"]} == set(people)


def test_groups_are_read_without_members(client: ScimClient) -> None:
    ann = client.create("ann@example.com")["id"]
    group = client.group("Everybody", ann)

    assert "members" not in client.get(f"/Groups/{group['id']}", excludedAttributes="members")
    [listed] = client.search('displayName eq "everybody"', "/Groups", excludedAttributes="members")
    assert "members" not in listed
    assert client.search(f'members.value eq "{ann}"', "/Groups", attributes="id")[0]["id"] == group["id"]


def test_soft_and_hard_deletion(client: ScimClient) -> None:
    made = found(client.ask("POST", "/Users", entra_user("ann@example.com")))
    client.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": "False"})

    assert client.ask("DELETE", f"/Users/{made['id']}").status_code == 204

    refused(client.ask("GET", f"/Users/{made['id']}"), 404)
    refused(client.ask("DELETE", f"/Users/{made['id']}"), 404)
    refused(client.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": "True"}), 404)
    assert client.search('userName eq "ann@example.com"') == []
    refused(client.ask("POST", "/Users", entra_user("ann@example.com")), 409, "uniqueness")
    assert client.office.rows("scim_link") == [], "nothing of the person stays"


def test_unknown_attributes_are_dropped(client: ScimClient) -> None:
    extension = "urn:ietf:params:scim:schemas:extension:CustomExtensionName:2.0:User"
    body = {**entra_user("ann@example.com"), "schemas": [USER, extension], extension: {"tag": "x"}, "favourite": "otter"}

    made = found(client.ask("POST", "/Users", body))

    assert "favourite" not in made
    assert extension not in made
    assert made["schemas"] == [USER]
