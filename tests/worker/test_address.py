"""Addresses that mail can go to, and those that are refused with a reason."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.address import Address, InvalidAddress, parse_address


@pytest.mark.parametrize(
    ("text", "mailbox", "folded", "needs_smtputf8"),
    [
        ("ann@example.com", "ann@example.com", "ann@example.com", False),
        ("  Ann.Smith@EXAMPLE.com\u00a0", "Ann.Smith@example.com", "ann.smith@example.com", False),
        ("jo@exämple.de", "jo@xn--exmple-cua.de", "jo@xn--exmple-cua.de", False),
        ("jo@XN--exmple-cua.de", "jo@xn--exmple-cua.de", "jo@xn--exmple-cua.de", False),
        ("Jörg@example.com", "Jörg@example.com", "jörg@example.com", True),
        ("Jo\u0308rg@example.com", "Jörg@example.com", "jörg@example.com", True),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", "用户@xn--fsqu00a.xn--4rr70v", True),
        ("a+b_c'd@mail.example.co.uk", "a+b_c'd@mail.example.co.uk", "a+b_c'd@mail.example.co.uk", False),
    ],
)
def test_addresses_that_mail_can_go_to(text: str, mailbox: str, folded: str, needs_smtputf8: bool) -> None:
    assert parse_address(text) == Address(mailbox, folded, needs_smtputf8)


@pytest.mark.parametrize(
    "text",
    [
        "", "@", "ann", "ann@", "@example.com", "ann@@example.com", "ann@localhost", "a@b", "x@example.test",
        "x@corp.local", "a@[127.0.0.1]", '"a b"@example.com', "Ann <ann@example.com>", "ann@example.com\r\nBcc: x@y.org",
        "ann@exa mple.com", "a\x00b@example.com", "ann@example..com", "ann@-example.com", "a" * 65 + "@example.com",
        "ann,bob@example.com", "ann@example.com, bob@example.com", "ann\u202e@example.com", "ann@example.com\n",
        "ann@" + "a" * 64 + ".com",
    ],
)
def test_addresses_that_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidAddress, match=r"is no e-mail address that Muster can send to: .+") as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)
    assert "\x00" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("Ann@corp.local", "Ann@corp.local"),
        ("ann@Mail.CORP.local", "ann@mail.corp.local"),
        ("ann@localhost", "ann@localhost"),
        ("ann@example.test", "ann@example.test"),
        ("ann@büro.corp.local", "ann@xn--bro-hoa.corp.local"),
        ("ann@example.com", "ann@example.com"),
    ],
)
def test_the_organisations_own_domains_are_taken_when_they_are_listed(text: str, mailbox: str) -> None:
    assert parse_address(text, allow_domains=["corp.local", "localhost", "example.test"]).mailbox == mailbox


@pytest.mark.parametrize(
    "text", ["ann@evilcorp.local", "ann@corp.local.invalid", "a b@corp.local", "@corp.local", "ann@.corp.local", "ann@-x.corp.local"],
)
def test_a_listed_domain_opens_the_door_for_nothing_else(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text, allow_domains=["corp.local"])


@given(st.text(max_size=80) | st.builds("{}@{}".format, st.text(max_size=20), st.text(max_size=20)))
def test_whatever_is_accepted_is_safe_in_an_envelope_and_in_a_header(text: str) -> None:
    try:
        found = parse_address(text, allow_domains=["local"])
    except InvalidAddress:
        return
    assert found.mailbox.count("@") == 1
    assert not set(found.mailbox) & set(' <>()[]\\,;:"\r\n\t\0')
    assert found.mailbox.isprintable()
    assert found.mailbox.rpartition("@")[2].isascii()
    assert parse_address(found.mailbox, allow_domains=["local"]) == found


def test_importing_the_module_loads_no_heavy_package() -> None:
    code = "import sys, worker.address; print(sorted({'email_validator', 'idna', 'dns'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
