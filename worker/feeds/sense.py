"""Whether a declaration makes sense: what no type can say of it, each mistake with the key it stands at."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple, get_args

from pydantic import TypeAdapter, ValidationError

from worker.directory.attributes import RESERVED
from worker.directory.fields import Path, UserType, Zone
from worker.feeds import signatures, usernames
from worker.feeds.claims import ATTRIBUTE, DATES, FIELDS, KEYS
from worker.feeds.declaration import Absent, Feed, Leavers, Take, is_field
from worker.feeds.values import words
from worker.feeds.where import Key

SOURCE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}", re.ASCII)
# Of two words (see difflib): a letter missing, wrong or swapped is a slip, more is another word.
_LIKENESS = 0.7
# Put before an id of up to 255 characters less this; longer ones would leave no room for the id itself.
LONGEST_PREFIX = 64
_PREFIX = re.compile(r"[^\s\x00-\x1f\x7f]*")
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1", "iso-8859-15", "cp850")
# Parts of a name that may also be taken from the full name.
_NAMES = ("first", "middle", "last")
# What a template may hold without a column of its own: these two are known of everybody.
_GIVEN = ("username", "external_id")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# Written and read back, it shows whether a format can be read at all.
_PROBE = datetime(2026, 11, 23, 13, 30, 15, tzinfo=UTC)
_WITH_DATES = (*sorted(DATES), "modified", "effective_on")


class Problem(NamedTuple):
    """A mistake: the key it stands at, below the table of the feed, and what is wrong in words."""

    key: Key
    text: str


def hint(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return the end of a sentence: `; did you mean X?` when one of the known words is like it, else `; otherwise`."""
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=_LIKENESS)
    return f"; did you mean {folded[near[0]]}?" if near else f"; {otherwise}"


def one_of(words: Iterable[str]) -> str:
    """Return a choice in words: a, b or c."""
    *most, last = [*words] or ["none"]
    return f"{', '.join(most)} or {last}" if most else last


def all_of(words: Iterable[str]) -> str:
    """Return an enumeration in words: a, b and c."""
    *most, last = [*words] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def mistakes(feed: Feed, mapped: Collection[str]) -> Iterator[Problem]:
    """Give all mistakes. `mapped`: the fields for which something is declared, be it right or wrong."""
    if not SOURCE_NAME.fullmatch(feed.name):
        yield Problem((), "the name of a source begins with a small letter, followed by at most 40 of a-z, 0-9, _ and -")
    if feed.form == "messages" and not mapped:
        mapped = {*FIELDS, *KEYS, *_free_attributes(feed)}
    yield from _reading(feed)
    yield from _identity(feed)
    for field, take in feed.columns.items():
        yield from (Problem(("columns", field, *key), text) for key, text in _column(feed, field, take))
    yield from _together(feed, mapped)
    yield from _names(feed, mapped)
    yield from _groups(feed, mapped)
    for name, ladder in (("leavers", feed.leavers), ("absent", feed.absent)):
        yield from _ladder(name, ladder)
    if feed.webhook is not None:
        yield from (Problem(("webhook", *key), text) for key, text in signatures.mistakes(feed.webhook))


def _free_attributes(feed: Feed) -> Iterator[str]:
    """Give the attributes that rules and templates name. Messages without declared columns may hold any of them."""
    named = [name for rule in feed.groups for name in rule.when]
    named += [name for rule in feed.groups for group in rule.groups for name in _PLACEHOLDER.findall(group)]
    named += [name for template in (*feed.usernames, feed.email or "") for name in _slots(template)]
    yield from (name for name in named if name.startswith(ATTRIBUTE))


def _reading(feed: Feed) -> Iterator[Problem]:
    if feed.mode == "full" and feed.form == "messages":
        yield Problem(("mode",), "messages come one by one and never hold everybody; use mode = \"event\"")
    if feed.encoding is not None:
        try:
            "x".encode(feed.encoding)
        except (LookupError, ValueError):
            near = hint(feed.encoding, _ENCODINGS, f"there are {all_of(_ENCODINGS)} among others")
            yield Problem(("encoding",), f"there is no encoding {feed.encoding!r}{near}")
    if feed.delimiter is not None and feed.form != "csv":
        yield Problem(("delimiter",), f"only csv has a delimiter, and form is {feed.form}; take it out")
    elif feed.delimiter is not None and feed.delimiter in "\"\r\n\0":
        yield Problem(("delimiter",), "a quote or a line break cannot part the columns; use , or ; or \\t")
    yield from _formats(("dates",), feed.dates)
    if feed.complete.trailer is not None:
        try:
            pattern = re.compile(feed.complete.trailer)
        except re.error as error:
            yield Problem(("complete", "trailer"), f"is no regular expression: {error}")
        else:
            if "rows" not in pattern.groupindex:
                yield Problem(("complete", "trailer"), r"needs a group `rows` for the number, such as ^END;(?P<rows>\d+)$")


def _identity(feed: Feed) -> Iterator[Problem]:
    if len(feed.id_prefix) > LONGEST_PREFIX or not _PREFIX.fullmatch(feed.id_prefix):
        yield Problem(("id_prefix",), f"takes at most {LONGEST_PREFIX} characters without blanks, such as campus1-")
    for name, kind, value in (("zone", Zone, feed.zone), ("path", Path, feed.path)):
        wrong = None if value is None else _unfit(TypeAdapter(kind), value)
        if wrong:
            yield Problem((name,), f"{wrong} (given: {value!r})")
    if not feed.correlate or len(set(feed.correlate)) < len(feed.correlate):
        yield Problem(("correlate",), "takes each of external_id, email and username at most once, and at least one of them")


def _unfit(adapter: TypeAdapter[str], value: str) -> str | None:
    """Return why a value does not fit, in the words of the directory."""
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return None


# ----------------------------------------------------------------------------------------------------- columns


def _column(feed: Feed, field: str, take: Take) -> Iterator[Problem]:
    if not is_field(field):
        free = f"a free attribute is written \"{ATTRIBUTE}{field if ATTRIBUTE not in f'{field}.' else 'NAME'}\""
        yield Problem((), "there is no such field" + hint(field, (*FIELDS, *KEYS), free))
        return
    if field.removeprefix(ATTRIBUTE).casefold().startswith(RESERVED):
        yield Problem((), f"attributes below {RESERVED} are kept for Muster itself")
    sources = [take.column is not None, bool(take.columns), take.value is not None]
    if sum(sources) != 1:
        yield Problem((), "takes exactly one of column, columns and value")
    if take.column is not None and not take.column.strip():
        yield Problem(("column",), "names no column")
    if any(not one.strip() for one in take.columns):
        yield Problem(("columns",), "names no column in one place")
    given = take.model_fields_set
    for key, needed in (("part", "split"), ("join", "columns"), ("other_words", "words")):
        if key in given and getattr(take, needed) in (None, (), {}):
            yield Problem((key,), f"means nothing without {needed}")
    if take.split == "":
        yield Problem(("split",), "needs at least one character to split at")
    if take.dates and field not in _WITH_DATES:
        yield Problem(("dates",), f"{field} is no date; only {all_of(_WITH_DATES)} take dates")
    yield from _formats(("dates",), take.dates)
    yield from _fixed_words(feed, field, take)


def _fixed_words(feed: Feed, field: str, take: Take) -> Iterator[Problem]:
    """Give the words of the declaration that its own field does not know."""
    written = [((key,), value) for key in ("value", "default") if (value := getattr(take, key)) is not None]
    translated = [*written, *((("words", word), value) for word, value in take.words.items())]
    if field == "type":
        known = get_args(UserType)
        for key, value in translated:
            if value not in known:
                yield Problem(key, f"{value!r} is no type of user" + hint(value, known, f"there are {all_of(known)}"))
    elif field == "zone":
        for key, value in translated:
            if wrong := _unfit(TypeAdapter(Zone), value):
                yield Problem(key, f"{wrong} (given: {value!r})")
    elif field == "status" and feed.status:
        for key, value in written:
            if words(feed.status)(value) is None:
                there = f"there are {all_of(feed.status)}"
                yield Problem(key, f"{value!r} is no word of the table status" + hint(value, feed.status, there))
    elif field in DATES:
        formats = take.dates or feed.dates
        for key, value in written:
            if not any(read_date(value, one) for one in formats):
                yield Problem(key, f"{value!r} is no date as declared: {one_of(formats)}")


def read_date(text: str, pattern: str) -> date | None:
    """Return the date of a text in a format of strptime, None when it has another."""
    try:
        return datetime.strptime(text, pattern).date()  # noqa: DTZ007 (a day has no zone)
    except (ValueError, re.error):
        return None


def _formats(key: Key, formats: Iterable[str]) -> Iterator[Problem]:
    for one in formats:
        parts = set(re.findall(r"%(.)", one.replace("%%", "")))
        if "y" in parts:
            text = "%y has no century: 49 could be 1949 or 2049; have the source write the year with four digits (%Y)"
        elif "Y" not in parts or not ("j" in parts or ("d" in parts and parts & {"m", "b", "B"})):
            text = "does not say day, month and year; use %d, %m and %Y, or %j and %Y"
        elif read_date(_PROBE.strftime(one), one) != _PROBE.date():
            text = "holds something that no date can be read by"
        else:
            continue
        yield Problem(key, f"{one!r}: {text}")


def _together(feed: Feed, mapped: Collection[str]) -> Iterator[Problem]:
    """Give what one column needs of another."""
    if not mapped:
        yield Problem(("columns",), "is missing; it says which column each field comes from")
    elif "external_id" not in mapped:
        yield Problem(("columns", "external_id"), "is missing; without it nobody can be told from anybody else")
    if feed.form == "scim" and "status" not in mapped and not {"active", "inactive"} <= feed.status.keys():
        yield Problem(("status",), "has to say what active and inactive mean, which is how SCIM tells the status")
    if feed.form != "messages" and "status" in mapped and not feed.status:
        yield Problem(("status",), "is missing; a column is declared for status, so say here what each of its words means")
    if feed.form not in ("messages", "scim") and mapped and feed.status and "status" not in mapped:
        yield Problem(("status",), "no column is declared for status, so these words mean nothing")
    if "effective_on" in mapped and "modified" not in mapped and feed.form != "messages":
        yield Problem(("columns", "effective_on"), "needs modified as well, for records without such a date")


# ----------------------------------------------------------------------------------- templates of names and groups


def _names(feed: Feed, mapped: Collection[str]) -> Iterator[Problem]:
    if not feed.usernames and "username" not in mapped:
        yield Problem(("usernames",), "takes at least one template, unless a column is declared for username")
    # The template that was added to count is the first one once more: one look is enough.
    templates = tuple(one for at, one in enumerate(feed.usernames) if one.removesuffix("{n}") not in feed.usernames[:at])
    for told in usernames.problems(feed.model_copy(update={"usernames": templates})):
        key, _, text = told.partition(": ")
        yield Problem((key,), text)
    given = [("usernames", one) for one in templates if "usernames" in feed.model_fields_set] + [("email", feed.email or "")]
    for key, template in given:
        for name in sorted(_slots(template)):
            needed = "email" if name == "email_local" else name
            if is_field(needed) and needed not in {*mapped, *_derived(mapped), *_GIVEN}:
                yield Problem((key,), f"{template!r} holds {{{name}}}, but no column is declared for {needed}")


def _slots(template: str) -> set[str]:
    """Return the names that a template of usernames holds; none of one that is wrong anyhow."""
    try:
        return {piece.name for piece in usernames.parse(template) if isinstance(piece, usernames.Slot)}
    except ValueError:
        return set()


def _derived(mapped: Collection[str]) -> tuple[str, ...]:
    """Return the names that follow from others: the parts from the whole, the whole from the parts."""
    return _NAMES if "name" in mapped else ("name",) if {"first", "last"} & set(mapped) else ()


def _groups(feed: Feed, mapped: Collection[str]) -> Iterator[Problem]:
    fields = {name for name in mapped if name not in KEYS}
    seen: set[str] = set()
    for number, rule in enumerate(feed.groups):
        if rule.rule in seen or not rule.rule.strip():
            yield Problem(("groups", number, "rule"), f"{rule.rule!r}: each rule needs a name of its own")
        seen.add(rule.rule)
        for field, values in rule.when.items():
            if field not in fields:
                yield Problem(("groups", number, "when", field), "no column is declared for this field" + hint(field, fields, f"there are {all_of(sorted(fields))}"))
            elif not values:
                yield Problem(("groups", number, "when", field), "takes at least one value; with none the rule is for nobody")
        if not rule.groups:
            yield Problem(("groups", number, "groups"), "takes at least one group")
        for group in rule.groups:
            yield from _group(("groups", number, "groups"), group, fields)


def _group(key: Key, group: str, fields: Collection[str]) -> Iterator[Problem]:
    if not group.strip():
        yield Problem(key, "holds a group without a name")
    if {"{", "}"} & set(_PLACEHOLDER.sub("", group)):
        yield Problem(key, f"{group!r} has a brace {{ or }} without its other half")
    for name in _PLACEHOLDER.findall(group):
        if name not in fields:
            near = hint(name, fields, f"there are {all_of(sorted(fields))}")
            yield Problem(key, f"{group!r} holds {{{name}}}, but no column is declared for that{near}")


def _ladder(name: str, ladder: Leavers | Absent) -> Iterator[Problem]:
    if ladder.delete_days is not None and ladder.delete_days < ladder.remove_access_days:
        yield Problem((name, "delete_days"), f"comes before remove_access_days ({ladder.remove_access_days}); deleting is the last step")


def authorities(authority: Mapping[str, tuple[str, ...]], sources: Collection[str]) -> Iterator[Problem]:
    """Give the mistakes of the table `authority`; the keys are below it."""
    for field, names in authority.items():
        if field not in FIELDS and not (field.startswith(ATTRIBUTE) and is_field(field)):
            yield Problem((field,), "there is no such field" + hint(field, FIELDS, f"a free attribute is written \"{ATTRIBUTE}NAME\""))
        for name in names:
            if name not in sources:
                yield Problem((field,), f"no source is called {name!r}" + hint(name, sources, f"there are {all_of(sources)}"))
        if len(set(names)) < len(names) or not names:
            yield Problem((field,), "takes each source at most once, and at least one")
