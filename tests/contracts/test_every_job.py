"""What every job promises, read off the registry: done once, undone whole, stored as it was meant, and silent on secrets."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from office import SECRET, Office
from posts import HASH, everything, mailing, sent, token
from sqlalchemy import event
from trial import Crash

from worker import edge
from worker.app import load_jobs
from worker.intake import Request
from worker.jobs import Kind
from worker.mail.render import Mail, Templates, packaged_folder
from worker.tables import metadata

KINDS = list(load_jobs(("actors",)))


def examples_of(kind: Kind) -> Sequence[Mapping[str, Any]]:
    """The payload class says what its job may be asked."""
    found: Sequence[Mapping[str, Any]] = getattr(kind.payload, "examples", ())
    return found


EXAMPLES = [
    pytest.param(kind.name, example, id=f"{kind.name}-{number}")
    for kind in KINDS
    for number, example in enumerate(examples_of(kind))
]
INSIDE = [param for param in EXAMPLES if not str(param.id).startswith("send_")]
OUTSIDE = [param for param in EXAMPLES if param not in INSIDE]
STORED = Path(__file__).with_name("payloads_v1.json")
BOOKKEEPING = {"worker", "batch", "attempt", "meta", "relay", "job", "line"}


@pytest.fixture
def post(database_url: str, tmp_path: Path) -> Iterator[Office]:
    """An office with its people, whose mails land in a folder."""
    with mailing(database_url, tmp_path / "mails") as office:
        yield office


def effects(office: Office) -> dict[str, list[str]]:
    """Every row that says something about the world: the directory, the trail, and which jobs there are."""
    found = {
        table.name: sorted(str(row) for row in office.rows(table.name))
        for table in metadata.sorted_tables if table.name not in BOOKKEEPING
    }
    return found | {"jobs": sorted(str(row["id"]) for row in office.jobs())}


# ------------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_job_says_what_it_does_and_how(kind: Kind) -> None:
    assert kind.summary.endswith(".")
    assert examples_of(kind), "a payload class has `examples`, which documentation and tests are read off"
    assert kind.payload.__name__.lower() == kind.name.replace("_", "")
    assert 1 <= kind.policy.attempts <= 100
    assert kind.policy.base <= kind.policy.cap
    if kind.shape == "edge":
        assert kind.policy.life is not None, "a mail that is never too late is sent years later"
    else:
        assert kind.policy.life is None


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples_survive_json_and_the_way_back(name: str, example: Mapping[str, Any]) -> None:
    [kind] = [kind for kind in KINDS if kind.name == name]
    payload = kind.load(kind.payload.version, json.loads(json.dumps(example)))
    stored = json.loads(json.dumps(payload.open_fields()))
    assert kind.load(kind.payload.version, stored, payload.sealed_values()) == payload
    assert not set(stored) & set(kind.payload.sealed_fields)


def test_payloads_stored_by_earlier_releases_still_load() -> None:
    """The file holds what version 1 stored, for good: a payload that changes gets a version and an upgrader."""
    stored: list[dict[str, Any]] = json.loads(STORED.read_text())
    kinds = {kind.name: kind for kind in KINDS}
    for one in stored:
        kind = kinds[one["kind"]]
        payload = kind.load(one["version"], one["payload"], one["sealed"])
        if one["version"] == kind.payload.version:
            assert payload.open_fields() == one["payload"]
    assert {one["kind"] for one in stored} == set(kinds), "add the examples of a new kind to the file"


# --------------------------------------------------------------------------------------------------------- the mails

def test_every_mail_of_the_jobs_renders_with_nothing_missing() -> None:
    """Undefined names are errors in templates: rendering the real samples shows that each field is there."""
    contexts = {kind.name: _mail_of(kind) for kind in KINDS if kind.name.startswith("send_")}
    assert contexts
    templates = Templates((packaged_folder(),))
    assert templates.check(contexts) == []
    for kind, context in contexts.items():
        rendered = templates.render(kind, context.sample(), locale="en")
        assert rendered.subject.strip()
        assert "\n" not in rendered.subject
        for part in (rendered.text, rendered.html):
            assert part.strip()
            assert not re.search(r"\{\{|\{%|\bNone\b|Undefined", part), part


def _mail_of(kind: Kind) -> type[Mail]:
    module = sys.modules[kind.handler.__module__]
    [found] = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Mail) and one is not Mail]
    return found


# ---------------------------------------------------------------------------------------------------- once, or not at all


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_delivered_twice_is_done_once(post: Office, name: str, example: Mapping[str, Any]) -> None:
    first = post.accept(name, example, key="k")
    again = post.accept(name, example, key="k")
    assert (again.id, again.duplicate) == (first.id, True)
    post.drain()
    ended, stored = post.ended(first.id or ""), post.rows("job", id=first.id)[0]
    assert ended.state in ("succeeded", "rejected"), ended
    assert stored["sealed"] is None
    before, mails = effects(post), len(sent(post.settings.mail_folder or Path()))
    replay = post.accept(name, example, key="k")
    forgotten = stored["key"] != "k"  # a deletion scrubs its own key too; the tombstone keeps the replay from doing anything
    assert forgotten or (replay.id, replay.duplicate) == (first.id, True)
    post.drain()
    again_ended = post.ended(first.id or "")
    assert (again_ended.state, again_ended.reason) == (ended.state, ended.reason)
    after = effects(post)
    assert not forgotten or len(after["jobs"]) == len(before["jobs"]) + 1
    assert {**after, "jobs": []} == {**before, "jobs": []}
    assert forgotten or after["jobs"] == before["jobs"]
    assert len(sent(post.settings.mail_folder or Path())) == mails


@contextmanager
def cut_at(office: Office, nth: int, error: type[BaseException]) -> Iterator[list[int]]:
    """The n-th statement fails, whatever it is; gives how many were seen."""
    seen = [0]

    def count(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == nth:
            raise error(f"cut at statement {nth}")

    event.listen(office.app.database.engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(office.app.database.engine, "before_cursor_execute", count)


def work(office: Office, name: str) -> int:
    runner = office.edge if office.app.registry[name].shape == "edge" else office.runner
    return runner.run(name, urgent=False)


@pytest.mark.parametrize(("name", "example"), INSIDE)
def test_cut_at_any_statement_nothing_is_left_and_then_it_is_done(post: Office, name: str, example: Mapping[str, Any]) -> None:
    """Every statement at first, then fewer and fewer: 1, 2, 3, 5, 8 …; the last cut lies beyond the end."""
    job_id = post.submit(name, example)
    before = effects(post)
    nth, step = 1, 1
    while True:
        try:
            with cut_at(post, nth, Crash) as seen:
                work(post, name)
        except Crash:
            assert effects(post) == before, f"something was left by a cut at statement {nth}"
            assert post.ended(job_id).state == "queued"
            post.keeper.resign()  # the note of the cut batch is nobody's
            post.keeper.enlist()
        if seen[0] < nth:
            break
        nth, step = nth + step, nth
    ended = post.ended(job_id)
    assert ended.state in ("succeeded", "rejected"), ended
    assert ended.attempts == 0
    assert (effects(post) != before) or ended.state == "rejected" or not ended.result["changed"]


@pytest.mark.parametrize(("name", "example"), [param for param in INSIDE if str(param.id).endswith("-0")])
def test_a_fault_in_the_middle_is_tried_again(post: Office, name: str, example: Mapping[str, Any]) -> None:
    job_id = post.submit(name, example)
    with cut_at(post, 9, ZeroDivisionError):
        work(post, name)
    for _ in range(3):
        post.later(hours=1)
        post.drain()
    ended = post.ended(job_id)
    assert ended.state in ("succeeded", "rejected"), ended
    assert post.rows("batch") == []


@pytest.mark.parametrize(("name", "example"), OUTSIDE)
def test_a_mail_cut_at_any_statement_is_sent_in_the_end_and_never_as_another_one(
    post: Office, name: str, example: Mapping[str, Any]
) -> None:
    job_id = post.submit(name, example)
    for nth in (2, 5, 8, 11, 14, 17):
        try:
            with cut_at(post, nth, Crash):
                work(post, name)
        except Crash:
            post.keeper.resign()
            post.keeper.enlist()
        post.now += edge.HANDOVER_LEASE
        post.keeper.settle_leases()
        post.now += edge.UNKNOWN_REST
        post.keeper.settle_leases()
        if post.ended(job_id).state not in ("queued", "unknown"):
            break
    post.drain()
    ended = post.ended(job_id)
    assert ended.state in ("succeeded", "rejected", "cancelled", "held"), ended
    mails = [mail for mail in sent(post.settings.mail_folder or Path()) if "carol" not in str(mail["To"])]
    assert len({mail["Message-ID"] for mail in mails}) <= 1


# ---------------------------------------------------------------------------------------------------------- no secrets


def test_no_secret_rests_anywhere_after_all_jobs_have_run(post: Office, caplog: pytest.LogCaptureFixture) -> None:
    """All examples, and each once more with a fault: no token, link or hash in any table, history or log line."""
    caplog.set_level(logging.DEBUG)
    for kind in KINDS:
        for number, example in enumerate(examples_of(kind)):
            post.submit(kind.name, example, key=f"{kind.name} {number}")
            with cut_at(post, 6, ZeroDivisionError):
                post.runner.run(kind.name, urgent=False)
            post.drain()
    for user in ("ann", "bob"):
        post.do("send_recovery_email", {"user": user})
        post.do("reset_password", {"user": user, "password_hash": HASH}, key=f"reset {user}")
    post.app.submit([Request("reset_password", {"user": "ann", "password_hash": "hunter2"}, "test")])
    post.later(days=1)
    post.drain()
    stored = everything(post)
    logged = "\n".join(str(vars(record)) for record in caplog.records if not record.name.startswith("sqlalchemy"))
    tokens = [token(mail) for mail in sent(post.settings.mail_folder or Path()) if "/recover/" in str(mail) or "/invite/" in str(mail)]
    assert tokens
    for secret in (*tokens, "hunter2", SECRET):
        assert secret not in stored
        assert secret not in logged
    assert "$argon2" not in logged
    for line in stored.splitlines():
        assert not re.search(r"\$argon2\w*\$v=\d+\$m=\d", line) or line.startswith("users "), line
        assert not re.search(r"https?://\S+/(recover|invite)/", line), line
