"""The call: TLS checked against the name, no redirects, no proxies, a deadline for all of it, and one look at the DNS."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from receiver import Receiver, Reply

from worker.webhooks.send import Answer, post

ANY = ssl.create_default_context()


def call(url: str, *, private: bool = True, tls: ssl.SSLContext = ANY, seconds: float = 15.0) -> Answer:
    return post(url, b"{}", {"webhook-id": "1"}, private=private, tls=tls, seconds=seconds)


def test_what_is_taken_is_taken(receiver: Receiver) -> None:
    answer = call(receiver.url + "?a=b")
    assert (answer.taken, answer.status, answer.said) == (True, 204, "204 No Content")
    [got] = receiver.got
    assert (got.path, got.body, got.headers["webhook-id"]) == ("/hook?a=b", b"{}", "1")
    assert got.headers["host"] == f"localhost:{receiver.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused_and_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as trap:
        receiver.answer = lambda got: Reply(status, {"Location": trap.url})
        answer = call(receiver.url)
        assert trap.connections == 0
    assert not answer.taken
    assert "Redirects are not followed" in answer.said
    assert str(trap.port) not in answer.said


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 425, 429, 500, 502, 503, 504, 599, 799])
def test_any_other_status_is_a_failure_in_our_own_words(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda got: Reply(status, body=b"the-secret-that-was-sent")
    answer = call(receiver.url)
    assert (answer.taken, answer.status, answer.gone) == (False, status, status == 410)
    assert str(status) in answer.said
    assert "secret-that" not in answer.said


def test_what_is_said_after_the_status_is_not_waited_for(receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(200, {"Content-Length": "100000000"}, b"x" * 10_000)
    assert call(receiver.url).taken


def test_words_that_come_in_drops_after_the_status_hold_nobody(receiver: Receiver) -> None:
    until_left: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def drip() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(65_536)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n")
                for drops in range(600):
                    until_left.append(drops)
                    try:
                        line.sendall(b"x")
                    except OSError:
                        return
                    time.sleep(0.1)

        thread = threading.Thread(target=drip)
        thread.start()
        assert call(f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=60).taken
        thread.join(90)
    assert len(until_left) < 300  # of the 600 that the whole deadline has room for


def test_a_server_that_drips_is_not_waited_for(receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(drip=0.05)
    begin = time.monotonic()
    answer = call(receiver.url, seconds=0.6)
    assert (answer.status, "too slow" in answer.said) == (None, True)
    assert time.monotonic() - begin < 10


def test_a_server_that_hangs_up_may_have_taken_it(receiver: Receiver) -> None:
    receiver.answer = lambda got: Reply(drop=True)
    assert "may have been taken" in call(receiver.url).said


def test_a_server_that_speaks_something_else() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        def babble() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(65_536)
                line.sendall(b"220 smtp.example.org ESMTP\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        answer = call(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join(10)
    assert (answer.status, "smtp" in answer.said) == (None, False)


def test_nobody_there() -> None:
    with Receiver() as closed:
        pass
    assert call(closed.url).said == "It could not be reached (connection refused)."


def test_a_private_address_is_not_even_connected_to(receiver: Receiver) -> None:
    answer = call(f"https://localhost:{receiver.port}/", private=False)
    assert (answer.status, "not public" in answer.said) == (None, True)
    assert receiver.connections == 0


def test_the_dns_is_asked_once_and_that_address_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to a good address when it is checked and to another one when it is used (DNS rebinding)."""
    answers = ["127.0.0.1", "169.254.169.254"]
    found = socket.getaddrinfo

    def other_each_time(host: str, port: int, *rest: Any, **options: Any) -> Any:
        if host != "two-faced.example":
            return found(host, port, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", other_each_time)
    assert call(f"http://two-faced.example:{receiver.port}/").taken
    assert answers == ["169.254.169.254"]
    assert receiver.got[0].headers["host"] == f"two-faced.example:{receiver.port}"


def test_proxies_of_the_environment_are_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert call(receiver.url).taken
        assert proxy.connections == 0


def test_one_dead_address_of_several_is_passed_over(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, receiver.port)) for address in ("127.0.0.2", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    assert call(f"http://two-homes.example:{receiver.port}/").taken


@pytest.mark.parametrize(
    ("text", "seconds"), [("120", 120), ("0", None), ("soon", None), ("-5", None), ("9" * 30, 86_400), ("٣", None)]
)
def test_retry_after(receiver: Receiver, text: str, seconds: int | None) -> None:
    receiver.answer = lambda got: Reply(503, {"Retry-After": text}) if text.isascii() else Reply(503)
    after = call(receiver.url).retry_after
    assert (after.total_seconds() if after is not None else None) == seconds


def test_a_time_to_come_back_that_no_calendar_has_is_none(receiver: Receiver) -> None:
    never = {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}
    receiver.answer = lambda got: Reply(200, never)
    assert call(receiver.url).taken
    receiver.answer = lambda got: Reply(503, never)
    assert (call(receiver.url).status, call(receiver.url).retry_after) == (503, None)


def test_retry_after_as_a_date(receiver: Receiver) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    receiver.answer = lambda got: Reply(429, {"Retry-After": format_datetime(at, usegmt=True)})
    after = call(receiver.url).retry_after
    assert after is not None
    assert timedelta(minutes=59) < after <= timedelta(hours=1)


# ------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS context for the name localhost, and a client's that trusts it; made by the openssl command."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed, so there is no certificate to try TLS with")
    folder: Path = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


Certificate = tuple[ssl.SSLContext, ssl.SSLContext]


def test_tls_with_a_good_certificate(certificate: Certificate) -> None:
    with Receiver(tls=certificate[0]) as receiver:
        answer = call(receiver.url, tls=certificate[1])
        assert answer.taken, answer.said
        assert receiver.got[0].headers["host"] == f"localhost:{receiver.port}"


def test_a_certificate_of_another_name_is_refused(certificate: Certificate) -> None:
    with Receiver(tls=certificate[0]) as receiver:
        answer = call(f"https://127.0.0.1:{receiver.port}/", tls=certificate[1])
        assert "certificate is not good for its name" in answer.said
        assert receiver.got == []


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Certificate) -> None:
    with Receiver(tls=certificate[0]) as receiver:
        answer = call(receiver.url)
        assert (answer.status, "certificate" in answer.said) == (None, True)
        assert receiver.got == []


def test_a_server_without_tls_is_refused(receiver: Receiver) -> None:
    answer = call(f"https://localhost:{receiver.port}/", tls=ANY)
    assert "TLS could not be begun" in answer.said
