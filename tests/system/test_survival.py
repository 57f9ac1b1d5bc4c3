"""The promise under fire: 5,000 jobs, workers killed with -9 every second, Redis flushed twice, and every effect exactly once."""

import itertools
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import workload
from crew import Worker, count, kill, until
from office import SECRET, Office
from servers import PostgresServer, RedisServer
from sqlalchemy import func, select, update

from worker import ledger
from worker.app import App
from worker.intake import Acceptance, Request
from worker.mail.catcher import Catcher
from worker.settings import Settings
from worker.tables import attempt, event, groups, job, membership, permission, users

SIZE = 5_000
PROCESSES = 3
CHUNK = 50
SUBMIT_SECONDS = 20.0
KILL_EVERY_SECONDS = 1.0
FIRE_SECONDS = 45.0
"""Longer than the submitting; who is not done by then is done in peace."""

SEED = 20_260_302


@dataclass
class Storm:
    """What was done to the workers, and what the door answered."""

    kills: int = 0
    flushes: int = 0
    redriven: int = 0
    left: int = 0
    answers: list[tuple[Request, Acceptance]] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)


@pytest.mark.timeout(420)
def test_every_job_ends_and_has_its_effect_exactly_once(
    postgres_server: PostgresServer, postgres_template: str, postgres_url: str, redis_server: RedisServer, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = time.monotonic()
    load = workload.make(SIZE, SEED)
    assert len(load.requests) == SIZE
    with redis_server.client() as client:
        client.flushall()
    with Catcher() as catcher:
        app = App(Settings(database_url=postgres_url, broker_url=redis_server.url, secret_key=SECRET,
                           mail_from="Muster <muster@example.org>", smtp_url=catcher.url))  # fmt: skip
        options: dict[str, Any] = {"processes": PROCESSES, "threads": 2, "log": tmp_path / "log", "smtp_url": catcher.url}
        with Worker(postgres_url, redis_server.url, **options) as crew:
            app.submit(workload.world())
            until(lambda: not unfinished(app), "the world to be there")
            storm = weather(app, crew, redis_server, load.requests)
            in_peace(app, storm)
            left = [client.llen(name) for name in ("dramatiq:directory", "dramatiq:urgent", "dramatiq:mail")]
            assert crew.stop() == 0
        seconds = time.monotonic() - begin
        with capsys.disabled():
            print(summary(app, storm, left, seconds))  # noqa: T201 (this is what the test is for)
        check_answers(load, storm)
        mails = check_mails(app, catcher)
        with capsys.disabled():
            print(f"mails    {dict(mails)}")  # noqa: T201
    check_trail(app)
    second = postgres_server.create_database(f"model_{SEED}", template=postgres_template)
    try:
        compare(app, storm, second)
    finally:
        app.close()
        postgres_server.drop_database(f"model_{SEED}")


# ---------------------------------------------------------------------------------------------------- the storm


def weather(app: App, crew: Worker, redis: RedisServer, requests: Sequence[Request]) -> Storm:
    """Submit from two sides, while workers are killed every second and Redis is flushed twice."""
    storm, over = Storm(), threading.Event()
    chunks = [requests[start : start + CHUNK] for start in range(0, len(requests), CHUNK)]
    lock = threading.Lock()

    def submit(mine: Sequence[Sequence[Request]]) -> None:
        try:
            for chunk in mine:
                answers = app.submit(chunk)
                with lock:
                    storm.answers += zip(chunk, answers, strict=True)
                time.sleep(2 * SUBMIT_SECONDS / len(chunks))
        except BaseException as error:
            storm.faults.append(error)

    def fire() -> None:
        dice = random.Random(SEED)
        while not over.wait(KILL_EVERY_SECONDS):
            if children := crew.children():
                kill(dice.choice(children))
                storm.kills += 1

    # A person's requests stay in one hand: two hands would be two orders.
    hands = [threading.Thread(target=submit, args=(part,)) for part in (by_hand(chunks, 0), by_hand(chunks, 1))]
    killer = threading.Thread(target=fire)
    for thread in (*hands, killer):
        thread.start()
    begin = time.monotonic()
    for at in (SUBMIT_SECONDS / 3, SUBMIT_SECONDS * 2 / 3):
        time.sleep(max(0.0, at - (time.monotonic() - begin)))
        with redis.client() as client:
            client.flushall()
        storm.flushes += 1
    for thread in hands:
        thread.join()
    while time.monotonic() - begin < FIRE_SECONDS and set(unfinished(app)) - {"unknown"}:
        time.sleep(0.2)
    over.set()
    killer.join()
    storm.left = sum(unfinished(app).values())
    assert not storm.faults, storm.faults
    return storm


def by_hand(chunks: Sequence[Sequence[Request]], hand: int) -> list[list[Request]]:
    """The share of one of two submitters: whose name it is decides."""
    return [[r for r in chunk if sum(str(who(r)).encode()) % 2 == hand] for chunk in chunks]


def who(request: Request) -> object:
    fields = request.fields
    return fields.get("user") or fields.get("username") or fields.get("group") or fields.get("email")


def in_peace(app: App, storm: Storm) -> None:
    """Nobody is killed any more: every job must end. What met a killer three times is driven again, as an operator would."""
    until(lambda: not unfinished(app) and not drive_again(app, storm), "every job to end", seconds=150, every=0.5)


def drive_again(app: App, storm: Storm) -> int:
    """Retry what was given up; how many jobs that was."""
    edges = {kind.name: kind.policy.life for kind in app.registry if kind.shape == "edge"}
    given_up = [job.c.state == "failed", job.c.reason == "worker_killed"]
    with app.scope() as scope:
        # A sealed field is erased when its job ends: who retries such a job gives it again.
        resets, rung = ledger.redrive(
            scope, [*given_up, job.c.kind == "reset_password"], edges=edges, sealed={"password_hash": workload.HASH}
        )
        others, more = ledger.redrive(scope, given_up, edges=edges)
    for kind, urgent in sorted(rung | more):
        app.ring(kind, urgent)
    storm.redriven += len(resets) + len(others)
    return len(resets) + len(others)


def unfinished(app: App) -> dict[str, int]:
    with app.database.read() as conn:
        rows = conn.execute(select(job.c.state, func.count()).where(job.c.finished_at.is_(None)).group_by(job.c.state))
        found = {row[0]: row[1] for row in rows if row[0] != "scheduled"}
    if set(found) == {"unknown"}:
        with app.scope() as scope:
            # The rest after an unknown outcome is a quarter of an hour; the clock is turned for the keeper.
            scope.conn.execute(update(job).where(job.c.state == "unknown").values(lease_until=scope.now))
    return found


# ---------------------------------------------------------------------------------------------------- the counts


def check_answers(load: workload.Workload, storm: Storm) -> None:
    """A key is one job however often it came, and a key used for something else is refused."""
    refused = [answer for _, answer in storm.answers if answer.refused]
    assert {answer.reason for answer in refused} == {"key_reused"}
    assert len(refused) == load.conflicts
    ids: dict[str | None, set[str | None]] = {}
    for request, answer in storm.answers:
        if not answer.refused:
            ids.setdefault(request.key, set()).add(answer.id)
    assert all(len(found) == 1 for found in ids.values())
    assert len(ids) == SIZE - load.conflicts - load.repeats
    assert sum(answer.duplicate for _, answer in storm.answers) == load.repeats


def check_trail(app: App) -> None:
    """The audit trail: each (job, number) once, one birth a person, and lines only of jobs that succeeded."""
    with app.database.read() as conn:
        events = conn.execute(select(event.c.job, event.c.number, event.c.action, event.c.target)).all()
        done = {row.id for row in conn.execute(select(job.c.id).where(job.c.state == "succeeded"))}
        living = {row.id for row in conn.execute(select(users.c.id))}
        burnt = conn.execute(select(attempt.c.outcome, attempt.c.code, func.count()).group_by("outcome", "code")).all()
    numbered = Counter((row.job, row.number) for row in events if row.job)
    assert set(numbered.values()) == {1}
    by_job: dict[str, list[int]] = {}
    for job_id, number in numbered:
        by_job.setdefault(job_id, []).append(number)
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in by_job.values())
    assert set(by_job) <= done
    births = Counter(row.target for row in events if row.action == "user.created")
    deaths = Counter(row.target for row in events if row.action == "user.deleted")
    assert set(births.values()) == {1}
    assert set(deaths.values()) == {1}
    assert set(births) - set(deaths) == living
    assert {row.outcome for row in burnt} <= {"crash", "unknown", "rejected", "cancelled"}, burnt


def check_mails(app: App, catcher: Catcher) -> Counter[str]:
    """One copy a Message-ID, except of jobs that passed through `unknown`; none without a job; every succeeded mail there."""
    with app.database.read() as conn:
        unknown = set(conn.execute(select(attempt.c.job).where(attempt.c.outcome == "unknown")).scalars())
        rows = conn.execute(select(job.c.id, job.c.state, job.c.result).where(job.c.kind.like("send_%"))).all()
    copies = Counter(message_id(mail.message) for mail in catcher.mails)
    sent = {row.result["message_id"]: row.id for row in rows if row.state == "succeeded"}
    assert set(sent) <= set(copies)
    doubled = {name for name, times in copies.items() if times > 1}
    assert all(sent.get(name) in unknown for name in doubled)
    # A mail that arrived and whose job did not succeed: only of jobs that passed through `unknown`.
    assert len(set(copies) - set(sent)) <= len(unknown)
    return Counter(jobs=len(rows), succeeded=len(sent), copies=copies.total(), doubled=len(doubled), unknown=len(unknown))


def message_id(message: bytes) -> str:
    found = re.search(rb"^message-id:\s*(\S+)", message, re.IGNORECASE | re.MULTILINE)
    assert found is not None
    return found.group(1).decode()


def summary(app: App, storm: Storm, left: Sequence[Any], seconds: float) -> str:
    with app.database.read() as conn:
        rows = [dict(row._mapping) for row in conn.execute(select(job.c.kind, job.c.state, job.c.reason))]
        tries = [dict(row._mapping) for row in conn.execute(select(attempt.c.outcome, attempt.c.code))]
    lines = [
        f"{SIZE} submissions, {storm.kills} kills, {storm.flushes} flushes, {seconds:.0f} s; {storm.left} left for peace",
        f"jobs     {count(rows, 'state')}",
        f"reasons  {count([row for row in rows if row['reason']], 'reason')}",
        f"tries    {count(tries, 'outcome')}; driven again by hand: {storm.redriven}",
        f"kinds    {len({row['kind'] for row in rows})}; left on the queues: {list(left)}",
    ]
    return "\n" + "\n".join(lines)


# ---------------------------------------------------------------------------------- one after the other, once more


def compare(app: App, storm: Storm, second_url: str) -> None:
    """Run the accepted jobs one after the other on a second database; both must end in the same directory."""
    by_id = {answer.id: request for request, answer in storm.answers if answer.id is not None}
    with app.database.read() as conn:
        rows = {row.id: row for row in conn.execute(select(job).where(job.c.source != "muster"))}
    accepted = [(rows[job_id], request) for job_id, request in by_id.items() if job_id is not None]
    # The place in the line is the order; a job that was driven again took a new one. Who lost his place had no effect.
    accepted.sort(key=lambda pair: (str(pair[0].subject), pair[0].seq or pair[0].accepted or 0, pair[0].id))
    model = Office(second_url)
    model.now = datetime.now(UTC)
    try:
        for request in workload.world():
            model.do(request.kind, request.fields, source=request.source, key=request.key)
        again: dict[str, tuple[Request, Any]] = {}
        for row, request in accepted:
            if row.reason == "superseded" or model.app.registry[request.kind].shape == "edge":
                continue
            job_id = str(model.app.submit([replace(request, urgent=False)])[0].id)
            model.runner.run(request.kind, urgent=False)
            again[job_id] = request, row
        ends = [(again[row["id"]], row) for row in model.jobs() if row["id"] in again]
        wrong = [
            (request.kind, request.key, row.state, row.reason, end["state"], end["reason"])
            for (request, row), end in ends
            if (end["state"], end["reason"]) != (row.state, row.reason)
        ]
        assert not wrong, (wrong[:10], [(row["code"], row["text"], row["trace"]) for row in model.rows("attempt", outcome="retry")])
        for look in (people, belongings, rights, trees):
            assert look(app) == look(model.app), look.__name__
        assert actions(app) == actions(model.app)
    finally:
        model.close()


def people(app: App) -> set[tuple[Any, ...]]:
    with app.database.read() as conn:
        rows = conn.execute(select(users)).all()
    return {
        (row.username, row.external_id, row.name, row.email, row.path, repr(sorted(row.attributes.items())), row.is_active,
         row.locked_at is not None, row.held_at is not None, row.delete_at is not None, row.password_hash)
        for row in rows
    }  # fmt: skip


def belongings(app: App) -> set[tuple[Any, ...]]:
    joined = membership.join(users, users.c.id == membership.c.user_id).join(groups, groups.c.id == membership.c.group_id)
    return _rows(app, lambda: select(users.c.username, groups.c.name, membership.c.origin).select_from(joined))


def rights(app: App) -> set[tuple[Any, ...]]:
    joined = permission.outerjoin(users, users.c.id == permission.c.user_id)
    joined = joined.outerjoin(groups, groups.c.id == permission.c.group_id)
    return _rows(
        app, lambda: select(permission.c.name, permission.c.object, users.c.username, groups.c.name).select_from(joined)
    )


def trees(app: App) -> set[tuple[Any, ...]]:
    with app.database.read() as conn:
        return {(row.name, repr(row.attributes)) for row in conn.execute(select(groups))}


def actions(app: App) -> Counter[tuple[str, ...]]:
    """What the trail says happened, mails aside, of everybody but the shared people, whose order has some play."""
    with app.database.read() as conn:
        rows = conn.execute(select(event.c.job, event.c.action, event.c.target_name).where(event.c.job.is_not(None))).all()
    told = [row for row in rows if not str(row.target_name).startswith("shared-") and not row.action.endswith(".sent")]
    told.sort(key=lambda row: row.job)
    return Counter(tuple(sorted(row.action for row in mine)) for _, mine in itertools.groupby(told, lambda row: row.job))


def _rows(app: App, statement: Callable[[], Any]) -> set[tuple[Any, ...]]:
    with app.database.read() as conn:
        found: Iterator[Any] = iter(conn.execute(statement()).all())
        return {tuple(row) for row in found}
