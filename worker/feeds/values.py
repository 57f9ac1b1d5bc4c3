"""Cells become values: texts tidied, dates read in declared forms only, all else checked as the jobs will check it."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from worker.address import LONGEST_ADDRESS, InvalidAddress, parse_address
from worker.directory import fields
from worker.jobs import fold
from worker.redact import redact
from worker.screen import JOINERS, harmless

# Nobody at work was born, hired or left before or after; beyond stands a slip of the keyboard such as 0203-05-01.
EARLIEST_YEAR, LATEST_YEAR = 1900, 2200
# `onboard_user` takes no first day after it.
LATEST_START_YEAR = 2100
# The days that HR systems write where there is no end.
NO_END_YEAR, NO_END_DAY = 9999, date(2999, 12, 31)
# Excel's numbers for 1954-10-03 and 2119-01-10: in between stands nearly every date that people export by mistake.
FIRST_SERIAL, LAST_SERIAL = 20_000, 80_000
EXCEL_BEGINS = date(1899, 12, 30)
# A free attribute that is longer is a document.
LONGEST_TEXT = 4_000
# As many as one job may name.
MOST_GROUPS = 200
LONGEST_GROUP = 255
# As large as a sequence can get in a column of 64 bits.
LARGEST_SEQUENCE = 2**63 - 1
# Enough of a cell to find it again.
SHOWN_CHARACTERS = 40

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

# Blanks, and what takes no room, around a cell: nobody sees them, and spreadsheets and web pages leave them behind.
_AROUND = (
    " \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000" + "\u200b\u200c\u200d\u2060\ufeff"
)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SERIAL = re.compile(r"(\d{5})(?:[.,]\d+)?", re.ASCII)
# No source begins an id so: taken as it stands, ="00017" would be another person than 00017.
_TEXT_MARKS = ("=", "'")
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?[eE]\+\d+", re.ASCII)
_WHOLE = re.compile(r"\d{1,19}", re.ASCII)
_PLAIN_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d.*)?", re.ASCII)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_ISO_DAY = "%Y-%m-%d"
_GENITIVE = re.compile(r"(?<=\w['’])S\b")

Reader = Callable[[str], Any]


class Flaw(ValueError):
    """What is wrong with one cell: a code, the words that follow the value, and the value if it may be shown."""

    def __init__(self, code: str, says: str, value: str | None = None) -> None:
        super().__init__(code, says)
        self.code, self.says, self.value = code, says, value


def shown(text: str) -> str:
    """Return a value as an error may repeat it: short, without what steers a terminal, links and tokens masked."""
    text = redact(harmless(text[: SHOWN_CHARACTERS * 4]))
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def tidy(text: str) -> str:
    """Return a cell without blanks and invisible characters around it, in Unicode's form NFC."""
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    return unicodedata.normalize("NFC", text.strip(_AROUND))


# ---------------------------------------------------------------------------------------------------- transforms


def _title(text: str) -> str:
    return _GENITIVE.sub("s", text.title())


def _digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(letter)) for letter in text if letter.isdecimal())


TRANSFORMS: Mapping[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": _title,
    "digits": _digits,
    "no_spaces": lambda text: "".join(text.split()),
}


def words(table: Mapping[str, str]) -> Callable[[str], str | None]:
    """Return what finds a word in a table: as it is written, else in any case; None if it is not there."""
    exact = {tidy(word): meaning for word, meaning in table.items()}
    anyhow: dict[str, str | None] = {}
    for word, meaning in exact.items():
        folded = fold(word)
        # Two words that differ in case alone and mean two things are told apart by case.
        anyhow[folded] = meaning if anyhow.get(folded, meaning) == meaning else None

    def find(text: str) -> str | None:
        found = exact.get(text)
        return anyhow.get(fold(text)) if found is None else found

    return find


# --------------------------------------------------------------------------------------------- ids, names, texts


def identifier(text: str) -> str:
    """Return an id, exactly as the source writes it."""
    if not text.isprintable():
        for letter in text:
            if unicodedata.category(letter) in _UNSEEN:
                raise Flaw("bad_id", f"holds the invisible character U+{ord(letter):04X}. Type the id anew in the source.", text)
    if len(text) > fields.LONGEST_EXTERNAL_ID:
        raise Flaw("too_long", f"has more than {fields.LONGEST_EXTERNAL_ID} characters, which no id has.", text)
    if text.startswith(_TEXT_MARKS):
        raise Flaw("bad_id", "begins with a mark by which a spreadsheet keeps a number as text. Export it again from the source, "
                             "without a spreadsheet in between.", text)  # fmt: skip
    if "+" in text and _SCIENTIFIC.fullmatch(text):
        raise Flaw("bad_id", "is a number that a spreadsheet has rounded. Give the column the format text, then export it "
                             "again from the source.", text)  # fmt: skip
    return text


def person_name(text: str) -> str:
    """Return a name with single blanks, without direction marks and other characters nobody sees."""
    if not text.isprintable():
        text = "".join(letter for letter in text if letter in JOINERS or unicodedata.category(letter) != "Cf")
    text = " ".join(text.split())
    if text.isprintable() and len(text) <= fields.LONGEST_NAME:  # nothing in it that the check would find
        return text
    return _checked(_PERSON_NAME, text)


def plain_text(text: str) -> str:
    """Return a text that is kept as it is."""
    if len(text) > LONGEST_TEXT:
        raise Flaw("too_long", f"has more than {LONGEST_TEXT} characters.", text)
    bad = _UNSTORABLE.search(text)
    if bad:
        raise Flaw("bad_value", f"holds U+{ord(bad[0]):04X}, which no database stores. Type the text anew.", text)
    return text


def email(text: str) -> str:
    """Return an e-mail address whose form is right. Whether its domain may be used is known to the job alone."""
    if len(text) > LONGEST_ADDRESS:
        raise Flaw("too_long", f"has more than {LONGEST_ADDRESS} characters, which no e-mail address has.", text)
    try:
        return parse_address(text, allow_domains=(text.rpartition("@")[2],)).mailbox
    except InvalidAddress as problem:
        why = str(problem).partition("send to: ")[2]
        raise Flaw("bad_value", f"is no e-mail address: {harmless(why)}", text) from None


_USERNAME: TypeAdapter[str] = TypeAdapter(fields.Username)
_PERSON_NAME: TypeAdapter[str] = TypeAdapter(fields.PersonName)
_PATH: TypeAdapter[str] = TypeAdapter(fields.Path)
_LOCALE: TypeAdapter[str] = TypeAdapter(fields.Locale)
_ZONE: TypeAdapter[str] = TypeAdapter(fields.Zone)
_TYPE: TypeAdapter[str] = TypeAdapter(fields.UserType)


def _checked(adapter: TypeAdapter[str], text: str, code: str = "bad_value") -> str:
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        long = problem["type"] == "string_too_long"
        says = str(problem["msg"]).removeprefix("Value error, ").replace("String", "it").replace("Input", "it")
        raise Flaw("too_long" if long else code, f"cannot be taken: {harmless(says)}.", text) from None


def _account_type(text: str) -> str:
    folded = fold(text)
    return _checked(_TYPE, folded if folded in ("internal", "external", "service_account") else text)


#: How the text of a field is read; fields that are not here are `plain_text`.
READERS: Mapping[str, Reader] = {
    "external_id": identifier,
    "manager": identifier,
    "first": person_name,
    "middle": person_name,
    "last": person_name,
    "name": person_name,
    "email": email,
    "username": lambda text: _checked(_USERNAME, text),
    "path": lambda text: _checked(_PATH, text),
    "locale": lambda text: _checked(_LOCALE, text),
    "zone": lambda text: _checked(_ZONE, text, "bad_zone"),
    "type": _account_type,
}


def group_names(texts: Iterable[str], one: Reader) -> list[str]:
    """Return names of groups, each read by `one` and once, in order of the alphabet so that a new order is no change."""
    found = {name for text in texts if (name := one(tidy(text)))}
    for name in found:
        if len(name) > LONGEST_GROUP:
            raise Flaw("too_long", f"has more than {LONGEST_GROUP} characters, which no group's name has.", name)
        if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
            raise Flaw("bad_value", "holds a control character, which no group's name may hold.", name)
    if len(found) > MOST_GROUPS:
        raise Flaw("bad_value", f"names more than {MOST_GROUPS} groups. Check which character separates them.")
    return sorted(found)


# ------------------------------------------------------------------------------------------------ dates and order


def form_shown(form: str) -> str:
    """Return a declared form of dates as people write it: %d.%m.%Y is DD.MM.YYYY."""
    for mark, letters in (("%Y", "YYYY"), ("%y", "YY"), ("%m", "MM"), ("%d", "DD"), ("%b", "Mon"), ("%B", "Month"),
                          ("%H", "hh"), ("%M", "mm"), ("%S", "ss")):  # fmt: skip
        form = form.replace(mark, letters)
    return form


def _readings(text: str, forms: Sequence[str]) -> dict[datetime, str]:
    """Return every moment that a text can mean in the declared forms, each with the first form that says so."""
    found: dict[datetime, str] = {}
    for form in forms:
        try:
            if form == _ISO_DAY and _PLAIN_DAY.fullmatch(text):  # twenty times quicker
                found.setdefault(datetime.fromisoformat(text), form)
                continue
            found.setdefault(datetime.strptime(text, form), form)  # noqa: DTZ007 (a day, or a time on the wall)
        except ValueError:
            continue
    return found


def day_reader(forms: Sequence[str], *, ends: bool = False, latest: int = LATEST_YEAR) -> Callable[[str], str | None]:
    """Return what reads a day in one of the declared forms, and gives it as YYYY-MM-DD.

    `ends`: it is the last day of something, and one in the year 9999 or on 2999-12-31 means that there is no end (None).
    """
    listed = ", ".join(form_shown(form) for form in forms)

    def read(text: str) -> str | None:
        serial = _SERIAL.fullmatch(text)
        if serial and FIRST_SERIAL <= int(serial[1]) <= LAST_SERIAL:
            day = EXCEL_BEGINS + timedelta(days=int(serial[1]))
            raise Flaw("excel_serial_date", f"is a number by which Excel counts days, probably {day}. Give the column a "
                                            f"date format ({listed}) before the file is exported.", text)  # fmt: skip
        days: dict[date, str] = {}
        for moment, form in _readings(text, forms).items():
            days.setdefault(moment.date(), form)
        if not days:
            raise Flaw("bad_date", f"is no date in a declared form ({listed}). Correct it, or add its form to `dates`.", text)
        if ends and any(day.year == NO_END_YEAR or day == NO_END_DAY for day in days):
            return None
        likely = [day for day in days if EARLIEST_YEAR <= day.year <= latest]
        if not likely:
            years = f"the year {min(days).year:04d}, but only {EARLIEST_YEAR} to {latest} can be meant. Correct it in the source."
            raise Flaw("bad_date", f"lies in {years}", text)
        if len(likely) > 1:
            ways = " or ".join(f"{day} ({form_shown(days[day])})" for day in likely)
            raise Flaw("bad_date", f"can be read in two ways: {ways}. Declare only the form that this column has.", text)
        return likely[0].isoformat()

    return read


def moment_reader(forms: Sequence[str], zone: ZoneInfo) -> Callable[[str], int]:
    """Return what reads an instant, ISO 8601 or in a declared form, as microseconds since 1970.

    Without an offset it is the time on the wall in `zone`.
    """
    listed = ", ".join(form_shown(form) for form in forms)

    def read(text: str) -> int:
        found: list[datetime] = []
        if _ISO_MOMENT.fullmatch(text):
            try:
                found = [datetime.fromisoformat(text)]
            except ValueError:
                found = []
        found = found or list(_readings(text, forms))
        likely = [moment for moment in found if EARLIEST_YEAR <= moment.year <= LATEST_YEAR]
        if len(likely) == 1:
            moment = likely[0]
            return microseconds(moment if moment.tzinfo else moment.replace(tzinfo=zone))
        if likely:
            ways = " or ".join(str(moment) for moment in likely)
            raise Flaw("bad_modified", f"can be read in two ways: {ways}. Declare only the form that this column has.", text)
        if found:
            raise Flaw("bad_modified", f"lies in the year {found[0].year:04d}. Correct it in the source.", text)
        raise Flaw("bad_modified", f"is no time such as 2026-01-31T12:00:00Z, nor in a declared form ({listed}). A number "
                                   "that counts is mapped as `sequence`.", text)  # fmt: skip

    return read


def microseconds(moment: datetime) -> int:
    """Return an instant (aware) as microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND


def sequence(text: str) -> int:
    """Return a sequence number."""
    if not _WHOLE.fullmatch(text) or int(text) > LARGEST_SEQUENCE:
        raise Flaw("bad_sequence", "is no whole number. Map a column that counts upwards, or map `modified` instead.", text)
    return int(text)
