"""The call itself: one POST to the very address that was checked, within 15 seconds, with no redirect and no proxy."""

import contextlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from worker.webhooks.address import BadAddress, Place, check_url, resolve

CONNECT_SECONDS = 5.0
# As Standard Webhooks advises: whoever has more to do than this answers first and does it afterwards.
TOTAL_SECONDS = 15.0
# An answer is a status; of what follows only as much is read as lets the other side end in peace, and none is kept.
ANSWER_BYTES = 4 * 1024
# For that peace: whoever lets its words drip after the status keeps the deliveries of others waiting.
REST_SECONDS = 1.0
# Whoever asks to be left alone for longer is asked again after this long: a slip must not silence an endpoint.
LONGEST_RETRY_AFTER = timedelta(days=1)
# What asks for the same delivery a little later (RFC 9110, RFC 8470); other 4xx are tried again too, and mean a mistake.
_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Answer:
    """What became of a call. `status` is None when no answer came; `said` is safe to keep: never the other side's words."""

    status: int | None
    said: str
    retry_after: timedelta | None = None

    @property
    def taken(self) -> bool:
        """Whether the other side has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether it says that it will never want anything again."""
        return self.status == HTTPStatus.GONE


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, private: bool, tls: ssl.SSLContext,
    seconds: float = TOTAL_SECONDS,
) -> Answer:
    """Send `body` and return what became of it; nothing that goes wrong out there is raised."""
    ends = time.monotonic() + seconds
    try:
        place = check_url(url, private=private)
        line = _connect(place, private, tls, ends)
    except BadAddress as problem:
        return Answer(None, f"Not sent: {problem}")
    except ssl.SSLCertVerificationError as error:
        return Answer(None, f"Its certificate is not good for its name: {error.verify_message}.")
    except ssl.SSLError as error:
        return Answer(None, f"TLS could not be begun ({error.reason or 'no reason given'}).")
    except (OSError, ValueError) as error:
        return Answer(None, f"It could not be reached ({_word(error)}).")
    with line:
        try:
            return _ask(place, _Line(line, ends), body, headers)
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Answer(None, f"The line broke before an answer came ({_word(error)}); it may have been taken.")


def _word(error: Exception) -> str:
    """What went wrong, in a few words that hold nothing of the other side's making."""
    if isinstance(error, TimeoutError):
        return "too slow"
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return error.strerror.lower()
    if isinstance(error, OSError) and str(error) == "the name cannot be resolved":
        return str(error)
    return type(error).__name__


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("the call took too long")
    return left


def _connect(place: Place, private: bool, tls: ssl.SSLContext, ends: float) -> socket.socket:
    """Connect to one of the addresses that were checked: a second look at the DNS could be told another one."""
    until = min(ends, time.monotonic() + CONNECT_SECONDS)
    addresses = resolve(place, private=private, seconds=_left(until))
    for number, (family, address) in enumerate(addresses, start=1):
        line = socket.socket(family, socket.SOCK_STREAM)
        try:
            line.settimeout(_left(until))
            line.connect(address)
        except OSError:
            line.close()
            if number == len(addresses):
                raise
            continue
        if not place.secure:
            return line
        try:
            line.settimeout(_left(until))
            return tls.wrap_socket(line, server_hostname=place.host)
        except BaseException:
            line.close()
            raise
    raise OSError("the name cannot be resolved")


class _Line:
    """A connection whose every wait ends at one moment: a server that drips one byte a second is not waited for."""

    def __init__(self, line: socket.socket, ends: float) -> None:
        self.line, self.ends = line, ends

    def sendall(self, data: bytes) -> None:
        self.line.settimeout(_left(self.ends))
        self.line.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """The connection is closed by whoever opened it."""


class _Reader(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._line.line.settimeout(_left(self._line.ends))
        return self._line.line.recv_into(buffer)


def _ask(place: Place, line: _Line, body: bytes, headers: Mapping[str, str]) -> Answer:
    conversation = http.client.HTTPConnection(place.host, place.port)
    conversation.default_port = 443 if place.secure else 80  # decides whether Host names the port
    used: Any = line  # all that http.client uses of a socket
    conversation.sock = used
    conversation.request("POST", place.path, body, {**headers, "Connection": "close", "User-Agent": "muster"})
    response = conversation.getresponse()
    status, after = response.status, _retry_after(response.headers.get("Retry-After"))
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # the status has come: that is the answer
        line.ends = min(line.ends, time.monotonic() + REST_SECONDS)
        response.read(ANSWER_BYTES)
    return Answer(status, _sentence(status), after if status in (HTTPStatus.TOO_MANY_REQUESTS, 503) else None)


def _sentence(status: int) -> str:
    """The status in words, from our own list: what the other side writes beside it is nobody's business."""
    try:
        named = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        named = str(status)
    if 200 <= status < 300:
        return named
    if 300 <= status < 400:
        return f"It answered {named}. Redirects are not followed: let the endpoint have the address that it leads to."
    if status == HTTPStatus.GONE:
        return f"It answered {named}: it wants nothing any more."
    if status in _LATER or status >= 500:
        return f"It answered {named}."
    return f"It answered {named}. Check its address, and its secret on the other side."


def _retry_after(text: str | None) -> timedelta | None:
    """Read Retry-After (RFC 9110, 10.2.3): seconds or a date; nothing that makes no sense, and a day at most."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        wait = timedelta(seconds=min(int(text[:10]), LONGEST_RETRY_AFTER.total_seconds()))
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        wait = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - datetime.now(UTC)
    return min(wait, LONGEST_RETRY_AFTER) if wait > timedelta(0) else None
