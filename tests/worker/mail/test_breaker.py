"""A dead relay is left alone for a while, a wrong setting for longer, and one success makes all good."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.mail.breaker import (
    CLOSED,
    CONFIG_PAUSE,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PROBE_SECONDS,
    BreakerState,
    after_failure,
    after_success,
    decide,
)
from worker.mail.failures import (
    DeliveryFailure,
    MessageDeferred,
    MessageRefused,
    OutcomeUnknown,
    PolicyRefused,
    RelayMisconfigured,
    RelayUnavailable,
    Reply,
    Stage,
)

NOW = datetime(2026, 11, 23, 15, 4, tzinfo=UTC)
DOWN = RelayUnavailable(Stage.CONNECT, "No connection.")
LOCKED = RelayMisconfigured(Stage.AUTH, "Wrong password.")
POLICY = PolicyRefused(Stage.RCPT, "Not allowed.")


def open_until(state: BreakerState) -> datetime:
    assert state.state == "open"
    assert state.open_until is not None
    return state.open_until


def test_a_healthy_relay_is_used() -> None:
    assert decide(CLOSED, NOW) == ("send", CLOSED)
    assert after_success(CLOSED) is CLOSED


def test_a_dead_relay_is_left_alone_then_probed_by_one_worker_then_used_again() -> None:
    state = after_failure(CLOSED, DOWN, NOW)
    assert (state.kind, state.failures, state.opened_at) == ("relay", 1, NOW)
    assert "No connection." in state.reason
    assert FIRST_PAUSE <= open_until(state) - NOW <= 1.25 * FIRST_PAUSE
    assert decide(state, NOW + timedelta(seconds=1)) == ("wait", state)
    later = open_until(state)
    verdict, probing = decide(state, later)
    assert (verdict, probing.state) == ("probe", "half-open")
    assert decide(probing, later + timedelta(seconds=1)) == ("wait", probing)  # the other workers
    assert after_success(probing) == CLOSED


def test_a_worker_that_dies_while_probing_is_replaced() -> None:
    state = after_failure(CLOSED, DOWN, NOW)
    _, probing = decide(state, open_until(state))
    verdict, again = decide(probing, open_until(state) + PROBE_SECONDS)
    assert (verdict, again.state) == ("probe", "half-open")


def test_pauses_grow_up_to_the_longest_and_stay_spread() -> None:
    state, now, pauses = CLOSED, NOW, []
    for _ in range(12):
        state = after_failure(state, DOWN, now, jitter=0.5)
        pauses.append((open_until(state) - now).total_seconds())
        now = open_until(state)
        _, state = decide(state, now)
    assert pauses == [5, 10, 20, 40, 80, 160, *[300] * 6]
    assert state.opened_at == NOW
    for jitter in (0.0, 1.0):
        pause = open_until(after_failure(state, DOWN, now, jitter=jitter)) - now
        assert FIRST_PAUSE <= pause <= LONGEST_PAUSE
    drawn = {open_until(after_failure(state, DOWN, now)) for _ in range(20)}
    assert len(drawn) > 1


def test_many_workers_that_meet_the_same_outage_count_once() -> None:
    first = after_failure(CLOSED, DOWN, NOW)
    state = first
    for second in range(8):
        state = after_failure(state, DOWN, NOW + timedelta(milliseconds=second))
    assert state == first


def test_a_wrong_setting_is_probed_every_five_minutes_and_no_more() -> None:
    state, now = CLOSED, NOW
    for _ in range(5):
        state = after_failure(state, LOCKED, now)
        assert (state.kind, open_until(state) - now) == ("config", CONFIG_PAUSE)
        now = open_until(state)
        verdict, state = decide(state, now)
        assert verdict == "probe"


def test_a_wrong_setting_outranks_an_outage() -> None:
    state = after_failure(after_failure(CLOSED, DOWN, NOW), LOCKED, NOW)
    assert (state.kind, open_until(state)) == ("config", NOW + CONFIG_PAUSE)


@pytest.mark.parametrize("failure", [MessageDeferred(Stage.RCPT, "Later."), MessageRefused(Stage.RCPT, "Unknown.")])
def test_a_mail_that_is_refused_shows_that_the_relay_works(failure: DeliveryFailure) -> None:
    _, probing = decide(after_failure(CLOSED, DOWN, NOW), NOW + timedelta(hours=1))
    assert probing.state == "half-open"
    assert after_failure(probing, failure, NOW, "ann") == CLOSED
    assert after_failure(CLOSED, failure, NOW, "ann") == CLOSED


def test_an_unknown_outcome_pauses_the_relay_so_that_it_does_not_lose_the_next_mail() -> None:
    state = after_failure(CLOSED, OutcomeUnknown(Stage.DOT, "Line lost."), NOW)
    assert (state.state, state.kind) == ("open", "relay")


def test_the_reason_that_everybody_sees_names_no_recipient() -> None:
    state = CLOSED
    for who in ("ann", "bob", "cid"):
        reply = Reply(554, "5.7.1", f"554 5.7.1 <{who}@example.org>: relay access denied")
        state = after_failure(state, PolicyRefused(Stage.RCPT, "Not allowed.", reply), NOW, who)
    assert "relay access denied" in state.reason
    assert "example.org" not in state.reason


def test_a_policy_against_three_people_in_a_row_is_a_policy_against_muster() -> None:
    state = CLOSED
    for who in ("ann", "ann", "bob", "ann"):
        state = after_failure(state, POLICY, NOW, who)
        assert decide(state, NOW)[0] == "send"
    state = after_failure(state, POLICY, NOW, "cid")
    assert (state.state, state.kind, open_until(state)) == ("open", "config", NOW + CONFIG_PAUSE)
    assert "3 recipients" in state.reason
    verdict, probing = decide(state, open_until(state))
    assert verdict == "probe"
    assert after_failure(probing, POLICY, NOW, "dan").state == "open"  # still refused: the next pause
    assert after_success(probing) == CLOSED


@pytest.mark.parametrize("between", ["success", "refused"])
def test_a_mail_that_gets_through_in_between_ends_the_row(between: str) -> None:
    state = CLOSED
    for who in ("ann", "bob"):
        state = after_failure(state, POLICY, NOW, who)
    state = after_success(state) if between == "success" else after_failure(state, MessageRefused(Stage.RCPT, "No."), NOW)
    assert after_failure(state, POLICY, NOW, "cid").state == "closed"


def test_a_greylisting_in_between_does_not_end_the_row() -> None:
    state = CLOSED
    for who in ("ann", "bob"):
        state = after_failure(state, POLICY, NOW, who)
    state = after_failure(state, MessageDeferred(Stage.RCPT, "Later."), NOW, "eve")
    assert after_failure(state, POLICY, NOW, "cid").state == "open"
