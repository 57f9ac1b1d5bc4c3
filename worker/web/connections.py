"""Connections that are kept waiting by nobody: too slow, too long or too many, they are told so and closed."""

from asyncio import BaseTransport, TimerHandle
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from worker.web.problems import Problem

# A client on a bad line sends its few hundred bytes of headers in a second or two.
HEAD_SECONDS = 10.0
# Browsers and proxies send some 8 KiB at most; what has more is no request to us.
HEAD_BYTES = 64 * 1024
# Who was answered before all of the body was there may still finish sending it; whoever does not, is done.
LINGER_SECONDS = 5.0
# A reader that takes nothing for so long is gone, though its connection stands.
STALLED_SECONDS = 60.0
# A connection that was closed here is gone there, too, within a few round trips.
CLOSING_SECONDS = 5.0
# Processes may open 1,024 files unless somebody allows more; the database needs some of them.
MOST_CONNECTIONS = 512
# So many more are told that there is no room; beyond them nobody is told anything.
TOLD = 64
# Whoever comes into a crowd comes again after this.
CROWD_SECONDS = 2


def _crowded() -> Problem:
    return Problem(
        503, "crowded", "Too many connections are open to this server. Nothing was done; send the same request again.",
        headers={"Retry-After": str(CROWD_SECONDS)},
    )  # fmt: skip


async def _no_room(scope: Any, receive: Any, send: Any) -> None:
    """Answer in the application's place that there is no room."""
    answer = _crowded().response()
    answer.raw_headers.append(CLOSE_HEADER)
    await answer(scope, receive, send)


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with the deadlines that it lacks: the head, a body nobody waits for, a reader that sleeps."""

    _timers: dict[str, TimerHandle]
    # Bytes since the last one that was worth something: the head went on, or the body did.
    _fruitless = 0
    # Whether the message that came last has come whole, and whether its head has.
    _whole = True
    _head_whole = True
    _spoke = False

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for a request."""
        self._timers = {}
        super().connection_made(transport)  # type: ignore[arg-type]
        if len(self.connections) > MOST_CONNECTIONS + TOLD:
            self.transport.abort()
            return
        self._within("head", HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        for name in list(self._timers):
            self._no_more(name)
        super().connection_lost(exc)

    # ------------------------------------------------------------------------------------------------- what comes

    def data_received(self, data: bytes) -> None:
        """Take what came, unless there is too much of it that says nothing."""
        if self.transport.is_closing():
            return
        self._spoke = True
        if not self._answering and "head" not in self._timers and self._whole:
            self._within("head", HEAD_SECONDS, self._head_is_late)
        self._fruitless += len(data)
        super().data_received(data)
        if self._fruitless > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(Problem(431, "head_too_large", f"The request line and headers may have {HEAD_BYTES} bytes."))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._whole = self._head_whole = False
        self._fruitless = 0
        if "head" not in self._timers:
            self._within("head", HEAD_SECONDS, self._head_is_late)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers after the body are nothing that anything here reads."""
        if not self._head_whole:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the application answers, or, in a crowd, we do."""
        self._no_more("head")
        self._head_whole = True
        self._fruitless = 0
        self.app = _no_room if len(self.connections) > MOST_CONNECTIONS else self.config.loaded_app
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body is there."""
        self._fruitless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._whole = True
        self._fruitless = 0
        self._no_more("linger")
        super().on_message_complete()

    # ---------------------------------------------------------------------------------------------- what is waited for

    def on_response_complete(self) -> None:
        """The answer is given: the rest of the body, if any, and the way out are waited for a moment."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._within("closing", CLOSING_SECONDS, self.transport.abort)
        elif not self._whole and self._head_whole and not self._answering:
            self._within("linger", LINGER_SECONDS, self._hang_up)

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        self._within("stalled", STALLED_SECONDS, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has read on."""
        self._no_more("stalled")
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked."""
        if not self.transport.is_closing():
            self._hang_up()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless whole requests came before it: then it ends after their answers."""
        if self._answering and (self._whole or not self._head_whole):
            self.cycle.keep_alive = False
        elif self.pipeline:
            self._hang_up()
        else:
            self._refuse(Problem(400, "bad_request", "This is not a request that HTTP/1.1 knows."))

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _head_is_late(self) -> None:
        self._timers.pop("head", None)
        if self._answering or self.pipeline or self.flow.read_paused:
            self._within("head", HEAD_SECONDS, self._head_is_late)
        elif self._spoke:
            self._refuse(Problem(408, "too_slow", f"The headers were not there within {HEAD_SECONDS:g} seconds."))
        else:
            self._hang_up()

    def _refuse(self, problem: Problem) -> None:
        """Answer in the application's place, and end the connection."""
        if self._answering:
            started, self.cycle.disconnected = self.cycle.response_started, True
            self.cycle.message_event.set()
            if started:
                self._hang_up()
                return
        response = problem.response()
        head = b"".join(b"%s: %s\r\n" % header for header in (*response.raw_headers, CLOSE_HEADER))
        status = f"HTTP/1.1 {problem.status} {problem.as_json()['title']}\r\n".encode()
        self.transport.write(status + head + b"\r\n" + bytes(response.body))
        self._hang_up()

    def _hang_up(self) -> None:
        self.transport.close()
        self._within("closing", CLOSING_SECONDS, self.transport.abort)

    def _within(self, name: str, seconds: float, otherwise: Callable[[], object]) -> None:
        self._no_more(name)
        self._timers[name] = self.loop.call_later(seconds, otherwise)

    def _no_more(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
