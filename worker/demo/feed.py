"""The people of the demonstration and the files of its HR system: invented, typed in by hand, the same at every run."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ORGANISATION = "Fjord & Feather"

GROUPS = {
    "staff": [], "administrators": ["staff"], "engineering": ["staff"], "platform": ["engineering"], "sales": ["staff"],
    "finance": ["staff"], "people-team": ["staff"], "support": ["staff"], "contractors": [],
}  # fmt: skip

# Who works here already: id | username | name | language | time zone | groups | manager
BEFORE = """
E-1001|ingrid.solheim|Ingrid Solheim|nb|Europe/Oslo|administrators,people-team|
E-1002|tomas.kral|Tomáš Král|cs|Europe/Prague|administrators,platform|E-1001
E-1003|amina.okafor|Amina Okafor|en|Africa/Lagos|sales|E-1001
E-1004|li.wei|李伟|zh-Hans|Asia/Shanghai|engineering|E-1002
E-1005|lucia.ferrari|Lucia Ferrari|it|Europe/Rome|finance|E-1001
E-1006|joao.pereira|João Pereira|pt|Europe/Lisbon|support|E-1003
E-1007|hanna.virtanen|Hanna Virtanen|fi|Europe/Helsinki|platform|E-1002
E-1008|omar.haddad|عمر حداد|ar|Asia/Amman|sales|E-1003
E-1009|zofia.nowak|Zofia Nowak|pl|Europe/Warsaw|engineering|E-1002
E-1010|pierre.lambert|Pierre Lambert|fr|Europe/Paris|sales|E-1003
E-1011|yuki.tanaka|田中 由紀|ja|Asia/Tokyo|support|E-1003
E-1012|sinead.obrien|Sinéad O’Brien|en-IE|Europe/Dublin|finance|E-1005
"""

# Who joins today, in the same form.
JOINERS = """
E-2001|emma.lindqvist|Emma Lindqvist|sv|Europe/Stockholm|engineering|E-1002
E-2002|mateo.garcia|Mateo García Ruiz|es|Europe/Madrid|sales|E-1003
E-2003|aylin.demir|Aylin Demir|tr|Europe/Istanbul|support|E-1006
E-2004|noah.van.dijk|Noah van Dijk|nl|Europe/Amsterdam|platform|E-1007
E-2005|chiara.ricci|Chiara Ricci|it|Europe/Rome|finance|E-1005
E-2006|dmytro.bondar|Дмитро Бондар|uk|Europe/Kyiv|engineering|E-1002
E-2007|priya.raman|Priya Raman|en-IN|Asia/Kolkata|engineering|E-1004
E-2008|kwame.mensah|Kwame Mensah|en|Africa/Accra|sales|E-1003
E-2009|greta.baumann|Greta Baumann|de|Europe/Berlin|people-team|E-1001
E-2010|nguyen.thi.hoa|Nguyễn Thị Hoa|vi|Asia/Ho_Chi_Minh|support|E-1011
E-2011|ana.horvat|Ana Horvat|hr|Europe/Zagreb|sales|E-1003
E-2012|oliver.jensen|Oliver Jensen|da|Europe/Copenhagen|platform|E-1007
E-2013|sofia.papadaki|Σοφία Παπαδάκη|el|Europe/Athens|finance|E-1005
E-2014|lucas.martin|Lucas Martin|fr|Europe/Paris|engineering|E-1009
E-2015|maria.silva|Maria Silva|pt-BR|America/Sao_Paulo|support|E-1006
E-2016|james.whitaker|James Whitaker|en-GB|Europe/London|sales|E-1010
E-2017|marta.kowalska|Marta Kowalska|pl|Europe/Warsaw|engineering|E-1009
E-2018|janos.nagy|Nagy János|hu|Europe/Budapest|engineering|E-1004
E-2019|elif.kaya|Elif Kaya|tr|Europe/Istanbul|sales|E-1010
E-2020|david.cohen|דוד כהן|he|Asia/Jerusalem|platform|E-1002
E-2021|kim.minjun|김민준|ko|Asia/Seoul|engineering|E-1004
E-2022|fatima.zahra|فاطمة الزهراء|ar|Africa/Casablanca|finance|E-1005
E-2023|liam.murphy|Liam Murphy|en-IE|Europe/Dublin|support|E-1006
E-2024|eva.mala|Eva Malá|cs|Europe/Prague|people-team|E-1001
E-2025|ravi.kumar|Ravi Kumar|en-IN|Asia/Kolkata|platform|E-1007
E-2026|isabel.torres|Isabel Torres|es-MX|America/Mexico_City|sales|E-1003
E-2027|bjorn.eriksson|Björn Eriksson|sv|Europe/Stockholm|engineering|E-1009
E-2028|chen.mei|陳美|zh-Hant|Asia/Taipei|support|E-1011
E-2029|peter.gruber|Peter Gruber|de-AT|Europe/Vienna|finance|E-1012
E-2030|nina.petrova|Нина Петрова|bg|Europe/Sofia|engineering|E-1002
E-2031|samuel.adeyemi|Samuel Adeyemi|en|Africa/Lagos|platform|E-1007
E-2032|clara.schmid|Clara Schmid|de-CH|Europe/Zurich|people-team|E-1001
E-2033|andrei.popescu|Andrei Popescu|ro|Europe/Bucharest|engineering|E-1004
"""

# What HR calls its columns, and what Muster makes of them; the demonstration writes this to muster.toml.
DECLARED = """\
[feeds.hr]
form = "csv"
mode = "full"
dates = ["%d.%m.%Y"]
usernames = ["{first}.{last}", "{first}.{last}{n}"]
email = "{username}@example.com"
path = "people/{attributes.department}"

[feeds.hr.columns]
external_id = "PersonnelNo"
first = "FirstName"
last = "LastName"
status = "Status"
"attributes.department" = { column = "Department", transform = ["lower"] }
manager = "Manager"
locale = "Language"
zone = "TimeZone"
last_day = "LastDay"
reason = "Reason"

[feeds.hr.status]
Active = "active"
Leave = "leave"
Left = "terminated"
NoShow = "rescinded"

[[feeds.hr.groups]]
rule = "the department's group"
when = { "attributes.department" = ["*"] }
groups = ["{attributes.department}"]
"""
HEADER = (
    "PersonnelNo", "FirstName", "LastName", "Status", "Department", "Manager", "Language", "TimeZone", "LastDay", "Reason",
)  # fmt: skip
Record = dict[str, str]


def before() -> Iterator[dict[str, Any]]:
    """The messages that furnish the organisation before the feed comes: its groups, then its people."""
    for name, parents in GROUPS.items():
        yield {"kind": "create_group", "payload": {"group": name, "parents": parents}, "key": f"group-{name}"}
    for row in BEFORE.strip().split("\n"):
        number, username, name, locale, zone, groups, manager = row.split("|")
        person = {
            "username": username, "external_id": number, "name": name, "email": f"{username}@example.com", "locale": locale,
            "zone": zone, "groups": [group for group in groups.split(",") if group == "administrators"], "origin": "manual",
            "welcome_mail": False,
        }  # fmt: skip
        manager_of = {"manager": {"external_id": manager}} if manager else {}
        yield {"kind": "onboard_user", "payload": person | manager_of, "key": number}


def first_file() -> str:
    """HR's first file: everybody who works here, and who joins today."""
    return _file(_records().values())


def second_file() -> str:
    """The file of the next day: people move and leave, and it is as dirty as real ones are."""
    people = _records()
    for number, changed in MOVES.items():
        people[number] |= changed
    for number, changed in LEAVERS.items():
        people[number] |= changed
    return _file([*people.values(), *_dirt()])


def broken_file() -> str:
    """The file of the third day: somebody filtered the report, and the status column went wrong."""
    return _file(one | {"Status": "Left"} for one in _records().values())


MOVES: Mapping[str, Record] = {
    "E-1009": {"Department": "Platform", "Manager": "E-1007"},
    "E-1010": {"Department": "People-Team", "Manager": "E-1001"},
    "E-1011": {"Department": "Engineering", "Manager": "E-1004"},
    "E-2002": {"Department": "Finance", "Manager": "E-1012"},
    "E-1012": {"LastName": "Walsh"},
    "E-2016": {"Status": "Leave"},
}
LEAVERS: Mapping[str, Record] = {
    "E-1008": {"Status": "Left", "Reason": "resigned"},
    "E-1006": {"Status": "Left", "Reason": "contract ended"},
    "E-1004": {"LastDay": "31.03.2031", "Reason": "retires"},
    "E-2033": {"Status": "NoShow"},
}


def _dirt() -> Iterator[Record]:
    """What goes wrong in real files."""
    person = {"Status": "Active", "Department": "Sales", "Manager": "E-1003", "Language": "en", "TimeZone": "Europe/London"}
    yield person | {"PersonnelNo": "E-3001", "FirstName": "Robert'); DROP TABLE users;--", "LastName": "<script>alert(1)</script>"}
    yield person | {"PersonnelNo": "E-3002", "FirstName": "Theo", "LastName": "Later", "Manager": "E-9999"}
    yield person | {"PersonnelNo": "E-3003", "FirstName": "Una", "LastName": "Word", "Status": "Aktiv"}
    yield person | {"PersonnelNo": "E-3004", "FirstName": "Dai", "LastName": "Date", "LastDay": "31.02.2031"}
    yield person | {"PersonnelNo": "E-3005", "FirstName": "Emma", "LastName": "Lindqvist"}  # the second one of this name
    yield person | {"PersonnelNo": "E-3006", "FirstName": "One", "LastName": "Person"}
    yield person | {"PersonnelNo": "E-3006", "FirstName": "Quite", "LastName": "Another"}
    yield person | {"PersonnelNo": "2009", "FirstName": "=HYPERLINK(1)", "LastName": "Formula", "TimeZone": "Mars/Olympus"}


def _records() -> dict[str, Record]:
    found = {}
    for row in (BEFORE.strip() + "\n" + JOINERS.strip()).split("\n"):
        number, _, name, locale, zone, groups, manager = row.split("|")
        first, _, last = name.partition(" ")
        found[number] = {
            "PersonnelNo": number, "FirstName": first, "LastName": last, "Status": "Active",
            "Department": groups.split(",")[-1].title(), "Manager": manager, "Language": locale, "TimeZone": zone,
        }  # fmt: skip
    return found


def _file(people: Iterable[Record]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, HEADER, delimiter=";", restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(people)
    return out.getvalue()
