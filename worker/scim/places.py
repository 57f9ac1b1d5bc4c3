"""Every attribute of people and groups that clients may filter and sort by, as SQL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sqlalchemy import and_, case, exists, false, func, literal, null, or_, select, true, union_all

from worker.door_tables import scim_link
from worker.ids import is_id
from worker.jobs import fold
from worker.scim.description import ENTERPRISE
from worker.scim.spots import LISTS, MAIN, ONLY_THE_COLUMN, OWN, SHOWN, TEXTS, Path, mark_of
from worker.scim.sql import Sql, Words
from worker.tables import group_parent, groups, membership, users


@dataclass(frozen=True)
class Value:
    """One value in SQL. `exact`: capitals matter. `equal`: a quicker way to ask whether it is a text."""

    sql: Sql
    kind: Literal["text", "flag", "moment"] = "text"
    exact: bool = False
    equal: Callable[[str], Sql] | None = None


@dataclass(frozen=True)
class Entries:
    """A list in SQL: `source` gives its entries, those for which `mine` holds; `fields` are the values of one.

    `narrow` gives, for the text that a `value` must be, a condition that is quickly looked at and holds wherever there
    is such an entry.
    """

    source: Any
    fields: Mapping[str, Value]
    place: Sql
    mine: Sql = field(default_factory=true)
    narrow: Callable[[str], Sql] | None = None

    def any(self, condition: Sql) -> Sql:
        """Say that there is an entry like this."""
        return exists(select(literal(1)).select_from(self.source).where(self.mine, condition).correlate(users, groups))

    def leading(self, name: str) -> Value:
        """The value of the entry that sorting goes by: the primary one, else the first (RFC 7644, 3.4.2.3)."""
        value = self.fields[name]
        order = [self.place]
        if "primary" in self.fields:
            order.insert(0, case((self.fields["primary"].sql.is_(True), 0), else_=1))
        one = select(value.sql).select_from(self.source).where(self.mine).order_by(*order).limit(1).correlate(users, groups)
        return Value(one.scalar_subquery(), value.kind, value.exact)


class Places(Protocol):
    """The attributes of one kind of record."""

    @property
    def id(self) -> Any: ...

    def single(self, path: Path) -> Value | None:
        """Return the value of an attribute that has one; None for others, and for those that cannot be asked for."""

    def below(self, path: Path) -> list[Value]:
        """Return the values that a complex attribute consists of."""

    def many(self, name: str) -> Entries | None:
        """Return the entries of an attribute that has several."""


class PeoplePlaces:
    """The attributes of people, as this client sees them."""

    id = users.c.id

    def __init__(self, words: Words, client: str) -> None:
        """`client`: whose externalId is meant."""
        self._words = words
        self._singles: dict[Path, Callable[[], Value]] = {
            ("id",): lambda: _id(words, users.c.id),
            ("externalId",): lambda: _external_id(client, scim_link.c.user_id, users.c.id),
            ("userName",): lambda: Value(users.c.username, equal=lambda text: users.c.username_folded == fold(text)),
            ("meta", "created"): lambda: Value(users.c.created_at, "moment"),
            ("meta", "lastModified"): lambda: Value(users.c.updated_at, "moment"),
            ("meta", "resourceType"): lambda: Value(literal("User"), exact=True),
            (ENTERPRISE, "manager", "value"): lambda: _id(words, users.c.manager),
        }

    def single(self, path: Path) -> Value | None:
        if path in self._singles:
            return self._singles[path]()
        if path in TEXTS:
            return Value(self._words.text(users.c.attributes, TEXTS[path]))
        if len(path) == 1 and path[0] in SHOWN:
            return self._shown(path[0])
        return None

    def below(self, path: Path) -> list[Value]:
        known = [*self._singles, *TEXTS]
        found = [self.single(one) for one in known if one[: len(path)] == path]
        return [value for value in found if value is not None]

    def many(self, name: str) -> Entries | None:
        if name == "groups":
            return self._groups()
        if name not in LISTS:
            return None
        otherwise = ONLY_THE_COLUMN if name == "emails" else ()
        rows, element, place = self._words.each(users.c.attributes, (OWN, name), name, otherwise=otherwise)
        fields = {
            key: Value(self._words.flag(element, (key,)), "flag") if key == "primary"
            else Value(self._words.text(element, (key,)), exact=key == "value" and name in _EXACT)
            for key in LISTS[name]
        }  # fmt: skip
        if name != "emails":
            return Entries(rows, fields, place)
        main = func.coalesce(self._words.flag(element, (MAIN,)), false())
        address = case((main, users.c.email), else_=fields["value"].sql)
        kept = or_(~main, users.c.email.is_not(None))
        return Entries(rows, {**fields, "value": Value(address)}, place, kept, self._may_have_address)

    def _may_have_address(self, text: str) -> Sql:
        """Most people have no other addresses than the column's; nobody's list of them has to be cut up to say so."""
        if not text.isascii():
            return true()
        listed = self._words.is_there(users.c.attributes, (OWN, "emails"))
        return or_(func.lower(users.c.email) == text.lower(), listed)

    def _shown(self, name: str) -> Value:
        """What a client said, while the column is what it was then; else the column."""
        column = users.c[SHOWN[name].column]
        mark = mark_of(name)
        said = self._words.text(users.c.attributes, (*mark, "is"))
        if name == "active":
            unsaid = func.coalesce(said == case((column, "true"), else_="false"), false())
            return Value(case((unsaid, null()), else_=column), "flag")
        held = func.coalesce(said == func.coalesce(column, ""), false())
        show = self._words.text(users.c.attributes, (*mark, "show"))
        return Value(case((held, show), else_=func.nullif(column, "")))

    def _groups(self) -> Entries:
        theirs = groups.alias("theirs")
        source = membership.join(theirs, theirs.c.id == membership.c.group_id)
        fields = {
            "value": _id(self._words, theirs.c.id), "display": Value(theirs.c.name), "type": Value(literal("direct")),
        }  # fmt: skip
        return Entries(source, fields, theirs.c.name_folded, membership.c.user_id == users.c.id)


# What these hold are addresses of pictures and encoded bytes, in which capitals matter.
_EXACT = frozenset({"photos", "x509Certificates"})


class GroupPlaces:
    """The attributes of groups, as this client sees them."""

    id = groups.c.id

    def __init__(self, words: Words, client: str) -> None:
        """`client`: whose externalId is meant."""
        self._words = words
        self._singles: dict[Path, Callable[[], Value]] = {
            ("id",): lambda: _id(words, groups.c.id),
            ("externalId",): lambda: _external_id(client, scim_link.c.group_id, groups.c.id),
            ("displayName",): lambda: Value(groups.c.name, equal=lambda text: groups.c.name_folded == fold(text)),
            ("meta", "created"): lambda: Value(groups.c.created_at, "moment"),
            ("meta", "lastModified"): lambda: Value(groups.c.updated_at, "moment"),
            ("meta", "resourceType"): lambda: Value(literal("Group"), exact=True),
        }

    def single(self, path: Path) -> Value | None:
        return self._singles[path]() if path in self._singles else None

    def below(self, path: Path) -> list[Value]:
        return [make() for one, make in self._singles.items() if one[: len(path)] == path]

    def many(self, name: str) -> Entries | None:
        if name != "members":
            return None
        people = select(
            membership.c.group_id.label("whole"), membership.c.user_id.label("part"), literal("User").label("type")
        )
        below = select(group_parent.c.parent, group_parent.c.child, literal("Group"))
        inside = union_all(people, below).subquery("inside")
        fields = {"value": _id(self._words, inside.c.part), "type": Value(inside.c.type)}
        return Entries(inside, fields, inside.c.part, inside.c.whole == groups.c.id)


def _id(words: Words, column: Any) -> Value:
    return Value(words.id_text(column), exact=True, equal=lambda text: column == text if is_id(text) else false())


def _external_id(client: str, whose: Any, record: Any) -> Value:
    mine = and_(scim_link.c.client == client, whose.is_not(None))
    said = select(scim_link.c.external_id).where(mine, whose == record).correlate(users, groups).scalar_subquery()
    return Value(
        said, exact=True, equal=lambda text: record.in_(select(whose).where(mine, scim_link.c.external_id == text))
    )
