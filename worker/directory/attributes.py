"""Free attributes of users and groups: read from JSON or YAML, changed by JSON merge patch."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

# Muster's own marks live below this prefix, in attributes and in paths; no job may write there.
RESERVED = "muster.internal/"
# Attributes ride along with every read of a user; what is bigger belongs in a system of its own.
LARGEST_BYTES = 64 * 1024
# Deeper nesting is a mistake or an attack: JSON parsers of those who read us give up somewhere beyond.
DEEPEST = 20


def parse(given: object) -> dict[str, Any]:
    """Return attributes given as an object, or as JSON or YAML text, as plain JSON values.

    YAML is read as its version 1.2 does (`country: NO` is Norway, dates stay text); aliases are refused.
    Raises ValueError with what is wrong.
    """
    found = _read(given) if isinstance(given, str) else given
    if found is None:
        found = {}
    if not isinstance(found, Mapping):
        raise ValueError("attributes must be an object (names with values)")  # noqa: TRY004 (pydantic reports ValueError)
    plain = {_name(name): _plain(value, 1) for name, value in found.items()}
    for name in plain:
        if name.casefold().startswith(RESERVED):
            raise ValueError(f"attributes below {RESERVED} are kept for Muster itself")
    if len(json.dumps(plain, ensure_ascii=False).encode()) > LARGEST_BYTES:
        raise ValueError(f"attributes may take {LARGEST_BYTES // 1024} KiB at most")
    return plain


def merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `target` changed by `patch` as RFC 7396 says: null removes, objects merge, all else replaces."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"attributes may be nested {DEEPEST} deep at most")
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("attributes cannot hold NaN or infinity")
        return value
    if isinstance(value, Mapping):
        return {_name(name): _plain(part, depth + 1) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(part, depth + 1) for part in value]
    raise ValueError(f"attributes cannot hold a value of the kind {type(value).__name__}")


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError("attribute names must be texts that are not empty; put others in quotes")
    return _text(name)


def _text(text: str) -> str:
    """Refuse what a database cannot keep: the NUL character and halves of a surrogate pair."""
    if "\0" in text:
        raise ValueError("attributes cannot hold the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("attributes cannot hold half a surrogate pair") from None
    return text


def _read(text: str) -> object:
    if len(text) > LARGEST_BYTES:
        raise ValueError(f"attributes may take {LARGEST_BYTES // 1024} KiB at most")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506 (a SafeLoader with less in it)
    except (yaml.YAMLError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        said = getattr(problem, "problem", None) or "it cannot be read"
        raise ValueError(f"attributes are neither JSON nor YAML: {said}{where}") from None


@cache
def _loader() -> Any:
    """A YAML loader that knows JSON's values only and no aliases, which can blow up a short text to gigabytes."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's own way of saying it)

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases")
            return super().compose_node(parent, index)

    for tag, pattern, first in (
        ("bool", r"^(?:true|false)$", "tf"),
        ("null", r"^(?:null|~|)$", ["n", "~", ""]),
        ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
        ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))
    return Loader
