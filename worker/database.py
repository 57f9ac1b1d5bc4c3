"""The one way to the database: reading and writing transactions on SQLite and PostgreSQL, safe under crowding."""

import fcntl
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from psycopg.types.string import TextLoader
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from worker.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

# A worker that hangs (stopped, cut off) holds row locks; the server ends its transaction after this long.
IDLE_IN_TRANSACTION_MS = 5_000
# No single statement of ours takes this long; one that does is stuck.
STATEMENT_MS = 60_000
# A submitter that meets another's uncommitted key waits this long, then hears "busy, try again".
LOCK_MS = 5_000
# How often one transaction is rerun after deadlocks and the like before the caller hears of it.
RERUNS = 8
# Waits for SQLite's one writer; long enough for every batch ahead, short enough to say "busy" to a person.
SQLITE_WAIT_S = 15.0
# Whoever finds every connection of this process taken waits this long; a caller at a door waits no longer than that.
POOL_WAIT_S = 10.0

# SQLSTATEs after which the same work may simply be done again: serialization failure, deadlock, lock not available.
RERUN_STATES = frozenset({"40001", "40P01", "55P03"})
# The server went away in the middle: admin shutdown, crash shutdown, cannot connect now, idle-in-transaction timeout.
GONE_STATES = frozenset({"57P01", "57P02", "57P03", "25P03"})


class Busy(Exception):
    """The database is busy with other writers. Try again in a moment."""


class Unreachable(Exception):
    """The database cannot be reached. Check MUSTER_DATABASE_URL and that the server runs."""


class Database:
    """An engine and the rules of writing. Safe to share between threads; not between processes (fork)."""

    def __init__(self, settings: Settings, *, pool_size: int = 10) -> None:
        """Open nothing yet: the first transaction connects."""
        self.settings = settings
        self._sqlite = settings.sqlite_path
        self.engine = _sqlite_engine(self._sqlite) if self._sqlite else _postgresql_engine(settings, pool_size)

    @property
    def on_postgresql(self) -> bool:
        """Whether the database is PostgreSQL."""
        return self._sqlite is None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction for reading; it sees one consistent state and changes nothing."""
        with _told_apart(), self.engine.connect() as conn, conn.begin() as transaction:
            yield conn
            transaction.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction for writing; commits at the end, rolls back on any exception.

        On SQLite writers queue at a file lock first, so that a single submit is not starved by batches.
        """
        with _told_apart(), self._turn(), self.engine.connect() as plain:
            conn = plain.execution_options(muster_write=True)
            with conn.begin():
                yield conn

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a writing transaction, again (with jitter) after deadlocks and dropped connections.

        `work` must be repeatable: all it does is in the transaction. Raises Busy or Unreachable when patience ends.
        """
        for turn in range(RERUNS):
            try:
                with self.write() as conn:
                    return work(conn)
            except (Busy, Unreachable):
                if turn == RERUNS - 1:
                    raise
                time.sleep(random.uniform(0.005, 0.05 * 2**turn))
        raise AssertionError("unreachable")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._sqlite is None:
            yield
            return
        self._sqlite.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{self._sqlite}.lock").open("a") as file:
            _lock(file.fileno())
            yield

    @contextmanager
    def watch(self) -> Iterator[Callable[[], int]]:
        """Give a function that returns SQLite's counter of commits by other connections (4 µs a call); 0 on PostgreSQL."""
        if self._sqlite is None:
            yield lambda: 0
            return
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            yield lambda: int(cursor.execute("PRAGMA data_version").fetchone()[0])
        finally:
            connection.close()

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _lock(descriptor: int) -> None:
    """Take the writers' lock, waiting in the kernel's queue; Busy after SQLITE_WAIT_S."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    # A blocking flock is woken in turn, which polling would not be; a thread gives it the deadline it lacks. It waits
    # on a descriptor of its own: after the deadline the number of the first one may belong to another file.
    taken = threading.Event()
    own = os.dup(descriptor)

    def wait() -> None:
        fcntl.flock(own, fcntl.LOCK_EX)
        taken.set()
        os.close(own)  # the lock stays with `descriptor`, or ends here when that was closed meanwhile

    threading.Thread(target=wait, daemon=True).start()
    if not taken.wait(SQLITE_WAIT_S):
        raise Busy(f"another writer has held the database for {SQLITE_WAIT_S:.0f} seconds; try again")


@contextmanager
def _told_apart() -> Iterator[None]:
    """Turn the driver's errors into Busy (run it again) and Unreachable (the server went away)."""
    try:
        yield
    except PoolTimeout as error:
        raise Busy("every connection of this process to the database is in use; try again") from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state in RERUN_STATES or (isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)):
            raise Busy("another transaction held what this one needs; try again") from error
        if error.connection_invalidated or state in GONE_STATES or _cannot_connect(error):
            raise Unreachable("the database connection was lost or refused; check that the server runs") from error
        raise


def _cannot_connect(error: DBAPIError) -> bool:
    """Whether the error came from connecting rather than from a statement."""
    return isinstance(error, OperationalError) and error.statement is None


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", pool_timeout=POOL_WAIT_S, hide_parameters=True,
        connect_args={"timeout": SQLITE_WAIT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        # The driver's own transaction control begins late and deferred: a read that turns into a write then fails.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        write = conn.get_execution_options().get("muster_write", False)
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql_engine(settings: Settings, pool_size: int) -> Engine:
    url = settings.database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    options: dict[str, Any] = {
        "options": f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
        f" -c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_MS}"
        " -c client_encoding=UTF8 -c timezone=UTC",
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "application_name": "muster",
    }
    engine = create_engine(
        url, pool_size=pool_size, max_overflow=4, pool_timeout=POOL_WAIT_S, pool_recycle=1800, connect_args=options,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: ConnectionPoolEntry) -> None:
        # Ids are text in Python; making UUID objects of them only to write them out again costs a tenth of a batch.
        connection.adapters.register_loader("uuid", TextLoader)

    return engine
