"""No secret rests: after every job, done or failed, none is in a row, a refusal, a log line or a value on Redis."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from desk import put_raw
from posts import HASH
from servers import RedisServer
from smtp_double import DROP, SmtpDouble
from sqlalchemy import event, select
from stage import KINDS, Stage, examples

from worker.app import App
from worker.directory import tokens
from worker.intake import Request, record_refusal
from worker.jobs import Kind
from worker.logs import Lines
from worker.process import Doorway, Staff
from worker.settings import Settings
from worker.tables import metadata

EDGES = [kind for kind in KINDS if kind.shape == "edge"]
RELAY_LOGIN = ("muster", "the-relays-own-password")
LINK = re.compile(r"https?://\S+/(?:recover|invite)/[A-Za-z0-9_-]+")
LONG_LINE = 45
"""A line of a mail's text from this length on is found nowhere by chance."""

FAULTY_RELAY: list[Mapping[str, Any]] = [
    {"RCPT": "550 5.1.1 no such mailbox"}, {"dot": DROP}, {"DATA": "451 4.3.0 try later"}, {"dot": "554 5.7.1 policy"},
]


class Secrets:
    """Every secret that came up in this test, and the places where none of them may be."""

    def __init__(self, stage: Stage, relay: SmtpDouble) -> None:
        self.stage, self.relay = stage, relay
        self.known: set[str] = {str(stage.office.settings.secret_key), stage.office.settings.key.hex(), RELAY_LOGIN[1]}
        self.hashes: set[str] = set()
        self.read = 0

    def learn(self, kind: Kind, fields: Mapping[str, Any]) -> None:
        """Take note of what a payload seals: hashes may rest with their owner, other things nowhere."""
        for value in (kind.payload.model_validate(fields).sealed_values() or {}).values():
            (self.hashes if value.startswith("$argon2") else self.known).add(value)

    def read_mails(self) -> None:
        """Take note of links and words of the mails that the relay was given since the last time."""
        for caught in self.relay.mails[self.read:]:
            mail = message_from_bytes(caught.message, _class=EmailMessage, policy=policy.default)
            body = mail.get_body(("plain",))
            assert body is not None
            text = str(body.get_content())
            self.known |= set(LINK.findall(text))
            self.known |= {line.strip() for line in text.splitlines() if len(line.strip()) >= LONG_LINE}
        self.read = len(self.relay.mails)

    def assert_absent(self, text: str, where: str, *, hashes: bool = True) -> None:
        """Fail, naming the place, if one of the secrets is in the text."""
        for secret in self.known | (self.hashes if hashes else set()):
            found = text.find(secret)
            assert found < 0, f"a secret lies in {where}: …{text[max(0, found - 300):found]}"

    def assert_nowhere_in_the_tables(self) -> None:
        """Hashes rest in users.password_hash, HR's words in feed_message.raw; sealed fields wait in job.sealed with their job."""
        with self.stage.office.app.database.read() as conn:
            for table in metadata.sorted_tables:
                for row in conn.execute(select(table)):
                    values = dict(row._mapping)
                    if table.name == "users":
                        values.pop("password_hash")
                    if table.name == "feed_message":
                        values.pop("raw")
                    if table.name == "job" and values["finished_at"] is None:
                        values.pop("sealed")
                    self.assert_absent(repr(values), f"{table.name} {values}")


@pytest.fixture
def relay() -> Iterator[SmtpDouble]:
    """A relay that asks for a login."""
    with SmtpDouble(login=RELAY_LOGIN) as opened:
        yield opened


@pytest.fixture
def secrets(
    database_url: str, letter_box: Any, relay: SmtpDouble, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Secrets]:
    """A stage whose mails go to the relay, and all tokens that are made on it."""
    address = relay.url.replace("smtp://", "smtp://{}:{}@".format(*RELAY_LOGIN))
    with Stage.open(database_url, letter_box, smtp_url=address) as stage:
        found = Secrets(stage, relay)

        def told(make: Callable[..., str]) -> Callable[..., str]:
            def making(*arguments: Any) -> str:
                made = make(*arguments)
                found.known.add(made)
                return made

            return making

        monkeypatch.setattr(tokens, "fresh", told(tokens.fresh))
        monkeypatch.setattr(tokens, "derive", told(tokens.derive))
        yield found


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that Muster's own loggers say at their most talkative, as it would stand in the log."""
    caplog.set_level(logging.DEBUG, logger="worker")
    caplog.set_level(logging.DEBUG, logger="actors")
    lines = Lines()
    return lambda: "\n".join(
        f"{lines.format(record)} {vars(record)!r}" for record in caplog.records if not record.name.startswith("sqlalchemy")
    )


def play_all(secrets: Secrets, kinds: Sequence[Kind] = KINDS) -> list[str]:
    """Play every example of these jobs, with a look into the tables at each stop; returns how they ended."""
    stage, states = secrets.stage, []
    for kind in kinds:
        for number in range(len(examples(kind.name))):
            fields = stage.set_for(kind.name, number)
            secrets.learn(kind, fields)
            job_id = stage.submit(kind.name, fields)
            for hours in (0, 1, 5):
                stage.office.later(hours=hours)
                stage.office.keeper.settle_leases()
                stage.office.drain()
                secrets.read_mails()
            secrets.assert_nowhere_in_the_tables()
            states.append(stage.office.ended(job_id).state)
    return states


def test_when_all_goes_well(secrets: Secrets, log: Callable[[], str]) -> None:
    assert set(play_all(secrets)) == {"succeeded"}
    assert len(secrets.relay.mails) >= len(EDGES)
    assert len([secret for secret in secrets.known if LINK.match(secret)]) >= 4
    assert secrets.hashes == {HASH}
    secrets.assert_absent(log(), "the log")


def test_when_the_relay_fails(secrets: Secrets, log: Callable[[], str]) -> None:
    secrets.relay.mails_script = FAULTY_RELAY * 100
    states = play_all(secrets)
    assert {"succeeded", "rejected"} <= set(states)
    secrets.assert_absent(log(), "the log")


def test_when_the_relay_wants_another_login(secrets: Secrets, log: Callable[[], str]) -> None:
    secrets.relay.login = (RELAY_LOGIN[0], "another-password")
    play_all(secrets, EDGES)
    assert secrets.relay.mails == []
    secrets.assert_absent(log(), "the log")


@contextmanager
def _statements_that_fail(stage: Stage) -> Iterator[None]:
    """Every row that the directory is to get is refused by the database itself, which then knows what was in hand."""
    engine = stage.office.app.database.engine
    spoiled = re.compile(r"^(INSERT INTO|UPDATE) (users|session|recovery|invitation|membership|groups|event|permission)\b")

    def spoil(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return spoiled.sub(r"\1 no_such_\2", statement), parameters

    event.listen(engine, "before_cursor_execute", spoil, retval=True)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", spoil)


def test_when_the_database_refuses(secrets: Secrets, log: Callable[[], str]) -> None:
    stage, refused = secrets.stage, 0
    for kind in KINDS:
        fields = stage.set_for(kind.name, 0)
        secrets.learn(kind, fields)
        job_id = stage.submit(kind.name, fields)
        with _statements_that_fail(stage):
            stage.step(kind.name)
            secrets.read_mails()
            secrets.assert_nowhere_in_the_tables()
            refused += bool(stage.office.rows("attempt", job=job_id))
    assert refused > len(KINDS) / 2
    secrets.assert_absent(log(), "the log")


def test_when_a_job_stumbles_and_says_all_it_knows(
    secrets: Secrets, log: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception repeats whatever the handler had in hand: the hash, the link, the token and the whole payload."""
    stage, noted = secrets.stage, 0
    for kind in KINDS:
        fields = stage.set_for(kind.name, 0)
        secrets.learn(kind, fields)
        known = kind.load(kind.payload.version, fields)
        token = tokens.fresh()
        says = f"{known.sealed_values()} {HASH} {stage.office.settings.recovery_page.format(token=token)} {token}"

        def stumbling(*_: Any, says: str = says) -> None:
            raise RuntimeError(f"what now with {says}?")

        job_id = stage.submit(kind.name, fields)
        with monkeypatch.context() as patch:
            patch.setattr(stage.office.app.registry[kind.name], "handler", stumbling)
            stage.step(kind.name)
        secrets.assert_nowhere_in_the_tables()
        [note] = stage.office.rows("attempt", job=job_id)
        assert "what now with" in note["text"]
        noted += 1
    assert noted == len(KINDS)
    secrets.assert_absent(log(), "the log")


def test_when_a_door_refuses(secrets: Secrets, log: Callable[[], str]) -> None:
    """Neither the answer nor what is kept of the message repeats what was sealed in it."""
    stage = secrets.stage
    for kind in KINDS:
        if not kind.payload.sealed_fields:
            continue
        fields = {**stage.set_for(kind.name, 0), "no_such_field": HASH}
        secrets.hashes.add(HASH)
        answer = stage.office.accept(kind.name, fields)
        assert answer.refused
        secrets.assert_absent(repr(answer), "the answer")
        Doorway(stage.office.app).ingress(kind.name, "directory", {"payload": fields, "key": "k"}, "m-1")
        with stage.office.scope() as scope:
            record_refusal(scope, answer, {"payload": fields})
        assert len(stage.office.rows("refusal")) == 2
        secrets.assert_nowhere_in_the_tables()
    secrets.assert_absent(log(), "the log")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_comes_over_redis_does_not_stay_there(
    secrets: Secrets, redis_server: RedisServer, broker_url: str, log: Callable[[], str]
) -> None:
    """The message is gone once the ledger has it, and a bell says nothing but the kind."""
    stage = secrets.stage
    stage.put_back(stage.world)
    settings = Settings(**{**stage.office.settings.model_dump(), "broker_url": broker_url})
    app = App(settings)
    with redis_server.client() as client, Staff(app, threads=2, mail_threads=1):
        for number, user in enumerate(("ann", "bob")):
            payload = {"user": user, "password_hash": HASH, "notify": False}
            body = {"actor_name": "reset_password", "kwargs": {"payload": payload, "key": f"reset {number}"}}
            put_raw(client, "directory", f"slip-{number}", json.dumps(body))
        app.submit([Request("send_recovery_email", {"user": "ann"}, "test", "mail")])
        assert secrets.relay.wait_for(1, 30)
        _until_done(stage, 3)
        secrets.hashes.add(HASH)
        secrets.read_mails()
        for key in client.scan_iter("*"):
            secrets.assert_absent(f"{key!r} {_value(client, key)!r}", f"the Redis key {key!r}")
    app.close()
    secrets.assert_nowhere_in_the_tables()
    secrets.assert_absent(log(), "the log")


def _until_done(stage: Stage, count: int) -> None:
    for _ in range(600):
        ended = [row for row in stage.office.jobs() if row["source"] != "world" and row["finished_at"] is not None]
        if len(ended) >= count:
            assert {row["state"] for row in ended} == {"succeeded"}, ended
            return
        time.sleep(0.05)
    raise AssertionError(stage.office.jobs())


def _value(client: Any, key: str) -> object:
    """Return all that Redis holds under a key."""
    read: Mapping[str, Callable[[], object]] = {
        "string": lambda: client.get(key),
        "hash": lambda: client.hgetall(key),
        "list": lambda: client.lrange(key, 0, -1),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1, withscores=True),
        "none": lambda: None,  # gone meanwhile
    }
    return read[str(client.type(key))]()
