"""The bytes of a mail: the same every time, read back exactly, and closed to hostile names."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.mail.mime import UnsafeMessage, build_message, message_id_for

DATE = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
USUAL_NAMES = [
    "Date", "Message-ID", "From", "To", "Subject", "MIME-Version", "Auto-Submitted", "X-Auto-Response-Suppress",
    "Content-Type",
]


def build(**changed: Any) -> bytes:
    values: dict[str, Any] = {
        "sender": ("Example Directory", "muster@example.com"),
        "recipient": ("Ann Smith", "ann@example.org"),
        "subject": "Set a new password",
        "text": "Hello\n",
        "html": "<p>Hello</p>\n",
        "message_id": message_id_for("job-1", "id.example.com"),
        "date": DATE,
    }
    return build_message(**(values | changed))


def parse(message: bytes) -> EmailMessage:
    return email.message_from_bytes(message, policy=email.policy.default)


def plain(value: str) -> str:
    """What must be left of a value: one line, blanks collapsed, whole characters."""
    value = value.encode("utf-8", "replace").decode()
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", value).strip()


def test_a_mail_as_a_whole() -> None:
    message = build(reply_to=("", "help@example.com"), language="en", extra={"X-Job": "42"})
    head, _, rest = message.partition(b"\r\n\r\n")
    boundary = head.rpartition(b'boundary="')[2].rstrip(b'"')
    assert head.decode().splitlines()[:-1] == [
        "Date: Mon, 23 Nov 2026 15:04:05 +0000",
        f"Message-ID: {message_id_for('job-1', 'id.example.com')}",
        "From: Example Directory <muster@example.com>",
        "To: Ann Smith <ann@example.org>",
        "Reply-To: help@example.com",
        "Subject: Set a new password",
        "MIME-Version: 1.0",
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "Content-Language: en",
        "X-Job: 42",
        "Content-Type: multipart/alternative;",
    ]
    assert rest.startswith(b"--" + boundary)
    assert rest.endswith(b"--" + boundary + b"--\r\n")
    parsed = parse(message)
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["text/plain", "text/html"]
    assert not parsed.defects
    assert parsed["Date"].datetime == DATE


def test_two_builds_are_the_same_bytes_and_two_jobs_are_not() -> None:
    assert build() == build()
    assert build(date=DATE.astimezone(timezone(timedelta(hours=2)))) == build()
    assert build(message_id=message_id_for("job-2", "id.example.com")) != build()


def test_a_message_id_is_stable_and_tells_nothing_of_the_job() -> None:
    first = message_id_for("job-1", "id.example.com")
    assert first == message_id_for("job-1", "id.example.com")
    assert len({message_id_for(f"job-{number}", "id.example.com") for number in range(1000)}) == 1000
    assert "job" not in first
    assert first.endswith("@id.example.com>")


@pytest.mark.parametrize("domain", ["", "a b", "x>\r\nBcc: a@b.c", "bü.example"])
def test_a_message_id_needs_a_real_domain(domain: str) -> None:
    with pytest.raises(UnsafeMessage):
        message_id_for("job-1", domain)


HOSTILE = [
    "=?utf-8?q?x=0D=0ABcc=3A_evil=40x.y?= " + "long " * 30,
    "=?utf-8?b?eA0KQmNjOiBldmlsQHgueQ==?=",
    "a\r\nBcc: evil@x.y", "a\nBcc: evil@x.y", "a\rBcc: evil@x.y", "a\x00b", "a\x85Bcc: evil@x.y", "a\u2028Bcc: evil@x.y",
    "a\x0b\x0cb", '"quoted" <evil@x.y>, other', "evil@x.y,", "Smith, Ann; (comment) <x>", "back\\slash\\", '"', "\\", "=?",
    "محمد بن سلمان", "\u202eevil\u202c", "😀" * 50, "a" * 300, "é" * 300, " ", "\r\n", "\ud800", "ann@example.org",
]


def names_of(message: bytes) -> list[str]:
    return parse(message).keys()


@settings(deadline=None, max_examples=400)
@given(st.text(), st.text(), st.text())
@example(HOSTILE[0], HOSTILE[0], HOSTILE[0])
def test_whatever_a_name_or_subject_holds_no_header_is_added_and_none_is_lost(
    subject: str, recipient: str, sender: str,
) -> None:
    check_headers(subject, recipient, sender)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_arrive_as_what_they_are(value: str) -> None:
    check_headers(value, value, value)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["=?utf-8?q?", "?=", "=0D=0A", "\r\n", "Bcc: x@y.z", " ", '"', "\\", "<", ">", ",", "ü", "\u2028"])))
def test_pieces_of_encoded_words_and_of_addresses_cannot_be_put_together(pieces: list[str]) -> None:
    check_headers(*["".join(pieces)] * 3)


def check_headers(subject: str, recipient: str, sender: str) -> None:
    message = build(subject=subject, recipient=(recipient, "ann@example.org"), sender=(sender, "muster@example.com"))
    parsed = parse(message)
    assert parsed.keys() == USUAL_NAMES
    assert parsed["Subject"] == plain(subject)
    for name, value, address in (("To", recipient, "ann@example.org"), ("From", sender, "muster@example.com")):
        header = parsed[name]
        assert isinstance(header, AddressHeader)
        assert [found.addr_spec for found in header.addresses] == [address]
        # The standard library's address parser puts a blank between two encoded words (RFC 2047, 6.2 says none), so
        # the name is read by the function that reads a Subject.
        phrase, found = parseaddr(email.message_from_bytes(message, policy=email.policy.compat32)[name])
        assert (str(make_header(decode_header(phrase))), found) == (plain(value), address)
    head = message.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert max(len(line) for line in head.split(b"\r\n")) <= 78


@settings(deadline=None, max_examples=300)
@given(st.text(), st.text())
@example("Hello =\n.\n..\nFrom me\n trailing \n\ttab\t\n", "<p>ü</p>" * 500)
@example("=" * 200, "\x00\x1b\x7f")
def test_both_parts_are_read_back_as_they_were(text: str, html: str) -> None:
    message = build(text=text, html=html)
    assert message == build(text=text, html=html)
    parts = list(parse(message).iter_parts())
    for part, body in zip(parts, (text, html), strict=True):
        wanted = body.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.decode().replace("\r\n", "\n") == (wanted if wanted.endswith("\n") else wanted + "\n")
    assert message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n")
    assert message.isascii()
    assert max(len(line) for line in message.split(b"\r\n")) <= 78


def test_a_readable_part_stays_readable_and_the_rest_is_base64() -> None:
    message = build(text="Hello Jörg,\nnice to see you\n", html="<p>こんにちは</p>")
    assert b"Hello J=C3=B6rg,\r\nnice to see you\r\n" in message
    parts = list(parse(message).iter_parts())
    assert [part["Content-Transfer-Encoding"] for part in parts] == ["quoted-printable", "base64"]
    assert [part.get_content().splitlines() for part in parts] == [["Hello Jörg,", "nice to see you"], ["<p>こんにちは</p>"]]


def test_a_long_link_survives() -> None:
    link = "https://id.example.com/recover/" + "A1b2C3d4_-" * 20 + "?a=b&c==d"
    parts = list(parse(build(text=f"x {link}\n", html=f'<a href="{link}">x</a>')).iter_parts())
    assert all(link in part.get_content() for part in parts)


def test_an_address_outside_ascii_stands_in_the_header_as_utf8() -> None:
    message = build(recipient=("Jörg", "jörg@example.org"))
    assert "<jörg@example.org>".encode() in message
    parsed = email.message_from_string(message.decode(), policy=email.policy.SMTPUTF8)
    assert parsed["To"].addresses[0].addr_spec == "jörg@example.org"


@pytest.mark.parametrize(
    "address",
    ["", "ann", "ann@", "ann@example.org, evil@x.y", "ann@example.org\r\nBcc: evil@x.y", "a b@c.d", "<a@b.c>", "a@b.c\x85", "a@b.c\u2028"],
)
def test_an_unsafe_address_stops_the_mail(address: str) -> None:
    for role in ("sender", "recipient", "reply_to"):
        with pytest.raises(UnsafeMessage, match="cannot stand in a header"):
            build(**{role: ("Ann", address)})


@pytest.mark.parametrize(
    "changed",
    [
        {"message_id": "x"}, {"message_id": "<a@b>\r\nBcc: evil@x.y"}, {"language": "en\r\nBcc: evil@x.y"}, {"language": ""},
        {"extra": {"Bcc": "evil@x.y"}}, {"extra": {"subject": "again"}}, {"extra": {"X-A: b\r\nBcc": "evil@x.y"}},
        {"extra": {"": "x"}}, {"date": datetime(2026, 1, 1)},  # noqa: DTZ001 a time without a zone is the case
    ],
    ids=str,
)
def test_other_unsafe_values_stop_the_mail_too(changed: dict[str, Any]) -> None:
    with pytest.raises(UnsafeMessage):
        build(**changed)


@given(st.text())
def test_extra_headers_are_as_safe_as_the_others(value: str) -> None:
    parsed = parse(build(extra={"Resend-Idempotency-Key": value}))
    assert parsed.keys() == [*USUAL_NAMES[:-1], "Resend-Idempotency-Key", "Content-Type"]
    assert parsed["Resend-Idempotency-Key"] == plain(value)
