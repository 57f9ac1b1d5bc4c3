"""Many rows in one statement: what goes in comes out, on both databases, whatever is in it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from office import Office
from sqlalchemy import Column, Connection, Date, Integer, Text, event, select
from sqlalchemy.exc import IntegrityError, StatementError

from worker.bulk import among, array_text, insert_rows, rows_as_table, select_by, update_rows
from worker.feed_tables import feed_person
from worker.ids import new_ids
from worker.tables import Json, Moment, meta, refusal

RUN = "01930f3e-0000-7000-8000-000000000001"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ODD = ["", " ", "NULL", "null", "\x1f", "a\x1fb", '"', "\\", '\\"', "{", "}", ",", "{a,b}", "\n\t\r\x01", "ünï 😀", "'; --", ":x %s"]


@pytest.fixture
def conn(office: Office) -> Iterator[Connection]:
    with office.app.database.write() as opened:
        yield opened


def rows(count: int, **same: Any) -> list[dict[str, Any]]:
    base = {"at": NOW, "source": "s", "reason": "r", "text": "t"}
    return [{"id": row_id, **base, **same} for row_id in new_ids(count)]


def stored(conn: Connection, column: str) -> list[Any]:
    return [row[0] for row in conn.execute(select(refusal.c[column]).order_by(refusal.c.id))]


def test_every_text_comes_back_as_it_was(conn: Connection) -> None:
    """Alone, together, and beside a missing one: three ways of writing the array."""
    expected: list[str | None] = []
    for texts in ([ODD[4]], ODD, [text for text in ODD if "\x1f" not in text], [None, *ODD], [None]):
        insert_rows(conn, refusal, [{**row, "key": text} for row, text in zip(rows(len(texts)), texts, strict=True)])
        expected += texts
    assert stored(conn, "key") == expected


def test_every_json_value_comes_back_as_it_was(conn: Connection) -> None:
    values = [{"a": ODD}, [], {}, "text", "", 7, 0, True, False, 1.5, {"big": 2**70}, {"ü": None}, None]
    insert_rows(conn, refusal, [{**row, "evidence": value} for row, value in zip(rows(len(values)), values, strict=True)])
    found = stored(conn, "evidence")
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("values", [[1, True], [{"a": 0}, {"a": False}], [None, None], [{}, {}], [[], []]])
def test_json_values_that_python_takes_for_equal_stay_different(conn: Connection, values: list[Any]) -> None:
    insert_rows(conn, refusal, [{**row, "evidence": value} for row, value in zip(rows(len(values)), values, strict=True)])
    assert str(stored(conn, "evidence")) == str(values)


def test_instants_dates_and_truths_come_back(conn: Connection) -> None:
    moments = [NOW, NOW + timedelta(microseconds=1), datetime(1800, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
               datetime(9000, 12, 31, tzinfo=UTC)]
    insert_rows(conn, refusal, [{**row, "at": at} for row, at in zip(rows(len(moments)), moments, strict=True)])
    assert stored(conn, "at") == moments
    given: list[dict[str, Any]] = [{"day": date(2026, 1, 31), "number": 7}, {"day": None, "number": None}]
    source = rows_as_table(conn, [Column("day", Date), Column("number", Integer)], given)
    assert [dict(row._mapping) for row in conn.execute(select(source))] == given


@pytest.mark.parametrize("table", ["insert", "select"])
def test_a_time_without_a_zone_is_refused(conn: Connection, table: str) -> None:
    naive = NOW.replace(tzinfo=None)
    use = {"insert": lambda: insert_rows(conn, refusal, rows(1, at=naive)),
           "select": lambda: select_by(conn, refusal.c.at, [naive], refusal.c.id)}
    with pytest.raises((ValueError, StatementError), match="without a zone"):
        use[table]()


def test_nothing_is_no_statement(conn: Connection) -> None:
    seen: list[str] = []
    event.listen(conn, "before_cursor_execute", lambda *args: seen.append(args[2]))
    assert insert_rows(conn, refusal, []) == []
    assert update_rows(conn, refusal, []) == 0
    assert select_by(conn, refusal.c.id, [], refusal.c.id) == []
    assert seen == []
    assert conn.execute(select(refusal.c.id).where(among(conn, refusal.c.id, []))).all() == []


def test_many_rows_go_in_few_statements(conn: Connection) -> None:
    seen: list[str] = []
    event.listen(conn, "before_cursor_execute", lambda *args: seen.append(args[2]))
    made = rows(4_500)
    back = insert_rows(conn, refusal, made, returning=[refusal.c.id])
    assert (len(seen), {row.id for row in back}) == (3, {row["id"] for row in made})
    assert update_rows(conn, refusal, [{"id": row["id"], "reason": f"r{n}"} for n, row in enumerate(made)],
                       same={"text": "new"}) == 4_500
    found = select_by(conn, refusal.c.id, [row["id"] for row in made], refusal.c.id, refusal.c.reason, refusal.c.text)
    assert {row.id: row.reason for row in found} == {row["id"]: f"r{n}" for n, row in enumerate(made)}
    assert {row.text for row in found} == {"new"}


def test_a_row_that_is_there_is_an_error_or_skipped(conn: Connection) -> None:
    insert_rows(conn, meta, [{"name": "a", "value": "old"}])
    made = insert_rows(conn, meta, [{"name": "a", "value": "new"}, {"name": "b", "value": "new"}], conflict="skip",
                       returning=[meta.c.name])
    assert [row.name for row in made] == ["b"]
    assert {row.name: row.value for row in conn.execute(select(meta))}.items() >= {"a": "old", "b": "new"}.items()
    with pytest.raises(IntegrityError), conn.begin_nested():
        insert_rows(conn, meta, [{"name": "a", "value": "new"}])


def test_an_update_may_ask_for_more_than_the_id(conn: Connection) -> None:
    made = rows(2)
    insert_rows(conn, refusal, made)
    changes = [{"id": row["id"], "text": "new"} for row in made]
    assert update_rows(conn, refusal, changes, where=[refusal.c.id == made[0]["id"]]) == 1
    assert stored(conn, "text") == ["new", "t"]


def person(external_id: str, **other: Any) -> dict[str, Any]:
    base = {"source": "hr", "external_id": external_id, "account": external_id, "username": "ann", "fields": {"first": "Ann"},
            "stamps": {"*": [0, 1]}, "later": [], "applied": {"phase": "active"}, "phase": "active", "absent_runs": 0,
            "due_at": NOW, "run": RUN, "changed_at": NOW}
    return base | other


def test_rows_that_are_there_are_replaced(conn: Connection) -> None:
    insert_rows(conn, feed_person, [person(one, raw="kept") for one in "123"], conflict="replace")
    changed = [person("1", fields={"first": 'A"n\\n', "last": None}, applied=None, due_at=None, username=None),
               person("2", later=[[[5, 1], {"x": "y"}]], absent_runs=2), person("4")]
    back = insert_rows(conn, feed_person, changed, conflict="replace", returning=[feed_person.c.external_id])
    found = {row.external_id: row for row in conn.execute(select(feed_person))}
    assert ({row.external_id for row in back}, set(found)) == ({"1", "2", "4"}, {"1", "2", "3", "4"})
    for row in changed:
        assert {name: found[row["external_id"]]._mapping[name] for name in row} == row
    assert (found["2"].raw, found["3"].due_at) == ("kept", NOW), "what was not given stays"


def test_ids_of_feeds_are_sorted_by_their_bytes(conn: Connection) -> None:
    """Both databases walk them as Python sorts their UTF-8."""
    ids = ["a", "B", "ä", "Z-1", "Z1", "00012", "12", " 7", "😀", "\uffee", "é"]
    insert_rows(conn, feed_person, [person(one) for one in ids], conflict="replace")
    found = [row.external_id for row in conn.execute(select(feed_person).order_by(feed_person.c.external_id))]
    assert found == sorted(ids, key=lambda one: one.encode())
    assert len(select_by(conn, feed_person.c.external_id, ids, feed_person)) == len(ids)


def test_the_text_of_an_array_is_what_postgresql_reads() -> None:
    assert array_text(Text(), []) == "{}"
    assert array_text(Text(), ["a", "b"]) == '{"a","b"}'
    assert array_text(Text(), ["a", None, "NULL"]) == '{"a",NULL,"NULL"}'
    assert array_text(Text(), ["a\x1fb", '"\\']) == '{"a\x1fb","\\"\\\\"}'
    assert array_text(Integer(), [1, None]) == '{"1",NULL}'
    assert array_text(Moment(), [NOW, NOW]) == '{"2026-03-02T09:00:00+00:00","2026-03-02T09:00:00+00:00"}'
    assert array_text(Json, [{"a": "b"}, None]) == '{"{\\"a\\": \\"b\\"}",NULL}'
