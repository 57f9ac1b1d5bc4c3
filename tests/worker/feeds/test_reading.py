"""Reading what HR sends: every encoding and dialect, and a clear word about what cannot be read, with nothing lost."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.reading import Input, Raw, Unreadable, open_input, restore

COLUMNS = {"external_id": "WorkerID", "first": "First", "last": "Last"}
HEADER = "WorkerID,First,Last\n"
UMLAUTS = "WorkerID,First,Last\nE1,Jörg,Müller\nE2,Zoë,Brontë\n"


def feed(form: str = "csv", **more: Any) -> Feed:
    mode = more.pop("mode", "full")
    return Feed.model_validate({"name": "hr", "form": form, "mode": mode, "columns": COLUMNS} | more)


def read(tmp_path: Path, content: bytes | str, declared: Feed | None = None) -> tuple[list[Raw | Refusal], Input]:
    path = tmp_path / "hr.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_input(declared or feed(), path) as source:
        return list(source), source


def cells(tmp_path: Path, content: bytes | str, declared: Feed | None = None) -> list[list[str]]:
    records, _ = read(tmp_path, content, declared)
    assert all(isinstance(one, Raw) for one in records), records
    return [one.value for one in records if isinstance(one, Raw) and isinstance(one.value, list)]


def refusal(tmp_path: Path, content: bytes | str, declared: Feed | None = None) -> str:
    with pytest.raises(Unreadable) as caught:
        read(tmp_path, content, declared)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------ encoding


@pytest.mark.parametrize(
    ("encoding", "found", "known_by"),
    [
        ("utf-8", "utf-8", "valid UTF-8"),
        ("utf-8-sig", "utf-8", "byte-order mark"),
        ("utf-16", "utf-16-le", "byte-order mark"),
        ("utf-32", "utf-32-le", "byte-order mark"),
        ("cp1252", "cp1252", "neither BOM nor UTF-8: read as cp1252"),
    ],
)
def test_the_encoding_is_found_and_told(tmp_path: Path, encoding: str, found: str, known_by: str) -> None:
    content = UMLAUTS.encode(encoding)
    records, source = read(tmp_path, content)
    assert [one.value for one in records if isinstance(one, Raw)] == [["E1", "Jörg", "Müller"], ["E2", "Zoë", "Brontë"]]
    assert source.reading.encoding == found
    assert source.reading.encoding_known_by == known_by
    assert source.reading.sha256 == hashlib.sha256(content).hexdigest()
    assert any("cp1252" in note for note in source.reading.notes) == (encoding == "cp1252")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "cp1252", "latin-1", "utf-8", "cp1250", "shift_jis"])
def test_a_declared_encoding_beats_what_the_file_looks_like(tmp_path: Path, encoding: str) -> None:
    text = HEADER + ("E1,太郎,山田\n" if encoding == "shift_jis" else "E1,Anna,Müller\n")
    records, source = read(tmp_path, text.encode(encoding), feed(encoding=encoding))
    assert [one.text for one in records if isinstance(one, Raw)] == [json.dumps(text.splitlines()[1].split(","), ensure_ascii=False,
                                                                               separators=(",", ":"))]  # fmt: skip
    assert source.reading.encoding_known_by == "declared"


def test_utf8_that_is_declared_cp1252_is_read_as_declared(tmp_path: Path) -> None:
    assert cells(tmp_path, UMLAUTS, feed(encoding="cp1252"))[0] == ["E1", "JÃ¶rg", "MÃ¼ller"]


def test_utf16_declared_without_a_mark_takes_the_byte_order_of_the_file(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        assert cells(tmp_path, UMLAUTS.encode(encoding), feed(encoding="utf-16"))[1][2] == "Brontë"


def test_what_is_not_in_the_declared_encoding_is_refused_with_line_and_byte(tmp_path: Path) -> None:
    content = HEADER.encode() + b"E1,Jim,Fine\r\nE2,J\xf6rg,M\n"
    told = refusal(tmp_path, content, feed(encoding="utf-8"))
    assert told.startswith(f"hr.csv, line 3: byte {content.index(0xF6) + 1} of the file is not utf-8, but the feed declares utf-8")


def test_bytes_that_are_neither_utf8_nor_cp1252_are_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, HEADER.encode() + b"E1,J\xf6rg,M\x81\n")
    assert told.startswith("hr.csv, line 2: byte 30 of the file is not cp1252")


def test_utf8_damaged_in_one_place_is_not_read_as_cp1252(tmp_path: Path) -> None:
    content = HEADER.encode() + "E1,Jörg,Müller\n".encode() + b"E2,Jo\xf6,Smith\n" + "E3,Zoë,Brontë\n".encode()
    told = refusal(tmp_path, content)
    assert "line 3: byte 43 of the file is not utf-8" in told
    assert "damaged or cut off" in told


def test_utf8_cut_within_a_character_is_refused(tmp_path: Path) -> None:
    assert "cut off" in refusal(tmp_path, (HEADER + "E1,Jörg,Müller\nE2,Zoë,Bront").encode() + "ë".encode()[:1])


def test_a_byte_order_mark_of_another_encoding_than_declared_is_refused(tmp_path: Path) -> None:
    assert "begins with the byte-order mark of utf-16-le" in refusal(tmp_path, UMLAUTS.encode("utf-16"), feed(encoding="utf-8"))
    assert "declares cp1252" in refusal(tmp_path, UMLAUTS.encode("utf-8-sig"), feed(encoding="cp1252"))


def test_characters_at_the_seams_of_the_pieces_are_read(tmp_path: Path) -> None:
    rows = [[f"E{number}", "Jörg😀", "Müller"] for number in range(30_000)]
    text = HEADER + "".join(",".join(row) + "\n" for row in rows)
    for shift in range(4):
        assert cells(tmp_path, (" " * shift + text).encode()) == rows


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    assert 'the encoding "utf-88", which is not known' in refusal(tmp_path, UMLAUTS, feed(encoding="utf-88"))


@pytest.mark.parametrize(("begin", "word"), [(b"PK\x03\x04", "Excel"), (b"\xd0\xcf\x11\xe0", "Excel"), (b"\x1f\x8b", "gzip")])
def test_a_workbook_or_an_archive_is_recognised(tmp_path: Path, begin: bytes, word: str) -> None:
    assert word in refusal(tmp_path, begin + b"\0" * 100)


def test_utf16_without_a_mark_and_undeclared_is_refused_with_what_to_declare(tmp_path: Path) -> None:
    assert 'encoding = "utf-16"' in refusal(tmp_path, b"W\0o\0r\0k\0e\0r\0I\0D\0\n\0")


@pytest.mark.parametrize("text", ["é", "e\u0301", "😀👩\u200d👩", "\u200fمحمد\u200f", "山田", "Nguyễn", "O' Byrne", "Å" * 300])
def test_what_a_cell_holds_is_left_exactly_as_it_is(tmp_path: Path, text: str) -> None:
    assert cells(tmp_path, f"{HEADER}E1,{text},Last\n") == [["E1", text, "Last"]]


# -------------------------------------------------------------------------------------------------------- header


@pytest.mark.parametrize("header", ['\ufeffWorkerID,First,Last', '\ufeff"WorkerID","First","Last"', '\ufeff\ufeff"WorkerID",First,Last',
                                    ' WorkerID ,First\u200b,"\ufeffLast"', "WorkerID,First,Last"])  # fmt: skip
def test_what_nobody_sees_in_a_header_makes_no_difference(tmp_path: Path, header: str) -> None:
    records, source = read(tmp_path, f"{header}\nE1,A,B\n")
    assert source.reading.header == ("WorkerID", "First", "Last")
    assert [one.value for one in records if isinstance(one, Raw)] == [["E1", "A", "B"]]


def test_a_header_in_the_other_normal_form_is_the_same(tmp_path: Path) -> None:
    declared = feed(columns={"external_id": "Schlüssel"})
    assert read(tmp_path, "Schlu\u0308ssel,Name\n1,x\n", declared)[1].reading.header == ("Schlüssel", "Name")


def test_a_lost_column_is_named_with_the_near_one(tmp_path: Path) -> None:
    told = refusal(tmp_path, "WorkerID,Firstt,Last\nE1,A,B\n")
    assert told.startswith('hr.csv, line 1: the header lacks the column "First" (is it "Firstt"?).')
    assert '"WorkerID", "Firstt", "Last"' in told


def test_a_wrong_declared_delimiter_is_told(tmp_path: Path) -> None:
    assert "parted by a semicolon" in refusal(tmp_path, "WorkerID;First;Last\nE1;A;B\n", feed(delimiter=","))


def test_a_column_named_twice_is_refused_only_where_it_is_read(tmp_path: Path) -> None:
    records, source = read(tmp_path, "WorkerID,First,Last,Note,Note\nE1,A,B,x,y\n")
    assert len(records) == 1
    assert any('"Note" more than once (columns 4 and 5)' in note for note in source.reading.notes)
    assert '"First" more than once (columns 2 and 3)' in refusal(tmp_path, "WorkerID,First,First,Last\nE1,A,B,C\n")


@pytest.mark.parametrize("content", ["", "\ufeff", "\n \n\r\n", HEADER, HEADER + "\n\n,,\n"])
def test_a_file_without_records_is_refused(tmp_path: Path, content: str) -> None:
    assert "holds no records" in refusal(tmp_path, content)


def test_the_header_repeated_where_two_files_were_put_together_is_left_out(tmp_path: Path) -> None:
    records, source = read(tmp_path, HEADER + "E1,A,B\n" + HEADER + "E2,C,D\n")
    assert [one.place for one in records] == [2, 4]
    assert any("Line 3 repeats the header" in note for note in source.reading.notes)


# --------------------------------------------------------------------------------------------- delimiter and lines


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_delimiter_and_line_end_gives_the_same_rows(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [["WorkerID", "First", "Last"], ["E1", "A", "B,;C"], ["E2", "", "x|y\tz"]]
    text = end.join(delimiter.join(f'"{cell}"' if set(cell) & set(",;|\t") else cell for cell in row) for row in rows) + end
    records, source = read(tmp_path, text)
    assert [one.value for one in records if isinstance(one, Raw)] == rows[1:]
    assert [one.place for one in records] == [2, 3]
    assert (source.reading.delimiter, source.reading.line_end) == (delimiter, end)
    assert source.reading.delimiter_known_by == "the header and the rows after it"


def test_a_declared_delimiter_beats_the_one_that_fits_better(tmp_path: Path) -> None:
    declared = feed(columns={"external_id": "a"}, delimiter="|")
    assert cells(tmp_path, "a|b,c,d\n1|2,3,4\n", declared) == [["1", "2,3,4"]]


def test_commas_within_the_names_do_not_hide_the_semicolon(tmp_path: Path) -> None:
    declared = feed(columns={"external_id": "Nr"})
    assert cells(tmp_path, "Nr;Name, Vorname, Titel\n1;Müller, Jörg, Dr.\n", declared) == [["1", "Müller, Jörg, Dr."]]


def test_the_line_by_which_a_spreadsheet_is_told_the_delimiter_is_no_header(tmp_path: Path) -> None:
    records, source = read(tmp_path, "sep=;\nWorkerID;First;Last\nE1;A;B\n")
    assert [one.place for one in records] == [3]
    assert source.reading.delimiter_known_by == 'its first line, "sep="'


def test_line_breaks_within_quotes_keep_the_lines_of_the_next_rows_right(tmp_path: Path) -> None:
    records, _ = read(tmp_path, HEADER.replace("\n", "\r\n") + 'E1,"one\r\ntwo\n\nfour",x\r\n\r\nE2,A,"say ""hi"""\r\n')
    assert [(one.place, one.value) for one in records if isinstance(one, Raw)] == [
        (2, ["E1", "one\r\ntwo\n\nfour", "x"]), (7, ["E2", "A", 'say "hi"'])]  # fmt: skip


def test_blank_lines_and_rows_are_passed_over(tmp_path: Path) -> None:
    records, source = read(tmp_path, "\n" + HEADER + "\n  \nE1,A,B\n,,\n ,\t,\nE2,C,D")
    assert [one.place for one in records] == [5, 8]
    assert source.reading.records == 2


# ---------------------------------------------------------------------------------------------------- refused rows


def test_a_row_with_other_cells_than_the_header_is_refused_and_its_neighbours_go_on(tmp_path: Path) -> None:
    records, source = read(tmp_path, HEADER + "E1,A,B\nE2,A\nE3,Doe, Jane,B\nE4,A,B,,  \nE5,A,B\n")
    short, long = (one for one in records if isinstance(one, Refusal))
    assert (short.code, short.place, short.external_id) == ("ragged_row", 3, "E2")
    assert "2 cells, but the header has 3" in short.text
    assert (long.place, long.external_id, restore(feed(), long.raw)) == (4, "E3", ["E3", "Doe", " Jane", "B"])
    assert [one.value for one in records if isinstance(one, Raw)] == [["E1", "A", "B"], ["E4", "A", "B"], ["E5", "A", "B"]]
    assert (source.reading.records, source.reading.refused) == (5, 2)


def test_a_row_with_a_nul_byte_is_refused_and_its_neighbours_go_on(tmp_path: Path) -> None:
    records, _ = read(tmp_path, HEADER + "E1,A,B\nE2,A\0,B\nE3,A,B\n")
    assert [type(one) for one in records] == [Raw, Refusal, Raw]
    bad = records[1]
    assert isinstance(bad, Refusal)
    assert (bad.code, bad.place, bad.external_id, bad.column) == ("nul_byte", 3, "E2", "First")
    assert restore(feed(), bad.raw) == ["E2", "A\0", "B"]
    assert "\0" not in bad.raw


def test_a_quote_within_a_quoted_cell_refuses_its_row_alone(tmp_path: Path) -> None:
    records, _ = read(tmp_path, HEADER + 'E1,"Pat" Ann,B\nE2,5" pipe,B\nE3,A,B\n')
    bad = records[0]
    assert isinstance(bad, Refusal)
    assert (bad.code, bad.place, bad.column) == ("bad_quotes", 2, "First")
    assert bad.text.startswith('At column 4 the cell of "First" goes on after its closing quote')
    assert restore(feed(), bad.raw) == 'E1,"Pat" Ann,B'
    assert [one.value for one in records[1:] if isinstance(one, Raw)] == [["E2", '5" pipe', "B"], ["E3", "A", "B"]]


@pytest.mark.parametrize("rows_after", [0, 3, 5_000, 60_000])
def test_a_quote_that_is_never_closed_refuses_the_file_and_is_found(tmp_path: Path, rows_after: int) -> None:
    rows = "".join(f"E{number},A,B\n" for number in range(rows_after))
    told = refusal(tmp_path, HEADER + 'E1,"fine\nbreak",B\nE2,A,"open\n' + rows)
    assert told.startswith("hr.csv, line 4, column 6: the quote that opens here is never closed")


def test_a_quote_that_is_closed_by_the_next_rows_quote_refuses_the_file(tmp_path: Path) -> None:
    told = refusal(tmp_path, HEADER + 'E1,A,B\nE2,"open,B\nE3,"C",D\nE4,A,B\n')
    assert told.startswith("hr.csv, line 3, column 4: a quote opens here and meets text after the quote on line 4, column 5")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    assert "line 2 is longer than" in refusal(tmp_path, HEADER + "E1," + "A" * 1_100_000)


# ------------------------------------------------------------------------------------------------------- complete


@pytest.mark.parametrize(("trailer", "pattern"), [("END,3", r"^END,(?P<rows>\d+)$"), ("# rows: 3,,", r"rows: (?P<rows>\d+)")])
def test_a_trailer_with_the_right_number_is_no_record(tmp_path: Path, trailer: str, pattern: str) -> None:
    declared = feed(complete={"trailer": pattern})
    records, source = read(tmp_path, f"{HEADER}E1,A,B\n\nE2,A\nE3,A,B\n{trailer}\n\n", declared)
    assert [one.place for one in records] == [2, 4, 5]
    assert source.reading.records == 3


@pytest.mark.parametrize("end", ["", "END,2\n", "END,4\n", "END,\n", "END,x\n", "\n"])
def test_a_trailer_that_lacks_or_is_wrong_refuses_the_file(tmp_path: Path, end: str) -> None:
    declared = feed(complete={"trailer": r"^END,(?P<rows>\d*)$"})
    told = refusal(tmp_path, f"{HEADER}E1,A,B\nE2,A,B\nE3,A,B\n{end}", declared)
    assert "is not complete" in told
    assert told.startswith(f"hr.csv, line {5 if end.strip() else 4}:")


def test_the_last_row_is_given_only_when_the_file_is_known_to_go_on(tmp_path: Path) -> None:
    """Without its trailer the last line of a file cut off may be half a row."""
    path = tmp_path / "hr.csv"
    path.write_text(f"{HEADER}E1,A,B\nE2,A,Bro")
    seen: list[Raw | Refusal] = []
    with open_input(feed(complete={"trailer": r"END,(?P<rows>\d+)"}), path) as source, pytest.raises(Unreadable):
        seen.extend(source)
    assert [one.place for one in seen] == [2]


@pytest.mark.parametrize("trailer", [None, r"END,(?P<rows>\d+)"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_cut_at_sixty_percent_is_never_taken_for_whole(tmp_path: Path, trailer: str | None, encoding: str) -> None:
    rows = "".join(f"E{number},Jörg,{'Müller' * 3}\n" for number in range(300))
    whole = f"{HEADER}{rows}" + ("END,300\n" if trailer else "")
    content = whole.encode(encoding)
    told = refusal(tmp_path, content[: len(content) * 6 // 10], feed(complete={"trailer": trailer}))
    assert "not complete" in told or "cut off" in told


def test_a_file_that_is_written_to_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hr.csv"
    path.write_text(HEADER + "E1,A,B\n")
    with open_input(feed(), path) as source:
        path.write_text(HEADER + "E1,A,B\nE2,A,B\n")
        with pytest.raises(Unreadable, match="was changed while it was read"):
            list(source)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be opened: No such file"):
        open_input(feed(), tmp_path / "none.csv")
    with pytest.raises(Unreadable, match="cannot be opened: Is a directory"):
        open_input(feed(), tmp_path)


# ----------------------------------------------------------------------------------------------------------- JSON


PEOPLE = [{"WorkerID": "001", "First": "Jörg", "Last": "Müller"}, {"WorkerID": "2", "more": {"a": [1, None, True]}}]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_object_a_line(tmp_path: Path, end: str) -> None:
    records, source = read(tmp_path, "\ufeff" + (end * 2).join(map(json.dumps, PEOPLE)), feed("ndjson"))
    assert [(one.place, one.value) for one in records if isinstance(one, Raw)] == [(1, PEOPLE[0]), (3, PEOPLE[1])]
    assert [restore(feed("ndjson"), one.text) for one in records if isinstance(one, Raw)] == PEOPLE
    assert (source.reading.records, source.reading.header) == (2, None)


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ('{"WorkerID": "1",, }', "bad_json", "column 18"),
        ('{"WorkerID": "1"} {"WorkerID": "2"}', "bad_json", "column 19"),
        ('{"WorkerID": "1", "a": {"b": 1, "b": 2}}', "bad_json", '"b" stands there more than once'),
        ('{"WorkerID": "1", "a": NaN}', "bad_json", "NaN is no value of JSON"),
        ('{"WorkerID": "1", "a": 1e999}', "bad_json", "too large"),
        (f'{{"WorkerID": {"9" * 5000}}}', "bad_json", "too large"),
        ('{"WorkerID": "1", "a": "\\ud800"}', "bad_json", "surrogate"),
        ('{"WorkerID": "1", "a": "\\u0000"}', "bad_json", "NUL"),
        ("[" * 5000, "bad_json", "column 1"),
        ('{"a": ' + "[" * 50 + "]" * 50 + "}", "bad_json", "nested too deeply"),
        ('{"WorkerID": "1\0"}', "nul_byte", "NUL"),
        ('"text"', "not_an_object", "no object"),
        ("17", "not_an_object", "no object"),
    ],
)
def test_a_bad_line_is_refused_and_its_neighbours_go_on(tmp_path: Path, line: str, code: str, word: str) -> None:
    records, source = read(tmp_path, f'{{"WorkerID": "a"}}\n{line}\n{{"WorkerID": "b"}}\n', feed("ndjson"))
    bad = records[1]
    assert isinstance(bad, Refusal)
    assert (bad.code, bad.place) == (code, 2)
    assert word in bad.text
    assert [one.place for one in records if isinstance(one, Raw)] == [1, 3]
    assert (source.reading.records, source.reading.refused) == (3, 1)
    bad.raw.encode()


def test_lines_cut_off_within_a_record_are_refused_as_a_whole(tmp_path: Path) -> None:
    content = "".join(json.dumps(one) + "\n" for one in PEOPLE * 20)
    assert "line 24: the file is not complete" in refusal(tmp_path, content[: len(content) * 6 // 10 - 5], feed("ndjson"))


def test_lines_may_have_a_trailer_too(tmp_path: Path) -> None:
    declared = feed("ndjson", complete={"trailer": r'"rows": (?P<rows>\d+)'})
    assert len(read(tmp_path, '{"WorkerID": "1"}\n{"rows": 1}\n', declared)[0]) == 1
    assert "not complete" in refusal(tmp_path, '{"WorkerID": "1"}\n{"rows": 2}\n', declared)


def test_a_list_that_is_declared_as_lines_is_told(tmp_path: Path) -> None:
    assert 'Declare form = "json"' in refusal(tmp_path, json.dumps(PEOPLE), feed("ndjson"))
    assert 'declare form = "ndjson"' in refusal(tmp_path, "[1]\n[2]", feed("json"))


@pytest.mark.parametrize("wrap", ["{}", '{{"value": {}}}', '{{"schemas": ["a"], "next": null, "employees" : {}, "count": 2}}'])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_of_objects_and_an_object_with_such_a_list(tmp_path: Path, wrap: str, indent: int | None, encoding: str) -> None:
    content = wrap.format(json.dumps(PEOPLE, indent=indent, ensure_ascii=False)).encode(encoding)
    records, _ = read(tmp_path, content, feed("json"))
    assert [(one.place, one.value) for one in records if isinstance(one, Raw)] == [(1, PEOPLE[0]), (2, PEOPLE[1])]


def test_a_long_list_is_read_in_pieces_wherever_they_end(tmp_path: Path) -> None:
    people = [{"WorkerID": str(number), "First": "ö" * (number % 97), "n": number * 12_345} for number in range(4_000)]
    records, _ = read(tmp_path, json.dumps(people, ensure_ascii=False), feed("json"))
    assert [one.value for one in records if isinstance(one, Raw)] == people


def test_numbers_at_the_end_of_a_piece_are_whole(tmp_path: Path) -> None:
    records, _ = read(tmp_path, "[" + ",".join(["123456789"] * 30_000) + "]", feed("json"))
    assert {one.raw for one in records if isinstance(one, Refusal)} == {"123456789"}
    assert len(records) == 30_000


def test_a_bad_element_of_a_list_is_refused_alone(tmp_path: Path) -> None:
    records, _ = read(tmp_path, '[{"WorkerID": "1"}, 5, {"WorkerID": "2", "a": 1, "a": 2}, {"WorkerID": "3"}]', feed("json"))
    assert [(one.code, one.place, one.external_id) for one in records if isinstance(one, Refusal)] == [
        ("not_an_object", 2, ""), ("bad_json", 3, "2")]  # fmt: skip
    assert [one.place for one in records if isinstance(one, Raw)] == [1, 4]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"WorkerID": "1"},\n {"WorkerID" "2"}]', "hr.csv, line 2, column 14: this is not JSON"),
        ('[{"WorkerID": "1"},\n {"WorkerID": "2"', "hr.csv, line 2, column 18: the file is not complete"),
        ('[{"WorkerID": "1"}', "the file is not complete"),
        ('[{"WorkerID": "1"}]\n{}', "hr.csv, line 2, column 1: more follows after the end"),
        ('{"value": [{"a": 1}], "others": [{"b": 1}]}', 'two lists of objects, "value" and "others"'),
        ('{"a": 1}', "there is no list of objects in it"),
        ("[]", "holds no records"),
        ("WorkerID,First", "a JSON list or object was expected"),
        ('{"totalResults": 5, "value": [{"a": 1}]}', '"totalResults" is 5, but it holds 1 records'),
        ('{"value": [{"a": 1}], "@odata.nextLink": "https://hr.example/2"}', "another page follows"),
    ],
)
def test_a_list_that_is_broken_cut_off_or_a_part_is_refused(tmp_path: Path, content: str, told: str) -> None:
    assert told in refusal(tmp_path, content, feed("json"))


def test_one_page_of_a_delta_is_enough(tmp_path: Path) -> None:
    records, _ = read(tmp_path, '{"totalResults": 5, "value": [{"WorkerID": "1"}]}', feed("json", mode="delta"))
    assert len(records) == 1


# ------------------------------------------------------------------------------------------------ SCIM and messages


def scim(*users: dict[str, Any], bulk: str = "b") -> str:
    operations = [{"method": "POST", "bulkId": f"{bulk}{n}", "path": "/Users", "data": one} for n, one in enumerate(users)]
    return json.dumps({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations})


JENSEN = {"externalId": "701984", "userName": "bjensen", "name": {"familyName": "Jensen"}, "emails": [{"value": "b@example.com"}]}
SCIM = {"columns": {"external_id": "externalId", "last": "name.familyName", "email": "$email"}}


@pytest.mark.parametrize("content", [scim(JENSEN), json.dumps({"Resources": [JENSEN], "totalResults": 1}), json.dumps([JENSEN])])
def test_scim_comes_as_operations_as_a_list_of_users_or_bare(tmp_path: Path, content: str) -> None:
    declared = feed("scim", **SCIM)
    records, _ = read(tmp_path, content, declared)
    only = records[0]
    assert isinstance(only, Raw)
    assert isinstance(only.value, dict)
    assert (only.value["externalId"], only.value["$email"]) == ("701984", "b@example.com")
    assert restore(declared, only.text) == only.value


def test_the_same_person_under_another_bulk_id_is_the_same_record(tmp_path: Path) -> None:
    texts = [read(tmp_path, scim(JENSEN, bulk=bulk), feed("scim", **SCIM))[0][0] for bulk in "xy"]
    assert isinstance(texts[0], Raw)
    assert texts[0] == texts[1]


def test_an_operation_that_is_none_is_refused_and_oddities_are_told_once(tmp_path: Path) -> None:
    operations = json.loads(scim(JENSEN, JENSEN, JENSEN))
    operations["Operations"][1]["method"] = "DELETE"
    operations["Operations"][0]["path"] = operations["Operations"][2]["path"] = "/users"
    records, source = read(tmp_path, json.dumps(operations), feed("scim", **SCIM))
    bad = records[1]
    assert isinstance(bad, Refusal)
    assert (bad.code, bad.external_id) == ("bad_operation", "701984")
    assert len([note for note in source.reading.notes if "/users" in note and note.startswith("In 2 records")]) == 1


def test_messages_come_whole_one_a_line(tmp_path: Path) -> None:
    message = {"id": "m1", "type": "offboard", "person": {"WorkerID": "1"}}
    records, _ = read(tmp_path, json.dumps(message) + "\n", feed("messages", mode="event"))
    assert [one.value for one in records if isinstance(one, Raw)] == [message]


# ------------------------------------------------------------------------------------------------------ whatever


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=8))
    return [[f"E{number}", *row] for number, row in enumerate(rows)]


def written(rows: Sequence[Sequence[str]], delimiter: str, end: str, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    header = ["WorkerID", *(f"c{number}" for number in range(1, len(rows[0])))]
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return text.getvalue().encode(encoding)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=tables(),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_table_is_read_back_as_it_was_written(
    tmp_path: Path, rows: list[list[str]], delimiter: str, end: str, encoding: str
) -> None:
    declared = feed(columns={"external_id": "WorkerID"})
    records, source = read(tmp_path, written(rows, delimiter, end, encoding), declared)
    assert [one.value for one in records if isinstance(one, Raw)] == rows
    assert [restore(declared, one.text) for one in records if isinstance(one, Raw)] == rows
    assert (source.reading.delimiter, source.reading.line_end) == (delimiter, end)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), form=st.sampled_from(["csv", "json", "ndjson", "scim"]), header=st.booleans())
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path: Path, content: bytes, form: str, header: bool) -> None:
    try:
        records, source = read(tmp_path, (HEADER.encode() if header else b"") + content, feed(form))
    except Unreadable as problem:
        told = str(problem)
    else:
        told = f"hr.csv: {json.dumps(source.reading.as_json())}"
        assert len(records) == source.reading.records
    assert told.startswith("hr.csv")
