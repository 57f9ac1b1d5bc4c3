"""Invite somebody by mail to open an account."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from pydantic import Field

from worker import Context, Letter, Mail, Payload, Receipt, edge_job, groups, invitations, users

# Nobody waits by the minute; a week is as long as an invitation is fresh.
ATTEMPTS, BASE, CAP, LIFE = 60, timedelta(seconds=30), timedelta(hours=6), timedelta(days=7)


class SendInvitation(Payload):
    email: users.Email = Field(description="To whom", examples=["dora@example.com"])
    name: users.PersonName | None = Field(None, description="The person's name", examples=["Dora Diaz"])
    groups: tuple[str, ...] = Field(
        (), max_length=100, description="Groups the new account will be in", examples=[["staff"]]
    )
    path: users.Path = Field("users", description="Where the new account will be", examples=["users/guests"])
    valid_for: timedelta = Field(
        timedelta(days=7),
        ge=invitations.SHORTEST,
        le=invitations.LONGEST,
        description="How long the invitation can be accepted, from the moment the mail leaves",
    )
    invited_by: str | None = Field(
        None, min_length=1, max_length=255, description="Who invites, as the mail says; else who submitted the job"
    )
    message: str | None = Field(None, min_length=1, max_length=2000, description="A few words of theirs")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"email": "dora@example.com"},
        {"email": "dora@example.com", "name": "Dora Diaz", "groups": ["staff"], "invited_by": "Bob Baker"},
    )


class InvitationMail(Mail):
    name: str | None
    link: str
    expires_at: datetime
    valid_for_minutes: int
    invited_by: str
    message: str | None

    @classmethod
    def sample(cls) -> Self:
        return cls(
            name="Dora Diaz", link="https://id.example.com/invite/sample", valid_for_minutes=10080,
            expires_at=datetime(2026, 3, 9, 9, 30, tzinfo=UTC), invited_by="Bob Baker", message="Welcome!",
        )  # fmt: skip


@edge_job(attempts=ATTEMPTS, base=BASE, cap=CAP, life=LIFE)
def send_invitation(ctx: Context, ask: SendInvitation) -> Letter:
    """Make the invitation at the first try; later ones carry the same one. Its link rests nowhere."""
    to = invitations.read_address(ctx, ask.email, ask.email)
    invitations.relay(ctx, to.mailbox)
    by = ask.invited_by or ctx.task.requested_by or ctx.settings.organisation
    if "invitation" in ctx.task.frozen:
        found = invitations.again(ctx, ctx.task.frozen, ask.valid_for)
    else:
        for name in ask.groups:
            groups.get(ctx, name, lock=False)
        found = invitations.create(
            ctx, to, name=ask.name, groups=ask.groups, path=ask.path, valid_for=ask.valid_for, invited_by=by,
            job=ctx.task.id,
        )  # fmt: skip
    ctx.freeze(invitation=found.id)
    mail = InvitationMail(
        name=ask.name,
        link=invitations.address(ctx, found),
        expires_at=found.expires_at,
        valid_for_minutes=round(ask.valid_for.total_seconds() / 60),
        invited_by=by,
        message=ask.message,
    )
    locale, zone = ctx.settings.locale, ctx.settings.zone
    return Letter("send_invitation", to.mailbox, ask.name or "", mail, locale=locale, zone=zone)


@send_invitation.accepted
def settled(ctx: Context, ask: SendInvitation, receipt: Receipt) -> None:
    """Only now, with the newer mail on its way, do older invitations to the same address die."""
    invitation = ctx.task.frozen["invitation"]
    revoked = invitations.revoke_older(ctx, invitation)
    ctx.event(users.Action.INVITATION_SENT, None, None, invitation=invitation, revoked=revoked)
