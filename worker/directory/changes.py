"""Changing people who exist: fields, names, managers, several people at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import update

from worker.bulk import among
from worker.directory import graves
from worker.directory.accounts import User, differences, save
from worker.directory.events import Action, Teller
from worker.directory.graves import RENAMED, Grave
from worker.directory.register import Register
from worker.jobs import NameKind, fold
from worker.lines import name_accounts
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import recovery


@dataclass(frozen=True)
class Change:
    """What one person's account should become: the fields given, see `Register.revise`. `subject` is the job's line."""

    user: User
    given: Mapping[str, Any]
    subject: str | None = None


@dataclass(frozen=True)
class Changed:
    """An account before and after. `links` counts open recovery links that died with the old address."""

    before: User
    user: User
    links: int = 0

    @property
    def differs(self) -> bool:
        """Whether anything changed."""
        return bool(self.differences)

    @property
    def renamed(self) -> bool:
        """Whether the username changed."""
        return self.before.username != self.user.username

    @property
    def differences(self) -> dict[str, Any]:
        """What changed, for the audit trail."""
        return differences(self.before, self.user)

    def tell(self, teller: Teller, revoked: Mapping[str, int] | None = None) -> None:
        """Take the change down in the audit trail. `revoked`: credentials ended because the account was closed."""
        user, news = self.user, self.differences
        flipped = news.pop("is_active", None) is not None
        if news.pop("delete_at", None) is not None and user.delete_at is None:
            teller.event(Action.USER_DELETION_CANCELLED, user.id, user.label)
        renamed = news.pop("username", None)
        if renamed:
            teller.event(Action.USER_RENAMED, user.id, user.label, username=renamed)
        if news:
            teller.event(Action.USER_UPDATED, user.id, user.label, changes=news)
        if flipped and user.is_active:
            teller.event(Action.USER_REACTIVATED, user.id, user.label)
        elif flipped:
            teller.event(Action.USER_DEACTIVATED, user.id, user.label, revoked=dict(revoked or {}))
        elif revoked and any(revoked.values()):
            teller.event(Action.ACCESS_CUT, user.id, user.label, revoked=dict(revoked))


def amend(scope: Scope, wanted: Sequence[Change]) -> list[Changed | Reject]:
    """Change these accounts, whose rows the caller has locked; aligned answers. Set-based.

    A rename keeps the old username for this person for good. A new address ends open recovery links to the old one.
    `is_active: true` takes back a planned deletion; the caller cancels its job (`lifecycle.reopened`).
    """
    names = [(kind, one.given[field]) for one in wanted for field, kind in _NAMES.items() if one.given.get(field)]
    managers = [one.given["manager"] for one in wanted if one.given.get("manager")]
    register = Register(scope, names, managers)
    register.read_addresses(one.given["email"] for one in wanted if one.given.get("email"))
    answers: list[Changed | Reject] = []
    for one in wanted:
        try:
            revised = register.revise(one.user, one.given)
        except Reject as problem:
            answers.append(problem)
            continue
        if one.given.get("is_active"):
            revised = revised._replace(delete_at=None)
        answers.append(Changed(one.user, revised))
    return write(scope, answers, [one.subject for one in wanted])


_NAMES = {"username": NameKind.USERNAME, "external_id": NameKind.EXTERNAL_ID}


def write(
    scope: Scope, answers: Sequence[Changed | Reject], subjects: Sequence[str | None]
) -> list[Changed | Reject]:
    """Write those that were not refused, with what follows from new names and addresses."""
    made = [(answer, subject) for answer, subject in zip(answers, subjects, strict=True) if isinstance(answer, Changed)]
    _keep_old_usernames(scope, [one for one, _ in made])
    saved = save(scope, [(one.before, one.user) for one, _ in made])
    name_accounts(scope, [(subject, _new_names(one)) for one, subject in made if subject and _new_names(one)])
    dead = _end_links(scope, [one.user.id for one, _ in made if _moved(one)])
    users = {user.id: user for user in saved}
    return [
        replace(answer, user=users[answer.user.id], links=dead.get(answer.user.id, 0))
        if isinstance(answer, Changed) else answer
        for answer in answers
    ]  # fmt: skip


def _moved(one: Changed) -> bool:
    return one.before.email_folded is not None and one.before.email_folded != one.user.email_folded


def _new_names(one: Changed) -> list[tuple[NameKind, str]]:
    names = []
    if one.before.username_folded != one.user.username_folded:
        names.append((NameKind.USERNAME, one.user.username))
    if one.user.external_id not in (None, one.before.external_id):
        names.append((NameKind.EXTERNAL_ID, one.user.external_id or ""))
    return [*names, (NameKind.ID, one.user.id)] if names else []


def _keep_old_usernames(scope: Scope, made: Sequence[Changed]) -> None:
    """A name given up stays its owner's: a late message with the old name still means this person."""
    renamed = [one for one in made if fold(one.before.username) != one.user.username_folded]
    graves.reopen(scope, [(NameKind.USERNAME, one.user.username) for one in renamed])
    graves.dig(
        scope, [((NameKind.USERNAME, one.before.username), Grave(one.user.id, RENAMED, None)) for one in renamed]
    )


def _end_links(scope: Scope, user_ids: Sequence[str]) -> dict[str, int]:
    """End open recovery links of people whose address changed: whoever reads the old mailbox must not use them."""
    counts: dict[str, int] = {}
    if user_ids:
        statement = (
            update(recovery)
            .values(state="revoked")
            .where(among(scope.conn, recovery.c.user_id, sorted(user_ids)), recovery.c.state == "open")
            .returning(recovery.c.user_id)
        )
        for row in scope.conn.execute(statement):
            counts[row.user_id] = counts.get(row.user_id, 0) + 1
    return counts
