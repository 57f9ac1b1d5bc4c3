"""A small mail server for trying out: it takes every mail, delivers none and shows them all."""

import base64
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One accepted mail: the envelope as it was given, and the bytes of the message without dot-stuffing."""

    sender: str
    recipients: tuple[str, ...]
    message: bytes
    options: str = ""


class HangUp(Exception):
    """Raised by answer() or hear() to close the connection, with `HangUp("421 …")` for last words."""


class Catcher:
    """An SMTP server on 127.0.0.1 that keeps what it is given, in memory, until the `with` block ends.

    `mails` are the accepted mails in order, `connections` counts those opened. A subclass may change what is said
    by overriding answer(), and what is offered by setting `capabilities`, `login` and `tls`.
    """

    capabilities: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
    login: tuple[str, str] | None = None
    tls: ssl.SSLContext | None = None
    tls_at_once = False

    def __init__(self, port: int = 0) -> None:
        self.mails: list[CaughtMail] = []
        self.connections = 0
        self.arrived = threading.Condition()
        self._closing = False
        self._open: set[_Guest] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._doorman = threading.Thread(target=self._accept, name="mail-catcher", daemon=True)

    @property
    def url(self) -> str:
        """Return what MUSTER_SMTP_URL has to be for mails to arrive here."""
        return f"smtp://127.0.0.1:{self.port}"

    def wait_for(self, count: int, seconds: float) -> bool:
        """Wait until `count` mails have arrived in all, at most `seconds`; return whether they have."""
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.mails) >= count, seconds)

    def answer(self, moment: str, usual: str) -> str:
        """Return what to say at `moment` ("banner", "EHLO", "MAIL", "354", "dot" …) instead of `usual`."""
        del moment
        return usual

    def hear(self, line: bytes) -> None:
        """Take notice of one raw line of a mail's content as it comes in, the final dot included."""
        del line

    def __enter__(self) -> Self:
        self._doorman.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._closing = True
        with contextlib.suppress(OSError):  # wakes the doorman, on every system alike
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._doorman.join(5)
        self._listener.close()
        with self.arrived:
            guests = list(self._open)
        for guest in guests:
            guest.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing:
                sock.close()
                return
            guest = _Guest(self, sock)
            with self.arrived:
                self.connections += 1
                self._open.add(guest)
            thread = threading.Thread(target=self._serve, args=(guest,), name="mail-catcher-line", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, guest: "_Guest") -> None:
        with contextlib.suppress(OSError):  # whoever left without a word is gone, and that is all
            try:
                guest.serve()
            except HangUp as last:
                if last.args:
                    guest.send(str(last))
        guest.close()
        with self.arrived:
            self._open.discard(guest)
            self.arrived.notify_all()


class _Guest:
    """One connection: reads commands, answers, and gives complete mails to the catcher."""

    def __init__(self, house: Catcher, sock: socket.socket) -> None:
        self.house = house
        self.sock = sock
        self.sender: str | None = None
        self.options = ""
        self.recipients: list[str] = []
        self.encrypted = False
        self._buffer = b""

    def serve(self) -> None:
        if self.house.tls_at_once:
            self.encrypt()
        self.say("banner", "220 catcher ESMTP")
        for line in self.lines():
            verb = line[:4].decode("ascii", "replace").upper().strip()
            if verb == "QUIT":
                self.say("QUIT", "221 2.0.0 goodbye")
                return
            self.act(verb, line.strip())

    def act(self, verb: str, line: bytes) -> None:
        if verb == "EHLO":
            self.say(verb, "\r\n".join(_multiline(["catcher", *self.offers()])))
        elif verb == "STAR" and self.house.tls and not self.encrypted:
            if self.say("STARTTLS", "220 2.0.0 go ahead"):
                self.encrypt()
        elif verb == "AUTH":
            self.log_in(line.decode("ascii", "replace"))
        elif verb == "MAIL":
            found = re.match(rb"MAIL FROM:<([^>]*)>(.*)", line, re.IGNORECASE)
            if found and self.say(verb, "250 2.1.0 sender ok"):
                self.sender, self.options, self.recipients = found[1].decode(), found[2].decode().strip(), []
        elif verb == "RCPT":
            found = re.match(rb"RCPT TO:<([^>]+)>", line, re.IGNORECASE)
            if self.sender is None or found is None:
                self.say(verb, "503 5.5.1 MAIL first")
            elif self.say(verb, "250 2.1.5 recipient ok"):
                self.recipients.append(found[1].decode())
        elif verb == "DATA":
            self.take()
        elif verb in {"RSET", "NOOP"}:
            if verb == "RSET":
                self.sender, self.recipients = None, []
            self.say(verb, "250 2.0.0 ok")
        else:
            self.say("other", "502 5.5.2 not understood")

    def offers(self) -> list[str]:
        found = list(self.house.capabilities)
        if self.house.tls and not self.encrypted:
            found.append("STARTTLS")
        if self.house.login:
            found.append("AUTH PLAIN LOGIN")
        return found

    def log_in(self, line: str) -> None:
        _, way, *rest = line.split()
        if way.upper() == "LOGIN":
            given = []
            for prompt in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"):
                self.say("334", f"334 {prompt}")
                given.append(base64.b64decode(next(self.lines())).decode())
        else:
            given = base64.b64decode(rest[0]).decode().split("\0")[1:]
        right = tuple(given) == self.house.login
        self.say("AUTH", "235 2.7.0 welcome" if right else "535 5.7.8 user or password is wrong")

    def take(self) -> None:
        if not self.recipients:
            self.say("DATA", "554 5.5.1 no valid recipients")
            return
        if not self.say("DATA", "354 go on, end with a dot"):
            return
        content: list[bytes] = []
        for line in self.lines():
            self.house.hear(line)
            if line == b".\r\n":
                break
            content.append(line[1:] if line.startswith(b".") else line)
        else:
            return
        mail = CaughtMail(self.sender or "", tuple(self.recipients), b"".join(content), self.options)
        self.sender, self.recipients = None, []
        house = self.house
        said = house.answer("dot", f"250 2.0.0 queued as C{len(house.mails) + 1:04d}")
        if said.startswith("2"):
            with house.arrived:
                house.mails.append(mail)
                house.arrived.notify_all()
        self.send(said)

    def say(self, moment: str, usual: str) -> bool:
        """Answer, and return whether the answer is a welcome one."""
        said = self.house.answer(moment, usual)
        self.send(said)
        return said[:1] in {"2", "3"}

    def send(self, said: str) -> None:
        self.sock.sendall(said.encode() + b"\r\n")

    def encrypt(self) -> None:
        assert self.house.tls is not None
        self.sock = self.house.tls.wrap_socket(self.sock, server_side=True)
        self.encrypted, self._buffer = True, b""

    def lines(self) -> Iterator[bytes]:
        """Yield raw lines until the other side hangs up."""
        while True:
            while b"\n" not in self._buffer:
                data = self.sock.recv(65536)
                if not data:
                    return
                self._buffer += data
            line, _, self._buffer = self._buffer.partition(b"\n")
            yield line + b"\n"

    def cut(self) -> None:
        """End the connection from another thread: whoever reads or writes on it gets an error."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


def _multiline(lines: list[str]) -> list[str]:
    return [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
