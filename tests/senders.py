"""HR systems that send webhooks: each signs as its documentation says, written out here and not taken from Muster."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook

STANDARD_SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def standard(body: bytes, sent_id: str, at: datetime, secret: str = STANDARD_SECRET) -> dict[str, str]:
    """Headers by the package of those who wrote Standard Webhooks."""
    return {"webhook-id": sent_id, "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(sent_id, at, body.decode())}  # fmt: skip


def hibob(body: bytes, secret: str) -> dict[str, str]:
    """HMAC-SHA512 of the body in base64; no time, no id."""
    return {"Bob-Signature": base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha512).digest()).decode()}


def bamboo(body: bytes, at: datetime, secret: str) -> dict[str, str]:
    """HMAC-SHA256 of body and time in hexadecimal digits."""
    stamp = str(int(at.timestamp()))
    return {"X-BambooHR-Timestamp": stamp, "X-BambooHR-Signature": hmac.new(secret.encode(), body + stamp.encode(), "sha256").hexdigest()}


def finch(body: bytes, sent_id: str, at: datetime, secret: str) -> dict[str, str]:
    """As Standard Webhooks, under other names; the secret is base64."""
    stamp = str(int(at.timestamp()))
    signed = f"{sent_id}.{stamp}.".encode() + body
    told = base64.b64encode(hmac.new(base64.b64decode(secret), signed, "sha256").digest()).decode()
    return {"Finch-Event-Id": sent_id, "Finch-Timestamp": stamp, "Finch-Signature": f"v1,{told}"}


def merge(body: bytes, secret: str) -> dict[str, str]:
    """HMAC-SHA256 of the body in base64url."""
    told = base64.urlsafe_b64encode(hmac.new(secret.encode(), body, "sha256").digest()).decode()
    return {"X-Merge-Webhook-Signature": told}


#: How each of them is declared.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "standard": {"profile": "standard", "secrets": ["env:HOOK_STANDARD"]},
    "hibob": {"profile": "hmac", "algorithm": "sha512", "encoding": "base64", "header": "Bob-Signature", "secrets": ["env:HOOK"]},
    "bamboo": {"profile": "hmac", "header": "X-BambooHR-Signature", "text": "{body}{timestamp}",
               "timestamp_header": "X-BambooHR-Timestamp", "secrets": ["env:HOOK"]},
    "finch": {"profile": "hmac", "key": "base64", "encoding": "base64", "header": "Finch-Signature", "prefix": "v1,",
              "text": "{id}.{timestamp}.{body}", "id_header": "Finch-Event-Id", "timestamp_header": "Finch-Timestamp",
              "secrets": ["env:HOOK_FINCH"]},
    "merge": {"profile": "hmac", "encoding": "base64url", "header": "X-Merge-Webhook-Signature", "secrets": ["env:HOOK"]},
    "bearer": {"profile": "bearer", "secrets": ["env:HOOK"]},
}  # fmt: skip
SECRET = "a word that two sides know"
FINCH_SECRET = base64.b64encode(b"f" * 24).decode()
ENVIRONMENT = {"HOOK": SECRET, "HOOK_STANDARD": STANDARD_SECRET, "HOOK_FINCH": FINCH_SECRET}


def headers_of(profile: str, body: bytes, at: datetime, *, sent_id: str = "evt-1") -> dict[str, str]:
    """The headers with which a sender of this profile proves a body."""
    made = {
        "standard": lambda: standard(body, sent_id, at), "hibob": lambda: hibob(body, SECRET),
        "bamboo": lambda: bamboo(body, at, SECRET), "finch": lambda: finch(body, sent_id, at, FINCH_SECRET),
        "merge": lambda: merge(body, SECRET), "bearer": lambda: {"Authorization": f"Bearer {SECRET}"},
    }  # fmt: skip
    return made[profile]()
