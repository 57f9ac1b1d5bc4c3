"""Birthright groups: which groups somebody gets by what the source says of them, and by which rule."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from worker.feeds.declaration import Feed

# Whoever is about to start has the groups already, so that the first day works; whoever is on leave keeps them.
WITH_GROUPS = frozenset({"prehire", "active", "leave"})
# Stands in `when` for anything at all.
ANYTHING = "*"
# Groups that the source lists itself have this for a rule.
COLUMN = "column"

_PLACE = re.compile(r"\{([^{}]+)\}")


def birthright(feed: Feed, fields: Mapping[str, Any], phase: str) -> dict[str, str]:
    """Return the groups that somebody should be in: name -> the rule that says so; of several the first one declared.

    A rule is for whoever has, in every field named in `when`, one of its values: exactly as written, of a list any
    one, and `*` for any that is not empty. A group whose name has a placeholder for a missing field is left out.
    """
    if phase not in WITH_GROUPS:
        return {}
    found: dict[str, str] = {}
    for rule in feed.groups:
        for name, values in rule.when.items():
            if not _holds(fields.get(name), values):
                break
        else:
            for template in rule.groups:
                group = filled(template, fields) if "{" in template else template
                if group:
                    found.setdefault(group, rule.rule)
    for group in fields.get("groups") or ():
        found.setdefault(group, COLUMN)
    return found


def filled(template: str, fields: Mapping[str, Any]) -> str | None:
    """Return a template with its {field} placeholders filled in; None when one of these fields has no text."""
    parts = list(_parts(template))
    for place in range(1, len(parts), 2):
        value = fields.get(parts[place])
        if not isinstance(value, str) or not value:
            return None
        parts[place] = value
    return "".join(parts)


@lru_cache(1024)
def _parts(template: str) -> tuple[str, ...]:
    """The template cut up: text, name of a field, text, name of a field, …, text."""
    return tuple(_PLACE.split(template))


def _holds(value: Any, values: tuple[str, ...]) -> bool:
    if not value:
        return False
    if ANYTHING in values:
        return True
    return any(one in values for one in value) if isinstance(value, list) else value in values
