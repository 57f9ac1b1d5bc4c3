"""Writes down in the audit trail what happened outside the jobs: a login, a link that was shown or used."""

from collections.abc import Mapping
from typing import Any

from worker import outbox
from worker.bulk import insert_rows
from worker.directory.events import Action
from worker.ids import new_id
from worker.scope import Scope
from worker.tables import event


def record(
    scope: Scope,
    action: Action,
    target: str | None,
    name: str | None,
    *,
    actor: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Add a line to the audit trail that belongs to no job. `data` holds no secrets.

    What a job does is noted with `ctx.event` instead; the runner writes it down with the job's id on it.
    """
    row = {
        "id": new_id(),
        "at": scope.now,
        "action": action.value,
        "target": target,
        "target_name": name,
        "actor": actor,
        "on_behalf_of": None,
        "why": None,
        "job": None,
        "number": 0,
        "data": dict(data or {}),
    }
    insert_rows(scope.conn, event, [row])
    outbox.announce(scope, [row])
