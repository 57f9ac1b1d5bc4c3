"""What a source says about a person: fields with the moment from which they hold, merged so that order does not matter."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: What a record may say about a person. Values are JSON: text, dates as YYYY-MM-DD, groups as a list of names.
#: Besides these there is `attributes.NAME` for every free attribute, whose value is text.
FIELDS: Mapping[str, str] = {
    "status": "prehire, active, leave, terminated, retired, deceased or rescinded",
    "reason": "why the person leaves, in the source's words",
    "hired_on": "day of hire; a newer one lets somebody deleted come back",
    "start_date": "first day of work",
    "last_day": "last day of work, or end of contract: access ends when it is over",
    "leave_from": "first day of a leave of absence",
    "leave_to": "last day of a leave of absence",
    "manager": "external id of the manager in the same source",
    "first": "first name", "middle": "middle name", "last": "last name", "name": "full name as shown",
    "email": "address that mails go to",
    "username": "the username, where the source gives it",
    "type": "internal, external or service_account",
    "path": "where the account is filed",
    "locale": "language tag",
    "zone": "time zone (IANA)",
    "groups": "names of groups, where the source lists them",
}  # fmt: skip
#: What a record says besides: whose it is, and how new.
KEYS: Mapping[str, str] = {
    "external_id": "the person's id in the source; text, compared exactly",
    "sequence": "a number that grows with every change of the record",
    "modified": "when the record was changed",
    "effective_on": "the day from which the record holds",
}
DATES = frozenset({"hired_on", "start_date", "last_day", "leave_from", "leave_to"})
ATTRIBUTE = "attributes."

# (effective, order): microseconds since 1970 from which it holds, 0 for at once; and the sequence number, else the
# time of change or of arrival in microseconds. The larger one is newer.
Stamp = tuple[int, int]
# The stamp of all fields that have none of their own.
ALL = "*"


@dataclass(frozen=True, slots=True)
class Statement:
    """One record, read and checked: what it says about whom, and how new that is.

    `fields` holds only what the record claims: an empty cell that is to be ignored is left out, one that clears is None.
    `digest`: 32 hexadecimal digits over the record as it came and the declaration of its feed. `place`: line or number.
    """

    external_id: str
    place: int
    stamp: Stamp
    fields: Mapping[str, Any]
    digest: str
    raw: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that was not taken: whose it is as far as could be read, and what is wrong with it, for a person.

    `text` names the column and what to do; the file and line are put before it by whoever shows it.
    """

    external_id: str
    place: int
    code: str
    text: str
    raw: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """All that a source has said about one person and that still matters."""

    fields: Mapping[str, Any]
    stamps: Mapping[str, Stamp]
    later: tuple[tuple[Stamp, Mapping[str, Any]], ...] = ()


NOTHING = Claims({}, {})


def hear(claims: Claims, stamp: Stamp, fields: Mapping[str, Any], now: int) -> Claims:
    """Return the claims with one more statement. The order of hearing, and hearing twice, make no difference.

    `now`: microseconds since 1970. What takes effect later waits; of each field the newest word holds; of two equally
    new ones the one whose JSON text is greater, so that everybody chooses the same.
    """
    if not fields:
        return claims
    if stamp[0] > now:
        waiting = (stamp, dict(fields))
        if waiting in claims.later:
            return claims
        return Claims(claims.fields, claims.stamps, tuple(sorted((*claims.later, waiting), key=_place)))
    return _take(claims, stamp, fields)


def ripen(claims: Claims, now: int) -> Claims:
    """Return the claims at a moment: what was to take effect by now has done so."""
    for stamp, fields in claims.later:
        if stamp[0] <= now:
            claims = _take(claims, stamp, fields)
    return Claims(claims.fields, claims.stamps, tuple(one for one in claims.later if one[0][0] > now))


def _take(claims: Claims, stamp: Stamp, fields: Mapping[str, Any]) -> Claims:
    if not claims.fields or (not claims.stamps.keys() - {ALL} and stamp > claims.stamps[ALL] and claims.fields.keys() <= fields.keys()):
        return Claims(dict(fields), {ALL: stamp}, claims.later)
    common = claims.stamps.get(ALL, (0, 0))
    merged, stamps = dict(claims.fields), {name: claims.stamps.get(name, common) for name in claims.fields}
    for name, value in fields.items():
        known = stamps.get(name)
        if known is None or stamp > known or (stamp == known and _greater(value, merged[name])):
            merged[name], stamps[name] = value, stamp
    return Claims(merged, _packed(stamps), claims.later)


def _packed(stamps: Mapping[str, Stamp]) -> dict[str, Stamp]:
    """Say once what most fields have in common."""
    counts: dict[Stamp, int] = {}
    for stamp in stamps.values():
        counts[stamp] = counts.get(stamp, 0) + 1
    common = max(counts, key=lambda stamp: (counts[stamp], stamp))
    return {ALL: common} | {name: stamp for name, stamp in sorted(stamps.items()) if stamp != common}


def _greater(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) > json.dumps(other, sort_keys=True)


def _place(waiting: tuple[Stamp, Mapping[str, Any]]) -> tuple[Stamp, str]:
    return waiting[0], json.dumps(waiting[1], sort_keys=True)
