"""Signing in to the console and out again: cookies, forged forms, revoked tokens, and where a sign-in may lead."""

import re
from typing import Any

import pytest
from sheet import Sheet

from worker import api_tokens
from worker.console.session import HOME, local
from worker.web.limits import FAILURES_AT_ONCE

OWN_PAGES = ("/console", "/console/jobs", "/console/jobs/refusals", "/console/mail", "/console/now/live")


def cookie_of(answer: Any) -> str:
    found: str = answer.headers["set-cookie"]
    return found


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(desk: Any) -> None:
    stranger = desk.browser()
    answer = stranger.get("/console/jobs?state=failed&kind=send_recovery_email")
    assert answer.status_code == 303
    page = stranger.get(answer.headers["location"])
    assert page.status_code == 200
    form = Sheet(page).form("/console/sign-in")
    answer = form.send(stranger.client, typed={"token": desk.doors.token("look")})
    assert answer.headers["location"] == "/console/jobs?state=failed&kind=send_recovery_email"
    assert stranger.get(answer.headers["location"]).status_code == 200


def test_the_address_of_the_server_leads_to_the_console(desk: Any) -> None:
    assert desk.browser().get("/").headers["location"] == HOME


@pytest.mark.parametrize("path", OWN_PAGES)
def test_every_page_asks_for_a_session(desk: Any, path: str) -> None:
    assert desk.browser().get(path).headers["location"].startswith("/console/sign-in")
    asked = desk.browser().get(path, headers={"HX-Request": "true", "HX-Current-URL": f"{desk.url}/console/jobs?state=held"})
    assert asked.status_code == 401
    assert asked.headers["hx-redirect"] == "/console/sign-in?next=%2Fconsole%2Fjobs%3Fstate%3Dheld"


def test_the_cookie_is_for_this_server_alone(desk: Any) -> None:
    cookie = cookie_of(desk.browser().sign_in(desk.doors.token("look")))
    assert cookie.startswith("muster=")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


def test_over_tls_the_cookie_is_secure_and_nobody_else_can_set_it(open_desk: Any) -> None:
    desk = open_desk(public_url="https://id.example.org")
    browser = desk.browser()
    answer = browser.client.post(
        "/console/sign-in", data={"token": desk.doors.token("look")}, headers={"Origin": "https://id.example.org"}
    )
    cookie = cookie_of(answer)
    assert cookie.startswith("__Host-muster=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))


def test_the_cookie_rests_nowhere(desk: Any) -> None:
    browser = desk.browser("look")
    kept = desk.office.rows("console_session")
    assert kept
    assert browser.client.cookies["muster"] not in str(kept)


@pytest.mark.parametrize("token", ["", "muster_0_0", "x" * 5000, "\u00fc\u00fc", "muster_000000000000_" + "A" * 43])
def test_a_wrong_token_opens_nothing(open_desk: Any, desk: Any, token: str) -> None:
    browser = desk.browser()
    answer = browser.sign_in(token)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "opens nothing" in Sheet(answer).text


def test_guessing_is_slowed_down(open_desk: Any) -> None:
    desk = open_desk()
    answers = [desk.browser().sign_in(f"muster_000000000000_{number}").status_code for number in range(FAILURES_AT_ONCE + 1)]
    assert set(answers[:-1]) == {401}
    assert answers[-1] == 429
    assert desk.browser().sign_in(desk.doors.token("look")).status_code == 429


def test_a_token_that_sees_nothing_does_not_sign_in(desk: Any) -> None:
    answer = desk.browser().sign_in(desk.doors.token("metrics", "jobs:submit:*"))
    assert answer.status_code == 403
    assert "may not look" in Sheet(answer).text


def test_whoever_sees_one_part_begins_there_and_sees_no_other(desk: Any) -> None:
    browser = desk.browser("users:read")
    assert browser.get("/console").headers["location"] == "/console/people"
    assert browser.get("/console/jobs").status_code == 403
    page = browser.get("/console/mail")
    assert [link.get("href") for link in Sheet(page).root.iter("a") if link.get("data-key")] == ["/console/people", "/console/mail"]


# ------------------------------------------------------------------------------------------------------- the end


def test_signing_out_ends_the_session_for_whoever_kept_the_cookie(desk: Any) -> None:
    browser = desk.browser("look")
    cookie = browser.client.cookies["muster"]
    answer = browser.post("/console/sign-out")
    assert answer.headers["location"] == "/console/sign-in"
    assert browser.get("/console").status_code == 303
    browser.client.cookies.set("muster", cookie)
    assert browser.get("/console").status_code == 303


def test_a_revoked_token_ends_its_session_at_once(desk: Any) -> None:
    browser = desk.browser("admin", name="leaver")
    assert browser.get("/console").status_code == 200
    with desk.office.scope() as scope:
        api_tokens.revoke(scope, "leaver", by="tester")
    assert browser.get("/console").status_code == 303
    assert browser.post("/console/jobs/move", {"move": "cancel", "state": "held"}).status_code == 303


def test_an_expired_token_ends_its_session(open_desk: Any) -> None:
    desk = open_desk()
    from datetime import timedelta

    with desk.office.scope() as scope:
        token = api_tokens.create(scope, "short", ["look"], by="tester", expires_at=scope.now + timedelta(minutes=10))
    browser = desk.browser()
    browser.sign_in(token)
    assert browser.get("/console").status_code == 200
    desk.office.later(minutes=11)
    assert browser.get("/console").status_code == 303


def test_whoever_is_idle_signs_in_again_and_whoever_works_does_not(open_desk: Any) -> None:
    desk = open_desk()
    idle, busy, watching = (desk.browser("look") for _ in range(3))
    for _ in range(3):
        desk.office.later(minutes=25)
        assert busy.get("/console").status_code == 200
        watching.get("/console/now/live", headers={"HX-Request": "true", "X-Poll": "1"})
    assert idle.get("/console").status_code == 303
    assert watching.get("/console").status_code == 303, "a page that asks by itself is nobody who works"
    for _ in range(24):
        desk.office.later(minutes=29)
        last = busy.get("/console").status_code
    assert last == 303, "twelve hours are the end, whoever works"


def test_signing_in_again_ends_the_session_before(desk: Any) -> None:
    browser = desk.browser("look")
    before = browser.client.cookies["muster"]
    browser.client.post("/console/sign-in", data={"token": desk.doors.token("look")})
    other = desk.browser()
    other.client.cookies.set("muster", before)
    assert other.get("/console").status_code == 303


# ------------------------------------------------------------------------------------------------------ forgeries


@pytest.mark.parametrize("csrf", [None, "", "wrong", "\u00fc"])
def test_a_form_without_the_token_of_the_session_changes_nothing(desk: Any, csrf: str | None) -> None:
    browser = desk.browser("operate")
    fields = {} if csrf is None else {"csrf": csrf}
    answer = browser.client.post("/console/sign-out", data=fields)
    assert answer.status_code == 403
    assert "nothing was changed" in Sheet(answer).text
    assert browser.get("/console").status_code == 200


def test_the_token_of_another_session_is_no_use(desk: Any) -> None:
    mine, theirs = desk.browser("operate"), desk.browser("operate")
    assert mine.client.post("/console/sign-out", data={"csrf": theirs.csrf}).status_code == 403


def test_htmx_sends_the_token_in_a_header(desk: Any) -> None:
    browser = desk.browser("operate")
    assert browser.client.post("/console/sign-out", headers={"X-CSRF-Token": browser.csrf}).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}],
)
def test_what_another_site_sends_is_refused_even_with_the_token(desk: Any, headers: dict[str, str]) -> None:
    browser = desk.browser("operate")
    assert browser.post("/console/sign-out", headers=headers).status_code == 403
    token = desk.doors.token("look")
    assert desk.browser().client.post("/console/sign-in", data={"token": token}, headers=headers).status_code == 403


def test_what_our_own_page_sends_is_taken(desk: Any) -> None:
    browser = desk.browser("operate")
    answer = browser.post("/console/sign-out", headers={"Sec-Fetch-Site": "same-origin", "Origin": desk.url})
    assert answer.status_code == 303


def test_every_form_that_changes_something_carries_the_token(desk: Any) -> None:
    browser = desk.browser("admin")
    for path in (*OWN_PAGES, "/console/people", "/console/feeds"):
        for form in Sheet(browser.get(path)).root.iter("form"):
            if (form.get("method") or "get") == "post":
                assert browser.csrf in {one.get("value") for one in form.iter("input")}, (path, form.attrib)


# -------------------------------------------------------------------------------------------------- where it leads


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "http://evil.example", "https:evil.example", "javascript:alert(1)",
        "%2f%2fevil.example", "/%2fevil.example", "/console//evil.example", "/console/..//evil.example", "/console/%2e%2e//evil",
        "/consolex", "/console\r\nSet-Cookie: a=b", "/console/%0d%0aSet-Cookie:a=b", "/console/%250d%250aX:y", "/console/\u2028",
        "/console/sign-in", "/console/\\evil", "/console/%5cevil", "console/jobs", "", " /console/jobs", "/v1/jobs", "/console@evil",
    ],
)  # fmt: skip
def test_a_sign_in_leads_to_no_other_place(desk: Any, place: str) -> None:
    assert local(place) == HOME
    answer = desk.browser().client.post("/console/sign-in", data={"token": desk.doors.token("look"), "next": place})
    assert answer.status_code == 303
    assert answer.headers["location"] == HOME
    assert len(answer.headers.get_list("set-cookie")) == 1
    shown = Sheet(desk.browser().get("/console/sign-in", params={"next": place}))
    assert [one.get("value") for one in shown.all("input", name="next")] == [HOME]


@pytest.mark.parametrize("place", ["/console", "/console/jobs", "/console/jobs?state=failed&key=a%2Fb", "/console/people/x?tab=a"])
def test_a_sign_in_leads_back_to_where_one_was(place: str) -> None:
    assert local(place) == place


def test_from_a_mail_the_browser_asks_again_with_the_cookie(desk: Any) -> None:
    browser = desk.browser()
    page = browser.get("/console/sign-in?next=/console/jobs", headers={"Sec-Fetch-Site": "cross-site"})
    assert '<meta http-equiv="refresh" content="0;url=/console/jobs">' in page.text
    again = browser.get("/console/sign-in?next=/console/jobs", headers={"Sec-Fetch-Site": "same-origin"})
    assert "refresh" not in again.text.partition("<title>")[0].replace("refreshOnHistoryMiss", "")
    assert desk.browser("look").get("/console/sign-in?next=/console/jobs").headers["location"] == "/console/jobs"


# --------------------------------------------------------------------------------------------------- what is around


def test_files_are_kept_and_packed_and_nothing_else_is_given(desk: Any) -> None:
    browser = desk.browser()
    page = browser.get("/console/sign-in").text
    for path in re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        assert browser.get(path, headers={"Accept-Encoding": "identity"}).content == answer.content
    for path in ("session.py", "..%2fsession.py", "../session.py", "%2e%2e/session.py", "base.html", ""):
        assert browser.get(f"/console/static/{path}").status_code in (303, 404)


def test_an_unknown_page_is_a_page_and_elsewhere_stays_a_problem_document(desk: Any) -> None:
    browser = desk.browser("look")
    answer = browser.get("/console/nothing-here")
    assert answer.status_code == 404
    assert "no such page" in Sheet(answer).text
    assert any(link.get("href") == "/console/jobs" for link in Sheet(answer).root.iter("a"))
    assert browser.get("/nothing-here").headers["content-type"] == "application/problem+json"


def test_for_htmx_a_refusal_is_a_note_in_its_place(desk: Any) -> None:
    answer = desk.browser("look").get("/console/jobs/move?move=retry&state=failed", headers={"HX-Request": "true"})
    assert answer.status_code == 403
    assert answer.headers["hx-retarget"] == "#notice"
    assert "<html" not in answer.text
    assert "jobs:operate" in answer.text


def test_no_page_may_be_framed_or_kept(desk: Any) -> None:
    answer = desk.browser("look").get("/console")
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
