"""The HTTP doors are killed while clients hand in jobs: whoever sends again what was not answered loses and doubles nothing."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from crew import Started, environment, until
from office import Office
from servers import free_port

from worker import api_tokens

CLIENTS, EACH, KILLS = 8, 40, 3

pytestmark = pytest.mark.timeout(120)


def test_jobs_handed_in_while_the_server_is_killed_are_there_once(front: Office, database_url: str, tmp_path: Path) -> None:
    with front.scope() as scope:
        token = api_tokens.create(scope, "client", ["jobs:submit:*"], by="tester")
    port = free_port()
    variables = environment(database_url, listen=f"127.0.0.1:{port}")

    def serve() -> Started:
        started = Started(["-m", "worker", "api"], variables, tmp_path / "api.log")
        until(lambda: _answers(port), "the doors to open")
        return started

    def hand_in(client: int) -> dict[str, str]:
        found: dict[str, str] = {}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}) as line:
            for number in range(EACH):
                name = f"person-{client}-{number}"
                found[name] = _until_answered(line, name)
        return found

    server = serve()
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            sending = [clients.submit(hand_in, one) for one in range(CLIENTS)]
            for kill in range(1, KILLS + 1):
                until(partial(_has, front, kill * CLIENTS * EACH // (KILLS + 1)), "some jobs to be taken in")
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                server = serve()
            answered = {name: job_id for one in sending for name, job_id in one.result().items()}
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    assert {row["key"]: row["id"] for row in front.jobs()} == answered
    assert len(front.jobs()) == len(answered) == CLIENTS * EACH
    assert {row["source"] for row in front.jobs()} == {"token/client"}


def _has(front: Office, jobs: int) -> bool:
    return len(front.rows("job")) >= jobs


def _until_answered(line: httpx.Client, name: str) -> str:
    """Send a job, again for as long as no answer comes; the id that it got."""
    while True:
        try:
            answer = line.post(
                "/v1/jobs", json={"kind": "create_user", "payload": {"username": name}},
                headers={"Idempotency-Key": f'"{name}"'},
            )  # fmt: skip
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
