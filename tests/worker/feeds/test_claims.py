"""Claims: whatever the order and however often a source says it, the same is known of a person in the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.feeds.claims import NOTHING, Claims, Stamp, hear, ripen

NAMES = ("status", "last", "groups", "attributes.office")
END = 100

Said = tuple[Stamp, Mapping[str, Any]]

values = st.one_of(st.none(), st.sampled_from(["", "a", "b", "ä"]), st.lists(st.sampled_from(["a", "b"]), max_size=2))
# Few instants, so that equal stamps are the rule; half of them take effect at once.
stamps = st.tuples(st.one_of(st.just(0), st.integers(1, END - 1)), st.integers(0, 3))
statements = st.lists(st.tuples(stamps, st.dictionaries(st.sampled_from(NAMES), values)), max_size=7)


def after(heard: Sequence[Said], moments: Sequence[int], *, ripening: bool = False) -> Claims:
    """What is known at the end, when each statement is heard at its moment."""
    claims = NOTHING
    for (stamp, fields), now in zip(heard, moments, strict=True):
        if ripening:
            claims = ripen(claims, now)
        claims = hear(claims, stamp, fields, now)
    return ripen(claims, END)


def stamp_of(claims: Claims, name: str) -> Stamp:
    return claims.stamps.get(name, claims.stamps["*"])


@given(statements, st.data())
def test_order_repetition_and_the_moment_of_hearing_make_no_difference(said: list[Said], data: st.DataObject) -> None:
    yardstick = after(said, [0] * len(said))
    again = data.draw(st.lists(st.sampled_from(said), max_size=5)) if said else []
    heard = data.draw(st.permutations([*said, *again]))
    moments = sorted(data.draw(st.lists(st.integers(0, END), min_size=len(heard), max_size=len(heard))))
    assert after(heard, moments) == yardstick
    assert after(heard, moments, ripening=True) == yardstick, "ripening early or late is the same"


@given(statements)
def test_of_each_field_the_newest_word_holds(said: list[Said]) -> None:
    claims = after(said, [0] * len(said))
    assert claims.later == ()
    assert set(claims.fields) == {name for _, fields in said for name in fields}
    for name, value in claims.fields.items():
        newest = max(stamp for stamp, fields in said if name in fields)
        assert stamp_of(claims, name) == newest
        assert value in [fields[name] for stamp, fields in said if stamp == newest and name in fields]


@given(statements, st.integers(0, END))
def test_hearing_all_of_it_again_changes_nothing(said: list[Said], now: int) -> None:
    claims = NOTHING
    for stamp, fields in said:
        claims = hear(claims, stamp, fields, now)
    for stamp, fields in said:
        assert hear(claims, stamp, fields, now) == claims


@given(statements, st.integers(0, END))
def test_nothing_shows_before_it_takes_effect(said: list[Said], now: int) -> None:
    everything, due = NOTHING, NOTHING
    for stamp, fields in said:
        everything = hear(everything, stamp, fields, 0)
        if stamp[0] <= now:
            due = hear(due, stamp, fields, now)
    seen = ripen(everything, now)
    assert (seen.fields, seen.stamps) == (due.fields, due.stamps)
    assert all(stamp[0] > now for stamp, _ in seen.later)


def test_an_older_record_fills_gaps_and_overwrites_nothing() -> None:
    new = hear(NOTHING, (0, 5), {"last": "Archer"}, 10)
    both = hear(new, (0, 3), {"last": "Old", "first": "Ann"}, 10)
    assert both.fields == {"last": "Archer", "first": "Ann"}
    assert (stamp_of(both, "last"), stamp_of(both, "first")) == ((0, 5), (0, 3))


def test_what_a_newer_record_leaves_out_stays_and_what_it_clears_goes() -> None:
    claims = hear(NOTHING, (0, 1), {"last": "Archer", "email": "ann@example.com"}, 10)
    claims = hear(claims, (0, 2), {"email": None}, 10)
    assert claims.fields == {"last": "Archer", "email": None}
    assert hear(claims, (0, 1), {"email": "ann@example.com"}, 10) == claims


def test_of_two_equally_new_words_everybody_chooses_the_same() -> None:
    one, other = {"last": "Archer"}, {"last": "Baker"}
    first = hear(hear(NOTHING, (0, 1), one, 10), (0, 1), other, 10)
    assert first == hear(hear(NOTHING, (0, 1), other, 10), (0, 1), one, 10)
    assert first.fields == {"last": "Baker"}


def test_a_change_announced_waits_for_its_day() -> None:
    claims = hear(NOTHING, (0, 1), {"attributes.office": "B2"}, 10)
    claims = hear(claims, (50, 2), {"attributes.office": "C3"}, 10)
    assert ripen(claims, 49).fields == {"attributes.office": "B2"}
    assert ripen(claims, 50) == Claims({"attributes.office": "C3"}, {"*": (50, 2)})


def test_a_record_that_says_nothing_leaves_no_trace() -> None:
    assert hear(NOTHING, (0, 7), {}, 10) == NOTHING
    assert hear(hear(NOTHING, (0, 7), {}, 10), (0, 1), {"last": "Archer"}, 10).fields == {"last": "Archer"}
