"""Welcome a new user by mail, with a link to choose a password."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import Field

from worker import Context, Letter, Mail, Payload, Receipt, UserRef, edge_job, recoveries, users

# Nobody waits for it by the minute, but on Monday it should be there: three days of tries, an hour or so apart.
ATTEMPTS, BASE, CAP, LIFE = 60, timedelta(seconds=30), timedelta(hours=3), timedelta(hours=72)
# The first day of work may be after the week-end.
SHORTEST, VALID, LONGEST = timedelta(hours=1), timedelta(hours=72), timedelta(days=14)


class SendWelcomeEmail(Payload):
    user: UserRef = Field(description="To whom", examples=["ann"])
    valid_for: timedelta = Field(
        VALID, ge=SHORTEST, le=LONGEST, description="How long the link works, from the moment the mail leaves"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann"}, {"user": "ann", "valid_for": "P7D"})

    def gives_access(self) -> bool:
        return True


class WelcomeMail(Mail):
    name: str
    username: str
    link: str
    expires_at: datetime
    valid_for_minutes: int
    organisation_unit: str | None = None
    start_date: date | None = None

    @classmethod
    def sample(cls) -> Self:
        at = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
        return cls(
            name="Ann Archer", username="ann", link="https://id.example.com/recover/sample", expires_at=at,
            valid_for_minutes=4320, organisation_unit="Research", start_date=date(2026, 3, 9),
        )  # fmt: skip


@edge_job(attempts=ATTEMPTS, base=BASE, cap=CAP, life=LIFE)
def send_welcome_email(ctx: Context, ask: SendWelcomeEmail) -> Letter:
    """Look at the person again before every try; the link is made here and rests nowhere."""
    user = recoveries.needing_access(ctx, ask.user)
    found = recoveries.admit(
        ctx,
        user,
        purpose="welcome",
        valid_for=ask.valid_for,
        requested_by=ctx.task.requested_by,
        job=ctx.task.id,
        frozen=ctx.task.frozen,
    )
    ctx.freeze(recovery=found.id)
    unit = user.attributes.get("organisation_unit")
    mail = WelcomeMail(
        name=user.name or user.username,
        username=user.username,
        link=recoveries.address(ctx, found),
        expires_at=found.expires_at,
        valid_for_minutes=round(ask.valid_for.total_seconds() / 60),
        organisation_unit=unit if isinstance(unit, str) and unit else None,
        start_date=user.start_date,
    )
    return Letter("send_welcome_email", user.email or "", user.name, mail, **recoveries.language(ctx, user))


@send_welcome_email.accepted
def settled(ctx: Context, ask: SendWelcomeEmail, receipt: Receipt) -> None:
    """Only now, with the newer mail on its way, do the older links die."""
    user = users.get(ctx, ask.user)
    recovery = ctx.task.frozen["recovery"]
    superseded = recoveries.supersede_older(ctx, user.id, recovery)
    ctx.event(users.Action.WELCOME_SENT, user.id, user.username, recovery=recovery, superseded=superseded)
