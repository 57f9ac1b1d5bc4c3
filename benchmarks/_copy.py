"""All rows of a database, written once more by COPY into tables with the same indexes: what PostgreSQL itself needs for them."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

BLOCK = 1 << 20
# The quickest counts: what disturbs it only makes Muster look better.
ROUNDS = 3
TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY 1
"""


def copied(database_url: str) -> tuple[float, float]:
    """Dump every table, then COPY all of them in one transaction into a fresh schema: seconds (of the quickest of ROUNDS), megabytes.

    The tables are ordinary ones, with the same indexes, in the same server.
    """
    dsn = database_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(dsn, autocommit=True) as conn, tempfile.TemporaryDirectory() as folder:
        files = {str(name): Path(folder, str(name)) for (name,) in conn.execute(TABLES)}
        for table, path in files.items():
            with path.open("wb") as file, conn.cursor().copy(_sql("COPY public.{t} TO STDOUT", table)) as rows:
                for block in rows:
                    file.write(block)
        took = min(_copy_once(conn, files) for _ in range(ROUNDS))
        return took, sum(path.stat().st_size for path in files.values()) / BLOCK


def _copy_once(conn: psycopg.Connection[Any], files: Mapping[str, Path]) -> float:
    conn.execute("CREATE SCHEMA again")
    for table in files:
        conn.execute(_sql("CREATE TABLE again.{t} (LIKE public.{t} INCLUDING ALL)", table))
    conn.execute("CHECKPOINT")  # so that no round pays for what the one before left to be written
    began = time.monotonic()
    with conn.transaction():
        for table, path in files.items():
            _write(conn, table, path)
    took = time.monotonic() - began
    conn.execute("DROP SCHEMA again CASCADE")
    return took


def _write(conn: psycopg.Connection[Any], table: str, path: Path) -> None:
    with path.open("rb") as file, conn.cursor().copy(_sql("COPY again.{t} FROM STDIN", table)) as rows:
        while block := file.read(BLOCK):
            rows.write(block)


def _sql(text: str, table: str) -> sql.Composed:
    return sql.SQL(text).format(t=sql.Identifier(table))
