"""Whose account a new person of a source is: found by a key, or left to somebody to decide, never guessed."""

from collections.abc import Mapping
from typing import Any

import pytest
from office import Office
from sqlalchemy import event

from worker.bulk import insert_rows
from worker.feed_tables import feed_case, feed_person
from worker.feeds import cases
from worker.feeds.correlate import Match, match, near_misses
from worker.feeds.declaration import Feed, Key
from worker.ids import new_id

EVERY: tuple[Key, ...] = ("external_id", "email", "username")


def feed(*correlate: Key, name: str = "hr", id_prefix: str = "") -> Feed:
    return Feed(name=name, mode="full", id_prefix=id_prefix, columns={"external_id": "id"}, correlate=correlate or EVERY)


def person(external_id: str, account: str | None = None, source: str = "hr") -> dict[str, Any]:
    return {
        "source": source, "external_id": external_id, "account": account or external_id, "fields": {}, "stamps": {}, "later": [],
        "phase": "active", "absent_runs": 0, "run": new_id(),
    }  # fmt: skip


def known(office: Office, *people: Mapping[str, Any]) -> None:
    with office.scope() as scope:
        insert_rows(scope.conn, feed_person, [{**one, "changed_at": office.now} for one in people])


def create(office: Office, username: str, **fields: Any) -> str:
    ended = office.do("create_user", {"username": username, "name": username.title(), **fields})
    assert ended.state == "succeeded", ended
    found = office.user(username)
    assert found is not None
    return found.id


def ask(office: Office, its: Feed, people: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Match]:
    with office.scope() as scope:
        return match(scope, its, list(people.items()), **more)


def one(office: Office, its: Feed, external_id: str, **fields: Any) -> tuple[Any, ...]:
    found = ask(office, its, {external_id: fields})[external_id]
    return found.kind, found.account.username if found.account else None, found.by or found.code


def decide(office: Office, external_id: str, decision: str, account: str | None = None) -> None:
    with office.scope() as scope:
        row = {"external_id": external_id, "code": "ambiguous_match", "text": "which?", "candidates": []}
        cases.open_cases(scope, "hr", [row])
        [case] = [case for case in cases.list_cases(scope.conn, "hr", None) if case.external_id == external_id]
        cases.decide(scope, case.id, decision, account, by="it")


def test_an_account_is_found_by_each_key_in_the_declared_order(office: Office) -> None:
    create(office, "ann", external_id="17", email="Ann@Example.com")
    create(office, "bob", email="bob@example.com")
    assert one(office, feed(), "17") == ("one", "ann", "external_id")
    assert one(office, feed(), "017") == ("none", None, None)
    assert one(office, feed(id_prefix="hr-"), "17") == ("none", None, None)
    assert one(office, feed(), "18", email="BOB@example.com") == ("one", "bob", "email")
    create(office, "zoe", email="zoe@bücher.example.com")
    assert one(office, feed(), "19", email=" Zoe@xn--bcher-kva.EXAMPLE.com") == ("one", "zoe", "email")
    assert one(office, feed(), "19", email="no address") == ("none", None, None)
    assert one(office, feed(), "18", username="BOB", email=None) == ("one", "bob", "username")
    assert one(office, feed("username", "email"), "18", username="bob", email="bob@example.com") == ("one", "bob", "username")
    assert one(office, feed("external_id"), "18", email="bob@example.com") == ("none", None, None)
    assert one(office, feed("email"), "17") == ("one", "ann", "external_id"), "an external id can be given only once"


def test_keys_that_disagree_are_left_to_somebody(office: Office) -> None:
    ids = {name: create(office, name, email=f"{name}@example.com") for name in ("ann", "bob")}
    found = ask(office, feed(), {"1": {"email": "ann@example.com", "username": "bob"}})["1"]
    assert (found.kind, found.code, found.account) == ("case", "ambiguous_match", None)
    assert "e-mail address and the username" in str(found.text)
    assert [(c["id"], c["username"], c["by"]) for c in found.candidates] == sorted(
        [(ids["ann"], "ann", ["email"]), (ids["bob"], "bob", ["username"])]
    )


def test_a_key_that_fits_several_accounts_is_left_to_somebody(office: Office) -> None:
    for name in ("ann", "bob"):
        create(office, name, email="team@example.com")
    found = ask(office, feed(), {"1": {"email": "team@example.com"}, "2": {"email": "team@example.com", "username": "ann"}})
    assert {one.code for one in found.values()} == {"ambiguous_match"}
    assert {c["username"]: c["by"] for c in found["2"].candidates} == {"ann": ["email", "username"], "bob": ["email"]}
    assert "2 accounts have the e-mail address" in str(found["1"].text)


def test_an_account_with_another_external_id_is_another_persons_until_somebody_says_so(office: Office) -> None:
    create(office, "ann", external_id="E-9", email="ann@example.com")
    assert one(office, feed(), "1", email="ann@example.com") == ("case", None, "owned_by_another")


def test_an_account_of_another_source_needs_a_second_key(office: Office) -> None:
    create(office, "ann", external_id="17", email="ann@example.com")
    known(office, person("x17", "17", source="badges"))
    assert one(office, feed(), "17") == ("case", None, "owned_by_another")
    assert one(office, feed("external_id"), "17", email="ann@example.com") == ("case", None, "owned_by_another")
    assert one(office, feed("external_id", "email"), "17", email="ann@example.com") == ("one", "ann", "external_id")


def test_an_account_of_another_person_of_the_same_source_is_never_given_again(office: Office) -> None:
    create(office, "ann", external_id="17", email="ann@example.com")
    known(office, person("00017", "17"))
    found = ask(office, feed(), {"17": {"email": "ann@example.com"}})["17"]
    assert (found.kind, found.code) == ("case", "owned_by_another")
    assert "00017" in str(found.text)


def test_two_newcomers_with_one_account_get_none_unasked(office: Office) -> None:
    account = create(office, "ann", email="ann@example.com")
    found = ask(office, feed(), {"1": {"email": "ann@example.com"}, "2": {"username": "ann"}, "3": {}})
    assert [(one.kind, one.code) for one in found.values()] == [("case", "ambiguous_match")] * 2 + [("none", None)]
    taken: dict[str, str] = {}
    assert ask(office, feed(), {"1": {"email": "ann@example.com"}}, taken=taken)["1"].kind == "one"
    assert taken == {account: "1"}
    assert ask(office, feed(), {"2": {"username": "ann"}}, taken=taken)["2"].code == "ambiguous_match"
    assert ask(office, feed(), {"1": {"username": "ann"}}, taken=taken)["1"].kind == "one"


def test_what_somebody_decided_goes_before_all_keys(office: Office) -> None:
    create(office, "ann", external_id="E-9", email="ann@example.com")
    create(office, "bob")
    people = {external_id: {"email": "ann@example.com"} for external_id in ("1", "2", "3", "4", "5")}
    decide(office, "1", "link", "ann")
    decide(office, "2", "new")
    decide(office, "3", "ignore")
    decide(office, "4", "link", "bob")
    found = ask(office, feed(), people)
    assert [(one.kind, one.account.username if one.account else one.code) for one in found.values()] == [
        ("decided", "ann"), ("none", None), ("case", "ignored"), ("decided", "bob"), ("case", "owned_by_another"),
    ]  # fmt: skip
    office.do("delete_user", {"user": "bob"})
    assert one(office, feed(), "4", username="ann")[2] == "owned_by_another", "the keys count again"


def test_a_deleted_person_is_remembered(office: Office) -> None:
    create(office, "ann", external_id="hr-17")
    office.do("delete_user", {"user": "ann"})
    found = ask(office, feed(id_prefix="hr-"), {"17": {}, "18": {}})
    assert [one.kind for one in found.values()] == ["none", "none"]
    grave = found["17"].grave
    assert grave is not None
    assert (grave.hire_date, grave.renamed, found["18"].grave) == (office.now.date(), False, None)


@pytest.mark.parametrize("count", [1, 300])
def test_the_number_of_statements_does_not_grow(office: Office, count: int) -> None:
    create(office, "ann", external_id="1", email="ann@example.com")
    seen: list[str] = []
    ids = [str(number + 1) for number in range(count)]
    with office.scope() as scope:
        event.listen(scope.conn, "before_cursor_execute", lambda *args: seen.append(args[2]))
        found = match(scope, feed(), [(one, {"email": f"p{one}@example.com", "username": f"p{one}"}) for one in ids])
        near_misses(scope.conn, feed(), ids)
    assert (len(found), found["1"].kind, len(seen)) == (count, "one", 8)


def test_ids_that_lost_their_zeros_are_noticed(office: Office) -> None:
    known(office, *(person(one) for one in ("00017", "18", "AB 7", "0", "Ä9")), person("00099", source="other"))
    with office.app.database.read() as conn:
        found = near_misses(conn, feed(), ["17", "00018", "ab7", "000", "ä9", "99", "19", "18", "0017 "])
        assert near_misses(conn, feed(), []) == {}
    assert found == {"17": "00017", "0017 ": "00017", "00018": "18", "ab7": "AB 7"}


def test_cases_are_read_for_this_source_alone(office: Office) -> None:
    create(office, "ann", email="ann@example.com")
    decide(office, "1", "ignore")
    assert one(office, feed(name="badges"), "1", email="ann@example.com") == ("one", "ann", "email")
    assert [row["source"] for row in office.rows(feed_case.name)] == ["hr"]
