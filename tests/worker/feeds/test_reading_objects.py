"""Reading JSON, SCIM and messages: a bad record is refused alone, a broken or partial file as a whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from feed_input import feed, read, refusal

from worker.feeds.claims import Refusal
from worker.feeds.reading import Raw, restore

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
