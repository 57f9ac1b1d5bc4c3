"""How the directory writes down what a source says, so that the two can be compared; and which groups a feed may give."""

import re
from datetime import date
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.address import InvalidAddress, parse_address
from worker.directory.fields import Locale, Path, PersonName, Zone
from worker.feeds.declaration import Feed
from worker.jobs import fold
from worker.settings import Settings

_CHECKED: dict[str, TypeAdapter[Any]] = {
    "name": TypeAdapter(PersonName), "path": TypeAdapter(Path), "locale": TypeAdapter(Locale), "zone": TypeAdapter(Zone),
}  # fmt: skip


def as_said(name: str, said: Any, held: Any, settings: Settings) -> Any:
    """Return what the directory holds of a field, in the words of the source where both mean the same."""
    found = held.isoformat() if isinstance(held, date) else held
    if found == said or found is None or said is None:
        return found
    return said if _stored(name, str(said), settings) == found else found


def _stored(name: str, said: str, settings: Settings) -> str:
    """What the directory would make of it; itself where the directory would not take it."""
    try:
        if name == "email":
            return parse_address(said, allow_domains=settings.mail_domains).mailbox
        return str(_CHECKED[name].validate_python(said)) if name in _CHECKED else said
    except (InvalidAddress, ValidationError):
        return said


def declares(feed: Feed, group: str) -> bool:
    """Whether a rule of the feed names this group, placeholders filled in by whatever it may be."""
    return any(_pattern(template).fullmatch(fold(group)) for rule in feed.groups for template in rule.groups)


@lru_cache(1024)
def _pattern(template: str) -> "re.Pattern[str]":
    parts = re.split(r"\{[^{}]+\}", template)
    return re.compile(".+".join(re.escape(fold(part)) if part else "" for part in parts), re.DOTALL)
