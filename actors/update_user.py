"""Change a user: single fields, attributes, names, or whether the account is active."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from pydantic import Field, field_validator

from worker import Context, Item, NameKind, Names, Payload, Reject, UserRef, bulk_job, users


class UpdateUser(Payload):
    """A patch: only the fields given are changed. `null` clears email, external_id, locale, zone, manager and dates."""

    user: UserRef = Field(description="The user to change", examples=["ann"])
    expected_version: int | None = Field(
        None, ge=1, description="Refuse the change when the user is not at this version any more", examples=[3]
    )
    username: users.Username | None = Field(None, description="A new username; the old one stays reserved for this person")
    external_id: users.ExternalId | None = Field(None, description="The id in the HR system", examples=["E-1001"])
    path: users.Path | None = Field(None, description="Where the account is filed", examples=["users/sales"])
    name: users.PersonName | None = Field(None, description="The person's full name", examples=["Ann Example"])
    email: users.Email | None = Field(None, description="The address that mails go to", examples=["ann@example.com"])
    type: users.UserType | None = Field(None, description="What kind of account it is", examples=["external"])
    is_active: bool | None = Field(None, description="false does what deactivate_user does, true what reactivate_user does")
    attributes: users.Attributes | None = Field(
        None, description="A JSON merge patch (RFC 7396) of the free attributes: null removes", examples=[{"office": None}]
    )
    locale: users.Locale | None = Field(None, description="Language of mails to this person", examples=["de"])
    zone: users.Zone | None = Field(None, description="The person's time zone", examples=["Europe/Berlin"])
    manager: UserRef | None = Field(None, description="The person's manager", examples=["bob"])
    start_date: date | None = Field(None, description="First day of work", examples=["2026-01-01"])
    end_date: date | None = Field(None, description="Last day of work", examples=["2027-12-31"])
    patience: int = Field(
        0, ge=0, le=20,
        description="How many more times to look for a manager who is not there yet: after a minute, and then so many times "
        "every 6 hours; 0: refuse",
    )  # fmt: skip

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "name": "Ann Married", "attributes": {"office": "C3", "desk": None}},
        {"user": {"external_id": "E-1001"}, "username": "ann.married", "email": None},
        {"user": "carol", "is_active": True},
    )

    @field_validator("username", "path", "name", "type", "is_active", "attributes", mode="before")
    @classmethod
    def _cannot_be_cleared(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("this cannot be cleared; leave it out to keep what is there")
        return value

    def names(self) -> Names:
        given = {NameKind.USERNAME: self.username, NameKind.EXTERNAL_ID: self.external_id}
        return Names(who=(self.user.name,), new=tuple((kind, name) for kind, name in given.items() if name))

    def gives_access(self) -> bool:
        return self.is_active is True

    def overtakes(self) -> bool:
        return False


NOT_FIELDS = frozenset({"user", "expected_version", "patience"})


@bulk_job()
def update_user(ctx: Context, items: Sequence[Item[UpdateUser]]) -> None:
    pairs = users.of_items(ctx, items)
    closing = users.refusals(ctx, [user for item, user in pairs if item.ask.is_active is False])
    wanted = []
    for item, user in pairs:
        refusal = stale(item.ask, user) or (locked(user) if item.ask.is_active else closing.get(user.id))
        if refusal is not None:
            item.reject(refusal.code, **refusal.facts)
        else:
            given = {name: getattr(item.ask, name) for name in item.ask.model_fields_set - NOT_FIELDS}
            wanted.append((item, users.Change(user, given, item.task.subject)))
    answers = users.amend(ctx, [change for _, change in wanted])
    shut = [(item, got.user) for (item, _), got in zip(wanted, answers, strict=True)
            if isinstance(got, users.Changed) and item.ask.is_active is False]  # fmt: skip
    revoked = users.cut(ctx, [user.id for _, user in shut])
    for (item, change), got in zip(wanted, answers, strict=True):
        if isinstance(got, Reject):
            if got.code == "unknown_manager" and item.ask.patience:
                look_again(ctx, item, change.user)
            else:
                item.reject(got.code, **got.facts)
            continue
        if item.ask.is_active:
            users.reopened(ctx, [(got.before, item.task.subject)], by=f"update_user {item.task.id}")
        counts = revoked.get(got.user.id)
        got.tell(item, counts)
        result = {"revoked": counts} if counts is not None else {}
        item.done(changed=got.differs, user=got.user.id, version=got.user.version,
                  fields=sorted(got.differences), **result)  # fmt: skip


def stale(ask: UpdateUser, user: users.User) -> Reject | None:
    """Refuse a change that was decided on an older state of the user."""
    if ask.expected_version in (None, user.version):
        return None
    return Reject("stale_version", user=user.label, version=user.version, expected=ask.expected_version)


def locked(user: users.User) -> Reject | None:
    """Refuse to make a locked account active."""
    return Reject("locked", user=user.label, owner=user.lock_owner) if user.locked and not user.is_active else None


def look_again(ctx: Context, item: Item[UpdateUser], user: users.User) -> None:
    """Come back later in a job of its own: one that waited here would hold up everything else about this person."""
    first = item.task.parent is None
    patience = item.ask.patience if first else item.ask.patience - 1
    fields = item.ask.open_fields() | {"user": user.ref, "patience": patience}
    fields.pop("expected_version", None)  # it was right now, and that is what counts
    item.follow("update_user", fields, at=users.next_look(ctx, first=first), why="the manager is not there yet")
    item.done(changed=False, user=user.id, deferred_manager=str(item.ask.manager))
