"""The few things about JSON, texts and order that SQLite and PostgreSQL say in different words."""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Integer,
    String,
    Text,
    case,
    cast,
    func,
    literal,
    null,
    text,
    type_coerce,
)

from worker.scim.spots import Path

Sql = ColumnElement[Any]

# PostgreSQL folds capitals beyond ASCII under these, the first that it has: 17 and later come with one of their own,
# earlier ones with ICU's, if they were built with it. Without any, letters such as Ä are compared as they are.
COLLATIONS = ("pg_c_utf8", "und-x-icu")


def folded(value: str | None) -> str | None:
    """Return the form in which texts are compared when capitals do not matter; scim2-models compares in the same."""
    if value is None:
        return None
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(value)).lower())


def best_collation(conn: Connection) -> str | None:
    """Return the collation under which this PostgreSQL folds capitals; None on SQLite, and where there is none."""
    if conn.dialect.name != "postgresql":
        return None
    known = set(conn.execute(text("SELECT collname FROM pg_collation")).scalars())
    return next((name for name in COLLATIONS if name in known), None)


class Words:
    """How to say it on the database at hand."""

    def __init__(self, conn: Connection, collation: str | None) -> None:
        """`collation`: as `best_collation` gave it."""
        self.postgresql = conn.dialect.name == "postgresql"
        self._collation = collation
        if not self.postgresql:
            driver: Any = conn.connection.driver_connection
            driver.create_function("scim_fold", 1, folded, deterministic=True)

    def fold(self, value: Sql) -> Sql:
        """Return the form in which texts are compared when capitals do not matter."""
        if not self.postgresql:
            return func.scim_fold(value, type_=Text())
        plain: Sql = func.normalize(value, type_=Text())
        return func.lower(plain.collate(self._collation) if self._collation else plain, type_=Text())

    def by_code_point(self, value: Sql) -> Sql:
        """Return a text so that it is ordered by its code points, as Python and SQLite do."""
        return value.collate("C") if self.postgresql else value

    def id_text(self, value: Sql) -> Sql:
        """Return an id as text."""
        return cast(value, String(36)) if self.postgresql else type_coerce(value, String(36))

    def text(self, base: Sql, path: Path) -> Sql:
        """Return the text or number at a path of a JSON value, as text; else NULL."""
        if self.postgresql:
            found: Sql = base.op("#>>", return_type=Text())(_steps(path))
            return case((self._kind(base, path).in_(["string", "number"]), found), else_=null())
        found = cast(func.json_extract(base, _dollar(path)), Text)
        return case((self._kind(base, path).in_(["text", "integer", "real"]), found), else_=null())

    def flag(self, base: Sql, path: Path) -> Sql:
        """Return the truth value at a path of a JSON value; else NULL."""
        if self.postgresql:
            found: Sql = base.op("#>>", return_type=Text())(_steps(path))
            return case((self._kind(base, path) == "boolean", found == literal("true")), else_=null())
        kind = self._kind(base, path)
        return case((kind == "true", literal(True)), (kind == "false", literal(False)), else_=null())

    def is_there(self, base: Sql, path: Path) -> Sql:
        """Say that there is something at a path of a JSON value."""
        return self._kind(base, path).is_not(None)

    def each(self, base: Sql, path: Path, name: str, *, otherwise: Sequence[Any] = ()) -> tuple[Any, Sql, Sql]:
        """Return the elements of the list at a path of a JSON value: (what to select from, an element, its place).

        `otherwise` stands in for a list that is empty or not there.
        """
        default = json.dumps(list(otherwise))
        if self.postgresql:
            there = case((self._kind(base, path) == "array", self._at(base, path)), else_=cast(literal("[]"), base.type))
            filled = case((func.jsonb_array_length(there) > 0, there), else_=cast(literal(default), base.type))
            rows = func.jsonb_array_elements(filled).table_valued("value", with_ordinality="place", name=name)
            rows = rows.render_derived()
            return rows, type_coerce(rows.c.value, base.type), type_coerce(rows.c.place, Integer)
        there = case((self._kind(base, path) == "array", self._at(base, path)), else_=literal("[]"))
        filled = case((func.json_array_length(there) > 0, there), else_=literal(default))
        rows = func.json_each(filled).table_valued("key", "value", "type", name=name)
        # A bare text in a list is no JSON, which is what the functions above read.
        element = case((rows.c.type == "object", rows.c.value), else_=literal("null"))
        return rows, element, type_coerce(rows.c.key, Integer)

    def _kind(self, base: Sql, path: Path) -> Sql:
        if self.postgresql:
            return func.jsonb_typeof(self._at(base, path), type_=Text())
        return func.json_type(base, _dollar(path), type_=Text())

    def _at(self, base: Sql, path: Path) -> Sql:
        if self.postgresql:
            return base.op("#>", return_type=base.type)(_steps(path))
        return func.json_extract(base, _dollar(path), type_=Text())


def _steps(path: Path) -> Sql:
    return cast(literal("{" + ",".join(f'"{name}"' for name in path) + "}"), ARRAY(Text))


def _dollar(path: Path) -> str:
    return "$" + "".join(f'."{name}"' for name in path)


