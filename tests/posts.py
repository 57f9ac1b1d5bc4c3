"""Reads the mails that an office sent, and searches everything that it stores."""

import email
import email.policy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from office import Office
from sqlalchemy import select

from worker.tables import metadata

HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FtcGxlLXNhbHQtMTY$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
"""A well-formed hash of nobody's password."""


@contextmanager
def mailing(database_url: str, folder: Path, **settings: Any) -> Iterator[Office]:
    """An office with its world of people, whose mails land in `folder`, also on PostgreSQL."""
    office = Office(database_url, **{"mail_folder": folder, **settings})
    try:
        office.world()
        yield office
    finally:
        office.close()


def sent(folder: Path) -> list[EmailMessage]:
    """Return the mails in a folder."""
    return [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in sorted(folder.glob("*.eml"))
    ]


def text(mail: EmailMessage) -> str:
    """Return the text part of a mail."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def token(mail: EmailMessage) -> str:
    """Return the token in the link of a mail."""
    found = re.search(r"https?://\S+/(?:recover|invite)/(\S+)", text(mail))
    assert found is not None, text(mail)
    return found[1]


def everything(office: Office) -> str:
    """Return all rows of all tables as one text."""
    with office.app.database.read() as conn:
        return "\n".join(
            f"{table.name} {tuple(row)!r}" for table in metadata.sorted_tables for row in conn.execute(select(table))
        )
