"""What a SCIM client says and what others say of one person meet in the directory, and neither is lost."""

from typing import Any

from office import Office
from scim_client import ENTERPRISE, USER, ScimClient, found

from worker.directory import passwords
from worker.directory.users import User


def user(office: Office, username: str) -> User:
    """A user who must be there."""
    row = office.user(username)
    assert row is not None
    return row


EVERYTHING: dict[str, Any] = {
    "name": {"formatted": "Ms. Ann B Archer", "familyName": "Archer", "givenName": "Ann", "middleName": "B",
             "honorificPrefix": "Ms.", "honorificSuffix": "III"},
    "displayName": "Ann Archer", "nickName": "Annie", "profileUrl": "https://example.com/ann", "title": "Pilot",
    "userType": "Employee", "preferredLanguage": "en_US", "locale": "en-GB", "timezone": "Pacific Standard Time",
    "active": True,
    "emails": [{"value": "home@example.org", "type": "home", "display": "at home"},
               {"value": "ann@example.com", "type": "work", "primary": True}],
    "phoneNumbers": [{"value": "tel:+1-201-555-0123", "type": "work"}], "ims": [{"value": "annie", "type": "skype"}],
    "photos": [{"value": "https://photos.example.com/Ann/F", "type": "photo"}],
    "addresses": [{"streetAddress": "100 Street", "locality": "Oslo", "country": "NO", "type": "work", "primary": True}],
    "entitlements": [{"value": "e-1"}], "roles": [{"value": "r-1", "primary": True}],
    "x509Certificates": [{"value": "AAECAwQ="}],
    ENTERPRISE: {"employeeNumber": "701984", "costCenter": "4130", "organization": "Universal", "division": "Theme Park",
                 "department": "Tour Operations"},
}  # fmt: skip


def test_everything_comes_back_as_it_was_said(client: ScimClient, office: Office) -> None:
    made = client.create("ann", **EVERYTHING)

    for name, value in EVERYTHING.items():
        assert made[name] == value, name
    row = user(office, "ann")
    assert (row.name, row.email, row.locale, row.zone) == ("Ann Archer", "ann@example.com", "en-US", None)
    assert {"job_title": "Pilot", "department": "Tour Operations", "given_name": "Ann"}.items() <= dict(row.attributes).items()


def test_a_put_of_less_takes_the_rest_away(client: ScimClient, office: Office) -> None:
    made = client.create("ann", **EVERYTHING)

    left = found(client.ask("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": "ann"}))

    assert left.keys() == {"schemas", "id", "userName", "active", "meta"}
    row = user(office, "ann")
    assert (row.name, row.email, row.locale, row.zone, dict(row.attributes)["scim"].get("emails")) == ("", None, None, None, None)


def test_what_hr_changes_is_seen(client: ScimClient, office: Office) -> None:
    made = client.create("ann", **EVERYTHING)
    office.do("update_user", {
        "user": "ann", "name": "Ann Married", "email": "ann.married@example.com", "locale": "de", "zone": "Europe/Berlin",
        "attributes": {"department": "Board", "desk": 7}, "is_active": False,
    })  # fmt: skip

    seen = client.get(f"/Users/{made['id']}")

    assert (seen["displayName"], seen["preferredLanguage"], seen["timezone"]) == ("Ann Married", "de", "Europe/Berlin")
    assert seen[ENTERPRISE]["department"] == "Board"
    assert seen["active"] is False
    assert seen["emails"][1] == {"value": "ann.married@example.com", "type": "work", "primary": True}
    assert client.search('emails[type eq "work"].value eq "ann.married@example.com"')
    assert client.search('emails.value eq "ann@example.com"') == []
    client.patch(f"/Users/{made['id']}", {"op": "replace", "path": "title", "value": "Chair"})
    row = user(office, "ann")
    assert (row.name, row.email, row.zone, row.attributes["desk"]) == (
        "Ann Married", "ann.married@example.com", "Europe/Berlin", 7,
    )


def test_people_of_hr_are_seen_and_changed_as_little_as_asked(client: ScimClient, office: Office) -> None:
    office.world()
    before = user(office, "ann")
    [ann] = client.search('userName eq "ann"')
    assert ann["emails"] == [{"value": "ann@example.com", "type": "work", "primary": True}]
    assert (ann["displayName"], "externalId" in ann) == ("Ann Archer", False)

    client.patch(
        f"/Users/{ann['id']}", {"op": "add", "path": "emails", "value": [{"value": "home@example.org", "type": "home"}]},
        {"op": "add", "path": "name.givenName", "value": "Ann"},
    )  # fmt: skip

    after = user(office, "ann")
    assert (after.name, after.email, after.external_id, after.manager) == (
        before.name, before.email, before.external_id, before.manager,
    )
    assert [one["value"] for one in client.get(f"/Users/{ann['id']}")["emails"]] == ["ann@example.com", "home@example.org"]


def test_which_address_mails_go_to(client: ScimClient, office: Office) -> None:
    home, work, other = ({"value": f"{kind}@example.com", "type": kind} for kind in ("home", "work", "other"))
    cases: list[tuple[list[dict[str, Any]], str | None]] = [
        ([home, {**other, "primary": True}, work], "other@example.com"), ([home, work, other], "work@example.com"),
        ([other, home], "other@example.com"), ([{"type": "work", "display": "none yet"}], None), ([], None),
    ]  # fmt: skip
    made = client.create("ann")
    for given, address in cases:
        seen = found(client.patch(f"/Users/{made['id']}", {"op": "replace", "path": "emails", "value": given}))
        assert seen.get("emails", []) == given
        assert user(office, "ann").email == address

    client.patch(f"/Users/{made['id']}", {"op": "replace", "path": "emails", "value": [{"type": "work", "display": "x"}]})
    office.do("update_user", {"user": "ann", "email": "hr@example.com"})
    assert client.search('emails.value eq "hr@example.com"')[0]["emails"][-1]["value"] == "hr@example.com"


def test_a_name_is_made_of_its_parts_where_none_is_to_be_displayed(client: ScimClient, office: Office) -> None:
    made = client.create("ann", name={"givenName": "Ann", "familyName": "Archer"})
    path = f"/Users/{made['id']}"
    assert "displayName" not in made
    assert user(office, "ann").name == "Ann Archer"
    assert client.search("displayName pr") == []

    client.patch(path, {"op": "replace", "path": "name.familyName", "value": "Baker"})
    assert user(office, "ann").name == "Ann Baker"
    client.patch(path, {"op": "add", "path": "displayName", "value": "Annie"})
    assert user(office, "ann").name == "Annie"
    assert "displayName" not in found(client.patch(path, {"op": "remove", "path": "displayName"}))
    assert user(office, "ann").name == "Ann Baker"


def test_active_may_be_taken_away_and_changes_nothing(client: ScimClient, office: Office) -> None:
    for active in (True, False):
        made = client.create(f"ann-{active}", active=active)
        path = f"/Users/{made['id']}"
        for nothing in ({"op": "remove", "path": "active"}, {"op": "replace", "path": "active", "value": None}):
            assert "active" not in found(client.patch(path, nothing))
            assert user(office, f"ann-{active}").is_active is active
        assert client.search(f"active pr and id eq \"{made['id']}\"") == []
        office.do("update_user", {"user": {"id": made["id"]}, "is_active": not active})
        assert client.get(path)["active"] is not active, "what others do is seen"


def test_a_rename(client: ScimClient, office: Office) -> None:
    made = client.create("ann", externalId="A-1")

    client.patch(f"/Users/{made['id']}", {"op": "replace", "path": "userName", "value": "ann.married"})

    assert client.get(f"/Users/{made['id']}")["userName"] == "ann.married"
    assert client.search('userName eq "ann"') == []
    assert client.search('externalId eq "A-1"')[0]["id"] == made["id"]
    taken = client.ask("POST", "/Users", {"schemas": [USER], "userName": "ann"})
    assert taken.status_code == 409, "a name given up stays its owner's"


def test_a_password_is_hashed_at_the_door(client: ScimClient, office: Office) -> None:
    secret = "otters in the harbour"
    made = client.create("ann", password=secret, emails=[{"value": "ann@example.com", "type": "work"}])
    assert "password" not in made
    assert passwords.verify(user(office, "ann").password_hash, secret)
    assert office.jobs("send_password_changed_email") == [], "nobody is told of a first password"

    client.create("carol", password=secret, active=False)
    assert passwords.verify(user(office, "carol").password_hash, secret), "it opens nothing before the account is active"
    client.ask("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": "ann", "password": "herons on the old pier"})
    assert passwords.verify(user(office, "ann").password_hash, "herons on the old pier")
    told = " ".join(str(row) for table in ("job", "event", "attempt", "refusal") for row in office.rows(table))
    assert secret not in told
    assert "herons on" not in told
    assert "$argon2" not in told, "a hash is erased when its job ends"
