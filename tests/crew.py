"""Real worker processes for the system tests: started, supervised, killed and frozen as an operator's machine would do it."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

from office import SECRET, Office

from worker import faultpoints
from worker.database import Busy, Unreachable
from worker.queue import open_bell

ROOT = Path(__file__).parents[1]

WAIT_SECONDS = 60.0
"""A guard against waiting for ever; what is waited for takes seconds at most."""

GRACE_SECONDS = 12.0
"""Longer than a worker's own grace: whoever lives on after it hangs."""

def environment(database_url: str, broker_url: str | None = None, **settings: str) -> dict[str, str]:
    """The environment of a process of Muster; `settings` become MUSTER_* variables."""
    chosen = {
        "database_url": database_url,
        "broker_url": broker_url or "",
        "secret_key": SECRET,
        "mail_from": "Muster <muster@example.org>",
        "actors": "actors,drills",
        **settings,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    variables = {f"MUSTER_{name.upper()}": value for name, value in chosen.items()}
    return {**clean, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), **variables}


class Process(Protocol):
    """What a forked worker and a started one have in common."""

    @property
    def pid(self) -> int | None: ...

    def is_alive(self) -> bool: ...

    def join(self, timeout: float | None = None) -> None: ...

    @property
    def exitcode(self) -> int | None: ...


class Started:
    """A command in a process of its own, spoken to like one of multiprocessing."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command], env=variables, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=log.parent
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def join(self, timeout: float | None = None) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)

    @property
    def exitcode(self) -> int | None:
        return self.process.poll()


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["warm"])


def fork(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Process:
    """Run `muster` with these arguments in a process forked from a warm one: a tenth of a second instead of one or two."""
    process = FORKS.Process(target=_become, args=(list(command), dict(variables), str(log)), daemon=True)
    process.start()
    return process


def _become(command: list[str], variables: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(variables)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.chdir(Path(log).parent)
    faultpoints._plan = variables["MUSTER_FAULT_AT"]
    sys.argv = ["muster", *command]
    from worker.cli import main

    main()


class Worker:
    """One `muster worker` process, or (with `processes`) a supervisor and its children. A context manager.

    `fault` is a plan for `worker.faultpoints`, such as "claimed:1:kill".
    """

    def __init__(
        self,
        database_url: str,
        broker_url: str | None = None,
        *,
        log: Path,
        processes: int = 0,
        threads: int = 2,
        fault: str = "",
        **settings: str,
    ) -> None:
        variables = environment(database_url, broker_url, **settings) | {"MUSTER_FAULT_AT": fault}
        command = ["worker", "--threads", str(threads)]
        self.log = log
        log.touch()
        self.process: Process
        if processes:
            self.process = Started(["-m", "worker", *command, "--processes", str(processes)], variables, log)
        else:
            self.process = fork([*command, "--child"], variables, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def children(self) -> list[int]:
        """The pids of the living children."""
        found = ps("-o", "pid=,stat=", "--ppid", str(self.pid))
        return [int(row[0]) for row in found if not row[1].startswith("Z")]

    def wait_until_up(self, count: int = 1) -> None:
        """Wait until so many processes have said in all that they work."""
        until(lambda: self.said("worker.started") >= count, f"{count} workers up")

    def said(self, event: str) -> int:
        """How often an event stands in the log."""
        return self.log.read_text(errors="replace").count(event)

    def wait(self, seconds: float = WAIT_SECONDS) -> int | None:
        """Wait for the end; the exit code, negative for a signal, None if it has not ended by then."""
        self.process.join(seconds)
        return self.process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if self.process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int | None:
        """SIGTERM, and after a grace kill -9 for it and its children; the exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.wait(GRACE_SECONDS) is None:
            for pid in [*self.children(), self.pid]:
                kill(pid)
        return self.wait()


class Crew:
    """All workers that one test hires, each with a log of its own."""

    def __init__(self, database_url: str, broker_url: str | None, folder: Path) -> None:
        self.database_url, self.broker_url, self.folder = database_url, broker_url, folder
        self.workers: list[Worker] = []

    def hire(self, *, up: int = 1, **options: Any) -> Worker:
        """Start one (see Worker) and wait until so many processes of it work; 0: do not wait."""
        worker = Worker(self.database_url, self.broker_url, log=self.folder / f"log-{len(self.workers)}", **options)
        self.workers.append(worker)
        if up:
            worker.wait_until_up(up)
        return worker

    def stop(self) -> None:
        """End them all."""
        for worker in self.workers:
            worker.stop()


def front_office(database_url: str, broker_url: str | None, **settings: Any) -> Office:
    """The door of a test: submits at the real time and rings for workers in other processes."""
    settings = {"actors": ("actors", "drills"), "broker_url": broker_url, **settings}
    office = Office(database_url, **settings)
    office.keeper.resign()  # the test's own process does no work
    office.app.clock = office.runner.clock = office.edge.clock = office.keeper.clock = real_time
    office.app.bell = open_bell(broker_url)
    return office


def real_time() -> datetime:
    return datetime.now(UTC)


def unfinished(office: Office) -> list[dict[str, Any]]:
    """The jobs that have not ended."""
    return [row for row in office.jobs() if row["finished_at"] is None]


def all_done(office: Office, what: str, seconds: float = WAIT_SECONDS) -> float:
    """Wait until every job has ended; the seconds that took."""
    return until(lambda: not unfinished(office), what, seconds)


def told(office: Office, action: str) -> list[str]:
    """The names in the audit trail of one action, sorted: each effect of a drill leaves one."""
    return sorted(str(row["target_name"]) for row in office.rows("event", action=action))


def ps(*options: str) -> list[list[str]]:
    """What `ps` says, one list of words a line."""
    said = subprocess.run(["ps", *options], capture_output=True, text=True, check=False).stdout
    return [line.split() for line in said.splitlines() if line.strip()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected does not."""
    return any(not row[0].startswith("Z") for row in ps("-o", "stat=", "-p", str(pid)))


def kill(pid: int) -> None:
    """Kill -9 one process, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def until(condition: Callable[[], Any], what: str = "", seconds: float = WAIT_SECONDS, *, every: float = 0.02) -> float:
    """Wait until the condition holds; the seconds that took. AssertionError saying `what` was waited for."""
    begin = time.monotonic()
    while not _holds(condition):
        assert time.monotonic() - begin < seconds, f"waited {seconds:.0f} s for: {what}"
        time.sleep(every)
    return time.monotonic() - begin


def _holds(condition: Callable[[], Any]) -> bool:
    """Ask once; a database that was just crashed on purpose may still answer from a dead connection."""
    try:
        return bool(condition())
    except (Busy, Unreachable):
        return False


def count(rows: Sequence[Mapping[str, Any]], name: str) -> dict[Any, int]:
    """How often each value of a column occurs."""
    counts: dict[Any, int] = {}
    for row in rows:
        counts[row[name]] = counts.get(row[name], 0) + 1
    return dict(sorted(counts.items()))
