"""The console's first page: what waits for a person, and the last hour in small charts; quick with many jobs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from archive import of_each, put_jobs
from sheet import Sheet
from sqlalchemy import event

from worker.bulk import insert_rows
from worker.console import charts, pulse
from worker.console.pulse import MOST, Hour
from worker.door_tables import webhook_endpoint
from worker.feed_tables import feed_case, feed_run
from worker.ids import new_id
from worker.mail import breaker
from worker.mail.failures import RelayUnavailable, Stage
from worker.tables import refusal

HOSTILE = "\"'><script>alert(1)</script>{{7*7}}"


@pytest.fixture
def fresh(open_desk: Any) -> Any:
    """A console of this test alone."""
    return open_desk()


def wants(sheet: Sheet) -> list[str]:
    lists = [one for one in sheet.all("section") if "wants" in (one.get("class") or "")]
    return [" ".join("".join(item.itertext()).split()) for item in lists[0].iter("li")]


def test_an_empty_muster_says_that_nothing_waits(fresh: Any) -> None:
    page = fresh.browser("look").get("/console")
    assert "Nothing. Everything that came in is done" in Sheet(page).text
    assert "No job ended in the last hour" in Sheet(page).text


def test_the_first_page_is_small(fresh: Any) -> None:
    """Even when nothing is compressed on its way."""
    browser = fresh.browser("look")
    page = browser.get("/console")
    sheet = Sheet(page)
    files = {one.get("src") or one.get("href") for one in (*sheet.root.iter("script"), *sheet.root.iter("link"))}
    total = len(page.content) + sum(len(browser.get(path).content) for path in files)
    assert total < 100_000, total


def test_failed_recovery_mails_are_retried_with_two_clicks(fresh: Any) -> None:
    office = fresh.office
    office.world()
    job = office.submit("send_recovery_email", {"user": "ann"})
    office.later(days=2)  # nobody was there to send it within its useful life
    office.drain()
    assert office.ended(job).reason == "expired"
    browser = fresh.browser("operate")
    page = Sheet(browser.get("/console"))
    assert wants(page)[0].startswith("1 recovery email not delivered")
    first = next(link for link in page.links() if "move=retry" in link)
    confirm = Sheet(browser.get(first))
    assert "Retry 1 job?" in confirm.text
    answer = confirm.form("/console/jobs/move").send(browser.client, "Retry")
    assert answer.status_code == 303
    assert "1 job was brought back" in Sheet(browser.get(answer.headers["location"])).text
    office.drain()
    assert office.ended(job).state == "succeeded"
    assert wants(Sheet(browser.get("/console"))) == []


def test_what_waits_for_a_person_leads_to_where_it_is_decided(fresh: Any) -> None:
    office = fresh.office
    mail = {"kind": "send_welcome_email", "reason": "attempts_spent"}
    put_jobs(
        office, {"state": "held"}, {"state": "held"},
        {"state": "unknown", "kind": "send_recovery_email", "lease_until": office.now},
        {"state": "failed", "reason": "attempts_spent"}, {"state": "failed", **mail},
        {"state": "rejected", "kind": "send_welcome_email", "reason": "relay_refused"},
        {"state": "rejected", "kind": "send_welcome_email", "reason": "coalesced"},
        {"state": "failed", **mail, "finished_at": office.now - timedelta(days=2)},
        {"state": "cancelled", "reason": "cancelled"},
    )  # fmt: skip
    plan = _feed_things(office)
    lines = wants(Sheet(fresh.browser("admin").get("/console")))
    assert [line.split(" Decide")[0].split(" Look")[0].split(" Retry all")[0] for line in lines] == [
        "2 welcome emails not delivered in the last day",
        "1 job failed in the last day: 1 update_user",
        "1 job whose outcome is unknown the line broke while it was handed over: ask whether it arrived, then retry or let it be",
        "2 jobs held back until somebody releases or cancels",
        "1 plan of hr is held " + HOSTILE, "1 open case of hr",
        f"1 webhook endpoint siem is paused paused by muster: {HOSTILE} Resume",
        "1 message was refused in the last day",
    ]  # fmt: skip
    links = Sheet(fresh.browser("look").get("/console")).links()
    assert f"/console/feeds/runs/{plan}" in links
    assert "/console/feeds/cases?source=hr" in links
    assert {"/console/jobs?state=held", "/console/jobs?state=unknown", "/console/jobs/refusals"} <= set(links)
    assert not [link for link in links if "/move" in link], "who may only look is offered nothing to do"
    blind = Sheet(fresh.browser("jobs:read").get("/console"))
    assert not [link for link in blind.links() if "/feeds" in link]


def _feed_things(office: Any) -> str:
    run = new_id()
    with office.scope() as scope:
        insert_rows(scope.conn, feed_run, [{
            "id": run, "source": "hr", "origin": "file", "input": HOSTILE, "state": "held", "total": 1, "carried": 0,
            "created_at": scope.now,
        }])  # fmt: skip
        insert_rows(scope.conn, feed_case, [{
            "id": new_id(), "source": "hr", "external_id": "E-1", "code": "ambiguous_match", "text": "?", "candidates": [],
            "state": "open", "created_at": scope.now,
        }])  # fmt: skip
        insert_rows(scope.conn, webhook_endpoint, [{
            "id": new_id(), "name": "siem", "url": "https://siem.example.org", "patterns": ["user.*"], "secret_number": 1,
            "private": False, "state": "paused", "paused_at": scope.now, "paused_by": "muster", "paused_why": HOSTILE,
            "created_at": scope.now, "created_by": "tester",
        }])  # fmt: skip
        insert_rows(scope.conn, refusal, [{
            "id": new_id(), "at": scope.now, "source": "queue", "kind": HOSTILE, "reason": "unknown_kind", "text": HOSTILE,
            "evidence": {"kind": HOSTILE},
        }])  # fmt: skip
    return run


def test_an_administrator_resumes_a_paused_endpoint_and_nobody_else(fresh: Any) -> None:
    _feed_things(fresh.office)
    operator = fresh.browser("operate")
    assert "Resume" not in Sheet(operator.get("/console")).text
    assert operator.post("/console/webhooks/resume", {"name": "siem"}).status_code == 403
    chief = fresh.browser("admin")
    assert chief.post("/console/webhooks/resume", {"name": "nobody"}).status_code == 404
    answer = Sheet(chief.get("/console")).form("/console/webhooks/resume").send(chief.client)
    assert answer.headers["location"] == "/console"
    assert [row["state"] for row in fresh.office.rows("webhook_endpoint")] == ["active"]
    assert "siem" not in Sheet(chief.get("/console")).text


def test_due_work_that_nobody_does_is_said(fresh: Any) -> None:
    long_ago = fresh.office.now - timedelta(hours=2)
    put_jobs(fresh.office, {"state": "queued", "run_at": long_ago, "rank": long_ago, "created_at": long_ago})
    text = Sheet(fresh.browser("look").get("/console")).text
    assert "Nobody does what is due in the queue directory" in text
    assert "directory 1 2 h" in text


def test_the_relay_that_is_left_alone_is_said_with_its_reason(fresh: Any) -> None:
    failure = RelayUnavailable(Stage.CONNECT, "Nobody answers at <relay>.")
    fresh.office.app.room()._breaker.learn(lambda known: breaker.after_failure(known, failure, fresh.office.now))
    text = Sheet(fresh.browser("look").get("/console")).text
    assert "Mails wait, for the relay failed: The relay cannot take mail just now. Nobody answers at <relay>." in text
    assert "mails wait 1 failure;" in text


def test_the_live_part_is_asked_for_again_and_again(fresh: Any) -> None:
    browser = fresh.browser("look")
    [live] = [one for one in Sheet(browser.get("/console")).all("div") if one.get("hx-get")]
    assert live.get("hx-get") == "/console/now/live"
    assert str(live.get("hx-trigger")).startswith("every 3s")
    piece = browser.get("/console/now/live", headers={"HX-Request": "true", "X-Poll": "1"})
    assert "<html" not in piece.text
    assert "Waits for a person" in piece.text


def test_jobs_and_mails_of_the_last_hour_are_counted_by_outcome(fresh: Any) -> None:
    office = fresh.office
    ago = office.now - timedelta(minutes=90)
    put_jobs(
        office, *of_each(["succeeded", "succeeded", "failed"], 9), {"state": "succeeded", "finished_at": ago},
        {"state": "rejected", "kind": "send_recovery_email", "reason": "no_email"},
    )  # fmt: skip
    facts = pulse.read(office.app)
    assert {word: sum(values) for word, values in facts.hour.jobs.items()} == {
        "succeeded": 6, "rejected": 0, "cancelled": 0, "failed": 3
    }  # fmt: skip
    assert facts.hour.mails["rejected"][-2:] == [1, 0] or facts.hour.mails["rejected"][-1] == 1
    page = Sheet(fresh.browser("look").get("/console"))
    words = ["".join(one.itertext()) for one in page.root.iter("{http://www.w3.org/2000/svg}desc")]
    assert "6 succeeded, 0 rejected, 0 cancelled, 3 failed. At most 9 in a minute." in words[0]
    assert "update_user 6 0 3" in page.text


def test_both_databases_tell_the_same_hour(office: Any) -> None:
    put_jobs(office, *of_each(["succeeded", "failed"], 6), {"state": "held"}, {"state": "failed", "kind": "send_recovery_email",
                                                                              "reason": "attempts_spent"})  # fmt: skip
    facts = pulse.read(office.app)
    assert isinstance(facts.hour, Hour)
    assert (sum(facts.hour.jobs["succeeded"]), sum(facts.hour.jobs["failed"]), facts.held) == (3, 3, 1)
    assert (facts.failed, facts.undelivered) == ([("update_user", 3)], [("send_recovery_email", 1)])


# -------------------------------------------------------------------------------------------------------- many jobs


@pytest.fixture(scope="module")
def busy(open_desk: Any) -> Any:
    """Ten thousand jobs in all states."""
    desk = open_desk()
    states = [*["succeeded"] * 12, "failed", "rejected", "queued", "held", "cancelled", "scheduled"]
    put_jobs(desk.office, *[one | {"reason": "cancelled" if one["state"] == "cancelled" else None} for one in of_each(states, 10_000)])
    return desk


@pytest.fixture
def statements(busy: Any) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the database meanwhile."""
    heard: list[tuple[str, Any]] = []
    engine = busy.office.app.database.engine

    def hear(_conn: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        heard.append((statement, values))

    event.listen(engine, "before_cursor_execute", hear)
    yield heard
    event.remove(engine, "before_cursor_execute", hear)


def test_what_is_asked_about_jobs_goes_along_an_index(busy: Any, statements: list[tuple[str, Any]]) -> None:
    """However many jobs went well, none of them is read for what waits; those of the last hour are found by their end."""
    pulse.read(busy.office.app)
    asked = [(words, values) for words, values in statements if "FROM job" in words and "count(*) AS jobs" in words]
    assert len(asked) >= 2
    with busy.office.app.database.read() as conn:
        for words, values in asked:
            if "minute" not in words and "reason" not in words:
                continue  # the backlog, which is telemetry's to answer for
            plan = " ".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {words}", values))
            assert "ix_job_prune" in plan or "ix_job_not_done" in plan, plan
            assert "SCAN job " not in f"{plan} " or "ix_job_not_done" in plan, plan


def test_ten_thousand_jobs_make_no_larger_page(busy: Any) -> None:
    page = busy.browser("admin").get("/console")
    assert page.status_code == 200
    assert len(page.content) < 50_000
    assert "6,670 succeeded" in Sheet(page).text


def test_a_hurried_hour_is_cut_at_the_newest(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "MOST", 500)
    hour = pulse.read(busy.office.app).hour
    assert not hour.whole
    assert sum(sum(values) for values in hour.jobs.values()) == 500
    assert MOST > 500


def test_everybody_who_looks_shares_one_answer(busy: Any, statements: list[tuple[str, Any]]) -> None:
    one = pulse.Pulse(busy.office.app)
    first = one.facts()
    count = len(statements)
    assert one.facts() is first
    assert len(statements) == count
    one.forget()
    assert one.facts() is not first


# ----------------------------------------------------------------------------------------------------------- charts


def test_a_chart_can_be_read_without_being_seen() -> None:
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    minutes = [start + timedelta(minutes=number) for number in range(3)]
    drawn = charts.bars("Jobs <b>", minutes, {"succeeded": [1, 0, 3000], "failed": [0, 0, 1]}, {"failed": "bad"})
    assert 'role="img"' in drawn
    assert "Jobs &lt;b&gt;" in drawn
    assert "09:00 to 09:02 UTC: 3001 succeeded, 1 failed. At most 3001 in a minute." in drawn
    assert "<title>09:02 UTC: 3000 succeeded, 1 failed</title>" in drawn
    assert 'class="bad"' in drawn, "one failure among thousands is still drawn"
    assert "style" not in drawn


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (2, 2), (3, 5), (7, 10), (11, 20), (999, 1000), (1001, 2000)])
def test_a_scale_ends_at_a_round_number(value: int, top: int) -> None:
    assert charts.ceiling(value) == top
