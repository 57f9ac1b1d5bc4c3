"""What the commands share: opening the program, who asks, times as people write them, ids as tables show them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, TypeVar

import click

from worker.cli.errors import NothingHere

if TYPE_CHECKING:
    from worker.app import App
    from worker.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

# As much of an id as tables show: the time to the millisecond and a counter, and so nearly always one job.
ID_SHOWN = 18
# Fewer characters of an id name a minute or a day, not a job.
ID_SHORTEST = 8
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line (docs/cli.md).")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def limit_option(number: int) -> Callable[[F], F]:
    """The option for the length of a listing."""
    return click.option("--limit", type=click.IntRange(1, 100_000), default=number, show_default=True, help="At most so many.")


def read_settings() -> "Settings":
    """Return the settings. Raises WrongSettings."""
    from worker import settings

    return settings.load()


@contextmanager
def opened(*, looking: bool = False) -> Iterator["App"]:
    """Open the program on its database. `looking`: only to read; then nothing is made or brought up to date."""
    from worker import migrate
    from worker.app import App

    settings = read_settings()
    file = settings.sqlite_path
    if looking and file is not None and not file.exists():
        raise NothingHere(
            f"There is no database {file} yet. `muster up` or `muster submit` makes it; another one is named by "
            "MUSTER_DATABASE_URL."
        )
    app = App(settings)
    try:
        if looking:
            migrate.require(app.database)
        else:
            app.ready()
        yield app
    finally:
        app.close()


def user_name() -> str:
    """Return the name under which this person is logged in to the machine."""
    import getpass
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has a number only
        return f"uid-{os.getuid()}"


def source(word: str | None = None) -> str:
    """Return the source of jobs from this door: `cli/` and the given word, else the person's name."""
    return f"cli/{word or user_name()}"[:255]


# ------------------------------------------------------------------------------------------------------ times


def parse_time(text: str, *, now: datetime, zone: tzinfo, past: bool) -> datetime:
    """Return the instant that a person means: `2h` (ago if `past`, else from now), a date, or a time (else in `zone`)."""
    span = re.fullmatch(r"([+-]?)(\d{1,6})([smhdw])", text.strip())
    try:
        if span:
            distance = timedelta(**{_UNITS[span[3]]: int(span[2])})
            return now - distance if past or span[1] == "-" else now + distance
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time. Write 30m, 2h or 3d, a date as 2026-01-31, or a time as 2026-01-31T17:00+01:00."
        ) from None


def when(app: "App", text: str | None, *, past: bool = False) -> datetime | None:
    """Read the value of an option that names a time."""
    if text is None:
        return None
    return parse_time(text, now=app.clock(), zone=app.settings.default_zone, past=past)


# -------------------------------------------------------------------------------------------------------- ids


def short(job_id: str) -> str:
    """Return as much of an id as tables show; every command that takes an id takes this much of it."""
    return job_id[:ID_SHOWN]


def whole_id(app: "App", text: str) -> str:
    """Return the id of the one job that begins like this. Raises ClickException when it is none or several."""
    import uuid

    from worker import listing

    beginning = text.strip().lower()
    pattern = "00000000-0000-0000-0000-000000000000"
    try:
        good = len(beginning) >= ID_SHORTEST and str(uuid.UUID(beginning + pattern[len(beginning) :])).startswith(beginning)
    except ValueError:
        good = False
    if not good:
        raise click.UsageError(f"{text!r} is no job id. Ids look like {pattern}; the first {ID_SHOWN} characters will do.")
    with app.database.read() as conn:
        found = listing.whole_ids(conn, beginning)
    if not found:
        raise NoSuchJob(f"There is no job {text}. `muster jobs list` shows the latest ones.")
    if len(found) > 1:
        raise click.UsageError(f"Several jobs begin with {text}: {', '.join(found)} … Write more of the id.")
    return found[0]


class NoSuchJob(click.ClickException):
    """There is no such job, user or group."""

    exit_code = 1
