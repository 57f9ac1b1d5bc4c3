"""Onboard a person: an account, groups, and a welcome mail with a link to set the password."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import Field

from worker import Context, Item, NameKind, Names, Payload, Reject, Retry, UserRef, bulk_job, fold, groups, users


class OnboardUser(Payload):
    """A person who joins, or comes back. Whoever has this external id, or this username, is taken to be that person.

    Of somebody who is there, planned offboardings are called off, except one on or after an `end_date` given here.
    """

    username: users.Username = Field(description="Unique in any spelling, never given twice", examples=["dora"])
    external_id: users.ExternalId | None = Field(None, description="The id in the HR system", examples=["E-1002"])
    name: users.PersonName = Field("", description="The person's full name", examples=["Dora Example"])
    email: users.Email | None = Field(None, description="The address that mails go to", examples=["dora@example.com"])
    path: users.Path = Field("users", description="Where the account is filed", examples=["users/sales"])
    type: users.UserType = Field("internal", description="What kind of account it is", examples=["internal"])
    attributes: users.Attributes = Field(
        default_factory=dict, description="Free attributes: an object, or JSON or YAML text", examples=[{"office": "B2"}]
    )
    locale: users.Locale | None = Field(None, description="Language of mails to this person", examples=["de"])
    zone: users.Zone | None = Field(None, description="The person's time zone", examples=["Europe/Berlin"])
    groups: tuple[str, ...] = Field(
        (), max_length=200, description="Groups to be in; those not there yet are reported and tried again for days"
    )
    origin: users.Origin = Field("feed", description="Who wants the groups: feed, rule or manual")
    only_these_groups: bool = Field(
        False, description="Whether memberships that rules and feeds gave, and that are not among `groups`, end"
    )
    manager: UserRef | None = Field(
        None, description="The person's manager; one who is not there yet is reported and looked for again for days"
    )
    start_date: date | None = Field(None, lt=date(2101, 1, 1), description="First day of work; the account is inactive before it")
    first_day_unknown: bool = Field(
        False, description="Whether somebody new stays inactive until another onboard_user names or begins the first day"
    )
    end_date: date | None = Field(None, description="Last day of work; once it is over the account ends up inactive")
    hired_on: date | None = Field(None, description="Day of hire; lets somebody deleted earlier come back as new")
    takes_over: bool = Field(
        True, description="Whether an account that has this external id or this username is taken to be this person's; "
        "if not, the job is refused when there is one"
    )
    opens: bool = Field(True, description="Whether an account that is there and closed is opened; all else is done in any case")
    welcome_mail: bool = Field(True, description="Whether somebody new, or back again, gets the welcome mail")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"username": "dora", "external_id": "E-1002", "name": "Dora Example", "email": "dora@example.com",
         "groups": ["staff", "sales"], "manager": "bob", "zone": "Europe/Berlin"},
        {"username": "ann", "external_id": "E-1001", "attributes": {"office": "B2"}},
        {"username": "emil", "start_date": "2020-01-01", "end_date": "2020-12-31"},
        {"username": "ann", "external_id": "E-1001", "groups": ["staff"], "origin": "rule", "only_these_groups": True},
    )  # fmt: skip

    def names(self) -> Names:
        external = ((NameKind.EXTERNAL_ID, self.external_id),) if self.external_id else ()
        return Names(who=(*external, (NameKind.USERNAME, self.username)), adopts=self.takes_over)

    def gives_access(self) -> bool:
        return True


# Memberships that a person decided on stay, whatever a feed says.
NOT_BY_HAND = ("feed", "rule")
GIVEN = ("path", "name", "email", "type", "attributes", "locale", "zone", "start_date", "end_date")


def dates(ctx: Context, ask: OnboardUser, there: users.User | None) -> tuple[date | None, date | None, ZoneInfo]:
    """The first and last day of work and the zone that they are meant in: as given, else as known."""
    start, end = (getattr(ask, name) if name in ask.model_fields_set else getattr(there, name, None)
                  for name in ("start_date", "end_date"))  # fmt: skip
    zone = ask.zone or (there.zone if there else None)
    return start, end, ZoneInfo(zone) if zone else ctx.settings.default_zone


def wish(ctx: Context, item: Item[OnboardUser]) -> users.Wish:
    """What this job asks for."""
    ask = item.ask

    def active(there: users.User | None) -> bool | None:
        start, end, zone = dates(ctx, ask, there)
        today = users.today(ctx, zone)
        if end is not None and end < today:
            return False
        if there is not None and not ask.opens:
            return None
        if (ask.first_day_unknown and ask.start_date is None) or (start is not None and start > today):
            return False if there is None else None
        return True

    return users.Wish(
        username=ask.username, external_id=ask.external_id,
        given={name: getattr(ask, name) for name in GIVEN if name in ask.model_fields_set}, active=active,
        subject=item.task.subject, manager=ask.manager, hired_on=ask.hired_on or ask.start_date, groups=ask.groups,
        origin=ask.origin, if_exists="update", patient=True, takes_over=ask.takes_over,
    )  # fmt: skip


@bulk_job()
def onboard_user(ctx: Context, items: Sequence[Item[OnboardUser]]) -> None:
    answers = users.enrol(ctx, [wish(ctx, item) for item in items])
    made = [(item, got) for item, got in zip(items, answers, strict=True) if isinstance(got, users.Enrolled)]
    left, still_in = leave_others(ctx, made)
    early = []
    for item, got in zip(items, answers, strict=True):
        if isinstance(got, Reject):
            item.reject(got.code, **got.facts)
        elif isinstance(got, Retry):
            item.retry(got.why)
        elif isinstance(got, users.Enrolled):
            begins = first_day(ctx, item, got.user)
            if begins:
                early.append(item)
            if begins and got.user.delete_at is not None:
                # Deleted before the first day, there would be nobody to open the account of.
                users.come_back(ctx, item.task.subject, by=f"onboard_user {item.task.id}")
                got.user = users.reopen(ctx, got.user, active=False).user
            got.tell(item)
            said = gone(item, got, left.get(got.user.id, []), still_in.get(got.user.id, []))
            item.event(users.Action.USER_ONBOARDED, got.user.id, got.user.label, created=got.created)
            item.done(**{**got.result, **said}, **begins, **come_next(ctx, item, got))
    by = "a newer onboard_user"
    back = [(got.before, item.task.subject) for item, got in made if got.reopened and got.before]
    users.reopened(ctx, back, by=by)
    users.call_off(ctx, {item.task.subject: stays_until(ctx, item.ask, got) for item, got in made
                         if item.task.subject and stays(ctx, item.ask, got)}, by=by)  # fmt: skip
    users.replan(ctx, [item.task.subject for item in early], "onboard_user", by=by)


def stays(ctx: Context, ask: OnboardUser, got: users.Enrolled) -> bool:
    """Whether this is somebody who was there and whose last day is not over."""
    _, end, zone = dates(ctx, ask, got.before)
    return got.before is not None and (end is None or end >= users.today(ctx, zone))


def stays_until(ctx: Context, ask: OnboardUser, got: users.Enrolled) -> datetime:
    """The instant before which no leaving may be planned any more: the last day, where this job names one."""
    _, _, zone = dates(ctx, ask, got.before)
    return users.FOR_GOOD if ask.end_date is None else users.day_begins(ask.end_date, zone)


ByUser = dict[str, list[str]]


def leave_others(ctx: Context, made: Sequence[tuple[Item[OnboardUser], users.Enrolled]]) -> tuple[ByUser, ByUser]:
    """End the memberships that are not wanted any more; names of groups, by user: those left, and those stuck in.

    Whoever would leave nobody as an administrator stays in that group.
    """
    wanted = {got.user.id: {fold(name) for name in item.ask.groups} for item, got in made
              if item.ask.only_these_groups and not got.created}  # fmt: skip
    names = {
        (user_id, group.id): group.name
        for user_id, belongings in groups.memberships(ctx, sorted(wanted)).items()
        for group, origin in belongings
        if origin in NOT_BY_HAND and fold(group.name) not in wanted[user_id]
    }
    stuck = groups.last_administrator_pairs(ctx, sorted(names)) if names else set()
    removed = groups.remove(ctx, sorted(names.keys() - stuck), origins=NOT_BY_HAND)
    return by_user(removed, names), by_user(stuck, names)


def by_user(pairs: Iterable[tuple[str, str]], names: Mapping[tuple[str, str], str]) -> ByUser:
    """Sort (user, group) pairs by user, as names of groups."""
    found: ByUser = {}
    for pair in sorted(pairs, key=lambda pair: names[pair]):
        found.setdefault(pair[0], []).append(names[pair])
    return found


def gone(item: Item[OnboardUser], got: users.Enrolled, left: Sequence[str], still_in: Sequence[str]) -> dict[str, Any]:
    """Take down which groups somebody is no longer in, and report it."""
    for name in left:
        item.event(users.Action.MEMBERSHIP_REMOVED, got.user.id, got.user.label, group=name)
    said: dict[str, Any] = {"changed": True, "groups_removed": list(left)} if left else {}
    return said | ({"last_administrator_of": list(still_in)} if still_in else {})


def come_next(ctx: Context, item: Item[OnboardUser], got: users.Enrolled) -> dict[str, Any]:
    """Ask for what is still to be done, and report it."""
    said: dict[str, Any] = {}
    ref = got.user.ref
    soon = users.next_look(ctx, first=True)
    if got.unknown_groups:
        names = list(got.unknown_groups)
        wanted = {"user": ref, "groups_add": names, "origin": item.ask.origin, "patience": users.LOOKS}
        item.follow("transfer_user", wanted, at=soon, why="groups that are not there yet")
        said["deferred_groups"] = names
    if got.unknown_manager is not None:
        manager = got.unknown_manager.model_dump(mode="json", exclude_unset=True)
        wanted = {"user": ref, "manager": manager, "patience": users.LOOKS}
        item.follow("update_user", wanted, at=soon, why="a manager who is not there yet")
        said["deferred_manager"] = str(got.unknown_manager)
    if got.user.locked:
        said["locked"] = True
    arrives = got.user.usable and (got.created or got.reopened)
    if item.ask.welcome_mail and arrives and got.user.email:
        item.follow("send_welcome_email", {"user": ref})
    if arrives or not got.created:
        said["welcome_mail"] = item.ask.welcome_mail and arrives and got.user.email is not None
    return said


def first_day(ctx: Context, item: Item[OnboardUser], user: users.User) -> dict[str, Any]:
    """For somebody whose first day is to come: open the account when it begins."""
    start, end, zone = dates(ctx, item.ask, user)
    if not item.ask.opens or user.is_active or start is None or start <= users.today(ctx, zone) or (end is not None and end < start):
        return {}
    at = users.day_begins(start, zone)
    names = {"username": user.username} | ({"external_id": user.external_id} if user.external_id else {})
    item.follow("onboard_user", {**names, "welcome_mail": item.ask.welcome_mail}, at=at, why="the first day of work")
    return {"begins_at": at.isoformat()}
