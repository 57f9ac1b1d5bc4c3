"""Where each attribute of a SCIM user lies in the directory: its column, or its place among the free attributes."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from worker.scim.description import ENTERPRISE

Path = tuple[str, ...]

# What only SCIM clients say lies below this name in users.attributes.
OWN = "scim"

#: Texts, by their place in the resource: where they lie in users.attributes. Those that HR feeds know by a name, too,
#: lie under that name, so that rules on departments and titles see whoever came by SCIM.
TEXTS: Mapping[Path, Path] = {
    ("name", "formatted"): (OWN, "name", "formatted"),
    ("name", "familyName"): ("family_name",),
    ("name", "givenName"): ("given_name",),
    ("name", "middleName"): (OWN, "name", "middleName"),
    ("name", "honorificPrefix"): (OWN, "name", "honorificPrefix"),
    ("name", "honorificSuffix"): (OWN, "name", "honorificSuffix"),
    ("nickName",): (OWN, "nickName"),
    ("profileUrl",): (OWN, "profileUrl"),
    ("title",): ("job_title",),
    ("userType",): ("user_type",),
    ("locale",): (OWN, "locale"),
    (ENTERPRISE, "employeeNumber"): ("employee_number",),
    (ENTERPRISE, "costCenter"): ("cost_center",),
    (ENTERPRISE, "organization"): ("organisation",),
    (ENTERPRISE, "division"): ("division",),
    (ENTERPRISE, "department"): ("department",),
}

_PLURAL = ("value", "display", "type", "primary")
#: Lists of entries that lie whole below `scim`, and what an entry may hold.
LISTS: Mapping[str, tuple[str, ...]] = {
    "emails": _PLURAL,
    "phoneNumbers": _PLURAL,
    "ims": _PLURAL,
    "photos": _PLURAL,
    "addresses": (
        "formatted", "streetAddress", "locality", "region", "postalCode", "country", "type", "primary",
    ),
    "entitlements": _PLURAL,
    "roles": _PLURAL,
    "x509Certificates": _PLURAL,
}  # fmt: skip

# The entry of `emails` whose address is users.email carries this mark and no value: the column is the truth.
MAIN = "main"
#: What a list of addresses is where no SCIM client has given one.
ONLY_THE_COLUMN = ({MAIN: True, "type": "work", "primary": True},)


class Shown(NamedTuple):
    """An attribute that has a column, whose form for clients may differ from what the column holds.

    What a client said is kept below `scim.shown.NAME` as {"is": the column's text at that time, "show": what was said,
    nothing for "not there"}, and shown for as long as the column is unchanged. So a language that is no language tag
    comes back as it was sent, and what HR changes later is seen.
    """

    column: str
    field: str


SHOWN: Mapping[str, Shown] = {
    "displayName": Shown("name", "name"),
    "preferredLanguage": Shown("locale", "locale"),
    "timezone": Shown("zone", "zone"),
    "active": Shown("is_active", "is_active"),
}


def mark_of(name: str) -> Path:
    """The place of what a client said of an attribute that has a column."""
    return (OWN, "shown", name)


def at(value: Any, path: Path) -> Any:
    """Return what lies at a path, None where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text_at(value: Any, path: Path) -> str | None:
    """Return the text or number at a path as text; other sources may have put anything there."""
    found = at(value, path)
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        return None
    return str(found)


def put(target: dict[str, Any], path: Path, value: Any) -> None:
    """Set what lies at a path, making what is missing above it; what is no object on the way is replaced."""
    for name in path[:-1]:
        below = target.get(name)
        if not isinstance(below, dict):
            below = target[name] = {}
        target = below
    target[path[-1]] = value


def entries_at(attributes: Any, name: str) -> Iterator[dict[str, Any]]:
    """Give the entries of a list as they are stored, without what no entry may hold."""
    found = at(attributes, (OWN, name))
    for entry in found if isinstance(found, list) else ():
        if not isinstance(entry, Mapping):
            continue
        kept = {key: entry[key] for key in (*LISTS[name], MAIN) if _fits(key, entry.get(key))}
        if kept:
            yield kept


def _fits(key: str, value: Any) -> bool:
    return isinstance(value, bool if key in ("primary", MAIN) else str)
