"""Make a recovery link that an administrator hands over by a way other than mail."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, job, recoveries, users


class CreateRecoveryLink(Payload):
    user: UserRef = Field(description="For whom", examples=["ann"])
    valid_for: timedelta = Field(
        timedelta(hours=1), ge=recoveries.SHORTEST, le=recoveries.LONGEST, description="How long the link works"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann"}, {"user": "ann", "valid_for": "PT30M"})

    def gives_access(self) -> bool:
        return True


@job()
def create_recovery_link(ctx: Context, ask: CreateRecoveryLink) -> Mapping[str, Any]:
    """Make it and let older ones die. The link itself is not in the result: `muster users recovery-link` shows it."""
    user = recoveries.able(users.get(ctx, ask.user))
    made = recoveries.create(
        ctx, user, purpose="recovery", valid_for=ask.valid_for, requested_by=ctx.task.requested_by, job=ctx.task.id
    )
    superseded = recoveries.supersede_older(ctx, user.id, made.id)
    ctx.event(
        users.Action.RECOVERY_ISSUED, user.id, user.username,
        recovery=made.id, expires_at=made.expires_at.isoformat(), superseded=superseded,
    )  # fmt: skip
    return {"changed": True, "recovery": made.id, "expires_at": made.expires_at.isoformat(), "superseded": superseded}
