"""What a feed is, as `muster.toml` declares it: where its records come from, what they mean, and how far they may go."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from worker.feeds.claims import ATTRIBUTE, FIELDS, KEYS

Form = Literal["csv", "ndjson", "json", "messages", "scim"]
Mode = Literal["full", "delta", "event"]
Empty = Literal["ignore", "clear"]
Authority = Literal["always", "create"]
Transform = Literal["lower", "upper", "title", "digits", "no_spaces"]
State = Literal["prehire", "active", "leave", "terminated", "retired", "deceased", "rescinded"]
Key = Literal["external_id", "email", "username"]

# What a record means does not hang on these: how a file is read, and what a plan or somebody's absence may do.
NO_MEANING = frozenset({"name", "mode", "encoding", "delimiter", "complete", "brakes", "absent"})


class Part(BaseModel):
    """A part of a declaration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("takes something else than true or false")
        return value


class Take(Part):
    """Where one field comes from: a column (of JSON a path with dots), several joined, or always the same value.

    Done in this order: the column, or the columns joined; `split` and `part`; `transform`; `words`; `default`.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    join: str = " "
    value: str | None = None
    split: str | None = None
    part: int = Field(1, ge=1)
    transform: tuple[Transform, ...] = ()
    words: Mapping[str, str] = Field(default_factory=dict)
    other_words: Literal["keep", "refuse"] = "keep"
    dates: tuple[str, ...] = ()
    default: str | None = None
    empty: Empty | None = None
    authority: Authority = "always"
    required: bool = False


def _a_column(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


def _never(value: object) -> object:
    """Take the word for what TOML has no value for."""
    return None if value == "never" else value


Days = Annotated[int, Field(ge=1, le=3650)]
DaysOrNever = Annotated[Days | None, BeforeValidator(_never)]


class GroupRule(Part):
    """Birthright groups: whom they are for (every field named in `when` holds one of its values), and which."""

    rule: str
    when: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    groups: tuple[str, ...]


class Leavers(Part):
    """The ladder down: revoke and disable, then (days later) take groups and permissions, then delete, or never."""

    urgent_reasons: tuple[str, ...] = ()
    remove_access_days: int = Field(0, ge=0, le=3650)
    delete_days: DaysOrNever = 90
    notify_managers: bool = True


class Absent(Part):
    """The slower ladder for whoever is missing from this many full files in a row; `files = 0`: absence means nothing."""

    files: int = Field(3, ge=0, le=100)
    remove_access_days: int = Field(30, ge=0, le=3650)
    delete_days: DaysOrNever = 180


class Movers(Part):
    """Whoever moves keeps the old groups for so many days."""

    grace_days: int = Field(0, ge=0, le=365)
    notify_managers: bool = False


class Complete(Part):
    """How a full file proves that it is whole.

    `trailer`: pattern of its last line, with a group `rows` for their number; `size_percent`: it may be so much smaller
    than the last one.
    """

    trailer: str | None = None
    size_percent: float = Field(10, ge=0, le=100)


class Brake(Part):
    """How much of a kind is too much for one plan.

    It is held when it holds more than `percent` of the people of the source and more than `floor`; or more than `count`.
    """

    percent: float | None = Field(None, ge=0, le=100)
    floor: int = Field(5, ge=0)
    count: int | None = Field(None, ge=0)


class Brakes(Part):
    """How much one plan may change before a person has to look at it; for events, how much a day may."""

    create: Brake = Brake(percent=20, floor=50)
    disable: Brake = Brake(percent=2, floor=5)
    delete: Brake = Brake(percent=2, floor=5)
    groups: Brake = Brake(percent=10, floor=20)
    attributes: Brake = Brake(percent=20, floor=20)
    mails: Brake = Brake(percent=25, floor=100)


class Feed(Part):
    """One source of people."""

    name: str
    form: Form = "csv"
    mode: Mode
    encoding: str | None = None
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    dates: tuple[str, ...] = ("%Y-%m-%d",)
    empty: Empty | None = None
    clear_word: str = "<clear>"
    id_prefix: str = ""
    zone: str | None = None
    usernames: tuple[str, ...] = ("{first}.{last}", "{first}.{last}{n}")
    username_length: int = Field(40, ge=3, le=150)
    reserved: tuple[str, ...] = ()
    email: str | None = None
    path: str | None = None
    correlate: tuple[Key, ...] = ("external_id",)
    prehire_days: int = Field(7, ge=0, le=365)
    welcome_mail: bool = True
    # A feed of messages may do without: then they use the names of the fields.
    columns: Mapping[str, Annotated[Take, BeforeValidator(_a_column)]] = Field(default_factory=dict)
    status: Mapping[str, State] = Field(default_factory=dict)
    groups: tuple[GroupRule, ...] = ()
    leavers: Leavers = Leavers()
    absent: Absent = Absent()
    movers: Movers = Movers()
    complete: Complete = Complete()
    brakes: Brakes = Brakes()
    # Fields of which other sources have the say: field -> the sources that come before this one.
    before_me: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @field_validator("usernames")
    @classmethod
    def _never_at_a_loss(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Without a template that counts, the first one followed by a number is the last resort."""
        return value if not value or any("{n}" in one for one in value) else (*value, value[0] + "{n}")

    @cached_property
    def digest(self) -> bytes:
        """16 bytes over all of the declaration that changes what a record means; key of the digests of its records.

        With another digest every record is looked at again, which does no harm; so what is in doubt belongs in here.
        """
        meaning = self.model_dump(mode="json", exclude=set(NO_MEANING))
        return hashlib.blake2b(json.dumps(meaning, sort_keys=True).encode(), digest_size=16).digest()

    def __copy__(self) -> Self:
        """Return a copy that works out its digest anew, since what was copied may be changed on the way."""
        copied = super().__copy__()
        copied.__dict__.pop("digest", None)
        return copied

    @property
    def job_source(self) -> str:
        """The source of this feed's jobs in the ledger."""
        return f"feed/{self.name}"

    def account(self, external_id: str) -> str:
        """Return the external id that the account of this person has in the directory."""
        return self.id_prefix + external_id


def is_field(name: str) -> bool:
    """Whether a column may be declared for this."""
    return name in FIELDS or name in KEYS or (name.startswith(ATTRIBUTE) and len(name) > len(ATTRIBUTE))
