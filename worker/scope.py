"""The ground a piece of work stands on: one transaction, one moment, one set of settings."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from worker.settings import Settings


@dataclass(eq=False)
class Scope:
    """What a verb of the directory may touch. `now` is one instant for the whole transaction, aware, in UTC."""

    conn: Connection
    now: datetime
    settings: Settings

    @property
    def on_postgresql(self) -> bool:
        """Whether the database is PostgreSQL; only row locks and array parameters ask."""
        return self.conn.dialect.name == "postgresql"
