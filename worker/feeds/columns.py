"""One declared column: where its cell stands in a record, and how the cell becomes a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from worker.directory.fields import LONGEST_EXTERNAL_ID
from worker.feeds import values
from worker.feeds.claims import DATES
from worker.feeds.declaration import Feed, Take
from worker.feeds.shapes import MISSING, finder
from worker.feeds.values import Flaw, Reader, tidy
from worker.screen import harmless

# The cells of most columns (departments, countries, dates) are the same in many records. So many of each are remembered;
# of dates as many as there are days in a working life.
REMEMBERED, REMEMBERED_DAYS = 1_024, 16_384
# Of a table of words an error names no more.
WORDS_NAMED = 12

STATES = frozenset({"prehire", "active", "leave", "terminated", "retired", "deceased", "rescinded"})
ENDS = frozenset({"last_day", "leave_to"})
# Fields whose JSON value must be the text itself: as a number it has lost its zeros, or its form.
_IDS = frozenset({"external_id", "manager"})
_DAYS = DATES | {"effective_on", "modified"}
# Fields that clear when their cell is empty, unless declared otherwise: an end that was taken back is an empty cell.
_CLEARS = DATES | {"reason"}
# Fields that differ in every record, and groups, whose lists must not be shared: there is nothing to remember.
_ALWAYS_NEW = frozenset({"external_id", "first", "last", "name", "email", "username", "sequence", "groups"})


class _NotSaid:
    """The record says nothing of this field."""


NOT_SAID: Final = _NotSaid()


class Column(NamedTuple):
    """One field: how its column is called in the file, what takes the cell out of a record, what makes a value of it.

    `read` gives the value, None when it is cleared, NOT_SAID when the record says nothing; or it raises Flaw.
    `remembered` does the same, and remembers what it gave for a cell.
    """

    field: str
    label: str
    fetch: Callable[[Any], Any]
    read: Callable[[Any], Any]
    remembered: Callable[[Any], Any]


@dataclass(frozen=True)
class Layout:
    """How the records of a feed are laid out.

    `places`: tidied name of a column -> its number; None where records are objects. `partial`: a key that is missing says
    nothing (in a full feed it is an empty cell). `free`: messages in the names of the fields, without declared columns.
    `zone`: of times without an offset.
    """

    feed: Feed
    places: Mapping[str, int] | None
    partial: bool
    free: bool
    zone: ZoneInfo

    def column(self, field: str, take: Take) -> Column:
        """Return what reads one field. Raises ValueError naming a declared column that is not there."""
        names = take.columns or ((take.column,) if take.column is not None else ())
        label, fetch, read = " + ".join(names) or field, self._fetch(field, take, names), self._reader(field, take)
        if self.places is None or len(names) != 1 or field in _ALWAYS_NEW:
            return Column(field, label, fetch, read, read)
        return Column(field, label, fetch, read, lru_cache(REMEMBERED_DAYS if field in _DAYS else REMEMBERED)(read))

    def _fetch(self, field: str, take: Take, names: Sequence[str]) -> Callable[[Any], Any]:
        """Return what takes the cell of a field, or the cells to be joined, out of a record."""
        if not names:
            constant = take.value or ""
            return lambda _: constant
        if self.places is None:
            finders = [finder(name) for name in names]
            return finders[0] if len(finders) == 1 else lambda value: tuple(find(value) for find in finders)
        places = [self.places.get(tidy(name)) for name in names]
        if None in places:
            raise ValueError(f"the header has no column “{harmless(names[places.index(None)])}”, which {field} is taken from")
        return itemgetter(*places)

    def _reader(self, field: str, take: Take) -> Callable[[Any], Any]:
        """Return what makes a value of a cell: joined, split, transformed, translated, checked."""
        checked, nothing, changed = self._checked(field, take), self._nothing(field, take), _changer(field, take)
        clear_word = self.feed.clear_word
        says_nothing = self.partial and (field != "sequence" or self.free)
        between, changes = take.split, bool(take.split or take.transform or take.words)

        def read(cell: Any) -> Any:
            if type(cell) is not str:
                cell = self._text(field, cell, take.join)
                if cell is MISSING:
                    if says_nothing:
                        return NOT_SAID
                    cell = ""
                elif type(cell) is list:
                    return values.group_names(cell, changed) or nothing(cleared=False)
            text = tidy(cell)
            if text == clear_word:
                return nothing(cleared=True)
            if field == "groups":
                return values.group_names(text.split(between or (";" if ";" in text else ",")), changed) or nothing(cleared=False)
            if text and changes:
                text = changed(text)
                if text == clear_word:
                    return nothing(cleared=True)
            got = checked(text) if text else ""
            return nothing(cleared=False) if got == "" else got

        return read

    def _text(self, field: str, cell: Any, join: str) -> Any:
        """Return cells to be joined, or a JSON value, as one text; a list of groups as texts; or MISSING."""
        if type(cell) is tuple:
            if self.free:
                # The person's own time of change, else that of the message.
                return next((cell_text(field, one) for one in cell if one is not MISSING and one not in ("", None)), MISSING)
            there = [tidy(cell_text(field, one)) for one in cell if one is not MISSING]
            if not there:
                return MISSING
            texts = [part for part in there if part and part != self.feed.clear_word]
            return join.join(texts) if texts or not any(there) else self.feed.clear_word
        if cell is MISSING:
            return MISSING
        if field == "groups" and isinstance(cell, list):
            # SCIM (RFC 7643, section 4.1.2) has objects with the id as value and the name as display.
            return [cell_text(field, one.get("display") or one.get("value") if isinstance(one, Mapping) else one) for one in cell]
        return cell_text(field, cell)

    def _nothing(self, field: str, take: Take) -> Callable[..., Any]:
        """Return what decides on a cell that is empty, or that says in so many words that it clears."""
        default, checked = take.default, self._checked(field, take)
        wanted = take.empty or self.feed.empty or ("clear" if field in _CLEARS else "ignore")
        keeps = field in ("modified", "effective_on") or (field == "status" and self.feed.form == "messages")

        def nothing(*, cleared: bool) -> Any:
            if default and not cleared:
                if field == "groups":
                    return values.group_names(default.split(take.split or (";" if ";" in default else ",")), str)
                return checked(tidy(default))
            if field in ("external_id", "sequence") or take.required or (field == "status" and not keeps):
                raise missing(field)
            if keeps:
                return NOT_SAID
            return None if cleared or wanted == "clear" else NOT_SAID

        return nothing

    def _checked(self, field: str, take: Take) -> Reader:
        """Return what checks the text of a field, which is not empty, and gives its value."""
        forms = take.dates or self.feed.dates
        if field in DATES or field == "effective_on":
            latest = values.LATEST_START_YEAR if field == "start_date" else values.LATEST_YEAR
            return values.day_reader(forms, ends=field in ENDS, latest=latest)
        if field == "modified":
            return values.moment_reader(forms, self.zone)
        if field == "sequence":
            return values.sequence
        if field == "status":
            return _status(self.feed)
        if field == "external_id":
            return self._external_id
        return values.READERS.get(field, values.plain_text)

    def _external_id(self, text: str) -> str:
        found = values.identifier(text)
        if len(self.feed.id_prefix) + len(found) > LONGEST_EXTERNAL_ID:
            raise Flaw("too_long", f"has, with the prefix “{self.feed.id_prefix}”, more than {LONGEST_EXTERNAL_ID} characters.", text)
        return found


def places(header: Sequence[str]) -> dict[str, int]:
    """Return where each column stands, by its tidied name; of two of the same name the first."""
    found: dict[str, int] = {}
    for place, name in enumerate(header):
        found.setdefault(tidy(name), place)
    return found


def _changer(field: str, take: Take) -> Reader:
    """Return what splits, transforms and translates a text; what is left may be empty."""
    split = None if field == "groups" else take.split
    part, changes = take.part, [values.TRANSFORMS[name] for name in take.transform]
    find = values.words(take.words) if take.words else None

    def changed(text: str) -> str:
        if split is not None:
            pieces = text.split(split)
            text = tidy(pieces[part - 1]) if part <= len(pieces) else ""
        for change in changes:
            text = tidy(change(text))
        if find is None or not text:
            return text
        meaning = find(text)
        if meaning is None and take.other_words == "refuse":
            raise Flaw("unknown_word", f"is not in the list of words ({_some(take.words)}). Add it there, or correct the record.", text)
        return text if meaning is None else tidy(meaning)

    return changed


def _status(feed: Feed) -> Reader:
    """Return what translates the source's word for a status; without a table the words of Muster itself are meant."""
    declared: Mapping[str, str] = feed.status or {state: state for state in sorted(STATES)}
    find = values.words(declared)

    def read(text: str) -> str:
        state = find(text)
        if state is None:
            raise Flaw("unknown_status", f"is none of the declared words ({_some(declared)}). Say in [feeds.{feed.name}.status] "
                                         "what it means, or correct the record.", text)  # fmt: skip
        return state

    return read


def cell_text(field: str, value: Any) -> str:
    """Return a JSON value as the text that a table would hold."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        text = _number(value)
        if field in _DAYS:
            if field != "modified" and not isinstance(value, bool) and values.FIRST_SERIAL <= value <= values.LAST_SERIAL:
                return text
            code = "bad_modified" if field == "modified" else "bad_date"
            raise Flaw(code, "is a JSON number, or true or false; dates are sent as text.", text)
        if field in _IDS and isinstance(value, (bool, float)):
            raise Flaw("bad_id", "is no text. Send ids as text in quotes: a number loses leading zeros, and is rounded.", text)
        return text
    kind = "a list" if isinstance(value, list) else "an object"
    raise Flaw("bad_value", f"holds {kind}, not one value. Declare a path into it, such as emails.0.value.")


def _number(value: float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 1_024:
        raise Flaw("too_long", "holds a number of hundreds of digits. Correct it in the source.")
    return str(value)


def missing(field: str) -> Flaw:
    """Return what is wrong with an empty cell that has to be filled in."""
    if field == "external_id":
        return Flaw("missing_id", "is empty, so nobody knows whose record it is. Fill in the person's id.")
    return Flaw("missing_value", "is empty, but has to be filled in. Fill it in and push the record again.")


def _some(words: Mapping[str, str]) -> str:
    few = [harmless(word) for word in list(words)[:WORDS_NAMED]]
    return ", ".join(few) + (", …" if len(words) > len(few) else "")
