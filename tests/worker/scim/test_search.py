"""Paging through a directory, and filters: what they find, what they refuse, and what attackers write into them."""

import json
import uuid
from typing import Any

import pytest
from office import Office
from scim_client import ENTERPRISE, ScimClient, found, refused

from worker.bulk import insert_rows
from worker.ids import new_ids
from worker.scim import reading
from worker.tables import groups, membership, users


def people(office: Office, count: int) -> list[str]:
    """Put so many accounts into the directory at once; returns their ids."""
    ids = new_ids(count)
    rows = [
        {
            "id": one, "username": f"P{number:05}", "username_folded": f"p{number:05}", "path": "users",
            "name": f"Person {number}", "type": "internal", "attributes": {"job_title": f"T{number % 7}"}, "is_active": True,
            "epoch": 1, "version": 1, "created_at": office.now, "updated_at": office.now,
        }
        for number, one in enumerate(ids)
    ]  # fmt: skip
    with office.scope() as scope:
        insert_rows(scope.conn, users, rows)
    return ids


def test_a_thousand_people_page_by_page(client: ScimClient, office: Office) -> None:
    ids = people(office, 1_000)
    seen: list[str] = []
    while True:
        page = client.get("/Users", startIndex=len(seen) + 1, count=150, attributes="userName")
        assert page["totalResults"] == 1_000
        if not page.get("Resources"):
            break
        assert page["itemsPerPage"] == len(page["Resources"])
        seen += [one["id"] for one in page["Resources"]]

    assert seen == ids, "each once, in the order in which they came"
    assert len(client.get("/Users")["Resources"]) == 1_000
    sorted_page = client.get("/Users", sortBy="userName", sortOrder="descending", startIndex=999, count=10)
    assert [one["userName"] for one in sorted_page["Resources"]] == ["P00001", "P00000"]


def test_the_edges_of_paging(client: ScimClient, office: Office) -> None:
    people(office, 3)
    for query, count in (
        ({"count": 0}, 0), ({"count": -5}, 0), ({"startIndex": 0}, 3), ({"startIndex": -7, "count": 2}, 2),
        ({"startIndex": 4}, 0), ({"startIndex": 10**30}, 0), ({"count": 10**30}, 3), ({"startIndex": 3, "count": 1}, 1),
    ):  # fmt: skip
        page = client.get("/Users", **query)
        assert (page["totalResults"], len(page.get("Resources", []))) == (3, count), query
    refused(client.http.get("/Users", params={"startIndex": "x"}), 400, "invalidValue")


def test_the_whole_directory_at_the_root(client: ScimClient, office: Office) -> None:
    office.world()

    assert client.get("/")["totalResults"] == 5
    answer = client.ask("POST", "/.search", {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": 'displayName co "a"', "sortBy": "displayName", "attributes": ["displayName"],
    })  # fmt: skip
    assert [one["displayName"] for one in found(answer)["Resources"]] == [
        "administrators", "Ann Archer", "Bob Baker", "Carol Cook", "staff",
    ]
    assert [one["displayName"] for one in client.search('meta.resourceType eq "Group"', "/")] == ["staff", "administrators"]


def test_filters_on_what_lies_in_rows_of_others(client: ScimClient, office: Office) -> None:
    office.world()
    [ann], [bob] = client.search('userName eq "ann"'), client.search('userName eq "bob"')
    [staff] = client.search('displayName eq "STAFF"', "/Groups")
    office.do("create_group", {"group": "interns", "parents": ["staff"]})
    [interns] = client.search('displayName eq "interns"', "/Groups")

    for where, names in (
        (f'groups.value eq "{staff["id"]}"', ["ann"]),
        ('groups[display eq "Staff" and type eq "direct"]', ["ann"]),
        ("groups pr", ["bob", "ann"]),
        (f'{ENTERPRISE}:manager.value eq "{bob["id"]}"', ["ann"]),
        (f"{ENTERPRISE}:manager pr", ["ann"]),
        ('displayName sw "ann" or active eq false', ["ann", "carol"]),
        ('not (displayName sw "ann") and active eq true', ["bob"]),
        ('emails ew "@EXAMPLE.com"', ["bob", "ann", "carol"]),
        ('externalId pr', []),
        ('meta.lastModified ge "2026-03-02T09:00:00Z" and userName gt "b"', ["bob", "carol"]),
    ):  # fmt: skip
        assert [one["userName"] for one in client.search(where)] == names, where
    for where in (f'members.value eq "{ann["id"]}"', f'members eq "{interns["id"]}"', f'members[value eq "{ann["id"]}"]',
                  'members[type eq "Group"]'):  # fmt: skip
        assert [one["displayName"] for one in client.search(where, "/Groups")] == ["staff"], where
    assert {one["type"] for one in client.get(f"/Groups/{staff['id']}")["members"]} == {"User", "Group"}


def test_letters_beyond_ascii(client: ScimClient) -> None:
    client.create("ålesund", title="Ärztin", displayName="Łukasz Ómar")

    for where in ('userName eq "ÅLESUND"', 'title eq "äRZTIN"', 'displayName sw "łUKASZ ó"', 'title co "ÄR"'):
        assert client.get("/Users", filter=where)["totalResults"] == 1, where


HOSTILE = [
    "' OR '1'='1", '" or userName pr or userName eq "', "'; DROP TABLE users; --", "%", "_", "%%%", "\\", "\\\\", '\\"', "a\\",
    "{0}", "%s", ":name", "$1", "?", "\u0130", "\u202e", "💥", "../../etc/passwd", "${jndi:ldap://x}", "a" * 3_000, "\n", "\t",
]


def test_what_is_written_into_a_value_stays_a_value(client: ScimClient) -> None:
    client.create("ann", title="Boss")
    for text in HOSTILE:
        quoted = json.dumps(text)
        for attribute in ("userName", "title", "id", "externalId", "emails.value", "groups.display"):
            operator = {"userName": "co", "title": "sw", "emails.value": "ew"}.get(attribute, "eq")
            where = f"{attribute} {operator} {quoted} or {attribute} eq {quoted}"
            assert client.search(where) == [], where
        assert client.get("/Users", filter=f"not (title eq {quoted}) or userName lt {quoted}")["totalResults"] == 1


def test_values_that_no_database_holds(client: ScimClient) -> None:
    for text in ('"\\u0000"', '"a\\u0000b"', '"\\ud800"'):
        refused(client.ask("POST", "/Users/.search", {"filter": f"userName eq {text}"}), 400, "invalidFilter")
        refused(client.ask("POST", "/Users/.search", {"filter": f"emails[value co {text}]"}), 400, "invalidFilter")


MALFORMED = [
    "", " ", "userName", "userName eq", 'eq "a"', 'userName eq "a', "userName eq 'a'", 'userName = "a"', 'userName eq "a" and',
    '(userName eq "a"', 'userName eq "a")', 'emails[type eq "a"', "emails[]", 'emails[emails[type eq "a"]]', "not userName pr",
    'userName eq "a" ; select 1', 'zed eq "a"', "zed pr", 'userName.zed eq "a"', 'urn:x:y:userName eq "a"', "userName eq 5",
    "active gt true", 'active co "t"', 'meta.created eq "yesterday"', 'meta.version eq "x"', 'meta.location sw "http"',
    'password eq "x"', "password pr", 'password sw "x"', 'emails.zed eq "a"', 'emails[zed eq "a"]', 'userName[value eq "a"]',
    'name eq "a"', "x509Certificates.value gt \"AAAA\"", "userName eq 1e999", 'schemas eq "x"',
]  # fmt: skip


def test_what_is_no_filter(client: ScimClient) -> None:
    client.create("ann", password="otters in the harbour")

    for where in MALFORMED:
        refused(client.http.get("/Users", params={"filter": where}), 400, "invalidFilter")


def test_filters_without_end(client: ScimClient) -> None:
    client.create("ann")
    for depth in (40, 5_000, 100_000):
        for where in ("not (" * depth + "userName pr" + ")" * depth, "(" * depth + "not (userName pr)" + ")" * depth):
            answer = client.ask("POST", "/Users/.search", {"filter": where})
            assert answer.status_code in (200, 400), (depth, answer.text[:200])
        patch = client.patch("/Users/x", {"op": "remove", "path": f"emails[{'not (' * depth}type pr{')' * depth}]"})
        assert patch.status_code == 400
    refused(client.ask("POST", "/Users/.search", {"filter": f'userName eq "{"x" * 8_200}"'}), 400, "invalidFilter")
    refused(client.patch("/Users/x", {"op": "remove", "path": f'emails[value eq "{"x" * 4_200}"]'}), 400, "invalidPath")
    for joint in ("or", "and"):
        where = f" {joint} ".join(["title pr"] * 60)
        refused(client.ask("POST", "/Users/.search", {"filter": where}), 400, "invalidFilter")


def test_sorting_by_what_cannot_be(client: ScimClient) -> None:
    client.create("ann")
    for what in ("zed", "name", "password", "meta.version", "userName; drop table users", "x509Certificates", "id desc"):
        answer = client.http.get("/Users", params={"sortBy": what})
        assert answer.status_code == 400, (what, answer.text)
        found(answer)
    refused(client.http.get("/Users", params={"sortBy": "userName", "sortOrder": "sideways"}), 400, "invalidValue")


def test_what_others_wrote_into_the_attributes(client: ScimClient, office: Office) -> None:
    """Free attributes can be written by anybody, and in any shape; one person's must not hide all the others."""
    junk: list[Any] = [5, "text", [], [1, "a", None], {"value": 3}, [{"value": 5, "primary": "x"}], None, True, [[{}]]]
    for number, one in enumerate(junk):
        scim = dict.fromkeys(("emails", "phoneNumbers", "name", "shown", "nickName", "photos", "x509Certificates"), one)
        office.do("create_user", {"username": f"u{number}", "attributes": {"scim": scim, "job_title": one}})
        office.do("create_user", {"username": f"v{number}", "attributes": {"scim": one, "department": 7}})
    two = [{"value": "a", "primary": True}, {"value": "b", "primary": True}]
    office.do("create_user", {"username": "two", "attributes": {"scim": {"emails": two, "roles": two}}})

    assert len(client.get("/Users")["Resources"]) == 2 * len(junk) + 1
    for where in ('emails.value eq "x"', "phoneNumbers pr", 'photos[value eq "https://x.example"]', "emails.primary eq true", 'title eq "5"',
                  "name pr", "not (nickName pr)", f'{ENTERPRISE}:department eq "7"', "preferredLanguage pr"):  # fmt: skip
        answer = client.http.get("/Users", params={"filter": where, "sortBy": "emails"})
        assert answer.status_code == 200, (where, answer.text)
        listed = answer.json().get("Resources", [])
        assert len(listed) == answer.json()["totalResults"]


def test_a_page_of_large_groups_is_shorter(
    client: ScimClient, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = people(office, 40)
    made = [(one, f"g{number}") for number, one in enumerate(new_ids(5))]
    with office.scope() as scope:
        insert_rows(scope.conn, groups, [
            {"id": one, "name": name, "name_folded": name, "attributes": {}, "created_at": office.now, "updated_at": office.now}
            for one, name in made
        ])  # fmt: skip
        insert_rows(scope.conn, membership, [
            {"user_id": user, "group_id": one, "origin": "manual", "added_at": office.now} for user in ids for one, _ in made
        ])  # fmt: skip
    monkeypatch.setattr(reading, "MOST_MEMBERS", 100)

    page = client.get("/Groups", count=5)

    assert (page["totalResults"], page["itemsPerPage"]) == (5, 2)
    assert client.get("/Groups", count=5, excludedAttributes="members")["itemsPerPage"] == 5
    monkeypatch.setattr(reading, "MOST_MEMBERS", 10)
    assert client.get("/Groups", startIndex=5, count=5)["itemsPerPage"] == 1, "one at least"


def test_nobody_is_found_by_an_id_of_another_kind(client: ScimClient) -> None:
    ann, group = client.create("ann"), client.group("pilots")

    refused(client.ask("GET", f"/Groups/{ann['id']}"), 404)
    refused(client.ask("GET", f"/Users/{group['id']}"), 404)
    assert client.search(f'id eq "{uuid.uuid4()}"') == []
