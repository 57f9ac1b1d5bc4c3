"""Tests of the supervisor with real processes: killed children come back, a stop is orderly, nobody is orphaned."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import worker.supervisor
from worker.supervisor import EXIT_REFUSED, PARENT_PIPE, supervise, watch_parent

WAIT_SECONDS = 30.0
"""A guard against waiting for ever; what is waited for takes a second at most."""

PATH = os.pathsep.join([str(Path(worker.supervisor.__file__).parents[1]), *sys.path])

PARENT = """
import logging, sys
from worker.supervisor import supervise
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("%(message)s %(again_in)s", defaults={"again_in": ""}))
logging.basicConfig(handlers=[handler])
sys.exit(supervise([sys.executable, "-c", sys.argv[1]], processes=int(sys.argv[2]), grace=float(sys.argv[3])))
"""

CHILD = """
import os, signal, sys, time
from worker.supervisor import watch_parent
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
watch_parent()
os.write(1, f"up {os.getpid()} {os.getpgid(0) == os.getpid()} {os.getsid(0)}\\n".encode())  # in one piece
time.sleep(600)
"""

DEAF = CHILD.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")

UNWATCHED = """
import os, time
os.write(1, f"up {os.getpid()}\\n".encode())
time.sleep(600)
"""


class Supervised:
    """A supervisor in a process of its own, and what its children say."""

    def __init__(self, child: str, processes: int, grace: float = 10.0) -> None:
        command = [sys.executable, "-c", PARENT, child, str(processes), str(grace)]
        environment = {**os.environ, "PYTHONPATH": PATH}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True)
        self.children: list[int] = []
        self.lines: list[list[str]] = []

    def child(self) -> int:
        """Wait for the next child to say that it is up; its process id."""
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert words[:1] == ["up"], words
        self.lines.append(words)
        self.children.append(int(words[1]))
        return self.children[-1]

    def end(self) -> int:
        return self.process.wait(WAIT_SECONDS)

    def said(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def delays(self) -> list[float]:
        """Give the pauses before restarts that the log tells of; after `end`."""
        return [float(line.split()[1]) for line in self.said().splitlines() if line.startswith("supervisor.died")]

    def close(self) -> None:
        for pid in [self.process.pid, *self.children]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def alive(pid: int) -> bool:
    """Tell whether the process runs; one that ended and was not asked for its code does not."""
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(status.strip()) and not status.startswith("Z")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start() -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def go(child: str, processes: int, grace: float = 10.0) -> Supervised:
        started.append(Supervised(child, processes, grace))
        return started[-1]

    yield go
    for supervised in started:
        supervised.close()


def test_a_killed_child_comes_back_and_the_others_are_left_alone(start: Callable[..., Supervised]) -> None:
    supervised = start(CHILD, 3)
    children = {supervised.child() for _ in range(3)}
    victim = supervised.children[0]
    os.kill(victim, signal.SIGKILL)
    replacement = supervised.child()
    assert replacement not in children
    assert all(alive(pid) for pid in (children - {victim}) | {replacement})
    supervised.process.terminate()
    assert supervised.end() == 0
    assert not any(alive(pid) for pid in supervised.children)


def test_children_that_are_killed_again_and_again_come_back_within_a_second(start: Callable[..., Supervised]) -> None:
    supervised = start(CHILD, 1)
    for _ in range(5):
        os.kill(supervised.child(), signal.SIGKILL)
    assert alive(supervised.child())
    supervised.process.terminate()
    assert supervised.end() == 0
    assert supervised.delays() == [0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_in_an_orderly_way(start: Callable[..., Supervised], number: signal.Signals) -> None:
    supervised = start(CHILD, 2)
    for _ in range(2):
        supervised.child()
    supervised.process.send_signal(number)
    assert supervised.end() == 0
    assert not any(alive(pid) for pid in supervised.children)


def test_who_does_not_end_in_time_is_killed(start: Callable[..., Supervised]) -> None:
    supervised = start(DEAF, 2, grace=0.5)
    for _ in range(2):
        supervised.child()
    supervised.process.terminate()
    assert supervised.end() == 1
    assert not any(alive(pid) for pid in supervised.children)


def test_a_second_signal_ends_all_at_once(start: Callable[..., Supervised]) -> None:
    supervised = start(DEAF, 2, grace=600)
    for _ in range(2):
        supervised.child()
    supervised.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert all(alive(pid) for pid in supervised.children)
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.end() == 1
    assert not any(alive(pid) for pid in supervised.children)


@pytest.mark.parametrize("child", [CHILD, UNWATCHED], ids=["watching the pipe", "before it watches"])
def test_a_killed_supervisor_leaves_no_orphan(start: Callable[..., Supervised], child: str) -> None:
    if child is UNWATCHED and sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent died")
    supervised = start(child, 2)
    for _ in range(2):
        supervised.child()
    supervised.process.kill()
    eventually(lambda: not any(alive(pid) for pid in supervised.children))


def test_an_orphan_that_ignores_the_signal_is_killed_after_its_grace(start: Callable[..., Supervised]) -> None:
    supervised = start(DEAF.replace("watch_parent()", "watch_parent(grace=0.3)"), 1)
    supervised.child()
    supervised.process.kill()
    eventually(lambda: not any(alive(pid) for pid in supervised.children))


def test_a_child_that_cannot_run_ends_everything_with_its_code(start: Callable[..., Supervised]) -> None:
    refusing = f"import sys; print('the schema is too old: muster db upgrade', file=sys.stderr); sys.exit({EXIT_REFUSED})"
    supervised = start(refusing, 2)
    assert supervised.end() == EXIT_REFUSED
    said = supervised.said()
    assert "muster db upgrade" in said
    assert "supervisor.refused" in said


def test_a_child_that_keeps_ending_is_started_again_ever_more_slowly(start: Callable[..., Supervised]) -> None:
    supervised = start(r"import os; os.write(1, b'up %d\n' % os.getpid()); raise SystemExit(1)", 1)
    for _ in range(5):
        supervised.child()
    supervised.process.terminate()
    assert supervised.end() == 0
    assert supervised.delays()[:4] == [0.2, 0.4, 0.8, 1.6]


def test_children_share_the_session_and_have_process_groups_of_their_own(start: Callable[..., Supervised]) -> None:
    supervised = start(CHILD, 2)
    for _ in range(2):
        supervised.child()
    assert [words[2:] for words in supervised.lines] == [["True", str(os.getsid(supervised.process.pid))]] * 2


def test_without_a_supervisor_there_is_nothing_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT_PIPE, raising=False)
    watch_parent()


def test_signals_are_put_back_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert supervise([sys.executable, "-c", f"raise SystemExit({EXIT_REFUSED})"], processes=1) == EXIT_REFUSED
    assert signal.getsignal(signal.SIGTERM) is before
