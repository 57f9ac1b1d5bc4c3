"""What each field about a person may hold, said once for every job that takes it."""

import re
import unicodedata
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from worker.directory.attributes import RESERVED, parse
from worker.jobs import fold

# As long as the columns of the table `users`.
LONGEST_USERNAME, LONGEST_FOLDED = 150, 300
LONGEST_NAME = LONGEST_PATH = LONGEST_EXTERNAL_ID = 255
# RFC 3696 (corrected): no address that can be delivered to is longer; a raw one may carry blanks around it.
LONGEST_EMAIL = 254 + 10
DEFAULT_PATH = "users"
PROTECTED = "internal_service_account"

# Marks that turn the direction of writing: in a name they make a list say something else than it holds.
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", re.ASCII)


def _no_controls(text: str, what: str) -> str:
    for letter in text:
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(f"{what} must not hold the control character U+{ord(letter):04X}")
    return text


def _username(text: str) -> str:
    text = unicodedata.normalize("NFC", _no_controls(text, "a username"))
    if text != text.strip() or not fold(text):
        raise ValueError("a username must not be blank or begin or end with a blank")
    for letter in text:
        if unicodedata.category(letter) == "Cf":
            raise ValueError(f"a username must not hold the invisible character U+{ord(letter):04X}")
    if len(fold(text)) > LONGEST_FOLDED:
        raise ValueError(f"a username must have at most {LONGEST_FOLDED} characters in its compared form")
    return text


def _person_name(text: str) -> str:
    if _TURNING.search(text):
        raise ValueError("a name must not hold marks that turn the direction of writing")
    return unicodedata.normalize("NFC", _no_controls(text, "a name")).strip()


def _external_id(text: str) -> str:
    if text != text.strip() or not text:
        raise ValueError("an external id must not be blank or begin or end with a blank")
    return _no_controls(text, "an external id")


def _path(text: str) -> str:
    text = unicodedata.normalize("NFC", _no_controls(text, "a path"))
    if not text:
        raise ValueError(f"a path must not be empty; leave it out for “{DEFAULT_PATH}”")
    if text.startswith("/") or text.endswith("/"):
        raise ValueError("a path must not begin or end with a slash")
    for segment in text.split("/"):
        if not segment.strip() or segment in (".", ".."):
            raise ValueError("every part of a path between two slashes must be a name")
    if f"{fold(text)}/".startswith(RESERVED):
        raise ValueError(f"paths below {RESERVED} are kept for Muster itself")
    return text


def _locale(text: str) -> str:
    text = text.strip().replace("_", "-")
    if not _LOCALE.fullmatch(text):
        raise ValueError("a locale is a language tag such as de, pt-BR or zh-Hant-TW")
    return text


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text.strip()).key
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone is a name of the IANA data base, such as Europe/Berlin") from None


def _attributes(given: Any) -> dict[str, Any]:
    return parse(given)


Username = Annotated[str, Field(min_length=1, max_length=LONGEST_USERNAME), AfterValidator(_username)]
ExternalId = Annotated[str, Field(max_length=LONGEST_EXTERNAL_ID), AfterValidator(_external_id)]
PersonName = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_person_name)]
Path = Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_path)]
# Checked when the job runs, since it depends on the setting mail_domains: a wrong one is the refusal bad_email.
Email = Annotated[str, Field(min_length=1, max_length=LONGEST_EMAIL)]
Locale = Annotated[str, Field(max_length=35), AfterValidator(_locale)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Attributes = Annotated[dict[str, Any], BeforeValidator(_attributes)]
UserType = Literal["internal", "external", "service_account"]
"""The types a job may give; internal_service_account belongs to Muster and to no job."""
Origin = Literal["manual", "rule", "feed"]
Owner = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(lambda text: _no_controls(text, "an owner"))]
Why = Annotated[str, Field(min_length=1, max_length=1000)]
