"""Brings the database's schema up to date, and says which one it has."""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, delete, insert, inspect, select, text

import worker.door_tables
import worker.feed_tables  # noqa: F401 - they are part of the metadata
from worker.database import Database
from worker.settings import Settings
from worker.tables import meta

#: The newest revision, the one this Muster brings a database to. A test compares it with the migrations.
HEAD = "0003"

#: The oldest revision whose code may go on working on HEAD's schema: migrations expand first and contract a release
#: later, so that old and new workers overlap while machines are upgraded one by one. 0002 and 0003 only added tables.
WORKS_WITH = "0001"

#: The row of `meta` that tells older code whether it may go on.
MARK = "schema_works_with"

MIGRATIONS = Path(__file__).parent / "migrations"


class WrongSchema(Exception):
    """The database's schema is not the one that this Muster works on."""


def upgrade(url: str) -> None:
    """Bring the database at `url` (SQLAlchemy form, or as in MUSTER_DATABASE_URL) to HEAD; does nothing if it is there."""
    upgrade_database(Database(Settings(database_url=url)))


def upgrade_database(database: Database) -> None:
    """Bring an open database to HEAD, in one transaction, one process at a time; closes its pool afterwards."""
    try:
        with database.write() as conn:
            if database.on_postgresql:
                conn.execute(text("SELECT pg_advisory_xact_lock(77230001)"))
                conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            if current(conn) != HEAD:
                _run(conn, "upgrade", HEAD)
                conn.execute(delete(meta).where(meta.c.name == MARK))
                conn.execute(insert(meta).values(name=MARK, value=WORKS_WITH))
    finally:
        database.dispose()


def current(conn: Connection) -> str | None:
    """Return the revision of the schema: one SELECT, without loading the migration tool."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def require(database: Database) -> None:
    """Raise WrongSchema, saying what to type, unless this Muster can work on the schema.

    It can on its own, and on a newer one that only added to it.
    """
    with database.read() as conn:
        found = current(conn)
        mark = conn.execute(select(meta.c.value).where(meta.c.name == MARK)).scalar_one_or_none() if found else None
    if found == HEAD or (found is not None and found > HEAD and mark is not None and mark <= HEAD):
        return
    if found is None:
        raise WrongSchema("The database is empty. Type `muster db upgrade` to set it up.")
    if found < HEAD:
        raise WrongSchema(f"The database has schema {found}, this Muster needs {HEAD}. Type `muster db upgrade`.")
    raise WrongSchema(f"The database has schema {found}, newer than this Muster's {HEAD}. Upgrade Muster on this machine.")


def _run(conn: Connection, command: str, revision: str) -> None:
    from alembic import command as commands
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    getattr(commands, command)(config, revision)


def differences(url: str) -> list[str]:
    """Compare the database with the tables in the code; empty when they are alike. For the tests."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from worker.tables import metadata

    engine: Engine = create_engine(url)
    try:
        with engine.connect() as conn:
            return [str(found) for found in compare_metadata(MigrationContext.configure(conn), metadata)]
    finally:
        engine.dispose()
