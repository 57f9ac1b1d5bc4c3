"""When something stands in front of a change: 503 with a time to come back, the change goes on, and a repeat does no harm."""

import threading

import pytest
from doors import Doors
from office import Office
from scim_client import USER, ScimClient, found, refused

from worker.scim import writing


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in these tests waits for what nobody does."""
    monkeypatch.setattr(writing, "STUCK_SECONDS", 0.3)


def test_behind_another_job_of_the_person(client: ScimClient, office: Office) -> None:
    office.world()
    [ann] = client.search('userName eq "ann"')
    path = f"/Users/{ann['id']}"
    office.submit("update_user", {"user": "ann", "attributes": {"desk": "7"}})  # and no worker comes by
    change = {"op": "replace", "path": "title", "value": "Pilot"}

    answer = client.patch(path, change)
    assert "goes on by itself" in refused(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert "title" not in client.get(path)
    refused(client.patch(path, change), 503)

    office.drain()
    assert client.get(path)["title"] == "Pilot", "it went on"
    user = office.user("ann")
    assert user is not None
    assert user.attributes["desk"] == "7"
    assert found(client.patch(path, change))["title"] == "Pilot", "and again"
    assert {one["state"] for one in office.jobs()} == {"succeeded"}


def test_closing_waits_for_nobody(client: ScimClient, office: Office) -> None:
    office.world()
    [ann] = client.search('userName eq "ann"')
    office.submit("update_user", {"user": "ann", "name": "Ann A"})

    answer = client.patch(f"/Users/{ann['id']}", {"op": "Replace", "path": "active", "value": "False"})

    assert found(answer)["active"] is False


def test_one_member_behind_another_job(client: ScimClient, office: Office) -> None:
    office.world()
    people = {one["userName"]: one["id"] for one in client.get("/Users")["Resources"]}
    group = client.group("pilots")
    path = f"/Groups/{group['id']}"
    office.submit("update_user", {"user": "ann", "name": "Ann A"})
    add = {"op": "add", "path": "members", "value": [{"value": one} for one in people.values()]}

    said = refused(client.patch(path, add), 503)

    assert "2 of 3" in said
    office.drain()
    assert {one["value"] for one in client.get(path)["members"]} == set(people.values())
    assert len(found(client.patch(path, add))["members"]) == 3


def test_a_create_behind_another_one(client: ScimClient, office: Office) -> None:
    office.submit("create_user", {"username": "dora", "name": "Dora of HR"})
    body = {"schemas": [USER], "userName": "dora"}

    refused(client.ask("POST", "/Users", body), 503)
    office.drain()

    refused(client.ask("POST", "/Users", body), 409, "uniqueness")
    assert [one["displayName"] for one in client.get("/Users")["Resources"]] == ["Dora of HR"]


def test_two_clients_want_one_name(doors: Doors) -> None:
    with ScimClient(doors, "one") as one, ScimClient(doors, "two") as two:
        barrier = threading.Barrier(2)
        codes: list[int] = []

        def ask(client: ScimClient, name: str) -> None:
            barrier.wait()
            codes.append(client.ask("POST", "/Users", {"schemas": [USER], "userName": name}).status_code)

        for turn in range(4):
            threads = [threading.Thread(target=ask, args=(client, f"{name}-{turn}"))
                       for client, name in ((one, "Dora"), (two, "DORA"))]  # fmt: skip
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)

        assert sorted(codes) == [201] * 4 + [409] * 4
        assert one.get("/Users")["totalResults"] == 4


def test_many_clients_at_once(doors: Doors) -> None:
    """Each patches the same person's telephone numbers; none is lost, though nobody says which version is meant."""
    clients = [ScimClient(doors) for _ in range(4)]
    made = clients[0].create("dora")
    codes: list[int] = []

    def ask(client: ScimClient, number: int) -> None:
        change = {"op": "add", "path": "phoneNumbers", "value": [{"value": f"+4{number}", "type": f"t{number}"}]}
        codes.append(client.patch(f"/Users/{made['id']}", change).status_code)

    threads = [threading.Thread(target=ask, args=(client, number)) for number, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    kept = {one["value"] for one in clients[0].get(f"/Users/{made['id']}").get("phoneNumbers", [])}
    assert len(kept) == codes.count(200)
    assert set(codes) <= {200, 503}, "whose change could not be settled is told to come again"
    assert codes.count(200) >= 1
    for client in clients:
        client.http.close()
