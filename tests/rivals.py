"""Two at once, without luck: a second thread that is seen to wait for the first one's locks before the first goes on."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy import text

from worker.database import Database

T = TypeVar("T")
# A guard against waiting for ever; what is waited for takes milliseconds.
PATIENCE_SECONDS = 30.0


class Rival(Generic[T]):
    """Does `work` in a thread of its own; `join` gives its answer, or raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._answers: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._work())
        except BaseException as error:  # handed over to whoever joins
            self._errors.append(error)

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> T:
        self._thread.join(PATIENCE_SECONDS)
        assert self.over, "the rival still waits"
        if self._errors:
            raise self._errors[0]
        return self._answers[0]


def until_blocked(database: Database, rival: "Rival[T]", waiters: int = 1) -> None:
    """Return when so many connections to this PostgreSQL database wait for a lock; the rival must not be done before."""
    asked = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with database.read() as conn:
            if conn.execute(asked).scalar_one() >= waiters:
                return
        assert not rival.over, "the rival did not wait for anybody"
        assert time.monotonic() < deadline, "the rival never came to the lock"
        time.sleep(0.005)
