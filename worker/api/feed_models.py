"""What the HTTP doors of feeds take and answer, field by field."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from worker.api.models import PROBLEM, Page, Text
from worker.intake import WORDS_LENGTH
from worker.web.problems import MEDIA_TYPE

RunState = Literal["planning", "planned", "held", "approved", "applying", "applied", "refused", "dropped"]
CaseState = Literal["open", "link", "new", "enable", "ignore"]

LOCATION = {"Location": {"description": "Where the run is found.", "schema": {"type": "string"}}}
NEXT_LINK = {"headers": {"Link": {"description": 'The next page, rel="next".', "schema": {"type": "string"}}}}
#: The answer to a form where a file is wanted.
NO_FORM: dict[int | str, dict[str, Any]] = {
    415: {"description": "It is a form, not the thing itself.", "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
}


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Annotated[Text, Field(min_length=1, max_length=WORDS_LENGTH, pattern=r"\S")] = Field(
        description="Why; kept with what is decided.", examples=["the shop in Lyon was closed"]
    )


class Decision(Reason):
    """How a case is decided."""

    decision: Literal["link", "new", "ignore", "enable"] = Field(
        description="link: it is that account; new: a new account is right; enable: the account closed by hand may be opened "
        "again; ignore: the person is left alone."
    )
    account: Annotated[Text, Field(min_length=1, max_length=255)] | None = Field(
        None, description="To link: the account's username, external id or id."
    )


# --------------------------------------------------------------------------------------------------------- runs


class RunListed(BaseModel):
    """A run: one plan, and what became of it."""

    id: str
    source: str
    origin: str = Field(description="file, messages, scan (due dates) or drift.")
    input: str | None = Field(description="The name of the file.")
    state: RunState
    plan: str | None = Field(description="The plan's hash: the same actions on the same state have the same.")
    counts: dict[str, int] = Field(description="How many of each action, and unchanged.")
    brakes: list[dict[str, Any]] = Field(description="What holds it, in words.")
    problem: str | None = Field(description="Why the whole input was refused, or the plan put aside.")
    total: int = Field(description="Number of actions.")
    carried: int = Field(description="Actions up to this number have become jobs.")
    requested_by: str | None
    approved_by: str | None
    approved_reason: str | None
    approved_until: datetime | None
    created_at: datetime
    applied_at: datetime | None = Field(description="When it was decided: from then on all of it becomes jobs.")
    finished_at: datetime | None
    reading: dict[str, Any] = Field(description="How the input was read.")


class RunShown(RunListed):
    """A run, with how far its jobs are."""

    jobs: dict[str, int] = Field(description="How many of its jobs are in each state.")


class RunPage(Page):
    """Runs of a feed, the newest first."""

    items: list[RunListed]


class ActionJob(BaseModel):
    """A job that a line of a plan becomes; without id and state while it is none yet."""

    kind: str
    payload: Any
    urgent: bool = False
    id: str | None
    state: str | None
    reason: str | None
    reason_text: str | None


class Action(BaseModel):
    """A line of a plan: one person."""

    run: str
    number: int
    external_id: str | None = Field(description="The person's id in the source; null once the account was deleted.")
    label: str | None
    username: str | None
    place: int | None = Field(description="The line of the file, or the number of the record or message.")
    action: str
    code: str | None = Field(description="Why it was refused or needs a person: a word of docs/feeds.md.")
    text: str | None
    changes: dict[str, list[Any]] = Field(description="Field by field what was before, and after.")
    groups: dict[str, Any] = Field(description="added and removed: group and rule; kept: group and until when.")
    jobs: list[ActionJob]
    result: str | None = Field(description="The worst state of its jobs; waiting while one has not ended; null before.")
    raw: str | None = Field(description="The record as it came, where it was refused.")


class ActionPage(Page):
    """Lines of a plan, in its order."""

    items: list[Action]


# -------------------------------------------------------------------------------------------------------- feeds


class RunShort(BaseModel):
    """A run in a few words."""

    id: str
    plan: str | None
    origin: str
    input: str | None
    state: RunState
    counts: dict[str, int]
    problem: str | None
    created_at: datetime


class Mishap(BaseModel):
    """When something last went wrong, and what."""

    at: datetime
    problem: str | None


class HookShown(BaseModel):
    """How the webhook of a feed stands."""

    profile: str
    waiting: int = Field(description="Deliveries that no worker took yet.")
    refused: int = Field(description="Deliveries kept that could not be read as declared.")
    last_refused: Mishap | None
    unproven: int = Field(description="Deliveries whose sender could not prove who it is; nothing of them is kept.")
    last_unproven: Mishap | None


class FeedShown(BaseModel):
    """A declared feed, and what of it waits for somebody."""

    name: str
    form: str
    mode: str
    people: int
    last_run: RunShort | None
    held: list[RunShort] = Field(description="Plans that wait for approval, the newest first.")
    open_cases: int
    messages_waiting: int
    webhook: HookShown | None


class FeedList(BaseModel):
    """All declared feeds by name."""

    items: list[FeedShown]


class MessageTaken(BaseModel):
    """What became of one message: the job that stores it, or why there is none."""

    line: int = Field(description="Its number, or its line, from 1.")
    id: str | None
    key: str | None
    state: str
    reason: str | None
    reason_text: str | None
    duplicate: bool


class MessagesTaken(BaseModel):
    """What became of the messages, in their order."""

    new: int
    duplicate: int
    refused: int
    items: list[MessageTaken]


class DeliveryTaken(BaseModel):
    """A delivery that is kept."""

    id: str
    new: bool = Field(description="Whether it is the first of its id.")


# -------------------------------------------------------------------------------------------------------- cases


class CaseShown(BaseModel):
    """A question about one person of a source."""

    id: str
    source: str
    external_id: str
    label: str | None
    code: str
    text: str
    candidates: list[dict[str, Any]] = Field(description="Accounts that it might be.")
    state: CaseState
    account: str | None
    decided_by: str | None
    reason: str | None
    created_at: datetime
    decided_at: datetime | None


class CasePage(Page):
    """Cases, the oldest first."""

    items: list[CaseShown]
