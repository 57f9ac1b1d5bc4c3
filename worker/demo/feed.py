"""The people and messages of the demonstration: invented, typed in by hand, the same at every run."""

import json
from collections.abc import Iterator
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

KEY = "hr-2026-{:03d}"


def before() -> Iterator[dict[str, Any]]:
    """The messages that furnish the organisation before the feed comes: its groups, then its people."""
    for name, parents in GROUPS.items():
        yield {"kind": "create_group", "payload": {"group": name, "parents": parents}, "key": f"group-{name}"}
    for person in _people(BEFORE):
        yield {"kind": "onboard_user", "payload": person | {"welcome_mail": False}, "key": person["external_id"]}


def messages() -> Iterator[str]:
    """The HR feed, a line a message: joiners, movers and leavers, with what real feeds hold besides."""
    lines = [_line(number, *message) for number, message in enumerate(_wanted(), start=1)]
    lines.insert(7, lines[2])  # the same message twice: the feed was sent again from the middle
    lines.insert(21, lines[20])
    lines.insert(30, '{"kind": "onboard_user", "payload": {"username": "half.a.li')  # the file was cut and went on
    # A key that stood for somebody else already.
    lines.append(_line(3, "onboard_user", {"username": "somebody.else", "name": "Somebody Else"}))
    yield from lines


def _line(number: int, kind: str, payload: dict[str, Any]) -> str:
    return json.dumps({"kind": kind, "payload": payload, "key": KEY.format(number), "source": "hr"}, ensure_ascii=False)


def _wanted() -> Iterator[tuple[str, dict[str, Any]]]:
    joiners = list(_people(JOINERS))
    yield from (("onboard_user", person) for person in joiners[:16])
    yield from _movers()
    yield from (("onboard_user", person) for person in joiners[16:25])
    yield from _leavers()
    yield from (("onboard_user", person) for person in joiners[25:])
    yield from _dirt()


def _movers() -> Iterator[tuple[str, dict[str, Any]]]:
    moves: tuple[tuple[str, list[str], list[str], str], ...] = (
        ("E-1009", ["platform"], ["engineering"], "E-1007"), ("E-1010", ["people-team"], ["sales"], "E-1001"),
        ("E-1011", ["engineering"], ["support"], "E-1004"), ("E-2002", ["finance"], ["sales"], "E-1012"),
        ("E-2008", ["support"], [], "E-1003"),
    )  # fmt: skip
    for who, join, leave, manager in moves:
        yield "transfer_user", {
            "user": {"external_id": who}, "groups_add": join, "groups_remove": leave, "manager": {"external_id": manager},
            "attributes": {"department": join[0]}, "notify_manager": True,
        }  # fmt: skip
    yield "update_user", {"user": {"external_id": "E-1012"}, "username": "sinead.walsh", "name": "Sinéad Walsh"}


def _leavers() -> Iterator[tuple[str, dict[str, Any]]]:
    for who, reason in (("E-1008", "resigned"), ("E-1006", "contract ended"), ("E-1005", "retired")):
        yield "offboard_user", {"user": {"external_id": who}, "reason": reason}
    yield "offboard_user", {"user": {"external_id": "E-1004"}, "at": "2031-03-31T18:00", "reason": "retires"}


def _dirt() -> Iterator[tuple[str, dict[str, Any]]]:
    """What goes wrong in real feeds."""
    [quick] = _people("E-3001|quick.quitter|Quinn Quitter|en|Europe/London|sales|E-1003")
    yield "onboard_user", quick  # joins and leaves again before the joining was done
    yield "offboard_user", {"user": {"external_id": "E-3001"}, "reason": "never came"}
    [hostile] = _people("E-3002|bobby.tables|Robert'); DROP TABLE users;-- <script>alert(1)</script>|en|Europe/London|sales|")
    yield "onboard_user", hostile
    [injecting] = _people("E-3003|eve.header|Eve\r\nBcc: everybody@example.com|en|Europe/London|sales|")
    yield "onboard_user", injecting
    [unreachable] = _people("E-3004|ola.normann|Ola Normann|nb|Europe/Oslo|support|")
    yield "onboard_user", unreachable | {"email": "ola.normann@@example..com"}
    [early] = _people("E-3005|astro.naut|Asta Rosing|da|Europe/Copenhagen|moon-base,engineering|")
    yield "onboard_user", early  # a group that IT has not made yet
    [orphan] = _people("E-3006|theo.later|Theo Later|de|Europe/Berlin|sales|E-9999")
    yield "onboard_user", orphan  # a manager who comes with a later feed
    yield "offboard_user", {"user": {"external_id": "E-4040"}, "reason": "nobody has ever heard of this one"}
    yield "promote_user", {"user": "emma.lindqvist"}
    yield "onboard_user", {"username": "no.such.zone", "zone": "Mars/Olympus", "favourite_colour": "red"}


def _people(rows: str) -> Iterator[dict[str, Any]]:
    for row in rows.strip().split("\n") if "\r" not in rows else [rows]:
        number, username, name, locale, zone, groups, manager = row.split("|")
        person = {
            "username": username, "external_id": number, "name": name, "email": f"{username}@example.com",
            "path": f"people/{zone.partition('/')[0].lower()}", "locale": locale, "zone": zone,
            "groups": groups.split(","), "attributes": {"department": groups.split(",")[-1]},
        }  # fmt: skip
        yield person | ({"manager": {"external_id": manager}} if manager else {})
