"""A stage for contracts: a world in which the examples of every job find what they speak of, and can be played again."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from office import Office
from posts import sent
from receiver import Receiver, add
from sqlalchemy import Connection, event, update

from worker.app import load_jobs
from worker.bulk import insert_rows
from worker.directory import credentials, invitations
from worker.jobs import Kind
from worker.tables import batch, metadata, mfa_device, refresh_token, session

KINDS: tuple[Kind, ...] = tuple(load_jobs(("actors",)))
NAMES = [kind.name for kind in KINDS]
LEDGER = frozenset({"job", "attempt", "line", "alias", "batch", "worker", "inbox", "refusal", "relay", "meta"})
"""Tables of the ledger; all others are the directory with its audit trail."""
PASSING = frozenset({"batch", "worker", "meta", "relay"})
"""Tables that say who works and how the relay is: no job's effect."""
FEEDS: Mapping[str, Any] = {"hr": {"form": "messages", "mode": "event", "columns": {"external_id": "worker.id"}}}
"""The sources that the examples speak of."""
KEY = "contract"
SOURCE = "test"
MONTH = timedelta(days=30)

Rows = dict[str, list[dict[str, Any]]]

_PLACEHOLDER = "01930f3e-0000-7000-8000-000000000001"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?")
_MESSAGE_ID = re.compile(r"<[0-9a-f]{40}@[^>]+>")
_FILE = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}\.eml")
# Other at every try, or a count of tries: what a job did does not show in them.
_UNLIKE = frozenset({"digest", "nonce", "fingerprint", "attempts", "crashes"})


def example(kind: str, number: int) -> dict[str, Any]:
    """Return the fields of one example."""
    return dict(examples(kind)[number])


def examples(kind: str) -> Sequence[Mapping[str, Any]]:
    """Return all examples of a kind."""
    payload: Any = _kind(kind).payload
    return tuple(payload.examples)


def _kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


@dataclass
class Stage:
    """An office whose rows can be kept and put back, so that one world serves many plays."""

    office: Office
    folder: Path
    world: Rows
    opened_at: datetime
    receiver: Receiver

    @classmethod
    @contextmanager
    def open(cls, database_url: str, folder: Path, **settings: Any) -> Iterator["Stage"]:
        """A stage with the world of people and the feeds of the examples, and somebody who takes webhooks.

        All mails land in `folder` unless a relay is set.
        """
        office = Office(database_url, **{"mail_folder": folder, "feeds": FEEDS, **settings})
        with Receiver() as receiver:
            try:
                office.world()
                opened = cls(office, folder, {}, office.now, receiver)
                opened.world = opened.rows()
                opened.sweep()
                yield opened
            finally:
                office.close()

    # ----------------------------------------------------------------------------------------------- the rows

    def rows(self) -> Rows:
        """Return all rows of all tables in an order of their own."""
        return {
            table.name: sorted(self.office.rows(table.name), key=repr)
            for table in metadata.sorted_tables if table.name not in ("worker", "meta")
        }

    def put_back(self, rows: Rows) -> None:
        """Make the tables what they were, and the clock and the letter box too."""
        with self.office.scope() as scope:
            for table in reversed(metadata.sorted_tables):
                if table.name in rows:
                    scope.conn.execute(table.delete())
            for table in metadata.sorted_tables:
                insert_rows(scope.conn, table, rows.get(table.name, []))
        self.office.now = self.opened_at
        self.sweep()

    def sweep(self) -> None:
        """Empty the letter box, and let the receiver forget what it was told."""
        for path in self.folder.iterdir():
            path.unlink()
        self.receiver.got.clear()

    def mails(self) -> list[str]:
        """Return the Message-IDs of the mails in the letter box, and the ids of the webhooks that were taken."""
        return [str(mail["Message-ID"]) for mail in sent(self.folder)] + self.receiver.ids()

    # ------------------------------------------------------------------------------------------- the examples

    def set_for(self, kind: str, number: int) -> dict[str, Any]:
        """Set the stage for one example; returns its fields, with ids that there are in place of the made-up one."""
        self.put_back(self.world)
        fields = example(kind, number)
        self._give_credentials(fields)
        prepare = _SCENERY.get(kind)
        if prepare is not None:
            prepare(self, fields)
        self.office.drain()
        self.sweep()
        return fields

    def _give_credentials(self, fields: Mapping[str, Any]) -> None:
        """Ann is logged in, with everything that can be revoked; the ids are the ones that examples speak of."""
        ann = self.office.user("ann")
        assert ann is not None
        with self.office.scope() as scope:
            opened = credentials.issue_session(scope, ann.id, MONTH)
            assert opened is not None
            for application in ("wiki", "chat"):
                credentials.issue_refresh_token(scope, ann.id, application, opened.id, MONTH)
                credentials.record_consent(scope, ann.id, application, ["openid"])
            credentials.issue_session(scope, ann.id, MONTH)
            device = credentials.register_mfa_device(scope, ann.id, "totp", "phone")
            assert device is not None
            credentials.confirm_mfa_device(scope, ann.id, device)
            scope.conn.execute(update(session).where(session.c.id == opened.id).values(id=_PLACEHOLDER))
            scope.conn.execute(
                update(refresh_token).where(refresh_token.c.session_id == opened.id).values(session_id=_PLACEHOLDER)
            )
            scope.conn.execute(update(mfa_device).where(mfa_device.c.id == device).values(id=_PLACEHOLDER))

    # -------------------------------------------------------------------------------------------------- plays

    def submit(self, kind: str, fields: Mapping[str, Any]) -> str:
        """Submit under the key of all contracts; returns the job's id."""
        return self.office.submit(kind, fields, key=KEY, source=SOURCE)

    def step(self, kind: str) -> int:
        """Let the worker do one batch."""
        runner = self.office.edge if _kind(kind).shape == "edge" else self.office.runner
        return runner.run(kind, urgent=False)

    def deliver_again(self, kind: str, job_id: str) -> None:
        """A delivery that names a job which is over: what a worker does that was late with its note."""
        found = self.office.app.registry[kind]
        if found.shape == "edge":
            assert self.office.edge._pass(found, [job_id]) == []
        else:
            self.office.runner._together(found, _PLACEHOLDER, [job_id])

    def forget_notes(self) -> None:
        """The worker died: its notes go the way that the keeper of its host sees to, without a crash counted."""
        with self.office.scope() as scope:
            scope.conn.execute(batch.delete())


def directory(rows: Rows) -> Rows:
    """Return the rows that a job is there for: people, groups, credentials, and the audit trail."""
    return {name: found for name, found in rows.items() if name not in LEDGER}


def effects(rows: Rows) -> Rows:
    """Return the rows without those that say who works at the moment, and without the number of places ever given."""
    return {
        name: [{key: value for key, value in row.items() if (name, key) != ("line", "last_seq")} for row in found]
        for name, found in rows.items() if name not in PASSING
    }


def alike(rows: Rows, known: Rows) -> dict[str, list[str]]:
    """Return the rows in a form in which two runs are equal that did the same.

    Ids that are not in `known` and all times are masked, and tries are not counted.
    """
    ids = {found for table in known.values() for row in table for found in _ID.findall(repr(row))}

    def masked(value: Any) -> str:
        if isinstance(value, datetime):
            return "<time>"
        text = json.dumps(value, sort_keys=True, default=str)
        for pattern, word in ((_TIME, "<time>"), (_FILE, "<file>"), (_MESSAGE_ID, "<message>")):
            text = pattern.sub(word, text)
        return _ID.sub(lambda found: found[0] if found[0] in ids else "<id>", text)

    return {
        name: sorted(str({key: masked(value) for key, value in row.items() if key not in _UNLIKE}) for row in found)
        for name, found in effects(rows).items() if name != "attempt"
    }


# ------------------------------------------------------------------------------------------------ the scenery


def _must(office: Office, kind: str, **fields: Any) -> None:
    ended = office.do(kind, fields, source="scenery")
    assert ended.state == "succeeded", ended


def _invite(stage: Stage, fields: dict[str, Any]) -> None:
    with stage.office.scope() as scope:
        to = invitations.read_address(scope, "dora@example.com", "Dora")
        made = invitations.create(
            scope, to, name="Dora Diaz", groups=["staff"], path="users", valid_for=MONTH, invited_by="Bob", job=None
        )
        fields |= {"invitation": made.id, "proof": invitations.proof(scope, made)}


def _grant(stage: Stage, fields: dict[str, Any]) -> None:
    _must(stage.office, "grant_permission", **fields)


def _empty(stage: Stage, fields: dict[str, Any]) -> None:
    if not fields.get("force"):
        _must(stage.office, "remove_from_group", user="ann", group=fields["group"])


def _listen(stage: Stage, fields: dict[str, Any]) -> None:
    """An endpoint that hears of what no example does, and an event that there is."""
    add(stage.office, stage.receiver, "login.failed")
    [endpoint] = stage.office.rows("webhook_endpoint")
    first = min(str(row["id"]) for row in stage.office.rows("event", action="user.created"))
    fields |= {"endpoint": endpoint["id"], "event": first}


_SCENERY: Mapping[str, Callable[[Stage, dict[str, Any]], None]] = {
    "accept_invitation": _invite,
    "delete_group": _empty,
    "deliver_webhook": _listen,
    "release_legal_hold": lambda on, _: _must(on.office, "set_legal_hold", user="ann", owner="legal", reason="case 12"),
    "restore_user": lambda on, _: _must(on.office, "delete_user", user="ann", grace="P30D"),
    "revoke_permission": _grant,
    "unlock_user": lambda on, _: _must(on.office, "lock_user", user="ann", owner="security", reason="stolen"),
}


# ------------------------------------------------------------------------------------------------ tripping up


class Broken(Exception):
    """A statement failed."""


class Wire:
    """Counts the statements of each writing transaction, and trips up those it is told to."""

    def __init__(self, office: Office) -> None:
        self.engine = office.app.database.engine
        self.transactions: list[int] = []
        self._break: Callable[[int, int], BaseException | None] = lambda transaction, number: None

    @contextmanager
    def __call__(
        self, number: int = 0, transactions: Sequence[int] = (), error: Callable[[], BaseException] = Broken
    ) -> Iterator["Wire"]:
        """Within: the `number`-th statement (from 1) of each of these writing transactions (from 1) fails."""
        self.transactions = []
        self._break = lambda transaction, nth: error() if transaction in transactions and nth == number else None
        event.listen(self.engine, "begin", self._begin)
        event.listen(self.engine, "before_cursor_execute", self._count)
        try:
            yield self
        finally:
            event.remove(self.engine, "begin", self._begin)
            event.remove(self.engine, "before_cursor_execute", self._count)

    def _begin(self, conn: Connection) -> None:
        if conn.get_execution_options().get("muster_write"):
            self.transactions.append(0)

    def _count(self, conn: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not conn.get_execution_options().get("muster_write") or statement.startswith("BEGIN"):
            return
        if "ORDER BY webhook_endpoint.id" in statement:
            return  # the look that the outbox takes once a second belongs to no batch
        self.transactions[-1] += 1
        problem = self._break(len(self.transactions), self.transactions[-1])
        if problem is not None:
            raise problem


def spread(count: int, most: int = 6) -> list[int]:
    """Return at most `most` numbers of 1..count, the first and the last among them."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(place * (count - 1) / (most - 1)) for place in range(most)})
