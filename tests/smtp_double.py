"""A mail server that behaves as badly as the script says, and remembers everything it was told."""

import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.mail.catcher import Catcher, HangUp


@dataclass(frozen=True)
class Drop:
    """Close the connection, after `last_words` if there are any."""

    last_words: str = ""


@dataclass(frozen=True)
class Silent:
    """Say nothing, and keep the connection open until the double is closed."""


@dataclass(frozen=True)
class Slow:
    """Answer `reply` (or what is usual) after `seconds`."""

    seconds: float
    reply: str = ""


Act = str | Drop | Silent | Slow
Behaviour = Mapping[str, Act]

DROP, SILENT = Drop(), Silent()

PER_MAIL = {"MAIL", "RCPT", "DATA", "body", "dot"}


class SmtpDouble(Catcher):
    """A Catcher that follows a script.

    `mails_script[n]` says what to do in the n-th mail transaction ("MAIL", "RCPT", "DATA" for the answer that is
    354 otherwise, "body" after the first line of the content, "dot" after the last), `lines_script[n]` in the n-th
    connection ("banner", "EHLO", "STARTTLS", "AUTH", "334", "RSET", "NOOP", "QUIT"). Whatever stands in neither goes
    the usual way. An act is a reply, or DROP, SILENT or Slow. `said` are the commands' moments in order, `heard` the
    raw content lines of the mail in hand.
    """

    def __init__(
        self,
        mails_script: Sequence[Behaviour] = (),
        lines_script: Sequence[Behaviour] = (),
        *,
        pipelining: bool = True,
        smtputf8: bool = True,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        tls_at_once: bool = False,
    ) -> None:
        super().__init__()
        self.mails_script = list(mails_script)
        self.lines_script = list(lines_script)
        offered = {"PIPELINING": pipelining, "SMTPUTF8": smtputf8, "8BITMIME": True, "ENHANCEDSTATUSCODES": True}
        self.capabilities = tuple(name for name, wanted in offered.items() if wanted)
        self.login, self.tls, self.tls_at_once = login, tls, tls_at_once
        self.transactions = 0
        self.said: list[str] = []
        self.heard: list[bytes] = []
        self.done = threading.Event()

    def answer(self, moment: str, usual: str) -> str:
        self.said.append(moment)
        if moment == "MAIL":
            self.transactions += 1
        if moment == "354":
            return usual
        return self._act(self._scripted(moment), usual)

    def hear(self, line: bytes) -> None:
        with self.arrived:
            self.heard.append(line)
            self.arrived.notify_all()
        act = self._scripted("body")
        if act is not None:
            self._act(act, "")

    def wait_until_heard(self, lines: int) -> list[bytes]:
        """Wait until that many content lines of the mail in hand have come in, and return them."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.heard) >= lines, 10)
            return list(self.heard)

    def wait_until_gone(self) -> None:
        """Wait until every connection so far has been closed on this side."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: not self._open, 10)

    def finish(self) -> None:
        """Release whoever is being kept waiting."""
        self.done.set()

    def __exit__(self, *problem: object) -> None:
        self.finish()
        super().__exit__(None, None, None)

    def _scripted(self, moment: str) -> Act | None:
        script, number = (
            (self.mails_script, self.transactions) if moment in PER_MAIL else (self.lines_script, self.connections)
        )
        return script[number - 1].get(moment) if 0 < number <= len(script) else None

    def _act(self, act: Act | None, usual: str) -> str:
        match act:
            case None:
                return usual
            case Drop(last_words):
                raise HangUp(*([last_words] if last_words else []))
            case Silent():
                self.done.wait(30)
                raise HangUp
            case Slow(seconds, reply):
                time.sleep(seconds)
                return reply or usual
            case str():
                return act
