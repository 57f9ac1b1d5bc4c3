"""MUSTER_SMTP_URL: what is understood, and what is refused without showing the password."""

from pathlib import Path

import pytest

from worker.mail.relay_url import BadRelayUrl, Relay, parse_relay_url


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtp://localhost", Relay("localhost", 25, "plain")),
        ("smtp://127.0.0.1:1025", Relay("127.0.0.1", 1025, "plain")),
        ("smtp://[::1]:1025", Relay("::1", 1025, "plain")),
        ("smtp://mail.example.com?insecure=true", Relay("mail.example.com", 25, "plain")),
        ("smtps://mail.example.com", Relay("mail.example.com", 465, "tls")),
        ("SMTP+STARTTLS://mail.example.com/", Relay("mail.example.com", 587, "starttls")),
        ("starttls://mail.example.com:2525", Relay("mail.example.com", 2525, "starttls")),
        ("smtps://mu%40ster:p%2Fa%3Ass@mail.example.com", Relay("mail.example.com", 465, "tls", "mu@ster", "p/a:ss")),
    ],
)
def test_the_forms_that_are_understood(url: str, relay: Relay) -> None:
    assert parse_relay_url(url) == relay


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mail.example.com", "starts with"),
        ("http://mail.example.com", "smtp, smtp\\+starttls and smtps"),
        ("smtp://", "no host"),
        ("smtp://muster:hush-hush@mail.example.com", "in the clear"),
        ("smtp://muster:hush-hush@10.0.0.1", "in the clear"),
        ("smtps://muster:hush/hush@mail.example.com", "percent-encoded"),
        ("smtps://muster:hush-hush@mail.example.com:port", "malformed"),
        ("smtps://muster:hush-hush@mail.example.com:99999", "malformed"),
        ("smtps://muster:hush#hush@mail.example.com", "percent-encoded"),
        ("smtps://muster@mail.example.com", "without a password"),
        ("smtps://muster:hush-hush@mail.example.com?verify=no", "verify is unknown"),
        ("smtps://muster:hush-hush@mail.example.com?insecure=maybe", "true or false"),
        ("smtps://muster:hush-hush@mail.example.com?ca=/nowhere/ca.pem", "does not exist"),
        ("smtp://localhost?ca=/etc/hostname", "no meaning"),
    ],
)
def test_the_forms_that_are_refused_say_why_and_keep_the_password(url: str, problem: str) -> None:
    with pytest.raises(BadRelayUrl, match=problem) as caught:
        parse_relay_url(url)
    assert "hush" not in str(caught.value)
    assert "smtps://user:password@relay.example.com" in str(caught.value)


def test_a_relay_is_shown_without_its_login(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    relay = parse_relay_url(f"smtps://muster:hush-hush@mail.example.com?ca={ca}")
    assert relay.ca == ca
    assert str(relay) == "mail.example.com:465 (TLS)"
    assert "hush" not in repr(relay)
