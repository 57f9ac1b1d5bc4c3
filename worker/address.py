"""Which e-mail addresses Muster can send to, and which two are the same."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_CHARACTERS = 100
"""How much of a refused address an error repeats: enough to find it in a feed, too little to flood a log."""

_LOCAL_STAND_IN = "example.com"
# Nothing about such a part needs looking into: with a domain known to be good, the address is good.
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*", re.ASCII)
LONGEST_LOCAL, LONGEST_ADDRESS = 64, 254
_LABELS = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*", re.ASCII)


class InvalidAddress(ValueError):
    """The text is no e-mail address that Muster can send to."""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox.

    `mailbox` stands in the envelope and in the header (domain lower case and in its ASCII form, RFC 5891);
    `folded` is what two spellings of one mailbox have in common, for comparing only, never for sending;
    `needs_smtputf8` says that the part before the @ is not ASCII, so that the relay must offer RFC 6531.
    """

    mailbox: str
    folded: str
    needs_smtputf8: bool


def parse_address(text: str, *, allow_domains: Sequence[str] = ()) -> Address:
    """Return the one mailbox that `text` names, or raise InvalidAddress with what is wrong about it.

    Nothing is asked of the DNS. `allow_domains` are the organisation's own names that the public rules
    refuse ("corp.local", "localhost"); each covers its subdomains too. Blanks around the address are forgiven.
    """
    text = text.strip(" \t\u00a0")
    local, _, domain = text.rpartition("@")
    if len(local) <= LONGEST_LOCAL and _PLAIN_LOCAL.fullmatch(local):
        # A company's people share a few domains: each is looked into once.
        known = _good_domain(domain, tuple(allow_domains))
        if known is not None and len(local) + 1 + len(known) <= LONGEST_ADDRESS:
            return Address(f"{local}@{known}", f"{local.casefold()}@{known}", needs_smtputf8=False)
    return _looked_into(text, local, domain, allow_domains)


@functools.lru_cache(maxsize=4096)
def _good_domain(domain: str, allow_domains: tuple[str, ...]) -> str | None:
    """Return the ASCII form of a domain that mail can go to; None if the whole address wants looking into."""
    try:
        return _looked_into(f"a@{domain}", "a", domain, allow_domains).mailbox.removeprefix("a@")
    except InvalidAddress:
        return None


def _looked_into(text: str, local: str, domain: str, allow_domains: Sequence[str]) -> Address:
    import email_validator  # costs more to load than most commands take

    own = _own_domain(domain, allow_domains)
    try:
        found = email_validator.validate_email(
            f"{local}@{_LOCAL_STAND_IN}" if own else text,
            check_deliverability=False,
            allow_smtputf8=True,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=True,
        )
    except email_validator.EmailNotValidError as problem:
        raise InvalidAddress(f"“{_shown(text)}” is no e-mail address that Muster can send to: {problem}") from None
    name = found.ascii_local_part or found.local_part
    domain = own or found.ascii_domain
    return Address(
        mailbox=f"{name}@{domain}",
        folded=f"{name.casefold()}@{domain}",
        needs_smtputf8=not name.isascii(),
    )


def _own_domain(domain: str, allowed: Sequence[str]) -> str | None:
    """Return the ASCII form of `domain` if it is, or lies below, one of the allowed names."""
    if not domain or not allowed:
        return None
    wanted = _ascii(domain)
    if wanted is None or len(wanted) > 253 or not _LABELS.fullmatch(wanted):
        return None
    for name in allowed:
        suffix = _ascii(name.strip().strip("."))
        if suffix and (wanted == suffix or wanted.endswith("." + suffix)):
            return wanted
    return None


def _ascii(domain: str) -> str | None:
    if domain.isascii():
        return domain.lower()
    import idna

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None


def _shown(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
    return printable if len(printable) <= SHOWN_CHARACTERS else printable[:SHOWN_CHARACTERS] + "…"
