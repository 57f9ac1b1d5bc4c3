"""Tokens: made here, shown once, and kept only as a SHA-256 digest."""

import base64
import hashlib
import hmac
import secrets

from worker.settings import Settings

# 256 bits: out of reach of guessing for good, and what a link still carries comfortably.
TOKEN_BYTES = 32
NONCE_BYTES = 24


def fresh() -> str:
    """Return a new random token, 43 characters that are safe in a URL."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def nonce() -> str:
    """Return what makes one derived token differ from every other; no secret by itself."""
    return secrets.token_urlsafe(NONCE_BYTES)


def derive(settings: Settings, purpose: str, record_id: str, salt: str) -> str:
    """Return the token of a record, the same at every call: HMAC-SHA256 (RFC 2104) in base64url, 43 characters."""
    message = b"\0".join(part.encode() for part in (purpose, record_id, salt))
    return base64.urlsafe_b64encode(hmac.digest(settings.key, message, hashlib.sha256)).rstrip(b"=").decode()


def digest(token: str) -> str:
    """Return what is stored of a token: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()
