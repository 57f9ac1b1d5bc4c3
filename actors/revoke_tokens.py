"""End refresh tokens of a user, all or those of one application."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, access, job, users


class RevokeTokens(Payload):
    user: UserRef = Field(description="Whose", examples=["ann"])
    application: str | None = Field(
        None, min_length=1, max_length=255, description="Only those of this application", examples=["wiki"]
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({"user": "ann"}, {"user": "ann", "application": "wiki"})

    def overtakes(self) -> bool:
        return True


@job(supersedes=False)
def revoke_tokens(ctx: Context, ask: RevokeTokens) -> Mapping[str, Any]:
    """End them; sessions stay, so that applications have to ask again and the person does not."""
    user = users.get(ctx, ask.user)
    counts = access.revoke_tokens(ctx, user.id, application=ask.application)
    changed = any(counts.values())
    if changed:
        ctx.event(users.Action.TOKENS_REVOKED, user.id, user.username, application=ask.application, **counts)
    return {"changed": changed, **counts}
