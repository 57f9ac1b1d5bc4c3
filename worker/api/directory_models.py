"""What the HTTP API answers about people, groups and what happened to them, field by field."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field

from worker.api.models import Page
from worker.states import State


class Person(BaseModel):
    """A user."""

    id: str
    username: str
    name: str
    email: str | None
    external_id: str | None
    path: str
    type: str
    is_active: bool
    locked: bool
    legal_hold: bool
    delete_at: datetime | None
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime


class PersonPage(Page):
    """Users by username."""

    items: list[Person]


class Mark(BaseModel):
    """Who put a lock or a hold on, and why."""

    owner: str | None
    reason: str | None


class GroupOfPerson(BaseModel):
    """A group that a user belongs to."""

    group: str
    via: str = Field(description="The group that the user is directly in.")
    origin: str


class PermissionOfPerson(BaseModel):
    """A permission that a user has."""

    permission: str
    object: str | None
    via: str | None


class Credential(BaseModel):
    """Something that a user gets in with: what it is, never what opens the door."""

    id: str
    created_at: datetime
    expires_at: datetime | None
    usable: bool


class Session(Credential):
    """A session."""

    ip: str | None
    user_agent: str | None
    last_used_at: datetime | None


class SessionList(BaseModel):
    """All sessions of a user."""

    items: list[Session]


class RefreshToken(Credential):
    """A refresh token."""

    application: str
    session_id: str | None


class Consent(Credential):
    """A consent given to an application."""

    application: str
    scopes: list[str]


class MfaDevice(Credential):
    """A second factor."""

    type: str
    name: str
    confirmed_at: datetime | None
    last_used_at: datetime | None


class OpenJob(BaseModel):
    """A job about a user that has not ended."""

    id: str
    kind: str
    state: State
    run_at: datetime


class PersonEvent(BaseModel):
    """What happened to a user."""

    at: datetime
    action: str
    actor: str | None
    on_behalf_of: str | None
    why: str | None
    job: str | None
    data: Any


class PersonShown(Person):
    """A user in full, with the latest events."""

    attributes: dict[str, Any]
    manager: str | None
    locale: str | None
    zone: str | None
    start_date: date | None
    end_date: date | None
    has_password: bool
    lock: Mark | None
    hold: Mark | None
    version: int
    epoch: int
    groups: list[GroupOfPerson]
    permissions: list[PermissionOfPerson]
    sessions: list[Session]
    refresh_tokens: list[RefreshToken]
    consents: list[Consent]
    mfa_devices: list[MfaDevice]
    open_jobs: list[OpenJob]
    events: list[PersonEvent]


class GroupListed(BaseModel):
    """A group."""

    id: str
    name: str
    members: int = Field(description="How many are directly in it.")
    parents: list[str]
    created_at: datetime


class GroupPage(Page):
    """Groups by name."""

    items: list[GroupListed]


class PermissionOfGroup(BaseModel):
    """A permission that the members of a group have."""

    permission: str
    object: str | None


class GroupShown(BaseModel):
    """A group in full but for its members."""

    id: str
    name: str
    attributes: dict[str, Any]
    parents: list[str]
    children: list[str]
    permissions: list[PermissionOfGroup]
    member_count: int = Field(description="Members, those of the groups below included.")
    direct_member_count: int


class Member(BaseModel):
    """A member of a group."""

    id: str
    username: str
    name: str
    is_active: bool
    locked: bool
    origin: str | None = Field(description="Who put them in: rule, feed or manual; null: they are in a group below.")


class MemberPage(Page):
    """Members of a group by username, those of the groups below included."""

    items: list[Member]


class Event(PersonEvent):
    """One entry of the audit trail."""

    id: str
    target: str | None
    target_name: str | None


class EventPage(Page):
    """The audit trail, the newest first."""

    items: list[Event]
