"""The directory over HTTP on a real server: people, groups and the audit trail, page by page, and nothing that opens a door."""

from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from office import Office

from worker import listing
from worker.api import directory_models as models
from worker.directory import groups
from worker.directory.accounts import find
from worker.jobs import UserRef


@pytest.fixture
def reader(doors: Doors) -> httpx.Client:
    return doors.caller("users:read")


def everything(client: httpx.Client, address: str) -> list[dict[str, Any]]:
    """The items of all pages."""
    found: list[dict[str, Any]] = []
    while address:
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        address = answer.links.get("next", {}).get("url", "")
    return found


def test_people_are_searched_and_paged(doors: Doors, reader: httpx.Client) -> None:
    for name in ("Änne", "ümit", "zoë"):
        doors.office.do("create_user", {"username": name, "path": "staff/berlin"})

    def names(query: str) -> list[str]:
        return [one["username"] for one in everything(reader, f"/v1/users?{query}")]

    assert names("limit=1") == names("") == ["ann", "bob", "carol", "zoë", "Änne", "ümit"]
    assert names("search=ARCHER") == ["ann"]
    assert names("search=E-1001") == ["ann"]
    assert names("path=staff&limit=2") == ["zoë", "Änne", "ümit"]
    assert names("active=false") == ["carol"]
    assert names("search=%25") == names("search=_") == names("search=%27") == []


@pytest.mark.parametrize("name", ["ann", "ANN", "username:ann", "external_id:E-1001"])
def test_a_person_by_any_name(doors: Doors, reader: httpx.Client, name: str) -> None:
    page = reader.get(f"/v1/users/{name}").json()
    assert (page["username"], page["manager"]) == ("ann", "bob")
    assert page["groups"] == [{"group": "staff", "via": "staff", "origin": "manual"}]
    assert reader.get(f"/v1/users/{page['id']}").json() == page
    assert reader.get(f"/v1/users/id:{page['id']}").json() == page


@pytest.mark.parametrize("name", ["nobody", "id:x", "external_id:", "%F0%9F%92%A9", "%ED%A0%80", "' OR 1=1", "x" * 300, "01900000-0000-7000-8000-000000000000"])
def test_nobody_is_nobody(reader: httpx.Client, name: str) -> None:
    for address in (f"/v1/users/{name}", f"/v1/users/{name}/sessions", f"/v1/users/{name}/events", f"/v1/groups/{name}", f"/v1/groups/{name}/members"):
        assert reader.get(address).status_code == 404
    assert reader.get("/v1/events", params={"target": name}).json() == {"items": [], "next": None}


def test_credentials_are_shown_without_what_opens_the_door(doors: Doors, reader: httpx.Client) -> None:
    from worker.bulk import insert_rows
    from worker.directory.tokens import digest
    from worker.ids import new_id
    from worker.tables import session

    ann = doors.office.user("ann")
    assert ann is not None
    with doors.office.scope() as scope:
        insert_rows(scope.conn, session, [{
            "id": new_id(), "user_id": ann.id, "epoch": ann.epoch, "created_at": scope.now, "digest": digest("secret"), "ip": "192.0.2.1",
            "user_agent": "Firefox",
        }])  # fmt: skip
    answer = reader.get("/v1/users/ann/sessions")
    [one] = answer.json()["items"]
    assert (one["ip"], one["user_agent"], one["usable"]) == ("192.0.2.1", "Firefox", True)
    for text in (answer.text, reader.get("/v1/users/ann").text):
        assert digest("secret") not in text
        assert "argon2" not in text


def test_groups_and_their_members(doors: Doors, reader: httpx.Client) -> None:
    doors.office.do("create_group", {"group": "night shift", "parents": ["staff"]})
    for name in ("dora", "emil"):
        doors.office.do("create_user", {"username": name, "groups": ["night shift"]})
    assert [one["name"] for one in everything(reader, "/v1/groups?limit=1")] == ["administrators", "night shift", "staff"]
    assert [one["name"] for one in everything(reader, "/v1/groups?search=SHIFT")] == ["night shift"]
    page = reader.get("/v1/groups/STAFF").json()
    assert (page["name"], page["children"], page["member_count"], page["direct_member_count"]) == ("staff", ["night shift"], 3, 1)
    assert reader.get(f"/v1/groups/{page['id']}").json() == page
    members = everything(reader, "/v1/groups/staff/members?limit=2")
    assert [(one["username"], one["origin"]) for one in members] == [("ann", "manual"), ("dora", None), ("emil", None)]
    assert reader.get("/v1/groups/night%20shift").json()["parents"] == ["staff"]


def test_the_audit_trail_by_action_person_group_and_time(doors: Doors, reader: httpx.Client) -> None:
    office = doors.office
    office.later(hours=1)
    office.do("deactivate_user", {"user": "ann"}, why="on leave")

    def actions(query: str) -> list[str]:
        return [one["action"] for one in everything(reader, f"/v1/events?{query}")]

    since = office.now.isoformat().replace("+", "%2B")
    assert "user.deactivated" in actions(f"since={since}")
    assert "user.created" not in actions(f"since={since}")
    assert actions("action=user.created&limit=1") == ["user.created"] * 3
    assert set(actions("action=user.*")) == {"user.created", "user.deactivated"}
    assert actions("action=%25") == []
    assert set(actions("target=group:staff")) == {"group.created"}
    ann = reader.get("/v1/users/ann").json()["id"]
    assert actions("target=ann") == actions(f"target={ann}") == [one["action"] for one in everything(reader, "/v1/users/ann/events?limit=1")]
    [event] = [one for one in everything(reader, "/v1/users/ann/events") if one["action"] == "user.deactivated"]
    assert (event["why"], event["actor"], event["target_name"]) == ("on leave", "tester", "ann")


@pytest.mark.parametrize("address", ["/v1/users", "/v1/users/ann", "/v1/users/ann/sessions", "/v1/users/ann/events", "/v1/groups", "/v1/groups/staff",
                                     "/v1/groups/staff/members", "/v1/events"])  # fmt: skip
def test_reading_people_needs_its_scope(sqlite_url: str, address: str) -> None:
    office = Office(sqlite_url)
    with doors_of(office) as doors:
        assert doors.caller().get(address).status_code == 401
        assert doors.caller("jobs:read", "jobs:submit:*", "jobs:operate").get(address).status_code == 403
    office.close()


def test_what_is_described_is_what_is_answered(office: Office) -> None:
    """No field is answered that the models do not know, and none is left out."""
    office.world()
    with office.scope() as scope:
        [ann] = find(scope, [UserRef(username="ann")], lock=False)
        assert ann is not None
        assert set(listing.people(scope.conn, limit=1)[0]) == set(models.Person.model_fields)
        page = listing.user_page(scope, ann)
        assert set(page) == set(models.PersonShown.model_fields)
        assert set(listing.trail(scope.conn, limit=1)[0]) == set(models.Event.model_fields)
        assert set(listing.group_list(scope.conn, limit=1)[0]) == set(models.GroupListed.model_fields)
        [staff] = groups.find(scope, ["staff"], lock=False)
        assert staff is not None
        assert set(listing.group_page(scope, staff)) - {"members"} == set(models.GroupShown.model_fields)
        assert set(listing.members_of(scope, staff, limit=1)[0]) == set(models.Member.model_fields)
