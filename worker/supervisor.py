"""Keep N worker processes running: start again what dies, end together, leave no orphans."""

import contextlib
import ctypes
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

EXIT_REFUSED = 78
"""What a child ends with if trying again cannot help: wrong settings, unknown schema (EX_CONFIG of sysexits.h)."""

PARENT_PIPE = "MUSTER_PARENT_PIPE"
"""The environment variable that tells a child which open file ends when its parent does."""

FIRST_DELAY_SECONDS = 0.2
"""Before a dead child is started again: quick enough that nobody notices, slow enough not to spin."""

LONGEST_DELAY_SECONDS = 10.0
"""For a child that keeps ending by itself right after its start, say because the database is away."""

LONGEST_DELAY_KILLED_SECONDS = 1.0
"""For a child that is killed again and again: the fault is not in its start, and the others carry its work."""

STEADY_SECONDS = 5.0
"""A child that lived this long has started well, and its next death is the first again."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends to this process when the thread that started it ends."""


@dataclass
class Seat:
    """One of the N places for a child."""

    number: int
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0


def supervise(command: Sequence[str], *, processes: int, grace: float = 10.0) -> int:
    """Run `command` `processes` times until SIGTERM, SIGINT or SIGHUP. Call it from the main thread.

    A signal is passed on as SIGTERM; who has not ended after `grace` seconds is killed, and a second signal kills at once.
    Returns 0 if all ended by themselves, 1 if one had to be killed, EXIT_REFUSED if a child said that it cannot run.
    """
    return _Supervisor(command, processes, grace).run()


def watch_parent(grace: float = 10.0) -> None:
    """End this process when its supervisor is gone: SIGTERM to itself, and SIGKILL if that did not help in `grace` seconds.

    For the child to call once its handler for SIGTERM is in place. Without a supervisor it does nothing.
    """
    pipe = os.environ.pop(PARENT_PIPE, None)
    if pipe is None:
        return
    _die_with_parent(0)  # from here on the pipe, which lets the process finish what it has in hand

    def wait_for_end() -> None:
        while os.read(int(pipe), 1):
            """Nothing is ever written; only the end matters."""
        log.warning("supervisor.parent_gone")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_end, name="watch-parent", daemon=True).start()


class _Supervisor:
    def __init__(self, command: Sequence[str], processes: int, grace: float) -> None:
        self.command = list(command)
        self.grace = grace
        self.seats = [Seat(number) for number in range(1, processes + 1)]
        self.signals = 0
        self.kill_at: float | None = None
        self.killed = False
        self.refused = False
        # Only this process holds the writing end: however it ends, the children read the end of the file.
        self.child_end, self.own_end = os.pipe()

    def run(self) -> int:
        with self._wakeups() as wakeup:
            try:
                while not self._step():
                    select.select([wakeup], [], [], self._patience())
                    _drain(wakeup)
            finally:
                self._kill_all()
        if self.refused:
            return EXIT_REFUSED
        return int(self.killed)

    def _step(self) -> bool:
        """Look after the children once; True when all is over."""
        now = time.monotonic()
        for seat in self.seats:
            if seat.process is not None and (code := seat.process.poll()) is not None:
                self._bury(seat, code, now)
        if self.kill_at is None and (self.signals or self.refused):
            self.kill_at = now + self.grace
            self._send(signal.SIGTERM)
        if self.kill_at is None:
            for seat in self.seats:
                if seat.process is None and now >= seat.start_at:
                    self._start(seat, now)
            return False
        if self.signals > 1 or now >= self.kill_at:
            self.killed |= self._send(signal.SIGKILL)
        return all(seat.process is None for seat in self.seats)

    def _patience(self) -> float | None:
        """Seconds until something is due without a signal; None: nothing is, as a child's end is a signal, too."""
        due = [seat.start_at for seat in self.seats if seat.process is None] if self.kill_at is None else [self.kill_at]
        return max(0.01, min(due) - time.monotonic()) if due else None

    def _start(self, seat: Seat, now: float) -> None:
        prepare: Callable[[], None] | None = _die_with_parent_early if sys.platform == "linux" else None
        seat.process = subprocess.Popen(
            self.command,
            pass_fds=(self.child_end,),
            env={**os.environ, PARENT_PIPE: str(self.child_end)},
            process_group=0,  # Ctrl-C in a terminal reaches the supervisor alone, which passes it on once
            preexec_fn=prepare,  # noqa: PLW1509 - one system call between fork and exec
        )
        seat.started_at = now
        log.info("supervisor.started", extra={"seat": seat.number, "pid": seat.process.pid})

    def _bury(self, seat: Seat, code: int, now: float) -> None:
        assert seat.process is not None
        extra = {"seat": seat.number, "pid": seat.process.pid, "code": code}
        seat.process = None
        if self.kill_at is not None:
            log.info("supervisor.ended", extra=extra)
            return
        if code == EXIT_REFUSED:
            log.error("supervisor.refused", extra=extra)
            self.refused = True
            return
        seat.deaths = 0 if now - seat.started_at > STEADY_SECONDS else seat.deaths + 1
        longest = LONGEST_DELAY_KILLED_SECONDS if code < 0 else LONGEST_DELAY_SECONDS
        delay = min(longest, FIRST_DELAY_SECONDS * 2 ** min(max(0, seat.deaths - 1), 10))
        seat.start_at = now + delay
        log.warning("supervisor.died", extra={**extra, "again_in": delay})

    def _send(self, number: signal.Signals) -> bool:
        """Signal every child; True if there was one."""
        running = [seat.process for seat in self.seats if seat.process is not None]
        for process in running:
            process.send_signal(number)
        return bool(running)

    def _kill_all(self) -> None:
        """Leave nobody behind, even if this process fails itself."""
        self._send(signal.SIGKILL)
        for seat in self.seats:
            if seat.process is not None:
                seat.process.wait()
        os.close(self.child_end)
        os.close(self.own_end)

    @contextlib.contextmanager
    def _wakeups(self) -> Iterator[int]:
        """Give a file that becomes readable at every signal, so that nothing has to be polled."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

        def asked(*_: object) -> None:
            self.signals += 1

        ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, asked) for number in ends}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)


def _drain(reader: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(reader, 512):
            """A signal's number; what happened is seen by looking."""


# Loaded before any fork: between fork and exec a child must not import.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent(number: int) -> None:
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, number)


def _die_with_parent_early() -> None:
    """Run in the child before its program: covers the time until `watch_parent` is called."""
    _die_with_parent(signal.SIGTERM)
