"""Passwords: what is hashed at the door, and which hashes are stored."""

import pytest
from posts import HASH

from worker.directory import passwords
from worker.directory.passwords import BadHash, WeakPassword

ABOUT = ("ann", "Ann Archer", "ann.archer@example.com", "Harbour Works")


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


@pytest.mark.parametrize(("weak", "code"), [
    ("eleven char", "too_short"), ("🙂" * 11, "too_short"), ("x" * 1025, "too_long"),
    ("Password2024!", "common"), ("Willkommen123", "common"), ("correcthorsebatterystaple", "common"),
    ("hunter22hunter22hunter22", "repetitive"), ("abcdefghijklmnop", "repetitive"), ("9876543210987654", "repetitive"),
    ("qwertzuiopasdfghj", "repetitive"), ("aaaabbbbccccdddd", "repetitive"), ("otters otters otters", "repetitive"),
    ("Ann.Archer.2026", "personal"), ("annarcher@example.com", "personal"), ("Harbour-Works-1234!", "personal"),
])
def test_what_is_guessed_first_is_refused_with_a_word_for_doors(weak: str, code: str) -> None:
    with pytest.raises(WeakPassword) as refusal:
        passwords.check(weak, ABOUT)
    assert refusal.value.code == code


@pytest.mark.parametrize("good", [
    "correct horse battery staple", "Ann likes 12 otters", "harbour lights over bergen", "Zürich am See",
    "пароль из трёх слов", "水たまりに映る雲の影とやま", "x7#Kq!9zLp$2", "%&§=?)(/&%$§", "otters, otters and more otters",
])
def test_a_long_password_needs_no_mixture(good: str) -> None:
    passwords.check(good, ABOUT)


def test_the_list_of_common_passwords_holds_what_the_length_lets_through() -> None:
    lines = passwords.COMMON_FILE.read_text(encoding="utf-8").splitlines()
    assert len(lines) > 5_000
    assert lines == sorted(set(lines))
    assert [line for line in lines if len(line) < passwords.SHORTEST or line != line.casefold()] == []


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
