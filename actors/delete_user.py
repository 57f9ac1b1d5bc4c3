"""Delete a user for good, now or after a time in which it can be taken back."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import AwareDatetime, Field

from worker import Context, Payload, Reject, UserRef, job, users

# Longer than any retention that laws on personnel files ask for; beyond it stands a slip of the keyboard.
LONGEST_GRACE = timedelta(days=3660)


class DeleteUser(Payload):
    """Whom to delete. There is no way back, except within the grace."""

    user: UserRef = Field(description="The user to delete", examples=["carol"])
    grace: timedelta | None = Field(
        None, gt=timedelta(0), le=LONGEST_GRACE, examples=["P30D"],
        description="Deactivate now and delete after this time (ISO 8601, or seconds); until then restore_user undoes it",
    )  # fmt: skip
    scheduled_for: AwareDatetime | None = Field(
        None, description="Set by the job that planned this deletion; it runs only while that plan still stands"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "carol"}, {"user": "ann", "grace": "P30D"})


@job()
def delete_user(ctx: Context, ask: DeleteUser) -> Mapping[str, Any]:
    if ask.grace is None:
        users.stop_jobs(ctx, ctx.task.subject, keep=ctx.task.id)
    else:
        users.cancel_deletion(ctx, ctx.task.subject, by=f"delete_user {ctx.task.id}")
    [user] = users.find(ctx, [ask.user])
    if user is None:
        if users.was_deleted(ctx, ask.user):
            return {"changed": False, "already": "deleted"}
        raise Reject("unknown_user", user=ask.user)
    if ask.scheduled_for not in (None, user.delete_at):
        raise Reject("schedule_changed", user=user.label)
    if user.held:
        raise Reject("legal_hold", user=user.label)
    for refusal in users.refusals(ctx, [user]).values():
        raise refusal
    return erase(ctx, user) if ask.grace is None else plan(ctx, user, ctx.now + ask.grace)


def erase(ctx: Context, user: users.User) -> Mapping[str, Any]:
    """Delete now. The answer and the trail name nobody."""
    revoked = users.erase(ctx, user, ctx.task.subject)
    ctx.event(users.Action.USER_DELETED, user.id, users.pseudonym(user.id), revoked=revoked)
    return {"changed": True, "user": user.id, "revoked": revoked}


def plan(ctx: Context, user: users.User, at: datetime) -> Mapping[str, Any]:
    """Deactivate now, delete later."""
    [closed] = users.close(ctx, [user], delete_at={user.id: at})
    closed.tell(ctx)
    users.plan_deletion(ctx, closed.user, at)
    return {"changed": True, "user": user.id, "delete_at": at.isoformat(), "revoked": dict(closed.revoked)}
