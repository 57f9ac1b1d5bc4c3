"""What the HTTP API takes and answers, field by field; its OpenAPI description is made from this."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WithJsonSchema

from worker.api_tokens import Caller
from worker.intake import FURTHEST, KEY_LENGTH, NAME_LENGTH, WORDS_LENGTH, Request
from worker.ledger import HIGHEST_STEP
from worker.messages import moment
from worker.redact import storable
from worker.states import State
from worker.web.problems import MEDIA_TYPE

# The column holds two bytes; no payload has seen ten versions.
HIGHEST_VERSION = 32_767


def _moment(value: Any) -> datetime:
    """Read a time as RFC 3339 writes it; whole numbers and times without a zone are refused."""
    try:
        return (value if isinstance(value, datetime) else moment(str(value).upper())).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a time with a zone is needed, as in 2026-01-31T17:00:00+01:00") from None


def _soon(value: datetime) -> datetime:
    if value > datetime.now(UTC) + FURTHEST:
        raise ValueError("at most a hundred years ahead")
    return value


def _storable(text: str) -> str:
    if storable(text) != text:
        raise ValueError("NUL characters and half surrogate pairs cannot be stored")
    return text


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Text = Annotated[str, AfterValidator(_storable)]
KindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["add_to_group"])]

# -------------------------------------------------------------------------------------------------- problems

# Written out, not a model: it stands under its own media type at every answer, and refers to nothing.
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong and what to do next (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:muster:problem:key_reused"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "A word for programs; those of jobs stand in docs/reasons.md."},
        "detail": {"type": "string", "description": "A sentence for people."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "problem"],
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    },
}
_MEANING = {
    400: "It cannot be read, or a key is missing.",
    401: "No valid token.",
    403: "The token lacks a scope.",
    404: "There is no such thing, or the token may not see it.",
    408: "The body came too slowly.",
    409: "It does not stand so that this could be done.",
    413: "The body is too large.",
    422: "It can be read and is not acceptable.",
    429: "Too many requests: wait as long as Retry-After says.",
    503: "The database is away or too busy; nothing was changed. Send it again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route with a token can answer besides success: these statuses and those of every route."""
    return {
        status: {"description": _MEANING[status], "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
        for status in sorted({*statuses, 401, 403, 422, 429, 503})
    }


# ---------------------------------------------------------------------------------------------- jobs handed in


class NewJob(BaseModel):
    """A job to be done."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True,
        json_schema_extra={"examples": [{"kind": "add_to_group", "payload": {"user": "ann", "group": "staff"}}]},
    )  # fmt: skip

    kind: KindName
    payload: dict[str, Any] = Field(description="What the kind asks for: GET /v1/jobs/kinds/{kind}.")
    run_at: Annotated[Moment, AfterValidator(_soon)] | None = Field(None, description="Not before this time; at most a hundred years ahead.")
    urgent: StrictBool = Field(False, description="Before everything that is not urgent.")
    priority: Annotated[int, Field(strict=True, ge=0, le=HIGHEST_STEP)] | None = Field(
        None, description="0 first to 9 last; without it as the kind says."
    )
    version: Annotated[int, Field(strict=True, ge=1, le=HIGHEST_VERSION)] | None = Field(
        None, description="The version of the payload, when an older one is meant."
    )
    on_behalf_of: Annotated[Text, Field(max_length=NAME_LENGTH)] | None = Field(
        None, description="The person for whom the sender asks, for the audit trail."
    )
    why: Annotated[Text, Field(max_length=WORDS_LENGTH)] | None = Field(None, description="The reason, for the audit trail.")
    hold: Annotated[Text, Field(max_length=WORDS_LENGTH)] | None = Field(
        None, description="Take it in without letting it run until a person releases it; says what that waits for."
    )

    def asked_by(self, caller: Caller, key: str) -> Request:
        """The job as the intake takes it: whose it is says the token, never the sender."""
        return Request(
            self.kind, self.payload, caller.source, key, run_at=self.run_at, urgent=self.urgent, priority=self.priority,
            version=self.version, hold=self.hold, requested_by=caller.source, on_behalf_of=self.on_behalf_of, why=self.why,
        )  # fmt: skip


class BatchLine(NewJob):
    """One line of a batch."""

    key: Annotated[str, Field(min_length=1, max_length=KEY_LENGTH, pattern=r"^[ -~]+$")] = Field(
        description="What POST /v1/jobs takes as Idempotency-Key."
    )


class Accepted(BaseModel):
    """What became of a job that was handed in: how it stands now."""

    id: str
    kind: str
    key: str
    state: State
    result: Any = Field(None, description="What the job gave back, once it succeeded.")
    reason: str | None = Field(None, description="Why it ended otherwise or stands still: a word of docs/reasons.md.")
    reason_text: str | None = None
    duplicate: bool = Field(description="Whether this key had been handed in before: this is the job of that time.")


# -------------------------------------------------------------------------------------------------- jobs shown


class Page(BaseModel):
    """One page of a listing."""

    next: str | None = Field(description="The cursor of the next page; null at the end. Also in the header Link.")


class Job(BaseModel):
    """A job as it stands."""

    id: str
    kind: str
    state: State
    about: str = Field(description="Whom or what it is about, in a word.")
    source: str
    key: str
    urgent: bool
    run_at: datetime
    attempts: int
    reason: str | None
    reason_text: str | None
    result: Any
    requested_by: str | None
    parent: str | None
    created_at: datetime
    finished_at: datetime | None


class JobPage(Page):
    """Jobs, the newest first."""

    items: list[Job]


class Try(BaseModel):
    """One try that did not succeed."""

    number: int
    at: datetime
    outcome: str
    code: str
    text: str
    trace: str | None = Field(description="Where it happened; only with jobs:read.")


class JobEvent(BaseModel):
    """What a job did, as the audit trail tells it."""

    at: datetime
    action: str
    target: str | None
    target_name: str | None
    data: Any


class FollowUp(BaseModel):
    """A job that followed from another."""

    id: str
    kind: str
    state: State
    run_at: datetime
    reason: str | None


class JobShown(Job):
    """A job in full. What was sealed is never shown."""

    payload: Any = Field(description="Null or empty once it was removed (`pruned`).")
    version: int
    priority: int
    max_attempts: int
    crashes: int
    deadline: datetime | None
    on_behalf_of: str | None
    why: str | None
    subject: str | None
    pruned: bool
    tries: list[Try]
    events: list[JobEvent] | None = Field(description="Null without users:read.")
    follow_ups: list[FollowUp]


class KindListed(BaseModel):
    """A kind of job."""

    kind: str
    summary: str
    queue: str
    shape: str


class KindList(BaseModel):
    """All kinds of jobs."""

    items: list[KindListed]


class KindShown(KindListed):
    """A kind of job, and what its payload has to be."""

    attempts: int
    version: int
    payload: dict[str, Any] = Field(description="The JSON Schema of the payload.")
    examples: list[Any]


class Refusal(BaseModel):
    """A message that was refused and whose sender could not be told."""

    id: str
    at: datetime
    source: str
    key: str | None
    kind: str | None
    reason: str
    text: str
    evidence: Any


class RefusalPage(Page):
    """Refused messages, the newest first."""

    items: list[Refusal]


def picked(page: Mapping[str, Any], *left_out: str) -> dict[str, Any]:
    """Return a page without these fields."""
    return {name: value for name, value in page.items() if name not in left_out}
