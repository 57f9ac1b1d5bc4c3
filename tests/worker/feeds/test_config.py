"""Declaring feeds: a right declaration means what it says, and every mistake is named by its line, its key and its cure."""

import tomllib
from pathlib import Path

import pytest

from worker.feeds.config import WrongFeed, load_feeds
from worker.feeds.declaration import Brake, Brakes, Complete, Feed, Take
from worker.feeds.where import lines_of
from worker.settings import Settings, load

RIGHT = """\
organisation = "Examplia"

[feeds.hr]
form = "csv"
mode = "full"
encoding = "cp1252"
delimiter = ";"
dates = ["%Y-%m-%d", "%d.%m.%Y"]   # the second is how branches write it
zone = "Europe/Berlin"
id_prefix = "hr-"
correlate = ["external_id", "email"]
usernames = ["{first}.{last}", "{first:.1}{last}{n}"]
email = "{username}@example.com"
complete.trailer = '^END;(?P<rows>\\d+)$'

[feeds.hr.columns]
external_id = "WorkerID"
status = "WorkerStatus"
first = "FirstName"
last = "LastName"
modified = { column = "LastModified", dates = ["%Y-%m-%dT%H:%M:%S%z"] }
effective_on = "From"
start_date = { column = "HireDate", dates = ["%m/%d/%Y"] }
type = { column = "WorkerType", words = { E = "internal", C = "external" }, other_words = "refuse" }
"attributes.department" = "Department"
attributes.country = { column = "CountryCode", words = { UK = "GB" } }
"attributes.job_code" = { column = "job", split = "#", part = 1 }
"attributes.site" = { columns = ["City", "Street"], join = ", " }

[feeds.hr.status]
Active = "active"
"On leave" = "leave"

[[feeds.hr.groups]]
rule = "sales"
when = { "attributes.department" = ["Sales"] }
groups = ["sales"]

[[feeds.hr.groups]]
rule = "everybody"
groups = ["dept-{attributes.department}"]

[feeds.hr.brakes]
disable = { percent = 1, floor = 3 }

[feeds.badge]
form = "ndjson"
mode = "delta"
columns = { external_id = "person.id", "attributes.phone" = "phone" }

[authority]
"attributes.phone" = ["badge", "hr"]
attributes.country = ["hr"]
"""


def declared(folder: Path, text: str) -> dict[str, Feed]:
    file = folder / "muster.toml"
    file.write_text(text, encoding="utf-8")
    return load_feeds(load({}, file))


def complaints(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a file, each as `line: key: words`."""
    with pytest.raises(WrongFeed) as error:
        declared(folder, text)
    prefix = f"{folder / 'muster.toml'} line "
    lines = str(error.value).splitlines()
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


def test_a_right_declaration_means_what_it_says(tmp_path: Path) -> None:
    feeds = declared(tmp_path, RIGHT)
    hr = feeds["hr"]
    assert list(feeds) == ["hr", "badge"]
    assert (hr.name, hr.form, hr.mode, hr.encoding, hr.delimiter, hr.job_source) == ("hr", "csv", "full", "cp1252", ";", "feed/hr")
    assert hr.account("7") == "hr-7"
    assert hr.columns["external_id"] == Take(column="WorkerID")
    assert hr.columns["attributes.country"] == Take(column="CountryCode", words={"UK": "GB"})
    assert hr.status == {"Active": "active", "On leave": "leave"}
    assert [rule.groups for rule in hr.groups] == [("sales",), ("dept-{attributes.department}",)]
    assert (hr.brakes.disable.percent, hr.brakes.disable.floor) == (1, 3)
    assert feeds["badge"].columns["attributes.phone"] == Take(column="phone")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "shift_jis"])
def test_encodings_of_text_are_taken(tmp_path: Path, encoding: str) -> None:
    assert declared(tmp_path, RIGHT.replace('"cp1252"', f'"{encoding}"'))["hr"].encoding == encoding


def test_nobody_is_deleted_where_it_says_never(tmp_path: Path) -> None:
    feeds = declared(tmp_path, RIGHT + '[feeds.badge.leavers]\ndelete_days = "never"\n[feeds.badge.absent]\ndelete_days = "never"\n')
    assert (feeds["badge"].leavers.delete_days, feeds["badge"].absent.delete_days) == (None, None)
    assert (feeds["hr"].leavers.delete_days, feeds["hr"].absent.delete_days) == (90, 180)


def test_without_feeds_there_are_none(tmp_path: Path) -> None:
    assert declared(tmp_path, 'organisation = "Examplia"\n') == {}


def test_authority_tells_each_feed_who_comes_before_it(tmp_path: Path) -> None:
    feeds = declared(tmp_path, RIGHT)
    assert feeds["hr"].before_me == {"attributes.phone": ("badge",)}
    assert feeds["badge"].before_me == {"attributes.country": ("*",)}  # not in the list: it never writes that


def test_a_template_that_counts_is_added_when_there_is_none(tmp_path: Path) -> None:
    text = RIGHT.replace('usernames = ["{first}.{last}", "{first:.1}{last}{n}"]', 'usernames = ["{last}", "{first}-{name}"]')
    assert declared(tmp_path, text)["hr"].usernames == ("{last}", "{first}-{name}", "{last}{n}")
    assert declared(tmp_path, RIGHT)["hr"].usernames == ("{first}.{last}", "{first:.1}{last}{n}")


def test_a_feed_without_a_zone_has_that_of_the_settings(tmp_path: Path) -> None:
    feeds = declared(tmp_path, 'zone = "Asia/Tokyo"\n' + RIGHT)
    assert (feeds["hr"].zone, feeds["badge"].zone) == ("Europe/Berlin", "Asia/Tokyo")


def test_messages_may_hold_any_field_when_no_columns_are_declared(tmp_path: Path) -> None:
    rule = '[[feeds.push.groups]]\nrule = "r"\ngroups = ["at-{attributes.site}"]\nwhen = { type = ["internal"], "attributes.a" = ["b"] }\n'
    assert not declared(tmp_path, f'[feeds.push]\nform = "messages"\nmode = "event"\n{rule}')["push"].columns
    (complaint,) = complaints(tmp_path, f'[feeds.push]\nform = "messages"\nmode = "event"\n{rule}'.replace("type =", "typ ="))
    assert complaint.startswith("7: feeds.push.groups[1].when.typ: no column is declared for this field; did you mean type?")


def test_scim_tells_the_status_by_itself(tmp_path: Path) -> None:
    text = '[feeds.idp]\nform = "scim"\nmode = "delta"\ncolumns.external_id = "externalId"\nstatus = { active = "active" }\n'
    (complaint,) = complaints(tmp_path, text)
    assert complaint.startswith("5: feeds.idp.status: has to say what active and inactive mean")
    text = text.replace("}", ', inactive = "terminated" }')
    assert declared(tmp_path, text)["idp"].status == {"active": "active", "inactive": "terminated"}


def test_messages_go_without_words_of_status(tmp_path: Path) -> None:
    text = '[feeds.push]\nform = "messages"\nmode = "event"\n[feeds.push.columns]\nexternal_id = "id"\nstatus = "state"\n'
    assert declared(tmp_path, text)["push"].status == {}


# The line that is complained of; what is replaced there, by what; the key; and the words.
WRONG = [
    (4, 'form = "csv"', 'form = "cvs"', "form", "takes csv, ndjson, json, messages or scim (given: 'cvs')"),
    (5, 'form = "csv"', 'form = "csv"\nfrom = "csv"', "from", "there is no such key; did you mean form?"),
    (5, 'form = "csv"', 'form = "csv"\nbefore_me = {}', "before_me", "there is no such key"),
    (5, 'form = "csv"', 'form = "csv"\nprehire_days = true', "prehire_days", "something else than true or false"),
    (5, 'form = "csv"', 'form = "csv"\nprehire_days = "soon"', "prehire_days", "takes a whole number (given: 'soon')"),
    (5, 'form = "csv"', 'form = "csv"\nprehire_days = -1', "prehire_days", "at least 0 (given: -1)"),
    (5, 'form = "csv"', 'form = "csv"\nwelcome_mail = "perhaps"', "welcome_mail", "takes true or false"),
    (5, 'form = "csv"\nmode = "full"\nencoding = "cp1252"\ndelimiter = ";"\n', 'form = "messages"\nmode = "full"\n', "mode", 'use mode = "event"'),
    (5, 'mode = "full"', 'mode = "whole"', "mode", "takes full, delta or event"),
    (6, '"cp1252"', '"cp1225"', "encoding", "there is no encoding 'cp1225'; did you mean cp1252?"),
    (6, '"cp1252"', '"base64"', "encoding", "there is no encoding 'base64'"),
    (7, 'delimiter = ";"', 'delimiter = ";;"', "delimiter", "at most 1 character"),
    (7, 'delimiter = ";"', "delimiter = '\"'", "delimiter", "cannot part the columns"),
    (7, 'form = "csv"\nmode = "full"', 'form = "json"\nmode = "full"', "delimiter", "only csv has a delimiter"),
    (8, '["%Y-%m-%d", "%d.%m.%Y"]', '["%Y-%m-%d", "%d.%m.%y"]', "dates", "'%d.%m.%y': %y has no century"),
    (8, '["%Y-%m-%d", "%d.%m.%Y"]', '["%m/%Y"]', "dates", "does not say day, month and year"),
    (8, '["%Y-%m-%d", "%d.%m.%Y"]', '["%Y-%m-%%d"]', "dates", "does not say day, month and year"),
    (8, '["%Y-%m-%d", "%d.%m.%Y"]', '["%Q %Y-%m-%d"]', "dates", "no date can be read by"),
    (8, '["%Y-%m-%d", "%d.%m.%Y"]', '["%d %d %m %Y"]', "dates", "no date can be read by"),
    (8, '["%Y-%m-%d", "%d.%m.%Y"]', '"%Y-%m-%d"', "dates", "takes a list"),
    (9, '"Europe/Berlin"', '"Europe/Berln"', "zone", "such as Europe/Berlin (given: 'Europe/Berln')"),
    (10, '"hr-"', '"h r"', "id_prefix", "without blanks"),
    (11, '["external_id", "email"]', '["email", "email"]', "correlate", "at most once"),
    (11, '["external_id", "email"]', '["phone"]', "correlate[1]", "takes external_id, email or username"),
    (12, '"{first}.{last}", ', '"{frist}", ', "usernames", "holds {frist}; known are"),
    (12, '"{first}.{last}", ', '"{password}", ', "usernames", "attributes.NAME"),
    (12, '"{first}.{last}", ', '"{first", ', "usernames", "a brace without its partner"),
    (12, '"{first}.{last}", ', '"{first!r}", ', "usernames", "write {first}"),
    (12, '"{first}.{last}", ', '"{first:>9}", ', "usernames", "or {first:.1} for its first letter"),
    (12, '"{first}.{last}", ', '"{attributes.floor}", ', "usernames", "no column is declared for attributes.floor"),
    (12, '"{first}.{last}", ', '"{email_local}", ', "usernames", "no column is declared for email"),
    (12, '"{first}.{last}", ', '"user", ', "usernames", "the same for everybody"),
    (12, '["{first}.{last}", "{first:.1}{last}{n}"]', "[]", "usernames", "at least one template"),
    (13, '"{username}@example.com"', '"{username}{n}@example.com"', "email", "holds {n}"),
    (13, '"{username}@example.com"', '"{username}"', "email", "needs one @"),
    (14, r"'^END;(?P<rows>\d+)$'", r"'^END;(\d+$'", "complete.trailer", "is no regular expression"),
    (14, r"'^END;(?P<rows>\d+)$'", r"'^END;(\d+)$'", "complete.trailer", "needs a group `rows`"),
    (16, 'external_id = "WorkerID"\n', "", "columns.external_id", "is missing"),
    (29, 'status = "WorkerStatus"\n', "", "status", "no column is declared for status"),
    (28, '"attributes.site" = { columns = ["City", "Street"], join = ", " }', 'emial = "Mail"', "columns.emial", "there is no such field; did you mean email?"),
    (28, '"attributes.site" = { columns = ["City", "Street"], join = ", " }', 'costs = "Costs"', "columns.costs", 'a free attribute is written "attributes.costs"'),
    (19, 'first = "FirstName"', 'first = { colum = "FirstName" }', "columns.first.colum", "did you mean column?"),
    (19, 'first = "FirstName"', "first = 1", "columns.first", "takes the name of a column in quotes"),
    (19, 'first = "FirstName"', "first = {}", "columns.first", "exactly one of column, columns and value"),
    (19, 'first = "FirstName"', 'first = { column = "a", value = "b" }', "columns.first", "exactly one of"),
    (19, 'first = "FirstName"', 'first = " "', "columns.first.column", "names no column"),
    (19, 'first = "FirstName"', 'first = { columns = ["a", ""] }', "columns.first.columns", "names no column"),
    (19, 'first = "FirstName"', 'first = { column = "a", part = 2 }', "columns.first.part", "means nothing without split"),
    (19, 'first = "FirstName"', 'first = { column = "a", split = "", part = 2 }', "columns.first.split", "at least one character"),
    (19, 'first = "FirstName"', 'first = { column = "a", join = "-" }', "columns.first.join", "means nothing without columns"),
    (19, 'first = "FirstName"', 'first = { column = "a", other_words = "refuse" }', "columns.first.other_words", "without words"),
    (19, 'first = "FirstName"', 'first = { column = "a", default = 3 }', "columns.first.default", "takes text in quotes (given: 3)"),
    (19, 'first = "FirstName"', 'first = { column = "a", transform = ["shout"] }', "columns.first.transform[1]", "takes lower, upper"),
    (19, 'first = "FirstName"', 'first = { column = "a", dates = ["%d.%m.%Y"] }', "columns.first.dates", "first is no date"),
    (23, '["%m/%d/%Y"]', '["%m/%d/%y"]', "columns.start_date.dates", "%y has no century"),
    (23, '["%m/%d/%Y"] }', '["%m/%d/%Y"], default = "soon" }', "columns.start_date.default", "'soon' is no date as declared"),
    (21, 'modified = { column = "LastModified", dates = ["%Y-%m-%dT%H:%M:%S%z"] }\n', "", "columns.effective_on", "needs modified"),
    (24, 'E = "internal"', 'E = "intern"', "columns.type.words.E", "'intern' is no type of user; did you mean internal?"),
    (18, 'status = "WorkerStatus"', 'status = { value = "Gone" }', "columns.status.value", "no word of the table status"),
    (28, '"attributes.site" = { columns = ["City", "Street"], join = ", " }', 'zone = { value = "Moon" }', "columns.zone.value", "such as Europe/Berlin (given: 'Moon')"),
    (28, '"attributes.site" = { columns = ["City", "Street"], join = ", " }', '"attributes.muster.internal/x" = "D"', 'columns."attributes.muster.internal/x"', "kept for"),
    (27, "part = 1", "part = 0", 'columns."attributes.job_code".part', "at least 1"),
    (26, 'attributes.country = { column = "CountryCode",', 'attributes.country = { colunm = "C",', 'columns."attributes.country".colunm', "mean column?"),
    (31, 'Active = "active"', 'Active = "activ"', "status.Active", "takes prehire, active, leave"),
    (40, 'rule = "everybody"', 'rule = "sales"', "groups[2].rule", "a name of its own"),
    (39, 'rule = "everybody"\n', "", "groups[2].rule", "is missing"),
    (36, 'when = { "attributes.department"', 'when = { "attributes.departmnt"', 'groups[1].when."attributes.departmnt"', "did you mean attributes.department?"),
    (36, '= ["Sales"] }', "= [] }", 'groups[1].when."attributes.department"', "at least one value"),
    (37, 'groups = ["sales"]', "groups = []", "groups[1].groups", "at least one group"),
    (37, 'groups = ["sales"]', 'groups = [" "]', "groups[1].groups", "without a name"),
    (41, '{attributes.department}"]', '{attributes.dpartment}"]', "groups[2].groups", "did you mean attributes.department?"),
    (41, '{attributes.department}"]', '{attributes.department:.3}"]', "groups[2].groups", "did you mean attributes.department?"),
    (41, '{attributes.department}"]', '{attributes.department"]', "groups[2].groups", "without its other half"),
    (44, "percent = 1,", "percent = 101,", "brakes.disable.percent", "at most 100 (given: 101)"),
    (44, "[feeds.hr.brakes]\ndisable", "[feeds.hr.brakes]\ndisabel", "brakes.disabel", "did you mean disable?"),
    (45, "[feeds.hr.brakes]", "[feeds.hr.leavers]\nremove_access_days = 9\ndelete_days = 3\n[feeds.hr.brakes]", "leavers.delete_days", "the last step"),
    (44, "[feeds.hr.brakes]", "[feeds.hr.absent]\ndelete_days = 3\n[feeds.hr.brakes]", "absent.delete_days", "the last step"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "right", "wrong", "key", "words"), WRONG)
def test_each_mistake_is_named_by_line_key_and_cure(
    tmp_path: Path, line: int, right: str, wrong: str, key: str, words: str
) -> None:
    assert RIGHT.count(right) == 1
    (complaint,) = complaints(tmp_path, RIGHT.replace(right, wrong))
    assert complaint.startswith(f"{line}: feeds.hr.{key}: ")
    assert words in complaint


@pytest.mark.parametrize(("line", "text", "words"), [
    (1, 'feeds.hr = "people.csv"', "feeds.hr: takes a table: write [feeds.hr]"),
    (2, "# people\n[feeds.HR]\nmode = 'delta'\ncolumns = { external_id = 'id' }", "feeds.HR: the name of a source begins with"),
    (1, "[feeds.hr]\ncolumns = { external_id = 'id' }", "feeds.hr.mode: is missing; it is full, delta or event"),
    (1, "[feeds.hr]\nmode = 'full'", "feeds.hr.columns: is missing; it says which column"),
    (4, "[feeds.hr]\nmode = 'full'\n[feeds.hr.columns]\neffective_on = 'x'\nexternal_id = 'id'", "needs modified as well"),
    (3, "[feeds.hr]\nmode = 'full'\ncolumns = [\n'id',\n]", "feeds.hr.columns: takes a table"),
    (1, "[feeds.hr]\nmode = 'full'\ncolumns = { external_id = 'id', status = 's' }", "feeds.hr.status: is missing; a column is declared"),
    (5, "[feeds.hr]\nmode = 'full'\ncolumns.external_id = 'id'\n[authority]\nphone = ['hr']", "authority.phone: there is no such field; a free attribute is written"),
    (4, "[feeds.hr]\nmode = 'full'\ncolumns.external_id = 'id'\n[feeds.hr.groups]\nrule = 'a'", "double brackets"),
    (5, "[feeds.hr]\nmode = 'full'\ncolumns.external_id = 'id'\n[feeds.hr.leavers]\ndelete_days = 'no'", 'number of days, or "never"'),
    (2, "[authority]\nemail = ['hr']", "authority.email: no source is called 'hr'; there are none"),
    (2, "[authority]\nattributes.phone = []", 'authority."attributes.phone": takes each source at most once'),
])  # fmt: skip
def test_mistakes_of_whole_tables(tmp_path: Path, line: int, text: str, words: str) -> None:
    (complaint,) = complaints(tmp_path, text)
    assert complaint.startswith(f"{line}: ")
    assert words in complaint


def test_all_mistakes_of_all_feeds_are_named_at_once_and_in_their_order(tmp_path: Path) -> None:
    text = RIGHT
    for right, wrong in [
        ('mode = "full"', 'mode = "whole"'), ('"%d.%m.%Y"]', '"%d.%m.%y"]'), ('first = "FirstName"', "first = { colum = 'x' }"),
        ('part = 1', 'part = 0'), ('rule = "everybody"', 'rule = "sales"'), ('external_id = "person.id"', 'id = "person.id"'),
        ('"attributes.phone" = ["badge", "hr"]', '"attributes.phone" = ["bagde", "hr"]'),
    ]:  # fmt: skip
        text = text.replace(right, wrong)
    assert [": ".join(complaint.split(": ")[:2]) for complaint in complaints(tmp_path, text)] == [
        "5: feeds.hr.mode",
        "8: feeds.hr.dates",
        "19: feeds.hr.columns.first.colum",
        '27: feeds.hr.columns."attributes.job_code".part',
        "40: feeds.hr.groups[2].rule",
        "49: feeds.badge.columns.external_id",
        "49: feeds.badge.columns.id",
        '52: authority."attributes.phone"',
    ]


def test_several_mistakes_in_one_list_are_each_named(tmp_path: Path) -> None:
    text = RIGHT.replace('rule = "everybody"', "").replace('groups = ["dept-{attributes.department}"]', "groups = 3")
    assert [complaint.split(": ")[1] for complaint in complaints(tmp_path, text)] == ["feeds.hr.groups[2].rule", "feeds.hr.groups[2].groups"]


def test_settings_made_without_a_file_have_no_lines_to_name() -> None:
    with pytest.raises(WrongFeed, match=r"^feeds\.hr\.mode: takes full, delta or event \(given: 'x'\)$"):
        load_feeds(Settings(feeds={"hr": {"mode": "x", "columns": {"external_id": "id"}}}))


def test_a_file_that_became_unreadable_since_costs_the_lines_only(tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text(RIGHT.replace('mode = "full"', 'mode = "x"'))
    settings = load({}, file)
    file.write_text("= =")
    with pytest.raises(WrongFeed, match=r"muster\.toml: feeds\.hr\.mode"):
        load_feeds(settings)


# Strings of several lines, brackets and signs in strings, comments, inline tables, spaces around dots, line ends of
# Windows: after each of them the lines still have to be right.
@pytest.mark.parametrize("before", [
    '"""\n[feeds.x]\nmode = 1\n"""', "'''\n\n[[feeds.hr.groups]] '''''", '"]#[" # comment [', "[\n  [1, 2], # ]\n  [3],\n]",
    '{ a = "}", b = [1] }', '"""a\\"""\n\n""""', "'\\'", "1979-05-27T07:32:00Z",
])  # fmt: skip
def test_lines_are_right_whatever_stands_before(before: str) -> None:
    text = f"odd = {before}\n\n[ feeds . hr ]\n'mode' = 'full' # last\n"
    line = text.splitlines().index("[ feeds . hr ]") + 1
    for written in (text, text.replace("\n", "\r\n"), text.rstrip("\n")):
        assert tomllib.loads(written)["feeds"] == {"hr": {"mode": "full"}}
        assert lines_of(written) == {("odd",): 1, ("feeds",): line, ("feeds", "hr"): line, ("feeds", "hr", "mode"): line + 1}


def test_the_digest_changes_with_the_meaning_of_records_and_not_with_brakes(tmp_path: Path) -> None:
    feed = declared(tmp_path, RIGHT)["hr"]
    assert (len(feed.digest), feed.digest) == (16, declared(tmp_path, RIGHT)["hr"].digest)
    for same in ({"brakes": Brakes(disable=Brake(count=1))}, {"complete": Complete()}, {"encoding": "utf-8"}, {"mode": "delta"}):
        assert feed.model_copy(update=same).digest == feed.digest
    others: tuple[dict[str, object], ...] = (
        {"columns": {"external_id": Take(column="id")}}, {"status": {"Active": "leave"}}, {"zone": "UTC"}, {"groups": ()},
        {"prehire_days": 1}, {"before_me": {}}, {"empty": "clear"}, {"dates": ("%Y-%m-%d",)},
    )  # fmt: skip
    for other in others:
        assert feed.model_copy(update=other).digest != feed.digest
