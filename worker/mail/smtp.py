"""Hands one mail after the other to the relay by SMTP, and knows at every instant whether the relay can have it."""

import base64
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.mail.failures import (
    DeliveryFailure,
    MessageRefused,
    OutcomeUnknown,
    RelayMisconfigured,
    RelayUnavailable,
    Reply,
    Stage,
    judge,
    reply_from,
    safe_text,
)
from worker.mail.line import Line, LineGarbled, LineLost, LineSilent
from worker.mail.relay_url import Relay, parse_relay_url

MESSAGES_PER_CONNECTION = 100
"""A relay behind a balancer should get the chance to move us, and some close the line at a number of their own."""

IDLE_SECONDS = 30.0
"""Relays close idle lines after a minute or more; a younger line is nearly always still good."""

QUIT_SECONDS = 2.0
"""Saying goodbye is a courtesy, not worth a longer wait."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for the relay at each stage. RFC 5321, 4.5.3.2 names upper bounds of minutes.

    The last one matters: giving up early after the final dot typically yields a second copy, so it is the RFC's
    ten minutes. The others are shorter, because giving up there costs nothing but another try.
    """

    connect: float = 10.0
    banner: float = 30.0
    command: float = 60.0
    data: float = 120.0
    body: float = 180.0
    dot: float = 600.0


class SmtpTransport:
    """One connection to one relay, opened when needed and used again for the next mail. For one thread at a time."""

    def __init__(self, url: str | Relay, *, hello: str | None = None, patience: Patience | None = None) -> None:
        self.relay = parse_relay_url(url) if isinstance(url, str) else url
        self._hello = hello
        self._patience = patience or Patience()
        self._tls: ssl.SSLContext | None = None
        self._line: Line | None = None
        self._offers: dict[str, str] = {}
        self._sent = 0
        self._used_at = 0.0
        self._mid_mail = False  # the relay still remembers a sender of ours: RSET before the next one
        self._announced = False  # before_dot() has been called for the mail in hand

    def send(
        self, *, sender: str, recipient: str, message: bytes, before_dot: Callable[[], None], smtputf8: bool = False,
    ) -> Reply:
        """Hand over one mail to one recipient and return the relay's 250, or raise a DeliveryFailure.

        `before_dot` is called when everything but the final dot has left: until it has returned the relay cannot have
        accepted the mail. If it raises, the mail is not sent. A line lost before that is replaced once, silently.
        """
        if not _is_safe_path(sender, empty=True) or not _is_safe_path(recipient):
            raise MessageRefused(Stage.MAIL, "An address of the envelope holds characters that SMTP cannot carry.")
        utf8 = smtputf8 or not (sender + recipient).isascii()
        body = _dotted(message)
        self._announced = False
        for may_retry in (True, False):
            line, reused = self._ready()
            try:
                return self._deliver(line, sender, recipient, body, before_dot, utf8)
            except (LineLost, LineSilent, LineGarbled) as problem:
                self._hang_up()
                if line.stage is Stage.DOT:
                    raise OutcomeUnknown(Stage.DOT, _told(problem)) from None
                if may_retry and not self._announced and isinstance(problem, LineLost):
                    continue
                raise RelayUnavailable(line.stage, _told(problem)) from None
            except DeliveryFailure as failure:
                if failure.code == 421 or line.stage is Stage.BODY or isinstance(failure, OutcomeUnknown):
                    self._hang_up()
                if failure.code == 421 and failure.stage is Stage.MAIL and reused and may_retry:
                    continue  # the relay only wanted to be rid of the old line
                raise
            except BaseException:
                self._hang_up()
                raise
        raise AssertionError("unreachable: the second round returns or raises")

    def probe(self) -> str:
        """Connect afresh, greet, encrypt, log in and say NOOP, without any mail; return what was found, in words."""
        self.close()
        line, _ = self._ready()
        try:
            line.send(b"NOOP\r\n", self._patience.command)
            reply = line.reply(self._patience.command)
        except (LineLost, LineSilent, LineGarbled) as problem:
            self._hang_up()
            raise RelayUnavailable(Stage.HELLO, _told(problem)) from None
        if reply.code != 250:
            self._hang_up()
            raise judge(Stage.HELLO, reply)
        found = [line.cipher or "no encryption", "logged in" if self.relay.user else "no login"]
        found += [name for name in ("PIPELINING", "SMTPUTF8") if name in self._offers]
        return f"{self.relay} answers: {', '.join(found)}."

    def close(self) -> None:
        """Say goodbye and hang up; the next send() opens a new connection."""
        line = self._line
        if line is None:
            return
        try:
            line.send(b"QUIT\r\n", QUIT_SECONDS)
            line.reply(QUIT_SECONDS)
        except (LineLost, LineSilent, LineGarbled):
            pass  # it is gone already, which is what was wanted
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None

    # ── One mail ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _deliver(
        self, line: Line, sender: str, recipient: str, body: bytes, before_dot: Callable[[], None], utf8: bool,
    ) -> Reply:
        self._ask_to_send(line, sender, recipient, utf8)
        line.stage = Stage.BODY
        line.send(body, self._patience.body)
        self._listen_for_objections(line)
        self._announced = True
        before_dot()
        self._listen_for_objections(line)
        line.stage = Stage.DOT
        line.send(b".\r\n", self._patience.dot)
        reply = line.reply(self._patience.dot)
        self._mid_mail = False
        self._sent += 1
        self._used_at = time.monotonic()
        if 200 <= reply.code < 300:
            return reply
        raise judge(Stage.DOT, reply)

    def _ask_to_send(self, line: Line, sender: str, recipient: str, utf8: bool) -> None:
        """Name sender and recipient and get the 354, in one round trip where the relay offers PIPELINING (RFC 2920)."""
        options = ""
        if utf8:
            if "SMTPUTF8" not in self._offers:
                raise MessageRefused(
                    Stage.MAIL,
                    "The address has letters outside ASCII before the @, and this relay does not offer SMTPUTF8: "
                    "the person needs another address, or Muster another relay.",
                )
            options = " SMTPUTF8" + (" BODY=8BITMIME" if "8BITMIME" in self._offers else "")
        steps = (
            (Stage.MAIL, f"MAIL FROM:<{sender}>{options}\r\n".encode(), self._patience.command),
            (Stage.RCPT, f"RCPT TO:<{recipient}>\r\n".encode(), self._patience.command),
            (Stage.DATA, b"DATA\r\n", self._patience.data),
        )
        pipelining = "PIPELINING" in self._offers
        line.stage = Stage.MAIL
        self._mid_mail = True
        if pipelining:
            line.send(b"".join([command for _, command, _ in steps]), self._patience.command)
        failure: DeliveryFailure | None = None
        for stage, command, seconds in steps:
            line.stage = stage
            try:
                if not pipelining:
                    line.send(command, seconds)
                reply = line.reply(seconds)
            except (LineLost, LineSilent, LineGarbled):
                if failure is None:
                    raise
                self._hang_up()  # it said why before it left
                raise failure from None
            welcome = reply.code == 354 if stage is Stage.DATA else 250 <= reply.code <= 252
            if welcome and failure is not None and stage is Stage.DATA:
                self._hang_up()  # it waits for a mail to nobody; hanging up here surely leaves none
            elif not welcome and failure is None:
                failure = judge(stage, reply)
            if failure is not None and not pipelining:
                break
        self._used_at = time.monotonic()
        if failure is not None:
            raise failure

    def _listen_for_objections(self, line: Line) -> None:
        """Raise if the relay has hung up or refused already: then it surely has no complete mail."""
        if line.early_word():
            raise judge(Stage.BODY, line.reply(self._patience.command))

    # ── The connection ────────────────────────────────────────────────────────────────────────────────────────────

    def _ready(self) -> tuple[Line, bool]:
        """Return a line that waits for MAIL, and whether it has been used before."""
        line = self._line
        if line is not None:
            if self._sent >= MESSAGES_PER_CONNECTION or time.monotonic() - self._used_at > IDLE_SECONDS:
                self.close()
            elif self._still_good(line):
                return line, True
            else:
                self._hang_up()
        try:
            return self._open(), False
        except BaseException:
            self._hang_up()
            raise

    def _still_good(self, line: Line) -> bool:
        try:
            if line.early_word():
                return False  # "421 idle too long", most likely
            if self._mid_mail:
                line.send(b"RSET\r\n", self._patience.command)
                self._mid_mail = False
                return line.reply(self._patience.command).code == 250
        except (LineLost, LineSilent, LineGarbled):
            return False
        return True

    def _open(self) -> Line:
        relay, patience = self.relay, self._patience
        try:
            line = Line(socket.create_connection((relay.host, relay.port), timeout=patience.connect))
        except (OSError, UnicodeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
            raise RelayUnavailable(Stage.CONNECT, f"No connection to {relay}: {why or 'no answer'}.") from None
        self._line, self._sent, self._mid_mail, self._used_at = line, 0, False, time.monotonic()
        try:
            if relay.security == "tls":
                self._encrypt(line)
            line.stage = Stage.BANNER
            banner = line.reply(patience.banner)
            if banner.code != 220:
                raise judge(Stage.BANNER, banner)
            self._greet(line)
            if relay.security == "starttls":
                line.stage = Stage.TLS
                if "STARTTLS" not in self._offers:
                    raise RelayMisconfigured(
                        Stage.TLS, f"{relay} does not offer STARTTLS, and Muster never falls back to a plain line.",
                    )
                line.send(b"STARTTLS\r\n", patience.command)
                reply = line.reply(patience.command)
                if reply.code != 220:
                    raise judge(Stage.TLS, reply)
                self._encrypt(line)
                self._greet(line)
            if relay.user:
                self._log_in(line)
        except (LineLost, LineSilent, LineGarbled) as problem:
            raise RelayUnavailable(line.stage, _told(problem)) from None
        return line

    def _greet(self, line: Line) -> None:
        line.stage = Stage.HELLO
        line.send(f"EHLO {self._hello or line.own_address}\r\n".encode(), self._patience.command)
        code, lines = line.answer(self._patience.command)
        if code != 250:
            raise judge(Stage.HELLO, reply_from(code, lines))
        words = [entry.strip().upper().replace("AUTH=", "AUTH ").partition(" ") for entry in lines[1:]]
        self._offers = {name: rest for name, _, rest in words}

    def _encrypt(self, line: Line) -> None:
        line.stage = Stage.TLS
        host = self.relay.host
        try:
            if self._tls is None:
                self._tls = ssl.create_default_context(cafile=str(self.relay.ca) if self.relay.ca else None)
                self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            line.start_tls(self._tls, host, self._patience.command)
        except ssl.SSLCertVerificationError as problem:
            raise RelayMisconfigured(
                Stage.TLS, f"The certificate of {host} cannot be trusted: {problem.verify_message}.",
            ) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
            raise LineLost from None
        except ssl.SSLError as problem:
            raise RelayMisconfigured(
                Stage.TLS, f"TLS with {host} fails ({problem.reason or 'no reason given'}): is the port right?",
            ) from None
        except TimeoutError:
            raise LineSilent from None

    def _log_in(self, line: Line) -> None:
        line.stage = Stage.AUTH
        user, password = self.relay.user.encode(), self.relay.password.encode()
        ways = self._offers.get("AUTH", "").split()
        if "PLAIN" in ways:
            says = [b"AUTH PLAIN " + base64.b64encode(b"\0" + user + b"\0" + password)]
        elif "LOGIN" in ways:
            says = [b"AUTH LOGIN", base64.b64encode(user), base64.b64encode(password)]
        else:
            offered = " ".join(ways) or "none"
            raise RelayMisconfigured(
                Stage.AUTH, f"{self.relay} offers no login that Muster speaks (PLAIN or LOGIN); it offers: {offered}.",
            )
        for number, say in enumerate(says, 1):
            line.send(say + b"\r\n", self._patience.command)
            reply = line.reply(self._patience.command)
            if reply.code != (235 if number == len(says) else 334):
                secrets = [self.relay.password, *(word.decode() for word in says[-1].split()[-1:])]
                raise judge(Stage.AUTH, Reply(reply.code, reply.enhanced, safe_text(reply.text, secrets)))


def _is_safe_path(address: str, *, empty: bool = False) -> bool:
    return (empty and not address) or bool(re.fullmatch(r"[^\s\x00-\x20\x7f-\x9f<>]+", address))


def _dotted(message: bytes) -> bytes:
    """Return the mail as DATA carries it: every line ends in CR LF, a leading dot is doubled (RFC 5321, 4.5.2).

    Stray CR or LF become line ends: some servers take "LF . CR LF" for the end of a mail, and would read what
    follows as commands.
    """
    if not message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n"):
        message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    message = message.replace(b"\r\n.", b"\r\n..")
    return b"." + message if message.startswith(b".") else message


def _told(problem: Exception) -> str:
    if isinstance(problem, LineSilent):
        return "It did not answer in time."
    if isinstance(problem, LineGarbled):
        return "It answered something that is not SMTP."
    return "It closed the connection."
