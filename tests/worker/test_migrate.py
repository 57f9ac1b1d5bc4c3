"""The schema: migrations end in the tables of the code, on both databases, and a wrong schema is refused with a word of advice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from worker import migrate
from worker.database import Database
from worker.settings import Settings
from worker.tables import meta, metadata


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(Settings(database_url=database_url, secret_key="x" * 40))
    yield opened
    opened.dispose()


def test_the_migrations_end_in_the_tables_of_the_code(database_url: str) -> None:
    assert migrate.differences(database_url) == []


def test_head_is_the_newest_migration() -> None:
    newest = max(path.name for path in Path(migrate.MIGRATIONS, "versions").glob("[0-9]*.py"))
    assert newest.startswith(migrate.HEAD)
    assert migrate.WORKS_WITH <= migrate.HEAD


def test_upgrading_again_changes_nothing(database: Database) -> None:
    migrate.upgrade_database(database)
    migrate.require(database)


def test_a_database_of_the_first_release_is_brought_up_to_date(database: Database, database_url: str) -> None:
    """With what is in it, while workers of that release go on."""
    doors = {"api_token", "console_session", "scim_link", "throttle", "webhook_delivery", "webhook_endpoint", "webhook_refusal"}
    later = [table for name, table in metadata.tables.items() if name.startswith("feed_") or name in doors]
    with database.write() as conn:
        metadata.drop_all(conn, later)
        conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        conn.execute(meta.insert().values(name="kept", value="yes"))
    with pytest.raises(migrate.WrongSchema, match="muster db upgrade"):
        migrate.require(database)
    migrate.upgrade_database(database)
    migrate.require(database)
    assert migrate.differences(database_url) == []
    with database.read() as conn:
        found = {row.name: row.value for row in conn.execute(meta.select())}
    assert found.items() >= {"kept": "yes", migrate.MARK: "0001"}.items()


def test_an_empty_database_is_refused_with_what_to_type(tmp_path: Path) -> None:
    empty = Database(Settings(database_url=f"sqlite:///{tmp_path / 'empty.db'}", secret_key="x" * 40))
    with pytest.raises(migrate.WrongSchema, match="muster db upgrade"):
        migrate.require(empty)
    empty.dispose()


def _pretend(database: Database, revision: str, works_with: str) -> None:
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": revision})
        conn.execute(meta.update().where(meta.c.name == "schema_works_with").values(value=works_with))


def test_an_older_schema_is_refused(database: Database) -> None:
    _pretend(database, "0000", "0000")
    with pytest.raises(migrate.WrongSchema, match="muster db upgrade"):
        migrate.require(database)


def test_a_newer_schema_that_only_grew_is_worked_on(database: Database) -> None:
    """During a rolling upgrade old and new workers overlap: migrations expand first and contract a release later."""
    _pretend(database, "9999", migrate.HEAD)
    migrate.require(database)


def test_a_newer_schema_that_lost_something_is_refused(database: Database) -> None:
    _pretend(database, "9999", "9998")
    with pytest.raises(migrate.WrongSchema, match="Upgrade Muster"):
        migrate.require(database)
