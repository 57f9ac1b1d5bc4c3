"""A person as a SCIM client sees them, and what a client's changes mean for the directory."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from scim2_models import InvalidValueException

from worker.directory.accounts import User
from worker.directory.fields import Locale, PersonName, Zone
from worker.scim.description import ENTERPRISE
from worker.scim.spots import (
    LISTS,
    MAIN,
    ONLY_THE_COLUMN,
    OWN,
    SHOWN,
    TEXTS,
    at,
    entries_at,
    mark_of,
    put,
    text_at,
)

_NAME, _LOCALE, _ZONE = (TypeAdapter[str](one) for one in (PersonName, Locale, Zone))
_NAMED_BY = (("displayName",), ("name", "formatted"), ("name", "givenName"), ("name", "familyName"))


class Person(NamedTuple):
    """An account with what stands in other rows: the client's own id for it, and its groups as (id, name)."""

    row: User
    external_id: str | None = None
    groups: Sequence[tuple[str, str]] = ()


# -------------------------------------------------------------------------------------------------- what they see


def resource_of(person: Person) -> dict[str, Any]:
    """Return the resource (RFC 7643, 4.1 and 4.3) with its metadata, as JSON values."""
    row = person.row
    found: dict[str, Any] = {
        "id": row.id, "userName": row.username,
        "meta": {
            "resourceType": "User", "created": row.created_at, "lastModified": row.updated_at,
            "version": version_of(row.version, person.external_id),
        },
    }  # fmt: skip
    if person.external_id is not None:
        found["externalId"] = person.external_id
    for name, shown in SHOWN.items():
        value = getattr(row, shown.column)
        mark = at(row.attributes, mark_of(name))
        if text_at(mark, ("is",)) == _text(value):
            value = text_at(mark, ("show",))
        if value is not None and value != "":
            found[name] = value
    for path, place in TEXTS.items():
        text = text_at(row.attributes, place)
        if text is not None:
            put(found, path, text)
    for name in LISTS:
        entries = _emails(row) if name == "emails" else list(entries_at(row.attributes, name))
        if entries:
            found[name] = entries
    if row.manager is not None:
        put(found, (ENTERPRISE, "manager"), {"value": row.manager, "$ref": f"Users/{row.manager}"})
    if person.groups:
        found["groups"] = [
            {"value": group, "$ref": f"Groups/{group}", "display": name, "type": "direct"} for group, name in person.groups
        ]
    return found


def version_of(number: int, external_id: str | None) -> str:
    """Return the weak tag of a version: the account's number, and a digest of what this client calls it."""
    mark = "" if external_id is None else f"-{hashlib.sha256(external_id.encode()).hexdigest()[:8]}"
    return f'W/"{number}{mark}"'


def _emails(row: User) -> list[dict[str, Any]]:
    stored = list(entries_at(row.attributes, "emails")) or [dict(one) for one in ONLY_THE_COLUMN]
    shown = []
    for entry in stored:
        if entry.pop(MAIN, False):
            if row.email is None:
                continue
            entry = {"value": row.email, **entry}  # noqa: PLW2901 (the address is looked at first by everybody)
        shown.append(entry)
    return shown


def _text(value: Any) -> str:
    """A column's value as the text that marks hold."""
    return ("true" if value else "false") if isinstance(value, bool) else value or ""


# -------------------------------------------------------------------------------------------- what they change


@dataclass
class Change:
    """What a client wants of a person, in terms of the directory.

    `fields`: for create_user or update_user, without names of others; `attributes`: a merge patch. `manager` is what the
    client named, to be looked up. `exact`: it was computed from lists as they were read, and holds only for those.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    manager: tuple[str | None] | None = None
    external_id: tuple[str | None] | None = None
    exact: bool = False


@dataclass(frozen=True)
class _Column:
    """The columns of an account that a change looks at; those of a new one."""

    name: str = ""
    email: str | None = None
    locale: str | None = None
    zone: str | None = None
    is_active: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)


def change(row: User | None, before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    """Say what makes `after` of `before`, two resources of the same account as JSON values; `row` None: of nothing.

    What both say alike is left alone, whatever the directory holds of it. Raises InvalidValueException.
    """
    found = Change()
    old = row or _Column()
    if after.get("userName") != before.get("userName"):
        found.fields["username"] = after.get("userName")
    if after.get("externalId") != before.get("externalId"):
        found.external_id = (after.get("externalId"),)
    _rename(found, old, before, after)
    _flip(found, old, before, after)
    _retune(found, old, before, after)
    _readdress(found, old, before, after)
    for path, place in TEXTS.items():
        value = at(after, path)
        if value != at(before, path):
            put(found.attributes, place, value)
    for name in LISTS:
        if name != "emails" and after.get(name) != before.get(name):
            put(found.attributes, (OWN, name), after.get(name) or None)
            found.exact = True
    named, was = (_manager(side) for side in (after, before))
    if named != was:
        found.manager = (named,)
    return found


def for_create(found: Change) -> dict[str, Any]:
    """Return the fields of a new account: what a merge patch would remove is not there to begin with."""
    attributes = _without_nothing(found.attributes)
    return found.fields | ({"attributes": attributes} if attributes else {})


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: below for key, part in value.items() if (below := _without_nothing(part)) not in (None, {})}
    return value


def _rename(found: Change, old: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """The name that mails begin with: what is to be displayed, else the formatted name, else its parts."""
    if all(at(before, path) == at(after, path) for path in _NAMED_BY):
        return
    display, formatted, given, family = (at(after, path) or "" for path in _NAMED_BY)
    name = _clean(_NAME, display or formatted or " ".join(part for part in (given, family) if part), "displayName")
    if name != old.name:
        found.fields["name"] = name
    _mark(found, old, "displayName", None if display else (name, None))


def _flip(found: Change, old: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Nothing said about `active` changes nothing about the account."""
    wanted = after.get("active")
    if wanted == before.get("active"):
        return
    if wanted is not None and wanted != old.is_active:
        found.fields["is_active"] = wanted
    _mark(found, old, "active", (_text(old.is_active), None) if wanted is None else None)


def _retune(found: Change, old: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Language and time zone: what is none is kept as it was said, and changes nothing else."""
    for name, reader in (("preferredLanguage", _LOCALE), ("timezone", _ZONE)):
        wanted = after.get(name)
        if wanted == before.get(name):
            continue
        column = SHOWN[name].column
        read = wanted or None
        if wanted:
            try:
                read = reader.validate_python(wanted)
            except ValidationError:
                read = getattr(old, column)
        if read != getattr(old, column):
            found.fields[column] = read
        _mark(found, old, name, (_text(read), wanted) if wanted and wanted != read else None)


def _mark(found: Change, old: Any, name: str, mark: tuple[str, str | None] | None) -> None:
    """Keep what is to be shown while the column holds a text; None: the column itself."""
    if mark is not None and any(mark):
        holds, show = mark
        put(found.attributes, mark_of(name), {"is": holds, "show": show})
    elif at(old.attributes, mark_of(name)) is not None:
        put(found.attributes, mark_of(name), None)


def _readdress(found: Change, old: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """The account's address is the primary one, else the first at work, else the first; the others are kept beside it."""
    given: list[dict[str, Any]] = after.get("emails") or []
    if given == (before.get("emails") or []):
        return
    found.exact = True
    usable = [entry for entry in given if entry.get("value")]
    main = next((entry for entry in usable if entry.get("primary")), None)
    main = main or next((entry for entry in usable if entry.get("type") == "work"), None) or next(iter(usable), None)
    stored = [
        {MAIN: True} | {key: value for key, value in entry.items() if key != "value"} if entry is main else entry
        for entry in given
    ]
    if main is None:
        primary = not any(entry.get("primary") for entry in given)
        stored.append({MAIN: True, "type": "work"} | ({"primary": True} if primary else {}))
    address = main["value"] if main is not None else None
    if address != old.email:
        found.fields["email"] = address
    plain = stored == [dict(one) for one in ONLY_THE_COLUMN]
    if not plain or at(old.attributes, (OWN, "emails")) is not None:
        put(found.attributes, (OWN, "emails"), None if plain else stored)


def _manager(resource: Mapping[str, Any]) -> str | None:
    named = at(resource, (ENTERPRISE, "manager")) or {}
    value = named.get("value") or (named.get("$ref") or "").rstrip("/").rpartition("/")[2]
    return value or None


def _clean(reader: TypeAdapter[str], text: str, name: str) -> str:
    try:
        return reader.validate_python(text)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidValueException(detail=f"{name}: {problem}.") from None
