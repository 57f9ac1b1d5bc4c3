"""End sessions of a user: all, some, or all but some."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from worker import Context, Payload, Reject, UserRef, access, job, users

# More in one list is a mistake in the list: nobody has so many sessions at once.
MOST = 500


class RevokeSessions(Payload):
    user: UserRef = Field(description="Whose", examples=["ann"])
    all: bool = Field(False, description="Every session, and whatever login is going on at this moment")
    ids: tuple[access.CredentialId, ...] = Field((), max_length=MOST, description="Only these sessions, by id")
    all_but: tuple[access.CredentialId, ...] = Field((), max_length=MOST, description="Every session but these, by id")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "all": True},
        {"user": "ann", "ids": ["01930f3e-0000-7000-8000-000000000001"]},
        {"user": {"external_id": "E-1001"}, "all_but": ["01930f3e-0000-7000-8000-000000000001"]},
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if sum(map(bool, (self.all, self.ids, self.all_but))) > 1:
            raise ValueError("say only one of all, ids, all_but")
        return self

    def overtakes(self) -> bool:
        return True


@job(supersedes=False)
def revoke_sessions(ctx: Context, ask: RevokeSessions) -> Mapping[str, Any]:
    """End them with the refresh tokens that hang on them; nobody means everything by an empty list."""
    if not (ask.all or ask.ids or ask.all_but):
        raise Reject("wildcard_needs_consent")
    user = users.get(ctx, ask.user)
    counts = access.revoke_sessions(ctx, user.id, only=ask.ids or None, all_but=ask.all_but)
    changed = any(counts.values())
    if changed or not ask.ids:
        ctx.event(users.Action.SESSIONS_REVOKED, user.id, user.username, kept=len(ask.all_but), **counts)
    return {"changed": changed, **counts}
