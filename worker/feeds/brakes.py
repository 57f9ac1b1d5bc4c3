"""The brakes: a plan that would change more than declared is held until a person has looked at it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from worker.feeds.declaration import Brake, Feed

WORDS: Mapping[str, str] = {
    "create": "accounts to be made or opened again", "disable": "people who lose their access",
    "delete": "accounts that will be deleted in the end", "groups": "people who lose groups",
    "attributes": "people whose attributes change", "mails": "mails to be sent",
}  # fmt: skip


# More than half of the people is too many, whatever the floor; but for so few. Half of a team of four is many leavers.
HALVES: Mapping[str, int] = {"disable": 1, "delete": 1, "attributes": 10}


@dataclass(frozen=True)
class Held:
    """One brake that holds a plan: what it counted, of how many, and how many would have been let through."""

    brake: str
    count: int
    of: int
    limit: int
    text: str

    def as_json(self) -> dict[str, Any]:
        """As it is stored with the run and printed."""
        return asdict(self)


def check(feed: Feed, risks: Mapping[str, int], spent: Mapping[str, int], people: int) -> list[Held]:
    """Return the brakes that hold a plan with these counts.

    `spent`: what was let through within the last day and counts as well (event feeds); `people`: those of the source who
    have access now, the base of all percentages.
    """
    found = []
    for name, words in WORDS.items():
        brake: Brake = getattr(feed.brakes, name)
        count, before = risks.get(name, 0), spent.get(name, 0)
        limit = allowed(brake, people)
        if limit is not None and people and name in HALVES:
            limit = min(limit, max(people // 2, HALVES[name]))
        if count and limit is not None and count + before > limit:
            text = f"{count:,} {words}"
            if before:
                text += f", and {before:,} within the last 24 hours"
            text += f"; at most {limit:,} of {people:,} people are let through without a look"
            found.append(Held(name, count + before, people, limit, text))
    return found


def allowed(brake: Brake, people: int) -> int | None:
    """How many a brake lets through: the percentage, at least the floor, at most the count; None: any number."""
    limits = []
    if brake.percent is not None:
        limits.append(max(int(people * brake.percent / 100), brake.floor))
    if brake.count is not None:
        limits.append(brake.count)
    return min(limits, default=None)


def shrunken(feed: Feed, records: int, last: int | None) -> Held | None:
    """Hold a full file that is much smaller than the last one that was applied and proves nothing by a trailer."""
    if not last or feed.complete.trailer is not None:
        return None
    limit = int(last * (1 - feed.complete.size_percent / 100))
    if records >= limit:
        return None
    text = f"{records} records, the last full file had {last}: it may be cut off; fewer than {limit} are not believed"
    return Held("shrunken", records, last, limit, text)


def vanished(absent: int, people: int) -> Held | None:
    """Hold a full file in which most of those who are known are missing: other ids, or another company's file."""
    limit = max(people // 2, HALVES["attributes"])
    if absent <= limit:
        return None
    text = f"{absent} of {people} people are missing from the file: are the ids still the same?"
    return Held("vanished", absent, people, limit, text)


def unreadable(refused: int, records: int) -> Held | None:
    """Hold a file of which most records were refused: its columns, or their words, mean something else by now."""
    limit = max(records // 2, HALVES["attributes"])
    if refused <= limit:
        return None
    return Held("refused", refused, records, limit, f"{refused} of {records} records were refused: has the file another form?")
