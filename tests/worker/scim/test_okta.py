"""What Okta is documented to send: looking people up, making, changing and deactivating them, and pushing groups."""

from scim_client import ENTERPRISE, GROUP, USER, ScimClient, found, refused


def okta_user(username: str, **attributes: object) -> dict[str, object]:
    """A user as Okta's template for SCIM 2.0 applications sends one."""
    return {
        "schemas": [USER], "userName": username, "name": {"givenName": "Test", "familyName": "User"},
        "emails": [{"primary": True, "value": username, "type": "work"}], "displayName": "Test User", "locale": "en-US",
        "externalId": f"okta-{username}", "groups": [], "active": True, **attributes,
    }  # fmt: skip


def test_looking_somebody_up(client: ScimClient) -> None:
    client.create("Ann@Example.com")
    for name in ("ann@example.com", "ANN@EXAMPLE.COM", "Ann@Example.com"):
        listed = client.get("/Users", filter=f'userName eq "{name}"', startIndex=1, count=100)
        assert (listed["totalResults"], listed["itemsPerPage"], listed["startIndex"]) == (1, 1, 1)
        assert listed["Resources"][0]["userName"] == "Ann@Example.com"

    nobody = client.get("/Users", filter='userName eq "nobody@example.com"', startIndex=1, count=100)

    assert nobody["totalResults"] == 0
    assert nobody.get("Resources", []) == []


def test_filters_in_capitals(client: ScimClient) -> None:
    client.create("ann@example.com")

    assert client.get("/Users", filter='USERNAME EQ "ANN@example.com"')["totalResults"] == 1


def test_making_somebody_once(client: ScimClient) -> None:
    answer = client.ask("POST", "/Users", okta_user("ann@example.com"))

    made = found(answer)
    assert answer.status_code == 201
    assert answer.headers["location"] == made["meta"]["location"] == f"{client.http.base_url}Users/{made['id']}"
    assert (made["externalId"], made["active"], made["locale"]) == ("okta-ann@example.com", True, "en-US")
    assert client.get(f"/Users/{made['id']}") == made
    again = refused(client.ask("POST", "/Users", okta_user("ANN@example.com")), 409, "uniqueness")
    assert "ANN@example.com" in again


def test_an_unknown_id(client: ScimClient) -> None:
    for id_ in ("abcdef123", "01930f3e-0000-7000-8000-000000000001"):
        said = refused(client.ask("GET", f"/Users/{id_}"), 404)
        assert id_ in said


def test_a_profile_is_put_whole(client: ScimClient) -> None:
    made = found(client.ask("POST", "/Users", okta_user("ann@example.com")))
    body = okta_user("ann@example.com", id=made["id"], title="Pilot", displayName="Ann Archer", meta={"resourceType": "User"})
    body["name"] = {"givenName": "Ann", "familyName": "Archer"}
    body[ENTERPRISE] = {"department": "Sales", "employeeNumber": "7"}

    changed = found(client.ask("PUT", f"/Users/{made['id']}", body))

    assert (changed["title"], changed["displayName"], changed["name"]["familyName"]) == ("Pilot", "Ann Archer", "Archer")
    assert changed[ENTERPRISE] == {"department": "Sales", "employeeNumber": "7"}
    row = client.office.user("ann@example.com")
    assert row is not None
    assert (row.name, row.email) == ("Ann Archer", "ann@example.com")
    assert {"department": "Sales", "job_title": "Pilot", "employee_number": "7"}.items() <= dict(row.attributes).items()


def test_deactivating_by_a_patch_without_a_path(client: ScimClient) -> None:
    made = client.create("ann@example.com")

    answer = client.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": False}})

    assert answer.status_code == 200
    assert found(answer)["active"] is False
    assert client.search('userName eq "ann@example.com"')[0]["active"] is False, "who is disabled stays visible"
    assert client.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": True}}).json()["active"] is True


def test_deactivating_by_put(client: ScimClient) -> None:
    made = client.create("ann@example.com")

    answer = client.ask("PUT", f"/Users/{made['id']}", okta_user("ann@example.com", active=False))

    assert found(answer)["active"] is False
    [last] = [one["kind"] for one in client.office.jobs() if one["kind"] in ("deactivate_user", "reactivate_user")]
    assert last == "deactivate_user", "the job that overtakes"


def test_a_put_that_does_not_speak_of_active_opens_nobody(client: ScimClient) -> None:
    made = client.create("ann@example.com", active=False)
    for active in ({}, {"active": None}):
        body = {"schemas": [USER], "userName": "ann@example.com", "displayName": "Ann", **active}
        assert found(client.ask("PUT", f"/Users/{made['id']}", body))["active"] is False

    client.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": True}})
    body = {"schemas": [USER], "userName": "ann@example.com", "displayName": "Ann B"}
    assert found(client.ask("PUT", f"/Users/{made['id']}", body))["active"] is True, "nor does it close anybody"


def test_setting_a_password(client: ScimClient) -> None:
    made = client.create("ann@example.com", password="otters in the harbour")

    answer = client.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"password": "herons on the old pier"}})

    assert answer.status_code == 200
    assert "password" not in answer.text
    assert "password" not in client.http.get(f"/Users/{made['id']}").text


def test_groups_are_pushed_and_renamed(client: ScimClient) -> None:
    ann, bob = client.create("ann@example.com")["id"], client.create("bob@example.com")["id"]
    assert client.search('displayName eq "Everybody"', "/Groups", startIndex=1, count=100) == []
    group = client.group("Everybody")
    path = f"/Groups/{group['id']}"

    client.patch(path, {"op": "add", "path": "members", "value": [{"value": ann, "display": "ann@example.com"}]})
    client.patch(path, {"op": "replace", "value": {"id": group["id"], "displayName": "All of us"}})
    added = client.patch(path, {"op": "add", "path": "members", "value": [{"value": bob}, {"value": ann}]})

    assert found(added)["displayName"] == "All of us"
    assert {one["value"] for one in added.json()["members"]} == {ann, bob}
    client.patch(path, {"op": "remove", "path": f'members[value eq "{ann}"]'})
    assert [one["value"] for one in client.get(path)["members"]] == [bob]
    replaced = client.patch(path, {"op": "replace", "path": "members", "value": [{"value": ann}]})
    assert [one["value"] for one in replaced.json()["members"]] == [ann]


def test_a_group_is_put_whole(client: ScimClient) -> None:
    ann, bob = client.create("ann@example.com")["id"], client.create("bob@example.com")["id"]
    group = client.group("Everybody", ann)
    body = {"schemas": [GROUP], "id": group["id"], "displayName": "Everybody", "members": [{"value": bob, "display": "b"}]}

    assert [one["value"] for one in found(client.ask("PUT", f"/Groups/{group['id']}", body))["members"]] == [bob]
    assert "members" not in found(client.ask("PUT", f"/Groups/{group['id']}", {**body, "members": []}))
    assert client.ask("DELETE", f"/Groups/{group['id']}").status_code == 204
    refused(client.ask("GET", f"/Groups/{group['id']}"), 404)


def test_a_disguised_path_or_method(client: ScimClient) -> None:
    refused(client.ask("GET", "/Nothing"), 404)
    answer = client.ask("DELETE", "/Users")
    refused(answer, 405)
    assert "GET" in answer.headers["allow"]
