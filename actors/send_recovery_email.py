"""Send a user a link to set a new password."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import Field

from worker import Context, Letter, Mail, Payload, Receipt, UserRef, edge_job, recoveries, users

# Somebody sits and waits for it: dense tries at first, then every half hour or so, for the day the request is good for.
ATTEMPTS, BASE, CAP, LIFE = 40, timedelta(seconds=15), timedelta(hours=1), timedelta(hours=24)


class SendRecoveryEmail(Payload):
    user: UserRef = Field(description="To whom", examples=["ann"])
    valid_for: timedelta = Field(
        timedelta(hours=1),
        ge=recoveries.SHORTEST,
        le=recoveries.LONGEST,
        description="How long the link works, from the moment the mail leaves",
    )
    requested_by: str | None = Field(
        None, min_length=1, max_length=255, description="Who asked for it, as the mail says; else who submitted the job"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann"},
        {"user": {"external_id": "E-1001"}, "valid_for": "PT30M", "requested_by": "the help desk"},
    )

    def gives_access(self) -> bool:
        return True


class RecoveryMail(Mail):
    name: str
    username: str
    link: str
    expires_at: datetime
    valid_for_minutes: int
    requested_by: str
    requested_at: datetime

    @classmethod
    def sample(cls) -> Self:
        at = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
        return cls(
            name="Ann Archer", username="ann", link="https://id.example.com/recover/sample", expires_at=at,
            valid_for_minutes=60, requested_by="Ann Archer", requested_at=at,
        )  # fmt: skip


@edge_job(attempts=ATTEMPTS, base=BASE, cap=CAP, life=LIFE)
def send_recovery_email(ctx: Context, ask: SendRecoveryEmail) -> Letter:
    """Look at the person again before every try; the link is made here and rests nowhere."""
    user = recoveries.needing_access(ctx, ask.user)
    by = ask.requested_by or ctx.task.requested_by or ctx.settings.support_contact
    found = recoveries.admit(
        ctx, user, purpose="recovery", valid_for=ask.valid_for, requested_by=by, job=ctx.task.id, frozen=ctx.task.frozen
    )
    ctx.freeze(recovery=found.id)
    mail = RecoveryMail(
        name=user.name or user.username,
        username=user.username,
        link=recoveries.address(ctx, found),
        expires_at=found.expires_at,
        valid_for_minutes=round(ask.valid_for.total_seconds() / 60),
        requested_by=by,
        requested_at=ctx.task.created_at,
    )
    return Letter("send_recovery_email", user.email or "", user.name, mail, **recoveries.language(ctx, user))


@send_recovery_email.accepted
def settled(ctx: Context, ask: SendRecoveryEmail, receipt: Receipt) -> None:
    """Only now, with the newer mail on its way, do the older links die."""
    user = users.get(ctx, ask.user)
    recovery = ctx.task.frozen["recovery"]
    superseded = recoveries.supersede_older(ctx, user.id, recovery)
    ctx.event(users.Action.RECOVERY_SENT, user.id, user.username, recovery=recovery, superseded=superseded)
