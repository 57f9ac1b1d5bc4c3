"""The failed-rows file: in the dialect of the input, safe to open in a spreadsheet, and pushed again it loses nothing."""

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.failed_rows import write_failed_rows
from worker.feeds.guard import guarded, unguarded
from worker.feeds.reading import Raw, Reading, open_input, restore

FORMULAS = ["=1+1", "+49 30 123", "-5", "@cmd", "\tx", "\rx", "\n=x", "  =1", "\xa0=1", "\u200b=1", "＝1", "＋1", "－1", "＠a", "−1", "'=1", "''=1"]
PLAIN = ["", "a", "'t Hart", "O'Brien", " x", "1-2", "''", "'", "a=b"]


def feed(form: str = "csv", **more: Any) -> Feed:
    columns = {"external_id": "externalId" if form == "scim" else "WorkerID"}
    return Feed.model_validate({"name": "hr", "form": form, "mode": "full", "columns": columns} | more)


def read(declared: Feed, path: Path) -> tuple[list[Raw | Refusal], Reading]:
    with open_input(declared, path) as source:
        return list(source), source.reading


def returned(declared: Feed, path: Path, code: str = "bad_date") -> tuple[list[Raw | Refusal], Reading]:
    """Read a file, write all of it as failed rows, and read those."""
    records, reading = read(declared, path)
    target = path.with_name("failed")
    rows = [(one.raw, one.code, one.text) if isinstance(one, Refusal) else (one.text, code, "No such date – see “x”.") for one in records]
    assert write_failed_rows(declared, json.loads(json.dumps(reading.as_json())), rows, target) == len(rows)
    return read(declared, target)


def test_it_is_in_the_dialect_of_the_input_with_the_error_first(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_bytes("WorkerID;Größe;Last\r\nE1;klein;Müller\r\n".encode("cp1252"))
    again, reading = returned(feed(), path)
    assert (tmp_path / "failed").read_bytes().decode("cp1252") == (
        '"error_code";"error_text";"WorkerID";"Größe";"Last"\r\n"bad_date";"No such date – see “x”.";"E1";"klein";"Müller"\r\n'
    )
    assert reading.failed_rows
    assert reading.header == ("WorkerID", "Größe", "Last")
    assert [one.value for one in again if isinstance(one, Raw)] == [["E1", "klein", "Müller"]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_the_byte_order_mark_stays_as_it_was(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "hr.csv"
    path.write_bytes("WorkerID,Last\nE1,Müller\n".encode(encoding))
    _, before = read(feed(), path)
    _, after = returned(feed(), path)
    assert (after.encoding, after.byte_order_mark) == (before.encoding, before.byte_order_mark)


def test_a_sentence_that_the_encoding_of_the_input_cannot_say_does_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text("WorkerID,Last\nE1,Muller\n")
    again, _ = returned(feed(encoding="ascii"), path)
    assert len(again) == 1
    lines = tmp_path / "hr.ndjson"
    lines.write_text('{"WorkerID": "E1"}\n')
    again, _ = returned(feed("ndjson", encoding="ascii"), lines)
    assert [one.value for one in again if isinstance(one, Raw)] == [{"WorkerID": "E1"}]


def test_rows_that_could_not_be_taken_apart_come_back_and_are_refused_again(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text('WorkerID,First,Last\nE1,A\nE2,A,B,C\nE3,"x"y,B\nE4,A\0,B\nE5,A,B\n')
    again, _ = returned(feed(), path)
    assert [one.code for one in again if isinstance(one, Refusal)] == ["ragged_row", "ragged_row", "ragged_row", "nul_byte"]
    assert [restore(feed(), one.raw) for one in again if isinstance(one, Refusal)] == [
        ["E1", "A"], ["E2", "A", "B", "C"], ['E3,"x"y,B'], ["E4", "A\0", "B"]]  # fmt: skip
    assert [one.external_id for one in again if isinstance(one, Refusal)][:2] == ["E1", "E2"]


def test_a_corrected_row_is_taken_wherever_the_two_columns_were_moved(tmp_path: Path) -> None:
    path = tmp_path / "corrected.csv"
    path.write_text("WorkerID,error_text,Last,error_code\nE1,gone,Smith,\n")
    records, reading = read(feed(), path)
    assert [one.value for one in records if isinstance(one, Raw)] == [["E1", "Smith"]]
    assert reading.failed_rows


def test_it_needs_no_trailer_since_it_is_only_a_part(tmp_path: Path) -> None:
    declared = feed(complete={"trailer": r"END,(?P<rows>\d+)"})
    path = tmp_path / "hr.csv"
    path.write_text("WorkerID,Last\nE1,A\nE2,B\nEND,2\n")
    again, reading = returned(declared, path)
    assert [one.value for one in again if isinstance(one, Raw)] == [["E1", "A"], ["E2", "B"]]
    assert reading.failed_rows
    lines = tmp_path / "hr.ndjson"
    lines.write_text('{"WorkerID": "E1"}\nEND,1\n')
    again, reading = returned(feed("ndjson", complete={"trailer": r"END,(?P<rows>\d+)"}), lines)
    assert [one.value for one in again if isinstance(one, Raw)] == [{"WorkerID": "E1"}]


def test_columns_of_these_names_that_the_feed_declares_are_read(tmp_path: Path) -> None:
    declared = feed(columns={"external_id": "WorkerID", "attributes.a": "error_code", "attributes.b": "error_text"})
    path = tmp_path / "hr.csv"
    path.write_text("WorkerID,error_code,error_text\nE1,'=1,x\n")
    records, reading = read(declared, path)
    assert [one.value for one in records if isinstance(one, Raw)] == [["E1", "'=1", "x"]]
    assert not reading.failed_rows


# -------------------------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_is_a_formula_and_each_comes_back_as_it_was(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "hr.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["WorkerID", "=Phone"], ["E1", cell]])
    again, reading = returned(feed(), path)
    assert [one.value for one in again if isinstance(one, Raw)] == [["E1", cell]]
    assert reading.header == ("WorkerID", "=Phone")
    with (tmp_path / "failed").open(newline="") as file:
        rows = list(csv.reader(file))
    assert all(one[:1] not in {"=", "+", "-", "@", "\t", "\r"} and one.lstrip()[:1] not in {"=", "＝"} for row in rows for one in row)


@pytest.mark.parametrize("cell", PLAIN)
def test_what_is_no_formula_is_left_alone(cell: str) -> None:
    assert guarded(cell) == unguarded(cell) == cell


@given(st.text(st.sampled_from("'=+-@\t\r\n \u200b＝a1") | st.characters(), max_size=8))
def test_taking_off_gives_back_what_was_put_on(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell


def test_an_ordinary_file_keeps_its_apostrophes(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text("WorkerID,Last\nE1,'=x\n")
    assert [one.value for one in read(feed(), path)[0] if isinstance(one, Raw)] == [["E1", "'=x"]]


# ------------------------------------------------------------------------------------------------------------ JSON


@pytest.mark.parametrize(("form", "layout"), [("ndjson", "{}"), ("json", "[{}]"), ("json", '{{"employees": [{}]}}'), ("messages", "{}")])
def test_objects_come_back_one_a_line_and_are_read_in_any_json_form(tmp_path: Path, form: str, layout: str) -> None:
    person = {"WorkerID": "1", "phone": "+49 30", "contacts": [{"kind": "work"}]}
    declared = feed(form, mode="event") if form == "messages" else feed(form)
    path = tmp_path / "hr.json"
    path.write_text(layout.format(json.dumps(person)))
    again, reading = returned(declared, path)
    assert [one.value for one in again if isinstance(one, Raw)] == [person]
    assert reading.failed_rows
    assert json.loads((tmp_path / "failed").read_text())["error_code"] == "bad_date"


def test_scim_users_come_back(tmp_path: Path) -> None:
    path = tmp_path / "scim.json"
    user = {"externalId": "1", "userName": "pat", "emails": [{"value": "p@example.com"}]}
    path.write_text(json.dumps({"Operations": [{"method": "POST", "bulkId": "b", "path": "/Users", "data": user}]}))
    before, _ = read(feed("scim"), path)
    after, reading = returned(feed("scim"), path)
    assert before == after
    assert reading.failed_rows


def test_lines_that_are_no_objects_come_back_as_text(tmp_path: Path) -> None:
    path = tmp_path / "hr.ndjson"
    path.write_text('{"WorkerID": 1,}\n17\n')
    again, _ = returned(feed("ndjson"), path)
    assert [one.value for one in again if isinstance(one, Raw)] == [{"record": '{"WorkerID": 1,}'}, {"record": 17}]


# --------------------------------------------------------------------------------------------------------- writing


def test_a_path_holds_the_whole_file_or_what_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text("WorkerID\nE1\n")
    _, reading = read(feed(), path)
    target = tmp_path / "failed.csv"
    target.write_text("before")

    def rows(stop: Callable[[], None]) -> Any:
        yield '["E1"]', "bad_date", "x"
        assert target.read_text() == "before"
        stop()

    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_failed_rows(feed(), reading.as_json(), rows(fail), target)
    assert target.read_text() == "before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["failed.csv", "hr.csv"]
    assert write_failed_rows(feed(), reading.as_json(), rows(lambda: None), target) == 1
    assert target.read_text().splitlines()[1:] == ['"bad_date","x","E1"']
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_stream_is_written_and_left_open(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text("WorkerID\nE1\n")
    _, reading = read(feed(), path)
    stream = io.BytesIO()
    write_failed_rows(feed(), reading.as_json(), [('["E1"]', "bad_date", "x")], stream)
    assert stream.getvalue().endswith(b'"bad_date","x","E1"\n')


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("'=+-@ \t\r\n"), max_size=10)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=6)),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_cells_come_back_as_they_were(tmp_path: Path, rows: list[list[str]], delimiter: str, encoding: str) -> None:
    table = [[f"E{number}", *row] for number, row in enumerate(rows)]
    path = tmp_path / "hr.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([["WorkerID", *(f"c{number}" for number in range(1, len(table[0])))], *table])
    again, _ = returned(feed(), path)
    assert [one.value for one in again if isinstance(one, Raw)] == table
