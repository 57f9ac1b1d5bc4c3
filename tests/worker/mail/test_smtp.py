"""One connection carries many mails, nothing is sent in the clear by accident, and the dot leaves last."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smtp_double import DROP, Drop, SmtpDouble

from worker.mail import smtp
from worker.mail.failures import (
    MessageDeferred,
    MessageRefused,
    PolicyRefused,
    RelayMisconfigured,
    RelayUnavailable,
    Reply,
    Stage,
)
from worker.mail.smtp import Patience, SmtpTransport

QUICK = Patience(connect=5, banner=5, command=5, data=5, body=5, dot=5)
MESSAGE = b"Subject: hello\r\n\r\nfirst line\r\nsecond line\r\n"


def send(
    transport: SmtpTransport, *, to: str = "ann@example.org", message: bytes = MESSAGE,
    before_dot: Callable[[], None] = lambda: None, smtputf8: bool = False,
) -> Reply:
    return transport.send(
        sender="muster@example.com", recipient=to, message=message, before_dot=before_dot, smtputf8=smtputf8,
    )


@pytest.fixture
def relay() -> Iterator[SmtpDouble]:
    with SmtpDouble() as double:
        yield double


@pytest.fixture
def transport(relay: SmtpDouble) -> Iterator[SmtpTransport]:
    found = SmtpTransport(relay.url, patience=QUICK)
    yield found
    found.close()


def test_the_relays_answer_is_kept_as_the_handle_for_support(relay: SmtpDouble, transport: SmtpTransport) -> None:
    reply = send(transport)
    assert reply == Reply(250, "2.0.0", "250 2.0.0 queued as C0001")
    assert relay.mails[0].sender == "muster@example.com"
    assert relay.mails[0].recipients == ("ann@example.org",)
    assert relay.mails[0].message == MESSAGE


def test_many_mails_go_over_one_connection(relay: SmtpDouble, transport: SmtpTransport) -> None:
    for number in range(20):
        send(transport, to=f"person{number}@example.org")
    assert (len(relay.mails), relay.connections) == (20, 1)
    assert relay.said.count("EHLO") == 1
    assert "RSET" not in relay.said


def test_a_connection_is_closed_after_its_share_of_mails(
    relay: SmtpDouble, transport: SmtpTransport, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smtp, "MESSAGES_PER_CONNECTION", 2)
    for _ in range(5):
        send(transport)
    assert (len(relay.mails), relay.connections, relay.said.count("QUIT")) == (5, 3, 2)


def test_an_idle_connection_is_closed(
    relay: SmtpDouble, transport: SmtpTransport, monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(transport)
    monkeypatch.setattr(smtp, "IDLE_SECONDS", -1.0)
    send(transport)
    assert (len(relay.mails), relay.connections, relay.said.count("QUIT")) == (2, 2, 1)


def test_a_refused_recipient_leaves_the_connection_good_for_the_next_mail() -> None:
    with SmtpDouble([{"RCPT": "550 5.1.1 unknown", "DATA": "554 5.5.1 no valid recipients"}]) as relay:
        transport = SmtpTransport(relay.url, patience=QUICK)
        with pytest.raises(MessageRefused):
            send(transport)
        send(transport, to="bob@example.org")
        transport.close()
    assert [mail.recipients for mail in relay.mails] == [("bob@example.org",)]
    assert (relay.connections, relay.said.count("RSET")) == (1, 1)


def test_a_354_without_a_recipient_gets_no_mail() -> None:
    # A relay that refuses the recipient and still says 354 in the same breath waits for content that nobody may send.
    class Eager(SmtpDouble):
        def answer(self, moment: str, usual: str) -> str:
            return "354 go on" if moment == "DATA" else super().answer(moment, usual)

    called: list[str] = []
    with Eager([{"RCPT": "550 5.7.1 no"}]) as relay:
        transport = SmtpTransport(relay.url, patience=QUICK)
        with pytest.raises(PolicyRefused):
            send(transport, before_dot=lambda: called.append("dot"))
        send(transport, before_dot=lambda: called.append("dot"))
        transport.close()
    assert called == ["dot"]
    assert (len(relay.mails), relay.connections) == (1, 2)


@pytest.mark.parametrize("last_words", ["", "421 4.4.2 idle too long"])
def test_a_connection_that_the_relay_closed_meanwhile_costs_nothing(last_words: str) -> None:
    with SmtpDouble(lines_script=[{"RSET": Drop(last_words)}, {}], mails_script=[{"RCPT": "450 4.2.1 later"}]) as relay:
        transport = SmtpTransport(relay.url, patience=QUICK)
        with pytest.raises(MessageDeferred):
            send(transport)
        send(transport)
        transport.close()
    assert (len(relay.mails), relay.connections) == (1, 2)


def test_a_line_closed_while_idle_is_noticed_before_the_next_mail(relay: SmtpDouble, transport: SmtpTransport) -> None:
    send(transport)
    for guest in list(relay._open):
        guest.cut()
    relay.wait_until_gone()
    send(transport)
    assert (len(relay.mails), relay.connections, relay.transactions) == (2, 2, 2)


def test_a_421_to_the_next_mail_on_an_old_line_is_answered_with_a_new_line() -> None:
    with SmtpDouble([{}, {"MAIL": Drop("421 4.7.0 too many mails on this line")}]) as relay:
        transport = SmtpTransport(relay.url, patience=QUICK)
        send(transport)
        send(transport)
        transport.close()
    assert (len(relay.mails), relay.connections) == (2, 2)


@pytest.mark.parametrize("pipelining", [True, False])
def test_before_dot_is_called_between_the_body_and_the_dot(pipelining: bool) -> None:
    heard: list[list[bytes]] = []
    with SmtpDouble(pipelining=pipelining) as relay:
        transport = SmtpTransport(relay.url, patience=QUICK)
        reply = send(transport, before_dot=lambda: heard.append(relay.wait_until_heard(4)))
        transport.close()
    assert reply.code == 250
    assert heard == [MESSAGE.splitlines(keepends=True)]  # everything but the dot, and called once
    assert relay.heard[-1] == b".\r\n"


def test_a_caller_that_loses_its_claim_stops_the_mail(relay: SmtpDouble, transport: SmtpTransport) -> None:
    def lost() -> None:
        raise LookupError("the lease is gone")

    with pytest.raises(LookupError, match="lease"):
        send(transport, before_dot=lost)
    send(transport, to="bob@example.org")
    assert [mail.recipients for mail in relay.mails] == [("bob@example.org",)]


DOTTY = b".\r\n..\r\n.two\r\nend\r\n.\r\n"


@pytest.mark.parametrize("message", [DOTTY, b".", b"a\r\n.\r\nMAIL FROM:<x@example.com>\r\n", b"\r\n.\r\n"])
def test_lines_that_begin_with_a_dot_arrive_as_they_are(
    relay: SmtpDouble, transport: SmtpTransport, message: bytes,
) -> None:
    send(transport, message=message)
    assert relay.mails[0].message == (message if message.endswith(b"\r\n") else message + b"\r\n")
    assert relay.transactions == 1


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r.\r\n"])
def test_nobody_can_end_a_mail_early_and_smuggle_a_second_one(
    relay: SmtpDouble, transport: SmtpTransport, end: bytes,
) -> None:
    send(transport, message=b"Subject: x\r\n\r\nhello" + end + b"MAIL FROM:<evil@example.com>\r\n")
    assert b"".join(relay.heard).replace(b"\r\n", b"").count(b"\n") == 0
    assert b"".join(relay.heard).replace(b"\r\n", b"").count(b"\r") == 0
    assert (len(relay.mails), relay.transactions) == (1, 1)
    assert relay.heard.count(b".\r\n") == 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from([b".", b"\r\n", b"\n", b"\r", b"a", b"..", b""])).map(b"".join))
def test_stuffing_is_undone_by_unstuffing(message: bytes) -> None:
    lines = smtp._dotted(message).split(b"\r\n")
    assert lines.pop() == b""
    assert all(line != b"." for line in lines)
    plain = b"\r\n".join(line.removeprefix(b".") for line in lines) + b"\r\n"
    wanted = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert plain == (wanted if wanted.endswith(b"\r\n") else wanted + b"\r\n")


@pytest.mark.parametrize("address", ["a@b.org\r\nRCPT TO:<evil@x.org>", "a b@c.org", "a@b.org>", "<a@b.org", "", "a\x00@b.org"])
def test_an_envelope_address_cannot_carry_a_command(
    relay: SmtpDouble, transport: SmtpTransport, address: str,
) -> None:
    with pytest.raises(MessageRefused):
        send(transport, to=address)
    assert relay.connections == 0


def test_an_address_outside_ascii_needs_a_relay_that_can_do_it(relay: SmtpDouble, transport: SmtpTransport) -> None:
    send(transport, to="jörg@example.org", smtputf8=True)
    assert relay.mails[0].recipients == ("jörg@example.org",)
    assert relay.mails[0].options == "SMTPUTF8 BODY=8BITMIME"
    with SmtpDouble(smtputf8=False) as old:
        other = SmtpTransport(old.url, patience=QUICK)
        with pytest.raises(MessageRefused, match="SMTPUTF8") as caught:
            send(other, to="jörg@example.org", smtputf8=True)
        send(other)
        other.close()
    assert caught.value.final
    assert (len(old.mails), old.connections) == (1, 1)


def test_a_probe_says_what_it_found_and_sends_no_mail(relay: SmtpDouble, transport: SmtpTransport) -> None:
    assert transport.probe() == f"127.0.0.1:{relay.port} (no TLS) answers: no encryption, no login, PIPELINING, SMTPUTF8."
    send(transport)
    assert (relay.connections, relay.said.count("NOOP"), len(relay.mails)) == (1, 1, 1)


def test_a_probe_of_a_broken_relay_fails_as_a_mail_would() -> None:
    with SmtpDouble(lines_script=[{"NOOP": DROP}, {"NOOP": "421 4.3.2 closing"}, {"banner": "421 busy"}]) as relay:
        transport = SmtpTransport(relay.url, patience=QUICK)
        for _ in range(3):
            with pytest.raises(RelayUnavailable):
                transport.probe()
        assert "answers" in transport.probe()
        transport.close()


@pytest.mark.parametrize("password", ["right", "wrong"])
@pytest.mark.parametrize("way", ["PLAIN", "LOGIN"])
def test_logging_in(way: str, password: str) -> None:
    class OneWay(SmtpDouble):
        def answer(self, moment: str, usual: str) -> str:
            return super().answer(moment, usual.replace("AUTH PLAIN LOGIN", f"AUTH {way}"))

    with OneWay(login=("mu@ster", "right")) as relay:
        transport = SmtpTransport(f"smtp://mu%40ster:{password}@127.0.0.1:{relay.port}", patience=QUICK)
        if password == "right":
            assert send(transport).code == 250
        else:
            with pytest.raises(RelayMisconfigured, match="535") as caught:
                send(transport)
            assert caught.value.stage is Stage.AUTH
        transport.close()
        assert relay.connections == 1


def test_a_relay_that_offers_no_login_is_not_used_without_one(relay: SmtpDouble) -> None:
    transport = SmtpTransport(f"smtp://muster:secret@127.0.0.1:{relay.port}", patience=QUICK)
    with pytest.raises(RelayMisconfigured, match="offers no login") as caught:
        send(transport)
    assert "secret" not in str(caught.value)
    assert not relay.mails


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_relay_without_starttls_never_gets_a_plain_login_or_mail(relay: SmtpDouble) -> None:
    relay.login = ("muster", "secret")
    transport = SmtpTransport(f"smtp+starttls://muster:secret@127.0.0.1:{relay.port}", patience=QUICK)
    with pytest.raises(RelayMisconfigured, match="never falls back") as caught:
        send(transport)
    assert caught.value.stage is Stage.TLS
    assert "AUTH" not in relay.said
    assert not relay.mails


def test_tls_to_a_port_that_speaks_plain_is_a_setting_to_correct(relay: SmtpDouble) -> None:
    transport = SmtpTransport(f"smtps://127.0.0.1:{relay.port}", patience=QUICK)
    with pytest.raises(RelayMisconfigured, match="is the port right") as caught:
        send(transport)
    assert caught.value.stage is Stage.TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context and the authority file that trusts it, made by the openssl command."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed, so there is no certificate to try TLS with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
        ],
        check=True, capture_output=True, timeout=60,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls", "starttls"])
def test_a_trusted_relay_gets_the_mail_encrypted(scheme: str, certificate: tuple[ssl.SSLContext, Path]) -> None:
    context, ca = certificate
    with SmtpDouble(tls=context, tls_at_once=scheme == "smtps", login=("muster", "secret")) as relay:
        transport = SmtpTransport(f"{scheme}://muster:secret@localhost:{relay.port}?ca={ca}", patience=QUICK)
        for _ in range(3):
            send(transport)
        assert "TLSv1." in transport.probe()
        transport.close()
    assert (len(relay.mails), relay.connections) == (3, 2)


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
@pytest.mark.parametrize("why", ["an unknown authority", "another name"])
def test_a_certificate_that_does_not_hold_stops_everything(
    scheme: str, why: str, certificate: tuple[ssl.SSLContext, Path],
) -> None:
    context, ca = certificate
    with SmtpDouble(tls=context, tls_at_once=scheme == "smtps", login=("muster", "secret")) as relay:
        host = f"127.0.0.1:{relay.port}?ca={ca}" if why == "another name" else f"localhost:{relay.port}"
        transport = SmtpTransport(f"{scheme}://muster:secret@{host}", patience=QUICK)
        with pytest.raises(RelayMisconfigured, match="cannot be trusted") as caught:
            send(transport)
    assert caught.value.stage is Stage.TLS
    assert "AUTH" not in relay.said
    assert not relay.mails


def test_an_answer_slipped_in_before_the_handshake_is_not_believed(certificate: tuple[ssl.SSLContext, Path]) -> None:
    context, ca = certificate
    with SmtpDouble(lines_script=[{"STARTTLS": "220 go\r\n250 2.0.0 all is well"}], tls=context) as relay:
        transport = SmtpTransport(f"smtp+starttls://localhost:{relay.port}?ca={ca}", patience=QUICK)
        with pytest.raises(RelayUnavailable, match="not SMTP"):
            send(transport)
    assert not relay.mails
