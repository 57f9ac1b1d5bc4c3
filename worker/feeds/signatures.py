"""Whether a delivery comes from who it says: signatures and shared words of webhooks, as a feed declares them."""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from worker.feeds.declaration import Webhook

# Beyond this many signatures in one delivery nobody rotates keys; somebody tries them.
SIGNATURES = 16
# Unix times in milliseconds are beyond this, those in seconds are not, for some thousand years.
_MILLISECONDS = 100_000_000_000
_PLACE = re.compile(r"\{([^{}]*)\}")
_DECODERS: Mapping[str, Callable[[str], bytes]] = {
    "hex": bytes.fromhex,
    "base64": lambda text: base64.b64decode(text + "==", validate=False),
    "base64url": lambda text: base64.urlsafe_b64decode(text + "=="),
    "text": lambda text: text.encode("utf-8", "surrogateescape"),
}

#: The headers of a request: (name in small letters, value), in their order.
Headers = Sequence[tuple[str, str]]


class Unproven(Exception):
    """The sender could not prove who it is. The message says why, without anything that was sent."""


@dataclass(frozen=True)
class _Scheme:
    """A profile with everything filled in."""

    algorithm: str
    encoding: str
    header: str
    prefix: str
    text: str
    id_header: str | None
    timestamp_header: str | None
    key: str


def _scheme(webhook: Webhook) -> _Scheme:
    if webhook.profile == "standard":  # Standard Webhooks 1.0.0
        return _Scheme("sha256", "base64", "webhook-signature", "v1,", "{id}.{timestamp}.{body}", "webhook-id",
                       "webhook-timestamp", "whsec")  # fmt: skip
    return _Scheme(webhook.algorithm, webhook.encoding, webhook.header or "", webhook.prefix, webhook.text, webhook.id_header,
                   webhook.timestamp_header, webhook.key)  # fmt: skip


# ----------------------------------------------------------------------------------------------------- verifying


def verify(webhook: Webhook, headers: Headers, body: bytes, now: datetime) -> str | None:
    """Return the sender's id of a delivery, None where it has none. Raises Unproven.

    All signatures are compared with all secrets, each in constant time.
    """
    secrets = list(_secrets(webhook))
    scheme = _scheme(webhook)
    delivery = timestamp = None
    try:
        if not secrets:
            raise Unproven("none of the declared secrets can be read: set the environment variable, or write the file")
        if webhook.profile == "bearer":
            _require_word(webhook, headers, secrets)
            return None if webhook.id_header is None else _only(headers, webhook.id_header)
        if scheme.id_header is not None:
            delivery = _only(headers, scheme.id_header)
        if scheme.timestamp_header is not None:
            timestamp = _only(headers, scheme.timestamp_header)
            _require_fresh(timestamp, webhook.tolerance, now)
    except Unproven:
        pretend(body)  # else a large body and a clock would tell which feeds there are
        raise
    parts = {"id": (delivery or "").encode(), "timestamp": (timestamp or "").encode(), "body": body}
    signed = _filled(scheme.text, parts)
    expected = [hmac.digest(_key(secret, scheme.key), signed, scheme.algorithm) for secret in secrets]
    given = list(_signatures(scheme, headers))
    # A list, not any(): what is right is found no sooner than what is wrong.
    if not sum([hmac.compare_digest(one, other) for one in given for other in expected]):
        raise Unproven("the signature is not that of the body" if given else f"it has no signature in {scheme.header}")
    return delivery


def pretend(body: bytes) -> None:
    """Take as long as for a signature, where there is nothing to compare with."""
    hmac.compare_digest(hmac.digest(b"nobody", body, "sha256"), hashlib.sha256(b"nobody").digest())


def _require_word(webhook: Webhook, headers: Headers, secrets: Sequence[str]) -> None:
    header = webhook.header or "Authorization"
    prefix = webhook.prefix or ("" if webhook.header else "Bearer ")
    given = _only(headers, header)
    begins = given[: len(prefix)].casefold() == prefix.casefold()
    # Digests have one length, so that comparing them tells nothing of the word's.
    told = hashlib.sha256(given[len(prefix) :].strip().encode()).digest()
    right = sum([hmac.compare_digest(told, hashlib.sha256(_key(one, "text")).digest()) for one in secrets])
    if not (begins and right):
        raise Unproven(f"the word in {header} is not the right one")


def _require_fresh(timestamp: str, tolerance: int, now: datetime) -> None:
    sent = moment(timestamp)
    if sent is None:
        raise Unproven("its time of sending is neither Unix time nor ISO 8601")
    off = (now - sent).total_seconds()
    if abs(off) > tolerance:
        raise Unproven(f"it was sent more than {tolerance} seconds {'ago' if off > 0 else 'ahead'}: a replay, or a clock that is wrong")


def moment(text: str) -> datetime | None:
    """Return the instant that a Unix time (of seconds or milliseconds) or an ISO 8601 time names; None for any other text."""
    try:
        if re.fullmatch(r"[0-9]{1,16}", text):
            number = int(text)
            return datetime.fromtimestamp(number / 1_000 if number > _MILLISECONDS else number, UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _only(headers: Headers, name: str) -> str:
    """Return the value of a header that stands there once. Raises Unproven."""
    found = [value for known, value in headers if known == name.lower()]
    if len(found) != 1 or not found[0] or not found[0].isascii():
        raise Unproven(f"it has {'more than one' if len(found) > 1 else 'no'} header {name}" if len(found) != 1 or not found[0]
                       else f"its header {name} is not plain text")  # fmt: skip
    return found[0]


def _filled(text: str, parts: Mapping[str, bytes]) -> bytes:
    # Cut at the places first: what was sent may hold braces, too.
    pieces = _PLACE.split(text)
    return b"".join(parts[piece] if number % 2 else piece.encode() for number, piece in enumerate(pieces))


def _signatures(scheme: _Scheme, headers: Headers) -> Iterator[bytes]:
    words = " ".join(value for name, value in headers if name == scheme.header.lower()).split()
    for word in words[:SIGNATURES]:
        if word.startswith(scheme.prefix):
            try:
                yield _DECODERS[scheme.encoding](word.removeprefix(scheme.prefix))
            except (ValueError, binascii.Error):
                continue


# ------------------------------------------------------------------------------------------------------- secrets


def _secrets(webhook: Webhook) -> Iterator[str]:
    """Yield the declared secrets that can be read and used; looked up each time, so that a file may be changed."""
    for one in webhook.secrets:
        kind, _, name = one.partition(":")
        try:
            found = os.environ.get(name, "") if kind == "env" else Path(name).read_text(encoding="utf-8")
            if found.strip() and _key(found.strip(), _scheme(webhook).key):
                yield found.strip()
        except (OSError, ValueError):
            continue  # others may do


def _key(secret: str, how: str) -> bytes:
    """Return the key that a secret stands for. Raises ValueError."""
    if how == "whsec":
        secret, how = secret.removeprefix("whsec_"), "base64"
    return _DECODERS[how](secret)


# ------------------------------------------------------------------------------------------------------ mistakes


def mistakes(webhook: Webhook) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give what no type can say of a declaration: (key, what is wrong in words)."""
    if not webhook.secrets:
        yield ("secrets",), 'names at least one secret, such as ["env:HR_WEBHOOK_SECRET"]'
    preset = Webhook()
    own = {"standard": (), "bearer": ("header", "prefix", "id_header")}.get(webhook.profile)
    for name in ("key", "algorithm", "encoding", "header", "prefix", "text", "id_header", "timestamp_header"):
        if own is not None and name not in own and getattr(webhook, name) != getattr(preset, name):
            yield (name,), f'is for profile = "hmac"; {webhook.profile} does without'
    if webhook.profile == "hmac":
        yield from _of_hmac(webhook)
    if webhook.person is None:
        for name in ("type", "types", "occurred_at"):
            if getattr(webhook, name):
                yield (name,), "goes with person; without it each is a message, which says that itself"
    elif webhook.types and webhook.type is None:
        yield ("type",), "is needed with types: the path to the word"


def _of_hmac(webhook: Webhook) -> Iterator[tuple[tuple[str, ...], str]]:
    places = _PLACE.findall(webhook.text)
    if webhook.header is None:
        yield ("header",), 'names the header of the signature, such as "X-Signature"'
    if unknown := sorted(set(places) - {"id", "timestamp", "body"}):
        yield ("text",), f"there is no {{{unknown[0]}}}; there are {{id}}, {{timestamp}} and {{body}}"
    if "body" not in places:
        yield ("text",), "has to hold {body}: what is not signed can be changed on the way"
    for name in ("id", "timestamp"):
        declared = getattr(webhook, f"{name}_header")
        if name in places and declared is None:
            yield (f"{name}_header",), f"names the header that {{{name}}} of text stands in"
        if name not in places and declared is not None:
            yield (f"{name}_header",), f"takes a header that is signed: {{{name}}} is not in text, so anybody could change it"
