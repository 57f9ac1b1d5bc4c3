"""Many operations in one request: in order, each with its own outcome, references between them resolved."""

from typing import Any

from doors import Doors
from office import Office
from scim_client import BULK, ENTERPRISE, ScimClient, found, refused

from worker.web import body


def bulk(client: ScimClient, *operations: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Send operations; returns their outcomes."""
    answer = client.ask("POST", "/Bulk", {"schemas": [BULK], "Operations": list(operations), **more})
    assert answer.status_code == 200, answer.text
    return list(found(answer)["Operations"])


def test_a_group_of_people_made_in_the_same_request(client: ScimClient) -> None:
    outcomes = bulk(
        client,
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": {
            "displayName": "pilots", "members": [{"value": "bulkId:a"}, {"value": "bulkId:b"}]}},
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "ann"}},
        {"method": "POST", "path": "/Users", "bulkId": "b", "data": {
            "userName": "bob", ENTERPRISE: {"manager": "bulkId:a"}}},
    )  # fmt: skip

    assert [one["status"] for one in outcomes] == ["201"] * 3
    [group] = client.get("/Groups")["Resources"]
    people = {one["userName"]: one for one in client.get("/Users")["Resources"]}
    assert {one["value"] for one in group["members"]} == {people["ann"]["id"], people["bob"]["id"]}
    assert people["bob"][ENTERPRISE]["manager"]["value"] == people["ann"]["id"]


def test_one_failure_leaves_the_others(client: ScimClient, office: Office) -> None:
    ann = client.create("ann")
    outcomes = bulk(
        client,
        {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"userName": "ANN"}},
        {"method": "PATCH", "path": f"/Users/{ann['id']}", "version": ann["meta"]["version"], "data": {
            "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}},
        {"method": "PUT", "path": f"/Users/{ann['id']}", "version": ann["meta"]["version"], "data": {"userName": "anna"}},
        {"method": "DELETE", "path": "/Users/01930f3e-0000-7000-8000-000000000001"},
        {"method": "POST", "path": "/Users", "bulkId": "5", "data": {"userName": "bob"}},
    )  # fmt: skip

    assert [one["status"] for one in outcomes] == ["409", "200", "412", "404", "201"]
    assert outcomes[0]["response"]["scimType"] == "uniqueness"
    assert office.user("bob") is not None
    user = office.user("ann")
    assert user is not None
    assert not user.is_active


def test_it_stops_after_so_many_errors(client: ScimClient, office: Office) -> None:
    client.create("ann")
    taken = {"method": "POST", "path": "/Users", "data": {"userName": "ann"}}

    outcomes = bulk(
        client, {**taken, "bulkId": "1"}, {**taken, "bulkId": "2"},
        {"method": "POST", "path": "/Users", "bulkId": "3", "data": {"userName": "bob"}}, failOnErrors=1,
    )  # fmt: skip

    assert [one["status"] for one in outcomes] == ["409"]
    assert office.user("bob") is None


def test_limits(sqlite_doors: Doors) -> None:
    with ScimClient(sqlite_doors) as client:
        announced = client.get("/ServiceProviderConfig")["bulk"]
        assert announced == {"supported": True, "maxOperations": 1000, "maxPayloadSize": 1024 * 1024}
        assert body.limit_of("POST", "/scim/v2/Bulk") >= announced["maxPayloadSize"]
        one = {"method": "DELETE", "path": "/Users/x"}
        refused(client.ask("POST", "/Bulk", {"schemas": [BULK], "Operations": [one] * 1001}), 413)
        long = {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"userName": "x", "title": "x" * 1024 * 1024}}
        refused(client.ask("POST", "/Bulk", {"schemas": [BULK], "Operations": [long]}), 413)
        many = [{"op": "add", "path": "title", "value": "x"}] * 1001
        refused(client.patch("/Users/x", *many), 413)


def test_paths_that_are_none(client: ScimClient) -> None:
    for path in ("/Me", "/Users/.search", "/Bulk", "/Zed", ""):
        [outcome] = bulk(client, {"method": "POST", "path": path, "bulkId": "1", "data": {"userName": "x"}})
        assert outcome["status"] in ("400", "404", "405")
