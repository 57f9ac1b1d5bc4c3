"""Bad input: each bad record is refused alone, each bad file as a whole; the others are carried out and nobody is hurt."""

import json
import unicodedata
from collections.abc import Callable

from hr import DECLARED, HEADER, HR, csv_text, person
from hr_files import corrected, crowd, failed_rows, push, table

ANN = person("001", "Ann", "Archer")
BOB = person("002", "Bob", "Brewer")
CAT = person("003", "Cat", "Cooper")
TEAM = [ANN, BOB, CAT]
MOVED = ANN | {"department": "Engineering"}
CUT = ",".join(HEADER) + "\n"

# What stands in the file, the code, what the message names (the column as it is called in the file, and the value).
BAD_ROWS = {
    "a year that slipped": ("004,Dora,Dunn,Active,0203-05-01,,,,,Sales", "bad_date", "Column “start”: “0203-05-01”"),
    "a day that is not there": ("005,Dora,Dunn,Active,,2026-02-30,,,,Sales", "bad_date", "Column “end”: “2026-02-30”"),
    "a day of another form": ("006,Dora,Dunn,Active,04/05/2026,,,,,Sales", "bad_date", "declared form (YYYY-MM-DD)"),
    "the number of a day": ("007,Dora,Dunn,Active,45292,,,,,Sales", "excel_serial_date", "Column “start”: “45292”"),
    "a word nobody declared": ("008,Dora,Dunn,Aktiv,,,,,,Sales", "unknown_status", "Column “status”: “Aktiv” is none of"),
    "no status at all": ("009,Dora,Dunn,,,,,,,Sales", "missing_value", "Column “status” is empty"),
    "no id": (",Dora,Dunn,Active,,,,,,Sales", "missing_id", "Column “id” is empty"),
    "an id with a mark": ("0\u200e11,Dora,Dunn,Active,,,,,,Sales", "bad_id", "Column “id”: “0\\u200e11” holds the invisible"),
    "an id gone through Excel": ("1.23E+11,Dora,Dunn,Active,,,,,,Sales", "bad_id", "a spreadsheet has rounded"),
    "an id too long": ("9" * 256 + ",Dora,Dunn,Active,,,,,,Sales", "too_long", "more than 255 characters"),
    "a name of 300 letters": (f"012,Dora,{'D' * 300},Active,,,,,,Sales", "too_long", "it should have at most 255 characters"),
    "a zone that is none": ("013,Dora,Dunn,Active,,,,,Berlin,Sales", "bad_zone", "Column “zone”: “Berlin”"),
    "cells lost": ("014,Dora,Dunn,Active", "ragged_row", 'has 4 cells, but the header has 10: the last one filled is "status"'),
    "a comma too many": ("015,Dora,Dunn,Jr,Active,,,,,,Sales", "ragged_row", "has 11 cells, but the header has 10"),
    "a NUL": ("016,Do\0ra,Dunn,Active,,,,,,Sales", "nul_byte", 'NUL bytes in "first"'),
    "a quote in quotes": ('017,"Do"ra",Dunn,Active,,,,,,Sales', "bad_quotes", 'column 5 the cell of "first" goes on'),
    "two things wrong": ("018,Dora,Dunn,Aktiv,45292,,,,,Sales", "unknown_status", "Column “start”: “45292”"),
}  # fmt: skip


def mixed() -> tuple[str, dict[int, str]]:
    """A file with a clean row before and after every bad one; line -> which bad row it is."""
    clean = [MOVED, BOB, CAT, *crowd(len(BAD_ROWS))]
    lines, places = [], {}
    for number, one in enumerate(clean):
        lines += csv_text([one]).splitlines()[1:]
        if number < len(BAD_ROWS):
            name = list(BAD_ROWS)[number]
            places[len(lines) + 2] = name
            lines.append(BAD_ROWS[name][0])
    return CUT + "\n".join(lines) + "\n", places


def test_every_bad_record_is_refused_alone_with_line_column_and_evidence(hr: HR) -> None:
    hr.apply(TEAM)
    text, places = mixed()
    run = hr.apply(text)
    found = {places[line["place"]]: line for line in hr.lines(run, "refused")}
    assert {name: line["code"] for name, line in found.items()} == {name: code for name, (_, code, _) in BAD_ROWS.items()}
    for name, (raw, _, says) in BAD_ROWS.items():
        assert says in found[name]["text"], name
        kept = json.loads(found[name]["raw"])
        assert kept == (raw.split(",") if isinstance(kept, list) else raw), name
        assert found[name]["jobs"] is None
    assert run.counts["refused"] == len(BAD_ROWS) == run.reading["records"] - len(TEAM) - len(BAD_ROWS)
    assert set(hr.states().values()) == {"active"}
    assert len(hr.states()) == len(TEAM) + len(BAD_ROWS), "all the clean ones, and none of the others"
    assert hr.groups("ann.archer") == {"staff"}


def test_failed_rows_corrected_and_pushed_are_taken_and_nobody_counts_as_missing(hr: HR) -> None:
    hr.apply(TEAM)
    text, _ = mixed()
    run = hr.apply(text)
    path = failed_rows(hr, run)
    before = hr.states()

    def correct(cells: dict[str, str]) -> dict[str, str] | None:
        assert cells["error_code"]
        assert cells["error_text"]
        number = correct_ids.pop(0)
        return cells | {"id": number, "first": "Dora", "last": "Dunn", "status": "Active", "start": "2026-01-02", "end": "",
                        "reason": "", "boss": "001", "zone": "Europe/Berlin", "department": "Sales"}  # fmt: skip

    correct_ids = [f"9{number:02}" for number in range(len(BAD_ROWS))]
    pushed = push(hr, corrected(path, correct))
    assert pushed.counts == {"joiner": len(BAD_ROWS), "unchanged": 0}
    assert hr.states() == before | {f"dora.dunn{number or ''}": "active" for number in (0, *range(2, len(BAD_ROWS) + 1))}
    assert {row["absent_runs"] for row in hr.office.rows("feed_person")} == {0}
    ann = hr.office.user("ann.archer")
    dora = hr.office.user("dora.dunn")
    assert ann
    assert dora
    assert dora.manager == ann.id
    [source] = hr.office.rows("feed_source")
    assert source["rows"] == run.reading["people_named"], "a part is no measure for the next full file"


def test_failed_rows_of_a_full_feed_are_known_as_such_without_being_told(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply([*TEAM, *crowd(20)])
    run = hr.apply([MOVED, BOB, CAT | {"status": "Hier"}, *crowd(20)])
    path = corrected(failed_rows(hr, run), lambda cells: cells | {"status": "Leave"})
    pushed = push(hr, path, delta=False)
    assert (pushed.brakes, pushed.counts) == ([], {"leave": 1, "unchanged": 0})
    assert {row["absent_runs"] for row in hr.office.rows("feed_person")} == {0}


def test_failed_rows_left_as_they_were_are_refused_again_and_nothing_else_happens(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply(TEAM)
    text, _ = mixed()
    first = hr.apply(text)
    states = hr.states()
    again = push(hr, failed_rows(hr, first))
    assert again.counts == {"refused": len(BAD_ROWS), "unchanged": 0}
    # What could not be taken apart comes back as one cell, in which the quotes are right by now.
    codes = [str(line["code"]).replace("bad_quotes", "ragged_row") for line in hr.lines(first, "refused")]
    assert sorted(line["code"] for line in hr.lines(again)) == sorted(codes)
    assert hr.states() == states


UNREADABLE = {
    "cells lost": "001,Ann,Archer,Active",
    "a NUL": "001,A\0nn,Archer,Active,,,,,,Sales",
    "a quote in quotes, so that nobody knows whose row it is": '001,"A"nn",Archer,Active,,,,,,Sales',
    "no id": ",Ann,Archer,Active,,,,,,Sales",
}


def test_whoever_cannot_be_read_is_not_missing(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply(TEAM)
    for raw in UNREADABLE.values():
        for _ in range(4):
            run = hr.apply(CUT + raw + csv_text([BOB, CAT]).removeprefix(CUT.rstrip()))
            assert run.counts == {"refused": 1, "unchanged": 2}
    assert set(hr.states().values()) == {"active"}
    for _ in range(3):
        hr.office.later(days=1)
        hr.apply([BOB, CAT])
    assert hr.states()["ann.archer"] == "closed", "who is truly missing still goes"


# ------------------------------------------------------------------------------------------------ whole files


def cut(text: str, share: float) -> str:
    return text[: int(len(text) * share)]


MANY = crowd(40)
WHOLE = csv_text(MANY)
WITHOUT_STATUS = [name for name in HEADER if name != "status"]
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "it is empty (0 bytes)"),
    "a byte-order mark alone": (b"\xef\xbb\xbf", "it is empty (3 bytes)"),
    "blank lines": (b"\r\n\r\n", "holds no records, not even a header"),
    "a header alone": (CUT.encode(), "holds no records. Nothing was taken, and nobody counts as missing"),
    "no header": ("\n".join(WHOLE.splitlines()[1:]).encode(), 'the header lacks the column "id"'),
    "a column lost": (csv_text(MANY, WITHOUT_STATUS).encode(), 'line 1: the header lacks the column "status"'),
    "a column renamed": (WHOLE.replace("department", "Departement", 1).encode(), '"department" (is it "Departement"?)'),
    "a column twice": (WHOLE.replace("boss", "status", 1).encode(), 'lacks the column "boss"'),
    "a column twice, none lost": (
        csv_text(MANY, [*HEADER, "status"]).encode(), 'names the column "status" more than once (columns 4 and 11)'),
    "cut within a row": (cut(WHOLE, 0.6).encode(), "the file is not complete, it ends within a row"),
    "cut within quotes": (cut(table(MANY, quote_all=True), 0.6).encode(), "never closed, or the file was cut off"),
    "cut within a character": (cut(WHOLE, 1).encode()[: WHOLE.encode().rindex(b"\xc3") + 1], "damaged or cut off"),
    "a quote never closed": (WHOLE.replace("\n00105,", '\n"00105,', 1).encode(), "line 7, column 1: the quote that opens here"),
    "UTF-16 without its mark": (WHOLE.encode("utf-16-le"), "Declare its encoding"),
    "a workbook": (b"PK\x03\x04" + bytes(100), "an Excel workbook"),
    "damaged UTF-8": (WHOLE.encode()[:-30] + b"\xfc" + WHOLE.encode()[-30:], "is not utf-8, but the rest is"),
}  # fmt: skip


def test_a_bad_file_is_refused_whole_and_leaves_everything_as_it_was(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply(MANY)
    before = {name: hr.office.rows(name) for name in ("feed_person", "feed_source", "users", "membership", "job")}
    for name, (content, says) in BAD_FILES.items():
        run = hr.plan(content, name="people.csv")
        assert run.state == "refused", name
        assert run.problem is not None
        assert run.problem.startswith("people.csv"), name
        assert says in run.problem, name
    assert {name: hr.office.rows(name) for name in before} == before
    assert hr.plan(MANY).counts == {"unchanged": 40}, "the next good file goes on as if nothing had been"


def test_cut_anywhere_a_file_disables_nobody(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply(MANY)
    for percent in (50, 60, 75, 88, 99):
        at_row = cut(WHOLE, percent / 100).rpartition("\n")[0] + "\n"
        for text in (cut(WHOLE, percent / 100), at_row):
            run = hr.plan(text)
            assert (run.state == "refused") or run.brakes or percent >= 90, percent
            assert "leaver" not in run.counts
    run = hr.plan(cut(WHOLE, 0.6).rpartition("\n")[0] + "\n")
    assert [brake["brake"] for brake in run.brakes] == ["shrunken"]


def test_everybody_terminated_is_held(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DECLARED[: DECLARED.index("[feeds.hr.brakes]")] + "[feeds.hr.brakes]\ncreate = {}\nmails = {}\n")
    hr.apply(MANY)
    run = hr.plan([one | {"status": "Gone"} for one in MANY])
    assert run.state == "held"
    assert set(hr.states().values()) == {"active"}


# ------------------------------------------------------------------------------------- the same in other clothes

PLAIN = [person("101", "Jörg", "Müller"), person("102", "Zoë", "Brontë"), person("103", "Ann", "O'Neill")]
TEXT = csv_text(PLAIN)


def bare_quotes(text: str) -> str:
    """Quote every cell of a simple file."""
    return "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()) + "\n"


CLOTHES: dict[str, tuple[bytes, str, str]] = {
    "UTF-8": (TEXT.encode(), "utf-8", ","),
    "a byte-order mark": (b"\xef\xbb\xbf" + TEXT.encode(), "utf-8", ","),
    "a byte-order mark before a quote": (b"\xef\xbb\xbf" + bare_quotes(TEXT).encode(), "utf-8", ","),
    "UTF-16, little end first": (TEXT.encode("utf-16"), "utf-16-le", ","),
    "UTF-16, big end first": (b"\xfe\xff" + TEXT.encode("utf-16-be"), "utf-16-be", ","),
    "cp1252": (TEXT.encode("cp1252"), "cp1252", ","),
    "decomposed letters": (unicodedata.normalize("NFD", TEXT).encode(), "utf-8", ","),
    "semicolons": (TEXT.replace(",", ";").encode(), "utf-8", ";"),
    "tabs": (TEXT.replace(",", "\t").encode(), "utf-8", "\t"),
    "bars": (TEXT.replace(",", "|").encode(), "utf-8", "|"),
    "CRLF": (TEXT.replace("\n", "\r\n").encode(), "utf-8", ","),
    "CR": (TEXT.replace("\n", "\r").encode(), "utf-8", ","),
    "blanks behind": (TEXT.replace("\n", "  \n").replace("Jörg", "Jörg ").encode(), "utf-8", ","),
    "empty cells behind": (TEXT.replace("\n", ",,\n").replace(",,\n", "\n", 1).encode(), "utf-8", ","),
    "blank lines": (TEXT.replace("\n", "\n\n").encode(), "utf-8", ","),
    "marks of direction": (TEXT.replace("Müller", "\u202bMüller\u202c").encode(), "utf-8", ","),
    "a line break within a name": (TEXT.replace("Zoë,Brontë", '"Zoë","Brontë\n"').encode(), "utf-8", ","),
    "a column more": (TEXT.replace("\n", ",x\n").replace(",x\n", ",note\n", 1).encode(), "utf-8", ","),
    "columns in another order": (csv_text(PLAIN, HEADER[::-1]).encode(), "utf-8", ","),
    "no line end at the end": (TEXT.rstrip("\n").encode(), "utf-8", ","),
}


def test_however_a_file_is_written_it_says_the_same(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    hr.apply(PLAIN)
    before = hr.office.rows("users")
    for name, (content, encoding, delimiter) in CLOTHES.items():
        run = hr.plan(content)
        assert run.state == "planned", (name, run.problem)
        assert (run.reading["encoding"], run.reading["delimiter"]) == (encoding, delimiter), name
        assert {line["action"] for line in hr.lines(run)} <= {"noted"}, (name, hr.lines(run))
        assert [line["jobs"] for line in hr.lines(run) if line["jobs"]] == [], name
        hr.carry(run)
    assert hr.office.rows("users") == before


NAMES = {
    ("Seán", "O'Brien"): "Seán O'Brien",
    ("Cristobal", "O' Byrne"): "Cristobal O' Byrne",
    ("Ngọc", "Nguyễn"): "Ngọc Nguyễn",
    ("太郎", "山田"): "太郎 山田",
    ("محمد", "العلي"): "محمد العلي",
    ("O", "E"): "O E",
    ("Dr. Ana", "Sá MBA."): "Dr. Ana Sá MBA.",
    ("🙂", "Smile"): "🙂 Smile",
    ("Jean-Luc", "de la Tour"): "Jean-Luc de la Tour",
    ("Max", "M" * 250): f"Max {'M' * 250}",
}


def test_names_are_kept_as_they_are_and_every_person_gets_a_username(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    people = [person(f"7{number:02}", first, last) for number, (first, last) in enumerate(NAMES)]
    run = hr.apply(table([*people, *crowd(24)]))
    assert run.counts == {"joiner": len(people) + 24, "unchanged": 0}
    assert all(line["jobs"] for line in hr.lines(run))
    users = hr.office.rows("users")
    assert {row["name"] for row in users} >= set(NAMES.values())
    assert all(row["username"].isascii() and len(row["username"]) <= 40 for row in users)
    assert set(hr.states().values()) == {"active"}


# ------------------------------------------------------------------------------------------ dates and words


def declared(**lines: str) -> str:
    return DECLARED.replace('dates = ["%Y-%m-%d"]', "\n".join(lines.values()))


def test_a_day_that_can_be_read_in_two_ways_is_refused_and_one_that_cannot_is_taken(
    declare_sqlite: Callable[[str], HR],
) -> None:
    hr = declare_sqlite(declared(dates='dates = ["%d/%m/%Y", "%m/%d/%Y"]'))
    run = hr.apply([ANN | {"start": "04/05/2025"}, BOB | {"start": "25/01/2025"}, CAT | {"start": "05/05/2025"}])
    [line] = hr.lines(run, "refused")
    assert (line["external_id"], line["place"], line["code"]) == ("001", 2, "bad_date")
    assert "can be read in two ways: 2025-05-04 (DD/MM/YYYY) or 2025-04-05 (MM/DD/YYYY)" in line["text"]
    assert hr.states() == {"bob.brewer": "active", "cat.cooper": "active"}
    bob = hr.office.user("bob.brewer")
    assert bob
    assert str(bob.start_date) == "2025-01-25"


def test_without_a_zone_of_their_own_people_leave_by_that_of_the_feed(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(declared(dates='dates = ["%Y-%m-%d"]', zone='zone = "America/Los_Angeles"'))
    hr.apply([ANN, BOB])
    hr.apply([ANN | {"end": "2026-03-04"}, BOB | {"end": "2026-03-04", "zone": "Australia/Melbourne"}])
    planned = {str(row["run_at"]) for row in hr.office.jobs("offboard_user") if row["state"] == "scheduled"}
    assert planned == {"2026-03-05 08:00:00+00:00", "2026-03-04 13:00:00+00:00"}


def test_words_are_translated_and_unknown_ones_refused_where_declared(declare_sqlite: Callable[[str], HR]) -> None:
    words = '"attributes.department" = { column = "department", words = { UK = "GB", DE = "DE" }, other_words = "refuse" }'
    hr = declare_sqlite(DECLARED.replace('"attributes.department" = "department"', words))
    run = hr.apply([ANN | {"department": "UK"}, BOB | {"department": "uk"}, CAT | {"department": "Albion"}])
    [line] = hr.lines(run, "refused")
    assert (line["code"], line["place"]) == ("unknown_word", 4)
    assert "Column “department”: “Albion” is not in the list of words (UK, DE)" in line["text"]
    assert [row["attributes"]["department"] for row in hr.office.rows("users")] == ["GB", "GB"]


def test_inactive_and_on_leave_at_once_has_left(declare_sqlite: Callable[[str], HR]) -> None:
    hr = declare_sqlite(DECLARED.replace('zone = "zone"', 'leave_from = "boss"'))
    hr.apply([ANN, BOB])
    run = hr.apply([ANN | {"status": "Gone", "boss": "2026-02-01"}, BOB | {"boss": "2026-02-01"}])
    assert {line["external_id"]: line["action"] for line in hr.lines(run)} == {"001": "leaver", "002": "leave"}


# ------------------------------------------------------------------------------------------------- evidence

PASSWORD = "hunter2-secret"


def test_a_password_in_a_refused_row_is_kept_nowhere(hr_sqlite: HR) -> None:
    hr = hr_sqlite
    header = [*HEADER, "InitialPassword"]
    [_, wrong, right] = table([ANN | {"status": "Aktiv", "InitialPassword": PASSWORD}, BOB], header).splitlines()
    short, long, quoted = wrong.replace(",Aktiv", ""), wrong.replace("Ann", "Ann,Jr"), wrong.replace("Ann", '"A"nn')
    nul = wrong.replace("Ann", "A\0nn")
    run = hr.apply("\n".join([",".join(header), wrong, short, long, quoted, nul, right]) + "\n")
    codes = ["ragged_row", "ragged_row", "bad_quotes", "nul_byte", "unknown_status"]
    assert [line["code"] for line in hr.lines(run, "refused")] == codes
    assert "hunter2" not in str(hr.office.rows("feed_action")) + str(hr.office.rows("feed_person"))
    assert "hunter2" not in failed_rows(hr, run).read_text()
    assert [json.loads(line["raw"])[:2] for line in hr.lines(run, "refused")[:2]] == [["001", "Ann"]] * 2
