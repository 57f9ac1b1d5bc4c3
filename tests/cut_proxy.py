"""Stand between a client and a server on TCP, and lose the connection exactly when a test says so."""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

CHUNK_BYTES = 65536
"""More than any request or reply the tests cut, so that one is rarely read in two pieces."""


class Proxy:
    """Forwards 127.0.0.1:`port` to `target`, a (host, port) or the path of a unix socket.

    Made for requests that wait for their reply (Redis, PostgreSQL), not for pipelined ones.
    """

    def __init__(self, target: tuple[str, int] | Path) -> None:
        self.target = target
        self.swallowed = 0
        """How many replies were kept back by `cut_reply_to`."""
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._patterns: list[bytes] = []
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self.port = 0
        self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def accept(self) -> None:
        """Take new connections (again), on the same port as before."""
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._run(self._listen, listener)

    def refuse(self) -> None:
        """Refuse new connections; those that exist go on."""
        if self._listener is not None:
            _hang_up(self._listener)
            self._listener = None

    def cut(self) -> None:
        """Drop every connection now, on both sides."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.hang_up()

    def cut_reply_to(self, request: bytes) -> None:
        """Pass on the next request that contains these bytes, wait for its reply, drop the connection instead of giving it.

        The server has done its work then, and the client cannot know. Each call cuts once.
        """
        with self._lock:
            self._patterns.append(request)

    def close(self) -> None:
        """Refuse, cut, and wait until nothing of the proxy runs any more."""
        self.refuse()
        self.cut()
        for thread in self._threads:
            thread.join(timeout=5)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                _hang_up(client)
                continue
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.add(pair)
            self._run(self._carry_requests, pair)
            self._run(self._carry_replies, pair)

    def _connect(self) -> socket.socket:
        if isinstance(self.target, Path):
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.target))
            return server
        return socket.create_connection(self.target)

    def _carry_requests(self, pair: "_Pair") -> None:
        tail = b""  # the end of what went before: a pattern may lie across two reads
        with contextlib.suppress(OSError):
            while chunk := pair.client.recv(CHUNK_BYTES):
                if pair.answered:  # what went before is a request that is over
                    tail, pair.answered = b"", False
                if self._take_pattern(tail + chunk):
                    pair.swallow = True
                    tail = b""
                else:
                    tail = (tail + chunk)[-256:]
                pair.server.sendall(chunk)
        self._part(pair)

    def _carry_replies(self, pair: "_Pair") -> None:
        with contextlib.suppress(OSError):
            while chunk := pair.server.recv(CHUNK_BYTES):
                if pair.swallow:
                    self.swallowed += 1
                    break
                pair.answered = True
                pair.client.sendall(chunk)
        self._part(pair)

    def _take_pattern(self, request: bytes) -> bool:
        with self._lock:
            for pattern in self._patterns:
                if pattern in request:
                    self._patterns.remove(pattern)
                    return True
        return False

    def _part(self, pair: "_Pair") -> None:
        pair.hang_up()
        with self._lock:
            self._pairs.discard(pair)


class _Pair:
    """One client's connection and ours to the server on its behalf."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.swallow = False
        self.answered = False

    def hang_up(self) -> None:
        _hang_up(self.client)
        _hang_up(self.server)


def _hang_up(end: socket.socket) -> None:
    """Close a socket that another thread may be waiting on: shutdown wakes it, close alone does not."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
