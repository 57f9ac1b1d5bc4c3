"""Passwords: hashed at the door with argon2id, checked for their bounds before one is stored, verified at login."""

import re
import unicodedata
from functools import cache
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

# Guessed first by everybody, and long enough to pass the length. A list of millions belongs to a door with a network.
COMMON = frozenset({
    "123456789012", "1234567890123", "123123123123", "111111111111", "000000000000", "password1234", "passwordpassword",
    "qwertyuiop123", "qwertyuiop12", "qwertyqwerty", "1q2w3e4r5t6y", "iloveyou1234", "letmeinletmein", "adminadminadmin",
    "administrator", "administrator1", "changemechangeme", "welcomewelcome", "welcome12345", "password12345",
    "abcdefghijkl", "abc123abc123", "q1w2e3r4t5y6", "zaq12wsxcde3", "trustno1trustno1",
})  # fmt: skip

_PHC = re.compile(
    r"\$argon2id\$v=19\$m=(?P<m>[1-9]\d{0,9}),t=(?P<t>[1-9]\d{0,4}),p=(?P<p>[1-9]\d{0,4})"
    r"\$(?P<salt>[A-Za-z0-9+/]{1,128})\$(?P<hash>[A-Za-z0-9+/]{1,128})",
    re.ASCII,
)


class WeakPassword(ValueError):
    """The password cannot be used."""


class BadHash(ValueError):
    """What was given is not a password hash that Muster stores."""


def hash_password(text: str) -> str:
    """Return the argon2id hash of a password as a PHC string (RFC 9106). Raises WeakPassword."""
    plain = _plain(text)
    if not SHORTEST <= len(plain) <= LONGEST:
        raise WeakPassword(f"a password has {SHORTEST} to {LONGEST} characters, this one has {len(plain)}")
    if plain.casefold() in COMMON or len(set(plain)) < 3:
        raise WeakPassword("this password is among the first that are guessed; choose another one")
    return _hasher().hash(plain)


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
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES)


@cache
def _nobodys() -> str:
    return _hasher().hash("nobody's password")
