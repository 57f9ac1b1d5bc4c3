"""A delivery is believed when it was signed with a declared secret, whole and lately, and never otherwise."""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from senders import ENVIRONMENT, PROFILES, SECRET, STANDARD_SECRET, headers_of, standard

from worker.feeds.config import WrongFeed, load_feeds
from worker.feeds.declaration import Webhook
from worker.feeds.signatures import Unproven, moment, pretend, verify
from worker.settings import Settings

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BODY = b'{"type": "onboard", "person": {"external_id": "301", "first": "K\xc3\xadm {timestamp}"}}'
SIGNED = [name for name in PROFILES if name != "bearer"]
TIMED = [name for name in SIGNED if "timestamp_header" in PROFILES[name] or name == "standard"]


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def hook(name: str, **changed: Any) -> Webhook:
    return Webhook.model_validate({**PROFILES[name], **changed})


def sent(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]


@pytest.mark.parametrize("name", PROFILES)
def test_what_the_sender_signed_is_believed(name: str) -> None:
    found = verify(hook(name), sent(headers_of(name, BODY, NOW)), BODY, NOW)
    assert found == ("evt-1" if name in ("standard", "finch") else None)


@pytest.mark.parametrize("name", SIGNED)
@given(place=some.integers(0, len(BODY) - 1), bit=some.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_a_body_that_was_changed_by_one_bit_is_not(name: str, place: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[place] ^= 1 << bit
    with pytest.raises(Unproven, match="not that of the body"):
        verify(hook(name), sent(headers_of(name, BODY, NOW)), bytes(changed), NOW)


@pytest.mark.parametrize("name", PROFILES)
def test_another_secret_proves_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = headers_of(name, BODY, NOW)
    for variable in ENVIRONMENT:
        monkeypatch.setenv(variable, base64.b64encode(b"another key of enough length").decode())
    with pytest.raises(Unproven):
        verify(hook(name), sent(headers), BODY, NOW)


@pytest.mark.parametrize("name", PROFILES)
def test_each_header_is_needed(name: str) -> None:
    headers = headers_of(name, BODY, NOW)
    for left_out in headers:
        rest = {key: value for key, value in headers.items() if key != left_out}
        with pytest.raises(Unproven):
            verify(hook(name), sent(rest), BODY, NOW)
        with pytest.raises(Unproven):
            verify(hook(name), sent({**headers, left_out: ""}), BODY, NOW)


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("off", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_an_old_delivery_is_a_replay(name: str, off: timedelta) -> None:
    headers = headers_of(name, BODY, NOW - off)
    with pytest.raises(Unproven, match="replay"):
        verify(hook(name), sent(headers), BODY, NOW)
    assert verify(hook(name, tolerance=400), sent(headers), BODY, NOW) in ("evt-1", None)


@pytest.mark.parametrize("name", TIMED)
def test_time_and_id_are_signed_too(name: str) -> None:
    headers = headers_of(name, BODY, NOW)
    for field in headers:
        if "signature" not in field.lower():
            other = str(int(NOW.timestamp()) + 1) if "timestamp" in field.lower() else "evt-2"
            with pytest.raises(Unproven):
                verify(hook(name), sent({**headers, field: other}), BODY, NOW)
            with pytest.raises(Unproven, match="more than one"):
                verify(hook(name), [*sent(headers), (field.lower(), other)], BODY, NOW)


def test_while_secrets_change_either_will_do(tmp_path: Path) -> None:
    old, new = STANDARD_SECRET, "whsec_" + base64.b64encode(b"n" * 32).decode()
    file = tmp_path / "secret"
    file.write_text(old + "\n")
    both = hook("standard", secrets=["env:HOOK_THAT_IS_NOT_SET", f"file:{file}", "env:HOOK_STANDARD"])
    with pytest.raises(Unproven):
        verify(both, sent(standard(BODY, "evt-1", NOW, new)), BODY, NOW)
    file.write_text(new + "\n")  # nothing is started anew
    for secret in (old, new):
        assert verify(both, sent(standard(BODY, "evt-1", NOW, secret)), BODY, NOW) == "evt-1"


def test_of_several_signatures_one_has_to_be_right() -> None:
    headers = headers_of("standard", BODY, NOW)
    other = standard(BODY, "evt-1", NOW, "whsec_" + base64.b64encode(b"o" * 32).decode())["webhook-signature"]
    for told in (f"{other} {headers['webhook-signature']}", f"v1a,c29tZXRoaW5n v1,%%% {headers['webhook-signature']}"):
        assert verify(hook("standard"), sent({**headers, "webhook-signature": told}), BODY, NOW) == "evt-1"
    crowd = " ".join([other] * 16 + [headers["webhook-signature"]])
    with pytest.raises(Unproven):  # nobody tries a thousand
        verify(hook("standard"), sent({**headers, "webhook-signature": crowd}), BODY, NOW)


def test_a_prefix_is_part_of_the_signature() -> None:
    github = hook("merge", encoding="hex", header="X-Hub-Signature-256", prefix="sha256=")
    told = hmac.new(SECRET.encode(), BODY, "sha256").hexdigest()
    assert verify(github, [("x-hub-signature-256", f"sha256={told.upper()}")], BODY, NOW) is None
    with pytest.raises(Unproven):
        verify(github, [("x-hub-signature-256", told)], BODY, NOW)


@pytest.mark.parametrize(
    ("declared", "header", "value"),
    [({}, "authorization", f"bearer {SECRET}"), ({"header": "X-Token"}, "x-token", SECRET),
     ({"header": "X-Token", "prefix": "Key "}, "x-token", f"Key {SECRET}")],
)  # fmt: skip
def test_a_shared_word_stands_where_it_is_declared(declared: dict[str, Any], header: str, value: str) -> None:
    word = hook("bearer", **declared)
    assert verify(word, [(header, value)], BODY, NOW) is None
    for wrong in (value[:-1], value + "x", value.rpartition(" ")[2][:4], "Basic " + SECRET):
        with pytest.raises(Unproven):
            verify(word, [(header, wrong)], BODY, NOW)


def test_without_a_secret_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", " ")
    with pytest.raises(Unproven, match="none of the declared secrets can be read"):
        verify(hook("merge"), [("x-merge-webhook-signature", headers_of("merge", BODY, NOW)["X-Merge-Webhook-Signature"])], BODY, NOW)


@pytest.mark.parametrize("secret", [True, False], ids=["secret", "no secret"])
@pytest.mark.parametrize("name", PROFILES)
def test_whoever_brings_nothing_costs_as_much_as_one_for_no_feed(name: str, secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a large body and a clock tell which feeds there are."""
    if not secret:
        for variable in ENVIRONMENT:
            monkeypatch.setenv(variable, " ")
    sizes: list[int] = []
    real = hmac.digest

    def weighed(key: bytes, msg: bytes, digest: str) -> bytes:
        sizes.append(len(msg))
        return real(key, msg, digest)

    monkeypatch.setattr(hmac, "digest", weighed)
    body = b"x" * 100_000
    pretend(body)
    for_none = sum(sizes)
    sizes.clear()
    with pytest.raises(Unproven):
        verify(hook(name), [], body, NOW)
    assert for_none <= sum(sizes) < for_none + 1_000


@given(some.dictionaries(some.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), some.text(max_size=40)))
@settings(max_examples=100, deadline=None)
def test_whatever_is_sent_is_refused_and_never_breaks(headers: dict[str, str]) -> None:
    with pytest.raises(Unproven):
        verify(hook("standard"), list(headers.items()), BODY, NOW)


def test_times_as_senders_write_them() -> None:
    for text in ("1772442000", "1772442000000", "2026-03-02T09:00:00Z", "2026-03-02T10:00:00+01:00", "2026-03-02T09:00:00"):
        assert moment(text) == NOW, text
    for text in ("", "yesterday", "9" * 16, "-1", "1e9", "\u0661\u0662"):
        assert moment(text) is None, text


# -------------------------------------------------------------------------------------------------- declarations


def declared(**webhook: Any) -> str:
    with pytest.raises(WrongFeed) as wrong:
        load_feeds(Settings(feeds={"events": {"form": "messages", "mode": "event", "webhook": webhook}}))
    return str(wrong.value)


@pytest.mark.parametrize(
    ("webhook", "told"),
    [
        ({"secrets": ["hunter2-in-the-clear"]}, "feeds.events.webhook.secrets[1]: takes env:NAME (an environment variable) or file:/"),
        ({"secrets": ["hunter2-in-the-clear"]}, "a secret does not stand in this file"),
        ({"secrets": "hunter2-in-the-clear"}, "feeds.events.webhook.secrets: takes a list"),
        ({}, "feeds.events.webhook.secrets: names at least one secret"),
        ({"secrets": ["env:A"], "profle": "hmac"}, "feeds.events.webhook.profle: there is no such key; did you mean profile?"),
        ({"secrets": ["env:A"], "profile": "hmac"}, "webhook.header: names the header of the signature"),
        ({"secrets": ["env:A"], "profile": "hmac", "header": "S", "text": "{id}.{time}"}, "webhook.text: there is no {time}"),
        ({"secrets": ["env:A"], "profile": "hmac", "header": "S", "text": "{timestamp}"}, "webhook.text: has to hold {body}"),
        ({"secrets": ["env:A"], "profile": "hmac", "header": "S", "text": "{timestamp}.{body}"}, "webhook.timestamp_header: names"),
        ({"secrets": ["env:A"], "profile": "hmac", "header": "S", "id_header": "I"}, "webhook.id_header: takes a header that is signed"),
        ({"secrets": ["env:A"], "header": "S"}, 'webhook.header: is for profile = "hmac"; standard does without'),
        ({"secrets": ["env:A"], "profile": "bearer", "timestamp_header": "T"}, "webhook.timestamp_header: is for"),
        ({"secrets": ["env:A"], "types": {"left": "offboard"}}, "webhook.types: goes with person"),
        ({"secrets": ["env:A"], "person": ".", "types": {"left": "offboard"}}, "webhook.type: is needed with types"),
        ({"secrets": ["env:A"], "person": ".", "type": "t", "types": {"left": "leave"}}, "webhook.types.left: takes onboard, "),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_said_in_words_and_never_repeats_a_secret(webhook: dict[str, Any], told: str) -> None:
    found = declared(**webhook)
    assert told in found
    assert "hunter2" not in found


def test_a_webhook_changes_nothing_of_what_records_mean() -> None:
    plain = {"form": "messages", "mode": "event"}
    with_hook = {**plain, "webhook": {"secrets": ["env:HOOK"]}}
    one, other = (load_feeds(Settings(feeds={"events": raw}))["events"] for raw in (plain, with_hook))
    assert one.digest == other.digest
