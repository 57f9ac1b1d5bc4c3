"""Passwords: what is hashed at the door, and which hashes are stored."""

import pytest
from posts import HASH

from worker.directory import passwords
from worker.directory.passwords import BadHash, WeakPassword


def test_a_password_is_hashed_within_our_own_bounds_and_verified() -> None:
    made = passwords.hash_password("correct horse battery staple")
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.check_hash(made) == made
    assert passwords.verify(made, "correct horse battery staple")
    assert not passwords.verify(made, "correct horse battery stable")
    assert made != passwords.hash_password("correct horse battery staple")


def test_one_password_typed_on_two_keyboards_is_the_same() -> None:
    made = passwords.hash_password("Zu\u0308rich am See")
    assert passwords.verify(made, "Z\u00fcrich\u00a0am See")


@pytest.mark.parametrize("weak", ["", "eleven char", "PASSWORD1234", "aaaaaaaaaaaaaaaa", "x" * 5000, "abab" * 4])
def test_weak_passwords_are_refused(weak: str) -> None:
    with pytest.raises(WeakPassword) as refusal:
        passwords.hash_password(weak)
    assert not weak or weak not in str(refusal.value)


def test_without_a_hash_nothing_matches() -> None:
    assert not passwords.verify(None, "nobody's password")
    assert not passwords.verify("", "nobody's password")
    assert not passwords.verify("$2b$12$nonsense", "whatever it is")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "correct horse battery staple",
        HASH.replace("argon2id", "argon2i"),
        HASH.replace("v=19", "v=16"),
        HASH.replace("m=19456", "m=19455"),
        HASH.replace("m=19456", "m=1048577"),
        HASH.replace("t=2", "t=0"),
        HASH.replace("t=2", "t=11"),
        HASH.replace("p=1", "p=17"),
        HASH.replace("c2FtcGxlLXNhbHQtMTY", "c2Fs"),
        HASH[:-30],
        HASH + "\n",
        HASH + "$",
        "$2b$12$ab.cdefghijklmnopqrstuabcdefghijklmnopqrstuvwxyz012345",
    ],
)
def test_other_hashes_are_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(BadHash) as refusal:
        passwords.check_hash(given)
    assert not given or given not in str(refusal.value)


def test_the_sample_is_a_good_one() -> None:
    assert passwords.check_hash(HASH) == HASH
