"""Whoever must lose access at once does not wait for the thousands of people whom a feed is just bringing in."""

from pathlib import Path
from typing import Any

import pytest
from crew import Crew, environment, fork, kill, real_time, until
from hr import DECLARED, HR, csv_text, person
from office import Office
from sqlalchemy import func, select

from worker.feeds import apply, runs
from worker.feeds.runs import APPLIED, APPLYING
from worker.tables import job

MANY = 3_000
URGENT: list[tuple[str, dict[str, Any]]] = [
    ("revoke_sessions", {"user": "mallory", "all": True}),
    ("deactivate_user", {"user": "mallory"}),
    ("revoke_sessions", {"user": "eve", "all": True}),
    ("deactivate_user", {"user": "eve"}),
]


def left_to_do(front: Office, run_id: str) -> int:
    """How much of a plan is still ahead: lines that are no jobs yet, and jobs that have not ended."""
    with front.app.database.read() as conn:
        run = runs.get(conn, run_id)
        mine = (job.c.source == "feed/hr", job.c.finished_at.is_(None))
        open_jobs = int(conn.execute(select(func.count()).select_from(job).where(*mine)).scalar_one())
    return run.total - run.carried + open_jobs


@pytest.mark.timeout(120)
def test_an_urgent_job_is_done_while_a_large_plan_is_carried_out(
    front: Office, crew: Crew, database_url: str, broker: str | None, tmp_path: Path
) -> None:
    declared = DECLARED.replace("usernames =", "welcome_mail = false\nusernames =")
    (tmp_path / "muster.toml").write_text(declared)
    for kind, name, value in [("create_group", "group", "staff"), ("create_group", "group", "sales"),
                              ("create_user", "username", "mallory"), ("create_user", "username", "eve")]:  # fmt: skip
        front.submit(kind, {name: value})
        front.runner.run(kind, urgent=False)
    hr = HR(front, tmp_path, declared)
    hr.feeds.clock = real_time
    run = hr.plan(csv_text(person(f"{number:05}", "Ann", f"Archer{number}") for number in range(MANY)))
    crew.hire()
    applying = fork(["feed", "apply", apply.shown(run)],
                    environment(database_url, broker) | {"MUSTER_FAULT_AT": ""}, tmp_path / "log-apply")  # fmt: skip
    try:
        until(lambda: hr.feeds.find(run.id).carried > 0, "the first people to be carried", every=0.005)
        for kind, fields in URGENT:
            state, before = hr.feeds.find(run.id).state, left_to_do(front, run.id)
            job_id = front.submit(kind, fields, urgent=True)
            until(lambda job_id=job_id: front.ended(job_id).state == "succeeded", f"{kind} to be done", every=0.005)  # type: ignore[misc]
            left = left_to_do(front, run.id)
            assert state in (APPLYING, APPLIED)
            assert left > MANY // 10, (kind, before, left)
        closed = {row["username"] for row in front.rows("users", is_active=False)}
        assert closed >= {"mallory", "eve"}
    finally:
        assert applying.pid is not None
        kill(applying.pid)
        applying.join(10)
