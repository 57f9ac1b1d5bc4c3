"""What can go wrong between Muster and the relay, and whose fault it is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

SHOWN_CHARACTERS = 200
"""How much of a relay's answer is kept in an error: the sentence, not the advertisement after it."""

LONG_WORD = 40
"""A run of letters and digits this long in a refusal may be a token quoted from the mail, so it is masked."""

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b", re.ASCII)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+|\b[\w-]+(\.[\w-]+)+(:\d+)?/\S+|\bwww\.\S+", re.IGNORECASE)
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{LONG_WORD},}}", re.ASCII)
_CONTROLS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_THROTTLED = re.compile(r"throttl", re.IGNORECASE)


class Stage(StrEnum):
    """How far the conversation with the relay had come (RFC 5321). Until `dot`, the relay surely has nothing."""

    CONNECT = "connect"
    BANNER = "banner"
    HELLO = "hello"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the relay: the basic code, the enhanced code (RFC 3463) or "", and the text with both in it."""

    code: int
    enhanced: str
    text: str


def reply_from(code: int, lines: Iterable[str]) -> Reply:
    """Return the Reply for a basic code and the texts of its lines, trimmed, in one line, without any URL."""
    text = " ".join(lines)
    found = _ENHANCED.match(text.lstrip())
    return Reply(code, found.group() if found else "", safe_text(f"{code} {text}"))


def safe_text(text: str, secrets: Iterable[str] = (), *, tokens: bool = False) -> str:
    """Return `text` fit to be shown and kept: one line, trimmed, with URLs and the given secrets masked."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[masked]")
    text = _URL.sub("[link]", _CONTROLS.sub(" ", text).strip())
    if tokens:
        text = _TOKEN.sub("[masked]", text)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


class DeliveryFailure(Exception):
    """The mail could not be delivered."""

    uses_attempt: ClassVar[bool] = False
    final: ClassVar[bool] = False

    def __init__(self, stage: Stage, detail: str, reply: Reply | None = None) -> None:
        self.stage = stage
        self.code = reply.code if reply else None
        self.enhanced = reply.enhanced if reply and reply.enhanced else None
        said = f" The relay said: {safe_text(reply.text, tokens=True)}" if reply else ""
        self.text = f"{type(self).__doc__} {detail}{said}".strip()
        super().__init__(self.text)


class RelayUnavailable(DeliveryFailure):
    """The relay cannot take mail just now."""


class RelayMisconfigured(DeliveryFailure):
    """The relay refuses Muster itself, so somebody has to look at the settings."""


class MessageDeferred(DeliveryFailure):
    """The relay asks to try this mail again later."""

    uses_attempt = True

    def __init__(self, stage: Stage, detail: str, reply: Reply | None = None, *, mailbox_full: bool = False) -> None:
        super().__init__(stage, detail, reply)
        self.mailbox_full = mailbox_full  # try again in hours, not in minutes


class MessageRefused(DeliveryFailure):
    """The relay refuses this mail for good."""

    uses_attempt = True
    final = True

    def __init__(self, stage: Stage, detail: str, reply: Reply | None = None, *, bad_address: bool = False) -> None:
        super().__init__(stage, detail, reply)
        self.bad_address = bad_address  # nobody can be reached there: tell whoever keeps the address


class PolicyRefused(DeliveryFailure):
    """A policy of the relay refuses this mail, which may be about the recipient or about Muster."""


class OutcomeUnknown(DeliveryFailure):
    """The line was lost after the whole mail had left, so nobody can say whether the relay has it."""

    uses_attempt = True


def judge(stage: Stage, reply: Reply) -> DeliveryFailure:
    """Return the failure that an unwelcome `reply` means at `stage`: enhanced code first, basic code second.

    Text is read for one thing only: a 4xx that says "throttl…" is about the relay's pace, not about the mail.
    """
    code, enhanced = reply.code, reply.enhanced
    detail = _WHERE[stage]
    if not 400 <= code <= 599:
        if stage is Stage.DOT:
            return OutcomeUnknown(stage, "It answered the end of the mail with something that is neither yes nor no.", reply)
        return RelayUnavailable(stage, f"{detail} It gave an answer that has no place there.", reply)
    if stage in {Stage.CONNECT, Stage.BANNER}:
        blocked = " It may block this host: ask those who run it." if code >= 500 else ""
        return RelayUnavailable(stage, detail + blocked, reply)
    if stage is Stage.TLS:
        return RelayMisconfigured(stage, "It does not start TLS, and Muster never falls back to a plain line.", reply)
    if code == 421:
        return RelayUnavailable(stage, detail, reply)
    if stage in {Stage.HELLO, Stage.AUTH}:
        return (RelayUnavailable if code < 500 else RelayMisconfigured)(stage, detail, reply)
    if code < 500:
        return _deferred(stage, detail, reply)
    if enhanced.startswith("5.7."):
        if stage is Stage.MAIL:
            return RelayMisconfigured(stage, detail, reply)
        return PolicyRefused(stage, detail, reply)
    if code in {530, 535, 538} or enhanced in {"5.1.7", "5.1.8"}:
        return RelayMisconfigured(stage, "It wants a login, or does not accept Muster's sender address.", reply)
    if enhanced in {"5.3.4", "5.2.3"}:
        return MessageRefused(stage, "The mail is too big for it.", reply)
    if stage is Stage.MAIL:
        return RelayMisconfigured(stage, detail, reply)
    if enhanced == "5.2.2" or (stage is Stage.RCPT and code == 552):
        return MessageDeferred(stage, "The recipient's mailbox is full.", reply, mailbox_full=True)
    if stage is Stage.RCPT and code == 554 and not enhanced:
        return PolicyRefused(stage, detail, reply)
    return MessageRefused(stage, detail, reply, bad_address=stage is Stage.RCPT)


def _deferred(stage: Stage, detail: str, reply: Reply) -> DeliveryFailure:
    throttled = stage is Stage.DOT and reply.code == 454  # how Amazon SES says "too fast"
    if stage in {Stage.MAIL, Stage.DATA} or throttled or _THROTTLED.search(reply.text):
        return RelayUnavailable(stage, detail, reply)
    full = reply.enhanced == "4.2.2"
    return MessageDeferred(stage, "The recipient's mailbox is full." if full else detail, reply, mailbox_full=full)


_WHERE = {
    Stage.CONNECT: "It could not be reached.",
    Stage.BANNER: "It turned the connection away.",
    Stage.HELLO: "It did not accept the greeting.",
    Stage.TLS: "It did not start TLS.",
    Stage.AUTH: "It did not accept the login: check user and password in MUSTER_SMTP_URL.",
    Stage.MAIL: "It did not accept the sender.",
    Stage.RCPT: "It did not accept the recipient.",
    Stage.DATA: "It did not want the mail's content.",
    Stage.BODY: "It broke off while the content was sent.",
    Stage.DOT: "It did not accept the complete mail.",
}
