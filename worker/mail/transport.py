"""The ways a mail can leave: through a relay, or into a folder for trying out."""

import errno
import hashlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Protocol

from worker.mail.failures import RelayMisconfigured, RelayUnavailable, Reply, Stage, safe_text
from worker.mail.smtp import SmtpTransport

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE}


class Transport(Protocol):
    """Takes finished mails, one recipient each. For one thread at a time; close() it at the end."""

    def send(
        self, *, sender: str, recipient: str, message: bytes, before_dot: Callable[[], None], smtputf8: bool = False,
    ) -> Reply:
        """Hand over one mail, or raise a DeliveryFailure.

        `before_dot` is called at the last moment at which the mail surely has not been accepted yet.
        """

    def probe(self) -> str:
        """Check the way without sending anything; return what was found, in words, or raise a DeliveryFailure."""

    def close(self) -> None:
        """Let go of connections; send() may be called again."""


def transport_from_url(url: str | None, folder: Path, *, hello: str | None = None) -> Transport:
    """Return the relay that `url` names, or, with none set, the folder."""
    return SmtpTransport(url, hello=hello) if url else FolderTransport(folder)


class FolderTransport:
    """Keeps each mail as a file for a mail program to open: for trying out, because live links lie in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(
        self, *, sender: str, recipient: str, message: bytes, before_dot: Callable[[], None], smtputf8: bool = False,
    ) -> Reply:
        """Write the mail, readable for this user alone; the same mail again replaces its own file."""
        del sender, recipient, smtputf8  # they stand in the mail itself
        name = _file_name(message)
        try:
            self._make_folder()
            target, draft = self.folder / name, self.folder / f".{name}.{os.getpid()}.part"
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(message)
        except OSError as problem:
            raise _disk_failure(problem, self.folder) from None
        try:
            before_dot()
            draft.replace(target)
        except OSError as problem:
            draft.unlink(missing_ok=True)
            raise _disk_failure(problem, self.folder) from None
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return Reply(250, "", safe_text(f"250 kept in the file {name}"))

    def probe(self) -> str:
        try:
            self._make_folder()
            draft = self.folder / f".probe.{os.getpid()}.part"
            draft.write_bytes(b"")
            draft.unlink()
        except OSError as problem:
            raise _disk_failure(problem, self.folder) from None
        return f"No relay is set: mails are kept as files in {self.folder}."

    def close(self) -> None:
        """There is nothing to let go of."""

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _file_name(message: bytes) -> str:
    head = message.partition(b"\r\n\r\n")[0]
    fields = {
        name.lower(): value.strip().decode("utf-8", "replace")
        for name, _, value in (line.partition(b":") for line in re.split(rb"\r\n(?![ \t])", head))
    }
    try:
        moment = parsedate_to_datetime(fields.get(b"date", "")).astimezone(UTC)
    except ValueError:
        moment = datetime.fromtimestamp(0, UTC)
    name = fields.get(b"message-id") or message.hex()
    return f"{moment:%Y%m%dT%H%M%SZ}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.eml"


def _disk_failure(problem: OSError, folder: Path) -> RelayUnavailable | RelayMisconfigured:
    why = f"A mail cannot be written to the folder {folder}: {problem.strerror}."
    return (RelayUnavailable if problem.errno in _OF_THE_DISK else RelayMisconfigured)(Stage.CONNECT, why)
