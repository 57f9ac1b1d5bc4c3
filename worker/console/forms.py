"""Forms made from what a job takes: every field of its payload as an input, and what was typed as a payload again.

A form says only what somebody changed in it: a field left as it was shown is not given, so that an update leaves it
alone and a new account takes its default. A field that was emptied is cleared (null) where the job allows that.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.jobs import NameKind, Payload

# Texts that may be longer than this get several lines to type in.
LONG_TEXT = 500
# Empty rows for attributes to come; there is a button for more.
SPARE_ROWS = 3
# What somebody typed, or what stands in the inputs: texts by the inputs' names, as a browser sends them.
Typed = Mapping[str, Sequence[str]]

# Fields that jobs set for jobs of their own; nobody types them.
NOT_TYPED = frozenset({"left_at", "scheduled_for"})
# What one word does not say well.
LABELS = {
    "at": "When", "ids": "Only these ids", "all_but": "All but these ids", "all": "All of them", "email": "E-mail address",
    "zone": "Time zone", "locale": "Language", "hired_on": "Day of hire", "id": "Id",
}  # fmt: skip

_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)
_UNITS = {"s": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400,
          "w": 604_800, "week": 604_800}  # fmt: skip
_PART = re.compile(r"(\d{1,9})\s*([a-z]+?)s?(?:\s+|,\s*|$)")


@dataclass(frozen=True)
class Input:
    """One field as a person sees it. `kind` is how it is typed; `default` what stands in an empty form, as JSON value."""

    name: str
    kind: str
    label: str
    hint: str
    required: bool
    nullable: bool
    default: Any = None
    options: tuple[str, ...] = ()
    longest: int | None = None
    least: float | None = None
    most: float | None = None
    aware: bool = False


@dataclass(frozen=True)
class Filled:
    """An input with what stands in it, and what is wrong with that."""

    input: Input
    texts: Sequence[str]
    problem: str | None = None
    values: Sequence[str] = ()

    @property
    def text(self) -> str:
        """What stands in it, for inputs of one line."""
        return self.texts[0] if self.texts else ""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Names and values of attributes, with some empty rows."""
        return [*zip(self.texts, self.values, strict=False), *[("", "")] * SPARE_ROWS]


@dataclass(frozen=True)
class Read:
    """A form as it was read: the payload's fields as JSON values, and what could not be read, by field."""

    fields: dict[str, Any]
    problems: dict[str, str] = field(default_factory=dict)


class JobForm:
    """The form of one kind of job. `without`: fields that are fixed or make no sense here, such as the user."""

    def __init__(self, payload: type[Payload], *, without: Collection[str] = ()) -> None:
        """Read the inputs off the payload's schema."""
        self.payload = payload
        left_out = {*without, *payload.sealed_fields, *NOT_TYPED}
        self.inputs = tuple(one for one in _inputs(payload) if one.name not in left_out)

    # ---------------------------------------------------------------------------------------------- showing

    def texts(self, fields: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return what stands in the inputs when they show these fields (JSON values); the others show their defaults."""
        found: dict[str, list[str]] = {}
        for one in self.inputs:
            value = fields.get(one.name, one.default)
            if one.kind == "mapping":
                found[f"{one.name}.name"] = list(value or {})
                found[f"{one.name}.value"] = [attribute_text(part) for part in (value or {}).values()]
            else:
                found[one.name] = _texts_of(one, value)
        return found

    def filled(self, typed: Typed, problems: Mapping[str, str] | None = None) -> list[Filled]:
        """Return the inputs with what was typed, or is to be shown, and the problems beside their fields."""
        found = problems or {}
        return [
            Filled(one, typed.get(f"{one.name}.name", ()), found.get(one.name), typed.get(f"{one.name}.value", ()))
            if one.kind == "mapping" else Filled(one, typed.get(one.name, ()), found.get(one.name))
            for one in self.inputs
        ]  # fmt: skip

    def names(self) -> list[str]:
        """The names that the inputs have in the browser."""
        pairs = [(f"{one.name}.name", f"{one.name}.value") if one.kind == "mapping" else (one.name,) for one in self.inputs]
        return [name for names in pairs for name in names]

    # ---------------------------------------------------------------------------------------------- reading

    def read(self, typed: Typed, present: Mapping[str, Any] | None = None) -> Read:
        """Return the fields that somebody changed. `present`: the values that the form was filled with at first.

        Attributes shown with their present values become a merge patch (RFC 7396).
        """
        shown = present or {}
        fields, problems = {}, {}
        for one in self.inputs:
            before = shown.get(one.name, one.default)
            try:
                if one.kind == "mapping":
                    after = _attributes(typed.get(f"{one.name}.name", ()), typed.get(f"{one.name}.value", ()))
                    if change := patch_between(before or {}, after) if one.name in shown else after:
                        fields[one.name] = change
                    continue
                value = _value_of(one, typed.get(one.name, ()))
                same = value == _value_of(one, _texts_of(one, before))
            except ValueError as problem:
                problems[one.name] = str(problem)
                continue
            if not same:
                fields[one.name] = value
        return Read(fields, problems)

    def problems(self, fields: Mapping[str, Any], sealed: Mapping[str, str] | None = None) -> dict[str, str]:
        """Say what the job's payload refuses of these fields, by field; "" is the form as a whole."""
        try:
            self.payload.model_validate({**fields, **(sealed or {})})
        except ValidationError as error:
            found: dict[str, str] = {}
            for one in error.errors(include_url=False, include_input=False, include_context=False):
                name = str(one["loc"][0]) if one["loc"] else ""
                found.setdefault(name if name in self.payload.model_fields else "", _said(one["msg"], one["type"]))
            return found
        return {}


def _said(message: str, sort: str) -> str:
    """A problem in words for people; none of what was typed is repeated."""
    if sort == "missing":
        return "this is needed"
    return message.removeprefix("Value error, ").replace("String should have", "this has to have")


# ---------------------------------------------------------------------------------------------- off the schema


@cache
def _inputs(payload: type[Payload]) -> tuple[Input, ...]:
    schema = payload.model_json_schema(mode="validation")
    return tuple(_input(payload, name, schema) for name in payload.model_fields)


def _input(payload: type[Payload], name: str, schema: Mapping[str, Any]) -> Input:
    part = schema["properties"][name]
    choices = part.get("anyOf", [part])
    plain = next((one for one in choices if one.get("type") != "null"), part)
    info = payload.model_fields[name]
    default = None if info.is_required() else part.get("default", {} if plain.get("type") == "object" else None)
    return Input(
        name, _kind_of(plain), LABELS.get(name, name.replace("_", " ").capitalize()), (info.description or "").replace(" (ISO 8601, or seconds)", ""),
        required=info.is_required(), nullable=len(choices) > 1 and _takes_null(payload, name), default=default,
        options=tuple(plain.get("enum") or plain.get("items", {}).get("enum") or ()),
        longest=plain.get("maxLength"), least=plain.get("minimum"), most=plain.get("maximum"),
        aware="AwareDatetime" in repr(info.annotation),
    )  # fmt: skip


def _kind_of(part: Mapping[str, Any]) -> str:
    sort, form = part.get("type"), part.get("format")
    if "enum" in part:
        return "choice"
    if part.get("$ref", "").endswith("/UserRef"):
        return "user"
    if sort == "array":
        return "choices" if "enum" in part.get("items", {}) else "list"
    if sort == "string":
        special = {"date": "date", "date-time": "moment", "duration": "duration"}.get(str(form))
        return special or ("long" if part.get("maxLength", 0) > LONG_TEXT else "text")
    return {"boolean": "bool", "integer": "number", "number": "number", "object": "mapping"}[str(sort)]


def _takes_null(payload: type[Payload], name: str) -> bool:
    """Whether null means something for this field: the schema may allow it and a rule of the payload refuse it."""
    try:
        payload.model_validate({name: None})
    except ValidationError as error:
        return not any(one["loc"][:1] == (name,) for one in error.errors(include_input=False, include_context=False))
    return True


# ------------------------------------------------------------------------------------------- value ⇄ what is typed


def _texts_of(one: Input, value: Any) -> list[str]:
    """What stands in an input that shows this JSON value."""
    if one.kind in {"list", "choices"}:
        lines = [str(part) for part in value or ()]
        return lines if one.kind == "choices" else ["\n".join(lines)]
    if value is None:
        return [""]
    if one.kind == "bool":
        return ["true" if value else "false"]
    if one.kind == "duration":
        return [duration_text(_DURATION.validate_python(value))]
    if one.kind == "user":
        return [user_text(value)]
    if one.kind == "moment" and one.aware:
        return [datetime.fromisoformat(value).astimezone(UTC).replace(tzinfo=None).isoformat()]
    return [str(value)]


def _value_of(one: Input, typed: Sequence[str]) -> Any:
    """Return the JSON value of what was typed. Raises ValueError in words for the person."""
    if one.kind == "choices":
        return list(typed) or (None if one.nullable else [])
    if one.kind == "bool" and not typed:
        return None if one.default is None else False  # a box that is not ticked sends nothing
    text = (typed[-1] if typed else "").replace("\r\n", "\n")
    if one.kind == "list":
        return [line.strip() for line in text.split("\n") if line.strip()]
    if one.kind not in {"text", "long", "choice"}:
        text = text.strip()
    if text == "":
        return None if one.nullable or one.kind not in {"text", "long"} else ""
    if one.kind == "bool":
        return text == "true"
    if one.kind == "number":
        return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else text
    if one.kind == "duration":
        return _DURATION.dump_python(duration_of(text), mode="json")
    if one.kind == "user":
        return user_of(text)
    if one.kind == "moment" and one.aware:
        return _aware(text)
    return text


def _aware(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text  # the payload says what is wrong with it
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).isoformat()


def duration_text(value: timedelta) -> str:
    """Return a length of time in words: 90 days, 1 hour 30 minutes."""
    seconds, parts = round(value.total_seconds()), []
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'s' if count != 1 else ''}")
    return " ".join(parts) or "0 days"


def duration_of(text: str) -> timedelta:
    """Return the length of time that words, or ISO 8601 (P30D), name. Raises ValueError; a bare number has no unit."""
    plain = text.strip().lower()
    try:
        if plain.lstrip("+-").startswith("p"):
            return _DURATION.validate_python(text.strip().upper())
        found = _PART.findall(plain)
        if found and _PART.sub("", plain) == "":
            return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in found))
    except (KeyError, ValidationError, OverflowError):
        pass
    raise ValueError("a length of time has a unit: 30 days, 12 hours, or P30D")


def user_text(ref: Mapping[str, str] | str) -> str:
    """Return a user as people name one: a username, else external_id:… or id:…."""
    if isinstance(ref, str):
        return ref
    kind, value = next(iter(ref.items()))
    plain = kind == NameKind.USERNAME and value.partition(":")[0] not in {"id", "external_id", "username"}
    return value if plain else f"{kind}:{value}"


def user_of(text: str) -> dict[str, str]:
    """Return the user that somebody names, as payloads do."""
    kind, colon, value = text.partition(":")
    if colon and kind in {"id", "external_id", "username"} and value:
        return {kind: value}
    return {"username": text}


# -------------------------------------------------------------------------------------------------- attributes


def attribute_text(value: Any) -> str:
    """Return an attribute's value as it is typed: text as it is unless it would be read as something else, else JSON."""
    if isinstance(value, str) and value.isprintable() and value == value.strip() and _attribute_value(value) == value and value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _attribute_value(text: str) -> Any:
    def no_number(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError):
        return text


def _attributes(names: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    """Return attributes from their rows; a row without a value is none."""
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=False):
        if not value.strip():
            continue
        if not name.strip():
            raise ValueError("there is a value without a name")
        if name.strip() in found:
            raise ValueError(f"there are two rows called {name.strip()}")
        found[name.strip()] = _attribute_value(value.strip())
    return found


def patch_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch (RFC 7396) that makes `after` of `before`."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        known = before.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            if inner := patch_between(known, value):
                patch[name] = inner
        elif name not in before or json.dumps(known, sort_keys=True) != json.dumps(value, sort_keys=True):  # 0 is not false
            patch[name] = value
    return patch
