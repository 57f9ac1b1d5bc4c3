"""What a feed is, as `muster.toml` declares it: where its records come from, what they mean, and how far they may go."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from worker.feeds.claims import ATTRIBUTE, FIELDS, KEYS

Form = Literal["csv", "ndjson", "json", "messages", "scim"]
Mode = Literal["full", "delta", "event"]
Empty = Literal["ignore", "clear"]
Authority = Literal["always", "create"]
Transform = Literal["lower", "upper", "title", "digits", "no_spaces"]
State = Literal["prehire", "active", "leave", "terminated", "retired", "deceased", "rescinded"]
Key = Literal["external_id", "email", "username"]

# What a record means does not hang on these: how an input comes and is read, and what a plan or somebody's absence may do.
NO_MEANING = frozenset({"name", "mode", "encoding", "delimiter", "complete", "brakes", "absent", "webhook"})


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

    column: str | None = Field(None, description="The column, or in JSON the path to the value, such as `name.first`")
    columns: tuple[str, ...] = Field((), description="Several columns, joined")
    join: str = Field(" ", description="What stands between columns that are joined")
    value: str | None = Field(None, description="The same for everybody, without a column")
    split: str | None = Field(None, description="Where the text is cut; of `groups` what parts the names")
    part: int = Field(1, ge=1, description="Which part of a cut text is taken, from 1")
    transform: tuple[Transform, ...] = Field((), description="Changes of the letters, in this order")
    words: Mapping[str, str] = Field(default_factory=dict, description="Words of the source, and what each stands for")
    other_words: Literal["keep", "refuse"] = Field("keep", description="What becomes of a word that `words` does not hold")
    dates: tuple[str, ...] = Field((), description="How dates of this column are written, else as in the feed's `dates`")
    default: str | None = Field(None, description="Stands for an empty cell")
    empty: Empty | None = Field(None, description="Whether an empty cell says nothing or clears; else the feed's `empty`")
    authority: Authority = Field("always", description="`create`: it counts for newcomers and is never changed later")
    required: bool = Field(False, description="An empty cell refuses the record")


def _a_column(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


def _never(value: object) -> object:
    """Take the word for what TOML has no value for."""
    return None if value == "never" else value


Days = Annotated[int, Field(ge=1, le=3650)]
DaysOrNever = Annotated[Days | None, BeforeValidator(_never)]


class GroupRule(Part):
    """Birthright groups: whom they are for (every field named in `when` holds one of its values), and which."""

    rule: str = Field(description="The name of the rule, which plans show")
    when: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Fields, each with its values (`*`: anything); all have to fit. Without it: everybody"
    )
    groups: tuple[str, ...] = Field(description="The groups; names may hold fields: `dept-{attributes.department}`")


class Leavers(Part):
    """The ladder down: revoke and disable, then (days later) take groups and permissions, then delete, or never."""

    urgent_reasons: tuple[str, ...] = Field((), description="Reasons for which access ends now, by an urgent job")
    remove_access_days: int = Field(0, ge=0, le=3650, description="Days until groups and permissions are taken away")
    delete_days: DaysOrNever = Field(90, description="Days until the account is deleted")
    notify_managers: bool = Field(True, description="Whether the manager gets a mail")


class Absent(Part):
    """The slower ladder for whoever is missing from this many full files in a row; `files = 0`: absence means nothing."""

    files: int = Field(3, ge=0, le=100, description="Missing from so many full files in a row; 0: absence means nothing")
    remove_access_days: int = Field(30, ge=0, le=3650, description="Days until groups and permissions are taken away")
    delete_days: DaysOrNever = Field(180, description="Days until the account is deleted")


class Movers(Part):
    """Whoever moves keeps the old groups for so many days."""

    grace_days: int = Field(0, ge=0, le=365, description="Days for which groups of before are kept")
    notify_managers: bool = Field(False, description="Whether the managers get a mail")


class Complete(Part):
    """How a full file proves that it is whole.

    `trailer`: pattern of its last line, with a group `rows` for their number; `size_percent`: it may be so much smaller
    than the last one.
    """

    trailer: str | None = Field(
        None, description="Pattern of the last line, with a group `rows` for the number of records; without it the file is refused"
    )
    size_percent: float = Field(
        10, ge=0, le=100, description="A file with so much fewer records than the last one is held; not with a trailer"
    )


class Brake(Part):
    """How much of a kind is too much for one plan.

    It is held when it holds more than `percent` of the people of the source and more than `floor`; or more than `count`.
    """

    percent: float | None = Field(None, ge=0, le=100, description="So many in a hundred of the source's people")
    floor: int = Field(5, ge=0, description="So many are let through, whatever the percentage")
    count: int | None = Field(None, ge=0, description="More are never let through")


class Brakes(Part):
    """How much one plan may change before a person has to look at it; for events, how much a day may."""

    create: Brake = Field(Brake(percent=20, floor=50), description="Accounts to be made or opened again")
    disable: Brake = Field(Brake(percent=2, floor=5), description="People who lose their access, now or at a known time")
    delete: Brake = Field(Brake(percent=2, floor=5), description="Accounts that will be deleted in the end")
    groups: Brake = Field(Brake(percent=10, floor=20), description="People who lose groups")
    attributes: Brake = Field(Brake(percent=20, floor=20), description="People whose attributes change")
    mails: Brake = Field(Brake(percent=25, floor=100), description="Mails to be sent")


def _where_a_secret_is(value: str) -> str:
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+", value):
        raise ValueError(
            "takes env:NAME (an environment variable) or file:/PATH (a file that holds it): a secret does not stand in this file"
        )
    return value


Secret = Annotated[str, AfterValidator(_where_a_secret_is)]
Profile = Literal["standard", "hmac", "bearer"]
Encoding = Literal["hex", "base64", "base64url"]
MessageType = Literal["onboard", "transfer", "offboard", "person.changed", "ignore"]


class Webhook(Part):
    """How an HR system that sends by itself proves who it is, and where in what it sends the messages stand."""

    profile: Profile = Field(
        "standard", description="`standard`: Standard Webhooks; `hmac`: a signature as the keys below say; `bearer`: a shared word"
    )
    secrets: tuple[Secret, ...] = Field(
        (), description="Where the secrets are: `env:NAME` or `file:/PATH`. Any one of them will do, so that they can be changed"
    )
    key: Literal["text", "base64", "hex"] = Field("text", description="`hmac`: how the secret is written")
    algorithm: Literal["sha256", "sha512"] = Field("sha256", description="`hmac`: the hash")
    encoding: Encoding = Field("hex", description="`hmac`: how the signature is written")
    header: str | None = Field(
        None, description="`hmac`: the header of the signature; several may stand in it, parted by blanks. `bearer`: the "
        "header of the word, else `Authorization`"
    )
    prefix: str = Field("", description="`hmac`, `bearer`: what stands before it, such as `sha256=`; others are passed over")
    text: str = Field("{body}", description="`hmac`: what is signed, of `{id}`, `{timestamp}` and `{body}`")
    id_header: str | None = Field(
        None, description="`hmac`, `bearer`: the header that names the delivery; without it deliveries are told apart by their body"
    )
    timestamp_header: str | None = Field(
        None, description="`hmac`: the header that says when it was sent: Unix time or ISO 8601"
    )
    tolerance: int = Field(300, ge=1, le=86_400, description="Seconds that the time of sending may be off")
    items: str | None = Field(
        None, description="Path to the list, where one delivery holds several, such as `employees`; a body that is a list is one"
    )
    person: str | None = Field(
        None, description="Path, in each, to what is said of the person; `.`: all of it. If unset, each is a [message](#10-messages)"
    )
    type: str | None = Field(
        None, description="Path, in each or else in the body, to the word for what happened; with `person`"
    )
    types: Mapping[str, MessageType] = Field(
        default_factory=dict, description="Those words, and which message each stands for; another one is `person.changed`"
    )
    occurred_at: str | None = Field(
        None, description="Path, in each or else in the body, to when it happened; with `person`"
    )


class Feed(Part):
    """One source of people."""

    name: str
    form: Form = Field("csv", description="How the input is written")
    mode: Mode = Field(description="Whether a file holds everybody, only what changed, or messages come one by one")
    encoding: str | None = Field(None, description="Beats what is recognised: `utf-8`, `utf-16`, `cp1252` …")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="What parts the columns; beats what is recognised")
    dates: tuple[str, ...] = Field(("%Y-%m-%d",), description="How dates are written, in the signs of `strptime`")
    empty: Empty | None = Field(
        None, description="What an empty cell means. If unset, dates and `reason` are cleared, and of all else nothing is said"
    )
    clear_word: str = Field("<clear>", description="A cell with this text always clears")
    id_prefix: str = Field("", description="Stands before the id in the account's external id; parts the ids of two sources")
    zone: str | None = Field(None, description="Time zone of people who have none of their own, else `MUSTER_ZONE`")
    usernames: tuple[str, ...] = Field(
        ("{first}.{last}", "{first}.{last}{n}"),
        description="Templates, the best first. `{first:.1}` is the first letter, `{n}` a number from 2",
    )
    username_length: int = Field(40, ge=3, le=150, description="The longest username")
    reserved: tuple[str, ...] = Field((), description="Names that nobody gets, besides those that Muster knows")
    email: str | None = Field(None, description="Template of a newcomer's address where the source gives none")
    path: str | None = Field(None, description="Where accounts are filed; may hold fields: `staff/{attributes.country}`")
    correlate: tuple[Key, ...] = Field(
        ("external_id",), description="By what a newcomer's account is looked for among those that are there, in this order"
    )
    prehire_days: int = Field(7, ge=0, le=365, description="Days before the first day on which the account is made, closed")
    creates: bool = Field(
        True, description="Whether whoever nobody knows here gets an account; if not, the source only adds to people of others"
    )
    welcome_mail: bool = Field(True, description="Whether newcomers get a mail")
    # A feed of messages may do without: then they use the names of the fields.
    columns: Mapping[str, Annotated[Take, BeforeValidator(_a_column)]] = Field(
        default_factory=dict, description="Field by field, the column it comes from"
    )
    status: Mapping[str, State] = Field(
        default_factory=dict, description="The source's words for the status, and which state each of them is"
    )
    groups: tuple[GroupRule, ...] = ()
    leavers: Leavers = Leavers()
    absent: Absent = Absent()
    movers: Movers = Movers()
    complete: Complete = Complete()
    brakes: Brakes = Brakes()
    webhook: Webhook | None = None
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
