"""One worker process: the threads that answer bells, the keeper beside them, and an orderly end."""

import contextlib
import fnmatch
import hashlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from worker import faultpoints
from worker.app import App
from worker.collector import calm_collector
from worker.database import Busy, Unreachable
from worker.feeds.pushing import KIND as MESSAGES
from worker.intake import Acceptance, Request, record_refusal, refused
from worker.jobs import DIRECTORY, URGENT
from worker.keeper import Keeper
from worker.migrate import WrongSchema
from worker.queue import open_broker
from worker.queue.pools import Pools
from worker.settings import Settings, WrongSettings
from worker.supervisor import EXIT_REFUSED, watch_parent

log = logging.getLogger(__name__)

# The keeper's round; a lost bell costs at most this long.
ROUND_SECONDS = 1.0
# Embedded, a submit from another process is noticed this soon (one PRAGMA each time, about 4 µs).
LOOK_SECONDS = 0.05
# What is in hand may take this long after SIGTERM; container runtimes kill after 10 seconds.
GRACE_SECONDS = 8.0
# Signing off takes milliseconds; a database that is stuck must not use up what is left of the 10 seconds.
FAREWELL_SECONDS = 1.5


class Doorway:
    """What this process does when something arrives on the queue. Called from the pools' threads."""

    def __init__(self, app: App, messages_came: Callable[[], object] = lambda: None) -> None:
        """The app gives the runners; they are shared by all threads. `messages_came` wakes the feeder."""
        self.app = app
        self.messages_came = messages_came
        self.runner = app.runner()
        self.edge = app.edge()

    def in_hand(self) -> set[str]:
        """The batches that threads of this process are working on."""
        return self.runner.in_hand.copy() | self.edge.in_hand.copy()

    def bell(self, kind: str, queue: str) -> None:
        """Do one batch of the kind's due jobs; a full batch rings again by itself."""
        self.app.bell.clear(kind, queue)  # before looking: what is submitted from now on rings anew
        if self.app.registry[kind].shape == "edge":
            self.edge.run(kind, urgent=True)
            self.edge.run(kind, urgent=False)
        else:
            self.runner.run(kind, urgent=queue == URGENT)
        if kind == MESSAGES:  # rung by webhooks, too
            self.messages_came()

    def ingress(self, kind: str, queue: str, kwargs: Mapping[str, object], message_id: str) -> None:
        """Write a foreign job to the ledger. Its source lies in a namespace of its own, whatever it says of itself."""
        sender = kwargs.get("source")
        source = f"queue/{sender if isinstance(sender, str) and sender else 'dramatiq'}"[:255]
        request = Request(kind, {}, source, message_id, requested_by=source)
        answer = self._refuse_shape(request, kwargs) or self.app.submit([_from_queue(request, kwargs, queue)])[0]
        faultpoints.reached("ingressed")
        if answer.refused:
            log.warning("queue.refused", extra={"kind": kind, "message_id": message_id, "reason": answer.reason})
            with self.app.scope() as scope:
                record_refusal(scope, answer, dict(kwargs))

    def _refuse_shape(self, request: Request, kwargs: Mapping[str, object]) -> Acceptance | None:
        """Refuse what is no job: an unknown field, a payload that is no object, a kind not accepted from the queue."""
        if not any(fnmatch.fnmatchcase(request.kind, pattern) for pattern in self.app.settings.queue_kinds):
            return refused(request, "not_accepted_here", kind=request.kind, source=request.source)
        if unknown := sorted(set(kwargs) - set(FIELDS)):
            return refused(request, "unreadable", problem=f"it has a field {unknown[0]!r}; known are {', '.join(FIELDS)}")
        for name, wanted in FIELDS.items():
            value = kwargs.get(name)
            if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
                return refused(request, "unreadable", problem=f"{name} is no {wanted.__name__}")
        try:
            _moment(kwargs.get("run_at"))
        except (ValueError, OverflowError):
            return refused(request, "unreadable", problem="run_at is no time with a zone, as 2026-01-31T17:00:00+01:00")
        return None

    def unreadable(self, queue: str, raw: bytes, reason: str, message_id: str) -> None:
        """Record what could not be read: its size and digest, never its content, which nobody could mask."""
        request = Request("", {}, f"queue/{queue}", message_id)
        evidence = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        with self.app.scope() as scope:
            record_refusal(scope, refused(request, "unreadable", problem=reason), evidence)


#: What a foreign message may hold; docs/enqueue.md shows it.
FIELDS: Mapping[str, type] = {
    "payload": dict, "key": str, "source": str, "run_at": str, "urgent": bool, "priority": int, "version": int,
    "on_behalf_of": str, "why": str,
}


def _from_queue(request: Request, kwargs: Mapping[str, Any], queue: str) -> Request:
    return Request(
        request.kind, kwargs.get("payload") or {}, request.source, kwargs.get("key") or request.key,
        run_at=_moment(kwargs.get("run_at")), urgent=bool(kwargs.get("urgent")) or queue == URGENT,
        priority=kwargs.get("priority"), version=kwargs.get("version"), requested_by=request.source,
        on_behalf_of=kwargs.get("on_behalf_of"), why=kwargs.get("why"),
    )


def _moment(text: object) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment.astimezone(UTC)


class Staff:
    """The threads of one process: pools for directory, urgent and edge jobs, and the keeper. A context manager."""

    def __init__(
        self, app: App, *, threads: int = 4, mail_threads: int = 2, queues: Collection[str] | None = None
    ) -> None:
        """`queues`: serve these alone; None for all. Urgent jobs are served by every process."""
        self.app = app
        self._feeder = _FeederThread(app) if app.settings.feeds else None
        self._doorway = Doorway(app, self._feeder.wake) if self._feeder is not None else Doorway(app)
        homes = {kind.name: kind.policy.queue for kind in app.registry}
        self._broker = open_broker(app.settings.broker_url, kinds=homes, doorway=self._doorway)
        app.bell = self._broker
        edges = {kind.policy.queue for kind in app.registry if kind.shape == "edge"} - {DIRECTORY}
        self._pools = Pools(
            self._broker, threads=threads, edge_queues=edges, edge_threads=mail_threads, queues=queues
        )
        self.keeper = app.keeper(self._doorway.in_hand)
        self._rounds = _Rounds(app, self.keeper)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Check schema and key, enlist, and begin to work."""
        self.app.ready()
        self.keeper.enlist()
        self._pools.start()
        self._rounds.start()
        if self._feeder is not None:
            self._feeder.start()
        log.info("worker.started", extra={"worker": self.app.worker_id, "pid": os.getpid()})

    def stop(self, grace: float = GRACE_SECONDS) -> bool:
        """Finish what is in hand; what takes longer is released by the end of its transaction. True if all finished."""
        self._rounds.end()
        if self._feeder is not None:
            self._feeder.end()
        ended = self._pools.stop(grace)
        # Interrupted work counts no crash: the notes go now, the transactions end with their connections. In a thread of
        # its own, since work that hangs may hold what this needs (on SQLite it does).
        farewell = threading.Thread(target=self._resign, name="farewell", daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        log.info("worker.stopped", extra={"worker": self.app.worker_id, "finished": ended})
        return ended

    def _resign(self) -> None:
        self._rounds.join(FAREWELL_SECONDS / 2)
        with contextlib.suppress(Busy, Unreachable):
            self.keeper.resign()


class _FeederThread(threading.Thread):
    """The feeds' rounds, where feeds are declared; a thread of its own takes files, since a large one takes minutes."""

    def __init__(self, app: App) -> None:
        from worker.feeds.feeder import Feeder
        from worker.feeds.watch import Watcher

        super().__init__(name="feeder", daemon=True)
        feeds, folder = app.feeds(), app.settings.feed_folder
        self._feeder = Feeder(feeds)
        self._watcher = Watcher(feeds, folder) if folder is not None else None
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._rested = True

    def run(self) -> None:
        from worker.feeds.feeder import look_after

        if self._watcher is not None:
            files = (self._watcher.pass_once, self._ended.wait)
            threading.Thread(target=look_after, args=files, name="watcher", daemon=True).start()
        look_after(self._feeder.pass_once, self._rest)

    def _rest(self, seconds: float) -> bool:
        """Wait, less when messages came; but not twice running: what comes thick and fast is planned together."""
        if self._rested:
            self._rested = not self._woken.wait(seconds)
        else:
            self._ended.wait(seconds)
            self._rested = True
        self._woken.clear()
        return self._ended.is_set()

    def wake(self) -> None:
        """Say that there are messages."""
        self._woken.set()

    def end(self) -> None:
        self._ended.set()
        self._woken.set()


class _Rounds(threading.Thread):
    """The keeper's rounds; embedded, it also looks for other processes' commits in between."""

    def __init__(self, app: App, keeper: Keeper) -> None:
        super().__init__(name="keeper", daemon=True)
        self.app = app
        self.keeper = keeper
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            self.keeper.pass_once()
            if self.app.settings.embedded:
                self._look()
            else:
                self._ended.wait(ROUND_SECONDS)

    def _look(self) -> None:
        """Watch SQLite's counter of foreign commits for one round, and ring when it moves."""
        with self.app.database.watch() as version:
            seen = version()
            for _ in range(int(ROUND_SECONDS / LOOK_SECONDS)):
                if self._ended.wait(LOOK_SECONDS):
                    return
                if (now := version()) != seen:
                    seen = now
                    with contextlib.suppress(Busy, Unreachable):
                        self.keeper.ring_due()

    def end(self) -> None:
        """Begin no other round."""
        self._ended.set()


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], None]]:
    """Take SIGTERM and Ctrl-C as wishes to stop; gives what waits for one. For the main thread."""
    # Two signals may come at once: of all that can be waited for, only SimpleQueue.put may be interrupted by itself.
    asked: SimpleQueue[int] = SimpleQueue()
    before = {
        number: signal.signal(number, lambda number, _frame: asked.put(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: _wait(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(asked: "SimpleQueue[int]") -> None:
    asked.get()


def run_worker(
    settings: Settings, *, threads: int = 4, mail_threads: int = 2, queues: Collection[str] | None = None
) -> int:
    """Be one worker process until SIGTERM or SIGINT; returns the exit code.

    0: all work in hand was finished. 1: some was cut off (and released). EXIT_REFUSED: this process cannot work here.
    """
    with stop_signals() as wait:
        watch_parent()
        return _work(settings, threads, mail_threads, queues, wait)


def _work(
    settings: Settings, threads: int, mail_threads: int, queues: Collection[str] | None, wait: Callable[[], None]
) -> int:
    try:
        app = App(settings, pool_size=threads + 2 * mail_threads + 4)  # mails and webhooks have threads each
        staff = Staff(app, threads=threads, mail_threads=mail_threads, queues=queues)
        staff.start()
        calm_collector()
    except (WrongSettings, WrongSchema) as error:
        log.error("worker.refused", extra={"why": str(error)})
        print(error, flush=True)  # noqa: T201 (the supervisor's terminal)
        return EXIT_REFUSED
    wait()
    finished = staff.stop()
    if finished:
        app.close()
        return 0
    os._exit(1)  # a thread hangs; ending the process ends its transaction, and so releases its jobs
