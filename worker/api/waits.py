"""Callers who wait for their jobs to end: one look at the ledger for all of them, no thread or connection for each."""

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from worker.bulk import among
from worker.database import Busy, Unreachable
from worker.tables import job

if TYPE_CHECKING:
    from worker.app import App

log = logging.getLogger(__name__)

# Ten looks a second, however many wait: a twentieth of a second late on average.
LOOK_SECONDS = 0.1
# The longest wait of one request; proxies close what says nothing for longer.
LONGEST_SECONDS = 60


class Waits:
    """Whoever waits for the end of a job. Lives in the event loop of one server."""

    def __init__(self, app: "App", closing: asyncio.Event) -> None:
        """Nobody looks while nobody waits. `closing`: set when the server stops, and nobody is kept waiting any more."""
        self.app, self.closing = app, closing
        self._open: dict[str, set[asyncio.Future[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ended(self, job_id: str, seconds: float) -> None:
        """Return when the job has ended, after so many seconds, or when the server stops."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.setdefault(job_id, set()).add(future)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            waiting = self._open.get(job_id, set())
            waiting.discard(future)
            if not waiting:
                self._open.pop(job_id, None)

    async def _look(self) -> None:
        try:
            while self._open:
                try:
                    ended = await run_in_threadpool(self._ended, list(self._open))
                except (Busy, Unreachable) as error:
                    log.warning("wait.blind", extra={"error": type(error).__name__})
                    ended = []
                for job_id in list(self._open) if self.closing.is_set() else ended:
                    for future in self._open.pop(job_id, set()):
                        if not future.done():
                            future.set_result(None)
                if self._open:
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._task = None

    def _ended(self, ids: Collection[str]) -> list[str]:
        with self.app.database.read() as conn:
            statement = select(job.c.id).where(among(conn, job.c.id, sorted(ids)), job.c.finished_at.is_not(None))
            return list(conn.execute(statement).scalars())
