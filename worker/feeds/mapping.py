"""From a record to a statement: whose it is, what it says field by field, how new that is; or why it was not taken."""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from worker.directory.attributes import LARGEST_BYTES, RESERVED
from worker.directory.fields import LONGEST_EXTERNAL_ID, LONGEST_NAME
from worker.directory.lifecycle import day_begins
from worker.feeds import values
from worker.feeds.claims import ATTRIBUTE, FIELDS, KEYS, Refusal, Stamp, Statement
from worker.feeds.columns import NOT_SAID, REMEMBERED_DAYS, STATES, Column, Layout, cell_text, missing, places
from worker.feeds.declaration import Feed, Take
from worker.feeds.shapes import OCCURRED_AT, STATUS
from worker.feeds.values import Flaw, tidy
from worker.redact import DEEPEST, storable
from worker.screen import harmless

# The cells of longer records (characters) are not worth the memory.
LONGEST_REMEMBERED = 4_096
# A longer name of a column is no name that people would recognise.
LONGEST_LABEL = 80

# Names of columns whose cells are kept nowhere and shown to nobody.
_SECRET = re.compile(r"passw|pwd|kennwort|contrase|has[lł]o|senha|secret(?!ar)|token|credential", re.IGNORECASE)
_SECRET_WORDS = frozenset({"pin", "ssn", "iban"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MAYBE_SECRET = re.compile(r"passw|pwd|kennwort|contrase|has[lł]o|senha|secret|token|credential|pin|ssn|iban", re.IGNORECASE)
# What stands before a colon, in text that is meant to be JSON.
_NAMES = re.compile(r"[\w$.-]+(?=[\"']?\s*:)")

# What is wrong with a record: the column, as it is called in the file, and the flaw of its cell.
Flaws = list[tuple[str, Flaw]]


def looks_secret(name: str) -> bool:
    """Whether a column of this name holds what must not be kept, such as a password or a bank account."""
    return bool(_SECRET.search(name)) or any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(name))


def names_secret(text: str) -> bool:
    """Whether a text that could not be read as JSON names something that looks secret."""
    return any(map(looks_secret, _NAMES.findall(text)))


def emptied(cells: Sequence[str], secret: Sequence[int], width: int) -> list[str]:
    """Return a row with the cells of secret columns emptied, given by their places.

    Where it has more or fewer cells than the header is wide, those too into which a secret one may have moved.
    """
    moved = abs(len(cells) - width)
    return ["" if any(abs(at - place) <= moved for place in secret) else cell for at, cell in enumerate(cells)]


# Clocks differ, and zones are mistaken for one another; a day ahead is neither.
TOLERANCE = 24 * 3600 * 1_000_000
_BETWEEN = "\x1f"


class Mapper:
    """Reads the records of one feed, all in the same way.

    `header`: the names of the columns as they stand in the file, None for the forms that are JSON. `arrived` (aware): when
    the records came, which counts where they do not say how new they are.
    """

    def __init__(self, feed: Feed, header: Sequence[str] | None, *, arrived: datetime) -> None:
        """Look up the place of each column once. Raises ValueError naming a declared column that the header lacks."""
        self.feed = feed
        self._is_table = header is not None
        self._secret = [place for place, name in enumerate(header or ()) if looks_secret(name)]
        self._width = len(header or ())
        self._hash = hashlib.blake2b(key=feed.digest, digest_size=16)
        self._arrived = values.microseconds(arrived)
        self._zone = ZoneInfo(feed.zone or "UTC")
        # A message that needs no columns is written in the names of the fields themselves.
        self._free = feed.form == "messages" and not feed.columns
        self._partial = header is None and (feed.mode != "full" or feed.form in ("messages", "scim"))
        taken = self._taken()
        self._all_active = "status" not in taken and feed.form not in ("messages", "scim")
        self._dated = "effective_on" in taken
        self._parts = None if "name" in feed.columns else {"first", "last"} & taken.keys()
        layout = Layout(feed, None if header is None else places(header), self._partial, self._free, self._zone)
        self._columns = {field: layout.column(field, take) for field, take in taken.items()}
        at = {} if header is None else places(header)
        named = {name for take in taken.values() for name in (*take.columns, take.column) if name is not None}
        declared = sorted({at[tidy(name)] for name in named}) if at else []
        # itemgetter of a single place gives no tuple.
        self._said = itemgetter(*declared) if len(declared) > 1 else None
        self._between = len(declared) - 1
        self._quick = tuple((one.field, one.label, one.fetch, one.remembered) for one in self._columns.values())
        self._sparing = tuple((one.field, one.label, one.fetch, one.read) for one in self._columns.values())

    def _taken(self) -> dict[str, Take]:
        """Return where every field comes from, with what a message or SCIM says without being asked."""
        feed = self.feed
        if self._free:
            free = {name: Take(column=name) for name in (*FIELDS, *KEYS)}
            return free | {"modified": Take(columns=("modified", OCCURRED_AT))}
        taken = dict(feed.columns)
        if feed.form == "messages":
            taken.setdefault("modified", Take(column=OCCURRED_AT))
        if feed.form == "scim":
            taken.setdefault("status", Take(column=STATUS))
        return taken

    # -------------------------------------------------------------------------------------------- what others call

    def identify(self, value: Sequence[str] | Mapping[str, Any], text: str) -> tuple[str, str, str]:
        """Return whose record it is, its digest (32 hexadecimal digits) and the manager's id.

        An id that is missing or cannot be taken is ""; `read` says why.
        """
        short = len(text) <= LONGEST_REMEMBERED
        return self._id_at("external_id", value, short), self._digest(value, text), self._id_at("manager", value, short)

    def read(
        self, value: Sequence[str] | Mapping[str, Any], text: str, place: int, arrived: datetime | None = None
    ) -> Statement | Refusal:
        """Return what a whole record says; or why it was not taken, with everything that is wrong with it.

        `arrived`: when this very record came, where they did not all come at once.
        """
        found: dict[str, Any] = {}
        flaws: Flaws = []
        for field, label, fetch, read in self._quick if len(text) <= LONGEST_REMEMBERED else self._sparing:
            try:
                got = read(fetch(value))
            except Flaw as flaw:
                flaws.append((label, flaw))
            except IndexError:
                says = f"is missing: the record has only {len(value)} cells. Look for a stray line break or quotation mark."
                return self._refusal(value, text, place, [(label, Flaw("ragged_row", says))])
            else:
                if got is not NOT_SAID:
                    found[field] = got
        if self.feed.form == "messages":
            self._imply(value, found, flaws)
        if self._parts and "name" not in found:
            self._assemble(found, flaws)
        if len(text) > LARGEST_BYTES // 8:
            self._weigh(found, flaws)
        external_id = found.pop("external_id", None)
        if external_id is None and not flaws:
            flaws.append((self._label("external_id"), missing("external_id")))
        if flaws:
            return self._refusal(value, text, place, flaws)
        if self._all_active:
            found["status"] = "active"
        try:
            stamp = self._stamp(found, self._arrived if arrived is None else values.microseconds(arrived))
        except Flaw as flaw:
            return self._refusal(value, text, place, [(self._label("modified"), flaw)])
        return Statement(external_id, place, stamp, found, self._digest(value, text), self.kept(value, text))

    def kept(self, value: Sequence[str] | Mapping[str, Any], text: str) -> str:
        """Return the text of a record to keep: as it came, but with the cells of columns that look like secrets emptied."""
        if self._is_table:
            if self._secret:
                text = json.dumps(emptied(list(value), self._secret, self._width), ensure_ascii=False, separators=(",", ":"))
        elif _MAYBE_SECRET.search(text):
            try:
                whole = json.loads(text)
                safe = without_secrets(whole)
            except (ValueError, RecursionError):
                return ""
            if safe != whole:
                text = json.dumps(safe, ensure_ascii=False, separators=(",", ":"))
        return storable(text)

    # ------------------------------------------------------------------------------------------------ whole records

    def _digest(self, value: Sequence[str] | Mapping[str, Any], text: str) -> str:
        """Digest what a record says: of a table the cells of declared columns, so that others may change as they like."""
        told = self._hash.copy()
        if self._said is not None:
            with contextlib.suppress(IndexError):  # a ragged record, which `read` refuses
                said = _BETWEEN.join(self._said(value))
                text = said if said.count(_BETWEEN) == self._between else text
        told.update(text.encode("utf-8", "surrogatepass"))
        return told.hexdigest()

    def _id_at(self, field: str, value: Any, short: bool = False) -> str:
        """Return the id in a record (`short`: worth remembering); "" if there is none, or none that can be taken."""
        column = self._columns.get(field)
        if column is None:
            return ""
        try:
            got = (column.remembered if short else column.read)(column.fetch(value))
        except (Flaw, IndexError):
            return ""
        return got if isinstance(got, str) else ""

    def _label(self, field: str) -> str:
        column: Column | None = self._columns.get(field)
        return column.label if column else field

    def _imply(self, value: Any, found: dict[str, Any], flaws: Flaws) -> None:
        """Add what the kind of a message says, and the free attributes of one that is written in the names of the fields."""
        if not isinstance(value, Mapping):
            return
        if "status" not in found and value.get(STATUS) in STATES:
            found["status"] = value[STATUS]
        if not self._free:
            return
        given = value.get("attributes")
        named = {name.removeprefix(ATTRIBUTE): cell for name, cell in value.items() if name.startswith(ATTRIBUTE)}
        for name, cell in ((dict(given) if isinstance(given, Mapping) else {}) | named).items():
            field = f"{ATTRIBUTE}{name}"
            try:
                if not name or name.casefold().startswith(RESERVED):
                    raise Flaw("bad_value", f"cannot be written: a name is missing, or begins with {RESERVED}, which Muster keeps.")
                text = values.plain_text(tidy(cell_text(values.plain_text(field), cell)))
            except Flaw as flaw:
                flaws.append((field, flaw))
                continue
            if text == self.feed.clear_word or (not text and self.feed.empty == "clear"):
                found[field] = None
            elif text:
                found[field] = text

    def _assemble(self, found: dict[str, Any], flaws: Flaws) -> None:
        """Put the full name together of its parts, when the record holds all that a name needs."""
        if self._partial and not (self._parts or set()) <= found.keys():
            return
        name = " ".join(part for field in ("first", "middle", "last") if (part := found.get(field)))
        if len(name) > LONGEST_NAME:
            label = " + ".join(self._label(field) for field in ("first", "middle", "last") if found.get(field))
            flaws.append((label, Flaw("too_long", f"is, put together, a name of more than {LONGEST_NAME} characters.", name)))
        elif name and not self._free:
            # In a message it would outlive its parts: a later one may say a new last name and nothing else.
            found["name"] = name

    def _weigh(self, found: Mapping[str, Any], flaws: Flaws) -> None:
        """Refuse free attributes that are larger, all together, than a person can carry."""
        free = {name.removeprefix(ATTRIBUTE): text for name, text in found.items() if name.startswith(ATTRIBUTE)}
        if len(json.dumps(free, ensure_ascii=False).encode()) > LARGEST_BYTES:
            labels = " + ".join(self._label(name) for name in found if name.startswith(ATTRIBUTE))
            says = f"is, all together, more than the {LARGEST_BYTES // 1024} KiB that free attributes may take. Map fewer of them."
            flaws.append((labels, Flaw("too_long", says)))

    def _stamp(self, found: dict[str, Any], arrived: int) -> Stamp:
        """Take out of the fields what says how new they are."""
        order, modified = found.pop("sequence", None), found.pop("modified", None)
        day = found.pop("effective_on", None)
        # To the second: those that came at one instant are told apart by microseconds, which say nothing of when.
        said = (arrived - arrived % 1_000_000 if order is None else 0) if modified is None else modified
        if order is None:
            order = arrived if modified is None else modified
        if modified is not None and modified > arrived + TOLERANCE:
            when = datetime.fromtimestamp(modified / 1_000_000, UTC)
            says = f"lies ahead ({when:%Y-%m-%d %H:%M} UTC): all that comes before then would count as older. Correct it."
            raise Flaw("bad_modified", says)
        if day is None:
            # Without a day it holds from when it was said: else all that has a day would be newer.
            return said if self._dated else 0, order
        zone = found.get("zone")
        return _midnight(day, ZoneInfo(zone) if zone else self._zone), order

    def _refusal(self, value: Any, text: str, place: int, flaws: Flaws) -> Refusal:
        says = " ".join(dict.fromkeys(_say(label, flaw) for label, flaw in flaws))
        external_id = self._id_at("external_id", value)[:LONGEST_EXTERNAL_ID]
        return Refusal(external_id, place, flaws[0][1].code, says, self.kept(value, text), storable(flaws[0][0]))


def _say(label: str, flaw: Flaw) -> str:
    column = harmless(label if len(label) <= LONGEST_LABEL else label[:LONGEST_LABEL] + "…")
    if flaw.value is None:
        return f"Column “{column}” {flaw.says}"
    return f"Column “{column}”: {'its value' if looks_secret(label) else f'“{values.shown(flaw.value)}”'} {flaw.says}"


@lru_cache(REMEMBERED_DAYS)
def _midnight(day: str, zone: ZoneInfo) -> int:
    """Return the beginning of a day (YYYY-MM-DD) in a zone, in microseconds since 1970."""
    return values.microseconds(day_begins(date.fromisoformat(day), zone))


def without_secrets(value: Any, depth: int = DEEPEST) -> Any:
    """Return a JSON value with whatever stands under a name that looks secret emptied."""
    if depth == 0:
        return ""
    if isinstance(value, dict):
        return {name: "" if looks_secret(name) else without_secrets(part, depth - 1) for name, part in value.items()}
    return [without_secrets(part, depth - 1) for part in value] if isinstance(value, list) else value
