"""What should be so of a person at a moment: account or none, active or not, which groups; and when that changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from worker.directory.lifecycle import day_begins
from worker.feeds.claims import ATTRIBUTE
from worker.feeds.declaration import Feed
from worker.feeds.rules import birthright, filled

Phase = Literal["none", "prehire", "active", "leave", "left"]

LEAVING = frozenset({"terminated", "retired", "deceased"})
# HR systems write 9999-12-31 for "no end"; nothing from this year on is a plan, and no job takes a later one.
NO_PLAN_FROM = 2100
# Earlier days count as this one: before it there were no time zones to speak of.
_EARLIEST = date(1900, 1, 1)
# Whoever started longer ago than this was simply not known here before: the first file of an old company is not late.
LATE_START = timedelta(days=90)

# What the directory has from the source as it is; of these a cleared one is cleared there too.
CLEARABLE = {"email": "email", "locale": "locale", "zone": "zone", "start_date": "start_date", "last_day": "end_date"}


@dataclass(frozen=True)
class Desired:
    """What should be so of one person, as far as the source says.

    `fields`: what the directory should hold, by the names of `update_user` (attributes as one object); a field that the
    source does not claim is missing, one that it clears is None. `groups`: name -> the rule that says so. `manager`: an
    external id of the same source. `leaves_at`: when access ends, if that is known; in the past once the phase is left.
    `due_at`: when time alone makes this another one.
    """

    phase: Phase
    fields: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    manager: str | None = None
    starts_on: str | None = None
    leaves_at: datetime | None = None
    why: str | None = None
    urgent: bool = False
    rescinded: bool = False
    absent: bool = False
    due_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored: instants in ISO 8601, empty members left out."""
        stored: dict[str, Any] = {"phase": self.phase}
        for name in _PLAIN:
            value = getattr(self, name)
            if value:
                stored[name] = dict(value) if isinstance(value, Mapping) else value
        for name in _INSTANTS:
            value = getattr(self, name)
            if value is not None:
                stored[name] = value.isoformat()
        return stored


_PLAIN = ("fields", "groups", "manager", "starts_on", "why", "urgent", "rescinded", "absent")
_INSTANTS = ("leaves_at", "due_at")


def from_json(stored: Mapping[str, Any]) -> Desired:
    """Read what `Desired.as_json` gave."""
    given = dict(stored)
    for name in _INSTANTS:
        if name in given:
            given[name] = datetime.fromisoformat(given[name])
    return Desired(**given)


def desired(
    feed: Feed, fields: Mapping[str, Any], now: datetime, *, absent_runs: int = 0, default_zone: ZoneInfo
) -> Desired:
    """Return what should be so, now, of a person of whom the source says this.

    `fields`: as `Claims.fields`. `absent_runs`: how many full files in a row did not hold the person. Days begin and end
    in the person's zone, else in the feed's, else in `default_zone`. Nothing of a later day shows before it begins,
    except when it is due and when the person is to leave.
    """
    phase, leaves_at, why, absent, due_at = _standing(feed, fields, now, absent_runs, zone_of(feed, fields, default_zone))
    return Desired(
        phase=phase, fields=_held(feed, fields), groups=birthright(feed, fields, phase), manager=fields.get("manager"),
        starts_on=fields.get("start_date"), leaves_at=leaves_at, why=why,
        urgent=phase == "left" and not absent and fields.get("reason") in feed.leavers.urgent_reasons,
        rescinded=fields.get("status") == "rescinded", absent=absent, due_at=due_at,
    )  # fmt: skip


def zone_of(feed: Feed, fields: Mapping[str, Any], default_zone: ZoneInfo) -> ZoneInfo:
    """Return the zone in which a person's days begin and end."""
    name = fields.get("zone") or feed.zone
    return ZoneInfo(name) if name else default_zone


def lateness(before: Desired | None, after: Desired, now: datetime, zone: ZoneInfo | None = None) -> timedelta | None:
    """Return how long ago the phase should have begun, where the word of it came only after that; None: in time.

    `before`: what was known, None for somebody new. `zone`: in which a start is meant if the person has none (UTC).
    """
    if after.phase == "left":
        told_before = before is not None and (before.phase == "left" or before.leaves_at == after.leaves_at)
        began = None if told_before else after.leaves_at
    elif after.phase in ("active", "leave"):
        told_before = before is not None and (before.phase in ("active", "leave") or before.starts_on == after.starts_on)
        began = None if told_before or after.starts_on is None else _starts(after, zone)
        if began is not None and now - began > LATE_START:
            return None
    else:
        return None
    return now - began if began is not None and began < now else None


def _starts(after: Desired, zone: ZoneInfo | None) -> datetime | None:
    own = after.fields.get("zone")
    return _begins(after.starts_on, ZoneInfo(own) if own else zone or ZoneInfo("UTC"))


Standing = tuple[Phase, datetime | None, str | None, bool, datetime | None]


def _standing(feed: Feed, fields: Mapping[str, Any], now: datetime, absent_runs: int, zone: ZoneInfo) -> Standing:
    """The phase, when access ends, why, whether by absence, and when time alone makes it another."""
    status, reason = fields.get("status"), fields.get("reason")
    if status is None:
        # A message or a part of a record that came before the word that the person is here makes no account.
        if feed.form == "messages" or "status" in feed.columns:
            return "none", None, None, False, None
        status = "active"
    if status == "rescinded":
        return "left", None, reason or status, False, None
    leaves_at = _begins(fields.get("last_day"), zone, 1)
    why = reason or (status if status in LEAVING else "last day of work")
    if leaves_at is not None and leaves_at <= now:
        return "left", leaves_at, why, False, None
    if status in LEAVING and (leaves_at is None or reason in feed.leavers.urgent_reasons):
        return "left", None, why, False, leaves_at
    if feed.absent.files and absent_runs >= feed.absent.files:
        return "left", None, f"missing from {feed.absent.files} full files in a row", True, leaves_at
    turns = _turns(feed, fields, now, status, zone)
    phase: Phase = "active"
    due_at = leaves_at
    for at, then in turns:
        if at <= now:
            phase = then
        elif then != phase:
            due_at = at if due_at is None else min(at, due_at)
            break
    return phase, leaves_at, why if leaves_at is not None else None, False, due_at


Turns = list[tuple[datetime, Phase]]
_EVER = datetime.min.replace(tzinfo=UTC)


def _turns(feed: Feed, fields: Mapping[str, Any], now: datetime, status: str, zone: ZoneInfo) -> Turns:
    """The phases of somebody who has not left, each with the instant of its beginning, in order."""
    start, off, back = fields.get("start_date"), fields.get("leave_from"), fields.get("leave_to")
    turns: Turns = []
    begins = _begins(start, zone) if start else None
    if start and begins is None:
        return [(_EVER, "none")]
    if begins is None and status == "prehire":
        return [(_EVER, "prehire")]
    if begins is not None and begins > now:
        turns = [(_EVER, "none"), (_begins(start, zone, -feed.prehire_days) or begins, "prehire")]
    there = begins or _EVER
    if status == "leave":
        return [*turns, (there, "leave")]
    turns.append((there, "active"))
    leave = _begins(off, zone) if off else None
    if leave is not None:
        until = _begins(back, zone, 1) if back else None
        if until is None:
            turns.append((max(leave, there), "leave"))
        elif until > leave and until > there:
            turns += [(max(leave, there), "leave"), (until, "active")]
    return turns


def _begins(day: str | None, zone: ZoneInfo, days: int = 0) -> datetime | None:
    """The first instant of the day so many days after `day`, in UTC; None for no day, and for one that never comes."""
    if not day:
        return None
    found = date.fromisoformat(day)
    if found.year >= NO_PLAN_FROM:
        return None
    return day_begins(max(found, _EARLIEST) + timedelta(days), zone).astimezone(UTC)


def _held(feed: Feed, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the directory should hold: the source's fields by the directory's names."""
    found: dict[str, Any] = {}
    name = fields.get("name")
    if not name or (feed.columns and "name" not in feed.columns):
        name = " ".join(part for one in ("first", "middle", "last") if (part := fields.get(one))) or name
    if name:
        found["name"] = name
    for claimed, held in CLEARABLE.items():
        if claimed in fields:
            found[held] = fields[claimed]
    if fields.get("type"):
        found["type"] = fields["type"]
    path = fields.get("path") or (filled(feed.path, fields) if feed.path else None)
    if path:
        found["path"] = path
    cut = len(ATTRIBUTE)
    attributes = {one[cut:]: value for one, value in fields.items() if one.startswith(ATTRIBUTE)}
    if attributes:
        found["attributes"] = attributes
    return found
