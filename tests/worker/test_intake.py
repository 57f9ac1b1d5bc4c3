"""The one door into the ledger: one job per key, the same answer for the same message, and clear refusals."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from sqlalchemy import update
from trial import Bench

from worker.intake import Acceptance, Request, record_refusal, refused
from worker.jobs import Kind, Payload, Policy
from worker.outcomes import curable
from worker.tables import job


def send(bench: Bench, key: str | None = "k-1", kind: str = "trial", **fields: Any) -> Acceptance:
    door = {name: fields.pop(name) for name in ("run_at", "priority", "source", "version", "why", "requested_by", "hold",
                                                "on_behalf_of") if name in fields}
    source: str = door.pop("source", "test")
    [answer] = bench.app.submit([Request(kind, fields, source, key, **door)])
    return answer


# ------------------------------------------------------------------------------------------------- idempotency


def test_the_same_message_twice_is_one_job(bench: Bench) -> None:
    first, again = send(bench, user="pat"), send(bench, user="pat")
    assert (first.id, first.duplicate, again.id, again.duplicate) == (first.id, False, first.id, True)
    bench.drain()
    assert len(bench.done()) == 1
    after = send(bench, user="pat")
    assert (after.id, after.state, after.result, after.duplicate) == (first.id, "succeeded", {"changed": True}, True)


def test_the_same_message_twice_in_one_submission_is_one_job(bench: Bench) -> None:
    request = Request("trial", {"user": "pat"}, "test", "k-1")
    other = Request("trial", {"user": "kim"}, "test", "k-1")
    first, again, conflict = bench.app.submit([request, request, other])
    assert (first.id, again.id, again.duplicate) == (first.id, first.id, True)
    assert (conflict.state, conflict.reason) == ("refused", "key_reused")
    assert len(bench.jobs()) == 1


def test_the_place_taken_by_a_duplicate_keeps_nobody_waiting(bench: Bench) -> None:
    send(bench, user="pat")
    bench.drain()
    [_, new] = bench.app.submit([Request("trial", {"user": "pat"}, "test", key) for key in ("k-1", "k-2")])
    bench.drain(keeper=False)
    assert bench.state(new.id or "") == "succeeded"


@pytest.mark.parametrize("change", [{"user": "kim"}, {"text": "other"}, {"kind": "trial_bulk"},
                                    {"run_at": datetime(2026, 5, 1, tzinfo=UTC)}])
def test_a_key_used_for_something_else_is_refused_and_changes_nothing(bench: Bench, change: dict[str, Any]) -> None:
    first = send(bench, user="pat")
    other = send(bench, **{"user": "pat", **change})
    assert (other.state, other.reason, other.id) == ("refused", "key_reused", None)
    assert "k-1" in (other.reason_text or "")
    assert [row["id"] for row in bench.jobs()] == [first.id]


def test_the_same_key_of_another_source_is_another_job(bench: Bench) -> None:
    assert send(bench, user="pat").id != send(bench, user="pat", source="other").id


def test_when_is_part_of_what_is_asked_for_and_how_urgently_is_not(bench: Bench) -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    first = send(bench, user="pat", run_at=noon, priority=1)
    same = send(bench, user="pat", run_at=noon.astimezone(ZoneInfo("Asia/Tokyo")), priority=9)
    other = send(bench, user="pat", run_at=noon + timedelta(seconds=1))
    assert (same.id, other.reason) == (first.id, "key_reused")


def test_spelling_of_the_same_fields_makes_no_difference(bench: Bench) -> None:
    first = send(bench, user="pat", extra={"a": 1, "b": 2})
    assert send(bench, user={"username": "pat"}, extra={"b": 2, "a": 1}).id == first.id


def test_a_new_optional_field_does_not_turn_replays_into_conflicts(bench: Bench) -> None:
    class Before(Payload):
        text: str

    class After(Before):
        colour: str = "blue"

    add(bench, Before)
    first = send(bench, kind="versioned", text="a")
    add(bench, After)
    assert send(bench, kind="versioned", text="a").id == first.id


def test_without_a_key_one_is_made_and_returned(bench: Bench) -> None:
    first, second = send(bench, None, user="pat"), send(bench, None, user="pat")
    assert first.key
    assert first.id != second.id
    assert send(bench, first.key, user="pat").id == first.id


def test_a_refusal_that_may_be_cured_is_tried_again_by_the_same_message(bench: Bench) -> None:
    assert curable("unknown_user")
    first = send(bench, user="pat", do="reject", secret="one")
    bench.drain()
    assert bench.state(first.id or "") == "rejected"
    bench.trial.acts.pop("reject")
    again = send(bench, user="pat", do="reject", secret="two")
    assert (again.id, again.state, again.reason, again.duplicate) == (first.id, "queued", None, True)
    assert bench.row(first.id or "")["sealed"] == {"secret": "two"}
    bench.drain()
    assert bench.state(first.id or "") == "succeeded"


def test_a_refusal_for_good_stays_one(bench: Bench) -> None:
    assert not curable("not_locked")
    first = send(bench, user="pat", do="refuse")
    bench.drain()
    again = send(bench, user="pat", do="refuse")
    assert (again.id, again.state, again.reason) == (first.id, "rejected", "not_locked")


def test_a_pruned_job_still_answers_for_its_key(bench: Bench) -> None:
    first = send(bench, user="pat")
    bench.drain()
    bench.later(days=40)
    bench.keeper.prune()
    assert bench.row(first.id or "")["payload"] == {}
    again, other = send(bench, user="pat"), send(bench, user="kim")
    assert (again.id, again.state, again.result) == (first.id, "succeeded", None)
    assert other.reason == "key_reused"


def test_sealed_fields_stand_outside_of_the_comparison(bench: Bench) -> None:
    """A password is hashed with fresh salt at each honest retry."""
    assert send(bench, user="pat", secret="salt 1").id == send(bench, user="pat", secret="salt 2").id


# ---------------------------------------------------------------------------------------------- payload versions


def to_second(fields: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in fields.items() if name != "text"}, "words": fields["text"]}


class Second(Payload):
    """Version 2 calls `text` `words`."""

    version: ClassVar[int] = 2
    upgraders: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: to_second}
    words: str
    secret: SecretStr | None = None


def add(bench: Bench, payload: type[Payload], name: str = "versioned") -> None:
    bench.app.registry.add(Kind(name, "", "single", payload, Policy(), versioned))


def versioned(ctx: Any, ask: Any) -> dict[str, Any]:
    return {"words": getattr(ask, "words", None)}


class First(Payload):
    text: str
    secret: SecretStr | None = None


def test_a_job_stored_by_an_older_version_is_upgraded_and_recognised(bench: Bench) -> None:
    add(bench, First)
    waits = send(bench, "waits", "versioned", text="a", secret="s")
    planned = send(bench, "planned", "versioned", text="a", run_at=datetime(2026, 5, 1, tzinfo=UTC))
    add(bench, Second)
    assert send(bench, "waits", "versioned", words="a").id == waits.id
    assert send(bench, "waits", "versioned", text="a", version=1).id == waits.id
    assert send(bench, "waits", "versioned", words="b").reason == "key_reused"
    assert send(bench, "planned", "versioned", words="a", run_at=datetime(2026, 5, 1, tzinfo=UTC)).id == planned.id
    assert send(bench, "planned", "versioned", words="a", run_at=datetime(2026, 5, 2, tzinfo=UTC)).reason == "key_reused"
    bench.drain()
    assert bench.ended(waits.id or "").result == {"words": "a"}
    assert send(bench, "waits", "versioned", words="a").result == {"words": "a"}


def test_an_older_job_whose_sealed_field_is_gone_is_still_recognised(bench: Bench) -> None:
    class Sealed(First):
        secret: SecretStr

    class SealedSecond(Second):
        secret: SecretStr

    add(bench, Sealed)
    first = send(bench, "k", "versioned", text="a", secret="s")
    bench.drain()
    add(bench, SealedSecond)
    assert send(bench, "k", "versioned", words="a", secret="t").id == first.id


def test_a_message_of_a_newer_version_is_refused_and_so_is_a_key_used_by_one(bench: Bench) -> None:
    add(bench, First)
    assert send(bench, None, "versioned", text="a", version=3).reason == "newer_version"
    first = send(bench, "k", "versioned", text="a")
    with bench.scope() as scope:
        scope.conn.execute(update(job).values(version=2, payload={"words": "a"}).where(job.c.id == first.id))
    assert send(bench, "k", "versioned", text="a").reason == "newer_version"


def test_a_version_that_nobody_can_upgrade_is_refused(bench: Bench) -> None:
    add(bench, Second)
    answer = send(bench, None, "versioned", words="a", version=0)
    assert (answer.reason, "version 0" in (answer.reason_text or "")) == ("bad_payload", True)


# ------------------------------------------------------------------------------------------------ what is refused



def deep(levels: int) -> Any:
    nested: Any = {}
    for _ in range(levels):
        nested = {"a": nested}
    return nested


BAD: Sequence[tuple[dict[str, Any], str]] = [
    ({"kind": "no_such_kind"}, "unknown_kind"),
    ({"key": ""}, "bad_key"),
    ({"key": "k" * 256}, "bad_key"),
    ({"key": "naïve"}, "bad_key"),
    ({"key": "tab\there"}, "bad_key"),
    ({"colour": "blue"}, "bad_payload"),
    ({"text": 7}, "bad_payload"),
    ({"text": "nul \0 here"}, "bad_payload"),
    ({"text": "half \ud800 pair"}, "bad_payload"),
    ({"extra": {"nul \0 key": 1}}, "bad_payload"),
    ({"extra": {"half \udfff key": 1}}, "bad_payload"),
    ({"extra": {"a": [{"b": "\0"}]}}, "bad_payload"),
    ({"extra": {"a": float("nan")}}, "bad_payload"),
    ({"extra": {"a": float("inf")}}, "bad_payload"),
    ({"extra": deep(900)}, "bad_payload"),
    ({"extra": deep(5_000)}, "bad_payload"),
    ({"extra": {"a": "x" * 1_100_000}}, "bad_payload"),
    ({"secret": "nul \0 here"}, "bad_payload"),
    ({"source": "s" * 256}, "bad_payload"),
    ({"source": "nul \0"}, "bad_payload"),
    ({"requested_by": "r" * 256}, "bad_payload"),
    ({"on_behalf_of": "half \ud800"}, "bad_payload"),
    ({"why": "w" * 5_000}, "bad_payload"),
    ({"hold": "nul \0"}, "bad_payload"),
    ({"priority": 10}, "bad_payload"),
    ({"priority": -1}, "bad_payload"),
    ({"priority": 10**30}, "bad_payload"),
    ({"run_at": datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)}, "bad_payload"),
    ({"run_at": datetime.max.replace(tzinfo=UTC)}, "bad_payload"),
    ({"run_at": datetime.max.replace(tzinfo=ZoneInfo("America/New_York"))}, "bad_payload"),
    ({"run_at": datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))}, "bad_payload"),
]


def test_a_bad_request_is_refused_and_its_neighbours_go_on(bench: Bench) -> None:
    requests = [Request("trial", {"user": "kim"}, "test")]
    for asked, _ in BAD:
        fields = {"user": "pat", **{k: v for k, v in asked.items() if k in ("text", "extra", "secret", "colour")}}
        door = {"source": "test", **{k: v for k, v in asked.items() if k not in fields and k != "kind"}}
        requests.append(Request(asked.get("kind", "trial"), fields, **door))
    requests.append(Request("trial", {"user": "jo"}, "test"))
    first, *bad, last = bench.app.submit(requests)
    assert (first.state, last.state, len(bench.jobs())) == ("queued", "queued", 2)
    for answer, (asked, code) in zip(bad, BAD, strict=True):
        assert (answer.state, answer.id, answer.reason, bool(answer.reason_text)) == ("refused", None, code, True), list(asked)
    with bench.scope() as scope:
        for answer, request in zip(bad, requests[1:-1], strict=True):
            record_refusal(scope, answer, request.fields)
    kept = bench.rows("refusal")
    assert sorted(row["reason"] for row in kept) == sorted(code for _, code in BAD)
    assert all(len(json.dumps(row["evidence"])) < 20_000 for row in kept)


def test_a_refusal_repeats_nothing_that_stood_in_the_fields(bench: Bench) -> None:
    answer = send(bench, user="pat", text={"password": "hunter2 secret"})
    assert "hunter2" not in (answer.reason_text or "")


EVIDENCE: Sequence[Any] = [None, True, 7, 1.5, "text", ["a", 1], {"a": {"password": "hunter2"}}, float("nan"), {"nul \0": "\0"},
                           deep(900)]


def test_whatever_was_refused_can_be_kept_and_read(bench: Bench) -> None:
    request = Request("half \ud800", {}, "nul \0", "nul \0")
    with bench.scope() as scope:
        for evidence in EVIDENCE:
            record_refusal(scope, refused(request, "unreadable", problem="nul \0"), evidence)
    kept = [row["evidence"] for row in sorted(bench.rows("refusal"), key=lambda row: str(row["id"]))]
    assert kept[:6] == EVIDENCE[:6]
    assert "hunter2" not in str(kept)


def test_a_time_long_past_means_now(bench: Bench) -> None:
    for year, zone in ((1, "UTC"), (2000, "Europe/Paris")):
        answer = send(bench, None, user="pat", run_at=datetime(year, 1, 2, tzinfo=ZoneInfo(zone)))
        assert bench.row(answer.id or "")["run_at"] == bench.now


TEXTS = ["", "NULL", "\x1f", "a\x1fb\x1fc", '"{}\\', "\n\t\r", "😀 ünï", "'; --", "\\u0000", "%s {0} :name", "{a,b}"]


def test_every_other_text_comes_back_as_it_was(bench: Bench) -> None:
    fields = [{"text": text, "extra": {text or "e": [text, 2**70, 0.1, None, {}]}} for text in TEXTS]
    answers = bench.app.submit([Request("trial", {"user": "pat", **some}, "test") for some in fields])
    stored = [bench.row(answer.id or "")["payload"] for answer in answers]
    assert stored == [{"user": {"username": "pat"}, **some} for some in fields]
    bench.drain()
    assert bench.done() == TEXTS


def test_nothing_and_very_many(bench: Bench) -> None:
    assert bench.app.submit([]) == []
    answers = bench.app.submit([Request("trial_bulk", {"user": f"u{n % 4_000}"}, "test", f"k-{n}") for n in range(4_500)])
    assert [answer.key for answer in answers] == [f"k-{n}" for n in range(4_500)]
    states = [row["state"] for row in bench.jobs()]
    assert (states.count("queued"), states.count("waiting")) == (4_000, 500)
    bench.drain()
    assert {row["state"] for row in bench.jobs()} == {"succeeded"}


def test_intake_in_the_callers_transaction_is_undone_with_it(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError), bench.app.database.write() as conn:  # noqa: PT012 (the error is the point)
        assert bench.app.submit([Request("trial", {"user": "pat"}, "test")], conn)[0].state == "queued"
        raise ZeroDivisionError
    assert bench.jobs() == []
