"""Passwords: hashed at the door with argon2id, checked for their bounds before one is stored, verified at login."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

# NIST SP 800-63B asks for 8 at least where there is a second factor; 12 carries those who have none. The upper bound
# keeps hashing a password from becoming work for the server alone.
SHORTEST, LONGEST = 12, 1024

# What we hash with: the OWASP Password Storage Cheat Sheet's first choice for argon2id.
TIME_COST, MEMORY_KIB, LANES = 2, 19 * 1024, 1

# What we accept from other doors. Below, a stolen hash is cheap to guess; above, one login takes the server down.
LEAST_MEMORY_KIB, MOST_MEMORY_KIB = 19 * 1024, 1024 * 1024
MOST_TIME, MOST_LANES = 10, 16
LEAST_SALT, LEAST_HASH, MOST_BYTES = 8, 16, 64

# Guessed first by everybody, and long enough to pass the length; one a line, in lower case. A list of millions belongs
# to a door with a network.
COMMON_FILE = Path(__file__).with_name("common_passwords.txt")
# So many characters at least must not follow from the one before, as in abc, 321, aaa or qwerty; the names of the person
# and the organisation left out.
LEAST_LEAPS = 6
# Shorter words stand in too many others.
SHORTEST_WORD = 3

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn")
_NEIGHBOURS = frozenset(pair for row in _ROWS for way in (row, row[::-1]) for pair in pairwise(way))

_PHC = re.compile(
    r"\$argon2id\$v=19\$m=(?P<m>[1-9]\d{0,9}),t=(?P<t>[1-9]\d{0,4}),p=(?P<p>[1-9]\d{0,4})"
    r"\$(?P<salt>[A-Za-z0-9+/]{1,128})\$(?P<hash>[A-Za-z0-9+/]{1,128})",
    re.ASCII,
)


class WeakPassword(ValueError):
    """The password cannot be used."""

    def __init__(self, code: str, text: str) -> None:
        """`code`: too_short, too_long, common, repetitive or personal; for doors that say it in another language."""
        self.code = code
        super().__init__(text)


class BadHash(ValueError):
    """What was given is not a password hash that Muster stores."""


def hash_password(text: str, about: Iterable[str] = ()) -> str:
    """Return the argon2id hash of a password as a PHC string (RFC 9106); for `about` see `check`. Raises WeakPassword."""
    check(text, about)
    return _hasher().hash(_plain(text))


def check(text: str, about: Iterable[str] = ()) -> None:
    """Refuse a password that is guessed quickly. Raises WeakPassword.

    Length is what counts (NIST SP 800-63B, 3.1.1): no mixture of letters, digits and signs is asked for. `about`: names
    and addresses of the person and the organisation, which may stand in a password but not make most of it.
    """
    plain = _plain(text)
    if len(plain) < SHORTEST:
        raise WeakPassword("too_short", f"a password has {SHORTEST} to {LONGEST} characters, this one has {len(plain)}")
    if len(plain) > LONGEST:
        raise WeakPassword("too_long", f"a password has {SHORTEST} to {LONGEST} characters, this one has {len(plain)}")
    folded = plain.casefold()
    if folded in _common():
        raise WeakPassword("common", "this password is among the first that are guessed; choose another one")
    if _period(folded) < SHORTEST or _leaps(folded) < LEAST_LEAPS:
        raise WeakPassword("repetitive", "this password repeats itself or follows a row of keys; choose another one")
    if _leaps(_without(folded, about)) < LEAST_LEAPS:
        raise WeakPassword("personal", "this password is mostly made of the person's or the organisation's name or "
                           "address; choose another one")  # fmt: skip


def check_hash(phc: str) -> str:
    """Return an argon2id PHC string that is within our bounds. Raises BadHash saying what is wrong, never its value."""
    found = _PHC.fullmatch(phc)
    if found is None:
        raise BadHash("it is not an argon2id hash of version 19 in PHC form ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")
    memory, time, lanes = int(found["m"]), int(found["t"]), int(found["p"])
    if not LEAST_MEMORY_KIB <= memory <= MOST_MEMORY_KIB:
        raise BadHash(f"its memory parameter m={memory} is not between {LEAST_MEMORY_KIB} and {MOST_MEMORY_KIB} (KiB)")
    if time > MOST_TIME:
        raise BadHash(f"its time parameter t={time} is more than {MOST_TIME}")
    if lanes > MOST_LANES:
        raise BadHash(f"its parallelism parameter p={lanes} is more than {MOST_LANES}")
    salt, tag = len(found["salt"]) * 3 // 4, len(found["hash"]) * 3 // 4
    if not LEAST_SALT <= salt <= MOST_BYTES or not LEAST_HASH <= tag <= MOST_BYTES:
        raise BadHash(f"its salt of {salt} bytes or its hash of {tag} bytes is too short or too long")
    return phc


def verify(phc: str | None, text: str) -> bool:
    """Say whether the password is the one that was hashed. Without a hash it takes as long, and is not."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        matches = _hasher().verify(phc or _nobodys(), _plain(text)[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False
    return matches and bool(phc)


def _plain(text: str) -> str:
    """One form for passwords typed on different keyboards (RFC 8265, 4.2: NFC, non-ASCII blanks made ASCII)."""
    return "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in unicodedata.normalize("NFC", text))


@cache
def _common() -> frozenset[str]:
    return frozenset(COMMON_FILE.read_text(encoding="utf-8").split("\n"))


def _period(text: str) -> int:
    """The length of the shortest text that gives this one when it is repeated; all of it when nothing repeats.

    The last repetition may be cut off. From the border of Knuth, Morris and Pratt, in one pass.
    """
    borders = [0]
    for letter in text[1:]:
        border = borders[-1]
        while border and text[border] != letter:
            border = borders[border - 1]
        borders.append(border + (text[border] == letter))
    period = len(text) - borders[-1]
    return period if period <= len(text) // 2 else max(period, SHORTEST)


def _leaps(text: str) -> int:
    """How many characters do not follow from the one before."""
    return 1 + sum(abs(ord(one) - ord(two)) > 1 and (one, two) not in _NEIGHBOURS for one, two in pairwise(text))


def _without(text: str, about: Iterable[str]) -> str:
    """The text without the words in `about`, whole and in parts, the longest taken out first."""
    wholes = {_plain(word).casefold() for word in about}
    words = wholes | {part for whole in wholes for part in re.split(r"[\W_]+", whole)}
    for word in sorted((word for word in words if len(word) >= SHORTEST_WORD), key=len, reverse=True):
        text = text.replace(word, "")
    return text


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES)


@cache
def _nobodys() -> str:
    return _hasher().hash("nobody's password")
