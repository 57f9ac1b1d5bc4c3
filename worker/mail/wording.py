"""How times, durations and people's names are written in a mail."""

import re
import unicodedata
from datetime import date, datetime
from zoneinfo import ZoneInfo

FALLBACK_LANGUAGE = "en"
"""The language of the packaged templates, used for everybody whose own language has no templates."""

_RIGHT_TO_LEFT = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "iw", "ks", "ps", "sd", "syr", "ug", "ur", "yi"})
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Control characters except line feed and tab, and everything that steers the direction of the text around it.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"


def direction(language: str) -> str:
    """Return "rtl" or "ltr" for a language tag such as "ar-EG" (script subtags such as "az-Arab" count)."""
    parts = language.replace("_", "-").lower().split("-")
    return "rtl" if parts[0] in _RIGHT_TO_LEFT or {"arab", "hebr", "syrc", "thaa"} & set(parts[1:]) else "ltr"


def fallbacks(locale: str) -> list[str]:
    """Return the languages to try for `locale`, dearest first: "fr_CA" gives fr-CA, fr."""
    parts = re.sub(r"[.@].*", "", locale).replace("_", "-").split("-")
    parts = [part for part in parts if part.isascii() and part.isalnum()]
    return ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]


def zone_from(name: str) -> ZoneInfo:
    """Return the time zone `name`; UTC for an unknown one, because the mail names the zone and stays true."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # no such file, no such name, a name that is a folder
        return ZoneInfo("UTC")


def moment(value: datetime, zone: str = "UTC", language: str = FALLBACK_LANGUAGE) -> str:
    """Return "Monday, 23 November 2026, 15:04 UTC"; in another language than English all figures, 2026-11-23 15:04."""
    if value.tzinfo is None:
        raise ValueError("a time in a mail needs a zone, this one has none")
    at = value.astimezone(zone_from(zone))
    shown = day(at, language)
    return f"{shown}{',' if _english(language) else ''} {at:%H:%M} {_zone_label(at)}"


def day(value: date, language: str = FALLBACK_LANGUAGE) -> str:
    """Return "Monday, 23 November 2026", or 2026-11-23 in another language than English."""
    if not _english(language):
        return f"{value:%Y-%m-%d}"
    return f"{_DAYS[value.weekday()]}, {value.day} {_MONTHS[value.month - 1]} {value.year}"


def duration(minutes: int, language: str = FALLBACK_LANGUAGE) -> str:
    """Return "60 minutes", "24 hours", "3 days" or "2 hours 5 minutes"; in another language "60 min", "24 h", "3 d"."""
    if minutes >= 2 * 1440 and minutes % 1440 == 0:
        pieces = [(minutes // 1440, "day", "d")]
    elif minutes >= 120:
        pieces = [(minutes // 60, "hour", "h"), (minutes % 60, "minute", "min")]
    else:
        pieces = [(minutes, "minute", "min")]
    kept = [piece for piece in pieces if piece[0]] or pieces
    if not _english(language):
        return " ".join(f"{count} {short}" for count, _, short in kept)
    return " ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name, _ in kept)


def isolated(name: str) -> str:
    """Return a name fit for the middle of a sentence: one line, and unable to turn the text around it.

    A name with right-to-left letters stands between U+2068 and U+2069 (Unicode's isolates), so that what follows it
    keeps its order; marks that steer the direction are taken out of every name.
    """
    name = _STEERING.sub("", _BLANKS.sub(" ", name)).strip()
    if any(unicodedata.bidirectional(letter) in {"R", "AL", "AN"} for letter in name):
        return f"{_ISOLATE}{name}{_END_ISOLATE}"
    return name


def harmless(text: str) -> str:
    """Return `text` without control characters and direction marks; lines and tabs stay."""
    return _STEERING.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _english(language: str) -> bool:
    return language.partition("-")[0] == FALLBACK_LANGUAGE


def _zone_label(at: datetime) -> str:
    offset = at.strftime("%z")
    shown = f"UTC{offset[:3]}:{offset[3:5]}"
    name = at.tzname() or ""
    if name in {"UTC", "GMT"} or (offset == "+0000" and not name.isalpha()):
        return name or "UTC"
    return f"{name} ({shown})" if name.isalpha() else shown
