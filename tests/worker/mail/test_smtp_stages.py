"""Whatever goes wrong with the relay: whose fault it is, at which stage, and whether an attempt is used."""

from collections.abc import Callable

import pytest
from smtp_double import DROP, SILENT, Behaviour, Drop, Slow, SmtpDouble

from worker.mail.failures import (
    DeliveryFailure,
    MessageDeferred,
    MessageRefused,
    OutcomeUnknown,
    PolicyRefused,
    RelayMisconfigured,
    RelayUnavailable,
    Stage,
)
from worker.mail.smtp import Patience, SmtpTransport

QUICK = Patience(connect=5, banner=0.2, command=0.3, data=0.3, body=5, dot=0.3)
MESSAGE = b"Subject: hello\r\n\r\nfirst line\r\nsecond line\r\n"

Failure = type[DeliveryFailure]


def deliver(
    relay: SmtpDouble, *, url: str = "", before_dot: Callable[[], None] = lambda: None, message: bytes = MESSAGE,
) -> DeliveryFailure | None:
    transport = SmtpTransport(url or relay.url, patience=QUICK)
    try:
        transport.send(sender="muster@example.com", recipient="ann@example.org", message=message, before_dot=before_dot)
    except DeliveryFailure as failure:
        return failure
    finally:
        transport.close()
    return None


LINE_CASES: list[tuple[str, Behaviour, Failure, Stage, int | None]] = [
    ("no banner", {"banner": DROP}, RelayUnavailable, Stage.BANNER, None),
    ("a silent banner", {"banner": SILENT}, RelayUnavailable, Stage.BANNER, None),
    ("banner 421", {"banner": "421 4.3.2 too busy"}, RelayUnavailable, Stage.BANNER, 421),
    ("banner 554", {"banner": "554 5.7.1 your host is blocked"}, RelayUnavailable, Stage.BANNER, 554),
    ("a banner that is not SMTP", {"banner": "HTTP/1.1 400 Bad Request"}, RelayUnavailable, Stage.BANNER, None),
    ("EHLO 421", {"EHLO": "421 4.3.2 closing"}, RelayUnavailable, Stage.HELLO, 421),
    ("EHLO 550", {"EHLO": "550 5.7.1 not you"}, RelayMisconfigured, Stage.HELLO, 550),
]


@pytest.mark.parametrize(("name", "script", "failure", "stage", "code"), LINE_CASES, ids=[case[0] for case in LINE_CASES])
def test_a_relay_that_fails_before_any_mail_is_not_the_mails_fault(
    name: str, script: Behaviour, failure: Failure, stage: Stage, code: int | None,
) -> None:
    with SmtpDouble(lines_script=[script]) as relay:
        problem = deliver(relay)
    assert type(problem) is failure
    assert (problem.stage, problem.code, problem.uses_attempt) == (stage, code, False)
    assert not relay.mails


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ("535 5.7.8 Username and Password not accepted", RelayMisconfigured),
        ("534 5.7.9 mechanism too weak", RelayMisconfigured),
        ("530 5.7.0 authentication required", RelayMisconfigured),
        ("454 4.7.0 temporary authentication failure", RelayUnavailable),
    ],
)
def test_a_refused_login_stops_at_once_unless_it_is_temporary(reply: str, failure: Failure) -> None:
    with SmtpDouble(lines_script=[{"AUTH": reply}], login=("muster", "s3cret-pass")) as relay:
        problem = deliver(relay, url=f"smtp://muster:s3cret-pass@127.0.0.1:{relay.port}")
    assert type(problem) is failure
    assert (problem.stage, problem.code, problem.uses_attempt) == (Stage.AUTH, int(reply[:3]), False)
    assert relay.connections == 1
    assert relay.said.count("AUTH") == 1


MAIL_CASES: list[tuple[str, Behaviour, Failure, Stage, int | None, str | None]] = [
    ("MAIL 421", {"MAIL": "421 4.3.2 closing"}, RelayUnavailable, Stage.MAIL, 421, "4.3.2"),
    ("MAIL 451", {"MAIL": "451 4.3.0 try later"}, RelayUnavailable, Stage.MAIL, 451, "4.3.0"),
    ("MAIL 550", {"MAIL": "550 5.7.1 sender not allowed"}, RelayMisconfigured, Stage.MAIL, 550, "5.7.1"),
    ("MAIL 530", {"MAIL": "530 5.7.0 log in first"}, RelayMisconfigured, Stage.MAIL, 530, "5.7.0"),
    ("RCPT 421", {"RCPT": "421 closing"}, RelayUnavailable, Stage.RCPT, 421, None),
    ("RCPT 450", {"RCPT": "450 4.2.1 greylisted"}, MessageDeferred, Stage.RCPT, 450, "4.2.1"),
    ("RCPT 451", {"RCPT": "451 4.7.1 greylisted"}, MessageDeferred, Stage.RCPT, 451, "4.7.1"),
    ("RCPT 452", {"RCPT": "452 4.5.3 too many recipients"}, MessageDeferred, Stage.RCPT, 452, "4.5.3"),
    ("RCPT 452 full", {"RCPT": "452 4.2.2 mailbox full"}, MessageDeferred, Stage.RCPT, 452, "4.2.2"),
    ("RCPT 552 full", {"RCPT": "552 5.2.2 mailbox full"}, MessageDeferred, Stage.RCPT, 552, "5.2.2"),
    ("RCPT 550", {"RCPT": "550 5.1.1 no such user"}, MessageRefused, Stage.RCPT, 550, "5.1.1"),
    ("RCPT 550 bare", {"RCPT": "550 no such user"}, MessageRefused, Stage.RCPT, 550, None),
    ("RCPT 551", {"RCPT": "551 5.1.6 moved"}, MessageRefused, Stage.RCPT, 551, "5.1.6"),
    ("RCPT 553", {"RCPT": "553 5.1.3 bad address"}, MessageRefused, Stage.RCPT, 553, "5.1.3"),
    ("RCPT 550 policy", {"RCPT": "550 5.7.1 relaying denied"}, PolicyRefused, Stage.RCPT, 550, "5.7.1"),
    ("RCPT 554 policy", {"RCPT": "554 5.7.1 sender not verified"}, PolicyRefused, Stage.RCPT, 554, "5.7.1"),
    ("RCPT 550 about the sender", {"RCPT": "550 5.1.8 bad sender"}, RelayMisconfigured, Stage.RCPT, 550, "5.1.8"),
    ("DATA 451", {"DATA": "451 4.3.0 later"}, RelayUnavailable, Stage.DATA, 451, "4.3.0"),
    ("DATA 421", {"DATA": "421 4.3.2 closing"}, RelayUnavailable, Stage.DATA, 421, "4.3.2"),
    ("DATA 454", {"DATA": "454 Throttling failure"}, RelayUnavailable, Stage.DATA, 454, None),
    ("DATA 554 policy", {"DATA": "554 5.7.1 no"}, PolicyRefused, Stage.DATA, 554, "5.7.1"),
    ("421 in mid-body", {"body": Drop("421 4.4.2 too slow")}, RelayUnavailable, Stage.BODY, 421, "4.4.2"),
    ("552 in mid-body", {"body": Drop("552 5.3.4 too big")}, MessageRefused, Stage.BODY, 552, "5.3.4"),
    ("a silent 354", {"DATA": SILENT}, RelayUnavailable, Stage.DATA, None, None),
    ("a slow MAIL", {"MAIL": Slow(1)}, RelayUnavailable, Stage.MAIL, None, None),
    ("451 after the dot", {"dot": "451 4.3.0 try again"}, MessageDeferred, Stage.DOT, 451, "4.3.0"),
    ("421 after the dot", {"dot": "421 4.3.2 closing"}, RelayUnavailable, Stage.DOT, 421, "4.3.2"),
    ("454 after the dot", {"dot": "454 Throttling failure"}, RelayUnavailable, Stage.DOT, 454, None),
    ("552 after the dot", {"dot": "552 5.3.4 too big"}, MessageRefused, Stage.DOT, 552, "5.3.4"),
    ("552 full after the dot", {"dot": "552 5.2.2 mailbox full"}, MessageDeferred, Stage.DOT, 552, "5.2.2"),
    ("554 after the dot", {"dot": "554 5.6.0 content refused"}, MessageRefused, Stage.DOT, 554, "5.6.0"),
    ("554 policy after the dot", {"dot": "554 5.7.1 looks like spam"}, PolicyRefused, Stage.DOT, 554, "5.7.1"),
    ("a drop after the dot", {"dot": DROP}, OutcomeUnknown, Stage.DOT, None, None),
    ("silence after the dot", {"dot": SILENT}, OutcomeUnknown, Stage.DOT, None, None),
    ("a slow 250", {"dot": Slow(1)}, OutcomeUnknown, Stage.DOT, None, None),
    ("nonsense after the dot", {"dot": "whatever"}, OutcomeUnknown, Stage.DOT, None, None),
]
USES_ATTEMPT = {MessageDeferred, MessageRefused, OutcomeUnknown}


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
@pytest.mark.parametrize(
    ("name", "script", "failure", "stage", "code", "enhanced"), MAIL_CASES, ids=[case[0] for case in MAIL_CASES],
)
def test_every_refusal_is_told_apart_by_stage_and_code(
    name: str, script: Behaviour, failure: Failure, stage: Stage, code: int | None, enhanced: str | None,
    pipelining: bool,
) -> None:
    with SmtpDouble([script, script], pipelining=pipelining) as relay:
        before_dot = relay.wait_until_gone if "body" in script else lambda: None
        problem = deliver(relay, before_dot=before_dot)
    assert type(problem) is failure
    assert (problem.stage, problem.code, problem.enhanced) == (stage, code, enhanced)
    assert problem.uses_attempt == (failure in USES_ATTEMPT)
    assert problem.final == (failure is MessageRefused)
    assert str(problem).startswith(str(failure.__doc__))
    if stage is Stage.DOT and code is None:
        return  # the double may keep it or not: this is what "unknown" means
    assert not relay.mails


def test_a_full_mailbox_and_a_wrong_address_are_marked_as_such() -> None:
    with SmtpDouble([{"RCPT": "452 4.2.2 full"}, {"RCPT": "450 4.2.0 later"}, {"RCPT": "550 5.1.1 unknown"}]) as relay:
        full, later, wrong = deliver(relay), deliver(relay), deliver(relay)
    assert isinstance(full, MessageDeferred)
    assert full.mailbox_full
    assert isinstance(later, MessageDeferred)
    assert not later.mailbox_full
    assert isinstance(wrong, MessageRefused)
    assert wrong.bad_address


@pytest.mark.parametrize("moment", ["MAIL", "RCPT", "DATA"])
def test_a_line_lost_before_the_dot_is_replaced_once(moment: str) -> None:
    with SmtpDouble([{moment: DROP}]) as relay:
        assert deliver(relay) is None
        assert (relay.connections, len(relay.mails)) == (2, 1)
    with SmtpDouble([{moment: DROP}, {moment: DROP}]) as relay:
        problem = deliver(relay)
        assert (relay.connections, len(relay.mails)) == (2, 0)
    assert type(problem) is RelayUnavailable
    assert problem.stage is Stage(moment.lower())


def test_a_line_lost_in_the_middle_of_a_big_mail_is_replaced_once() -> None:
    big = MESSAGE + b"x" * 70 + b"\r\n"
    big += (b"y" * 998 + b"\r\n") * 20_000  # more than the buffers of both sides hold
    with SmtpDouble([{"body": DROP}]) as relay:
        assert deliver(relay, message=big) is None
        assert (relay.connections, len(relay.mails)) == (2, 1)
        assert relay.mails[0].message == big


def test_a_line_lost_while_the_caller_commits_is_not_taken_for_an_unknown_outcome() -> None:
    calls = []
    with SmtpDouble([{"body": DROP}, {"body": DROP}]) as relay:

        def commit() -> None:
            calls.append("committed")
            relay.wait_until_gone()

        problem = deliver(relay, before_dot=commit)
    assert type(problem) is RelayUnavailable
    assert problem.stage is Stage.BODY
    assert len(calls) <= 1  # once announced, the mail is not begun again behind the caller's back


def test_nothing_answers_at_the_port() -> None:
    with SmtpDouble() as relay:
        url = relay.url
    problem = deliver(relay, url=url)
    assert type(problem) is RelayUnavailable
    assert problem.stage is Stage.CONNECT
    assert "127.0.0.1" in str(problem)


def test_a_name_that_does_not_resolve_is_the_relays_fault() -> None:
    with SmtpDouble() as relay:
        problem = deliver(relay, url="smtp://nowhere.invalid:25?insecure=true")
    assert type(problem) is RelayUnavailable
    assert problem.stage is Stage.CONNECT


def test_the_relays_words_are_shown_without_links_and_secrets() -> None:
    token = "A1b2C3d4" * 6
    said = f"554 5.6.0 spam: https://id.example.com/recover/{token} or id.example.com/recover/{token} or {token} " + "x " * 300
    with SmtpDouble([{"dot": said}]) as relay:
        problem = deliver(relay)
    assert problem is not None
    assert "spam" in str(problem)
    assert token not in str(problem)
    assert "recover" not in str(problem)
    assert len(str(problem)) < 400


def test_a_relay_that_repeats_the_password_does_not_get_it_into_the_error() -> None:
    with SmtpDouble(lines_script=[{"AUTH": "535 5.7.8 wrong: s3cret-pass AG11c3RlcgBzM2NyZXQtcGFzcw=="}], login=("m", "x")) as relay:
        problem = deliver(relay, url=f"smtp://muster:s3cret-pass@127.0.0.1:{relay.port}")
    assert problem is not None
    assert "s3cret" not in str(problem)
    assert "AG11c3Rlcg" not in str(problem)
