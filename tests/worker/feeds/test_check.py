"""Explaining a declaration against a sample: how it is read, who is understood, what does not fit, and what would."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.feeds.check import CheckReport, explain, propose
from worker.feeds.config import load_feeds
from worker.feeds.declaration import Feed
from worker.feeds.guess import forms_that_fit
from worker.feeds.reading import Unreadable
from worker.settings import load

HEADER = "WorkerID;State;First;Last;Hired;Ends;Boss;Zip"
COLUMNS: dict[str, Any] = {
    "external_id": "WorkerID", "status": "State", "first": "First", "last": "Last", "manager": "Boss",
    "hired_on": {"column": "Hired", "dates": ["%Y-%m-%d"]}, "last_day": "Ends", "attributes.source": {"value": "hr"},
}  # fmt: skip


def feed(**more: Any) -> Feed:
    given = {"name": "hr", "mode": "full", "columns": COLUMNS, "status": {"Active": "active", "Gone": "terminated"}}
    return Feed.model_validate({**given, **more})


def sample(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8", name: str = "people.csv") -> Path:
    file = folder / name
    file.write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return file


def test_it_tells_how_the_file_is_read_and_who_is_understood(tmp_path: Path) -> None:
    file = sample(tmp_path, "0007;active;Jürgen;Groß;2024-03-01;;0001;04109", "0001;GONE;Ann;Lee;2020-01-31;2026-01-31;;", encoding="cp1252")
    report = explain(feed(), file)
    assert (report.source, report.file, report.good, report.problem) == ("hr", "people.csv", True, None)
    assert (report.reading["encoding"], report.reading["delimiter"]) == ("cp1252", ";")
    assert "cp1252" in report.reading["encoding_known_by"]
    assert report.reading["header"] == HEADER.split(";")
    assert (report.records, report.taken, report.refused) == (2, 2, {})
    assert (report.fields["hired_on"], report.fields["attributes.source"]) == (["Hired"], ["= hr"])
    assert (report.unused, report.missing) == (["Zip"], {})
    assert [(one["place"], one["external_id"], one["fields"]["name"]) for one in report.people] == [
        (2, "0007", "Jürgen Groß"), (3, "0001", "Ann Lee"),
    ]  # fmt: skip
    assert report.people[1]["fields"]["status"] == "terminated"
    assert json.loads(json.dumps(report.as_json()))["good"] is True


def test_only_the_first_people_and_the_first_examples_are_shown(tmp_path: Path) -> None:
    good = [f"{number};Active;A;B;2024-03-01;;;" for number in range(1, 10)]
    report = explain(feed(), sample(tmp_path, *good, *[f"x{number};Gnoe;A;B;2024-03-01;;;" for number in range(1, 6)], ";Active;A;B;;;;"))
    assert (len(report.people), report.records, report.taken) == (5, 15, 9)
    assert {code: found["count"] for code, found in report.refused.items()} == {"unknown_status": 5, "missing_id": 1}
    examples = report.refused["unknown_status"]["examples"]
    assert [(one["place"], one["column"]) for one in examples] == [(11, "State"), (12, "State"), (13, "State")]
    assert "Gnoe" in examples[0]["text"]


def test_words_of_status_that_are_not_declared_are_counted(tmp_path: Path) -> None:
    rows = [f"{number};{word};A;B;;;;" for number, word in enumerate(["Active", "On leave", "Retired", "On leave", "gone"])]
    assert explain(feed(), sample(tmp_path, *rows)).unknown_status == {"On leave": 2, "Retired": 1}


@pytest.mark.parametrize(("texts", "forms"), [
    (["31.01.2024", "01.02.2024"], ["%d.%m.%Y"]),
    (["01/31/2024", "02/01/2024"], ["%m/%d/%Y"]),
    (["01/02/2024"], ["%m/%d/%Y", "%d/%m/%Y"]),
    (["45292"], []),
    (["0203-05-01"], []),
    (["31.01.2024", "2024-01-31"], []),
    ([], []),
])
def test_dates_that_do_not_fit_are_shown_with_the_forms_that_would(tmp_path: Path, texts: list[str], forms: list[str]) -> None:
    assert forms_that_fit(texts) == forms
    odd = [text for text in texts if text != "2024-01-31"]
    report = explain(feed(), sample(tmp_path, *[f"{number};Active;A;B;{text};;;" for number, text in enumerate(texts or ["2024-01-31"])]))
    if odd:
        assert report.dates["Hired"]["count"] == len(odd)
        assert report.dates["Hired"]["examples"] == odd
        assert report.dates["Hired"]["forms"] == forms_that_fit(odd)
    else:
        assert report.dates == {}


def test_a_column_the_file_lacks_is_named_with_the_nearest_and_the_rest_is_explained(tmp_path: Path) -> None:
    file = sample(tmp_path, "1;Active;A;B;2024-03-01;;;", header=HEADER.replace("Last", "LastNme").replace("Hired", "Since"))
    report = explain(feed(columns={**COLUMNS, "last": "LastName"}), file)
    assert report.problem is not None
    assert 'lacks the column "LastName"' in report.problem
    assert (report.good, report.missing) == (False, {"LastName": "LastNme", "Hired": None})
    assert (report.records, report.taken, report.unused) == (1, 1, ["LastNme", "Since", "Zip"])
    assert report.people[0]["fields"] == {"status": "active", "first": "A", "name": "A", "last_day": None, "attributes.source": "hr"}


def test_without_the_column_of_the_ids_nobody_is_looked_at(tmp_path: Path) -> None:
    report = explain(feed(), sample(tmp_path, "1;Active;A;B;2024-03-01;;;", header=HEADER.replace("WorkerID", "WorkrID")))
    assert (report.missing, report.records, report.refused) == ({"WorkerID": "WorkrID"}, 0, {})
    assert report.reading["header"][0] == "WorkrID"


@pytest.mark.parametrize(("content", "said"), [
    (b"", "it is empty"),
    (f"{HEADER}\n".encode(), "holds no records"),
    (HEADER.replace("Last", "First").encode() + b"\n1;Active;A;B;;;;\n", "more than once"),
    (HEADER.encode() + b'\n1;Active;"A;B;;;;\n', "never closed"),
    (b"PK\x03\x04 and more", "Excel workbook"),
])
def test_a_file_that_would_be_refused_as_a_whole_is_said_so(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    report = explain(feed(columns={**COLUMNS, "last": "First"}), file)
    assert (report.good, report.taken) == (False, 0)
    assert report.problem is not None
    assert said in report.problem


def test_a_file_that_is_not_complete_is_explained_up_to_its_end(tmp_path: Path) -> None:
    trailer = {"trailer": r"^END (?P<rows>\d+)$"}
    report = explain(feed(complete=trailer), sample(tmp_path, "1;Active;A;B;2024-03-01;;;", "END 2"))
    assert report.problem is not None
    assert "its trailer says 2, but it holds 1 records" in report.problem
    assert (report.taken, report.people[0]["external_id"]) == (1, "1")


def ids(lengths: list[str]) -> list[str]:
    return [f"{number};Active;A;B;2024-03-01;;;1" for number in lengths]


def test_ids_that_may_have_lost_their_zeros_are_noted(tmp_path: Path) -> None:
    kept = [f"{number:06}" for number in range(99_000, 101_000, 20)]
    lost = [str(int(number) + 5_000_000 * (at % 10 > 0)) for at, number in enumerate(kept)]
    assert explain(feed(), sample(tmp_path, *ids(lost))).lost_zeros == {"WorkerID": {"shorter": 10, "of": 100, "digits": 7}}
    assert explain(feed(), sample(tmp_path, *ids(kept))).lost_zeros == {}
    assert explain(feed(), sample(tmp_path, *ids([f"E{number}" for number in lost]))).lost_zeros == {}
    assert explain(feed(), sample(tmp_path, *ids(lost[:5]))).lost_zeros == {}


def test_json_is_explained_by_the_paths_of_its_values(tmp_path: Path) -> None:
    file = tmp_path / "people.ndjson"
    people = [{"id": "7", "name": {"givenName": "Ann", "familyName": "Lee"}, "state": "Active", "since": "1.2.2024", "tags": ["x"]}, {"id": 8.5}]
    file.write_text("".join(json.dumps(one) + "\n" for one in people))
    columns = {"external_id": "id", "first": "name.givenName", "last": "name.family", "hired_on": "since", "status": "state"}
    report = explain(feed(form="ndjson", columns=columns), file)
    assert report.missing == {"name.family": "name.familyName"}
    assert report.unused == ["name.familyName"]
    assert report.dates["since"]["forms"] == ["%d.%m.%Y"]
    assert {code: found["count"] for code, found in report.refused.items()} == {"bad_date": 1, "bad_id": 1}


def test_what_looks_secret_is_not_shown(tmp_path: Path) -> None:
    file = sample(tmp_path, "1;Active;A;B;2024-03-01;;;hunter2", header=HEADER.replace("Zip", "Password"))
    report = explain(feed(columns={**COLUMNS, "attributes.note": "Password"}), file)
    assert report.people[0]["fields"]["attributes.note"] == "(hidden)"
    assert "hunter2" not in json.dumps(report.as_json())


# ---------------------------------------------------------------------------------------------------- proposing


def checked(folder: Path, file: Path) -> tuple[Feed, CheckReport]:
    """Return the feed that is proposed for a file, and what it makes of that very file."""
    declared = folder / "muster.toml"
    declared.write_text(propose(file), encoding="utf-8")
    (proposed,) = load_feeds(load({}, declared)).values()
    return proposed, explain(proposed, file)


def test_what_is_proposed_for_a_table_reads_it(tmp_path: Path) -> None:
    header = "EmployeeID;givenName;Surname;Department;ManagerID;HireDate;WorkerStatus;WorkerType;Password;Shoe size"
    rows = ["0007;Ann;Lee;Sales;;31.01.2024;Active;FTE;x;38", "0008;Bo;Ek;IT;0007;01.02.2024;Long-term leave;Contractor;y;44"]
    feed, report = checked(tmp_path, sample(tmp_path, *rows, header=header, encoding="cp1252", name="42 HR export.csv"))
    assert (feed.name, feed.form, feed.mode, feed.delimiter, feed.encoding) == ("hr-export", "csv", "delta", ";", None)
    assert {name: take.column for name, take in feed.columns.items()} == {
        "external_id": "EmployeeID", "first": "givenName", "last": "Surname", "status": "WorkerStatus", "type": "WorkerType",
        "manager": "ManagerID", "hired_on": "HireDate", "start_date": "HireDate", "attributes.department": "Department",
    }  # fmt: skip
    assert feed.columns["hired_on"].dates == ("%d.%m.%Y",)
    assert feed.status == {"Active": "active", "Long-term leave": "leave"}
    assert feed.columns["type"].words == {"FTE": "internal", "Contractor": "external"}
    assert (report.good, report.taken, report.unused) == (True, 2, ["Password", "Shoe size"])


def test_what_had_to_be_guessed_is_said(tmp_path: Path) -> None:
    header = "Name;StartDate;Status;EmployeeType"
    text = propose(sample(tmp_path, "Jürgen;01/02/2024;Dormant;Wizard", header=header, encoding="cp1252", name="péople.csv"))
    assert "# external_id =" in text
    assert 'dates = ["%m/%d/%Y"] }  # or %d/%m/%Y' in text
    assert '# "Dormant" = "…"' in text
    assert '# internal or external? "Wizard"' in text
    assert 'encoding = "cp1252"  # known by: neither BOM nor UTF-8' in text
    assert '# not used: "Name"' in text


def test_what_is_proposed_for_json_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    file.write_text(json.dumps([{"workerId": "7", "name": {"givenName": "Ann", "familyName": "Lee"}, "status": "active"}]))
    feed, report = checked(tmp_path, file)
    assert (feed.form, feed.columns["first"].column, report.good) == ("json", "name.givenName", True)
    file.write_text('{"workerId": "7", "status": "inactive"}\n{"workerId": "8", "status": "active"}\n')
    feed, report = checked(tmp_path, file)
    assert (feed.form, feed.status["inactive"], report.taken) == ("ndjson", "terminated", 2)


def test_what_is_proposed_for_scim_reads_it(tmp_path: Path) -> None:
    extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    person = {
        "externalId": "7", "userName": "ann", "name": {"givenName": "Ann", "familyName": "Lee"}, "active": False,
        extension: {"department": "Sales", "manager": {"value": "1"}},
    }  # fmt: skip
    bulk = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{"method": "POST", "path": "/Users", "bulkId": "1", "data": person}],
    }
    file = tmp_path / "people.json"
    file.write_text(json.dumps(bulk))
    feed, report = checked(tmp_path, file)
    assert (feed.form, report.good) == ("scim", True)
    fields = report.people[0]["fields"]
    assert (fields["status"], fields["manager"], fields["attributes.department"]) == ("terminated", "1", "Sales")


def test_names_that_would_steer_a_terminal_or_break_the_file_are_escaped(tmp_path: Path) -> None:
    header = '"Worker""ID\\";First\x9b2J;LastName\u202e;\x7fZip;Id'
    feed, report = checked(tmp_path, sample(tmp_path, "7;A;B;1;7", header=header, name="a\n[feeds.x]\x1b.csv"))
    assert propose(tmp_path / "a\n[feeds.x]\x1b.csv").replace("\n", "").isprintable()
    assert (feed.columns["external_id"].column, feed.columns["last"].column) == ('Worker"ID\\', "LastName\u202e")
    assert (report.good, report.unused) == (True, ["First\x9b2J", "\x7fZip", "Id"])


@pytest.mark.parametrize("content", [b"", b"a;b\n", b"PK\x03\x04", b"[]", b"{}"])
def test_nothing_is_proposed_for_a_file_without_records(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    with pytest.raises(Unreadable):
        propose(file)
    with pytest.raises(Unreadable, match="cannot be opened"):
        propose(tmp_path / "none.csv")
