"""When to leave a failing relay alone, and when to try it again."""

import random
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from worker.mail.failures import (
    DeliveryFailure,
    MessageDeferred,
    MessageRefused,
    OutcomeUnknown,
    PolicyRefused,
    RelayMisconfigured,
)

FIRST_PAUSE = timedelta(seconds=5)
"""A relay that is being restarted is back within seconds, and somebody is waiting for a recovery mail."""

LONGEST_PAUSE = timedelta(minutes=5)
"""However long an outage lasts, mails flow again at most this long after its end."""

CONFIG_PAUSE = timedelta(minutes=5)
"""A wrong password does not get right by trying: more attempts only lock the account."""

PROBE_SECONDS = timedelta(seconds=60)
"""How long one worker may take to probe; if it dies meanwhile, the next one probes after that."""

POLICY_RECIPIENTS = 3
"""One recipient's refusal by policy may be about that person; from three in a row it is about Muster."""

_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")

Verdict = Literal["send", "probe", "wait"]


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What all workers know about one relay; plain values, kept in one row that they share.

    closed: send. open: wait until `open_until`. half-open: one worker probes and sends one mail, the others wait
    until `open_until`. `kind` says whether the relay is down or refuses Muster; `policy_recipients` are the distinct
    recipients (as hashes, in order) lately refused by policy.
    """

    state: Literal["closed", "open", "half-open"] = "closed"
    kind: Literal["relay", "config"] | None = None
    reason: str = ""
    failures: int = 0
    opened_at: datetime | None = None
    open_until: datetime | None = None
    policy_recipients: tuple[str, ...] = ()


CLOSED = BreakerState()
"""A healthy relay; also what an operator's "try again now" sets."""


def decide(state: BreakerState, now: datetime) -> tuple[Verdict, BreakerState]:
    """Return what a worker that holds a due mail may do, and the state to store before it does so.

    "send": hand it over. "wait": leave it until `open_until`, its attempts untouched. "probe": this worker alone
    calls the transport's probe() and, if that succeeds, sends one mail; then after_success or after_failure.
    """
    if state.state == "closed":
        return "send", state
    if state.open_until is not None and now < state.open_until:
        return "wait", state
    return "probe", replace(state, state="half-open", open_until=now + PROBE_SECONDS)


def after_success(state: BreakerState) -> BreakerState:
    """Return the state after a 250: proof enough that the relay takes mail, whatever was thought of it."""
    return state if state == CLOSED else CLOSED


def after_failure(
    state: BreakerState, failure: DeliveryFailure, now: datetime, recipient: str = "", *, jitter: float | None = None,
) -> BreakerState:
    """Return the state after `failure`. `recipient` is any stable stand-in for the address, such as its hash.

    `jitter` (0 to 1) spreads the workers of many machines; left out, it is drawn.
    """
    if isinstance(failure, MessageRefused):
        return after_success(state)  # the relay works, it only does not like this one mail
    if isinstance(failure, MessageDeferred):
        return replace(CLOSED, policy_recipients=state.policy_recipients)
    if isinstance(failure, PolicyRefused):
        return _after_policy(state, failure, now, recipient)
    if isinstance(failure, RelayMisconfigured):
        return _opened(state, "config", failure.text, now, CONFIG_PAUSE)
    # A line lost after the final dot counts here too: a relay that loses every mail must not get the next one at once.
    reason = failure.text
    if isinstance(failure, OutcomeUnknown):
        reason = f"{failure.text} Muster pauses before the next mail."
    return after_outage(state, reason, now, jitter=jitter)


def after_outage(
    state: BreakerState, reason: str, now: datetime, *, pause: timedelta | None = None, jitter: float | None = None,
) -> BreakerState:
    """Return the state after the other side was away. `pause`: how long it asked to be left alone, if it did."""
    if state.state == "open":
        return state  # several workers ran into the same outage: that is one failure, not several
    if pause is None:
        drawn = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(state.failures, 10))
        spread = 0.75 + 0.5 * (random.random() if jitter is None else jitter)
        pause = max(FIRST_PAUSE, min(LONGEST_PAUSE, drawn * spread))
    return _opened(state, "relay", reason, now, pause)


def _after_policy(state: BreakerState, failure: PolicyRefused, now: datetime, recipient: str) -> BreakerState:
    refused = state.policy_recipients
    if recipient not in refused:
        refused = (*refused, recipient)[-POLICY_RECIPIENTS:]
    if len(refused) < POLICY_RECIPIENTS:
        return replace(CLOSED, policy_recipients=refused)
    said = _ADDRESS.sub("[address]", failure.text)  # the breaker's row outlives the mail, and all may read it
    reason = f"{said} The last {POLICY_RECIPIENTS} recipients were all refused by policy, so it is about Muster."
    return replace(_opened(state, "config", reason, now, CONFIG_PAUSE), policy_recipients=refused)


def _opened(
    state: BreakerState, kind: Literal["relay", "config"], reason: str, now: datetime, pause: timedelta,
) -> BreakerState:
    return BreakerState(
        state="open",
        kind=kind,
        reason=reason,
        failures=state.failures + 1,
        opened_at=state.opened_at or now,
        open_until=now + pause,
        policy_recipients=state.policy_recipients,
    )
