"""Jobs put into a ledger as they would stand there after a while, without anybody doing them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from office import Office

from worker.bulk import insert_rows
from worker.ids import new_ids
from worker.tables import job

ENDED = frozenset({"succeeded", "rejected", "failed", "cancelled"})
# Rows in one statement.
SLICE = 1000


def put_jobs(office: Office, *jobs: Mapping[str, Any]) -> list[str]:
    """Write jobs, the oldest first; what is not said is that of a job asked for and ended a moment ago. Returns their ids."""
    ids = new_ids(len(jobs))
    rows = [_row(office, id_, said) for id_, said in zip(ids, jobs, strict=True)]
    with office.scope() as scope:
        for start in range(0, len(rows), SLICE):
            insert_rows(scope.conn, job, rows[start : start + SLICE])
    return ids


def _row(office: Office, id_: str, said: Mapping[str, Any]) -> dict[str, Any]:
    at = office.now - timedelta(seconds=2)
    state = said.get("state", "succeeded")
    base: dict[str, Any] = {
        "id": id_, "source": "archive", "key": id_, "kind": "update_user", "version": 1, "payload": {"user": "ann"},
        "fingerprint": "0" * 32, "subject": None, "accepted": None, "seq": None, "state": state, "urgent": False,
        "priority": 5, "rank": at, "run_at": at, "gives_access": False, "overtakes": False, "attempts": 0,
        "max_attempts": 8, "crashes": 0, "pruned": False, "created_at": at, "frozen": None, "result": None, "reason": None,
        "reason_text": None, "requested_by": "tester", "why": None, "on_behalf_of": None, "lease_until": None,
        "finished_at": office.now - timedelta(seconds=1) if state in ENDED else None,
    }  # fmt: skip
    assert not set(said) - set(base), f"no such columns: {set(said) - set(base)}"
    return base | dict(said)


def of_each(states: Sequence[str], count: int) -> list[dict[str, Any]]:
    """Say `count` jobs, their states in turn."""
    return [{"state": states[number % len(states)]} for number in range(count)]
