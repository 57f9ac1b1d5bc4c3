"""Who has which name, address and place: read once for a batch, with the claims that the batch itself makes."""

from collections.abc import Iterable, Mapping
from typing import Any

from worker.bulk import select_by
from worker.directory import attributes, graves
from worker.directory.accounts import User, plain
from worker.directory.addresses import Email, Owners, read
from worker.directory.fields import PROTECTED
from worker.jobs import Name, NameKind, UserRef, fold
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import users

# Fields that are simply set; the others need a look at what others have.
_SIMPLE = ("name", "path", "type", "locale", "zone", "start_date", "end_date", "is_active")


class Register:
    """The names, managers and addresses that a batch mentions, as they are now."""

    def __init__(self, scope: Scope, names: Iterable[Name], managers: Iterable[UserRef]) -> None:
        """Look up every name at once, locking nothing."""
        self._scope = scope
        wanted = {plain(*name) for name in names}
        looked_up = wanted | {plain(*ref.name) for ref in managers}
        self._owners: dict[Name, str] = {}
        self._usernames: dict[str, str] = {}
        self._claims: dict[Name, User] = {}
        for kind, column in (
            (NameKind.USERNAME, users.c.username_folded),
            (NameKind.EXTERNAL_ID, users.c.external_id),
            (NameKind.ID, users.c.id),
        ):
            values = [value for its_kind, value in looked_up if its_kind is kind]
            if values:
                for row in select_by(scope.conn, column, values, column.label("value"), users.c.id, users.c.username):
                    self._owners[kind, row.value] = row.id
                    self._usernames[row.id] = row.username
        self._graves = graves.find(scope, looked_up)
        self._emails: dict[str, Email | Reject] = {}
        self._addresses = Owners(scope, ())

    def read_addresses(self, texts: Iterable[str]) -> None:
        """Parse the addresses and look up their owners. Lock the people's rows first."""
        for text in texts:
            try:
                self._emails[text] = read(self._scope, text, "")
            except Reject as problem:
                self._emails[text] = problem
        known = [email.folded for email in self._emails.values() if isinstance(email, Email)]
        self._addresses = Owners(self._scope, known)

    def owner(self, kind: NameKind, value: str) -> str | None:
        """Return the id of the stored account that has this name, or had it before a rename."""
        name = plain(kind, value)
        grave = self._graves.get(name)
        return self._owners.get(name) or (grave.user_id if grave and grave.renamed else None)

    def username(self, user_id: str) -> str:
        """Return the username of an owner found here."""
        return self._usernames.get(user_id, user_id)

    def claimed(self, kind: NameKind, value: str) -> User | None:
        """Return the account of this batch that takes this name."""
        return self._claims.get(plain(kind, value))

    def grave(self, kind: NameKind, value: str) -> graves.Grave | None:
        """Return what is remembered of this name if it belonged to somebody who was deleted."""
        grave = self._graves.get(plain(kind, value))
        return None if grave is None or grave.renamed else grave

    def claim(self, user: User) -> None:
        """From here on this account has its names."""
        self._claims[NameKind.USERNAME, user.username_folded] = user
        if user.external_id is not None:
            self._claims[NameKind.EXTERNAL_ID, user.external_id] = user

    def manager(self, ref: UserRef) -> str | None:
        """Return the id of whom `ref` names, stored or claimed earlier in this batch."""
        claimed = self.claimed(*ref.name)
        return claimed.id if claimed else self.owner(*ref.name)

    # ----------------------------------------------------------------------------------------- one person

    def revise(self, user: User, given: Mapping[str, Any]) -> User:
        """Return the account with the given fields. Raises Reject; what it claims is claimed only if it does not.

        Fields: those of the payloads `create_user` and `update_user`; `attributes` is a merge patch, `email` is text,
        `manager` a UserRef; None clears.
        """
        if user.type == PROTECTED:
            raise Reject("protected_type", user=user.label)
        values: dict[str, Any] = {name: given[name] for name in _SIMPLE if name in given}
        if "attributes" in given:
            values["attributes"] = self._merged(user, given["attributes"])
        if "username" in given:
            values |= self._renamed(user, given["username"])
        if "external_id" in given:
            values["external_id"] = self._external_id(user, given["external_id"])
        if "manager" in given:
            values["manager"] = self._manager(user, given["manager"])
        if "email" in given:
            values |= self._email(user, given["email"])
        revised = user._replace(**values)
        if revised.start_date and revised.end_date and revised.end_date < revised.start_date:
            raise Reject("invalid", user=user.label, problem="the end date lies before the start date")
        if not self._addresses.claim(values.get("email_folded"), user.id):
            raise Reject("email_taken", user=user.label)
        self.claim(revised)
        return revised

    def _merged(self, user: User, patch: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return attributes.parse(attributes.merge(user.attributes, patch))
        except ValueError as problem:
            raise Reject("invalid", user=user.label, problem=problem) from None

    def _renamed(self, user: User, username: str) -> dict[str, Any]:
        name = (NameKind.USERNAME, username)
        owner, claimed = self.owner(*name), self.claimed(*name)
        if owner not in (None, user.id) or (claimed and claimed.id != user.id) or self.grave(*name):
            raise Reject("username_taken", username=username)
        return {"username": username, "username_folded": fold(username)}

    def _external_id(self, user: User, external_id: str | None) -> str | None:
        if external_id is None or external_id == user.external_id:
            return external_id
        name = (NameKind.EXTERNAL_ID, external_id)
        owner, claimed = self.owner(*name), self.claimed(*name)
        if claimed and claimed.id != user.id:
            raise Reject("external_id_taken", external_id=external_id, username=claimed.label)
        if owner not in (None, user.id):
            raise Reject("external_id_taken", external_id=external_id, username=self.username(owner or ""))
        if self.grave(*name) and owner is None:
            raise Reject("deleted", user=f"The person with the external id {external_id}")
        return external_id

    def _manager(self, user: User, ref: UserRef | None) -> str | None:
        if ref is None:
            return None
        manager = self.manager(ref)
        if manager == user.id or self.is_self(user, ref):
            raise Reject("own_manager", user=user.label)
        if manager is None:
            raise Reject("unknown_manager", manager=ref)
        return manager

    @staticmethod
    def is_self(user: User, ref: UserRef) -> bool:
        """Whether `ref` names this very account, stored or not."""
        return plain(*ref.name) in (
            (NameKind.ID, user.id), (NameKind.USERNAME, user.username_folded), (NameKind.EXTERNAL_ID, user.external_id)
        )  # fmt: skip

    def _email(self, user: User, text: str | None) -> dict[str, Any]:
        if text is None:
            return {"email": None, "email_folded": None}
        email = self._emails[text]
        if isinstance(email, Reject):
            raise Reject("bad_email", **{**email.facts, "user": user.label})
        return {"email": email.mailbox, "email_folded": email.folded}
