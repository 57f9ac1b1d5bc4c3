"""`muster up` and `muster worker` as processes of their own: they do the work, say what they lack, and end in order."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from office import SECRET
from shell import Shell, environment

PATIENCE_SECONDS = 30.0
"""A guard against waiting for ever; what is waited for takes a second or two."""


@contextmanager
def serving(folder: Path, words: Sequence[str], **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command that stays until the `with` block ends, then end it by SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", *words], cwd=folder, env=environment(folder, secret_key=SECRET, **settings),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)


def wait_for_worker(shell: Shell) -> None:
    """Wait until a worker is on the list."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if shell.office.rows("worker"):
            return
        time.sleep(0.05)
    raise AssertionError("no worker enlisted")


def test_up_does_what_others_submit_and_ends_in_order(sqlite_url: str, tmp_path: Path) -> None:
    shell = Shell(sqlite_url)
    with serving(tmp_path, ["up"], database_url=sqlite_url) as process:
        wait_for_worker(shell)
        done = shell.submit("create_group", {"group": "staff"}, "--wait", "30")
    assert done["state"] == "succeeded"
    assert process.returncode == 0
    assert shell.office.rows("worker") == []
    shell.close()


def test_up_ends_in_order_when_told_twice(sqlite_url: str, tmp_path: Path) -> None:
    shell = Shell(sqlite_url)
    with serving(tmp_path, ["up"], database_url=sqlite_url) as process:
        wait_for_worker(shell)
        assert process.stdout is not None
        assert process.stdout.readline() == "Muster is up. Ctrl-C ends it.\n"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    shell.close()


def test_worker_processes_do_what_others_submit(database_url: str, broker_url: str, tmp_path: Path) -> None:
    shell = Shell(database_url, broker_url=broker_url)
    words = ["worker", "--processes", "2", "--threads", "2", "--mail-threads", "1"]
    with serving(tmp_path, words, database_url=database_url, broker_url=broker_url) as process:
        wait_for_worker(shell)
        lines = "".join(json.dumps({"kind": "create_user", "payload": {"username": f"u{n}"}}) + "\n" for n in range(20))
        done = shell.muster("submit", "--batch", "-", "--wait", "30", given=lines)
        workers = shell.one("doctor")
    assert done.stdout.endswith("20 succeeded.\n"), (done.stdout, done.stderr)
    assert any(check["check"] == "workers" and check["state"] == "ok" for check in workers["checks"])
    assert process.returncode == 0
    shell.close()


@pytest.mark.parametrize(
    ("words", "settings", "code", "said"),
    [
        (["worker", "--queues", "nosuch"], {}, 2, "No job uses the queue nosuch"),
        (["worker"], {"zone": "Mars/Olympus"}, 2, "MUSTER_ZONE"),
        (["worker", "--child"], {"zone": "Mars/Olympus"}, 78, "MUSTER_ZONE"),
        (["worker"], {"broker_url": "redis://127.0.0.1:1/0"}, 3, "The queue cannot be reached"),
        (["worker"], {"database_url": "postgresql://127.0.0.1:1/none"}, 3, "The database cannot be reached"),
        (["up"], {"database_url": "postgresql://127.0.0.1:1/none"}, 3, "The database cannot be reached"),
    ],
)
def test_what_is_missing_is_said_at_once(
    words: list[str], settings: dict[str, str], code: int, said: str, sqlite_url: str, tmp_path: Path
) -> None:
    env = environment(tmp_path, **{"secret_key": SECRET, "database_url": sqlite_url, **settings})
    done = subprocess.run(
        [sys.executable, "-m", "worker", *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
