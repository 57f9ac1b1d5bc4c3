"""Withdraw what a user allowed applications to do, for all of them or for one."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, access, job, users


class RevokeConsents(Payload):
    user: UserRef = Field(description="Whose", examples=["ann"])
    application: str | None = Field(
        None, min_length=1, max_length=255, description="Only the one for this application", examples=["wiki"]
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann"}, {"user": "ann", "application": "wiki"})

    def overtakes(self) -> bool:
        return True


@job(supersedes=False)
def revoke_consents(ctx: Context, ask: RevokeConsents) -> Mapping[str, Any]:
    """Withdraw them: the next time, the application has to ask the person again."""
    user = users.get(ctx, ask.user)
    counts = access.revoke_consents(ctx, user.id, application=ask.application)
    changed = any(counts.values())
    if changed:
        ctx.event(users.Action.CONSENTS_REVOKED, user.id, user.username, application=ask.application, **counts)
    return {"changed": changed, **counts}
