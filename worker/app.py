"""Where the parts meet: settings, database, jobs, queue, runners and keeper become one program."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from worker import migrate
from worker.database import Database
from worker.ids import new_id
from worker.intake import Acceptance, Intake, Request
from worker.jobs import REGISTRY, URGENT, Registry
from worker.scope import Scope
from worker.settings import Settings, WrongSettings
from worker.states import FINISHED, State
from worker.tables import job, meta

if TYPE_CHECKING:
    from worker.edge import EdgeRunner
    from worker.feeds.desk import Feeds
    from worker.keeper import Keeper
    from worker.mail.room import MailRoom
    from worker.queue import Bell
    from worker.runner import Runner
    from worker.webhooks.courier import Courier

# How long a caller who waits for a job's effect is kept waiting for those before it in the line.
RUN_SECONDS = 5.0


def utc_now() -> datetime:
    """The present time, aware, in UTC."""
    return datetime.now(UTC)


def load_jobs(packages: Sequence[str]) -> Registry:
    """Import every module of the packages that hold jobs; returns the registry they filled."""
    for package in packages:
        try:
            home = import_module(package)
        except ModuleNotFoundError as error:
            raise WrongSettings(f"MUSTER_ACTORS names {package}, but there is no such package: {error}.") from error
        for module in iter_modules(home.__path__):
            import_module(f"{package}.{module.name}")
    return REGISTRY


class App:
    """One program on one database. Doors use submit(); worker processes use runner, edge and keeper."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        bell: "Bell | None" = None,
        pool_size: int = 10,
    ) -> None:
        """`bell` is what wakes workers; without one the queue named in the settings is rung."""
        self.settings = settings
        self.clock = clock
        self.registry = load_jobs(settings.actors)
        self.database = Database(settings, pool_size=pool_size)
        self.worker_id = new_id()
        self._bell = bell
        self._room: MailRoom | None = None
        self._courier: Courier | None = None

    # -------------------------------------------------------------------------------------------------- doors

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """A writing transaction at the present moment."""
        with self.database.write() as conn:
            yield Scope(conn, self.clock(), self.settings)

    def submit(self, requests: Sequence[Request], conn: Connection | None = None) -> list[Acceptance]:
        """Take jobs in and wake whoever does them; in the caller's transaction when `conn` is given.

        With `conn` nothing is rung: the keepers find the jobs within a second of the caller's commit.
        """
        if conn is not None:
            return Intake(self.registry).submit(Scope(conn, self.clock(), self.settings), requests)
        # A key made before the first try: when the commit's answer is lost, the second try finds the first one's job.
        keyed = [
            request if request.key is not None else _with_key(request) for request in requests
        ]

        def work(conn: Connection) -> tuple[list[Acceptance], Intake]:
            intake = Intake(self.registry)
            return intake.submit(Scope(conn, self.clock(), self.settings), keyed), intake

        answers, intake = self.database.transact(work)
        for kind, urgent in sorted(intake.rung):
            self.ring(kind, urgent)
        return answers

    def submit_and_run(self, request: Request, *, seconds: float = RUN_SECONDS) -> Acceptance:
        """Take a directory job in and do it at once, for a door whose caller waits for the effect.

        The job is the same as through any other door: it stands in its line, and where others stand before it, it is
        waited for `seconds` at most. The answer says how it stands then; unfinished, it is done by the workers. What
        failed and is to be tried again waits for its time here as everywhere.
        """
        [answer] = self.submit([request])
        if answer.id is None or answer.state in FINISHED:
            return answer
        runner = self.runner()
        deadline = time.monotonic() + seconds
        pause = 0.01
        while True:
            answer, due = self._standing(answer)
            if answer.state == State.QUEUED and due:
                runner.run_one(answer.kind, str(answer.id))
                answer, _ = self._standing(answer)
            if answer.state in (*FINISHED, State.HELD, State.SCHEDULED) or time.monotonic() >= deadline:
                return answer
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    def _standing(self, answer: Acceptance) -> tuple[Acceptance, bool]:
        """Return the answer as the job stands now, and whether it is due."""
        columns = [job.c[name] for name in ("state", "result", "reason", "reason_text")]
        with self.database.read() as conn:
            row = conn.execute(select(job.c.run_at, *columns).where(job.c.id == answer.id)).one()
        facts = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)
        return replace(answer, **{name: facts[name] for name in facts if name != "run_at"}), row.run_at <= self.clock()

    def ring(self, kind: str, urgent: bool) -> None:
        """Ring for due work of a kind; losing it costs a second."""
        found = self.registry.get(kind)
        if found is not None:
            # Urgent mails have their own threads' attention first; a slow relay must not stall the urgent thread.
            self.bell.ring(kind, URGENT if urgent and found.shape != "edge" else found.policy.queue)

    @property
    def bell(self) -> "Bell":
        """What wakes the workers."""
        if self._bell is None:
            from worker.queue import open_bell

            self._bell = open_bell(self.settings.broker_url)
        return self._bell

    @bell.setter
    def bell(self, bell: "Bell") -> None:
        self._bell = bell

    # ------------------------------------------------------------------------------------------------ workers

    def runner(self) -> "Runner":
        """What carries out directory jobs."""
        from worker.runner import Runner

        return Runner(self.database, self.registry, self.worker_id, self.clock, self.ring)

    def edge(self) -> "EdgeRunner":
        """What carries jobs outside."""
        from worker.edge import EdgeRunner

        return EdgeRunner(self.database, self.registry, self.worker_id, self.clock, self.ring, self.tool)

    def feeds(self) -> "Feeds":
        """The feeds that muster.toml declares. Raises WrongFeed."""
        from worker.feeds.config import load_feeds
        from worker.feeds.desk import Feeds

        return Feeds(self.database, self.registry, self.settings, self.clock, self.ring, load_feeds(self.settings))

    def keeper(self, in_hand: Callable[[], set[str]]) -> "Keeper":
        """What looks after the ledger."""
        from worker.keeper import Keeper

        return Keeper(self.database, self.registry, self.worker_id, self.clock, self.ring, in_hand)

    def tool(self, name: str) -> Any:
        """What errands share on their way outside: the mail room, and the courier of webhooks."""
        tools: Mapping[str, Callable[[], Any]] = {"mail": self.room, "webhooks": self.courier}
        return tools[name]()

    def room(self) -> "MailRoom":
        """The mail room, opened at the first mail."""
        if self._room is None:
            from worker.mail.room import MailRoom

            self._room = MailRoom(self.database, self.clock)
        return self._room

    def courier(self) -> "Courier":
        """What carries events to webhook endpoints."""
        if self._courier is None:
            from worker.webhooks.courier import Courier

            self._courier = Courier(self.database, self.clock)
        return self._courier

    # ------------------------------------------------------------------------------------------------- health

    def ready(self) -> None:
        """Refuse to go on with a wrong schema or another secret key; embedded, bring the schema up to date first."""
        if self.settings.embedded:
            migrate.upgrade_database(self.database)
        migrate.require(self.database)
        self.check_key()

    def check_key(self) -> None:
        """The secret key must be the one that the database was begun with: fingerprints and links depend on it."""
        import hashlib
        import hmac

        proof = hmac.new(self.settings.key, b"key check", hashlib.sha256).hexdigest()
        with self.database.read() as conn:
            known = conn.execute(meta.select().where(meta.c.name == "key_check")).first()
        if known is None:
            from worker.bulk import insert_rows

            self.database.transact(
                lambda conn: insert_rows(conn, meta, [{"name": "key_check", "value": proof}], conflict="skip")
            )
        elif known.value != proof:
            raise WrongSettings(
                "MUSTER_SECRET_KEY is not the key that this database was begun with. Set the first key again: with "
                "another one, links would be dead and repeated jobs would not be recognised."
            )

    def close(self) -> None:
        """Close connections."""
        if self._room is not None:
            self._room.close()
        self.database.dispose()


def _with_key(request: Request) -> Request:
    return replace(request, key=str(uuid.uuid4()))
