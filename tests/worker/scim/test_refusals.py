"""Who may not come in, and what jobs refuse, in SCIM's own form of an error with the sentence a person needs."""

import httpx
from doors import Doors
from office import Office
from scim_client import ENTERPRISE, USER, ScimClient, found, refused

from worker.tables import users

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PLACES = ("", "/", "/Users", "/Users/x", "/Groups", "/Bulk", "/Me", "/Schemas", "/ServiceProviderConfig", "/.search", "/zed")


def test_nobody_comes_in_without_a_token(sqlite_doors: Doors) -> None:
    nobody = sqlite_doors.caller()
    for place in PLACES:
        for method in METHODS:
            answer = nobody.request(method, f"/scim/v2{place}")
            refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_other_scopes_open_nothing(sqlite_doors: Doors) -> None:
    other = sqlite_doors.caller("users:read", "jobs:submit:*", "look")
    for method in METHODS:
        assert "scope scim" in refused(other.request(method, "/scim/v2/Users"), 403)
    for token in ("x", "muster_abc_def", "Basic YTpi"):
        answer = httpx.get(f"{sqlite_doors.url}/scim/v2/Users", headers={"Authorization": f"Bearer {token}"})
        refused(answer, 401)


def test_me_is_not_served(client: ScimClient) -> None:
    refused(client.ask("GET", "/Me"), 501)


def test_the_last_administrator_stays(doors: Doors, office: Office) -> None:
    office.world()
    with ScimClient(doors, "idp", "admin") as client:
        [bob] = client.search('userName eq "bob"')
        [administrators] = client.search('displayName eq "administrators"', "/Groups")
        [ann] = client.search('userName eq "ann"')

        for answer in (
            client.patch(f"/Users/{bob['id']}", {"op": "replace", "value": {"active": False}}),
            client.ask("DELETE", f"/Users/{bob['id']}"),
            client.patch(f"/Groups/{administrators['id']}", {"op": "remove", "path": "members"}),
        ):
            assert "last administrator" in refused(answer, 409)
        assert "MUSTER_ADMINISTRATORS" in refused(client.ask("DELETE", f"/Groups/{administrators['id']}"), 403)
        rename = client.patch(f"/Groups/{administrators['id']}", {"op": "replace", "path": "displayName", "value": "admins"})
        assert "MUSTER_ADMINISTRATORS" in refused(rename, 403)

        change = client.patch(
            f"/Groups/{administrators['id']}", {"op": "replace", "path": "members", "value": [{"value": ann["id"]}]}
        )
        assert [one["value"] for one in found(change)["members"]] == [ann["id"]], "a successor and the leaving in one request"


def test_holds_and_locks(client: ScimClient, office: Office) -> None:
    office.world()
    [ann] = client.search('userName eq "ann"')
    [carol] = client.search('userName eq "carol"')
    office.do("set_legal_hold", {"user": "ann", "owner": "legal", "reason": "a case"})
    office.do("lock_user", {"user": "carol", "owner": "security", "reason": "a theft"})

    assert "legal hold" in refused(client.ask("DELETE", f"/Users/{ann['id']}"), 409)
    opened = client.patch(f"/Users/{carol['id']}", {"op": "Replace", "path": "active", "value": "True"})
    assert "locked by security" in refused(opened, 409)
    assert client.get(f"/Users/{carol['id']}")["active"] is False


def test_accounts_of_services_are_not_touched(client: ScimClient, office: Office) -> None:
    ann = client.create("ann")
    with office.scope() as scope:  # no job makes such an account
        scope.conn.execute(users.update().values(type="internal_service_account"))

    for answer in (
        client.patch(f"/Users/{ann['id']}", {"op": "replace", "path": "title", "value": "x"}),
        client.patch(f"/Users/{ann['id']}", {"op": "replace", "path": "active", "value": False}),
        client.ask("DELETE", f"/Users/{ann['id']}"),
    ):
        assert "service account" in refused(answer, 403)


def test_what_is_wrong_in_a_request(client: ScimClient) -> None:
    ann = client.create("ann")
    client.create("bob")
    client.group("staff")
    path = f"/Users/{ann['id']}"
    wrong = [
        (client.ask("POST", "/Users", {"schemas": [USER]}), 400, "invalidValue", "userName"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": " ann "}), 400, "invalidValue", "blank"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "emails": [{"value": "no address"}]}), 400,
         "invalidValue", "e-mail"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "displayName": "x" * 300}), 400,
         "invalidValue", "displayName"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "password": "short"}), 400, "invalidValue",
         "12 to 1024"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "externalId": "x" * 300}), 400, "invalidValue",
         "externalId"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "externalId": "a\0b"}), 400, "invalidValue", "NUL"),
        (client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "title": "a\0b"}), 400, "invalidValue", "NUL"),
        (client.patch(path, {"op": "replace", "path": "title", "value": ["a"]}), 400, "invalidValue", "title"),
        (client.patch(path, {"op": "remove"}), 400, "noTarget", "path"),
        (client.patch(path, {"op": "remove", "path": "userName"}), 400, "mutability", "required"),
        (client.patch(path, {"op": "replace", "path": "userName", "value": "BOB"}), 409, "uniqueness", "BOB"),
        (client.patch(path, {"op": "replace", "path": "id", "value": "x"}), 400, "mutability", "read-only"),
        (client.patch(path, {"op": "shake", "path": "title", "value": "x"}), 400, "invalidValue", "shake"),
        (client.patch(path, {"op": "add", "path": "emails[", "value": "x"}), 400, "invalidPath", "column 7"),
        (client.patch(path, {"op": "add", "path": f"{ENTERPRISE}:manager", "value": ann["id"]}), 400, "invalidValue",
         "own manager"),
        (client.ask("POST", "/Groups", {"displayName": "STAFF"}), 409, "uniqueness", "STAFF"),
        (client.ask("POST", "/Groups", {"displayName": "x", "members": [{"value": "nobody"}]}), 400, "invalidValue", "nobody"),
        (client.ask("POST", "/Groups", {"displayName": "x", "members": [{"type": "User"}]}), 400, "invalidValue", "member"),
    ]  # fmt: skip
    for answer, status, scim_type, words in wrong:
        assert words in refused(answer, status, scim_type), answer.text
    assert client.office.user("x") is None
    assert client.get("/Groups")["totalResults"] == 1
    assert client.get(path)["userName"] == "ann"


def test_what_is_no_request(client: ScimClient) -> None:
    for body in (b"", b"{", b"[]", b'"x"', b"[" * 5000, b'{"userName": "\\ud800"}', b"\xff"):
        answer = client.http.post("/Users", content=body, headers={"Content-Type": "application/scim+json"})
        assert answer.status_code == 400, body
        found(answer)
    refused(client.http.post("/Users", content=b"a=b", headers={"Content-Type": "text/plain"}), 415)


def test_errors_repeat_no_password(client: ScimClient) -> None:
    for password in ("hunter2", ["hunter2"], {"hunter2": "hunter2"}, "hunter2" * 500):
        answer = client.ask("POST", "/Users", {"schemas": [USER], "userName": "x", "password": password})
        assert answer.status_code == 400
        assert "hunter2" not in answer.text


def test_being_a_scim_client_is_no_power_over_administrators(client: ScimClient) -> None:
    office = client.office
    office.do("create_group", {"group": "administrators"})
    office.do("create_user", {"username": "root", "email": "root@example.com", "groups": ["administrators"]})
    ann = client.create("ann.plain")
    [root] = client.search('userName eq "root"')
    [group] = client.search('displayName eq "administrators"', "/Groups")
    member = {"op": "add", "path": "members", "value": [{"value": ann["id"]}]}
    assert client.patch(f"/Groups/{group['id']}", member).status_code == 403
    for change in ({"emails": [{"value": "evil@example.com", "primary": True, "type": "work"}]}, {"password": "a long new password"}):
        answer = client.patch(f"/Users/{root['id']}", {"op": "replace", "value": change})
        assert answer.status_code == 403, answer.text
        assert "admin" in answer.json()["detail"]
    assert client.patch(f"/Users/{root['id']}", {"op": "replace", "value": {"title": "Chief"}}).status_code == 200
    user = office.user("root")
    assert user is not None
    assert (user.email, user.password_hash) == ("root@example.com", None)
