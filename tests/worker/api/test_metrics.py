"""The figures that Prometheus reads are well formed, true, cheap, and name nobody."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from doors import Doors, doors_of
from office import Office
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from smtp_double import SmtpDouble
from sqlalchemy import event, update

from worker.api import metrics
from worker.bulk import insert_rows
from worker.door_tables import webhook_endpoint, webhook_refusal
from worker.tables import job


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    """An office whose mails go to a relay."""
    with SmtpDouble() as relay:
        opened = Office(database_url, smtp_url=relay.url)
        yield opened
        opened.close()


@pytest.fixture
def doors(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    """Its doors, where figures are read anew each time."""
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(metrics, "REST", 0.0)
    with doors_of(office) as opened:
        yield opened


class Scrape:
    """What one question brought."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float | None:
        found = [one.value for one in self._samples(name) if labels.items() <= one.labels.items()]
        assert len(found) < 2, found
        return found[0] if found else None

    def _samples(self, name: str) -> list[Sample]:
        return [one for family in self.families.values() for one in family.samples if one.name == name]


def scrape(doors: Doors, caller: Any = None) -> Scrape:
    answer = (caller or doors.caller("metrics")).get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text)


def test_who_may_read_them(doors: Doors) -> None:
    assert doors.caller().get("/metrics").status_code == 401
    assert doors.caller("look").get("/metrics").status_code == 403
    assert doors.caller("metrics").get("/metrics").status_code == 200


def test_every_figure_is_explained_and_named_as_prometheus_asks(doors: Doors) -> None:
    found = scrape(doors)
    for family in found.families.values():
        assert family.name.startswith("muster_"), family.name
        assert len(family.documentation) > 10, family.name
        assert not family.name.endswith(("_total", "_count", "_sum")), family.name
    # An alert needs its series before the first trouble.
    for queue in ("directory", "mail", "urgent"):
        assert found.value("muster_due_age_seconds", queue=queue) == 0
        assert found.value("muster_due_jobs", queue=queue) == 0
    assert found.value("muster_jobs_finished_total", kind="create_user", state="failed") == 0
    assert found.value("muster_workers_alive") == 1
    assert found.value("muster_held_jobs") == 0
    assert found.value("muster_mail_breaker", state="closed") == 1


def test_what_is_due_done_and_held(office: Office, doors: Doors) -> None:
    office.world()
    caller = doors.caller("metrics")
    scrape(doors, caller)
    office.do("create_group", {"group": "late"})
    office.do("create_group", {"group": "late"})
    office.do("send_recovery_email", {"user": {"username": "ann"}})
    office.do("send_recovery_email", {"user": {"username": "carol"}})
    office.submit("create_group", {"group": "waits"})
    office.submit("create_group", {"group": "much-later"}, at=office.now + timedelta(days=2))
    held = office.submit("create_group", {"group": "held"})
    with office.scope() as scope:
        scope.conn.execute(update(job).where(job.c.id == held).values(state="held", seq=None))
        insert_rows(scope.conn, webhook_refusal, [{"source": "hr", "count": 7, "last_at": scope.now, "last_problem": "no signature"}])
        insert_rows(scope.conn, webhook_endpoint, [
            {"id": "01890000-0000-7000-8000-00000000000a", "name": "crm", "url": "https://crm.example/in", "patterns": ["user.*"],
             "secret_number": 1, "private": False, "state": "paused", "created_at": scope.now, "created_by": "tester"}])  # fmt: skip
    office.later(seconds=31)
    found = scrape(doors, caller)
    assert found.value("muster_due_jobs", queue="directory") == 1
    assert found.value("muster_due_age_seconds", queue="directory") == 31
    assert found.value("muster_jobs", kind="create_group", state="scheduled") == 1
    assert found.value("muster_held_jobs") == 1
    assert found.value("muster_jobs_finished_total", kind="create_group", state="rejected") == 1
    assert found.value("muster_job_tries_without_success_total", kind="create_group", outcome="rejected") == 1
    assert found.value("muster_mails_total", kind="send_recovery_email", outcome="sent") == 1
    assert found.value("muster_mails_total", kind="send_recovery_email", outcome="inactive") == 1
    assert found.value("muster_job_duration_seconds_bucket", kind="send_recovery_email", le="0.1") == 2
    assert found.value("muster_job_duration_seconds_count", kind="send_recovery_email") == 2
    assert found.value("muster_webhook_endpoints", state="paused") == 1
    assert found.value("muster_webhook_refusals_total", source="hr") == 7
    again = scrape(doors, caller)
    assert again.value("muster_mails_total", kind="send_recovery_email", outcome="sent") == 1  # not counted twice


def test_a_relay_that_is_away(office: Office, doors: Doors) -> None:
    from worker.mail import breaker
    from worker.mail.failures import RelayUnavailable, Stage

    down = RelayUnavailable(Stage.CONNECT, "the relay did not answer")
    office.app.room()._breaker.learn(lambda state: breaker.after_failure(state, down, office.now, "x"))
    assert scrape(doors).value("muster_mail_breaker", state="open") == 1


def test_how_the_doors_answer(doors: Doors) -> None:
    caller = doors.caller("metrics")
    caller.get("/health/live")
    caller.get("/who/../knows?what=hunter2")
    caller.request("PROPFIND", "/health/live")
    found = scrape(doors, caller)
    assert found.value("muster_http_requests_total", method="GET", route="/health/live", status="200") == 1
    assert found.value("muster_http_requests_total", method="GET", route="unmatched", status="404") == 1
    assert found.value("muster_http_requests_total", method="other", route="/health/live", status="405") == 1
    assert found.value("muster_http_request_duration_seconds_count", method="GET", route="/health/live") == 1


def test_ten_scrapers_cost_what_one_does(office: Office, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 60.0)
    asked: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "AS unfinished" in statement:
            asked.append(statement)

    event.listen(office.app.database.engine, "before_cursor_execute", note)
    for caller in [doors.caller("metrics") for _ in range(10)]:
        scrape(doors, caller)
    assert len(asked) == 1
