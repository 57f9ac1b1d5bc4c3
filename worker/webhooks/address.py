"""Where a webhook may go: to public addresses, and to private ones only where an administrator said so."""

import ipaddress
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

# Long enough for any address that a person sets up; what is longer is a document.
URL_LENGTH = 2_000
# The resolver's own patience may be half a minute; a delivery has five seconds to be connected.
RESOLVE_SECONDS = 5.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# The only IPv6 addresses that are given to anybody for the open network (RFC 4291, 2.4).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# IPv6 addresses in which an IPv4 address hides: whoever checks one and reaches the other can be led anywhere.
_HIDING = tuple(
    ipaddress.IPv6Network(one)
    for one in (
        "::ffff:0:0/96",  # mapped (RFC 4291)
        "::/96",  # compatible (RFC 4291)
        "::ffff:0:0:0/96",  # translated (RFC 2765)
        "64:ff9b::/96",  # NAT64 (RFC 6052)
        "64:ff9b:1::/48",  # NAT64 of one's own (RFC 8215)
        "2002::/16",  # 6to4 (RFC 3056)
        "2001::/32",  # Teredo (RFC 4380)
    )
)
# The anycast of 6to4 (RFC 7526): it counts as global and leads into a tunnel.
_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")
# Where clouds tell a machine its own credentials; the others of these are link-local, and refused as such.
_METADATA = frozenset(
    ipaddress.ip_address(one)
    for one in (
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
    )
)
_NOTHING_THERE = ipaddress.IPv4Network("0.0.0.0/8")
_UNPRINTED = re.compile(r"[\s\x00-\x1f\x7f\\]")


class BadAddress(ValueError):
    """A webhook cannot go there."""


@dataclass(frozen=True)
class Place:
    """A URL taken apart: `host` in ASCII, `path` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def secure(self) -> bool:
        """Whether the line is encrypted."""
        return self.scheme == "https"


def check_url(url: str, *, private: bool) -> Place:
    """Return the place that a URL names. Raises BadAddress, in a person's words; the URL is not repeated in them."""
    if len(url) > URL_LENGTH or _UNPRINTED.search(url):
        raise BadAddress(f"The URL has blanks, backslashes or control characters, or more than {URL_LENGTH} characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadAddress("The URL cannot be read; it should look like https://example.org/muster.") from error
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise BadAddress("The URL has to begin with https:// and a host, such as https://example.org/muster.")
    if parts.scheme == "http" and not private:
        raise BadAddress("The URL has to begin with https://. Only an endpoint declared as private may do without.")
    if "@" in parts.netloc:
        raise BadAddress("The URL holds a user or password. Take them out: deliveries are signed instead.")
    if parts.fragment:
        raise BadAddress("The URL has a part after #, which is never sent. Take it out.")
    if port == 0:
        raise BadAddress("Port 0 is no port.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise BadAddress("The URL has letters that have to be percent-encoded (RFC 3986) after the host.")
    return Place(parts.scheme, _ascii(parts.hostname), port or (443 if parts.scheme == "https" else 80), path)


def _ascii(host: str) -> str:
    """The host as it stands in the DNS."""
    if ":" in host:
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise BadAddress("The host of the URL is no name that the DNS can hold.") from error


def allowed(address: Address, *, private: bool) -> bool:
    """Say whether a webhook may connect to this address.

    Never: link-local ones with the metadata of clouds, multicast, reserved and unspecified ones, and IPv6 addresses in
    which an IPv4 address hides. Loopback and private ones only with `private`.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address == ipaddress.IPv6Address("::1"):
            return private
        if address.scope_id is not None or any(address in hiding for hiding in _HIDING):
            return False
        usable = address in _GLOBAL_UNICAST or address.is_private
        if address.is_site_local or not usable:
            return False
    elif address in _NOTHING_THERE or address in _RELAYS or address.is_reserved:
        return False
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return private or address.is_global


def resolve(place: Place, *, private: bool, seconds: float = RESOLVE_SECONDS) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Return the addresses of a host, every one of them allowed; whoever connects uses these, and asks nobody again.

    Raises BadAddress when one is not allowed, and OSError when the name cannot be resolved (in time).
    """
    found: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
    for family, text in _asked(place.host, place.port, seconds):
        address = ipaddress.ip_address(text)
        if not allowed(address, private=private):
            kind = "an address that no webhook may go to" if private else "an address that is not public"
            raise BadAddress(
                f"The host of the URL leads to {kind}."
                + ("" if private else " Declare the endpoint as private if it is meant to lie inside.")
            )
        if (family, (text, place.port)) not in found:
            found.append((family, (text, place.port)))
    return found


def _asked(host: str, port: int, seconds: float) -> list[tuple[socket.AddressFamily, str]]:
    """Ask the system's resolver, which knows no deadline: in a thread that is left behind when it takes too long."""
    answers: list[tuple[socket.AddressFamily, str]] = []
    problem: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                answers.append((family, str(address[0])))
        except (OSError, UnicodeError) as error:
            problem.append(error)

    thread = threading.Thread(target=ask, name="resolver", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError("the name was not resolved in time")
    if problem or not answers:
        raise OSError("the name cannot be resolved") from (problem[0] if problem else None)
    return answers
