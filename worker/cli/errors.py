"""Turns what went wrong into a sentence for a person and an exit code for a script."""

from typing import NamedTuple

DONE = 0
REFUSED = 1
"""A job was refused or failed, or had not ended in the time given."""
BAD_INPUT = 2
"""The command line, the input or a setting cannot be used. The same number as click's own."""
UNREACHABLE = 3
"""The database, its schema, the queue or the relay is not there to work with."""


class NothingHere(Exception):
    """There is no database yet."""


class Told(NamedTuple):
    """What to print on standard error, and what to end with."""

    sentence: str
    code: int


def told(error: Exception) -> Told | None:
    """Return what to say about an exception, or None when it is a fault of ours and its traceback is wanted."""
    from sqlalchemy.exc import DBAPIError

    from worker.database import Busy, Unreachable
    from worker.feeds.apply import NotApplied
    from worker.feeds.cases import CannotDecide
    from worker.feeds.config import WrongFeed
    from worker.feeds.desk import NoSuchFeed
    from worker.feeds.records import Unreadable
    from worker.feeds.runs import NoSuchRun
    from worker.mail.relay_url import BadRelayUrl
    from worker.migrate import WrongSchema
    from worker.settings import WrongSettings

    if isinstance(error, (WrongSettings, BadRelayUrl, WrongFeed, NoSuchFeed)):
        return Told(str(error), BAD_INPUT)
    if isinstance(error, (NoSuchRun, NotApplied, CannotDecide, Unreadable)):
        return Told(str(error), REFUSED)
    if isinstance(error, (WrongSchema, NothingHere)):
        return Told(str(error), UNREACHABLE)
    if isinstance(error, (Unreachable, Busy)):
        return Told(" ".join(filter(None, [type(error).__doc__, _cause(error)])), UNREACHABLE)
    if isinstance(error, DBAPIError):
        return Told(f"The database refused to work. {_cause_of(error)}", UNREACHABLE)
    return None


def _cause(error: Exception) -> str:
    """What the driver said: it names host and port, never the password."""
    return _cause_of(error.__cause__) if error.__cause__ is not None else ""


def _cause_of(error: BaseException) -> str:
    from worker.redact import redact

    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"({redact(said)[:300]})"
