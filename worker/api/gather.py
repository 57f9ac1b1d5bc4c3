"""Jobs that arrive one by one at the same time are taken in together: one commit answers many callers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastapi.concurrency import run_in_threadpool

from worker import power
from worker.api_tokens import Caller
from worker.intake import Acceptance, Intake, Request
from worker.scope import Scope

if TYPE_CHECKING:
    from worker.app import App

# More would hold the locks of their lines longer than a neighbour should wait.
MOST = 200
# A shared transaction that meets another's lock gives way after this long; its jobs then wait each for itself.
PATIENCE_MS = 200

Answer = Acceptance | power.Reach
"""What became of a job; a reach: it was not taken in, as that is more than its caller may."""


class _Asked(NamedTuple):
    caller: Caller
    request: Request
    future: "asyncio.Future[Answer]"


class Gather:
    """Collects what arrives while the last commit is under way. Lives in the event loop of one server."""

    def __init__(self, app: "App") -> None:
        """Nothing runs until the first job arrives."""
        self.app = app
        self._waiting: deque[_Asked] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = False

    async def submit(self, caller: Caller, request: Request) -> Answer:
        """Take a job in and return the answer. Raises Busy or Unreachable: it was not taken in, or not yet known to be.

        The request needs a key: after a commit whose answer was lost the job is found again by it.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(caller, request, future))
        if not self._busy:
            self._busy = True
            self._start(self._work())
        return await future

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        try:
            while self._waiting:
                part = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                try:
                    answers = await run_in_threadpool(self._take, part, self._together)
                except Exception:
                    # One of them stands in the way, or the database is away: each has its own fate from here on.
                    for asked in part:
                        self._start(self._alone(asked))
                    continue
                for asked, answer in zip(part, answers, strict=True):
                    if not asked.future.done():
                        asked.future.set_result(answer)
        finally:
            self._busy = False

    def _take(self, part: Sequence[_Asked], submit: Callable[[Sequence[Request]], Sequence[Acceptance]]) -> list[Answer]:
        """Submit what is within its caller's reach; returns what became of each."""
        far = power.beyond_each(self.app, [(asked.caller, asked.request) for asked in part])
        near = [asked.request for place, asked in enumerate(part) if place not in far]
        taken = iter(submit(near) if near else ())
        return [far[place] if place in far else next(taken) for place in range(len(part))]

    def _together(self, requests: Sequence[Request]) -> list[Acceptance]:
        intake = Intake(self.app.registry)
        with self.app.database.write() as conn:
            if self.app.database.on_postgresql:
                conn.exec_driver_sql(f"SET LOCAL lock_timeout = {PATIENCE_MS}")
            answers = intake.submit(Scope(conn, self.app.clock(), self.app.settings), requests)
        for kind, urgent in sorted(intake.rung):
            self.app.ring(kind, urgent)
        return answers

    async def _alone(self, asked: _Asked) -> None:
        try:
            [answer] = await run_in_threadpool(self._take, [asked], self.app.submit)
        except Exception as error:
            if not asked.future.done():
                asked.future.set_exception(error)
        else:
            if not asked.future.done():
                asked.future.set_result(answer)
