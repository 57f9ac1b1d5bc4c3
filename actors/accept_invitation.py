"""Open the account that somebody was invited to."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from worker import Context, NameKind, Names, Payload, Reject, access, credentials, invitations, job, users


class AcceptInvitation(Payload):
    invitation: access.CredentialId = Field(
        description="The invitation's id", examples=["01930f3e-0000-7000-8000-000000000001"]
    )
    proof: SecretStr = Field(description="What the page that saw the invitation's link gives in its stead")
    username: users.Username = Field(description="The username chosen", examples=["dora"])
    name: users.PersonName | None = Field(None, description="The person's name; else as invited", examples=["Dora Diaz"])
    password_hash: SecretStr = Field(description="The password chosen, as an argon2id hash in PHC form")

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {
            "invitation": "01930f3e-0000-7000-8000-000000000001",
            "proof": "what-the-page-gives",
            "username": "dora",
            "name": "Dora Diaz",
            "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FtcGxlLXNhbHQtMTY$"
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        },
    )

    def names(self) -> Names:
        return Names(who=((NameKind.USERNAME, self.username),))

    def gives_access(self) -> bool:
        return True


@job()
def accept_invitation(ctx: Context, ask: AcceptInvitation) -> Mapping[str, Any]:
    """Make the account and spend the invitation together; if the account cannot be made, the invitation stays open."""
    found = invitations.proven(ctx, ask.invitation, ask.proof.get_secret_value())
    wish = users.Wish(
        username=ask.username,
        external_id=None,
        given={"name": ask.name or found.name or "", "email": found.email, "path": found.path},
        active=lambda _: True,
        subject=ctx.task.subject,
        groups=found.groups,
        patient=True,
    )
    [got] = users.enrol(ctx, [wish])
    if not isinstance(got, users.Enrolled):
        raise got
    try:
        credentials.set_password(ctx, got.user, ask.password_hash.get_secret_value())
    except credentials.BadHash as problem:
        raise Reject("bad_hash", user=ask.username, problem=problem) from None
    invitations.consume(ctx, found, got.user.id)
    got.tell(ctx)
    ctx.event(users.Action.INVITATION_ACCEPTED, got.user.id, got.user.username, invitation=found.id)
    for group in got.unknown_groups:
        ctx.follow("add_to_group", {"user": got.user.ref, "group": group, "patient": True})
    return {"changed": True, "user": got.user.id, "joined": list(got.joined), "deferred": list(got.unknown_groups)}
