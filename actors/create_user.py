"""Create a user, or take over the one of that name."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Item, NameKind, Names, Payload, Reject, Retry, UserRef, bulk_job, users


class CreateUser(Payload):
    """A new account. What is not given takes its default; `if_exists` says what becomes of one that is there."""

    username: users.Username = Field(description="Unique in any spelling, never given twice", examples=["ann"])
    external_id: users.ExternalId | None = Field(None, description="The id in the HR system, unique", examples=["E-1001"])
    path: users.Path = Field("users", description="Where the account is filed", examples=["users/sales"])
    name: users.PersonName = Field("", description="The person's full name", examples=["Ann Example"])
    email: users.Email | None = Field(None, description="The address that mails go to", examples=["ann@example.com"])
    type: users.UserType = Field("internal", description="What kind of account it is", examples=["external"])
    is_active: bool = Field(True, description="Whether the account can be used")
    attributes: users.Attributes = Field(
        default_factory=dict, description="Free attributes: an object, or JSON or YAML text", examples=[{"office": "B2"}]
    )
    locale: users.Locale | None = Field(None, description="Language of mails to this person", examples=["de"])
    zone: users.Zone | None = Field(None, description="The person's time zone", examples=["Europe/Berlin"])
    groups: tuple[str, ...] = Field((), max_length=200, description="Groups to be in; all must exist", examples=[["staff"]])
    manager: UserRef | None = Field(None, description="The person's manager, who must exist", examples=["bob"])
    start_date: date | None = Field(None, description="First day of work", examples=["2026-01-01"])
    end_date: date | None = Field(None, description="Last day of work", examples=["2027-12-31"])
    hired_on: date | None = Field(None, description="Day of hire; lets somebody deleted earlier come back as new")
    if_exists: users.IfExists = Field(
        "reject",
        description="When there is such an account: reject; adopt it as it is (and note a missing external id); "
        "or update it with the fields given",
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"username": "dora", "name": "Dora Example", "email": "dora@example.com", "groups": ["staff"], "manager": "bob"},
        {"username": "ann", "external_id": "E-1001", "if_exists": "update", "attributes": {"office": "B2"}},
        {"username": "emil", "type": "external", "is_active": False, "path": "users/partners", "attributes": "floor: 3"},
    )

    def names(self) -> Names:
        external = ((NameKind.EXTERNAL_ID, self.external_id),) if self.external_id else ()
        return Names(who=(*external, (NameKind.USERNAME, self.username)), adopts=self.if_exists != "reject")

    def gives_access(self) -> bool:
        return True


GIVEN = ("path", "name", "email", "type", "attributes", "locale", "zone", "start_date", "end_date")


def wish(item: Item[CreateUser]) -> users.Wish:
    """What this job asks for; of an account that exists only the fields that were really given are changed."""
    ask = item.ask
    given = {name: getattr(ask, name) for name in GIVEN if name in ask.model_fields_set}

    def active(there: users.User | None) -> bool | None:
        return ask.is_active if there is None or "is_active" in ask.model_fields_set else None

    return users.Wish(
        username=ask.username, external_id=ask.external_id, given=given, active=active, subject=item.task.subject,
        manager=ask.manager, hired_on=ask.hired_on or ask.start_date, groups=ask.groups, if_exists=ask.if_exists,
    )  # fmt: skip


@bulk_job()
def create_user(ctx: Context, items: Sequence[Item[CreateUser]]) -> None:
    for item, got in zip(items, users.enrol(ctx, [wish(item) for item in items]), strict=True):
        if isinstance(got, Reject):
            item.reject(got.code, **got.facts)
        elif isinstance(got, Retry):
            item.retry(got.why)
        elif isinstance(got, users.Enrolled):
            got.tell(item)
            if got.reopened and got.before:
                users.reopened(ctx, [(got.before, item.task.subject)], by=f"create_user {item.task.id}")
            item.done(**got.result)
