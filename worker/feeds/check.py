"""Explaining a declaration against a sample: how the file is read, who is understood, and what does not fit."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker.feeds.claims import DATES, Refusal, Statement
from worker.feeds.declaration import Complete, Feed, Take
from worker.feeds.delimited import declared_columns
from worker.feeds.guess import cell, forms_that_fit, paths, propose
from worker.feeds.mapping import Mapper, looks_secret
from worker.feeds.reading import Raw, Unreadable, open_input
from worker.feeds.shapes import MISSING, finder
from worker.feeds.values import shown

__all__ = ["CheckReport", "explain", "propose"]

# As many as a person reads before looking into the file itself.
PEOPLE_SHOWN, EXAMPLES_SHOWN = 5, 3
# Different dates and words that are kept of a column; more of them say nothing new.
MOST_KEPT = 200
# Names of JSON are collected from so many records.
RECORDS_LOOKED_INTO = 1_000
# From so many ids on their lengths say something; so many of a hundred have the common length where zeros were lost.
LEAST_IDS, COMMON_LENGTH_PERCENT = 20, 80
HIDDEN = "(hidden)"
_IDS = frozenset({"external_id", "manager"})
_LIKE_IDS = re.compile(r"(?:id|no|nr|num|number|code|zip|key)$", re.IGNORECASE)


@dataclass
class CheckReport:
    """What `muster feed check` found. Nothing was planned, and nothing but the file was looked at.

    `problem`: why the file as a whole would be refused. `reading`: see records.Reading. `fields`: field -> its columns, or
    `= value`. `unused`: columns nobody reads. `missing`: declared columns that the file lacks (JSON: that no record holds)
    -> the nearest name, or null.
    `people`: the first ones as understood: place (line or number), external_id, fields. `records`, `taken`: how many.
    `refused`: code -> count and the first examples (place, column, text). `unknown_status`: word -> count. `dates`: column
    -> count of what is no date as declared, examples, and the forms that fit all of it. `lost_zeros`: column -> how many of
    its numbers are shorter than most, and how long those are.
    """

    source: str
    file: str
    problem: str | None = None
    reading: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, list[str]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    missing: dict[str, str | None] = field(default_factory=dict)
    people: list[dict[str, Any]] = field(default_factory=list)
    records: int = 0
    taken: int = 0
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    unknown_status: dict[str, int] = field(default_factory=dict)
    dates: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost_zeros: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether every record of the file would be taken."""
        return self.problem is None and not self.refused

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines."""
        return asdict(self) | {"good": self.good}


def explain(feed: Feed, path: Path) -> CheckReport:
    """Read a sample as its feed declares it, and say what became of it. What is wrong with the file stands in the report."""
    report = CheckReport(feed.name, path.name)
    report.fields = {name: _told(take) for name, take in feed.columns.items()}
    try:
        fitting = _without_missing(feed, path, report)
        with open_input(fitting, path) as source:
            report.reading = source.reading.as_json()
            report.unused = _unread(feed, source.reading.header or ())
            if feed.columns and not fitting.columns.keys() & {"external_id"}:
                return report  # without the column of the ids every record would be refused for the same reason
            look = _Look(fitting, source.reading.header, report)
            try:
                for raw in source:
                    look.at(raw)
            finally:
                report.reading = source.reading.as_json()
                look.finish(feed)
    except Unreadable as problem:
        report.problem = report.problem or str(problem)
    return report


def _unread(feed: Feed, names: Iterable[str]) -> list[str]:
    used = declared_columns(feed)
    return [name for name in dict.fromkeys(names) if name and name not in used]


def _told(take: Take) -> list[str]:
    """Name the columns of a field, or the value it always has."""
    columns = [*take.columns, *([take.column] if take.column is not None else [])]
    return columns or [f"= {take.value}"]


def _without_missing(feed: Feed, path: Path, report: CheckReport) -> Feed:
    """Return the feed without the fields whose columns the header lacks, so that the rest can be explained all the same."""
    if feed.form != "csv":
        return feed
    try:
        with open_input(feed, path):
            return feed
    except Unreadable as problem:
        report.problem = str(problem)
    bare = feed.model_copy(update={"columns": {}, "complete": Complete()})
    with open_input(bare, path) as source:
        header = source.reading.header or ()
    usable = {name: take for name, take in feed.columns.items() if all(one in header or one[:2] == "= " for one in _told(take))}
    _miss(report, [name for name in declared_columns(feed) if name not in header], header)
    if len(usable) == len(feed.columns):
        raise Unreadable(report.problem)
    return feed.model_copy(update={"columns": usable})


def _miss(report: CheckReport, missing: Sequence[str], known: Sequence[str]) -> None:
    folded = {name.casefold(): name for name in known}
    for name in missing:
        near = difflib.get_close_matches(name.casefold(), folded, n=1)
        report.missing[name] = folded[near[0]] if near else None


class _Look:
    """What is noted while the records go by, in constant memory."""

    def __init__(self, feed: Feed, header: Sequence[str] | None, report: CheckReport) -> None:
        self.feed, self.header, self.report = feed, header, report
        self.mapper = Mapper(feed, header, arrived=datetime.now(UTC))
        self.alone = {
            name: _mapper_of(feed, header, name) for name in feed.columns if name in DATES or name in ("modified", "effective_on", "status")
        }
        self.strange_dates: dict[str, Counter[str]] = {}
        self.strange_words: Counter[str] = Counter()
        self.names: dict[str, None] = dict.fromkeys(header or ())
        self.found: set[str] = set()
        self.finders = {name: finder(name) for name in declared_columns(feed)}
        self.lengths = {name: _Lengths() for name in self._like_ids()}

    def _like_ids(self) -> list[str]:
        """Return the columns of a table whose numbers may have had zeros in front."""
        used = [name for target in _IDS & self.feed.columns.keys() for name in _told(self.feed.columns[target])]
        return [name for name in self.header or () if name in used or _LIKE_IDS.search(name)]

    def at(self, raw: Raw | Refusal) -> None:
        """Take one record into account."""
        self.report.records += 1
        if isinstance(raw, Refusal):
            self._refused(raw)
            return
        self._columns(raw)
        said = self.mapper.read(raw.value, raw.text, raw.place)
        if isinstance(said, Refusal):
            self._refused(said)
            self._strange(raw)
            return
        self.report.taken += 1
        if len(self.report.people) < PEOPLE_SHOWN:
            self.report.people.append(self._person(said))

    def _columns(self, raw: Raw) -> None:
        for name, lengths in self.lengths.items():
            lengths.note(cell(self.header, raw.value, name))
        if self.header is None and self.report.records <= RECORDS_LOOKED_INTO:
            self.names |= dict.fromkeys(paths(raw.value))
        if self.header is None:
            self.found |= {name for name, find in self.finders.items() if name not in self.found and find(raw.value) is not MISSING}

    def _person(self, said: Statement) -> dict[str, Any]:
        fields = {
            name: HIDDEN if any(looks_secret(one) for one in self.report.fields.get(name, [])) and value is not None else value
            for name, value in said.fields.items()
        }
        return {"place": said.place, "external_id": said.external_id, "fields": fields}

    def _refused(self, refusal: Refusal) -> None:
        same = self.report.refused.setdefault(refusal.code, {"count": 0, "examples": []})
        same["count"] += 1
        if len(same["examples"]) < EXAMPLES_SHOWN:
            same["examples"].append({"place": refusal.place, "column": refusal.column, "text": refusal.text})

    def _strange(self, raw: Raw) -> None:
        """Note which dates and which word of status a refused record holds that are not as declared."""
        for name, mapper in self.alone.items():
            said = mapper.read(raw.value, raw.text, raw.place)
            if not isinstance(said, Refusal):
                continue
            column = _told(self.feed.columns[name])[0]
            text = cell(self.header, raw.value, column)
            if said.code == "unknown_status":
                _count(self.strange_words, shown(text))
            elif text and name != "status":
                _count(self.strange_dates.setdefault(column, Counter()), text)

    def finish(self, feed: Feed) -> None:
        """Put what was noted into the report."""
        report = self.report
        report.unknown_status = dict(self.strange_words.most_common())
        for column, texts in self.strange_dates.items():
            report.dates[column] = {
                "count": texts.total(),
                "examples": [shown(text) for text in list(texts)[:EXAMPLES_SHOWN]],
                "forms": forms_that_fit(texts),
            }
        report.lost_zeros = {name: lost for name, lengths in self.lengths.items() if (lost := lengths.lost())}
        if self.header is None:
            report.unused = _unread(feed, self.names)
            _miss(report, [name for name in declared_columns(feed) if name not in self.found], report.unused)


def _mapper_of(feed: Feed, header: Sequence[str] | None, name: str) -> Mapper:
    """Return what reads nothing but one field, so that what is wrong with that one alone is known."""
    columns = {"external_id": Take(value="-"), name: feed.columns[name]}
    return Mapper(feed.model_copy(update={"columns": columns}), header, arrived=datetime.now(UTC))


def _count(counts: Counter[str], text: str) -> None:
    if text in counts or len(counts) < MOST_KEPT:
        counts[text] += 1


class _Lengths:
    """How long the numbers of one column are."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.numbers_only = True

    def note(self, text: str) -> None:
        if text and self.numbers_only:
            self.numbers_only = text.isascii() and text.isdecimal() and text[0] != "0"
            self.counts[len(text)] += 1

    def lost(self) -> dict[str, int] | None:
        """Return how many numbers are a little shorter than most; None where nothing speaks for zeros that were lost."""
        if not self.numbers_only or self.counts.total() < LEAST_IDS:
            return None
        longest = max(self.counts)
        shorter = self.counts.total() - self.counts[longest]
        usual = self.counts[longest] * 100 >= self.counts.total() * COMMON_LENGTH_PERCENT
        return {"shorter": shorter, "of": self.counts.total(), "digits": longest} if shorter and usual else None
