"""Names that nobody may get again: of deleted people, kept as keyed digests only, and those given up by a rename."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import delete

from worker.bulk import among, insert_rows, select_by
from worker.jobs import Name, NameKind
from worker.lines import digest_of
from worker.scope import Scope
from worker.tables import tombstone

DELETED, RENAMED = "deleted", "renamed"


@dataclass(frozen=True)
class Grave:
    """What is remembered of a name: whose it was, why it went, and the hire date of the deleted person."""

    user_id: str
    reason: str
    hire_date: date | None

    @property
    def renamed(self) -> bool:
        """Whether the person still exists, under another name."""
        return self.reason == RENAMED


def find(scope: Scope, names: Iterable[Name]) -> dict[Name, Grave]:
    """Return the graves of those names that have one."""
    digests = {name: digest_of(scope.settings, *name) for name in set(names)}
    rows = select_by(
        scope.conn, tombstone.c.digest, digests.values(),
        tombstone.c.digest, tombstone.c.user_id, tombstone.c.reason, tombstone.c.hire_date,
    )  # fmt: skip
    known = {row.digest: Grave(row.user_id, row.reason, row.hire_date) for row in rows}
    return {name: known[digest] for name, digest in digests.items() if digest in known}


def dig(scope: Scope, names: Sequence[tuple[Name, Grave]]) -> None:
    """Keep these names for good. A name that has a grave already gets the newer one."""
    rows: dict[str, dict[str, Any]] = {}
    for (kind, value), grave in names:
        digest = digest_of(scope.settings, kind, value)
        rows[digest] = {
            "digest": digest, "kind": kind.value, "user_id": grave.user_id, "reason": grave.reason,
            "hire_date": grave.hire_date, "at": scope.now,
        }  # fmt: skip
    if rows:
        _remove(scope, sorted(rows))
        insert_rows(scope.conn, tombstone, [rows[digest] for digest in sorted(rows)])


def reopen(scope: Scope, names: Sequence[Name]) -> None:
    """Let the person who gave these names up by a rename have them back."""
    if names:
        _remove(scope, sorted(digest_of(scope.settings, *name) for name in names))


def _remove(scope: Scope, digests: Sequence[str]) -> None:
    scope.conn.execute(delete(tombstone).where(among(scope.conn, tombstone.c.digest, digests)))


def bury(scope: Scope, user_id: str, names: Sequence[Name], hire_date: date) -> None:
    """Keep all the names of a person who is being deleted, former ones included."""
    former = select_by(scope.conn, tombstone.c.user_id, [user_id], tombstone.c.digest, tombstone.c.kind)
    _remove(scope, sorted(row.digest for row in former))
    kept = [
        {"digest": row.digest, "kind": row.kind, "user_id": user_id, "reason": DELETED, "hire_date": hire_date,
         "at": scope.now}
        for row in sorted(former, key=lambda row: str(row.digest))
    ]  # fmt: skip
    insert_rows(scope.conn, tombstone, kept)
    dig(scope, [(name, Grave(user_id, DELETED, hire_date)) for name in (*names, (NameKind.ID, user_id))])
