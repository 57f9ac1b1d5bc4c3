"""A small office for tests: a database, the real intake, runners and keeper, a clock to turn, and a world of people."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from worker.app import App
from worker.bulk import insert_rows
from worker.directory.users import User
from worker.intake import Acceptance, Request
from worker.jobs import URGENT, Kind, Registry, UserRef
from worker.scope import Scope
from worker.settings import Settings
from worker.tables import job, metadata

SECRET = "a secret key for tests, of some length"


@dataclass(frozen=True)
class Ended:
    """How a job stands: state, result, and the reason a person reads."""

    id: str
    kind: str
    state: str
    result: Any
    reason: str | None
    reason_text: str | None
    attempts: int


#: The rows of a world already made in this process, by the office's time and settings.
_worlds: dict[tuple[datetime, str], dict[str, list[dict[str, Any]]]] = {}


class _Quiet:
    """A bell that remembers who was rung for; the office does the work when it is asked to."""

    def __init__(self) -> None:
        self.rung: set[tuple[str, str]] = set()

    def ring(self, kind: str, queue: str) -> bool:
        self.rung.add((kind, queue))
        return True

    def clear(self, kind: str, queue: str) -> None:
        self.rung.discard((kind, queue))

    def trouble(self) -> str | None:
        return None


class Office:
    """Submits through the real intake and runs the real runners, in the test's own thread."""

    def __init__(self, database_url: str, *, kinds: Iterable[Kind] = (), **settings: Any) -> None:
        """`kinds`: known to this office besides the real ones."""
        values = {"secret_key": SECRET, "mail_from": "Muster <muster@example.org>", **settings}
        self.settings = Settings(database_url=database_url, **values)
        self.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self.bell = _Quiet()
        self.app = App(self.settings, clock=lambda: self.now, bell=self.bell)
        if kinds:
            self.app.registry = _with(self.app.registry, kinds)
        self.runner = self.app.runner()
        self.edge = self.app.edge()
        self.keeper = self.app.keeper(lambda: self.runner.in_hand | self.edge.in_hand)
        self.keeper.enlist()

    def later(self, **duration: float) -> None:
        """Turn the clock on by so much: `days=90`, `hours=1`."""
        self.now += timedelta(**duration)

    # ----------------------------------------------------------------------------------------------- jobs

    def accept(self, kind: str, fields: Mapping[str, Any], **facts: Any) -> Acceptance:
        """Submit one job and return the door's answer."""
        run_at = facts.pop("at", None)
        request = Request(kind, fields, facts.pop("source", "test"), run_at=run_at,
                          **{"requested_by": "tester", **facts})
        return self.app.submit([request])[0]

    def submit(self, kind: str, fields: Mapping[str, Any], **facts: Any) -> str:
        """Submit one job that must be taken in; returns its id."""
        answer = self.accept(kind, fields, **facts)
        assert answer.id is not None, answer.reason_text
        return answer.id

    def drain(self, *, keeper: bool = True, rounds: int = 200) -> None:
        """Work until nothing is due."""
        for _ in range(rounds):
            if keeper:
                self.keeper.wake()
                self.keeper.carry_inbox()
            self.bell.rung.clear()
            self.keeper.ring_due()
            if not self.bell.rung:
                return
            for name, queue in sorted(self.bell.rung):
                runner = self.edge if self.app.registry[name].shape == "edge" else self.runner
                for urgent in (True, False) if runner is self.edge else (queue == URGENT,):
                    runner.run(name, urgent=urgent)
        raise AssertionError("the office never came to rest")

    def do(self, kind: str, fields: Mapping[str, Any], **facts: Any) -> Ended:
        """Submit one job, work until nothing is due, and return how it ended."""
        job_id = self.submit(kind, fields, **facts)
        self.drain()
        return self.ended(job_id)

    def ended(self, job_id: str) -> Ended:
        """How a job stands."""
        with self.app.database.read() as conn:
            row = conn.execute(select(job).where(job.c.id == job_id)).one()
        return Ended(row.id, row.kind, row.state, row.result, row.reason, row.reason_text, row.attempts)

    def jobs(self, kind: str | None = None) -> list[dict[str, Any]]:
        """All jobs of the ledger, oldest first."""
        found = self.rows("job") if kind is None else self.rows("job", kind=kind)
        return sorted(found, key=lambda row: str(row["id"]))

    # ------------------------------------------------------------------------------------------ directory

    @contextmanager
    def scope(self) -> Iterator[Scope]:
        """A writing transaction at the office's time."""
        with self.app.scope() as scope:
            yield scope

    def rows(self, table: str, **equals: Any) -> list[dict[str, Any]]:
        """The rows of a table whose columns have these values."""
        found = metadata.tables[table]
        with self.app.database.read() as conn:
            statement = select(found).where(*[found.c[name] == value for name, value in equals.items()])
            return [dict(row._mapping) for row in conn.execute(statement)]

    def user(self, username: str) -> User | None:
        """The user with this username, if there is one."""
        from worker.directory import users

        with self.app.scope() as scope:
            return users.find(scope, [UserRef(username=username)], lock=False)[0]

    def events(self, username: str) -> list[dict[str, Any]]:
        """The audit trail of a user, oldest first."""
        found = self.user(username)
        assert found is not None, f"there is no user {username}"
        return sorted(self.rows("event", target=found.id), key=lambda row: str(row["id"]))

    def world(self) -> None:
        """The people and groups that the jobs' examples speak of.

        Made through the real way once in a process; an office that begins as empty and with the same settings gets the
        rows that this ended in.
        """
        made = (self.now, self.settings.model_dump_json(exclude={"database_url"}))
        if made in _worlds and not self.rows("job"):
            with self.scope() as scope:
                for table in metadata.sorted_tables:
                    insert_rows(scope.conn, table, _worlds[made].get(table.name, []))
            return
        empty = not self.rows("job")
        self._make_world()
        if empty:
            kept = (table.name for table in metadata.sorted_tables if table.name not in ("worker", "meta", "api_token", "console_session"))
            _worlds[made] = {name: self.rows(name) for name in kept}

    def _make_world(self) -> None:
        for group in ("staff", "administrators"):
            self._must("create_group", {"group": group})
        people: list[dict[str, Any]] = [
            {"username": "bob", "name": "Bob Baker", "email": "bob@example.com", "groups": ["administrators"]},
            {"username": "ann", "name": "Ann Archer", "email": "ann@example.com", "external_id": "E-1001",
             "groups": ["staff"], "manager": "bob"},
            {"username": "carol", "name": "Carol Cook", "email": "carol@example.com", "is_active": False},
        ]
        for person in people:
            self._must("create_user", person)

    def _must(self, kind: str, fields: Mapping[str, Any]) -> None:
        ended = self.do(kind, fields, source="world")
        assert ended.state == "succeeded", ended

    def close(self) -> None:
        """Close connections."""
        self.app.close()


def _with(registry: Registry, kinds: Iterable[Kind]) -> Registry:
    """A registry of this office's own, so that a test's kinds are nobody else's."""
    own = Registry()
    for kind in (*registry, *kinds):
        own.add(kind)
    return own


__all__ = ["SECRET", "URGENT", "Ended", "Office"]
