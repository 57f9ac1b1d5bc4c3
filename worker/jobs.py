"""What a job is: its payload, its policy, its handler, and the registry that every door reads."""

import functools
import hashlib
import hmac
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

if TYPE_CHECKING:
    from worker.context import Context, Item
    from worker.errand import Errand, Receipt


@functools.lru_cache(maxsize=10_000)  # a batch asks for the fold of each of its names about ten times
def fold(name: str) -> str:
    """Return the form under which two spellings of one name are equal: NFKC, then case folded (Unicode TR 15, 21)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


class NameKind(StrEnum):
    """The kinds of names by which a payload can point at a person or a group."""

    ID = "id"
    EXTERNAL_ID = "external_id"
    USERNAME = "username"
    GROUP = "group"


Name = tuple[NameKind, str]


@dataclass(frozen=True)
class Names:
    """Whom a payload is about: the names that lead to its line.

    `who` in order of strength; `new` are names that the job would give (a rename), known to later jobs at once;
    `adopts`: the names may belong to an account that exists and does not carry all of them yet.
    """

    who: tuple[Name, ...] = ()
    new: tuple[Name, ...] = ()
    adopts: bool = False


class UserRef(BaseModel):
    """A user by username, external id or id. A bare string is a username."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: str | None = Field(default=None, min_length=1, max_length=150)
    external_id: str | None = Field(default=None, min_length=1, max_length=255)
    id: str | None = Field(default=None, pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

    @model_validator(mode="before")
    @classmethod
    def _bare_username(cls, value: Any) -> Any:
        return {"username": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> "UserRef":
        if sum(part is not None for part in (self.username, self.external_id, self.id)) != 1:
            raise ValueError("name the user by exactly one of username, external_id, id")
        return self

    @property
    def name(self) -> Name:
        """The kind of name and the name."""
        if self.id is not None:
            return NameKind.ID, self.id
        if self.external_id is not None:
            return NameKind.EXTERNAL_ID, self.external_id
        return NameKind.USERNAME, self.username or ""

    def __str__(self) -> str:
        kind, value = self.name
        return value if kind is NameKind.USERNAME else f"{kind} {value}"


class Payload(BaseModel):
    """What a job is asked to do. Frozen; unknown fields are refused; fields of type SecretStr are sealed.

    Sealed fields stand outside the fingerprint and every listing, and are erased when the job ends.
    `version` rises when a stored payload would no longer load; `upgraders[n]` turns the fields of version n into n+1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    version: ClassVar[int] = 1
    upgraders: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    sealed_fields: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Note which fields are sealed."""
        super().__pydantic_init_subclass__(**kwargs)
        sealed = {name for name, info in cls.model_fields.items() if "SecretStr" in repr(info.annotation)}
        cls.sealed_fields = frozenset(sealed)

    def names(self) -> Names:
        """Say whose line this is: the field `user`, else the field `group`, else nobody's."""
        user = getattr(self, "user", None)
        if isinstance(user, UserRef):
            return Names(who=(user.name,))
        group = getattr(self, "group", None)
        if isinstance(group, str):
            return Names(who=((NameKind.GROUP, group),))
        return Names()

    def gives_access(self) -> bool:
        """Say whether this could give a person access (back); such jobs are cancelled by a later revocation."""
        return False

    def overtakes(self) -> bool:
        """Say whether this takes access away at once, past everything that waits in the person's line."""
        return False

    def open_fields(self) -> dict[str, Any]:
        """The fields as given, as JSON values, without the sealed ones and without defaults."""
        return self.model_dump(mode="json", exclude_unset=True, exclude=set(self.sealed_fields))

    def sealed_values(self) -> dict[str, str] | None:
        """The sealed fields in clear, for the ledger's own column; None when there are none."""
        found: dict[str, str] = {}
        for name in self.sealed_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                found[name] = value.get_secret_value()
        return found or None


def canonical(value: object) -> bytes:
    """Return the one JSON text of `value`: sorted keys, no blanks, NFC is left to the payload models (RFC 8785's aim)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(key: bytes, *parts: bytes) -> str:
    """Return the keyed HMAC-SHA256 over the parts (length-prefixed), cut to 128 bits, as 32 hexadecimal digits."""
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(key, message, hashlib.sha256).hex()[:32]


# Queues a process serves. `urgent` is no queue of a kind: any kind's urgent jobs ring there.
DIRECTORY, MAIL, URGENT = "directory", "mail", "urgent"

# Five tries over about a quarter of an hour: a deadlock or a dropped connection heals within seconds, and what has not
# healed by then wants a person.
ATTEMPTS = 6
BACKOFF_BASE = timedelta(seconds=2)
BACKOFF_CAP = timedelta(minutes=10)
# Savepoints beyond 64 in one transaction overflow PostgreSQL's subtransaction cache (see docs/decisions).
SINGLE_BATCH = 50
# Above 1,000 the gain per job is small and the locks are held longer than an urgent job should wait.
BULK_BATCH = 1_000
EDGE_BATCH = 20


@dataclass(frozen=True)
class Policy:
    """How a kind is carried out.

    `base`, `cap`: full-jitter exponential backoff. `life`: how long after acceptance an edge job is still worth doing.
    `supersedes`: whether a job that overtakes also cancels the person's earlier jobs that could give access back.
    `unknown`: what becomes of an edge job whose outcome cannot be known: "resend" the same bytes after a rest, "hold" for
    a person, or "again": try it like any other, since the other side knows by its id what it has already.
    """

    queue: str = DIRECTORY
    attempts: int = ATTEMPTS
    base: timedelta = BACKOFF_BASE
    cap: timedelta = BACKOFF_CAP
    batch: int = SINGLE_BATCH
    priority: int = 5
    life: timedelta | None = None
    supersedes: bool = True
    unknown: Literal["resend", "hold", "again"] = "resend"


P = TypeVar("P", bound=Payload)
Shape = Literal["single", "bulk", "edge"]
Settled = Callable[["Context", Any, "Receipt"], None]


@dataclass
class Kind:
    """One kind of job, as the registry knows it."""

    name: str
    summary: str
    shape: Shape
    payload: type[Payload]
    policy: Policy
    handler: Callable[..., Any]
    settled: Settled | None = None
    examples: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def accepted(self, settled: Settled) -> Settled:
        """Name the function that an edge job runs, in the settling transaction, once the outside has said yes."""
        self.settled = settled
        return settled

    def load(self, version: int, fields: Mapping[str, Any], sealed: Mapping[str, Any] | None = None) -> Payload:
        """Rebuild a payload from the ledger, upgrading an older version step by step."""
        values = dict(fields)
        while version < self.payload.version:
            values = self.payload.upgraders[version](values)
            version += 1
        return self.payload.model_validate({**values, **(sealed or {})})


class DoubleKind(Exception):
    """Two packages declare the same kind of job; rename one of them."""


class Registry:
    """All kinds of jobs by name. The doors, the documentation and the contract tests are read off it."""

    def __init__(self) -> None:
        """Start empty; `worker.app` fills it by importing the packages named in MUSTER_ACTORS."""
        self._kinds: dict[str, Kind] = {}
        self._by_payload: dict[type[Payload], Kind] = {}

    def add(self, kind: Kind) -> Kind:
        """Take in one kind; the same name from another module is an error."""
        known = self._kinds.get(kind.name)
        if known is not None and known.handler.__module__ != kind.handler.__module__:
            raise DoubleKind(f"{kind.name} is declared in {known.handler.__module__} and {kind.handler.__module__}")
        self._kinds[kind.name] = kind
        self._by_payload[kind.payload] = kind
        return kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(sorted(self._kinds.values(), key=lambda kind: kind.name))

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def get(self, name: str) -> Kind | None:
        """Return the kind called `name`, if there is one."""
        return self._kinds.get(name)

    def __getitem__(self, name: str) -> Kind:
        return self._kinds[name]

    def of(self, payload: Payload) -> Kind:
        """Return the kind whose payload this is."""
        return self._by_payload[type(payload)]


REGISTRY = Registry()


def _declare(shape: Shape, handler: Callable[..., Any], payload: type[Payload], policy: Policy) -> Kind:
    summary = (__import__("sys").modules[handler.__module__].__doc__ or "").strip().split("\n")[0]
    return REGISTRY.add(Kind(handler.__name__, summary, shape, payload, policy, handler))


def _payload_of(handler: Callable[..., Any]) -> Any:
    """Read the payload class off the last parameter of a handler."""
    hints = get_type_hints(handler)
    hints.pop("return", None)
    return list(hints.values())[-1]


def job(
    queue: str = DIRECTORY, **policy: Any
) -> Callable[[Callable[["Context", P], "Mapping[str, Any] | None"]], Kind]:
    """Declare a job whose handler receives one payload, in a savepoint of its own; what it returns is the result."""

    def declare(handler: Callable[["Context", P], "Mapping[str, Any] | None"]) -> Kind:
        return _declare("single", handler, _payload_of(handler), Policy(queue=queue, **policy))

    return declare


def bulk_job(
    queue: str = DIRECTORY, **policy: Any
) -> Callable[[Callable[["Context", "Sequence[Item[P]]"], None]], Kind]:
    """Declare a job whose handler receives the whole batch and answers each item with done(), reject() or put_off()."""

    def declare(handler: Callable[["Context", "Sequence[Item[P]]"], None]) -> Kind:
        item = _payload_of(handler).__args__[0]
        return _declare("bulk", handler, item.__args__[0], Policy(queue=queue, **{"batch": BULK_BATCH, **policy}))

    return declare


def edge_job(
    queue: str = MAIL, **policy: Any
) -> Callable[[Callable[["Context", P], "Errand"]], Kind]:
    """Declare a job that reaches outside. The handler is the gate: it re-reads what matters and returns the errand."""

    def declare(handler: Callable[["Context", P], "Errand"]) -> Kind:
        chosen = {"batch": EDGE_BATCH, "attempts": 12, **policy}
        return _declare("edge", handler, _payload_of(handler), Policy(queue=queue, **chosen))

    return declare
