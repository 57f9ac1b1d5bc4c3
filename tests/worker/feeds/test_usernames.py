"""Usernames of new people: the declared kinds in order, never one that is or was somebody else's, also in a crowd."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from threading import Barrier
from typing import Any

import pytest
from faker import Faker
from hypothesis import given
from hypothesis import strategies as st
from office import Office
from pydantic import TypeAdapter
from rivals import Rival, until_blocked
from sqlalchemy import Connection, event

from worker.directory.fields import Username
from worker.feeds.declaration import Feed
from worker.feeds.usernames import RESERVED, address, assign, candidates, free, give, problems
from worker.scope import Scope

PLAIN = re.compile(r"[a-z0-9][a-z0-9.-]*")
JOHN: dict[str, Any] = {"first": "John", "last": "Smith"}
HR = Feed(name="hr", mode="full", columns={})


def feed(*usernames: str, **more: Any) -> Feed:
    return Feed(name="hr", mode="full", columns={}, **({"usernames": usernames} if usernames else {}), **more)


def first(count: int, declared: Feed, external_id: str = "E-1", **fields: Any) -> list[str]:
    return list(islice(candidates(declared, external_id, fields), count))


def settle(office: Office, people: Sequence[tuple[str, Mapping[str, Any]]], declared: Feed = HR, **more: Any) -> dict[str, str]:
    def work(conn: Connection) -> dict[str, str]:
        return assign(Scope(conn, office.now, office.settings), declared, people, **more)

    return office.app.database.transact(work)


def one(office: Office, external_id: str, declared: Feed = HR, **fields: Any) -> str | None:
    return settle(office, [(external_id, fields)], declared).get(external_id)


@contextmanager
def counted(office: Office) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        seen.append(statement)

    event.listen(office.app.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(office.app.database.engine, "before_cursor_execute", note)


# -------------------------------------------------------------------------------------------------- candidates


def test_candidates_come_in_the_order_of_the_templates_and_then_numbered() -> None:
    declared = feed("{first:.1}{last}", "{first}.{middle:.1}.{last}", "{first}.{last}", "{first}.{last}{n}", "never{first}")
    assert first(5, declared, **JOHN, middle="Quincy") == [
        "jsmith", "john.q.smith", "john.smith", "john.smith2", "john.smith3"
    ]  # fmt: skip
    assert first(3, declared, **JOHN) == ["jsmith", "john.smith", "john.smith2"]


def test_every_placeholder_has_its_value() -> None:
    fields = {"name": "Anna Maria Müller", "email": "Anna.M+hr@example.com", "attributes.site": "Köln", "locale": "de"}
    declared = feed("{name}", "{email_local}", "{attributes.site}-{external_id}", "{name:.3}{n}")
    assert first(5, declared, "0042", **fields) == ["annamariamueller", "anna.m", "koeln-0042", "ann2", "ann3"]


@pytest.mark.parametrize(
    ("external_id", "names"),
    [("E-7", ["e-7", "e-7-2", "e-7-3"]), ("0042", ["u0042", "u0042-2"]), ("山田", ["u", "u"]), ("A_1/b", ["a-1-b"])],
)
def test_who_cannot_be_spelled_gets_the_employee_number(external_id: str, names: list[str]) -> None:
    found = first(len(names), HR, external_id, first="太郎", last="山田")
    assert [name[: len(expected)] for name, expected in zip(found, names, strict=True)] == names
    assert found == first(len(names), HR, external_id)  # the same every time
    assert all(PLAIN.fullmatch(name) for name in found)


def test_a_romanised_column_helps_whom_the_script_does_not() -> None:
    declared = feed("{first}.{last}", "{attributes.latin}", "{attributes.latin}{n}")
    fields = {"first": "太郎", "last": "山田", "attributes.latin": "Taro Yamada"}
    assert first(2, declared, **fields) == ["taroyamada", "taroyamada2"]


def test_a_long_name_loses_letters_of_its_longest_part_and_none_of_the_number() -> None:
    declared = feed(username_length=12)
    found = first(100, declared, first="Bartholomew", last="Lee")
    assert (found[0], found[1], found[-1]) == ("bartholo.lee", "barthol.lee2", "barth.lee100")
    assert max(map(len, found)) == 12
    long = first(12, feed(), first="Ü" * 300, last="É" * 300, locale="de")
    assert {len(name) for name in long} == {40}
    assert long[1].endswith("e2")
    assert first(2, feed(username_length=5), first="Jean-Luc", last="Li") == ["je.li", "j.li2"]


def test_names_end_only_when_no_letter_is_left_beside_the_number() -> None:
    found = list(candidates(feed("{first}{n}", username_length=3), "7", {"first": "Bob"}))
    assert (found[0], found[8], found[98 - 1]) == ("bo2", "b10", "b99")
    assert set(found[98:]) == {"u7", *(f"u-{n}" for n in range(2, 10))}


def test_reserved_words_are_nobodys_name() -> None:
    assert {"postmaster", "abuse", "root", "admin", "noreply", "www", "null"} <= RESERVED
    assert first(2, feed("{first}", "{first}{n}", reserved=("Board",)), first="Bóard") == ["board2", "board3"]
    assert first(1, feed("{first}", "{last}"), first="ROOT", last="Ng") == ["ng"]


@pytest.mark.parametrize("locale", ["de_DE", "pl_PL", "tr_TR", "vi_VN", "ja_JP", "ar_AA", "he_IL", "zh_CN", "el_GR", "hi_IN",
                                    "is_IS", "ru_RU", "fr_FR"])  # fmt: skip
def test_people_of_every_land_get_a_username(locale: str) -> None:
    fake = Faker(locale)
    fake.seed_instance(7)
    valid = TypeAdapter(Username)
    declared = feed("{first}.{last}", "{name}", "{name}{n}")
    for number in range(40):
        fields = {"first": fake.first_name(), "last": fake.last_name(), "name": fake.name(), "locale": locale}
        for name in first(4, declared, f"{number:05}", **fields):
            assert PLAIN.fullmatch(valid.validate_python(name)), (name, fields)


@given(
    templates=st.lists(st.sampled_from(["{first}.{last}", "{first:.1}{last}{n}", "{name}", "x-{middle}-{n}", "{email_local}",
                                        "{attributes.a}.{first:.3}", "{external_id}", "{name:.1}{n}"])),
    length=st.integers(3, 150), external_id=st.text(min_size=1),
    fields=st.dictionaries(st.sampled_from(["first", "last", "middle", "name", "email", "attributes.a", "locale"]),
                           st.none() | st.text() | st.text("aÄß.-' ", max_size=300)),
)  # fmt: skip
def test_candidates_are_always_valid_and_never_come_twice(
    templates: list[str], length: int, external_id: str, fields: dict[str, str | None]
) -> None:
    declared = Feed(name="hr", mode="full", columns={}, usernames=tuple(templates), username_length=length)
    found = list(islice(candidates(declared, external_id, fields), 60))
    assert found
    assert len(set(found)) == len(found)
    assert all(PLAIN.fullmatch(name) and len(name) <= length and name not in RESERVED for name in found)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{first", "brace"), ("{frist}.{last}", "{frist}"), ("{first.last}", "{first.last}"), ("{first!r}", "{first:.1}"),
        ("{first:>3}", "{first:.1}"), ("{first:.0}", "{first:.1}"), ("{first}_{last}", "a-z"), ("john", "same for everybody"),
        ("x{n}", "nothing of the person"), ("{first}{n:.1}", "cannot be cut"), ("{attributes.}", "attributes.NAME"),
        ("a" * 40 + "{first}", "no room"), ("{}", "{}"),
    ],
)  # fmt: skip
def test_a_wrong_template_is_explained(template: str, problem: str) -> None:
    [found] = problems(feed("{first}.{last}", template))
    assert found.startswith("usernames: ")
    assert problem in found


def test_a_wrong_address_is_explained_and_good_ones_are_not() -> None:
    assert problems(feed("{first:.1}{last}", "{external_id}{n}", email="{username}@{attributes.domain}")) == []
    assert "one @" in problems(feed(email="{username}"))[0]
    assert "{n}" in problems(feed(email="{first}{n}@example.com"))[0]


# -------------------------------------------------------------------------------------------------- assignment


def test_two_of_one_name_in_one_file_get_two_names_and_keep_them(office: Office) -> None:
    people = [("E-1", JOHN), ("E-2", JOHN), ("E-3", {"first": "Jane", "last": "Doe"})]
    given = settle(office, people)
    assert given == {"E-1": "john.smith", "E-2": "john.smith2", "E-3": "jane.doe"}
    assert settle(office, list(reversed(people))) == given
    assert one(office, "E-2", first="Ann", last="Other") == "john.smith2"
    assert one(office, "E-1", feed_of("payroll"), **JOHN) == "john.smith3"
    assert {row["folded"] for row in office.rows("feed_name")} == {*given.values(), "john.smith3"}


def feed_of(source: str) -> Feed:
    return Feed(name=source, mode="full", columns={})


def test_three_thousand_of_one_name_take_a_few_statements(office: Office) -> None:
    crowd = [(f"E-{number}", JOHN) for number in range(3_000)]
    with counted(office) as statements:
        given = settle(office, crowd)
    assert (given["E-0"], given["E-2999"]) == ("john.smith", "john.smith3000")
    assert len(set(given.values())) == 3_000
    assert len(statements) < 20
    with counted(office) as statements:
        assert one(office, "late", **JOHN) == "john.smith3001"
    assert len(statements) < 45


def test_everybody_different_takes_one_round(office: Office) -> None:
    with counted(office) as statements:
        given = settle(office, [(f"E-{number}", {"first": f"a{number}", "last": "b"}) for number in range(1_000)])
    assert given["E-999"] == "a999.b"
    assert len(statements) < 12


def test_names_of_accounts_are_taken_and_ones_own_is_kept(office: Office) -> None:
    office.do("create_user", {"username": "John.Smith", "external_id": "hr-E-1", "name": "John"})
    declared = feed(id_prefix="hr-")
    assert one(office, "E-2", declared, **JOHN) == "john.smith2"
    assert one(office, "E-1", declared, **JOHN) == "John.Smith"
    assert settle(office, [("77", JOHN)], declared, accounts={"77": "hr-E-1"}) == {"77": "John.Smith"}


def test_a_name_is_never_reused_after_a_deletion_or_a_rename(office: Office) -> None:
    for username, external_id in (("john.smith", "E-1"), ("john.smith2", "E-2")):
        assert one(office, external_id, **JOHN) == username
        assert office.do("create_user", {"username": username, "external_id": external_id}).state == "succeeded"
    with office.scope() as scope:
        give(scope, "hr", ["E-1"])
        assert free(scope, scope.now + timedelta(seconds=1)) == 1  # the graves alone have to do for the second
    assert office.do("delete_user", {"user": "john.smith"}).state == "succeeded"
    assert office.do("update_user", {"user": "john.smith2", "username": "jsmith"}).state == "succeeded"
    assert one(office, "E-3", **JOHN) == "john.smith3"
    # Who comes back after a deletion is a new account, and gets a new name too.
    assert one(office, "E-1", **JOHN) == "john.smith4"
    # Whoever was renamed by hand keeps that name; the source may give the former one back to them and to nobody else.
    assert one(office, "E-2", **JOHN) == "jsmith"
    assert one(office, "E-2", username="john.smith2") == "john.smith2"
    assert one(office, "E-4", username="john.smith2") is None


def test_the_word_of_the_source_counts_and_is_never_replaced_by_a_guess(office: Office) -> None:
    office.do("create_user", {"username": "ann", "external_id": "E-9"})
    assert one(office, "E-1", username="JSmith", **JOHN) == "JSmith"
    assert one(office, "E-1", username="JSmith", **JOHN) == "JSmith"
    for taken in ("ann", "ANN", "jsmith", "postmaster", " blank ", "x" * 200):
        assert one(office, "E-2", username=taken, **JOHN) is None
    assert one(office, "E-2", username="Jürgen@example.com") == "Jürgen@example.com"
    # It goes before templates in the same file, wherever it stands.
    assert settle(office, [("E-5", JOHN), ("E-6", {"username": "John.Smith"}), ("E-7", {"username": "john.smith"})]) == {
        "E-5": "john.smith2", "E-6": "John.Smith"
    }  # fmt: skip


def test_a_reservation_that_somebody_made_an_account_of_is_given_up(office: Office) -> None:
    assert one(office, "E-1", **JOHN) == "john.smith"
    office.do("create_user", {"username": "john.smith", "external_id": "X-1"})
    assert one(office, "E-1", **JOHN) == "john.smith2"


def test_of_several_reservations_the_one_that_was_given_counts(office: Office) -> None:
    assert one(office, "E-1", username="JSmith") == "JSmith"
    with office.scope() as scope:
        give(scope, "hr", ["E-1"])
    office.later(hours=1)
    assert one(office, "E-1", username="J.S.") == "J.S."
    assert one(office, "E-1", **JOHN) == "JSmith"


def test_names_that_were_not_given_can_be_freed(office: Office) -> None:
    settle(office, [("E-1", JOHN), ("E-2", JOHN)])
    with office.scope() as scope:
        give(scope, "hr", ["E-1"])
        assert free(scope, scope.now) == 0, "a plan may still want it"
        assert free(scope, scope.now + timedelta(seconds=1)) == 1
        assert free(scope, scope.now + timedelta(seconds=1)) == 0
    assert one(office, "E-3", **JOHN) == "john.smith2"


def test_names_with_nothing_to_spell_go_by_number_also_in_a_crowd(office: Office) -> None:
    given = settle(office, [("0042", {"first": "🙂", "last": "🙃"}), ("0043", {"name": "山田"}), ("00 42", {}), ("x", {"first": "X"})])
    assert given == {"0042": "u0042", "0043": "u0043", "00 42": "u0042-2", "x": "x"}


def test_when_the_numbers_run_out_everybody_gets_their_own(office: Office) -> None:
    declared = feed("{first}{n}", username_length=3)
    given = settle(office, [(f"{n:02}", {"first": "Bob"}) for n in range(100)], declared)
    assert len(set(given.values())) == 100
    assert [name for name in given.values() if name.startswith("u")] == ["u98", "u99"]


def test_two_that_assign_the_same_name_at_once_get_two(office: Office) -> None:
    together = Barrier(2)

    def assigned(external_id: str) -> str:
        together.wait(30)
        return settle(office, [(external_id, JOHN)])[external_id]

    left, right = Rival(lambda: assigned("E-1")), Rival(lambda: assigned("E-2"))
    assert {left.join(), right.join()} == {"john.smith", "john.smith2"}


@pytest.mark.parametrize("commits", [True, False])
def test_whoever_meets_an_uncommitted_reservation_waits_for_its_end(postgres_url: str, commits: bool) -> None:
    office = Office(postgres_url)
    with office.app.database.engine.connect() as conn, conn.begin() as transaction:
        assert assign(Scope(conn, office.now, office.settings), HR, [("E-1", JOHN)]) == {"E-1": "john.smith"}
        rival = Rival(lambda: settle(office, [("E-2", JOHN)]))
        until_blocked(office.app.database, rival)
        if commits:
            transaction.commit()
        else:
            transaction.rollback()
    assert rival.join() == {"E-2": "john.smith2" if commits else "john.smith"}
    office.close()


# ---------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("template", "username", "made"),
    [
        (None, "ann", None),
        ("{username}@example.com", "john.smith2", "john.smith2@example.com"),
        ("{username}@example.com", "Jürgen@old.example", "juergen@example.com"),
        ("{username}@example.com", "山田", None),
        ("{first:.1}.{last}@{attributes.domain}", "x", "j.gruen@mail.example.org"),
        ("{first}.{middle}@example.com", "x", None),
        ("{username}@example.com", "x" * 65, None),
    ],
)
def test_an_address_follows_its_template_or_is_none(template: str | None, username: str, made: str | None) -> None:
    fields = {"first": "Jörg", "last": "Grün", "locale": "de", "attributes.domain": "mail.example.org"}
    assert address(feed(email=template), username, fields) == made
