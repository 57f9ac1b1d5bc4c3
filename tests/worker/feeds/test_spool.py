"""The spool of a feed: records sorted by id on disk, the changed ones marked, managers before their people."""

import random
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.feeds.spool import LOOPS_NAMED, Entry, Spool


@pytest.fixture
def spool() -> Iterator[Spool]:
    with Spool() as made:
        yield made


def entry(external_id: str, place: int, manager: str | None = None, digest: str = "d") -> Entry:
    return Entry(external_id, place, digest, manager, f'["{external_id}"]')


def given_order(spool: Spool, size: int = 1_000) -> list[str]:
    return [one.external_id for part in spool.chosen(size) for one in part]


def test_ids_come_in_the_order_of_their_bytes_with_all_their_places(spool: Spool) -> None:
    names = ["é", "e", "E", "10", "9", "山", "😀", "\uffee", "e"]
    spool.add(entry(name, place, digest=str(place)) for place, name in enumerate(names, 1))
    assert [one for one, _ in spool.ids()] == sorted(set(names), key=str.encode)
    assert dict(spool.ids())["e"] == [(2, "2"), (9, "9")]
    assert spool.count == 9


def test_only_what_was_chosen_comes_out_managers_first(spool: Spool) -> None:
    spool.add([entry("leaf", 1, "mid"), entry("mid", 2, "top"), entry("top", 3), entry("same", 4, "top")])
    for external_id, records in spool.ids():
        if external_id != "same":
            spool.choose([place for place, _ in records])
    assert spool.order() == ([], 0)
    assert given_order(spool) == ["top", "mid", "leaf"]
    assert next(iter(spool.chosen()))[2] == Entry("leaf", 1, "d", "mid", '["leaf"]')


def test_a_manager_who_is_not_among_the_chosen_holds_nobody_back(spool: Spool) -> None:
    spool.add([entry("b", 1, "a"), entry("a", 2), entry("c", 3, "elsewhere")])
    spool.choose([1, 3])
    assert spool.order() == ([], 0)
    assert given_order(spool) == ["b", "c"]


def test_who_is_dropped_does_not_come_out(spool: Spool) -> None:
    spool.add([entry("a", 1), entry("b", 2), entry("a", 3)])
    spool.choose([1, 2, 3])
    assert len(given_order(spool)) == 3
    spool.drop(["a"])
    assert given_order(spool) == ["b"]


def test_several_records_of_one_person_stay_together_in_the_order_of_the_input(spool: Spool) -> None:
    spool.add([entry("x", 1, "boss"), entry("boss", 2), entry("x", 3, None), entry("x", 4, "boss")])
    spool.choose([1, 2, 3, 4])
    spool.order()
    assert [one.place for part in spool.chosen(2) for one in part] == [2, 1, 3, 4]


def test_circles_of_managers_are_named_and_come_last_with_those_below_them(spool: Spool) -> None:
    bosses = {"ceo": "ceo", "a": "b", "b": "c", "c": "a", "under": "a", "lower": "under", "fine": "ceo"}
    spool.add(entry(name, place, boss) for place, (name, boss) in enumerate(bosses.items(), 1))
    spool.choose(range(1, 8))
    assert spool.order() == (["a", "b", "c", "ceo"], 4)
    assert given_order(spool) == ["ceo", "fine", "a", "b", "c", "under", "lower"]


def test_of_many_circles_only_some_are_named_but_all_are_counted(spool: Spool) -> None:
    spool.add(entry(f"{place:05}", place, f"{place + 1 if place % 2 else place - 1:05}") for place in range(1, 2_201))
    spool.choose(range(1, 2_201))
    named, count = spool.order()
    assert (len(named), count) == (LOOPS_NAMED, 2_200)
    assert len(given_order(spool)) == 2_200


def test_the_text_of_a_record_is_found_by_its_place(spool: Spool) -> None:
    spool.add([entry("a", 7)])
    assert spool.text_of(7) == '["a"]'
    with pytest.raises(KeyError):
        spool.text_of(8)


def test_records_can_be_marked_while_the_ids_are_gone_through(spool: Spool) -> None:
    spool.add(entry(f"{number:05}", number) for number in range(5_000))
    for external_id, records in spool.ids():
        if int(external_id) % 3 == 0:
            spool.choose([records[0][0]])
    assert len(given_order(spool)) == 1_667


def test_twenty_thousand_people_in_any_order_come_out_managers_first(spool: Spool) -> None:
    people = list(range(20_000))
    random.Random(4).shuffle(people)
    bosses: Mapping[str, str | None] = {f"{one}": f"{one // 7}" if one else None for one in people}
    spool.add(entry(one, place, boss) for place, (one, boss) in enumerate(bosses.items(), 1))
    spool.choose(range(1, 20_001))
    assert spool.order() == ([], 0)
    turn = {one: number for number, one in enumerate(given_order(spool))}
    assert len(turn) == 20_000
    assert all(boss is None or turn[boss] < turn[one] for one, boss in bosses.items())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_whoever_reaches_themselves_by_their_managers_is_in_a_circle_and_nobody_else(bosses: list[int]) -> None:
    def circles(one: int) -> bool:
        at = one
        for _ in bosses:
            if bosses[at] >= len(bosses):
                return False
            at = bosses[at]
            if at == one:
                return True
        return False

    with Spool() as spool:
        spool.add(entry(f"{number:02}", number, f"{boss:02}") for number, boss in enumerate(bosses))
        spool.choose(range(len(bosses)))
        looped = [f"{number:02}" for number in range(len(bosses)) if circles(number)]
        assert spool.order() == (looped, len(looped))
        order = given_order(spool)
        assert sorted(order) == [f"{number:02}" for number in range(len(bosses))]
        for number, boss in enumerate(bosses):
            if boss < len(bosses) and f"{number:02}" not in looped:
                assert order.index(f"{boss:02}") < order.index(f"{number:02}")
