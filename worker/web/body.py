"""How long a request may be and how slowly its body may come; beyond that it is refused and the connection closed."""

import asyncio
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.problems import Problem

MIB = 1024 * 1024
# A payload has 1 MiB at most (worker/intake.py); the rest is room for what is written around it.
LIMIT = 2 * MIB
#: What takes more, by method and path. Each of these doors reads as it comes, or says below how much is kept at once.
LIMITS: tuple[tuple[str, re.Pattern[str], int], ...] = (
    # 100,000 jobs of 2.5 KB; read line by line.
    ("POST", re.compile(r"/v1/jobs/batch"), 256 * MIB),
    # A file of half a million people; written to disk as it comes.
    ("POST", re.compile(r"/v1/feeds/[^/]+/plans"), 256 * MIB),
    ("POST", re.compile(r"/console/feeds/[^/]+/plan"), 256 * MIB),
    # 20,000 messages of HR systems; kept at once. By webhook they come one by one, from whoever knows the address.
    ("POST", re.compile(r"/v1/feeds/[^/]+/messages"), 16 * MIB),
    ("POST", re.compile(r"/v1/feeds/[^/]+/events"), 1 * MIB),
    # 1,000 operations on people with many attributes (RFC 7644, 3.7.4: maxPayloadSize); kept at once.
    ("POST", re.compile(r"/scim/v2/Bulk"), 10 * MIB),
)
# The way from a client to here is never as long as this; who pauses longer has gone away, or wants to be in the way.
SILENT_SECONDS = 10.0
# Over all, the body comes at least as fast as a modem of 1994 sent it, not counting what we took for ourselves.
BYTES_A_SECOND = 4096
# After a refusal, what the client was about to send is read and thrown away for a moment, so that it hears the answer.
DRAIN_SECONDS = 2.0
# A request line longer than this holds no filter that a person wrote.
URL_BYTES = 16 * 1024


def limit_of(method: str, path: str) -> int:
    """Return how many bytes the body of a request may have."""
    return next((most for verb, where, most in LIMITS if verb == method and where.fullmatch(path)), LIMIT)


class Body:
    """ASGI middleware that hands over a body in time and within its limit, or answers 408 or 413 in its place."""

    def __init__(self, app: ASGIApp) -> None:
        """`app`: what the request is for."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (wrong := _unfit(scope)) is not None:
            await wrong.response()(scope, receive, send)
            return
        watched = _Watched(limit_of(scope["method"], scope["path"]), receive, send)
        if _announced(scope) > watched.limit:
            watched.trouble = _too_large(watched.limit)
            await watched.refuse()
            return
        try:
            await self.app(scope, watched.receive, watched.send)
        except Exception:
            if watched.trouble is None or watched.started:
                raise
        if watched.trouble is not None and not watched.started:
            await watched.refuse()


class _Watched:
    """One request whose body is counted and timed."""

    def __init__(self, limit: int, receive: Receive, send: Send) -> None:
        self.limit = limit
        self.trouble: Problem | None = None
        self.started = False
        self._receive, self._send = receive, send
        self._count = 0
        self._waited = 0.0
        self._whole = False

    async def receive(self) -> Message:
        """Return what comes next. Raises Problem, whatever the application makes of it."""
        if self.trouble is not None:
            raise self.trouble
        if self._whole:  # now it waits for the client to leave, and that may take as long as it takes
            return await self._receive()
        began = time.monotonic()
        patience = min(SILENT_SECONDS, SILENT_SECONDS + self._count / BYTES_A_SECOND - self._waited)
        try:
            async with asyncio.timeout(max(patience, 0.0)):
                message = await self._receive()
        except TimeoutError:
            self.trouble = Problem(408, "too_slow", "The body of the request came too slowly. Send it again, at once.")
            raise self.trouble from None
        self._waited += time.monotonic() - began
        if message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._count > self.limit:
                self.trouble = _too_large(self.limit)
                raise self.trouble
        return message

    async def send(self, message: Message) -> None:
        """Send on what the application answers, unless the body was refused before it began to."""
        if message["type"] == "http.response.start":
            if self.trouble is not None:
                return
            self.started = True
        if self.started:
            await self._send(message)

    async def refuse(self) -> None:
        """Answer with what was wrong, let the client hear it, and close the connection."""
        assert self.trouble is not None
        self.started = True
        response = self.trouble.response()
        headers = [*response.raw_headers, (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await self._send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._whole:
                    message = await self._receive()
                    self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            pass
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"The body is too large: at most {limit} bytes are taken here. Send it in parts.", limit=limit)


def _announced(scope: Scope) -> int:
    """Return the length that the client says the body has; 0 if it does not."""
    length: Any = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


def _unfit(scope: Scope) -> Problem | None:
    """Say what keeps a request from being looked at: no host, an address too long, characters that no database stores."""
    query = scope["query_string"]
    hosts = sum(name == b"host" for name, _ in scope["headers"])
    if scope["http_version"] not in ("1.0", "1.1", "2") or (hosts != 1 and scope["http_version"] != "1.0") or hosts > 1:
        text = "This is not a request that HTTP/1.1 knows: it names one host (RFC 9112, 3.2)."
        return Problem(400, "bad_request", text, headers={"Connection": "close"})
    if len(scope.get("raw_path") or b"") + len(query) > URL_BYTES:
        return Problem(414, "address_too_long", f"The address is longer than {URL_BYTES} bytes.")
    if any(char < " " or char == "\x7f" for char in scope["path"]):
        return Problem(404, "not_found", "There is nothing at this address.")
    if b"%00" in query or b"\0" in query:
        return Problem(400, "unreadable", "The query holds a NUL character, which stands in nothing that is kept here.")
    return None
