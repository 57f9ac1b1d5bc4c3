"""Reading what HR sends: every encoding and dialect, and a clear word about what cannot be read, with nothing lost."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from feed_input import HEADER, feed, read, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.feeds.claims import Refusal
from worker.feeds.declaration import Feed
from worker.feeds.reading import Raw, Unreadable, open_input, restore

UMLAUTS = "WorkerID,First,Last\nE1,Jörg,Müller\nE2,Zoë,Brontë\n"


def cells(tmp_path: Path, content: bytes | str, declared: Feed | None = None) -> list[list[str]]:
    records, _ = read(tmp_path, content, declared)
    assert all(isinstance(one, Raw) for one in records), records
    return [one.value for one in records if isinstance(one, Raw) and isinstance(one.value, list)]


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
