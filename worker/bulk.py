"""Many rows in one statement: the same code for PostgreSQL (unnest of arrays) and SQLite (json_each of one text)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Connection,
    Date,
    FromClause,
    Integer,
    Row,
    String,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import JSON, TypeEngine

from worker.tables import Id, Moment, moment_text

Rows = Sequence[Mapping[str, Any]]

# Made once: json.dumps makes a new encoder at each call that does not use the defaults.
_dump = json.JSONEncoder(ensure_ascii=False).encode

# SQLite's floor for one statement is generous, but a JSON text of many megabytes is slow to cut up.
SLICE = 2_000


def rows_as_table(conn: Connection, columns: Sequence[Column[Any]], rows: Rows, name: str = "given") -> FromClause:
    """Return `rows` as something to join, with the given columns' names and types.

    PostgreSQL: unnest of one array per column; SQLite: json_each of one text. One parameter set, however many rows.
    """
    if conn.dialect.name == "postgresql":
        return _unnested(columns, rows, name)
    return _from_json(columns, rows, name)


def _unnested(columns: Sequence[Column[Any]], rows: Rows, name: str) -> FromClause:
    arrays, outputs, picked = [], [], []
    for position, col in enumerate(columns):
        values = [row.get(col.name) for row in rows]
        if position and values and _all_the_same(col.type, values):
            # The same for every row (state, kind, time …): sent once.
            picked.append(bindparam(f"{name}_{position}", values[0], type_=col.type).label(col.name))
            continue
        kind = _element_type(col.type)
        arrays.append(cast(bindparam(f"{name}_{position}", array_text(col.type, values), type_=Text()), ARRAY(kind)))
        made = column(col.name, kind)
        outputs.append(made)
        picked.append((cast(made, postgresql.JSONB) if isinstance(col.type, JSON) else made).label(col.name))
    source = func.unnest(*arrays).table_valued(*outputs, name=f"{name}_raw").render_derived()
    return select(*picked).select_from(source).subquery(name)


def _all_the_same(kind: TypeEngine[Any], values: Sequence[Any]) -> bool:
    """Whether one value stands for all. Of JSON only "nothing": in Python {"a": 1} equals {"a": true}."""
    return (values[0] is None or not isinstance(kind, JSON)) and values.count(values[0]) == len(values)


def _element_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """The element type of the array: JSON travels as text, UUIDs and instants as themselves, texts without collation."""
    if isinstance(kind, Id):
        return postgresql.UUID(as_uuid=False)
    if isinstance(kind, Moment):
        return postgresql.TIMESTAMP(timezone=True)
    if isinstance(kind, JSON):
        return Text()
    if isinstance(kind, String):
        return String(kind.length)  # an array of a collated type cannot be named
    return kind


# Stands between elements while the whole column is escaped at once; no text in PostgreSQL holds it unless it was put
# there on purpose, and then the slower way is taken.
_BETWEEN = "\x1f"


def array_text(kind: TypeEngine[Any], values: Sequence[Any]) -> str:
    """Return PostgreSQL's text form of an array, built column-wise: 20 times quicker than element by element.

    Texts are escaped all at once; NULL is written bare and so differs from the text "NULL".
    """
    if isinstance(kind, JSON):
        texts = [None if value is None else _dump(value) for value in values]
    elif isinstance(kind, (Moment, Date)):
        # Most rows of a batch share one instant; format each only once.
        known: dict[Any, str] = {}
        texts = [None if v is None else known.get(v) or known.setdefault(v, _zoned(v).isoformat()) for v in values]
    elif isinstance(kind, Boolean):
        texts = [None if value is None else ("t" if value else "f") for value in values]
    else:
        texts = [None if value is None else str(value) for value in values]
    joined = _BETWEEN.join([text or "" for text in texts])
    if joined.count(_BETWEEN) != len(texts) - 1:
        parts = [_escaped(text or "") for text in texts]
    elif None in texts:
        parts = _escaped(joined).split(_BETWEEN)
    else:
        return '{"' + _escaped(joined).replace(_BETWEEN, '","') + '"}'
    return "{" + ",".join("NULL" if text is None else f'"{part}"' for text, part in zip(texts, parts, strict=True)) + "}"


def _zoned(value: Any) -> Any:
    """Refuse an instant without a zone, as `tables.Moment` does: it could mean any of 38."""
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"a time without a zone cannot be stored: {value!r}")
    return value


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _from_json(columns: Sequence[Column[Any]], rows: Rows, name: str) -> FromClause:
    packed = _dump([[_json(col.type, row.get(col.name)) for col in columns] for row in rows])
    each = func.json_each(bindparam(f"{name}_rows", packed, type_=Text())).table_valued("value", name=f"{name}_raw")
    picked = [
        _typed(col, func.json_extract(each.c.value, f"$[{position}]")).label(col.name)
        for position, col in enumerate(columns)
    ]
    return select(*picked).subquery(name)


def _typed(col: Column[Any], extracted: Any) -> Any:
    if isinstance(col.type, (Boolean, Integer, Date)):
        return type_coerce(extracted, col.type)
    return type_coerce(extracted, Text())


def _json(kind: TypeEngine[Any], value: Any) -> Any:
    """A value as SQLite will store it, inside a JSON array."""
    if isinstance(kind, JSON):
        return None if value is None else _dump(value)
    if isinstance(value, datetime):
        return moment_text(_zoned(value))
    if isinstance(value, date):
        return value.isoformat()
    return value


def insert_rows(
    conn: Connection,
    table: Table,
    rows: Rows,
    *,
    conflict: Literal["error", "skip", "replace"] = "error",
    returning: Sequence[Column[Any]] = (),
) -> list[Row[Any]]:
    """Insert `rows` (all with the same keys; a missing key is NULL) in one statement per 2,000.

    Sort them by the table's unique key first: two batches that meet keys in crossing order deadlock.
    `conflict="skip"` leaves existing rows alone; "replace" gives an existing row with the same primary key the other
    values given (columns not given stay), so no two of `rows` may have the same one. `returning` gives back the rows
    that were really written.
    """
    found: list[Row[Any]] = []
    for part in _slices(rows):
        columns = [table.c[name] for name in part[0]]
        source = select(rows_as_table(conn, columns, part))
        names = [col.name for col in columns]
        if conn.dialect.name == "postgresql":
            statement: Any = postgresql.insert(table).from_select(names, source, include_defaults=False)
        else:
            # SQLite needs a WHERE to tell ON CONFLICT from a join's ON.
            statement = sqlite.insert(table).from_select(names, source.where(_always_true()), include_defaults=False)
        if conflict == "skip":
            statement = statement.on_conflict_do_nothing()
        elif conflict == "replace":
            key = [col.name for col in table.primary_key]
            statement = statement.on_conflict_do_update(
                index_elements=key, set_={name: statement.excluded[name] for name in names if name not in key}
            )
        if returning:
            found.extend(conn.execute(statement.returning(*returning)).all())
        else:
            conn.execute(statement)
    return found


def _always_true() -> Any:
    return type_coerce(1, Integer()) == type_coerce(1, Integer())


def update_rows(
    conn: Connection,
    table: Table,
    rows: Rows,
    *,
    by: str = "id",
    where: Sequence[Any] = (),
    same: Mapping[str, Any] | None = None,
) -> int:
    """Set columns of the rows found by `by`: each row its own values, and `same` for all; returns how many matched."""
    changed = 0
    for part in _slices(rows):
        columns = [table.c[name] for name in part[0]]
        source = rows_as_table(conn, columns, part)
        values = {col.name: source.c[col.name] for col in columns if col.name != by} | dict(same or {})
        statement = update(table).values(values).where(table.c[by] == source.c[by], *where)
        changed += conn.execute(statement).rowcount
    return changed


def select_by(
    conn: Connection, col: Column[Any], values: Iterable[Any], *picked: Any, where: Sequence[Any] = ()
) -> list[Row[Any]]:
    """Return `picked` (columns or one table) of the rows whose `col` is among `values`: one statement per 2,000 values."""
    found: list[Row[Any]] = []
    for part in _slices(sorted(set(values))):
        statement = select(*picked).where(among(conn, col, part), *where)
        found.extend(conn.execute(statement).all())
    return found


def among(conn: Connection, col: Column[Any], values: Sequence[Any]) -> Any:
    """Return the condition that `col` is one of `values`, with a single parameter however many there are."""
    source = rows_as_table(conn, [col], [{col.name: value} for value in values], name="among")
    return col.in_(select(source.c[col.name]))


def _slices(rows: Sequence[Any]) -> Iterable[Sequence[Any]]:
    for start in range(0, len(rows), SLICE):
        yield rows[start : start + SLICE]
