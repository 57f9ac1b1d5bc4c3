"""A program that takes webhooks: a real HTTP server that answers as the test says, and checks signatures as a receiver would."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Got:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The webhook-id."""
        return self.headers["webhook-id"]

    @property
    def sent_at(self) -> datetime:
        """The webhook-timestamp."""
        return datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)

    @property
    def told(self) -> dict[str, Any]:
        """The body."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def signed_with(self, secret: str) -> bool:
        """Whether one of the signatures is made with this secret (the receiver's clock left aside)."""
        wanted = Webhook(secret).sign(self.id, self.sent_at, self.body.decode())
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass
class Reply:
    """What the receiver answers. `drop`: it takes the request and hangs up; `drip`: it sends a byte each so many seconds."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False
    drip: float = 0.0


class Receiver:
    """A server on loopback. `answer` may be changed by a test; `got` is all that came. A context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], Reply] = lambda got: Reply()
        self.connections = 0
        self._ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        self.port = self._server.server_port
        self.url = f"{self.scheme}://localhost:{self.port}/hook"

    def answers(self, *statuses: int) -> None:
        """Answer with these, one after the other, and then with the last one."""
        rest = list(statuses)
        self.answer = lambda got: Reply(rest.pop(0) if len(rest) > 1 else rest[0])

    def ids(self) -> list[str]:
        """The ids of all that came."""
        return [got.id for got in self.got]

    def actions(self) -> list[str]:
        """The types of all that came, sorted."""
        return sorted(got.told["type"] for got in self.got)

    def wait_for(self, count: int, seconds: float = 30) -> None:
        """Wait until so many requests have come."""
        ends = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < ends, f"{len(self.got)} of {count} came"
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def setup(self) -> None:
                super().setup()
                receiver.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver.got.append(got)
                reply = receiver.answer(got)
                self.close_connection = True
                if reply.drop:
                    return
                if reply.drip:
                    self._drip(reply.drip)
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            def do_GET(self) -> None:
                self.do_POST()

            def _drip(self, seconds: float) -> None:
                try:
                    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        if receiver._ended.wait(seconds):
                            return
                except OSError:
                    return

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class calls it so)
                """Say nothing on the terminal."""

        return Handler


def add(office: Any, receiver: Receiver, *patterns: str, name: str = "hook", url: str | None = None) -> str:
    """Let an office tell a receiver of events (all, unless patterns are given); returns the secret."""
    from worker.webhooks import endpoints

    with office.scope() as scope:
        return endpoints.create(scope, name, url or receiver.url, patterns or ("*",), by="tester", private=True)


def endpoint(office: Any, name: str = "hook") -> dict[str, Any]:
    """An endpoint as it is listed."""
    from worker.webhooks import endpoints

    with office.app.database.read() as conn:
        [found] = endpoints.listed(conn, name)
    return dict(found)


__all__ = ["Got", "Receiver", "Reply", "add", "endpoint"]
