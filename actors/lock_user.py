"""Lock a user for reasons of security, whatever HR says, and end all access at once."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from worker import Context, Payload, UserRef, job, users


class LockUser(Payload):
    """Whom to lock out. Only unlock_user opens the lock; the last administrator can be locked out too."""

    user: UserRef = Field(description="The user to lock out", examples=["ann"])
    owner: users.Owner = Field(description="Who asks for the lock", examples=["security team"])
    reason: users.Why = Field(description="Why", examples=["stolen laptop"])

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "owner": "security team", "reason": "stolen laptop"},
    )

    def overtakes(self) -> bool:
        return True


@job()
def lock_user(ctx: Context, ask: LockUser) -> Mapping[str, Any]:
    user = users.get(ctx, ask.user)
    wanted = user._replace(locked_at=user.locked_at or ctx.now, lock_owner=ask.owner, lock_reason=ask.reason)
    [locked] = users.save(ctx, [(user, wanted)])
    revoked = users.cut(ctx, [user.id])[user.id]
    changed = locked.version != user.version
    if changed or any(revoked.values()):
        ctx.event(
            users.Action.USER_LOCKED, user.id, user.label, owner=ask.owner, reason=ask.reason, revoked=revoked
        )
    return {"changed": changed, "user": user.id, "revoked": revoked}
