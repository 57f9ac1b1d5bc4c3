"""What a file seems to hold, guessed from the names of its columns and from samples: a declaration to begin with."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from worker.feeds.claims import ATTRIBUTE, DATES, Refusal
from worker.feeds.declaration import Feed, Form
from worker.feeds.mapping import looks_secret
from worker.feeds.reading import Input, Unreadable, open_input
from worker.feeds.records import DECLARED
from worker.feeds.sense import SOURCE_NAME, read_date
from worker.feeds.shapes import ENTERPRISE, MISSING, STATUS, finder
from worker.feeds.values import EARLIEST_YEAR, LATEST_YEAR, tidy

# Enough records to have met every common word and form of dates, and soon read.
SAMPLED = 1_000
# A column with more different words than this holds no list of words.
MOST_WORDS = 20
# How deep objects in JSON are looked into for names of columns.
_DEEPEST = 3

#: Forms of dates that are tried, the safest first; each as strptime has it.
FORMS = (
    "%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p",
)  # fmt: skip

# Names that HR systems give their columns, in small letters without blanks and signs; the likeliest first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "external_id": ("externalid", "workerid", "employeeid", "employeenumber", "empid", "empnum", "empno", "empnumber", "personnelnumber",
                    "personnelno", "personid", "personnumber", "staffid", "staffnumber", "identifier", "id",
                    "number"),
    "first": ("firstname", "givenname", "forename", "preferredfirstname", "vorname", "namegivenname"),
    "middle": ("middlename", "middleinitial", "namemiddlename"),
    "last": ("lastname", "surname", "familyname", "nachname", "namefamilyname"),
    "name": ("fullname", "displayname", "formattedname", "nameformatted"),
    "email": ("email", "emailaddress", "workemail", "mail", "businessemail"),
    "username": ("username", "login", "loginname", "samaccountname"),
    "status": ("workerstatus", "employeestatus", "employmentstatus", "employeestate", "status", "active"),
    "type": ("workertype", "employeetype", "emptype", "employmenttype", "persontype"),
    "manager": ("managerid", "managerworkerid", "manageremployeeid", "managernumber", "supervisorid", "reportsto", "manager"),
    "hired_on": ("hiredate", "originalhiredate", "lasthiredate", "dateofhire"),
    "start_date": ("firstdayofwork", "startdate", "entrydate", "hiredate"),
    "last_day": ("lastdayofwork", "terminationdate", "contractenddate", "enddate", "exitdate", "leavingdate"),
    "leave_from": ("leavestartdate", "leavestart", "leavefrom"),
    "leave_to": ("leaveenddate", "leaveend", "leaveto"),
    "reason": ("terminationreason", "leavingreason", "reasonforleaving"),
    "locale": ("locale", "preferredlanguage", "language"),
    "zone": ("timezone", "zone"),
    "modified": ("lastmodified", "modified", "modifiedat", "lastupdated", "updatedat"),
    "attributes.department": ("department", "departmentname", "dept"),
    "attributes.department_id": ("departmentid", "deptid"),
    "attributes.division": ("division",),
    "attributes.organisation": ("organization", "organisation", "company", "companyname"),
    "attributes.unit": ("businessunit", "organizationalunit", "organisationalunit", "orgunit", "orgnum"),
    "attributes.cost_center": ("costcenter", "costcentre", "costcenterid"),
    "attributes.location": ("location", "locality", "site", "office"),
    "attributes.city": ("city",),
    "attributes.country": ("countrycode", "country"),
    "attributes.job_title": ("jobtitle", "title", "position"),
    "attributes.job_code": ("jobcode", "job"),
    "attributes.phone": ("officephone", "workphone", "phone", "telephonenumber", "phonenumber"),
    "attributes.mobile": ("mobile", "mobilephone"),
}  # fmt: skip
# What is said twice on purpose: the day of hire is the first day too, where nothing else is.
_TWICE = frozenset({"start_date"})
_STATES: Mapping[str, tuple[str, ...]] = {
    "prehire": ("prehire", "pending", "futurehire", "onboarding", "preboarding"),
    "active": ("active", "activ", "aktiv", "employed", "true", "yes", "a", "working"),
    "leave": ("leave", "onleave", "leaveofabsence", "loa", "suspended", "absent", "parentalleave", "sabbatical"),
    "terminated": ("terminated", "inactive", "left", "leaver", "former", "resigned", "dismissed", "inaktiv", "false", "no", "t"),
    "retired": ("retired", "retiree", "pensioner"),
    "deceased": ("deceased",),
    "rescinded": ("rescinded", "noshow", "withdrawn"),
}  # fmt: skip
_TYPES: Mapping[str, tuple[str, ...]] = {
    "internal": ("internal", "employee", "fte", "fulltime", "parttime", "regular", "permanent", "intern", "staff"),
    "external": ("external", "contractor", "contingent", "consultant", "vendor", "partner", "freelancer", "temp"),
}


def forms_that_fit(texts: Iterable[str]) -> list[str]:
    """Return the forms of dates that fit every one of these texts; more than one where they could be read in several ways."""
    fitting, some = list(FORMS), False
    for text in texts:
        some = True
        fitting = [form for form in fitting if (day := read_date(text, form)) and EARLIEST_YEAR <= day.year <= LATEST_YEAR]
    return fitting if some else []


def paths(value: Any, depth: int = _DEEPEST) -> Iterator[str]:
    """Give the paths of the single values in a JSON object: `name.givenName`; lists are left out."""
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        if name.startswith(ENTERPRISE):
            continue  # under a short name it is there once more
        if isinstance(inner, Mapping) and depth > 1:
            yield from (f"{name}.{path}" for path in paths(inner, depth - 1))
        elif not isinstance(inner, (Mapping, list)):
            yield name


def cell(header: Sequence[str] | None, value: Any, name: str) -> str:
    """Return the text of a column in a record, "" when there is none."""
    if header is not None:
        at = header.index(name) if name in header else len(value)
        return tidy(value[at]) if at < len(value) else ""
    found = finder(name)(value)
    return "" if found is MISSING or isinstance(found, (Mapping, list)) or found is None else tidy(str(found))


# -------------------------------------------------------------------------------------------------- a declaration


@dataclass
class _Sample:
    """The columns of a file, in their order, each with the different texts it holds in the first records."""

    form: Form
    reading: Any
    texts: dict[str, dict[str, None]] = field(default_factory=dict)


def propose(path: Path) -> str:
    """Return a piece of muster.toml that would read this file, to be corrected by whoever knows the source.

    Raises Unreadable when nothing can be read of it. Where it had to guess, a comment says so.
    """
    sample = _sample(path)
    chosen = _chosen(sample.texts)
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.casefold()).strip("-_0123456789")[:20]
    name = name if SOURCE_NAME.fullmatch(name) else "hr"
    lines = [f"# Guessed from {_quoted(path.name)}. Read it line by line before you use it.", f"[feeds.{name}]", f"form = {_quoted(sample.form)}"]
    lines.append('mode = "delta"  # "full" when every file holds everybody: then absence counts')
    reading = sample.reading
    if reading.encoding_known_by != DECLARED and reading.encoding != "utf-8":
        lines.append(f"encoding = {_quoted(reading.encoding)}  # known by: {reading.encoding_known_by}")
    if reading.delimiter not in (None, ","):
        lines.append(f"delimiter = {_quoted(reading.delimiter)}")
    lines += ["", f"[feeds.{name}.columns]"]
    if "external_id" not in chosen:
        lines.append('# external_id = "…"  # which column holds the id of the person?')
    lines += (_column(field, column, list(sample.texts[column])) for field, column in chosen.items())
    unused = [column for column in sample.texts if column not in chosen.values()]
    if unused:
        lines.append(f"# not used: {', '.join(map(_quoted, unused))}")
    lines += _status(name, sample, chosen)
    return "\n".join(lines) + "\n"


def _sample(path: Path) -> _Sample:
    problem = Unreadable(f"{path.name} holds no records.")
    for form in _forms(path):
        feed = Feed(name="sample", form=form, mode="delta", columns={})
        try:
            with open_input(feed, path) as source:
                return _read(form, source)
        except Unreadable as error:
            problem = error
    raise problem


def _forms(path: Path) -> tuple[Form, ...]:
    """Return the forms that the beginning of a file allows, the likeliest first."""
    try:
        with path.open("rb") as file:
            begin = file.read(4096).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    except OSError as error:
        raise Unreadable(f"{path} cannot be opened: {error.strerror}.") from error
    if begin.startswith(b"["):
        return ("json",)
    if begin.startswith(b"{"):
        return ("scim", "ndjson") if b"urn:ietf:params:scim" in begin else ("ndjson", "json")
    return ("csv",)


def _read(form: Form, source: Input) -> _Sample:
    sample = _Sample(form, source.reading)
    header = source.reading.header
    for name in header or ():
        if name and header is not None and header.count(name) == 1:
            sample.texts[name] = {}
    for raw in islice(source, SAMPLED):
        if isinstance(raw, Refusal):
            continue
        for name in sample.texts if header is not None else paths(raw.value):
            _note(sample.texts.setdefault(name, {}), cell(header, raw.value, name))
    if not sample.texts:
        raise Unreadable(f"{source.reading.file} holds no record that could be read.")
    return sample


def _note(texts: dict[str, None], text: str) -> None:
    if text and len(texts) <= MOST_WORDS:
        texts[text] = None


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _chosen(names: Iterable[str]) -> dict[str, str]:
    """Return a column for each field that one seems to be meant for; what may be secret is for nobody."""
    known: dict[str, str] = {}
    told = [name for name in names if not looks_secret(name)]
    for name, bare in [*((name, name) for name in told), *((name, name.rpartition(".")[2]) for name in told)]:
        known.setdefault(_bare(bare), name)
    chosen: dict[str, str] = {}
    for target, words in _NAMES.items():
        for word in words:
            if word in known and (target in _TWICE or known[word] not in chosen.values()):
                chosen[target] = known[word]
                break
    return chosen


def _column(target: str, column: str, texts: Sequence[str]) -> str:
    key = _quoted(target) if target.startswith(ATTRIBUTE) else target
    if target in DATES or target == "modified":
        fitting = forms_that_fit(texts)
        if fitting and fitting[0] != "%Y-%m-%d":
            also = f"  # or {' or '.join(fitting[1:])}: the file fits both, so look into the source" if len(fitting) > 1 else ""
            return f"{key} = {{ column = {_quoted(column)}, dates = [{_quoted(fitting[0])}] }}{also}"
        note = "  # declare the form of its dates" if texts and not fitting else ""
        return f"{key} = {_quoted(column)}{note}"
    if target == "type":
        meant = {text: _meaning(text, _TYPES) for text in texts}
        words = ", ".join(f"{_quoted(text)} = {_quoted(kind)}" for text, kind in meant.items() if kind)
        unknown = [text for text, kind in meant.items() if not kind]
        note = f"  # internal or external? {', '.join(map(_quoted, unknown))}" if unknown else ""
        return f"{key} = {{ column = {_quoted(column)}, words = {{ {words} }}, other_words = \"refuse\" }}{note}" if words else (
            f"# {key} = {_quoted(column)}{note}"
        )
    return f"{key} = {_quoted(column)}"


def _status(name: str, sample: _Sample, chosen: Mapping[str, str]) -> list[str]:
    if "status" not in chosen and sample.form != "scim":
        return []
    texts = ["active", "inactive"] if chosen.get("status", STATUS) == STATUS else list(sample.texts[chosen["status"]])
    lines = ["", f"[feeds.{name}.status]"]
    for text in texts[:MOST_WORDS]:
        state = _meaning(text, _STATES)
        known = f"{_quoted(text)} = {_quoted(state)}"
        lines.append(known if state else f"# {_quoted(text)} = \"…\"  # {', '.join(_STATES)}?")
    return lines


def _meaning(text: str, table: Mapping[str, tuple[str, ...]]) -> str:
    """Return what a word means: as it is listed, else by a longer word in it; "active" is also in words that mean the contrary."""
    bare = _bare(text)
    exact = next((meaning for meaning, words in table.items() if bare in words), "")
    return exact or next(
        (meaning for meaning, words in table.items() if meaning != "active" and any(len(word) > 4 and word in bare for word in words)), ""
    )


def _quoted(text: str) -> str:
    """Write a text as TOML does, with an escape for whatever is no visible character."""
    return "".join(
        letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in json.dumps(text, ensure_ascii=False)
    )
