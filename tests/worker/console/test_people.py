"""People in the console: the list and its pages, a person's tabs, groups; quick with many, and harmless with any name."""

from collections.abc import Iterator
from typing import Any

import pytest
from at_console import confirmed, looked
from belongings import equip
from doors import doors_of
from office import Office
from sheet import Sheet
from sqlalchemy import event

from worker.bulk import insert_rows
from worker.ids import new_ids
from worker.tables import groups as group_table
from worker.tables import membership, users

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}"
MANY = 10_000


def a_user(office: Any, id_: str, username: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": id_, "username": username, "username_folded": username.casefold(), "external_id": None, "path": "users",
        "name": "", "email": None, "email_folded": None, "type": "internal", "attributes": {}, "is_active": True,
        "epoch": 1, "version": 1, "created_at": office.now, "updated_at": office.now, **fields,
    }  # fmt: skip


@pytest.fixture(scope="module")
def crowd(desk: Any) -> Any:
    """Ten thousand people, all in one group, beside those of the small world."""
    office = desk.office
    office.world()
    ids = new_ids(MANY)
    with office.scope() as scope:
        rows = [
            a_user(office, id_, f"p{number:05}", name=f"Person {number}", email=f"p{number}@example.com",
                   path="users/crowd", is_active=number % 2 == 0)
            for number, id_ in enumerate(ids)
        ]  # fmt: skip
        for start in range(0, MANY, 1000):
            insert_rows(scope.conn, users, rows[start : start + 1000])
        [group] = new_ids(1)
        insert_rows(scope.conn, group_table, [{
            "id": group, "name": "all/of them", "name_folded": "all/of them", "attributes": {}, "created_at": office.now,
            "updated_at": office.now,
        }])  # fmt: skip
        links = [{"user_id": id_, "group_id": group, "origin": "feed", "added_at": office.now} for id_ in ids]
        for start in range(0, MANY, 1000):
            insert_rows(scope.conn, membership, links[start : start + 1000])
    return desk


@pytest.fixture(scope="module")
def look(crowd: Any) -> Any:
    return crowd.browser("look")


@pytest.fixture
def statements(crowd: Any) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    said: list[str] = []

    def heard(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement)

    engine = crowd.office.app.database.engine
    event.listen(engine, "before_cursor_execute", heard)
    yield said
    event.remove(engine, "before_cursor_execute", heard)


def names(sheet: Sheet) -> list[str]:
    return ["".join(one.itertext()).strip() for one in sheet.all("th", scope="row")]


def test_the_list_goes_on_from_name_to_name_to_the_last_one(look: Any, statements: list[str]) -> None:
    path, seen, pages = "/console/people?path=users/crowd", [], 0
    while path:
        sheet = Sheet(look.get(path))
        seen += names(sheet)
        pages += 1
        path = next((link.get("href") for link in sheet.all("a", rel="next")), "") or ""
        if pages == 3:  # the middle is as near as the beginning
            path = "/console/people?path=users%2Fcrowd&after=p09949"
    assert seen[:150] == [f"p{number:05}" for number in range(150)]
    assert seen[-50:] == [f"p{number:05}" for number in range(9950, MANY)]
    assert not any(" OFFSET " in one.upper().replace("LIMIT ? OFFSET ?", "") or "OFFSET :" in one for one in statements)


def test_a_page_of_many_is_one_page(look: Any, statements: list[str]) -> None:
    answer = look.get("/console/people")
    assert len(names(Sheet(answer))) == 50
    assert "People more than 10,000" in Sheet(answer).text
    assert len(statements) < 10
    assert len(answer.content) < 100_000


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=E-1001", ["ann"]), ("search=ARCHER", ["ann"]), ("search=bob@", ["bob"]), ("search=caro", ["carol"]),
        ("search=p0777", [f"p0777{digit}" for digit in range(10)]), ("search=%25", []), ("search=_nn", []), ("search=zzz", []),
        ("state=inactive&path=users&search=example", None), ("search=ann&state=inactive", []), ("state=nonsense&search=ann", ["ann"]),
        ("path=users/cro", []), ("search=" + "x" * 5000, []),
    ],
)  # fmt: skip
def test_search(look: Any, query: str, found: list[str] | None) -> None:
    answer = look.get(f"/console/people?{query}")
    assert answer.status_code == 200
    if found is None:
        assert len(names(Sheet(answer))) == 50
    else:
        assert names(Sheet(answer)) == found


def test_an_empty_search_says_so(look: Any) -> None:
    assert "Nobody is like that" in Sheet(look.get("/console/people?search=zzz")).text


def test_locked_and_leaving_people_are_found(crowd: Any, look: Any) -> None:
    office = crowd.office
    for username in ("quinn", "rita", "sven"):
        office.do("create_user", {"username": username, "email": f"{username}@example.com"})
    office.do("lock_user", {"user": "quinn", "owner": "security <b>", "reason": "stolen & sold"})
    office.do("delete_user", {"user": "rita", "grace": "P10D"})
    office.do("set_legal_hold", {"user": "sven", "owner": "legal", "reason": "case 7"})
    assert names(Sheet(look.get("/console/people?state=locked"))) == ["quinn"]
    assert names(Sheet(look.get("/console/people?state=leaving"))) == ["rita"]
    page = Sheet(look.get(f"/console/people/{office.user('quinn').id}"))
    assert "Locked by security <b> : stolen & sold" in page.text
    page = Sheet(look.get(f"/console/people/{office.user('rita').id}"))
    assert "deleted for good: in 10 d" in page.text
    assert "1 job is still to be done" in page.text
    assert "Legal hold for legal" in Sheet(look.get(f"/console/people/{office.user('sven').id}")).text


def test_the_members_of_a_group_page_by_page(look: Any) -> None:
    listed = Sheet(look.get("/console/groups?search=all"))
    assert names(listed) == ["all/of them"]
    [path] = [link for link in listed.links() if link.startswith("/console/groups/")]
    first = Sheet(look.get(path))
    assert names(first) == [f"p{number:05}" for number in range(50)]
    assert "Members 10,000" in first.text
    [following] = first.all("a", rel="next")
    assert names(Sheet(look.get(following.get("href"))))[0] == "p00050"


def test_what_is_not_there_is_said_as_a_page(look: Any) -> None:
    for path in ("/console/people/x", "/console/people/01930f3e-0000-7000-8000-000000000001", "/console/groups/nope",
                 "/console/people/../jobs/x", "/console/people/x/y/z"):  # fmt: skip
        answer = look.get(path)
        assert answer.status_code == 404, path
        assert "text/html" in answer.headers["content-type"]


def test_whoever_may_not_see_people_sees_none(crowd: Any) -> None:
    nosy = crowd.browser("jobs:read")
    ann = crowd.office.user("ann").id
    for path in ("/console/people", f"/console/people/{ann}", f"/console/people/{ann}/events", "/console/groups",
                 "/console/groups/staff", f"/console/people/do/deactivate_user?user={ann}"):  # fmt: skip
        answer = nosy.get(path)
        assert answer.status_code == 403, path
        assert "example.com" not in answer.text


# ---------------------------------------------------------------------------------------------------- one person


TABS = {"": "Ann Archer", "/sessions": "10.0.0.1", "/groups": "staff", "/events": "user.created", "/consents": "wiki",
        "/tokens": "wiki", "/mfa": "yellow key", "/permissions": "tickets.close"}  # fmt: skip


@pytest.fixture(scope="module")
def ann(crowd: Any) -> str:
    """Ann with a credential of each kind."""
    office = crowd.office
    found: str = office.user("ann").id
    equip(office, found)
    office.do("grant_permission", {"name": "tickets.close", "object": "queue/7", "user": "ann"})
    return found


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_has_an_address_of_its_own(look: Any, ann: str, tab: str) -> None:
    sheet = Sheet(look.get(f"/console/people/{ann}{tab}"))
    assert sheet.status == 200
    assert TABS[tab] in sheet.text
    current = [one.get("href") for one in sheet.all("a", **{"aria-current": "page"})]
    assert f"/console/people/{ann}{tab}" in current


def test_nobody_who_only_looks_is_offered_to_do_anything(look: Any, ann: str) -> None:
    for tab in TABS:
        sheet = Sheet(look.get(f"/console/people/{ann}{tab}"))
        assert not [link for link in sheet.links() if "/do/" in link]
        assert not list(sheet.all("input", type="checkbox"))
    assert "/do/" not in look.get("/console/people").text


def test_what_is_offered_follows_what_one_may(crowd: Any, ann: str) -> None:
    helpdesk = crowd.browser("users:read", "jobs:submit:send_*")
    offered = [link for link in Sheet(helpdesk.get(f"/console/people/{ann}")).links() if "/do/" in link]
    assert [link.split("?")[0].rpartition("/")[2] for link in offered] == ["send_recovery_email", "send_welcome_email"]
    operator = Sheet(crowd.browser("operate").get(f"/console/people/{ann}")).text
    assert "Deactivate" in operator
    assert "Set a password" not in operator


# --------------------------------------------------------------------------------------------------------- hostile


def test_nothing_that_a_person_is_called_becomes_part_of_a_page(crowd: Any) -> None:
    office = crowd.office
    long = "ab" * 75
    cases = [HOSTILE[:100], long, "דוד\u200fכהן", "a\u0301\u0302" * 30]
    chief = crowd.browser("admin")
    office.do("create_group", {"group": HOSTILE, "attributes": {HOSTILE: HOSTILE}})
    for number, username in enumerate(cases):
        made = office.do("create_user", {
            "username": username.replace("\u200f", ""), "name": HOSTILE, "external_id": f"{HOSTILE}{number}", "groups": [HOSTILE],
            "attributes": {HOSTILE: HOSTILE, "javascript:alert(3)": {"<b>": ["<i>"]}, "url": "javascript:alert(4)"},
            "path": "users/<script>",
        }, why=HOSTILE, requested_by=HOSTILE)  # fmt: skip
        assert made.state == "succeeded", made
        office.do("grant_permission", {"name": "<script>alert(5)</script>", "object": HOSTILE, "user": {"id": made.result["user"]}})
        equip(office, made.result["user"], ip=HOSTILE[:40], application=HOSTILE, device=HOSTILE)
        office.do("lock_user", {"user": {"id": made.result["user"]}, "owner": HOSTILE, "reason": HOSTILE})
        base = f"/console/people/{made.result['user']}"
        forms = [f"/console/people/do/{kind}?user={made.result['user']}" for kind in
                 ("update_user", "transfer_user", "add_to_group", "revoke_sessions", "delete_user")]  # fmt: skip
        for path in (*(base + tab for tab in TABS), *forms):
            answer = chief.get(path)
            assert answer.status_code == 200, answer.text
            harmless(answer.text)
    for path in ("/console/people", "/console/people?search=script", "/console/groups", "/console/groups?search=script",
                 f"/console/people?search={HOSTILE}&path={HOSTILE}&state={HOSTILE}"):  # fmt: skip
        answer = chief.client.get(path)
        assert answer.status_code == 200
        harmless(answer.text)
    group = [link for link in Sheet(chief.get("/console/groups?search=script")).links() if link.startswith("/console/groups/")]
    page = chief.get(group[0])
    assert page.status_code == 200
    assert HOSTILE in Sheet(page).text
    harmless(page.text)


def harmless(html: str) -> None:
    """Nothing of what was typed is markup, and no link leads anywhere but into the console."""
    sheet = Sheet(type("Answer", (), {"status_code": 200, "text": html, "url": ""})())
    assert all(one.get("src") for one in sheet.all("script")), "a script stands in the page"
    assert not list(sheet.all("img"))
    for one in sheet.root.iter():
        if isinstance(one.tag, str):
            assert not [name for name in one.attrib if name.startswith("on") or name == "style"], one.attrib
            for name in ("href", "action", "formaction", "src"):
                target = one.get(name)
                assert target is None or target.startswith(("/console", "#")), target


def test_three_people_and_none(sqlite_url: str) -> None:
    office = Office(sqlite_url)
    with doors_of(office) as doors:
        client = doors.caller()
        client.post("/console/sign-in", data={"token": doors.token("operate")})
        empty = Sheet(client.get("/console/people"))
        assert "There is nobody yet" in empty.text
        assert "There are no groups yet" in Sheet(client.get("/console/groups")).text
        for username in ("carol", "ann", "bob"):
            office.do("create_user", {"username": username})
        three = Sheet(client.get("/console/people"))
        assert names(three) == ["ann", "bob", "carol"]
        assert not list(three.all("a", rel="next"))
    office.close()


def test_the_pages_are_the_same_on_postgresql(postgres_url: str) -> None:
    office = Office(postgres_url)
    office.world()
    with doors_of(office) as doors:
        client = doors.caller()
        client.post("/console/sign-in", data={"token": doors.token("admin")})
        office.do("create_group", {"group": "everybody"})
        office.do("update_group", {"group": "staff", "add_parents": ["everybody"]})
        ann = office.user("ann")
        assert ann is not None
        equip(office, ann.id)
        assert names(Sheet(client.get("/console/people?search=ARCHER"))) == ["ann"]
        assert names(Sheet(client.get("/console/people?after=ann&state=active"))) == ["bob"]
        assert names(Sheet(client.get("/console/people?state=locked"))) == []
        assert "a group below" in Sheet(client.get("/console/groups/everybody")).text
        for tab in TABS:
            assert client.get(f"/console/people/{ann.id}{tab}").status_code == 200
        look = looked(client, "revoke_sessions", on={"everybody": "1", "search": "an"})
        assert "sessions" in look.text
        done = confirmed(client, look, "End sessions", typed="ann")
        assert done.status_code == 303
        office.drain()
        assert "succeeded" in Sheet(client.get(done.headers["location"])).text
        assert client.get("/console/people/done/nonsense").status_code == 404
    office.close()
