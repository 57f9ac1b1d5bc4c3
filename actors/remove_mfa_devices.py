"""Remove MFA devices of a user, all or some, for instance a lost one."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from worker import Context, Payload, Reject, UserRef, access, job, users

# More in one list is a mistake in the list: nobody carries so many devices.
MOST = 100


class RemoveMfaDevices(Payload):
    user: UserRef = Field(description="Whose", examples=["ann"])
    all: bool = Field(False, description="Every device")
    ids: tuple[access.CredentialId, ...] = Field((), max_length=MOST, description="Only these devices, by id")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "all": True},
        {"user": "ann", "ids": ["01930f3e-0000-7000-8000-000000000001"]},
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.all and self.ids:
            raise ValueError("say all or ids, not both")
        return self


@job()
def remove_mfa_devices(ctx: Context, ask: RemoveMfaDevices) -> Mapping[str, Any]:
    """Remove them; that nobody asks this person for a second factor any more is an event of its own."""
    if not (ask.all or ask.ids):
        raise Reject("wildcard_needs_consent")
    user = users.get(ctx, ask.user)
    had = access.confirmed_factors(ctx, user.id)
    counts = access.remove_mfa_devices(ctx, user.id, only=ask.ids or None)
    left = access.confirmed_factors(ctx, user.id)
    changed = any(counts.values())
    if changed:
        ctx.event(users.Action.MFA_DEVICES_REMOVED, user.id, user.username, left=left, **counts)
        if had and not left:
            ctx.event(users.Action.LAST_FACTOR_REMOVED, user.id, user.username)
    return {"changed": changed, "left": left, **counts}
