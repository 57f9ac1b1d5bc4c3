"""SCIM users and HR messages: what other programs send, laid out so that a declared column finds its value by a path."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from worker.feeds.values import shown
from worker.redact import unstorable

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

# RFC 7643, sections 4.1 and 4.3. Names are compared without regard to case (section 2.1); here they get this one.
ATTRIBUTES = (
    "id", "externalId", "userName", "name", "displayName", "nickName", "profileUrl", "title", "userType",
    "preferredLanguage", "locale", "timezone", "active", "emails", "phoneNumbers", "addresses", "groups", "roles",
    "entitlements", "meta", "schemas",
)  # fmt: skip
NAME_PARTS = ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")
ENTERPRISE_ATTRIBUTES = ("employeeNumber", "costCenter", "organization", "division", "department", "manager")
# How clients write `active`: RFC 7643 says true and false, Entra sends "True" and "False", others numbers and words.
ACTIVE = frozenset({"true", "yes", "1", "active"})
INACTIVE = frozenset({"false", "no", "0", "inactive"})

MESSAGES = frozenset({"onboard", "transfer", "offboard", "person.changed"})
LONGEST_MESSAGE_ID = 255
#: Paths that messages get besides their own keys, and that a feed of messages falls back on.
STATUS, OCCURRED_AT = "$status", "$occurred_at"


class Missing:
    """There is nothing at the path: not even an empty value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


class BadRecord(ValueError):
    """A record that is none: `code` (see codes.CODES), and `text` for a person."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


# ---------------------------------------------------------------------------------------------------------- paths


def finder(path: str) -> Callable[[Any], Any]:
    """Return what finds the value at a path: `name.givenName`, `emails.0.value`, `emails[type=work].value`, `urn:…:User.x`.

    At each step the longest key that is there literally goes first, so keys may hold dots. What is not there is MISSING.
    """

    def find(value: Any) -> Any:
        if isinstance(value, Mapping) and path in value:
            return value[path]
        return _below(value, path)

    return find


def _below(value: Any, path: str) -> Any:
    for key, chosen, rest in _ways(path):
        found = _step(value, key)
        if chosen is not None:
            found = _choose(found, *chosen)
        if found is not MISSING and rest:
            found = _below(found, rest)
        if found is not MISSING:
            return found
    return MISSING


def _step(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    if isinstance(value, list) and key.isdecimal() and key.isascii():
        return value[int(key)] if len(key) < 6 and int(key) < len(value) else MISSING
    return MISSING


def _choose(value: Any, name: str, wanted: str) -> Any:
    """Return the first object of a list whose member `name` is the wanted text, in any case."""
    for one in value if isinstance(value, list) else ():
        if isinstance(one, Mapping) and str(one.get(name, "")).casefold() == wanted:
            return one
    return MISSING


@lru_cache(maxsize=1024)
def _ways(path: str) -> tuple[tuple[str, tuple[str, str] | None, str], ...]:
    """Return the ways to take the first step of a path, longest key first: (key, (member, its value) or None, rest)."""
    ends, inside = [len(path)], False
    for place, letter in enumerate(path):
        inside = (inside or letter == "[") and letter != "]"
        if letter == "." and not inside:
            ends.append(place)
    ways: list[tuple[str, tuple[str, str] | None, str]] = []
    for end in sorted(ends, reverse=True):
        key, rest = path[:end], path[end + 1 :]
        ways.append((key, None, rest))
        if key.endswith("]") and "[" in key:
            list_name, _, test = key[:-1].rpartition("[")
            name, _, wanted = test.replace(" eq ", "=").partition("=")
            ways.append((list_name, (name.strip(), wanted.strip().strip("\"'").casefold()), rest))
    return tuple(ways)


# ----------------------------------------------------------------------------------------------------------- SCIM


@dataclass(frozen=True, slots=True)
class ScimPerson:
    """A SCIM user as the columns of a feed see it, and what was odd about it but could be understood.

    Besides the attributes of RFC 7643, in the RFC's own spelling, and every extension under its URN, `value` holds:
    `$status` (active or inactive), `$manager` (the id), `$email`, `$phone` (the primary one, else that of work, else the
    first), `$mobile`, and `enterprise` (the enterprise extension under a short name).
    """

    value: Mapping[str, Any]
    oddities: tuple[str, ...] = ()


def scim_records(document: Any) -> Sequence[Any]:
    """Return the operations of a BulkRequest (RFC 7644, section 3.7), the users of a list, or the one user given."""
    if isinstance(document, list):
        return document
    if not isinstance(document, Mapping):
        raise BadRecord("not_an_object", "The document is no SCIM BulkRequest, no user and no list of users. Check what was sent.")
    for name, value in document.items():
        if name.casefold() in ("operations", "resources"):
            if isinstance(value, list):
                return value
            raise BadRecord("bad_value", f"“{name}” is not a list. Send the people as a list of objects.")
    return [document]


def read_scim(record: Any, bulk_ids: set[str]) -> ScimPerson:
    """Return the person in one operation of a BulkRequest, or in a plain User resource.

    `bulk_ids` collects the bulkIds seen so far. Raises BadRecord for what cannot be taken, saying which flaw it has.
    """
    if not isinstance(record, Mapping):
        raise BadRecord("not_an_object", "The operation is no object. Send one object per person.")
    operation = {name.casefold(): value for name, value in record.items()}
    if not ("method" in operation or "bulkid" in operation or "data" in operation):
        return _person(record, [])
    odd: list[str] = []
    method, path = operation.get("method"), operation.get("path")
    if not isinstance(method, str) or method.upper() != "POST":
        raise BadRecord("bad_operation", f"The method is {_value(method)}, but a feed takes POST alone: it is told how the whole "
                                         "person is, and finds out by itself what to do. To end access send active: false.")  # fmt: skip
    if path is None:
        odd.append("the operation has no path; /Users is meant")
    elif not isinstance(path, str) or path.casefold().strip("/") != "users":
        raise BadRecord("bad_operation", f"The path is {_value(path)}, but a feed takes people alone. Send them to /Users.")
    elif path != "/Users":
        odd.append(f"the path is {_value(path)} where SCIM says “/Users”")
    bulk_id = operation.get("bulkid")
    if isinstance(bulk_id, str) and bulk_id in bulk_ids:
        odd.append(f"the bulkId {_value(bulk_id)} stands on several operations")
    elif isinstance(bulk_id, str) and bulk_id:
        bulk_ids.add(bulk_id)
    else:
        odd.append("the operation has no bulkId")
    data = operation.get("data")
    if data is None:
        raise BadRecord("bad_operation", "The operation has no data. Put the whole person there.")
    if not isinstance(data, Mapping):
        raise BadRecord("not_an_object", "The data of the operation is no object. Put the whole person there.")
    return _person(data, odd)


def _person(user: Mapping[str, Any], odd: list[str]) -> ScimPerson:
    value = _spelt(_own(user), (*ATTRIBUTES, ENTERPRISE, CORE), odd)
    core = value.pop(CORE, None)
    if isinstance(core, Mapping):
        value = _spelt(core, ATTRIBUTES, odd) | value
    if isinstance(value.get("name"), Mapping):
        value["name"] = _spelt(value["name"], NAME_PARTS, odd)
    if isinstance(value.get(ENTERPRISE), Mapping):
        value[ENTERPRISE] = value["enterprise"] = _spelt(value[ENTERPRISE], ENTERPRISE_ATTRIBUTES, odd)
        if "manager" in value[ENTERPRISE]:
            value["$manager"] = _manager(value[ENTERPRISE]["manager"])
    if "manager" in value and "$manager" not in value:
        value["$manager"] = _manager(value["manager"])
        odd.append("the manager stands outside the enterprise extension")
    if value.get("resourceType") is not None:
        odd.append("“resourceType” is no attribute of a user")
    if value.get("active") is not None:
        value[STATUS] = _activity(value["active"], odd)
    for name, path, kinds in (("$email", "emails", ("", "work")), ("$phone", "phoneNumbers", ("", "work")),
                              ("$mobile", "phoneNumbers", ("mobile",))):  # fmt: skip
        found = _preferred(value.get(path), kinds)
        if found is not MISSING:
            value[name] = found
    return ScimPerson(value, tuple(odd))


def _own(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without names that begin with $: those are ours, and nobody else's word."""
    return {name: value for name, value in given.items() if not name.startswith("$")}


def _spelt(given: Mapping[str, Any], names: Sequence[str], odd: list[str]) -> dict[str, Any]:
    """Return an object with its known names as the RFC spells them."""
    right = {name.casefold(): name for name in names}
    spelt: dict[str, Any] = {}
    for name, value in given.items():
        proper = right.get(name.casefold(), name)
        if proper != name:
            odd.append(f"“{shown(name)}” is written “{proper}” in SCIM")
            if proper in given:
                continue
        spelt[proper] = value
    return spelt


def _manager(value: Any) -> Any:
    """Return the id of a manager: RFC 7643 has {"value": id}, Entra sends the bare id, others a list of one."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value.get("value") if isinstance(value, Mapping) else value


def _activity(active: Any, odd: list[str]) -> Any:
    if not isinstance(active, bool):
        odd.append(f"“active” is {_value(active)} where SCIM says true or false")
    word = str(active).strip().casefold() if isinstance(active, (bool, str)) or active in (0, 1) else None
    if word in ACTIVE:
        return "active"
    # A word that nobody knows goes on as it is, and is refused as an unknown status.
    return "inactive" if word in INACTIVE else active


def _preferred(many: Any, kinds: Sequence[str]) -> Any:
    """Return the value of the primary entry (for the kind ""), else of the first of a kind, else of the very first."""
    entries = [one for one in many if isinstance(one, Mapping) and one.get("value")] if isinstance(many, list) else []
    for kind in kinds:
        for one in entries:
            if str(one.get("type", "")).casefold() == kind if kind else one.get("primary") in (True, "true", "True"):
                return one["value"]
    return entries[0]["value"] if entries and "" in kinds else MISSING


# ------------------------------------------------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class Message:
    """A message of an HR system. `person` holds what it says, and as `$status` and `$occurred_at` what its type and time say.

    `occurred_at` is as it was written, with an offset if it has one; without one it is the time on the wall of the source.
    """

    id: str | None
    type: str
    occurred_at: datetime | None
    person: Mapping[str, Any]
    source: str | None = None


def read_message(raw: str | bytes) -> Message:
    """Return a message, or raise BadRecord with what is wrong about it.

    An offboarding says terminated and an onboarding says active, as far as the person's own status does not say more.
    """
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        where = f" at line {problem.lineno}, column {problem.colno}" if isinstance(problem, json.JSONDecodeError) else ""
        raise BadRecord("bad_json", f"The message is not JSON{where}. Send one object.") from None
    if not isinstance(given, Mapping):
        raise BadRecord("not_an_object", "The message is JSON but no object. Send one object with type and person.")
    problem_text = unstorable(given)
    if problem_text is not None:
        raise BadRecord("bad_json", f"The message cannot be stored: {problem_text}. Correct it where it is made.")
    kind, person = given.get("type"), given.get("person")
    if kind not in MESSAGES if isinstance(kind, str) else True:
        raise BadRecord("bad_message", f"The message's type is {_value(kind)}. It must be one of {', '.join(sorted(MESSAGES))}.")
    if not isinstance(person, Mapping):
        raise BadRecord("bad_message", "The message has no person. Put an object “person” with the id and what is said.")
    occurred_at = _occurred_at(given.get("occurred_at"))
    implied: dict[str, Any] = {}
    if kind in ("offboard", "onboard"):
        implied[STATUS] = "terminated" if kind == "offboard" else "active"
    if occurred_at is not None:
        implied[OCCURRED_AT] = occurred_at.isoformat()
    source = given.get("source")
    return Message(
        id=_message_id(given.get("id")), type=str(kind), occurred_at=occurred_at, person=_own(person) | implied,
        source=source if isinstance(source, str) else None,
    )  # fmt: skip


def _message_id(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return str(value)
    if not isinstance(value, str) or len(value) > LONGEST_MESSAGE_ID:
        raise BadRecord("bad_message", f"The message's id is {_value(value)}. It must be a text of at most "
                                       f"{LONGEST_MESSAGE_ID} characters, the same when the message is sent again.")  # fmt: skip
    return value


def _occurred_at(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None:
        raise BadRecord("bad_message", f"The message's occurred_at is {_value(value)}. Write it as 2026-01-31T12:00:00Z.")
    return moment


def _value(value: Any) -> str:
    """A value as an error repeats it."""
    if value is None:
        return "missing"
    return f"“{shown(value)}”" if isinstance(value, str) else shown(json.dumps(value, ensure_ascii=False, default=str)[:200])
