"""Where webhooks may go: a table of addresses, URLs that are refused, and names that lead to two places."""

import ipaddress
import socket
import threading
from typing import Any

import pytest

from worker.webhooks.address import BadAddress, Place, allowed, check_url, resolve

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
INSIDE = ["127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "::1", "fd12:3456::1"]
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "192.88.99.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "::", "fe80::1", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42",
    "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:808:808::1",
    "2001::1", "4000::1", "fe80::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_open_to_all(text: str) -> None:
    assert allowed(ipaddress.ip_address(text), private=False)
    assert allowed(ipaddress.ip_address(text), private=True)


@pytest.mark.parametrize("text", INSIDE)
def test_addresses_inside_are_for_endpoints_declared_private(text: str) -> None:
    assert not allowed(ipaddress.ip_address(text), private=False)
    assert allowed(ipaddress.ip_address(text), private=True)


@pytest.mark.parametrize("text", NEVER)
def test_addresses_that_are_for_nobody(text: str) -> None:
    assert not allowed(ipaddress.ip_address(text), private=False)
    assert not allowed(ipaddress.ip_address(text), private=True)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://example.org", Place("https", "example.org", 443, "/")),
        ("https://example.org:8443/a/b?c=d", Place("https", "example.org", 8443, "/a/b?c=d")),
        ("https://EXAMPLE.org/", Place("https", "example.org", 443, "/")),
        ("https://bücher.example/x", Place("https", "xn--bcher-kva.example", 443, "/x")),
        ("https://[2606:4700::1]/x", Place("https", "2606:4700::1", 443, "/x")),
    ],
)
def test_a_url_is_taken_apart(url: str, place: Place) -> None:
    assert check_url(url, private=False) == place
    assert place.secure


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "https://", "https:///x",
        "http://example.org/", "https://user:hunter2@example.org/", "https://user@example.org/", "https://@example.org/",
        "https://example.org/#part", "https://example.org:0/", "https://example.org:99999/", "https://example.org:a/",
        "https://exa mple.org/", "https://example.org/\r\nX: y", "https://example.org\\@inside/", "https://[::1",
        "https://example.org/ä", "https://" + "a" * 70 + ".org/", "https://example.org/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        check_url(url, private=False)
    assert "hunter2" not in str(refusal.value), "a refusal does not repeat what was in the URL"


def test_without_tls_only_inside() -> None:
    assert check_url("http://inside.example/x", private=True) == Place("http", "inside.example", 80, "/x")


class Resolver:
    """Answers for a name with the addresses of a test, other ones each time it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, **options: Any) -> list[Any]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        family = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            (family[ipaddress.ip_address(text).version], socket.SOCK_STREAM, 6, "", (text, port)) for text in answer
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(*answers: list[str]) -> Resolver:
        found = Resolver(*answers)
        monkeypatch.setattr(socket, "getaddrinfo", found)
        return found

    return use


PLACE = Place("https", "two-faced.example", 443, "/")


def test_every_address_of_a_name_has_to_be_good(resolver: Any) -> None:
    resolver(["8.8.8.8", "10.0.0.1"])
    with pytest.raises(BadAddress, match="not public"):
        resolve(PLACE, private=False)
    assert [address for _, address in resolve(PLACE, private=True)] == [("8.8.8.8", 443), ("10.0.0.1", 443)]


def test_metadata_is_for_nobody_whatever_the_name(resolver: Any) -> None:
    resolver(["169.254.169.254"])
    for private in (False, True):
        with pytest.raises(BadAddress):
            resolve(PLACE, private=private)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost", "127.0.0.1", "::1"])
def test_other_ways_to_write_this_machine_lead_nowhere(host: str) -> None:
    with pytest.raises((BadAddress, OSError)):
        resolve(Place("https", host, 443, "/"), private=False)


def test_a_name_that_is_not_resolved_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(30) and [])
    with pytest.raises(TimeoutError):
        resolve(PLACE, private=False, seconds=0.1)
    asked.set()
