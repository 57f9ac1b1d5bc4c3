"""Tests of the bookkeeping of what a worker process has in hand."""

import pytest

from worker.queue.hand import LONGEST_PAUSE_SECONDS, PUT_ASIDE_LIMIT, Hand, Seats


def test_pauses_grow_up_to_a_limit_and_start_again_after_success() -> None:
    hand = Hand(Seats(1))
    pauses = []
    for _ in range(20):
        hand.take("a")
        pauses.append(hand.put_aside("a"))
        hand.let_go()
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert set(pauses[5:]) == {LONGEST_PAUSE_SECONDS}
    hand.take("a")
    hand.finish("a")
    hand.settle(["a"])
    hand.take("a")
    assert hand.put_aside("a") == 0.5


def test_room_is_what_the_pool_has_free() -> None:
    seats = Seats(2)
    one, other = Hand(seats), Hand(seats)
    one.take("a")
    assert other.room(0) == 1
    other.take("b")
    assert (one.room(0), other.room(0)) == (0, 0)
    one.finish("a")
    other.put_aside("b")
    assert one.room(0) == 2


def test_a_process_with_too_many_put_aside_takes_no_more() -> None:
    hand = Hand(Seats(1))
    for number in range(PUT_ASIDE_LIMIT):
        assert hand.room(0) == 1
        hand.take(f"{number}")
        hand.put_aside(f"{number}")
    assert hand.room(0) == 0


def test_those_put_aside_come_back_when_their_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.queue.hand.FIRST_PAUSE_SECONDS", 0.0)
    hand = Hand(Seats(1))
    hand.take("a")
    hand.put_aside("a")
    assert hand.known() == {"a"}
    assert hand.due() == ["a"]
    assert hand.known() == set()


def test_what_is_dealt_with_stays_known_until_the_queue_was_told() -> None:
    hand = Hand(Seats(1))
    hand.take("a")
    hand.finish("a")
    assert not hand.take("a")
    assert hand.let_go() == []
    assert hand.unsettled() == ["a"]
    hand.settle(["a"])
    assert hand.known() == set()


def test_letting_go_frees_the_seats() -> None:
    hand = Hand(Seats(3))
    for slip in ("a", "b", "c"):
        hand.take(slip)
    assert hand.let_go(["b", "unknown"]) == ["b"]
    assert hand.room(0) == 1
    assert sorted(hand.let_go()) == ["a", "c"]
    assert hand.room(0) == 3
