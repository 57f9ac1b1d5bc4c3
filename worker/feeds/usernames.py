"""Which username a new person gets: the first free one of the declared kinds, reserved so that nobody else gets it."""

import hashlib
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain, count, islice
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, update

from worker.bulk import among, insert_rows, select_by
from worker.database import Busy
from worker.directory import graves
from worker.directory.fields import Username
from worker.feed_tables import feed_name
from worker.feeds.claims import ATTRIBUTE
from worker.feeds.declaration import Feed
from worker.feeds.romanise import romanise
from worker.jobs import NameKind, fold
from worker.scope import Scope
from worker.tables import users

#: Names that no person gets: whoever had one could be taken for the office behind it, or read its mail. The mailboxes of
#: RFC 2142, those to which certificates are issued, and what programs take for themselves or for "nobody".
RESERVED = frozenset({
    "info", "marketing", "sales", "support", "abuse", "noc", "security", "postmaster", "hostmaster", "usenet",
    "news", "webmaster", "www", "uucp", "ftp", "admin", "administrator", "administration", "ssladmin",
    "ssladministrator", "sysadmin", "root", "system", "sysop", "daemon", "operator", "nobody", "anonymous",
    "guest", "everyone", "all", "default", "test", "user", "users", "username", "staff", "mail", "email",
    "mailer-daemon", "mailerdaemon", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce", "bounces",
    "smtp", "imap", "pop", "pop3", "help", "helpdesk", "service", "contact", "office", "billing", "accounts",
    "hr", "it", "legal", "privacy", "compliance", "dpo", "press", "api", "app", "auth", "console", "dashboard",
    "dns", "host", "localhost", "login", "logout", "register", "scim", "sso", "oauth", "status", "wpad",
    "autodiscover", "autoconfig", "null", "nil", "none", "undefined", "unknown", "muster",
})  # fmt: skip

# RFC 5321 section 4.5.3.1.1: what stands before the @ has at most 64 octets.
LONGEST_LOCAL_PART = 64
# The first number: whoever comes second is john.smith2.
FIRST_NUMBER = 2
# Among people of one name each round looks at so many times more numbers than the one before: seven get past 10,000.
STRIDE = 4
# The largest look in one round; keeps what a round holds in memory small.
LONGEST_LOOK = 20_000
# Only somebody who reserves the same names all the time could make it need more.
ROUNDS = 40

_PARTS = frozenset({"first", "middle", "last", "name", "email_local"})
_PLAIN = frozenset(string.ascii_lowercase + string.digits + ".-")
_username: TypeAdapter[str] = TypeAdapter(Username)


class Slot(NamedTuple):
    """A placeholder of a template: whose value, and how many letters of it (None: all)."""

    name: str
    letters: int | None


class Filled(NamedTuple):
    """A placeholder with its value. It may be cut; what stands in the template itself may not."""

    text: str


class _Number:
    """Where the number goes."""


NUMBER = _Number()
Pattern = tuple[str | Filled | _Number, ...]


@lru_cache(maxsize=1_000)
def parse(template: str) -> tuple[str | Slot, ...]:
    """Return the fixed texts and placeholders of a template. ValueError says what is wrong with it."""
    pieces: list[str | Slot] = []
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError:
        raise ValueError(f"{template!r} has a brace without its partner") from None
    for text, name, precision, conversion in parsed:
        if text:
            pieces.append(text)
        if name is None:
            continue
        letters = precision[1:] if precision else ""
        if conversion or (precision and not (precision[0] == "." and letters.isdecimal() and int(letters) > 0)):
            raise ValueError(f"in {template!r} write {{{name}}}, or {{{name}:.1}} for its first letter")
        pieces.append(Slot(name, int(letters) if letters else None))
    return tuple(pieces)


def problems(feed: Feed) -> list[str]:
    """Return what is wrong with the feed's templates, a sentence each, beginning with the key; empty if all is well."""
    found = []
    for template in feed.usernames:
        try:
            _check(template, _PARTS | {"external_id", "n"})
            _check_username(template, feed.username_length)
        except ValueError as problem:
            found.append(f"usernames: {problem}")
    if feed.email is not None:
        try:
            _check(feed.email, _PARTS | {"username"})
            if feed.email.count("@") != 1:
                raise ValueError(f"{feed.email!r} needs one @, as in {{username}}@example.com")
        except ValueError as problem:
            found.append(f"email: {problem}")
    return found


def _check(template: str, known: frozenset[str]) -> None:
    slots = [piece for piece in parse(template) if isinstance(piece, Slot)]
    if not slots:
        raise ValueError(f"{template!r} holds no placeholder, so it would be the same for everybody")
    for slot in slots:
        if slot.name == "n" and slot.letters:
            raise ValueError(f"in {template!r} the number cannot be cut; write {{n}}")
        if slot.name not in known and not (slot.name.startswith(ATTRIBUTE) and len(slot.name) > len(ATTRIBUTE)):
            raise ValueError(f"{template!r} holds {{{slot.name}}}; known are {', '.join(sorted(known))} and attributes.NAME")


def _check_username(template: str, length: int) -> None:
    pieces = parse(template)
    fixed = "".join(piece for piece in pieces if isinstance(piece, str))
    if not _PLAIN.issuperset(fixed):
        raise ValueError(f"{template!r}: between placeholders only a-z, 0-9, dot and hyphen may stand")
    if all(isinstance(piece, str) or piece.name == "n" for piece in pieces):
        raise ValueError(f"{template!r} holds nothing of the person")
    if len(fixed) + len(pieces) > length:
        raise ValueError(f"{template!r} leaves no room for a name within username_length = {length}")


# -------------------------------------------------------------------------------------------------- candidates


def candidates(feed: Feed, external_id: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """Give the names this person could have, the best first, each once; ends only when username_length is used up.

    The templates in order, without those that lack a value in readable letters; one with {n} goes on for ever, from 2.
    Then the external id (u before it if it begins with a digit, so that nobody takes it for a number), and numbered.
    A name that is too long loses letters of its longest part, never of the number. Reserved words are left out.
    Letters are ASCII here, so a letter is a grapheme. The locale is the field `locale`.
    """
    return _names(feed, _patterns(feed, external_id, fields))


def _patterns(feed: Feed, external_id: str, fields: Mapping[str, Any]) -> list[Pattern]:
    value = _reader({**fields, "external_id": external_id})
    filled = [_filled(template, value) for template in feed.usernames]
    number = value("external_id") or hashlib.sha256(external_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    own = Filled(f"u{number}" if number[0].isdecimal() else number)
    return [pattern for pattern in filled if pattern] + [(own,), (own, "-", NUMBER)]


def _reader(fields: Mapping[str, Any]) -> Callable[[str], str | None]:
    """Return what looks up a placeholder's value in readable letters; None where there is none."""
    locale = fields.get("locale")
    known: dict[str, str | None] = {}

    def value(name: str) -> str | None:
        if name not in known:
            given = fields.get("email") if name == "email_local" else fields.get(name)
            text = "" if given is None else str(given)
            if name == "email_local":
                text = text.rpartition("@")[0].partition("+")[0]
            known[name] = romanise(text, locale if isinstance(locale, str) else None)
        return known[name]

    return value


def _filled(template: str, value: Callable[[str], str | None]) -> Pattern | None:
    pattern: list[str | Filled | _Number] = []
    for piece in parse(template):
        if isinstance(piece, str):
            pattern.append(piece)
        elif piece.name == "n":
            pattern.append(NUMBER)
        else:
            text = value(piece.name)
            if text is None:
                return None
            pattern.append(Filled(text[: piece.letters].rstrip(".-")))
    return tuple(pattern)


def _names(feed: Feed, patterns: Iterable[Pattern]) -> Iterator[str]:
    seen = set(_reserved(feed))
    for pattern in patterns:
        numbers: Iterable[int] = count(FIRST_NUMBER) if NUMBER in pattern else (0,)
        for number in numbers:
            name = _fitted(pattern, str(number), feed.username_length)
            if name is None:
                break
            if name not in seen:
                seen.add(name)
                yield name


def _reserved(feed: Feed) -> frozenset[str]:
    return RESERVED | {fold(word) for word in feed.reserved} if feed.reserved else RESERVED


def _fitted(pattern: Pattern, number: str, length: int) -> str | None:
    """The name in at most `length` letters, or None where that leaves nothing of a part."""
    texts = [number if piece is NUMBER else piece.text if isinstance(piece, Filled) else str(piece) for piece in pattern]
    parts = [place for place, piece in enumerate(pattern) if isinstance(piece, Filled)]
    for place in parts:
        texts[place] = texts[place][:length]
    for _ in range(sum(map(len, texts)) - length):
        longest = max(parts, key=lambda place: len(texts[place]), default=None)
        if longest is None or len(texts[longest]) == 1:
            return None
        texts[longest] = texts[longest][:-1]
    name = "".join(text.rstrip(".-") if place in parts else text for place, text in enumerate(texts)).strip(".-")
    return name or None


# -------------------------------------------------------------------------------------------------- assignment


@dataclass
class _Queue:
    """People who are content with the same names, and those names."""

    people: list[str]
    names: Iterator[str]
    # What each of them may have when the names run out.
    rest: dict[str, list[Pattern]]


def assign(
    scope: Scope, feed: Feed, people: Sequence[tuple[str, Mapping[str, Any]]], accounts: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the username of each person (external id, fields), reserved for them alone: external id -> username.

    The source's own word (the field `username`) counts; if that name is somebody else's, reserved or no username at
    all, the person is missing from the answer, for a person to decide. Else whoever has an account keeps its username,
    whoever has a reservation keeps that, and everybody else gets the first free candidate, earlier people first.
    `accounts`: external id of the account where it is another than `feed.account` says.

    A few statements per round and 2,000 people. Do it inside `Database.transact`: two that reserve the same names in
    crossing order may have to start over. Raises Busy when others kept reserving the same names.
    """
    book = _Book(scope, feed, {one: (accounts or {}).get(one, feed.account(one)) for one, _ in people})
    answer: dict[str, str] = {}
    queues = _queues(feed, book, people, answer)
    for turn in range(ROUNDS):
        if not queues:
            return answer
        looked = [list(islice(queue.names, min(len(queue.people) * STRIDE**turn, LONGEST_LOOK))) for queue in queues]
        book.look_up(name for names in looked for name in names)
        picked = {}
        for queue, names in zip(queues, looked, strict=True):
            waiting = iter(queue.people)
            person = next(waiting, None)
            for name in names:
                if person is not None and book.is_free(name, person):
                    book.owners[fold(name)] = person
                    picked[person] = name
                    person = next(waiting, None)
        answer |= book.reserve(picked)
        queues = [left for queue, names in zip(queues, looked, strict=True) for left in _left(feed, queue, names, answer)]
    raise Busy("others kept reserving the same usernames at the same moment; try again")


def _queues(
    feed: Feed, book: "_Book", people: Sequence[tuple[str, Mapping[str, Any]]], answer: dict[str, str]
) -> list[_Queue]:
    """Put people with the same names into one queue; whoever has a username already goes straight into the answer."""
    given: dict[str, _Queue] = {}
    others: dict[object, _Queue] = {}
    for person, fields in dict(people).items():
        word = fields.get("username")
        if word:
            name = _valid(str(word))
            if name is not None and fold(name) not in _reserved(feed):
                # Ahead of all templates, which can do with another name.
                given.setdefault(name, _Queue([], iter([name]), {})).people.append(person)
        elif person in book.usernames:
            answer[person] = book.usernames[person]
        else:
            patterns = _patterns(feed, person, fields)
            end = next(place for place, pattern in enumerate(patterns, 1) if NUMBER in pattern)
            kept = book.reserved.get(person, [])
            shared = _Queue([], chain(kept, _names(feed, patterns[:end])), {})
            queue = others.setdefault((person,) if kept else tuple(patterns[:end]), shared)
            queue.people.append(person)
            queue.rest[person] = patterns[end:]
    return [*given.values(), *others.values()]


def _valid(word: str) -> str | None:
    try:
        return _username.validate_python(word)
    except ValidationError:
        return None


def _left(feed: Feed, queue: _Queue, looked: Sequence[str], answer: Mapping[str, str]) -> list[_Queue]:
    """Who still has no name: they go on together, or, when their names have run out, each with what is theirs alone."""
    queue.people = [person for person in queue.people if person not in answer]
    if not queue.people or looked:
        return [queue] if queue.people else []
    return [_Queue([one], _names(feed, queue.rest[one]), {}) for one in queue.people if queue.rest.get(one)]


class _Book:
    """Who has which username: in the directory, in the grave, reserved, or given out a moment ago."""

    def __init__(self, scope: Scope, feed: Feed, accounts: Mapping[str, str]) -> None:
        """`accounts`: person -> external id of the account that would be theirs."""
        self._scope, self._source = scope, feed.name
        people: dict[str, list[str]] = {}
        for person, account in accounts.items():
            people.setdefault(account, []).append(person)
        self._ids: dict[str, str] = {}
        self.usernames: dict[str, str] = {}
        for row in select_by(scope.conn, users.c.external_id, people, users.c.external_id, users.c.id, users.c.username):
            for person in people[row.external_id]:
                self._ids[person], self.usernames[person] = row.id, row.username
        rows = select_by(
            scope.conn, feed_name.c.external_id, accounts,
            feed_name.c.external_id, feed_name.c.username, feed_name.c.given, feed_name.c.at,
            where=[feed_name.c.source == feed.name],
        )  # fmt: skip
        self.reserved: dict[str, list[str]] = {}
        for row in sorted(rows, key=lambda row: (row.given, row.at, row.username), reverse=True):
            self.reserved.setdefault(row.external_id, []).append(row.username)
        # folded -> the person of this feed whose name it is; None: somebody else's.
        self.owners: dict[str, str | None] = {}
        # folded -> id of the account that has the name, or had it.
        self._holders: dict[str, str] = {}

    def look_up(self, names: Iterable[str]) -> None:
        """Learn whose these names are."""
        folded = {fold(name): name for name in names}
        conn = self._scope.conn
        self._holders = {
            row.username_folded: row.id
            for row in select_by(conn, users.c.username_folded, folded, users.c.username_folded, users.c.id)
        }
        for (_, name), grave in graves.find(self._scope, [(NameKind.USERNAME, name) for name in folded]).items():
            self._holders.setdefault(name, grave.user_id)
        for row in select_by(
            conn, feed_name.c.folded, folded, feed_name.c.folded, feed_name.c.source, feed_name.c.external_id
        ):
            self.owners[row.folded] = row.external_id if row.source == self._source else None

    def is_free(self, name: str, person: str) -> bool:
        """Whether this person may have this name, which has been looked up."""
        folded = fold(name)
        mine = self.owners.get(folded, person) == person
        return mine and (folded not in self._holders or self._holders[folded] == self._ids.get(person))

    def reserve(self, picked: Mapping[str, str]) -> dict[str, str]:
        """Write the names down; returns those that nobody else was quicker with: person -> username."""
        wanted = {fold(name): (person, name) for person, name in picked.items()}
        rows = [
            {"folded": folded, "username": name, "source": self._source, "external_id": person, "given": False,
             "at": self._scope.now}
            for folded, (person, name) in sorted(wanted.items())
        ]  # fmt: skip
        insert_rows(self._scope.conn, feed_name, rows, conflict="skip")
        owners = {
            row.folded: row.external_id
            for row in select_by(
                self._scope.conn, feed_name.c.folded, wanted, feed_name.c.folded, feed_name.c.external_id,
                where=[feed_name.c.source == self._source],
            )
        }  # fmt: skip
        for folded in wanted:
            self.owners[folded] = owners.get(folded)
        return {person: name for folded, (person, name) in wanted.items() if owners.get(folded) == person}


def give(scope: Scope, source: str, external_ids: Iterable[str]) -> None:
    """Note that these people's names were given to them: from here on they are never freed."""
    mine = among(scope.conn, feed_name.c.external_id, sorted(set(external_ids)))
    which = (feed_name.c.source == source, feed_name.c.given.is_(False), mine)
    scope.conn.execute(update(feed_name).where(*which).values(given=True))


def free(scope: Scope, before: datetime) -> int:
    """Let go of the names that were reserved before that instant and never given; returns how many."""
    which = (feed_name.c.given.is_(False), feed_name.c.at < before)
    return int(scope.conn.execute(delete(feed_name).where(*which)).rowcount)


# ---------------------------------------------------------------------------------------------------- addresses


def address(feed: Feed, username: str, fields: Mapping[str, Any]) -> str | None:
    """Return the address of a new person after the feed's template; None without one, or where a value is missing.

    Of a username that is itself an address the part before the @ counts. A part before the @ that no mail server takes
    (RFC 5321) is no address. Whether anybody else has the address is seen when the account is made.
    """
    if feed.email is None:
        return None
    value = _reader({**fields, "username": username.partition("@")[0]})
    texts = []
    for piece in parse(feed.email):
        text = piece if isinstance(piece, str) else value(piece.name)
        if not text:
            return None
        texts.append(text if isinstance(piece, str) else text[: piece.letters].rstrip(".-"))
    made = "".join(texts)
    return made if len(made.partition("@")[0]) <= LONGEST_LOCAL_PART else None
