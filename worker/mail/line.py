"""One connection to the relay: sends lines, reads answers, and always knows how far it came."""

import socket
import ssl
import time

from worker.mail.failures import Reply, Stage, reply_from

REPLY_BYTES = 65536
"""An answer longer than this is no SMTP; without a limit a broken relay could fill the memory."""


class LineLost(Exception):
    """The relay closed the connection, or the network did."""


class LineSilent(Exception):
    """The relay did not answer in time."""


class LineGarbled(Exception):
    """The relay answered something that is not SMTP."""


class Line:
    """A connected socket that speaks in lines. `stage` is set by whoever drives it; not for two threads at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.stage = Stage.BANNER
        self._sock = sock
        self._buffer = b""
        # The last line of a mail is three bytes; without this it would wait for the acknowledgement of the body.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def own_address(self) -> str:
        """Return this side's address in the form that EHLO takes when there is no name (RFC 5321, 4.1.3)."""
        host = str(self._sock.getsockname()[0])
        return f"[IPv6:{host}]" if ":" in host else f"[{host}]"

    @property
    def cipher(self) -> str:
        """Return "TLSv1.3" or the like, or "" on a plain line."""
        return (self._sock.version() or "") if isinstance(self._sock, ssl.SSLSocket) else ""

    def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Go on encrypted; ssl.SSLError and its kin come through as they are. Raises LineGarbled for bytes too early.

        Whatever arrived before the handshake was not protected: accepting it would let somebody on the way slip in
        answers of their own.
        """
        if self._buffer:
            raise LineGarbled
        self._sock.settimeout(seconds)
        self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of `data` within `seconds`."""
        self._sock.settimeout(seconds)
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise LineSilent from None
        except OSError:
            raise LineLost from None

    def answer(self, seconds: float) -> tuple[int, list[str]]:
        """Read one answer, all of it within `seconds`: its code, and the text of each of its lines."""
        deadline = time.monotonic() + seconds
        lines: list[str] = []
        read = 0
        while True:
            line = self._read_line(deadline)
            read += len(line)
            code, mark = line[:3], line[3:4]
            if not (code.isdigit() and len(code) == 3 and mark in {b" ", b"-", b""}) or read > REPLY_BYTES:
                raise LineGarbled
            lines.append(line[4:].decode("utf-8", "replace"))
            if mark != b"-":
                return int(code), lines

    def reply(self, seconds: float) -> Reply:
        """Read one answer, all of it within `seconds`."""
        return reply_from(*self.answer(seconds))

    def early_word(self) -> bool:
        """Tell without waiting whether the relay has already said something; raises LineLost if it hung up."""
        if self._buffer:
            return True
        self._sock.settimeout(0)
        try:
            data = self._sock.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False  # nothing there, or only bookkeeping of TLS
        except OSError:
            raise LineLost from None
        if not data:
            raise LineLost
        self._buffer += data
        return True

    def close(self) -> None:
        """Hang up without waiting for anything."""
        self._sock.close()

    def _read_line(self, deadline: float) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > REPLY_BYTES:
                raise LineGarbled
            left = deadline - time.monotonic()
            if left <= 0:
                raise LineSilent
            self._sock.settimeout(left)
            try:
                data = self._sock.recv(8192)
            except TimeoutError:
                raise LineSilent from None
            except OSError:
                raise LineLost from None
            if not data:
                raise LineLost
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")
