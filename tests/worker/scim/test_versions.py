"""Versions: a change of what somebody else changed meanwhile is refused, and what is unchanged is not sent again."""

from office import Office
from scim_client import USER, ScimClient, found, refused


def test_a_change_of_an_older_version_is_refused(client: ScimClient, office: Office) -> None:
    made = client.create("ann")
    path, first = f"/Users/{made['id']}", made["meta"]["version"]
    assert first.startswith('W/"')
    changed = client.patch(path, {"op": "add", "path": "title", "value": "Pilot"}, If_Match=first)
    second = changed.headers["etag"]
    assert second == found(changed)["meta"]["version"] != first

    for answer in (
        client.patch(path, {"op": "add", "path": "title", "value": "Cook"}, If_Match=first),
        client.ask("PUT", path, {"schemas": [USER], "userName": "ann", "title": "Cook"}, If_Match=first),
        client.ask("DELETE", path, If_Match=first),
    ):
        refused(answer, 412)
    assert client.get(path)["title"] == "Pilot"
    office.do("update_user", {"user": "ann", "name": "Ann"})
    refused(client.patch(path, {"op": "add", "path": "title", "value": "Cook"}, If_Match=second), 412)
    assert client.patch(path, {"op": "add", "path": "title", "value": "Cook"}, If_Match="*").status_code == 200


def test_the_version_is_compared_when_the_job_runs(client: ScimClient, office: Office) -> None:
    """Not only when the record is read: the payload carries the version that the change was computed from."""
    made = client.create("ann")
    path = f"/Users/{made['id']}"

    client.patch(path, {"op": "add", "path": "title", "value": "Pilot"}, If_Match=made["meta"]["version"])
    client.patch(path, {"op": "add", "path": "title", "value": "Cook"})
    client.patch(path, {"op": "add", "path": "roles", "value": [{"value": "x"}]})

    carried = [one["payload"].get("expected_version") for one in office.jobs("update_user")]
    assert carried == [1, None, 3], "where the client names one, and where a list was computed from what was read"


def test_what_is_unchanged_is_not_sent_again(client: ScimClient) -> None:
    made = client.create("ann")
    path = f"/Users/{made['id']}"

    answer = client.ask("GET", path, If_None_Match=made["meta"]["version"])

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == made["meta"]["version"]
    client.patch(path, {"op": "add", "path": "externalId", "value": "A-1"})
    assert client.ask("GET", path, If_None_Match=made["meta"]["version"]).status_code == 200


def test_nothing_new_is_no_change(client: ScimClient, office: Office) -> None:
    made = client.create("ann", title="Pilot", active=True)
    jobs = len(office.jobs())

    again = client.patch(f"/Users/{made['id']}", {"op": "replace", "path": "title", "value": "Pilot"})
    whole = client.ask("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": "ann", "title": "Pilot", "active": True})

    assert found(again)["meta"] == found(whole)["meta"] == made["meta"]
    assert len(office.jobs()) == jobs


def test_a_groups_version_follows_its_members(client: ScimClient) -> None:
    people = [client.create(f"p{number}")["id"] for number in range(2)]
    group = client.group("pilots", people[0])
    path, versions = f"/Groups/{group['id']}", [group["meta"]["version"]]
    for change in (
        {"op": "add", "path": "members", "value": [{"value": people[1]}]},
        {"op": "remove", "path": f'members[value eq "{people[0]}"]'},
        {"op": "add", "path": "members", "value": [{"value": people[0]}]},
        {"op": "replace", "path": "displayName", "value": "captains"},
        {"op": "replace", "path": "externalId", "value": "g-7"},
        {"op": "remove", "path": "members"},
    ):
        client.office.later(seconds=1)
        versions.append(client.patch(path, change, If_Match=versions[-1]).headers["etag"])

    assert len(set(versions)) == 7
    refused(client.patch(path, {"op": "replace", "path": "displayName", "value": "x"}, If_Match=versions[0]), 412)
    assert client.get(path, excludedAttributes="members")["meta"]["version"] == versions[-1]


def test_the_same_key_is_the_same_request(client: ScimClient, office: Office) -> None:
    body = {"schemas": [USER], "userName": "ann", "password": "otters in the harbour"}

    first = client.ask("POST", "/Users", body, Idempotency_Key="k-1")
    again = client.ask("POST", "/Users", body, Idempotency_Key="k-1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert found(first)["id"] == found(again)["id"]
    assert [one["kind"] for one in office.jobs()] == ["create_user", "reset_password"]
    refused(client.ask("POST", "/Users", {**body, "userName": "bob"}, Idempotency_Key="k-1"), 422)
    refused(client.ask("POST", "/Users", {**body, "userName": "bob"}, Idempotency_Key="k" * 300), 400, "invalidValue")
