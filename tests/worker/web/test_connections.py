"""Connections that dawdle, flood, crowd or talk nonsense are told so and closed, and those in good order are not."""

import contextlib
from collections.abc import Callable, Iterator
from threading import Event

import pytest
from doors import Doors
from knocks import Knock

from worker.web import connections

GET = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def knocks(doors: Doors) -> Iterator[Callable[[], Knock]]:
    """As many connections as one likes."""
    opened: list[Knock] = []

    def open_one() -> Knock:
        opened.append(Knock(doors.url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.mark.parametrize("sent", ["GET / HTTP/1.1\r\nHost: x\r\nX-A: ", "G", "\r\n", GET + "GET /again HTTP/1.1\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, knocks: Callable[[], Knock], sent: str
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    knock = knocks()
    knock.send(sent)
    if sent.startswith(GET):
        assert knock.answer().status == 200
    said = knock.answer()
    assert (said.status, said.json()["code"]) == (408, "too_slow")
    assert said.closed
    assert knock.ended()


def test_dripping_headers_do_not_buy_time(monkeypatch: pytest.MonkeyPatch, knock: Knock, knocks: Callable[[], Knock]) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    slow = knocks()
    slow.send("GET / HTTP/1.1\r\nHost: x\r\n")
    slow.socket.settimeout(0.05)
    drops = 0
    with pytest.raises(OSError, match=r"reset|pipe|Bad file") as ended:  # noqa: PT012 (it is one act: drip until it ends)
        while drops < 200:
            slow.send(f"X-{drops}: y\r\n")
            drops += 1
            try:
                if not slow.socket.recv(65_536):
                    raise ConnectionResetError("reset by the server")
            except TimeoutError:
                pass
    assert ended
    assert drops < 50


def test_somebody_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch, knocks: Callable[[], Knock]) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    assert knocks().ended()


def test_a_head_without_end_is_refused(knock: Knock) -> None:
    knock.send("GET / HTTP/1.1\r\nHost: x\r\n")
    line = "X-Filler: " + "y" * 8_000 + "\r\n"
    with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
        for _ in range(10_000):
            knock.send(line)
    # 80 MB were meant to come; the server took none of it to heart.


def test_a_large_head_is_told_so(knock: Knock) -> None:
    knock.send("GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + "y" * 300_000)
    said = knock.answer()
    assert (said.status, said.json()["code"], said.closed) == (431, "head_too_large", True)


@pytest.mark.parametrize("padding", ["5;" + "e" * 8_000, "0\r\n" + "X-Trailer: " + "t" * 8_000])
def test_padding_around_the_body_is_no_way_around_the_limits(knock: Knock, padding: str) -> None:
    """Extensions of a chunk, and trailers after the last one: neither head nor body, and without an end."""
    knock.send("POST /trial/deaf HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + padding)
    with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
        for _ in range(10_000):
            knock.send("p" * 8_000)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # somebody speaks TLS
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET /\r\n\r\n",  # HTTP/0.9
        b"GET / HTTP/1.1\r\n\r\n",  # for which host?
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"POST /trial/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /trial/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /trial/echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /trial/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_gets_a_problem_document(knock: Knock, nonsense: bytes) -> None:
    knock.send(nonsense)
    said = knock.answer()
    assert (said.status, said.headers["content-type"]) == (400, "application/problem+json")
    assert knock.ended()


def test_requests_in_a_row_are_answered_in_their_order(knock: Knock) -> None:
    post = "POST /trial/echo HTTP/1.1\r\nHost: x\r\nContent-Length: {0}\r\n\r\n{1}"
    knock.send("".join(post.format(size, "b" * size) for size in (1, 70_000, 3)) + GET)
    answers = [knock.answer() for _ in range(4)]
    assert [one.status for one in answers] == [200] * 4
    assert [one.json()["bytes"] for one in answers[:3]] == [1, 70_000, 3]
    assert not answers[-1].closed


def test_nonsense_after_a_request_does_not_cost_it_its_answer(knock: Knock) -> None:
    knock.send(GET + "\x01\x02\x03 nonsense\r\n\r\n")
    assert knock.answer().status == 200


def test_a_body_that_nobody_reads_ends_the_connection(monkeypatch: pytest.MonkeyPatch, knock: Knock) -> None:
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.2)
    knock.send("POST /trial/deaf HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
    assert knock.answer().status == 200
    assert knock.ended()


def test_an_upgrade_is_not_followed(knock: Knock) -> None:
    for protocol in ("websocket", "h2c"):
        knock.send(f"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip
        assert knock.answer().status == 200


def test_a_reader_that_sleeps_is_dropped(monkeypatch: pytest.MonkeyPatch, knock: Knock) -> None:
    dropped = Event()
    lost = connections.Connection.connection_lost

    def told(self: connections.Connection, exc: Exception | None) -> None:
        lost(self, exc)
        if self.client == knock.socket.getsockname()[:2]:  # not one of an earlier test
            dropped.set()

    monkeypatch.setattr(connections.Connection, "connection_lost", told)
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.3)
    knock.send("GET /trial/flood HTTP/1.1\r\nHost: x\r\n\r\n")
    assert knock.socket.recv(10).startswith(b"HTTP/1.1 2")
    assert dropped.wait(15), "the server still holds a connection that nobody reads from"
    total = 0
    with contextlib.suppress(ConnectionResetError):
        while taken := knock.socket.recv(2**20):
            total += len(taken)
    assert total < 4_000 * 65_536  # no more came than the kernels held


def test_a_crowd_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch, knocks: Callable[[], Knock], doors: Doors) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 5)
    monkeypatch.setattr(connections, "TOLD", 3)
    inside = [knocks() for _ in range(5)]
    for one in inside:
        one.send(GET)
        assert one.answer().status == 200
    outside = knocks()
    outside.send(GET)
    said = outside.answer()
    assert (said.status, said.json()["code"], said.headers["retry-after"], said.closed) == (503, "crowded", "2", True)
    more = [knocks() for _ in range(4)]
    assert more[-1].ended()  # beyond the last one who is told, nobody is
    for one in (*inside, *more):
        one.close()
