"""Every example of docs/enqueue.md, carried out: what it hands in is done by real workers."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from crew import until
from manual import blocks, example, page
from office import SECRET
from servers import PostgresServer
from shell import Shell
from sqlalchemy import create_engine, select, text

from worker import api_tokens, front
from worker.api.models import NewJob
from worker.app import App, load_jobs
from worker.intake import KEY_LENGTH, Acceptance, Request
from worker.process import FIELDS, Staff
from worker.settings import Settings
from worker.states import State
from worker.tables import inbox, job, metadata, refusal

PAGE = "enqueue.md"


@pytest.fixture
def app(postgres_url: str, broker_url: str) -> Iterator[App]:
    """Workers on PostgreSQL and Redis, in threads of this process."""
    opened = App(Settings(database_url=postgres_url, broker_url=broker_url, secret_key=SECRET))
    with Staff(opened, threads=2, mail_threads=1):
        yield opened
    opened.close()


def rows(app: App, table: str, **equals: object) -> list[dict[str, Any]]:
    found = metadata.tables[table]
    with app.database.read() as conn:
        statement = select(found).where(*[found.c[name] == value for name, value in equals.items()])
        return [dict(row._mapping) for row in conn.execute(statement)]


def done(app: App, key: str, source: str) -> dict[str, Any]:
    """Wait for the job with this key to succeed, and return it."""
    until(lambda: [row["state"] for row in rows(app, "job", key=key)] == ["succeeded"], f"the job {key}")
    [row] = rows(app, "job", key=key)
    assert row["source"] == source
    return row


def usernames(app: App) -> set[str]:
    return {row["username"] for row in rows(app, "users")}


# ------------------------------------------------------------------------------------------------ command line


def commands(name: str) -> list[list[str]]:
    return [shlex.split(line) for line in example(name, PAGE).splitlines()]


def test_the_commands_do_what_they_say(sqlite_url: str) -> None:
    shell = Shell(sqlite_url)
    try:
        group, ann, again, trial, leave = (shell.muster(*words[1:]) for words in commands("shell"))
    finally:
        shell.office.close()
    assert [one.exit_code for one in (group, ann, again, trial, leave)] == [0, 0, 0, 0, 0]
    answer = json.loads(again.stdout)
    assert (answer["state"], answer["duplicate"], answer["key"]) == ("succeeded", True, "hire-1001")
    assert "is_active" in trial.stdout
    assert shell.office.rows("users")[0]["is_active"]
    assert shell.office.jobs("offboard_user")[0]["state"] == "scheduled"
    assert set(answer) == set(Acceptance(None, "", "", None, "").as_json())
    told = page(PAGE).partition("## What is answered")[2].partition("##")[0]
    assert all(f"`{name}`" in told for name in answer)


def test_a_file_of_jobs(sqlite_url: str, tmp_path: Path) -> None:
    feed = tmp_path / "feed.ndjson"
    feed.write_text(example("feed", PAGE))
    shell = Shell(sqlite_url)
    try:
        answers = shell.objects("submit", "--batch", str(feed))
        assert [answer["state"] for answer in answers] == ["queued", "queued", "scheduled"]
        assert {row["source"] for row in shell.office.jobs()} == {"cli/hr"}
        assert all(answer["duplicate"] for answer in shell.objects("submit", "--batch", str(feed)))
    finally:
        shell.office.close()


# ------------------------------------------------------------------------------------------------------ Python


def test_a_python_program(postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", postgres_url)
    monkeypatch.setenv("MUSTER_SECRET_KEY", SECRET)
    exec(compile(example("python", PAGE), PAGE, "exec"), {})  # the page's own example
    assert capsys.readouterr().out == "create_group queued \nadd_to_group queued \n"


@pytest.mark.parametrize("committed", [True, False])
def test_jobs_in_a_transaction_of_ones_own_share_its_fate(app: App, postgres_url: str, committed: bool) -> None:
    submit(app, "create_group", {"group": "night shift"})
    submit(app, "create_user", {"username": "ann"})
    engine = create_engine(postgres_url)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE duty (person text, team text NOT NULL)"))
    code = example("transaction", PAGE).replace("postgresql+psycopg://intranet@database/muster", postgres_url)
    if not committed:
        code += '    conn.execute(text("INSERT INTO duty (team) VALUES (NULL)"))\n'
    names: dict[str, Any] = {"app": app, "Request": Request}
    try:
        exec(compile(code, PAGE, "exec"), names)
    except Exception:
        assert not committed
    assert committed == bool(rows(app, "job", key="duty-18-ann"))
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM duty")).scalar_one() == int(committed)
    if committed:
        done(app, "duty-18-ann", "intranet")
        assert rows(app, "membership")
    names["engine"].dispose()
    engine.dispose()


def submit(app: App, kind: str, fields: dict[str, Any], **facts: Any) -> Acceptance:
    [answer] = app.submit([Request(kind, fields, "test", **facts)])
    assert answer.id is not None, answer.reason_text
    return answer


# -------------------------------------------------------------------------------------------------------- HTTP


@pytest.fixture
def door(app: App) -> Iterator[dict[str, str]]:
    """The variables of whoever comes by HTTP: where the door is, and a token called payroll."""
    with app.scope() as scope:
        token = api_tokens.create(scope, "payroll", ["jobs:submit:*", "scim"], by="tester")
    with front.serving(app, front.listen("127.0.0.1:0")) as url:
        yield {**os.environ, "URL": url, "TOKEN": token}


def shell_says(name: str, door: dict[str, str]) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["sh", "-c", example(name, PAGE).replace("curl ", "curl --silent --show-error ", 1)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=door).stdout


def test_a_job_by_curl_and_by_python_is_one_job(app: App, door: dict[str, str]) -> None:
    answer = json.loads(shell_says("curl", door))
    assert (answer["state"], answer["key"], answer["duplicate"]) == ("succeeded", "hire-1003", False)
    python = [sys.executable, "-c", example("http_python", PAGE)]
    said = subprocess.run(python, capture_output=True, text=True, check=True, timeout=60, env=door).stdout
    assert said == "create_user succeeded \n"
    assert done(app, "hire-1003", "token/payroll")["id"] == answer["id"]
    assert usernames(app) == {"cleo"}


def test_many_jobs_by_curl(app: App, door: dict[str, str]) -> None:
    group, hana, ivo = (json.loads(line) for line in shell_says("http_batch", door).splitlines())
    assert [one["line"] for one in (group, hana, ivo)] == [1, 2, 3]
    assert ivo["problem"]["code"] == "bad_payload"
    assert {error["field"] for error in ivo["problem"]["errors"]} == {"payload.username", "payload.nickname"}
    done(app, "hire-1008", "token/payroll")
    done(app, "group-support", "token/payroll")
    assert usernames(app) == {"hana"}


def test_the_same_job_by_scim(app: App, door: dict[str, str]) -> None:
    answer = json.loads(shell_says("scim", door))
    assert (answer["userName"], answer["displayName"], answer["active"]) == ("cleo", "Cleo Clark", True)
    [made] = rows(app, "job", kind="create_user")
    assert (made["source"], made["state"]) == ("token/payroll", "succeeded")
    typed = shlex.split(example("redis", PAGE).splitlines()[2])
    assert made["payload"] == json.loads(typed[3])["kwargs"]["payload"]
    assert json.loads(shell_says("scim", door))["scimType"] == "uniqueness"


def test_the_page_names_every_field_of_a_job_by_http() -> None:
    told = page(PAGE).partition("## HTTP")[2].partition("## A message on Redis")[0]
    assert all(f"`{name}`" in told for name in NewJob.model_fields)


# ------------------------------------------------------------------------------------------------------- Redis


def speak(url: str, lines: list[list[str]]) -> str:
    """Say commands to Redis over a plain socket, as redis-cli does (RESP); returns what it answered."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port or 6379)) as line:
        for words in lines:
            encoded = [word.encode() for word in words]
            line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while part := line.recv(4096):
            answer += part
    return answer.decode()


@pytest.fixture
def redis_tcp(redis_server: Any, broker_url: str) -> str:
    """The URL of the empty Redis on TCP."""
    return str(redis_server.tcp_url)


def test_a_message_as_redis_cli_writes_it(app: App, redis_tcp: str) -> None:
    typed = [shlex.split(line) for line in example("redis", PAGE).splitlines()[1:-1]]
    assert [words[0] for words in typed] == ["MULTI", "HSET", "RPUSH", "EXEC"]
    assert speak(redis_tcp, typed).endswith("*2\r\n:1\r\n:1\r\n")
    ended = done(app, "hire-1003", "queue/payroll")
    assert "cleo" in usernames(app)
    assert speak(redis_tcp, typed)  # the same message once more is the same job
    until(lambda: speak(redis_tcp, [["HLEN", "dramatiq:directory.msgs"]]) == ":0\r\n", "the message to be read")
    assert [row["id"] for row in rows(app, "job", key="hire-1003")] == [ended["id"]]
    assert not rows(app, "refusal")


def test_the_least_that_is_understood(app: App, redis_tcp: str) -> None:
    assert '`{"actor_name": …, "kwargs": {"payload": {…}}}`' in page(PAGE)
    body = json.dumps({"actor_name": "create_group", "kwargs": {"payload": {"group": "least"}}})
    speak(redis_tcp, [["HSET", "dramatiq:directory.msgs", "least-1", body], ["RPUSH", "dramatiq:directory", "least-1"]])
    done(app, "least-1", "queue/dramatiq")


def test_node_without_any_package(app: App, redis_tcp: str, tmp_path: Path) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("Node.js is not installed")
    (tmp_path / "send.js").write_text(example("node", PAGE))
    place = urlsplit(redis_tcp)
    command = [node, str(tmp_path / "send.js"), str(place.hostname), str(place.port)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.endswith("*2\n:1\n:1\n")
    done(app, "hire-1004", "queue/payroll")
    assert rows(app, "users", username="dan")[0]["name"] == "Dan Dóra"


def test_dramatiq_as_it_is(app: App, redis_tcp: str, tmp_path: Path) -> None:
    (tmp_path / "send.py").write_text(example("dramatiq", PAGE).replace("redis://redis:6379/0", redis_tcp))
    subprocess.run([sys.executable, str(tmp_path / "send.py")], check=True, timeout=60)
    done(app, "hire-1005", "queue/payroll")
    until(lambda: [row["state"] for row in rows(app, "job", key="hire-1006")] == ["scheduled"], "the delayed job")
    assert "eve" in usernames(app)


def test_nobody_is_answered_but_refusals_are_listed(app: App, redis_tcp: str) -> None:
    messages = {
        "no-kind": {"actor_name": "make_coffee", "kwargs": {"payload": {}}},
        "no-payload": {"actor_name": "create_group", "kwargs": {"payload": {"grp": "x"}, "source": "payroll"}},
        "no-field": {"actor_name": "create_group", "kwargs": {"payload": {"group": "x"}, "when": "now"}},
    }
    for slip, body in messages.items():
        speak(redis_tcp, [["HSET", "dramatiq:directory.msgs", slip, json.dumps(body)], ["RPUSH", "dramatiq:directory", slip]])
    until(lambda: len(rows(app, "refusal")) == len(messages), "the refusals")
    assert {row["key"]: row["reason"] for row in rows(app, "refusal")} == {
        "no-kind": "unreadable", "no-payload": "bad_payload", "no-field": "unreadable",
    }  # fmt: skip


def test_the_page_names_every_field_of_a_message() -> None:
    cell = re.search(r"^\| `kwargs` \|(.*)\|$", page(PAGE), re.MULTILINE)
    assert cell is not None
    assert set(re.findall(r"`(\w+)`", cell[1])) == set(FIELDS)


# --------------------------------------------------------------------------------------------------- SQL inbox


def test_a_row_in_the_inbox_and_nothing_else(app: App, postgres_server: PostgresServer, postgres_url: str) -> None:
    place = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(place, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS payroll")
        for statement in example("grant", PAGE).split(";")[:-1]:
            owner.execute(statement.encode())
    try:
        with psycopg.connect(place, autocommit=True) as producer:
            producer.execute("SET ROLE payroll")
            producer.execute(example("inbox", PAGE).encode())
            for table in (inbox, job, refusal, metadata.tables["users"]):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    producer.execute(f"SELECT * FROM {table.name}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                producer.execute(b"DELETE FROM inbox")
        done(app, "hire-1007", "inbox/payroll")
        assert "gina" in usernames(app)
        assert not rows(app, "inbox")
    finally:
        with psycopg.connect(place, autocommit=True) as owner:
            owner.execute("DROP OWNED BY payroll")
            owner.execute("DROP ROLE payroll")


# ------------------------------------------------------------------------------------- messages of an HR system


def test_messages_pushed_on_the_command_line(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("muster.toml").write_text(example("feed_declared", PAGE))
    Path("messages.ndjson").write_text(example("message", PAGE))
    shell = Shell(sqlite_url)
    try:
        [words] = commands("push")
        assert shell.muster(*words[1:]).exit_code == 0
        shell.work()
        [ina] = shell.office.rows("users")
        assert (ina["username"], ina["attributes"]) == ("ina.ilves", {"room": "B 12"})
        assert shell.muster(*words[1:]).stdout == "0 new, 2 handed in before, 0 refused.\n"
    finally:
        shell.office.close()


def test_messages_by_redis_and_by_the_inbox(redis_tcp: str, postgres_url: str, broker_url: str) -> None:
    feeds = tomllib.loads(example("feed_declared", PAGE))["feeds"]
    app = App(Settings(database_url=postgres_url, broker_url=broker_url, secret_key=SECRET, feeds=feeds))
    try:
        with Staff(app, threads=2, mail_threads=1):
            typed = [shlex.split(line) for line in example("redis_message", PAGE).splitlines()[1:-1]]
            for words in (typed, [[*words] for words in typed]):
                speak(redis_tcp, words)
            with psycopg.connect(postgres_url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as producer:
                producer.execute(example("inbox_message", PAGE).encode())
                producer.execute(example("inbox_message", PAGE).encode())
            until(lambda: usernames(app) == {"jan.jonker", "kai.koch"}, "both to join")
        assert {row["key"] for row in rows(app, "feed_message")} == {"evt-3", "evt-4"}
    finally:
        app.close()


# ------------------------------------------------------------------------------------------- what the page says


def test_keys_and_content(app: App) -> None:
    def send(key: str, fields: dict[str, Any], **facts: Any) -> Acceptance:
        [answer] = app.submit([Request("create_user", fields, "hr", key, **facts)])
        return answer

    first = send("k", {"username": "hugo"})
    done(app, "k", "hr")
    again = send("k", {"username": "hugo"}, urgent=True, priority=0, why="sent again", requested_by="somebody else")
    assert (again.id, again.duplicate, again.state) == (first.id, True, "succeeded")
    assert again.result is not None
    assert send("k", {"username": "hugo", "is_active": True}).reason == "key_reused"  # given, though it is the default
    missing = {"user": "nobody yet", "group": "night shift"}
    [refused] = app.submit([Request("add_to_group", missing, "hr", "curable")])
    until(lambda: rows(app, "job", key="curable")[0]["state"] == State.REJECTED, "the refusal")
    [tried] = app.submit([Request("add_to_group", missing | {"user": {"username": "nobody yet"}}, "hr", "curable")])
    assert (tried.id, tried.duplicate, tried.reason) == (refused.id, True, None)
    for key, good in (("x" * KEY_LENGTH, True), ("x" * (KEY_LENGTH + 1), False), ("ümlaut", False), ("", False)):
        assert (send(key, {"username": "hugo"}).reason != "bad_key") == good, key


def test_password_hashes_are_the_sealed_fields_that_the_page_means() -> None:
    sealed = {name for kind in load_jobs(["actors"]) for name in kind.payload.sealed_fields}
    assert "password_hash" in sealed


def test_every_block_is_an_example_that_is_carried_out() -> None:
    text_of_page = page(PAGE)
    named = re.findall(r"<!-- example: (\w+) -->", text_of_page)
    code = [block for language in ("sh", "json", "python", "js", "sql", "toml") for block in blocks(language, text_of_page)]
    assert len(named) == len(set(named)) == len(code)
    tests = Path(__file__).read_text()
    assert all(f'"{name}"' in tests for name in named)
