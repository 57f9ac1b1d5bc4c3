"""E-mail addresses of people: which can be used, and, where the setting unique_email says so, whose they are."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from worker.bulk import among, insert_rows, select_by
from worker.jobs import digest
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import meta, users

# Two transactions that meet at one address must see each other, though its row does not exist yet: each locks the
# address's stripe first. Enough stripes for single jobs to pass each other; a constant number, so none are left behind.
STRIPES = 64


@dataclass(frozen=True)
class Email:
    """An address to store: as written to, and as compared."""

    mailbox: str
    folded: str


def read(scope: Scope, text: str, user: object) -> Email:
    """Return the address that `text` names. Raises Reject bad_email, naming `user`."""
    from worker.address import InvalidAddress, parse_address

    try:
        found = parse_address(text, allow_domains=scope.settings.mail_domains)
    except InvalidAddress as problem:
        raise Reject("bad_email", user=user, problem=str(problem).rstrip(".")) from None
    return Email(found.mailbox, found.folded)


class Owners:
    """Who owns the addresses that a batch wants; claims made in the batch count too."""

    def __init__(self, scope: Scope, wanted: Iterable[str]) -> None:
        """Look the folded addresses up under their locks; nothing is read where addresses need not be unique."""
        self._unique = scope.settings.unique_email
        self._owners: dict[str, set[str]] = {}
        folded = sorted(set(wanted))
        if self._unique and folded:
            _lock(scope, folded)
            for row in select_by(scope.conn, users.c.email_folded, folded, users.c.email_folded, users.c.id):
                self._owners.setdefault(row.email_folded, set()).add(row.id)

    def claim(self, folded: str | None, user_id: str) -> bool:
        """Take an address for a user; False when it is another's."""
        if not self._unique or folded is None:
            return True
        owners = self._owners.setdefault(folded, set())
        if owners - {user_id}:
            return False
        owners.add(user_id)
        return True


def _lock(scope: Scope, folded: list[str]) -> None:
    """On PostgreSQL, hold the stripes of these addresses until the transaction ends; SQLite has one writer anyway."""
    if not scope.on_postgresql:
        return
    stripes = sorted({int(digest(scope.settings.key, b"email", one.encode()), 16) % STRIPES for one in folded})
    names = [f"email_lock/{stripe:02}" for stripe in stripes]
    conn = scope.conn
    statement = select(meta.c.name).where(among(conn, meta.c.name, names)).order_by(meta.c.name).with_for_update(of=meta)
    if len(conn.execute(statement).all()) < len(names):
        rows = [{"name": name, "value": ""} for name in names]
        insert_rows(conn, meta, rows, conflict="skip")
        conn.execute(statement).all()
