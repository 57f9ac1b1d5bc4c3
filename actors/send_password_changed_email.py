"""Tell a user by mail that their password was changed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import AwareDatetime, Field

from worker import Context, Letter, Mail, Payload, Receipt, UserRef, edge_job, recoveries, users

# A warning is worth having days later, and one that got lost is what an intruder hopes for.
ATTEMPTS, BASE, CAP, LIFE = 60, timedelta(seconds=15), timedelta(hours=3), timedelta(hours=72)


class SendPasswordChangedEmail(Payload):
    user: UserRef = Field(description="To whom", examples=["ann"])
    changed_at: AwareDatetime = Field(description="When it was changed", examples=["2026-03-02T09:00:00+00:00"])
    changed_by: str = Field(
        min_length=1, max_length=255, description="Who changed it, as the mail says", examples=["the help desk"]
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "changed_at": "2026-03-02T09:00:00+00:00", "changed_by": "the help desk"},
    )


class PasswordChangedMail(Mail):
    name: str
    username: str
    changed_at: datetime
    changed_by: str

    @classmethod
    def sample(cls) -> Self:
        at = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
        return cls(name="Ann Archer", username="ann", changed_at=at, changed_by="the help desk")


@edge_job(attempts=ATTEMPTS, base=BASE, cap=CAP, life=LIFE)
def send_password_changed_email(ctx: Context, ask: SendPasswordChangedEmail) -> Letter:
    """Tell them whatever the state of the account: it holds no link, and a locked-out owner wants to know most."""
    user = users.get(ctx, ask.user, lock=False)
    email = recoveries.reachable(ctx, user)
    mail = PasswordChangedMail(
        name=user.name or user.username,
        username=user.username,
        changed_at=ask.changed_at,
        changed_by=ask.changed_by,
    )
    return Letter("send_password_changed_email", email, user.name, mail, **recoveries.language(ctx, user))


@send_password_changed_email.accepted
def settled(ctx: Context, ask: SendPasswordChangedEmail, receipt: Receipt) -> None:
    user = users.get(ctx, ask.user, lock=False)
    ctx.event(users.Action.PASSWORD_NOTICE_SENT, user.id, user.username)
