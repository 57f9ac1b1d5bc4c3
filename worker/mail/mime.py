"""Puts a mail into the bytes that go over the wire, the same bytes every time."""

import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

LINE = 76
"""Longest line with an encoded word in it (RFC 2047, section 2); everything else keeps to it as well."""

WORD_BYTES = 36
"""UTF-8 bytes in one encoded word: 48 characters of base64 and 12 around them leave room for "Subject: "."""

QUOTED_PRINTABLE_SHARE = 6
"""A part stays readable (quoted-printable) while fewer than one byte in six would need an escape; else base64."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# Blanks, control characters (C0, DEL, C1 with NEL) and the Unicode line and paragraph separators.
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PRINTABLE = re.compile(r"[ -~]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_MAILBOX = re.compile(r"[^\s\x00-\x20\x7f-\x9f<>()\[\]\\,;:@\"]+@[A-Za-z0-9.-]+")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+>")
_LANGUAGE = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_FIELD_NAME = re.compile(r"[A-Za-z0-9-]+")
_RESERVED = frozenset({
    "date", "message-id", "from", "to", "cc", "bcc", "reply-to", "sender", "subject", "mime-version", "auto-submitted",
    "x-auto-response-suppress", "content-type", "content-transfer-encoding", "content-language", "return-path",
    "received", "resent-to",
})


class UnsafeMessage(ValueError):
    """A value of this mail cannot stand in a header, so the mail was not built."""


def message_id_for(job_id: str, domain: str) -> str:
    """Return the Message-ID of the mail of one job: the same for every attempt, and telling nothing of the job."""
    digest = hashlib.sha256(b"muster mail\n" + job_id.encode()).hexdigest()[:40]
    message_id = f"<{digest}@{domain}>"
    if not _MESSAGE_ID.fullmatch(message_id):
        raise UnsafeMessage(f"{domain!r} is no domain for a Message-ID; it needs an ASCII name such as id.example.com.")
    return message_id


def build_message(
    *,
    sender: tuple[str, str],
    recipient: tuple[str, str],
    subject: str,
    text: str,
    html: str,
    message_id: str,
    date: datetime,
    reply_to: tuple[str, str] | None = None,
    language: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> bytes:
    """Return one complete message (RFC 5322, multipart/alternative, text first), lines ending in CR LF.

    `sender`, `recipient` and `reply_to` are (display name or "", address); names and subject may hold anything,
    line breaks and control characters become blanks. `date` carries a zone. Equal arguments give equal bytes.
    Raises UnsafeMessage for an address, Message-ID, language or header name that cannot be made safe.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise UnsafeMessage(f"{message_id!r} is no Message-ID; message_id_for() makes one.")
    fields = [
        ("Date", _date(date)),
        ("Message-ID", message_id),
        ("From", _mailbox(sender, len("From: "))),
        ("To", _mailbox(recipient, len("To: "))),
    ]
    if reply_to is not None:
        fields.append(("Reply-To", _mailbox(reply_to, len("Reply-To: "))))
    fields += [
        ("Subject", encode_words(subject, len("Subject: "))),
        ("MIME-Version", "1.0"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
    ]
    if language is not None:
        if not _LANGUAGE.fullmatch(language):
            raise UnsafeMessage(f"{language!r} is no language; it needs a tag such as en or pt-BR.")
        fields.append(("Content-Language", language))
    for name, value in (extra or {}).items():
        if not _FIELD_NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise UnsafeMessage(f"{name!r} cannot be an extra header: it is no header name, or Muster sets it itself.")
        fields.append((name, encode_words(value, len(name) + 2)))
    # "=_" stands in neither quoted-printable nor base64, so no body can hold the boundary.
    boundary = "=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32]
    fields.append(("Content-Type", f'multipart/alternative;\r\n boundary="{boundary}"'))
    head = "".join([f"{name}: {value}\r\n" for name, value in fields]).encode()
    _check_head(head, [name for name, _ in fields])
    line = b"\r\n--" + boundary.encode()  # the line end before a boundary belongs to it, not to the part
    return b"".join((head, line, b"\r\n", _part("plain", text), line, b"\r\n", _part("html", html), line, b"--\r\n"))


def encode_words(value: str, used: int = 0) -> str:
    """Return `value` as the unstructured text of a header: as it is, or as encoded words (RFC 2047, utf-8, base64).

    `used` is how many characters already stand on the line. Plain text that could be taken for an encoded word is
    encoded too, so what a reader decodes is always exactly what was meant.
    """
    value = _one_line(value)
    if len(value) + used <= LINE and "=?" not in value and _PRINTABLE.fullmatch(value):
        return value
    return _words(value)


def _one_line(value: str) -> str:
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()  # half a surrogate pair has no place in UTF-8
    return _BREAKS.sub(" ", value).strip()


def _words(value: str) -> str:
    words: list[str] = []
    data = value.encode()
    start = 0
    while start < len(data):
        end = min(start + WORD_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # never cut a character in two
            end -= 1
        words.append(f"=?utf-8?b?{binascii.b2a_base64(data[start:end], newline=False).decode()}?=")
        start = end
    return "\r\n ".join(words)


def _mailbox(who: tuple[str, str], used: int) -> str:
    name, address = who
    if not _MAILBOX.fullmatch(address) or len(address) > 320:
        raise UnsafeMessage(f"{address!r} cannot stand in a header; parse_address() says what is wrong with it.")
    name = _one_line(name)
    if not name:
        return address
    if len(name) + used > LINE or "=?" in name or not _PRINTABLE.fullmatch(name):
        phrase = _words(name)
    elif _ATOMS.fullmatch(name):
        phrase = name
    else:
        phrase = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    last = len(phrase) - phrase.rfind("\n")
    return f"{phrase}{' ' if used + last + len(address) + 3 <= LINE else chr(13) + chr(10) + ' '}<{address}>"


def _date(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise UnsafeMessage("The date of a mail needs a time zone.")
    at = moment.astimezone(UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} {at:%H:%M:%S} +0000"


def _part(subtype: str, body: str) -> bytes:
    body = body.replace("\r\n", "\n").replace("\r", "\n")
    if not body.endswith("\n"):
        body += "\n"
    data = body.replace("\n", "\r\n").encode("utf-8", "replace")
    escapes = data.count(b"=") + (0 if body.isascii() else len(data.translate(None, _ASCII)))
    if escapes * QUOTED_PRINTABLE_SHARE < len(data):
        encoding, coded = b"quoted-printable", binascii.b2a_qp(data, istext=True)
    else:
        encoding, coded = b"base64", _base64(data)
    return b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (
        subtype.encode(), encoding, coded,
    )


_ASCII = bytes(range(128))


def _base64(data: bytes) -> bytes:
    coded = binascii.b2a_base64(data, newline=False)
    return b"".join([coded[at : at + LINE] + b"\r\n" for at in range(0, len(coded), LINE)])


def _check_head(head: bytes, names: list[str]) -> None:
    """Read the finished head the way a mail server does; it must hold the headers that were set, and no other."""
    if not head.count(b"\r\n") == head.count(b"\r") == head.count(b"\n") or b"\0" in head:
        raise UnsafeMessage("A header holds a stray line break or a NUL, so the mail was not built.")
    found: list[str] = []
    for line in head[:-2].split(b"\r\n"):
        if line[:1] not in {b" ", b"\t"}:
            found.append(line.partition(b":")[0].decode("utf-8", "replace"))
        elif not line.strip():
            raise UnsafeMessage("A header holds an empty line, so the mail was not built.")
    if found != names:
        raise UnsafeMessage(f"The finished mail would hold the headers {found}, not {names}; it was not built.")
