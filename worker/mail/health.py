"""What all workers know about the health of an outside, such as the mail relay: one row of the database for each."""

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from worker.bulk import insert_rows
from worker.database import Database
from worker.mail import breaker
from worker.mail.breaker import CLOSED, BreakerState, Verdict
from worker.tables import relay


class SharedBreaker:
    """A breaker that all workers share."""

    def __init__(self, database: Database, name: str, clock: Callable[[], datetime]) -> None:
        """`name`: of the outside's row."""
        self.database, self.name, self.clock = database, name, clock

    def decide(self, now: datetime) -> tuple[Verdict, BreakerState]:
        """Return what this worker may do now; as long as all is well nothing is written."""
        known = self.health()
        if known == CLOSED:
            return "send", known

        def work(conn: Connection) -> tuple[Verdict, BreakerState]:
            verdict, state = breaker.decide(read(conn, self.name, lock=True), now)
            self._store(conn, state)
            return verdict, state

        return self.database.transact(work)

    def learn(self, lesson: Callable[[BreakerState], BreakerState]) -> BreakerState:
        """Change what all know, if the lesson does; returns what they know from then on."""
        known = self.health()
        if lesson(known) == known:
            return known

        def work(conn: Connection) -> BreakerState:
            state = lesson(read(conn, self.name, lock=True))
            self._store(conn, state)
            return state

        return self.database.transact(work)

    def health(self) -> BreakerState:
        """What all workers know."""
        with self.database.read() as conn:
            return read(conn, self.name)

    def _store(self, conn: Connection, state: BreakerState) -> None:
        row = {"name": self.name, "state": _to_json(state), "changed_at": self.clock()}
        if not conn.execute(relay.update().where(relay.c.name == self.name).values(row)).rowcount:
            insert_rows(conn, relay, [row], conflict="skip")


def read(conn: Connection, name: str, *, lock: bool = False) -> BreakerState:
    """Return what is known of an outside; of one never heard of, that it is well."""
    statement = select(relay.c.state).where(relay.c.name == name)
    found = conn.execute(statement.with_for_update() if lock else statement).scalar_one_or_none()
    return CLOSED if found is None else _from_json(found)


def forget(conn: Connection, name: str) -> None:
    """Think well of an outside again: a person says that it is mended, or gone."""
    conn.execute(delete(relay).where(relay.c.name == name))


def _to_json(state: BreakerState) -> dict[str, Any]:
    values = dataclasses.asdict(state)
    for name in ("opened_at", "open_until"):
        values[name] = values[name].isoformat() if values[name] else None
    return values


def _from_json(values: dict[str, Any]) -> BreakerState:
    moments = {
        name: datetime.fromisoformat(values[name]) if values[name] else None for name in ("opened_at", "open_until")
    }
    return BreakerState(**{**values, **moments, "policy_recipients": tuple(values["policy_recipients"])})
