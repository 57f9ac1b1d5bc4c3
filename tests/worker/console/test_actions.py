"""Doing things in the console: a form, what it would change, a job; once however often it is sent, and only by who may."""

import re
from typing import Any

import httpx
import pytest
from at_console import confirmed, looked, opened
from belongings import equip
from sheet import Sheet, Typed

from worker.directory.passwords import verify

HOSTILE = "\"'><script>alert(1)</script>"


@pytest.fixture(scope="module")
def operator(desk: Any, peopled: Any) -> httpx.Client:
    found: httpx.Client = desk.browser("operate").client
    return found


@pytest.fixture
def person(peopled: Any, request: pytest.FixtureRequest) -> Any:
    """Somebody new, who has one of each credential."""
    username = "p-" + re.sub(r"[^a-z0-9]", "", request.node.name.lower())[-40:]
    made = peopled.do("create_user", {"username": username, "email": f"{username}@example.com", "name": "Some Body",
                                     "groups": ["staff"], "attributes": {"office": "B2", "floor": 3}})  # fmt: skip
    equip(peopled, made.result["user"])
    return peopled.user(username)


def jobs(peopled: Any, kind: str) -> list[dict[str, Any]]:
    return [one for one in peopled.jobs(kind) if one["source"].startswith("token/")]


# ------------------------------------------------------------------------------------------------ from end to end


def test_somebody_is_created_edited_and_offboarded(peopled: Any, chief: httpx.Client) -> None:
    typed: Typed = {"username": "dora", "name": "Dora Diaz", "email": "dora@example.com", "groups": "staff\nadministrators",
             "attributes.name": ["office", "floor"], "attributes.value": ["B2", "3"], "why": "new in sales"}  # fmt: skip
    look = looked(chief, "create_user", typed=typed)
    assert "user username nothing dora" in look.text
    assert peopled.user("dora") is None
    done = confirmed(chief, look, "Create a person")
    assert done.status_code == 303
    page = Sheet(chief.get(done.headers["location"]))
    assert "queued" in page.text
    peopled.drain()
    page = Sheet(chief.get(done.headers["location"]))
    assert "succeeded" in page.text
    [to] = [link for link in page.links() if re.fullmatch(r"/console/people/[0-9a-f-]{36}", link)]
    assert "Dora Diaz" in Sheet(chief.get(to)).text
    [job] = [one for one in jobs(peopled, "create_user") if one["payload"]["username"] == "dora"]
    assert job["why"] == "new in sales"
    assert job["requested_by"] == job["source"]
    assert job["payload"] == {
        "username": "dora", "name": "Dora Diaz", "email": "dora@example.com", "groups": ["staff", "administrators"],
        "attributes": {"office": "B2", "floor": 3},
    }  # fmt: skip

    dora = peopled.user("dora")
    form = opened(chief, "update_user", user=dora.id).form("/console/people/do/")
    assert form.fields()["name"] == ["Dora Diaz"]
    look = Sheet(form.send(chief, "Show what", {"name": "Dora Dean", "attributes.value": ["C3", ""], "manager": "bob"}))
    for change in ("user name Dora Diaz Dora Dean", "attribute floor 3 nothing", "attribute office B2 C3", "user manager nothing bob"):
        assert change in look.text
    done = confirmed(chief, look, "Edit")
    assert done.headers["location"].startswith(f"/console/people/{dora.id}?done=")
    peopled.drain()
    assert "Dora Dean" in Sheet(chief.get(done.headers["location"])).text
    assert jobs(peopled, "update_user")[-1]["payload"] == {
        "user": {"id": dora.id}, "expected_version": 1, "name": "Dora Dean", "manager": {"username": "bob"},
        "attributes": {"office": "C3", "floor": None},
    }  # fmt: skip

    equip(peopled, dora.id)
    look = looked(chief, "offboard_user", on={"user": dora.id}, reason="left")
    assert "sessions 1 0" in look.text
    assert "member of staff manual nothing" in look.text
    assert "Then delete_user for dora" in look.text
    assert confirmed(chief, look, "Offboard", typed="dorA").status_code == 303
    peopled.drain()
    assert not peopled.user("dora").is_active
    assert "still to be done" in Sheet(chief.get(f"/console/people/{dora.id}")).text


def test_deactivating_shows_first_what_ends(peopled: Any, operator: httpx.Client, person: Any) -> None:
    look = looked(operator, "deactivate_user", on={"user": person.id}, reason="on leave")
    for change in ("user is active yes no", "sessions 1 0", "refresh tokens 1 0", "consents 1 0"):
        assert change in look.text
    assert peopled.user(person.username).is_active
    assert confirmed(operator, look, "Deactivate").status_code == 303
    peopled.drain()
    assert not peopled.user(person.username).is_active
    assert "sessions" not in looked(operator, "deactivate_user", on={"user": person.id}).text


def test_one_session_is_ended_and_not_the_other(peopled: Any, operator: httpx.Client, person: Any) -> None:
    other = equip(peopled, person.id, ip="10.9.9.9", application="shop", device="blue key")
    tab = Sheet(operator.get(f"/console/people/{person.id}/sessions"))
    form = Sheet(tab.form("/console/people/do/revoke_sessions").send(operator, "End the sessions ticked", {"ids": [other]}))
    look = Sheet(form.form("/console/people/do/").send(operator, "Show what"))
    assert "sessions 2 1" in look.text
    confirmed(operator, look, "End sessions")
    peopled.drain()
    assert [row["ip"] for row in peopled.rows("session", user_id=person.id)] == ["10.0.0.1"]


def test_a_refusal_is_said_before_anything_is_done(peopled: Any, chief: httpx.Client) -> None:
    peopled.do("set_legal_hold", {"user": "carol", "owner": "legal", "reason": "case"})
    look = looked(chief, "delete_user", on={"user": peopled.user("carol").id})
    assert "This would be refused" in look.text
    assert "legal hold" in look.text
    assert not [one for one in look.all("button") if one.get("value") == "confirm"]


def test_a_mail_says_to_whom_it_goes(peopled: Any, operator: httpx.Client, person: Any) -> None:
    look = looked(operator, "send_recovery_email", on={"user": person.id}, valid_for="30 minutes")
    assert f"would go to {person.email}" in look.text
    confirmed(operator, look, "Send recovery mail")
    assert jobs(peopled, "send_recovery_email")[-1]["payload"]["valid_for"] == "PT30M"


def test_a_group_is_made_changed_and_deleted(peopled: Any, chief: httpx.Client) -> None:
    done = confirmed(chief, looked(chief, "create_group", group="a/b #?%", parents="staff"), "Create a group")
    peopled.drain()
    assert peopled.ended(done.headers["location"].split("/")[-1].split("?")[0]).state == "succeeded"
    [link] = [one for one in Sheet(chief.get("/console/groups?search=a/b")).links() if one.startswith("/console/groups/a")]
    page = Sheet(chief.get(link))
    [edit] = [one for one in page.links() if "/do/update_group" in one]
    look = Sheet(Sheet(chief.get(edit)).form("/console/people/do/").send(chief, "Show", {"name": "a/c", "set_parents": ""}))
    assert "group name a/b #?% a/c" in look.text
    assert "parent staff yes nothing" in look.text.replace("True", "yes")
    confirmed(chief, look, "Edit")
    peopled.drain()
    look = looked(chief, "delete_group", on={"group": "a/c"})
    assert confirmed(chief, look, "Delete", typed="a/b").status_code == 422
    assert confirmed(chief, look, "Delete", typed="a/c").status_code == 303
    peopled.drain()
    assert chief.get("/console/groups/a/c").status_code == 404


def test_a_permission_is_granted_and_revoked(peopled: Any, chief: httpx.Client, person: Any) -> None:
    confirmed(chief, looked(chief, "grant_permission", on={"user": person.id}, name="tickets.close", object="queue/7"), "Grant")
    peopled.drain()
    tab = Sheet(chief.get(f"/console/people/{person.id}/permissions"))
    [revoke] = [link for link in tab.links() if "revoke_permission" in link and "name=" in link]
    look = Sheet(Sheet(chief.get(revoke)).form("/console/people/do/").send(chief, "Show"))
    assert "may tickets.close on queue/7 yes nothing" in look.text
    confirmed(chief, look, "Revoke")
    peopled.drain()
    assert "There are no permissions" in Sheet(chief.get(f"/console/people/{person.id}/permissions")).text


# --------------------------------------------------------------------------------------------------------- dangers


def test_deleting_asks_for_the_username(peopled: Any, chief: httpx.Client, person: Any) -> None:
    look = looked(chief, "delete_user", on={"user": person.id})
    for wrong in ("", "somebody else", person.id):
        answer = confirmed(chief, look, "Delete", typed=wrong)
        assert answer.status_code == 422
        assert "Nothing was done" in Sheet(answer).error("typed")
    assert not [one for one in jobs(peopled, "delete_user") if one["payload"]["user"] == {"id": person.id}]
    done = confirmed(chief, look, "Delete", typed=person.username)
    assert done.headers["location"].startswith("/console/people/done/")
    peopled.drain()
    assert peopled.user(person.username) is None
    assert "succeeded" in Sheet(chief.get(done.headers["location"])).text
    assert chief.get(f"/console/people/{person.id}").status_code == 404


@pytest.mark.parametrize("kind", ["create_recovery_link", "remove_mfa_devices", "reset_password", "delete_user"])
def test_what_is_dangerous_asks_for_the_username(peopled: Any, chief: httpx.Client, person: Any, kind: str) -> None:
    look = looked(chief, kind, on={"user": person.id}, typed={"all": "true"} if kind == "remove_mfa_devices" else {})
    assert look.form("/console/people/do/").fields()["typed"] == [""]
    assert confirmed(chief, look, "", typed="x").status_code == 422


def test_offboarding_now_asks_and_later_does_not(peopled: Any, chief: httpx.Client, person: Any) -> None:
    assert "typed" in looked(chief, "offboard_user", on={"user": person.id}).form("/console/people/do/").fields()
    look = looked(chief, "offboard_user", on={"user": person.id}, at="2030-03-31T18:00", retention="")
    assert "typed" not in look.form("/console/people/do/").fields()
    done = confirmed(chief, look, "Offboard")
    assert done.status_code == 303
    assert jobs(peopled, "offboard_user")[-1]["payload"] == {"user": {"id": person.id}, "at": "2030-03-31T18:00:00", "retention": None}
    peopled.drain()
    assert "scheduled" in Sheet(chief.get(f"/console/people/{person.id}")).text


# ------------------------------------------------------------------------------------------------------------ once


def test_a_form_sent_twice_is_one_job(peopled: Any, operator: httpx.Client, person: Any) -> None:
    look = looked(operator, "lock_user", on={"user": person.id}, owner="security", reason="stolen laptop")
    first, second = confirmed(operator, look, "Lock"), confirmed(operator, look, "Lock")
    assert first.headers["location"] == second.headers["location"]
    peopled.drain()
    third = confirmed(operator, look, "Lock")  # back, and once more
    assert third.headers["location"] == first.headers["location"]
    assert len([one for one in jobs(peopled, "lock_user") if one["payload"]["user"] == {"id": person.id}]) == 1


def test_going_back_and_changing_it_is_another_job(peopled: Any, operator: httpx.Client, person: Any) -> None:
    look = looked(operator, "deactivate_user", on={"user": person.id}, reason="one")
    confirmed(operator, look, "Deactivate")
    form = Sheet(look.form("/console/people/do/").send(operator, "Change something"))
    assert form.form("/console/people/do/").fields()["reason"] == ["one"]
    again = Sheet(form.form("/console/people/do/").send(operator, "Show what", {"reason": "two"}))
    confirmed(operator, again, "Deactivate")
    made = [one["payload"]["reason"] for one in jobs(peopled, "deactivate_user") if one["payload"]["user"] == {"id": person.id}]
    assert made == ["one", "two"]


# ----------------------------------------------------------------------------------------------------- who may what


def test_whoever_may_not_do_it_cannot(desk: Any, peopled: Any, operator: httpx.Client, person: Any) -> None:
    looker = desk.browser("look")
    for kind in ("deactivate_user", "delete_user", "create_user"):
        assert looker.get(f"/console/people/do/{kind}?user={person.id}").status_code == 403
        answer = looker.post(f"/console/people/do/{kind}", {"user": person.id, "step": "confirm", "typed": person.username})
        assert answer.status_code == 403
    for kind in ("delete_user", "reset_password", "create_recovery_link", "grant_permission", "unlock_user"):
        assert operator.get(f"/console/people/do/{kind}?user={person.id}").status_code == 403
    narrow = desk.browser("users:read", "jobs:submit:lock_user")
    assert narrow.get(f"/console/people/do/lock_user?user={person.id}").status_code == 200
    assert narrow.get(f"/console/people/do/unlock_user?user={person.id}").status_code == 403
    assert peopled.user(person.username).is_active


def test_without_the_sessions_token_nothing_happens(peopled: Any, chief: httpx.Client, person: Any) -> None:
    fields = {"user": person.id, "step": "confirm", "nonce": "0" * 32}
    for csrf in ({}, {"csrf": ""}, {"csrf": "guess"}):
        assert chief.post("/console/people/do/deactivate_user", data={**fields, **csrf}).status_code == 403
    assert not [one for one in jobs(peopled, "deactivate_user") if one["payload"]["user"] == {"id": person.id}]


@pytest.mark.parametrize("kind", ["receive_hr_message", "accept_invitation", "send_manager_notice", "nonsense"])
def test_what_is_not_for_people_is_not_done_from_here(desk: Any, chief: httpx.Client, kind: str) -> None:
    assert chief.get(f"/console/people/do/{kind}").status_code == 404
    assert desk.browser("admin").post(f"/console/people/do/{kind}", {"step": "confirm"}).status_code == 404


def test_nobody_chosen_and_nobody_there(desk: Any, chief: httpx.Client) -> None:
    assert "Nobody was chosen" in chief.get("/console/people/do/delete_user?several=1").text
    gone = "01930f3e-0000-7000-8000-000000000001"
    assert chief.get(f"/console/people/do/delete_user?user={gone}").status_code == 404
    assert chief.get("/console/people/do/delete_group?group=nope").status_code == 404
    assert chief.get("/console/people/do/delete_group").status_code == 404


def test_a_form_that_was_tampered_with_is_no_server_error(desk: Any, person: Any) -> None:
    browser = desk.browser("admin")
    for present in ("[]", "{", "null", '{"attributes": 5}', '{"manager": 7}', '{"name": {"a": 1}}', "[" * 2000):
        answer = browser.post("/console/people/do/update_user", {"user": person.id, "present": present, "name": "x"})
        assert answer.status_code in {200, 422}, present
        assert "form" in Sheet(answer).text or answer.status_code == 200


# ------------------------------------------------------------------------------------------------ passwords and links


def test_a_password_leaves_as_a_hash_and_stands_nowhere(peopled: Any, chief: httpx.Client, person: Any) -> None:
    secret = "correct horse battery staple"
    look = looked(chief, "reset_password", on={"user": person.id})
    assert "sessions 1 0" in look.text
    assert "user password hash nothing (set)" in look.text
    answer = confirmed(chief, look, "Set", password=secret, again=secret + "!", typed=person.username)
    assert answer.status_code == 422
    assert "not the same" in Sheet(answer).error("again")
    assert secret not in answer.text
    answer = confirmed(chief, look, "Set", password="short", again="short", typed=person.username)
    assert "12 to 1024" in Sheet(answer).error("password")
    assert 'value="short"' not in answer.text
    done = confirmed(chief, look, "Set", password=secret, again=secret, typed=person.username)
    assert done.status_code == 303
    assert done.headers["location"] == confirmed(chief, look, "Set", password=secret, again=secret, typed=person.username).headers["location"]
    for row in peopled.jobs("reset_password"):
        assert secret not in str(row)
    peopled.drain()
    [row] = peopled.rows("users", id=person.id)
    assert verify(row["password_hash"], secret)
    another = "another horse battery staple"
    later = confirmed(chief, look, "Set", password=another, again=another, typed=person.username)
    assert later.headers["location"] != done.headers["location"], "the second password is not taken for the first"
    peopled.drain()
    [row] = peopled.rows("users", id=person.id)
    assert verify(row["password_hash"], another)


def test_a_recovery_link_is_shown_once(desk: Any, peopled: Any, chief: httpx.Client, person: Any) -> None:
    look = looked(chief, "create_recovery_link", on={"user": person.id}, valid_for="30 minutes")
    assert "http" not in look.text
    done = confirmed(chief, look, "Make", typed=person.username)
    place = done.headers["location"]
    assert "Show the link" not in chief.get(place).text
    peopled.drain()
    page = Sheet(chief.get(place))
    form = page.form("/console/people/done/")
    other = desk.browser("admin")
    assert other.post(form.action).status_code == 404, "another administrator's"
    shown = form.send(chief, "Show the link")
    [field] = Sheet(shown).all("input", id="link")
    token = str(field.get("value")).rpartition("/")[2]
    assert len(token) > 30
    assert shown.headers["cache-control"] == "no-store"
    again = form.send(chief, "Show the link")  # what a reload would do
    assert again.status_code == 410
    assert token not in again.text
    assert "Show the link" not in chief.get(place).text
    [told] = [one for one in peopled.events(person.username) if one["action"] == "recovery.link_shown"]
    assert told["actor"].startswith("token/")
    assert token not in str([peopled.jobs(), peopled.rows("event"), peopled.rows("recovery")])


# ------------------------------------------------------------------------------------------------------- what is wrong


def test_what_is_wrong_is_said_beside_the_field_and_the_rest_is_kept(peopled: Any, chief: httpx.Client) -> None:
    typed = {"username": "", "zone": "Mars/North", "name": HOSTILE, "start_date": "2026-13-99", "groups": "x\ny",
             "attributes.name": ["a", "a", ""], "attributes.value": ["1", "2", ""]}  # fmt: skip
    answer = opened(chief, "create_user").form("/console/people/do/").send(chief, "Show what", typed)
    sheet = Sheet(answer)
    assert sheet.status == 422
    assert sheet.error("username") == "this is needed"
    assert "IANA" in sheet.error("zone")
    assert sheet.error("start_date")
    assert "two rows called a" in sheet.text
    kept = sheet.form("/console/people/do/").fields()
    assert kept["name"] == [HOSTILE]
    assert kept["zone"] == ["Mars/North"]
    assert kept["groups"] == ["x\ny"]
    assert kept["attributes.value"][:2] == ["1", "2"]
    assert "<script>alert" not in answer.text


def test_more_rows_keep_what_was_typed(chief: httpx.Client) -> None:
    form = opened(chief, "create_user").form("/console/people/do/")
    typed = {"username": "x", "attributes.name": ["a", "b", "c"], "attributes.value": ["1", "2", "3"]}
    more = Sheet(form.send(chief, "More rows", typed)).form("/console/people/do/").fields()
    assert more["attributes.name"] == ["a", "b", "c", "", "", ""]
    assert more["username"] == ["x"]


def test_a_change_decided_on_an_older_state_is_refused(peopled: Any, chief: httpx.Client, person: Any) -> None:
    form = opened(chief, "update_user", user=person.id).form("/console/people/do/")
    peopled.do("update_user", {"user": person.username, "name": "Meanwhile"})
    look = Sheet(form.send(chief, "Show what", {"name": "Too late"}))
    assert "This would be refused" in look.text
    assert "version" in look.text


def test_progress_belongs_to_whoever_asked(desk: Any, peopled: Any, operator: httpx.Client, person: Any) -> None:
    done = confirmed(operator, looked(operator, "lock_user", on={"user": person.id}, owner="s", reason="r"), "Lock")
    job = done.headers["location"].rpartition("=")[2]
    assert operator.get(f"/console/people/done/{job}").status_code == 200
    assert desk.browser("admin").get(f"/console/people/done/{job}").status_code == 404
    assert operator.get("/console/people/done/x").status_code == 404
    world = peopled.jobs("create_user")[0]["id"]
    assert operator.get(f"/console/people/done/{world}").status_code == 404


def test_the_part_that_htmx_asks_for(peopled: Any, operator: httpx.Client, person: Any) -> None:
    done = confirmed(operator, looked(operator, "lock_user", on={"user": person.id}, owner="s", reason="r"), "Lock")
    page = Sheet(operator.get(done.headers["location"]))
    [part] = page.all("section", id="progress")
    path = str(part.get("hx-get"))
    waiting = operator.get(path, headers={"HX-Request": "true"})
    assert "<html" not in waiting.text
    assert "hx-get" in waiting.text
    assert "hx-refresh" not in waiting.headers
    peopled.drain()
    over = operator.get(path, headers={"HX-Request": "true"})
    assert "hx-get" not in over.text
    assert over.headers["hx-refresh"] == "true"
