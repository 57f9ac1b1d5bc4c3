"""Jobs that arrive one by one at the same time are taken in together: one commit answers many callers."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool

from worker.intake import Acceptance, Intake, Request
from worker.scope import Scope

if TYPE_CHECKING:
    from worker.app import App

# More would hold the locks of their lines longer than a neighbour should wait.
MOST = 200
# A shared transaction that meets another's lock gives way after this long; its jobs then wait each for itself.
PATIENCE_MS = 200

_Asked = tuple[Request, "asyncio.Future[Acceptance]"]


class Gather:
    """Collects what arrives while the last commit is under way. Lives in the event loop of one server."""

    def __init__(self, app: "App") -> None:
        """Nothing runs until the first job arrives."""
        self.app = app
        self._waiting: deque[_Asked] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = False

    async def submit(self, request: Request) -> Acceptance:
        """Take a job in and return the answer. Raises Busy or Unreachable: it was not taken in, or not yet known to be.

        The request needs a key: after a commit whose answer was lost the job is found again by it.
        """
        future: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
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
                    answers = await run_in_threadpool(self._together, [request for request, _ in part])
                except Exception:
                    # One of them stands in the way, or the database is away: each has its own fate from here on.
                    for asked in part:
                        self._start(self._alone(asked))
                    continue
                for (_, future), answer in zip(part, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        finally:
            self._busy = False

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
        request, future = asked
        try:
            [answer] = await run_in_threadpool(self.app.submit, [request])
        except Exception as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(answer)
