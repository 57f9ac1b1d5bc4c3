"""Which jobs a page shows: read from the address, so that what one sees can be sent to somebody else."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import Connection
from starlette.datastructures import FormData, QueryParams

from worker import listing
from worker.app import App
from worker.console.pulse import UNDELIVERED
from worker.listing import JobFilter
from worker.states import State

#: The words of a filter, in the order in which they stand in an address.
FIELDS = ("kind", "shape", "state", "reason", "subject", "key", "source", "accepted", "until", "ended")
#: Spans that are offered for choosing; the address takes any, and any time in ISO 8601.
SPANS = (("1h", "last hour"), ("1d", "last day"), ("7d", "last week"), ("30d", "last month"))
SHAPES = (("directory", "in the directory"), ("outside", "to the outside, such as mails"))
# The word for all reasons for which a mail did not go out and should have.
UNDELIVERED_WORD = "undelivered"
# The first digits of an id say when the job came, to the minute; with the next ones it is told apart.
SHORTEST = 13
# Longer than any name, key or list of kinds.
LONGEST = 1000
_SPAN = re.compile(r"(\d{1,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class JobSearch:
    """What was asked for, word by word as in the address; lists are separated by commas."""

    kind: str = ""
    shape: str = ""
    state: str = ""
    reason: str = ""
    subject: str = ""
    key: str = ""
    source: str = ""
    accepted: str = ""
    until: str = ""
    ended: str = ""

    @classmethod
    def read(cls, given: QueryParams | FormData) -> "JobSearch":
        """Read it from an address or a form; what is not asked for is empty."""
        words = {}
        for name in FIELDS:
            values = [value.strip() for value in given.getlist(name) if isinstance(value, str) and value.strip()]
            words[name] = ",".join(values)[:LONGEST].replace("\0", "")
        return cls(**words)

    @property
    def fields(self) -> dict[str, str]:
        """What was asked for, without what was not."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name)}

    @property
    def words(self) -> list[str]:
        """What was asked for, as people say it."""
        spoken = dict((*SPANS, *SHAPES, (UNDELIVERED_WORD, "mails that did not go out")))
        return [f"{name}: {spoken.get(value, value)}" for name, value in self.fields.items()]

    def address(self, path: str, **more: str) -> str:
        """The address of this search at `path`, with more words."""
        words = self.fields | {name: value for name, value in more.items() if value}
        return f"{path}?{urlencode(words)}" if words else path

    def without(self, name: str) -> "JobSearch":
        """The same search without one of its words."""
        return replace(self, **{name: ""})

    def wanted(self, app: App, conn: Connection) -> tuple[JobFilter, list[str]]:
        """The filter of the ledger that it means, and a sentence for each word that means nothing."""
        problems: list[str] = []
        kinds = _split(self.kind)
        problems += [f"There is no job {name}." for name in kinds if name not in app.registry]
        if self.shape in dict(SHAPES):
            outside = self.shape == "outside"
            of_shape = [kind.name for kind in app.registry if (kind.shape == "edge") == outside]
            kinds = [name for name in of_shape if not kinds or name in kinds] or ["-"]
        states = _split(self.state)
        problems += [f"There is no state {name}." for name in states if name not in set(State)]
        subjects = listing.subjects_named(conn, app.settings, self.subject) if self.subject else None
        times = {}
        for name in ("accepted", "until", "ended"):
            try:
                times[name] = moment(getattr(self, name), app.clock())
            except ValueError as error:
                problems.append(str(error))
        reasons = [one for name in _split(self.reason) for one in (UNDELIVERED if name == UNDELIVERED_WORD else [name])]
        return JobFilter(
            kinds, states, subjects, self.source or None, times.get("accepted"), key=self.key or None,
            until=times.get("until"), reasons=reasons, ended_since=times.get("ended"),
        ), problems  # fmt: skip


def moment(text: str, now: datetime) -> datetime | None:
    """The instant that a word of the address means: 2h (ago), or a time, taken as UTC when it names no zone."""
    if not text:
        return None
    span = _SPAN.fullmatch(text)
    try:
        if span:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]} is no time. Write 2h, 3d, 2026-01-31 or 2026-01-31T17:00.") from None


def job_named(conn: Connection, text: str) -> str | None:
    """The id of the one job that begins like this; None when it is none, several, or no beginning of an id at all."""
    beginning = text.strip().lower()
    try:
        whole = str(UUID(beginning + str(UUID(int=0))[len(beginning) :]))
    except ValueError:
        return None
    if len(beginning) < SHORTEST or not whole.startswith(beginning):
        return None
    found = listing.whole_ids(conn, beginning, limit=2)
    return found[0] if len(found) == 1 else None


def _split(text: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split(",")) if part]
