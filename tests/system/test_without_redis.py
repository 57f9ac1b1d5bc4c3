"""Redis flushed, lost, away when jobs come in and away when they fail: jobs are late by a second, never lost or done twice."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from crew import Crew, all_done, front_office, real_time, told, until
from office import Office
from servers import RedisServer

from worker.intake import Request

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be broken."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def office(postgres_url: str, redis: RedisServer) -> Iterator[Office]:
    opened = front_office(postgres_url, redis.url)
    yield opened
    opened.close()


@pytest.fixture
def workers(postgres_url: str, redis: RedisServer, tmp_path: Path) -> Iterator[Crew]:
    hired = Crew(postgres_url, redis.url, tmp_path)
    yield hired
    hired.stop()


def submit_naps(office: Office, names: list[str], seconds: float = 0.01) -> None:
    answers = office.app.submit([Request("nap", {"name": name, "seconds": seconds}, "test") for name in names])
    assert not any(answer.refused for answer in answers)


def test_redis_is_flushed_in_the_middle(office: Office, workers: Crew, redis: RedisServer) -> None:
    workers.hire()
    names = [f"nap-{n:03}" for n in range(300)]
    for start in range(0, 300, 60):
        submit_naps(office, names[start : start + 60])
        with redis.client() as client:
            client.flushall()
    all_done(office, "the jobs behind the lost bells")
    assert told(office, "nap.taken") == names


def test_redis_is_killed_and_comes_back_empty(office: Office, workers: Crew, redis: RedisServer) -> None:
    workers.hire()
    names = [f"nap-{n:03}" for n in range(200)]
    submit_naps(office, names)
    soon = real_time() + timedelta(seconds=2)
    planned = office.submit("nap", {"name": "planned"}, at=soon)
    retried = office.submit("stumble", {"name": "retried"})
    redis.restart(empty=True)
    all_done(office, "all jobs, the planned and the retried too")
    assert told(office, "nap.taken") == [*names, "planned"]
    [row] = office.rows("job", id=planned)
    assert row["finished_at"] >= soon
    assert (office.ended(retried).state, office.ended(retried).attempts) == ("succeeded", 1)


def test_jobs_fail_while_redis_is_away_and_are_tried_again(office: Office, workers: Crew, redis: RedisServer) -> None:
    workers.hire()
    ids = [office.submit("stumble", {"name": f"stumble-{n}", "seconds": 1.0}) for n in range(2)]
    until(lambda: office.rows("batch"), "the jobs to be in hand")
    redis.kill()
    until(lambda: len(office.rows("attempt", outcome="retry")) == 2, "the jobs to fail")
    redis.start()
    all_done(office, "the retries")
    assert told(office, "stumble.over") == ["stumble-0", "stumble-1"]
    assert [office.ended(job_id).attempts for job_id in ids] == [1, 1]


def test_redis_is_away_when_jobs_come_in(office: Office, workers: Crew, redis: RedisServer) -> None:
    workers.hire()
    redis.kill()
    names = [f"nap-{n:02}" for n in range(20)]
    for name in names:
        office.submit("nap", {"name": name})
    assert {row["state"] for row in office.jobs()} == {"queued"}
    redis.start()
    all_done(office, "what came in meanwhile")
    assert told(office, "nap.taken") == names
