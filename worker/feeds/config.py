"""Reading the feeds of muster.toml: every mistake with its line, its key and what would be right."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from worker.feeds.claims import FIELDS, KEYS
from worker.feeds.declaration import Feed, Take
from worker.feeds.sense import Problem, all_of, authorities, hint, mistakes, one_of
from worker.feeds.where import Key, line_of, lines_of
from worker.settings import Settings

# In `Feed.before_me`: somebody unnamed has the say, so this source never writes the field.
NEVER = "*"
# Filled in by us, not by who declares.
_OURS = ("name", "before_me")
# What stands in for a missing or wrong key that is needed, so that the rest can be looked at as well.
_STAND_INS: Mapping[str, Any] = {"mode": "delta"}
# Taking out what is wrong may lay bare what else is wrong, a level deeper each time.
_ROUNDS = 5
# A value that is longer is cut where it is quoted.
LONGEST_SHOWN = 60
# Keys that TOML takes without quotes.
BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class WrongFeed(Exception):
    """A feed is declared wrongly. The message has one line for each mistake: file, line, key, and what would be right."""


def load_feeds(settings: Settings) -> dict[str, Feed]:
    """Return the declared feeds by their names; where they name no zone, with that of the settings.

    Raises WrongFeed with all mistakes at once.
    """
    problems: list[Problem] = []
    feeds: dict[str, Feed] = {}
    for name, raw in settings.feeds.items():
        feed, wrong = _feed(name, raw, _before(name, settings.authority), settings.zone)
        problems += (Problem(("feeds", name, *key), text) for key, text in wrong)
        if feed is not None:
            feeds[name] = feed
    problems += (Problem(("authority", *key), text) for key, text in authorities(settings.authority, settings.feeds))
    if problems:
        raise WrongFeed("\n".join(_in_order(problems, settings.declared_in)))
    return feeds


def _before(name: str, authority: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return which sources come before this one, for each field of which others have the say."""
    ranks = {
        field: names[: names.index(name)] if name in names else (NEVER,) for field, names in sorted(authority.items())
    }
    return {field: before for field, before in ranks.items() if before}


def _feed(name: str, raw: object, before_me: Mapping[str, tuple[str, ...]], zone: str) -> tuple[Feed | None, list[Problem]]:
    if not isinstance(raw, Mapping):
        return None, [Problem((), f"takes a table: write [feeds.{name}] on a line of its own")]
    declared = _undotted(raw)
    mapped = _mapped(declared)
    problems = [Problem((key,), _no_key(key, Feed)) for key in _OURS if key in declared]
    given = {key: value for key, value in declared.items() if key not in _OURS}
    for _ in range(_ROUNDS):
        try:
            feed = Feed.model_validate({"zone": zone, **given, "name": name, "before_me": before_me})
        except ValidationError as error:
            found = [Problem(_key(one["loc"]), _sentence(one)) for one in error.errors()]
            problems += found
            for problem in found:
                _take_out(given, problem.key)
        else:
            break
    else:
        return None, problems
    known = [problem.key for problem in problems]
    problems += (one for one in mistakes(feed, mapped) if not any(_same_branch(one.key, key) for key in known))
    return feed, problems


def _mapped(declared: Mapping[str, Any]) -> set[str]:
    """Return the fields for which something is declared: what is declared wrongly is not missed as well."""
    columns = declared.get("columns", {})
    if isinstance(columns, Mapping):
        return set(columns)
    return {name for name in (*FIELDS, *KEYS) if name != "status" or "status" in declared}


def _same_branch(one: Key, other: Key) -> bool:
    """Whether a key is the other or stands around or in it: then one mistake may be the cause of the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter] and (shorter > 0)


def _undotted(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which `attributes.x` written without quotes, a table in a table, is the one key it is meant to be."""
    copied = {key: _copy(value) for key, value in raw.items()}
    if isinstance(copied.get("columns"), dict):
        copied["columns"] = _flat(copied["columns"])
    if isinstance(copied.get("groups"), list):
        for rule in copied["groups"]:
            if isinstance(rule, dict) and isinstance(rule.get("when"), dict):
                rule["when"] = _flat(rule["when"])
    return copied


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    inner = table.get("attributes")
    if not isinstance(inner, Mapping) or inner.keys() & Take.model_fields.keys():
        return dict(table)
    rest = {key: value for key, value in table.items() if key != "attributes"}
    return rest | {f"attributes.{key}": value for key, value in inner.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _key(loc: Sequence[str | int]) -> Key:
    return tuple(part for part in loc if part != "[key]")


def _take_out(given: dict[str, Any], key: Key) -> None:
    """Take out what is wrong, or put in what is missing. Of a list the whole goes, so that its numbers stay true."""
    at, part = given, str(key[0])
    for inner in map(str, key[1:]):
        if not isinstance(at.get(part), dict):
            break
        at, part = at[part], inner
    if at is given and part in _STAND_INS:
        at[part] = _STAND_INS[part]
    else:
        at.pop(part, None)


# --------------------------------------------------------------------------------------------------- sentences


def _sentence(error: Mapping[str, Any]) -> str:
    """Say what pydantic found in an administrator's words: what is taken, and what was given."""
    kind, facts = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _no_key(str(error["loc"][-1]), _model(error["loc"][:-1]))
    if kind == "missing":
        return "is missing" + _WHAT_FOR.get(error["loc"], "")
    if error["loc"][0] == "webhook":
        return _accepted(kind, facts, error)  # what was given may be a secret
    given = repr(error["input"])
    shown = given if len(given) <= LONGEST_SHOWN else f"{given[:LONGEST_SHOWN]}…"
    return f"{_accepted(kind, facts, error)} (given: {shown})"


_WHAT_FOR: Mapping[Key, str] = {
    ("mode",): "; it is full, delta or event",
}


def _accepted(kind: str, facts: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    if error["loc"] == ("groups",):
        return "takes a list of rules: head each with a line [[feeds.SOURCE.groups]], in double brackets"
    if error["loc"][-1] == "delete_days" and kind.startswith("int"):
        return 'takes a whole number of days, or "never"'
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", facts["expected"])
        return f"takes {one_of(words)}"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**facts)
    if kind == "value_error":
        return str(facts["error"])
    if kind.startswith("model") and _model(error["loc"]) is Take:
        return "takes the name of a column in quotes, or a table such as { column = \"Name\", default = \"-\" }"
    return next((words for beginning, words in _TYPES.items() if kind.startswith(beginning)), str(error["msg"]))


_BOUNDS: Mapping[str, str] = {
    "greater_than_equal": "takes a number of at least {ge:g}",
    "less_than_equal": "takes a number of at most {le:g}",
    "string_too_short": "takes at least {min_length} character",
    "string_too_long": "takes at most {max_length} character",
}
_TYPES: Mapping[str, str] = {
    "string": "takes text in quotes",
    "tuple": "takes a list, such as [\"one\", \"another\"]",
    "int": "takes a whole number",
    "float": "takes a number",
    "bool": "takes true or false",
    "dict": "takes a table, such as { key = \"value\" }",
    "model": "takes a table, such as { key = \"value\" }",
    "finite": "takes a number",
}


def _no_key(key: str, model: type[BaseModel]) -> str:
    known = [name for name in model.model_fields if model is not Feed or name not in _OURS]
    return "there is no such key" + hint(key, known, f"there are {all_of(known)}")


def _model(loc: Sequence[str | int]) -> type[BaseModel]:
    """Return the part of a declaration that a place holds: of ("columns", "email") it is Take."""
    model: type[BaseModel] = Feed
    parts = iter(loc)
    for part in parts:
        annotation = model.model_fields[str(part)].annotation
        model = _parts_of(annotation)[0]
        if annotation not in (model, model | None):
            next(parts)  # the key of the table or the number in the list
    return model


def _parts_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for inner in get_args(annotation) for part in _parts_of(inner)]


# ------------------------------------------------------------------------------------------------------- lines


def _in_order(problems: Iterable[Problem], file: Path | None) -> list[str]:
    """Return the lines of a message, in the order of the file."""
    lines = _lines(file)
    found = sorted((line_of(key, lines) or 0, f"{_dotted(key)}: {text}") for key, text in dict.fromkeys(problems))
    return [f"{file} line {line}: {text}" if line else f"{file}: {text}" if file else text for line, text in found]


def _lines(file: Path | None) -> dict[Key, int]:
    """Return where the keys stand; nothing when the file has gone or changed so that it cannot be read any more."""
    try:
        text = file.read_text(encoding="utf-8") if file else ""
        tomllib.loads(text)
    except (OSError, ValueError):
        return {}
    lines = lines_of(text)
    return {_joined(key): line for key, line in lines.items()} | lines


def _joined(key: Key) -> Key:
    """Return the key with `attributes` and the name after it as the one key that they are meant to be."""
    at = key.index("attributes") if "attributes" in key[:-1] else None
    return key if at is None else (*key[:at], f"attributes.{key[at + 1]}", *key[at + 2 :])


def _dotted(key: Key) -> str:
    """Write a key as in the file; what is in a list has its number, from 1."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if BARE.fullmatch(part) else f'."{part}"'
    return text.removeprefix(".")
