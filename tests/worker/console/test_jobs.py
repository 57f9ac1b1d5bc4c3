"""Jobs in the console: found, told as a story, and steered; harmless whatever stands in them, and quick with many."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from archive import of_each, put_jobs
from sheet import Sheet

from worker.bulk import insert_rows
from worker.console.job_search import FIELDS, moment
from worker.ids import new_id, new_ids
from worker.states import State
from worker.tables import attempt, event, refusal

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}javascript:alert(3)"
STATES = [str(state) for state in State]


@pytest.fixture
def fresh(open_desk: Any) -> Any:
    """A console of this test alone, over the small world."""
    found = open_desk()
    found.office.world()
    return found


def rows_of(sheet: Sheet) -> list[str]:
    """The words of each row of the table."""
    body = next(sheet.root.iter("tbody"), None)
    return [] if body is None else [" ".join(" ".join(row.itertext()).split()) for row in body.iter("tr")]


# -------------------------------------------------------------------------------------------------------- looking


def test_none_three_and_ten_thousand(open_desk: Any) -> None:
    desk = open_desk()
    browser = desk.browser("operate")
    assert "No job has come in yet" in Sheet(browser.get("/console/jobs")).text
    put_jobs(desk.office, *of_each(["succeeded"], 3))
    assert len(rows_of(Sheet(browser.get("/console/jobs")))) == 3
    put_jobs(desk.office, *of_each(STATES, 9_997))
    seen: list[str] = []
    path = "/console/jobs?state=held"
    while path:
        page = Sheet(browser.get(path))
        assert len(page.html) < 60_000
        ids = [link.rpartition("/")[2] for link in page.links() if re.fullmatch(r"/console/jobs/[0-9a-f-]{36}", link)]
        assert len(ids) <= 50
        seen += ids
        path = next((link for link in page.links() if "before=" in link), "")
    held = {row["id"] for row in desk.office.rows("job", state="held")}
    assert len(seen) == len(held) > 900
    assert seen == sorted(held, reverse=True), "the newest first, each once"


@pytest.fixture(scope="module")
def shelf(open_desk: Any) -> Any:
    """Some jobs that differ in everything that is searched for."""
    desk = open_desk()
    office = desk.office
    office.world()
    ann = office.submit("lock_user", {"user": "ann", "owner": "it", "reason": "gone"}, source="hr", key="K-1", at=office.now + timedelta(days=1))
    old = office.now - timedelta(days=3)
    put_jobs(
        office, {"state": "failed", "reason": "attempts_spent", "kind": "send_recovery_email", "source": "cli/bob"},
        {"state": "cancelled", "reason": "expired", "kind": "send_recovery_email", "source": "cli/carol"},
        {"state": "cancelled", "reason": "cancelled", "kind": "send_recovery_email"},
        {"state": "failed", "reason": "attempts_spent", "created_at": old, "finished_at": old},
    )  # fmt: skip
    desk.ann = ann
    return desk


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("state=scheduled", 1), ("kind=lock_user", 1), ("subject=ann&kind=lock_user", 1), ("subject=carol&kind=lock_user", 0),
        ("key=K-1", 1), ("key=K-1&source=cli/*", 0), ("source=cli/*", 2), ("state=failed", 2), ("state=failed,cancelled", 4),
        ("state=failed&state=cancelled", 4), ("reason=undelivered", 3), ("reason=undelivered&shape=outside", 2),
        ("reason=undelivered&shape=directory", 1), ("state=failed&ended=1d", 1), ("state=failed&accepted=1d", 1),
        ("state=failed&until=2026-02-28T00:00", 1), ("state=failed&accepted=2026-03-01", 1),
        ("kind=update_user,send_recovery_email&state=failed", 2), ("subject=nobody", 0), ("subject=&kind=&state=failed", 2),
    ],
)  # fmt: skip
def test_jobs_are_found_by_what_is_known_of_them(shelf: Any, asked: str, count: int) -> None:
    page = Sheet(shelf.browser("look").get(f"/console/jobs?{asked}"))
    assert page.status == 200
    assert len(rows_of(page)) == count, page.text
    if not count:
        assert "There are no such jobs" in page.text


def test_the_form_shows_what_was_asked(shelf: Any) -> None:
    asked = {"kind": "lock_user", "state": "failed,held", "reason": "undelivered", "subject": "ann", "key": "k", "source": "s",
             "shape": "outside", "accepted": "5h", "until": "2026-02-28T00:00", "ended": "1d"}  # fmt: skip
    browser = shelf.browser("look")
    form = next(one for one in Sheet(browser.get("/console/jobs", params=asked)).forms() if one.method == "get")
    assert {name: values[0] for name, values in form.fields().items()} == asked
    assert set(asked) == set(FIELDS)
    assert form.send(browser.client).status_code == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [("kind=no_such", "There is no job no_such"), ("state=gone", "There is no state gone"), ("accepted=soon", "soon is no time"),
     ("ended=9999w", "9999w"), ("until=1-1-1", "1-1-1 is no time")],
)  # fmt: skip
def test_what_means_nothing_is_said_and_not_guessed(shelf: Any, asked: str, said: str) -> None:
    page = Sheet(shelf.browser("look").get(f"/console/jobs?{asked}"))
    assert page.status in (200, 422)
    assert said in page.text or not rows_of(page)


@pytest.mark.parametrize("value", [HOSTILE, "%00", "x" * 3000, "\u202e", "'; DROP TABLE job; --", "1,2,,3"])
def test_nothing_in_the_address_breaks_the_page(shelf: Any, value: str) -> None:
    browser = shelf.browser("look")
    for name in (*FIELDS, "before", "move", "moved"):
        assert browser.get("/console/jobs", params={name: value}).status_code in (200, 422), name


def test_a_job_is_found_by_the_beginning_of_its_id(shelf: Any) -> None:
    browser = shelf.browser("look")
    assert browser.get(f"/console/jobs?subject={shelf.ann}").headers["location"] == f"/console/jobs/{shelf.ann}"
    assert browser.get(f"/console/jobs?subject={shelf.ann[:23]}").headers["location"] == f"/console/jobs/{shelf.ann}"
    assert browser.get(f"/console/jobs/{shelf.ann[:23]}").status_code == 200
    for unknown in (new_id(), "0" * 36, "nothing", "..%2f", HOSTILE.replace("/", "")):
        assert browser.get(f"/console/jobs/{unknown}").status_code == 404


def test_a_word_for_a_time_is_read_in_utc() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert moment("2h", now) == now - timedelta(hours=2)
    assert moment("2026-03-01T17:00", now) == datetime(2026, 3, 1, 17, tzinfo=UTC)
    assert moment("2026-03-01T17:00+02:00", now) == datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert moment("", now) is None


# ------------------------------------------------------------------------------------------------------ the story


def test_a_job_tells_who_asked_why_and_what_came_of_it(fresh: Any) -> None:
    office = fresh.office
    ended = office.do("offboard_user", {"user": "ann"}, requested_by="hr@example.com", on_behalf_of="bob", why="Last day")
    assert ended.state == "succeeded"
    page = Sheet(fresh.browser("look").get(f"/console/jobs/{ended.id}"))
    assert "Asked for by hr@example.com on behalf of bob" in page.text
    assert "Last day" in page.text
    assert "user.deactivated ann" in page.text
    followed = [row["id"] for row in office.rows("job", parent=ended.id)]
    assert followed
    assert {f"/console/jobs/{one}" for one in followed} <= set(page.links())
    child = Sheet(fresh.browser("look").get(f"/console/jobs/{followed[0]}"))
    assert f"/console/jobs/{ended.id}" in child.links()


def stages(sheet: Sheet) -> list[str]:
    [found] = [one for one in sheet.root.iter("ol") if one.get("class") == "stages"]
    return [" ".join("".join(item.itertext()).split()) for item in found.iter("li")]


def test_a_mail_shows_how_far_it_has_come(fresh: Any) -> None:
    office = fresh.office
    browser = fresh.browser("look")
    job_id = office.submit("send_recovery_email", {"user": "ann"})
    before = Sheet(browser.get(f"/console/jobs/{job_id}"))
    assert stages(before) == ["Taken in: done", "Through the gate: next", "Handing over: not yet", "Accepted by the relay: not yet"]
    [live] = [one for one in before.all("div") if one.get("hx-get")]
    assert browser.get(str(live.get("hx-get"))).status_code == 200
    office.drain()
    after = Sheet(browser.get(f"/console/jobs/{job_id}"))
    assert [one.split(": ")[1].split()[0] for one in stages(after)] == ["done"] * 4
    assert str(office.ended(job_id).result["reply"]) in after.text
    assert browser.get(str(live.get("hx-get"))).status_code == 286, "what has ended is asked for no more"
    assert "/recover/" not in after.html


def test_a_mail_that_failed_and_one_that_nobody_knows_of_say_where_they_stopped(fresh: Any) -> None:
    frozen = {"date": "2026-03-02T09:00:00+00:00", "message_id": "m-1"}
    failed, unknown = put_jobs(
        fresh.office, {"kind": "send_recovery_email", "state": "failed", "reason": "attempts_spent", "frozen": frozen},
        {"kind": "send_recovery_email", "state": "unknown", "reason": "outcome_unknown", "frozen": {**frozen, "handed": True}},
    )  # fmt: skip
    with fresh.office.scope() as scope:
        insert_rows(scope.conn, attempt, [
            {"id": id_, "job": failed, "number": number, "at": scope.now, "outcome": "retry", "code": "relay_deferred",
             "text": "451 later", "trace": "smtp.py:88 in send", "worker": None}
            for number, id_ in enumerate(new_ids(2), start=1)
        ])  # fmt: skip
    browser = fresh.browser("look")
    page = Sheet(browser.get(f"/console/jobs/{failed}"))
    assert stages(page)[2] == "Handing over: not reached"
    assert "Try 2 did not work, to be tried again relay_deferred" in page.text
    assert "smtp.py:88 in send" in page.text
    assert stages(Sheet(browser.get(f"/console/jobs/{unknown}")))[3] == "Accepted by the relay: not known"


def test_a_waiting_job_names_those_before_it(fresh: Any) -> None:
    office = fresh.office
    first = office.submit("update_user", {"user": "ann", "name": "A"})
    second = office.submit("update_user", {"user": "ann", "name": "B"})
    page = Sheet(fresh.browser("look").get(f"/console/jobs/{second}"))
    assert f"/console/jobs/{first}" in page.links()
    assert "Waits for those before it" in page.text


def test_what_is_sealed_is_shown_nowhere(fresh: Any) -> None:
    hashed = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$Qmx1YmJlckJsdWJiZXJCbHViYmVyQmx1YmJlcg"
    job_id = fresh.office.submit("reset_password", {"user": "ann", "password_hash": hashed})
    browser = fresh.browser("admin")
    for path in (f"/console/jobs/{job_id}", "/console/jobs", f"/console/jobs/{job_id}/live"):
        page = browser.get(path).text
        assert "argon2" not in page
        assert "reset_password" in page


def test_a_pruned_job_says_that_it_was_so_long_ago(fresh: Any) -> None:
    [old] = put_jobs(fresh.office, {"payload": None, "pruned": True})
    assert "only its key and outcome are kept" in Sheet(fresh.browser("look").get(f"/console/jobs/{old}")).text


def test_hostile_values_are_words_on_every_page(fresh: Any) -> None:
    office = fresh.office
    ended, held, waiting = put_jobs(
        office,
        {"source": HOSTILE, "key": HOSTILE, "payload": {"user": HOSTILE, HOSTILE: [HOSTILE]}, "state": "failed", "attempts": 2,
         "reason": "<b>bad</b>", "reason_text": HOSTILE, "requested_by": HOSTILE, "on_behalf_of": HOSTILE, "why": HOSTILE,
         "result": {HOSTILE: HOSTILE}},
        {"state": "held", "reason_text": HOSTILE, "kind": "send_recovery_email", "frozen": {"message_id": HOSTILE, "date": HOSTILE}},
        {"state": "succeeded", "kind": "send_recovery_email", "result": {"reply": HOSTILE, "message_id": HOSTILE}},
    )  # fmt: skip
    with office.scope() as scope:
        insert_rows(scope.conn, attempt, [{
            "id": new_id(), "job": ended, "number": 1, "at": scope.now, "outcome": "retry", "code": "<i>", "text": HOSTILE,
            "trace": HOSTILE, "worker": None,
        }])  # fmt: skip
        insert_rows(scope.conn, event, [{
            "id": new_id(), "at": scope.now, "action": HOSTILE[:60], "target": None, "target_name": HOSTILE, "actor": HOSTILE,
            "job": ended, "number": 1, "data": {HOSTILE: {HOSTILE: [HOSTILE, HOSTILE]}},
        }])  # fmt: skip
        insert_rows(scope.conn, refusal, [{
            "id": new_id(), "at": scope.now, "source": HOSTILE, "key": HOSTILE, "kind": "<u>kind</u>", "reason": "<b>", "text": HOSTILE,
            "evidence": {HOSTILE: HOSTILE},
        }])  # fmt: skip
    browser = fresh.browser("admin")
    paths = ["/console/jobs", "/console/jobs/refusals", "/console/jobs/move?move=retry&state=failed", "/console",
             *(f"/console/jobs/{one}" for one in (ended, held, waiting))]  # fmt: skip
    for path in paths:
        page = browser.get(path)  # looks at every element
        assert page.status_code == 200
        assert "49" not in re.findall(r"\d+javascript", page.text)
    assert HOSTILE in Sheet(browser.get(f"/console/jobs/{ended}")).text


# ------------------------------------------------------------------------------------------------------- steering


def test_who_may_only_look_is_offered_nothing_and_can_do_nothing(fresh: Any) -> None:
    [held] = put_jobs(fresh.office, {"state": "held"})
    looker = fresh.browser("look")
    page = Sheet(looker.get(f"/console/jobs/{held}"))
    assert not [form for form in page.forms() if form.method == "post"]
    assert "/move" not in looker.get("/console/jobs?state=held").text
    for move in ("retry", "release", "cancel"):
        assert looker.post(f"/console/jobs/{held}/{move}").status_code == 403
        assert looker.get(f"/console/jobs/move?move={move}&state=held").status_code == 403
        assert looker.post("/console/jobs/move", {"move": move, "state": "held", "shown": "9"}).status_code == 403
    assert fresh.office.ended(held).state == "held"


def test_one_job_is_retried_released_and_cancelled(fresh: Any) -> None:
    office = fresh.office
    browser = fresh.browser("operate", name="carol")
    refused = office.do("add_to_group", {"user": "ann", "group": "nowhere"})
    assert refused.state == "rejected"
    assert office.do("create_group", {"group": "nowhere"}).state == "succeeded"
    page = Sheet(browser.get(f"/console/jobs/{refused.id}"))
    answer = page.form(f"/console/jobs/{refused.id}/retry").send(browser.client)
    assert "1 job was brought back" in Sheet(browser.get(answer.headers["location"])).text
    office.drain()
    assert office.ended(refused.id).state == "succeeded"
    later = office.submit("lock_user", {"user": "ann", "owner": "it", "reason": "x"}, at=office.now + timedelta(days=1))
    page = Sheet(browser.get(f"/console/jobs/{later}"))
    assert [form.action for form in page.forms()] == [f"/console/jobs/{later}/cancel"]
    page.forms()[0].send(browser.client)
    assert (office.ended(later).state, office.ended(later).reason_text) == ("cancelled", "Cancelled by token/carol.")
    again = browser.post(f"/console/jobs/{later}/cancel")
    assert again.status_code == 409
    assert "cannot be cancelled" in Sheet(again).text
    [held] = put_jobs(office, {"state": "held", "payload": {"user": "ann", "name": "Ann A."}})
    page = Sheet(browser.get(f"/console/jobs/{held}"))
    page.form(f"/console/jobs/{held}/release").send(browser.client)
    assert office.ended(held).state != "held"
    assert browser.post(f"/console/jobs/{new_id()}/cancel").status_code == 409
    assert browser.post(f"/console/jobs/{held}/burn").status_code == 422
    assert browser.post("/console/jobs/nothing/cancel").status_code == 404


def test_an_operator_does_not_bring_back_what_only_an_administrator_may_ask_for(fresh: Any) -> None:
    [grave] = put_jobs(fresh.office, {"state": "failed", "reason": "attempts_spent", "kind": "delete_user"})
    operator, chief = fresh.browser("operate"), fresh.browser("admin")
    assert [form for form in Sheet(operator.get(f"/console/jobs/{grave}")).forms() if form.method == "post"] == []
    assert operator.post(f"/console/jobs/{grave}/retry").status_code == 409
    assert "None of these jobs" in Sheet(operator.get("/console/jobs/move?move=retry&state=failed")).text
    assert operator.post("/console/jobs/move", {"move": "retry", "state": "failed", "shown": "9"}).status_code == 303
    assert fresh.office.ended(grave).state == "failed"
    assert chief.post(f"/console/jobs/{grave}/retry").status_code == 303
    assert fresh.office.ended(grave).state != "failed"


def test_a_whole_filter_is_counted_then_moved(fresh: Any) -> None:
    office = fresh.office
    put_jobs(office, *of_each(["held"], 700), {"state": "failed", "kind": "lock_user"}, {"state": "succeeded"})
    browser = fresh.browser("operate")
    page = Sheet(browser.get("/console/jobs?state=held"))
    link = next(link for link in page.links() if "move=cancel" in link)
    page = Sheet(browser.get(link))
    assert "Cancel 700 jobs?" in page.text
    assert rows_of(page) == ["update_user held 700"]
    assert office.rows("job", state="cancelled") == [], "looking changes nothing"
    answer = page.form("/console/jobs/move").send(browser.client, "Cancel all")
    assert parse_qs(urlsplit(answer.headers["location"]).query)["moved"] == ["700"]
    assert len(office.rows("job", state="cancelled")) == 700
    assert len(office.rows("job", state="failed")) == 1


def test_more_than_was_shown_is_asked_about_again(fresh: Any) -> None:
    office = fresh.office
    browser = fresh.browser("operate")
    put_jobs(office, *of_each(["held"], 3))
    form = Sheet(browser.get("/console/jobs/move?move=cancel&state=held")).form("/console/jobs/move")
    put_jobs(office, {"state": "held"})
    answer = form.send(browser.client)
    assert answer.status_code == 409
    assert "more of them by now than were shown before" in Sheet(answer).text
    assert office.rows("job", state="cancelled") == []
    Sheet(answer).form("/console/jobs/move").send(browser.client)
    assert len(office.rows("job", state="cancelled")) == 4
    for shown in ("", "-1", "many", "9" * 400):
        assert browser.post("/console/jobs/move", {"move": "retry", "state": "cancelled", "shown": shown}).status_code == 409


@pytest.mark.parametrize(
    "asked", ["move=cancel", "move=burn&state=held", "state=held", "move=cancel&kind=no_such", "move=cancel&ended=soon"]
)
def test_a_move_has_to_say_which_jobs(fresh: Any, asked: str) -> None:
    put_jobs(fresh.office, {"state": "held"})
    browser = fresh.browser("operate")
    assert browser.get(f"/console/jobs/move?{asked}").status_code == 422
    fields = {name: values[0] for name, values in parse_qs(asked).items()}
    assert browser.post("/console/jobs/move", {"shown": "9", **fields}).status_code == 422
    assert fresh.office.rows("job", state="cancelled") == []


def test_nothing_to_move_is_said(fresh: Any) -> None:
    page = Sheet(fresh.browser("operate").get("/console/jobs/move?move=release&state=held"))
    assert "None of these jobs can be released now" in page.text
    assert page.forms() == []


def test_refused_messages_have_pages_of_their_own(fresh: Any) -> None:
    with fresh.office.scope() as scope:
        insert_rows(scope.conn, refusal, [
            {"id": id_, "at": scope.now, "source": f"queue-{number}", "kind": "creat_user", "reason": "unknown_kind", "text": "No."}
            for number, id_ in enumerate(new_ids(60))
        ])  # fmt: skip
    browser = fresh.browser("look")
    page = Sheet(browser.get("/console/jobs/refusals"))
    assert len(rows_of(page)) == 50
    following = next(link for link in page.links() if "before=" in link)
    assert len(rows_of(Sheet(browser.get(following)))) == 10
    assert "queue-0" in Sheet(browser.get(following)).text


def test_the_list_is_the_same_on_both_databases(office: Any) -> None:
    from worker import listing
    from worker.console.job_search import JobSearch

    put_jobs(office, {"state": "failed", "reason": "attempts_spent"}, {"state": "failed", "reason": "other"}, {"state": "held"})
    search = JobSearch(state="failed,held", reason="undelivered", ended="1d")
    with office.app.database.read() as conn:
        wanted, problems = search.wanted(office.app, conn)
        found = listing.jobs(conn, wanted, limit=9)
    assert problems == []
    assert [row["reason"] for row in found] == ["attempts_spent"]
