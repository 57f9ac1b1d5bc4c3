"""Set a user's password, as a hash made at the door."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from worker import Context, Payload, Reject, UserRef, credentials, job, recoveries, users


class ResetPassword(Payload):
    user: UserRef = Field(description="Whose", examples=["ann"])
    password_hash: SecretStr = Field(
        description="The new password as an argon2id hash in PHC form; `muster users reset-password` makes it",
    )
    end_sessions: bool = Field(True, description="Also end the sessions and refresh tokens got with the old password")
    notify: bool = Field(True, description="Tell the user by mail")
    also_inactive: bool = Field(
        False, description="Also for an account that is not active; the password opens nothing before the account is"
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "user": "ann",
            "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FtcGxlLXNhbHQtMTY$"
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        },
    )

    def gives_access(self) -> bool:
        return True


@job()
def reset_password(ctx: Context, ask: ResetPassword) -> Mapping[str, Any]:
    """Store the hash; open links that set a password die, and so does what hung on the old one."""
    user = users.get(ctx, ask.user)
    if user.is_active or user.locked or not ask.also_inactive:
        recoveries.able(user)
    try:
        ended = credentials.set_password(ctx, user, ask.password_hash.get_secret_value(), end_sessions=ask.end_sessions)
    except credentials.BadHash as problem:
        raise Reject("bad_hash", user=user.username, problem=problem) from None
    if ended is None:
        return {"changed": False}
    ctx.event(users.Action.PASSWORD_CHANGED, user.id, user.username, ended=ended)
    if ask.notify and user.email is not None:
        by = ctx.task.requested_by or "an administrator"
        ctx.follow(
            "send_password_changed_email", {"user": user.ref, "changed_at": ctx.now.isoformat(), "changed_by": by}
        )
    return {"changed": True, **ended}
