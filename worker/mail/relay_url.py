"""Where the relay is and how to talk to it, read from MUSTER_SMTP_URL."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

_PORTS = {"smtp": 25, "smtp+starttls": 587, "starttls": 587, "smtps": 465}
_SECURITY = {"plain": "no TLS", "starttls": "STARTTLS", "tls": "TLS"}
_FORMS = "smtps://user:password@relay.example.com, smtp+starttls://user:password@relay.example.com or smtp://localhost:25"


class BadRelayUrl(ValueError):
    """The relay's URL cannot be used."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{type(self).__doc__} {problem} It looks like {_FORMS}.")


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay: `security` is "plain", "starttls" or "tls"; `ca` a PEM file of the only authorities to trust."""

    host: str
    port: int
    security: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None

    def __str__(self) -> str:
        """Return host, port and security without the login, fit for logs and screens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port} ({_SECURITY[self.security]})"


def parse_relay_url(url: str) -> Relay:
    """Return the Relay that `url` names, or raise BadRelayUrl, whose text never repeats the password.

    smtps:// speaks TLS from the first byte, smtp+starttls:// (or starttls://) insists on STARTTLS, smtp:// is
    plain and allowed to this machine only, unless the URL ends in ?insecure=true. ?ca=FILE replaces the system's
    authorities. User and password are percent-encoded (%40 for @).
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadRelayUrl("Its host or port is malformed (a password with @, : or / in it must be percent-encoded).") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise BadRelayUrl(f"It starts with {scheme or 'nothing'}://; smtp, smtp+starttls and smtps are understood.")
    if not host:
        raise BadRelayUrl("It names no host.")
    if parts.path.strip("/") or parts.fragment:
        raise BadRelayUrl("Something stands behind the host (a password with / or # in it must be percent-encoded).")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    insecure, ca = options.pop("insecure", "false").lower(), options.pop("ca", None)
    if options:
        raise BadRelayUrl(f"The option {', '.join(sorted(options))} is unknown; insecure and ca are understood.")
    if insecure not in {"true", "false"}:
        raise BadRelayUrl("The option insecure is either true or false.")
    security = {"smtp": "plain", "smtps": "tls"}.get(scheme, "starttls")
    if security == "plain":
        if insecure != "true" and not _is_this_machine(host):
            raise BadRelayUrl(f"smtp:// to {host} would send mail and login in the clear; use smtp+starttls:// or add ?insecure=true.")
        if ca is not None:
            raise BadRelayUrl("The option ca has no meaning for smtp://, which uses no TLS.")
    if ca is not None and not Path(ca).is_file():
        raise BadRelayUrl(f"The file {ca} of the option ca does not exist.")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise BadRelayUrl("It has a user without a password, or the other way round.")
    return Relay(host, port or _PORTS[scheme], security, user, password, Path(ca) if ca else None)


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
