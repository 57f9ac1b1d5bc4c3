"""API tokens: shown once, kept as a digest, allowed what their scopes say, ended at once, and guessed by nobody."""

import hmac
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from doors import doors_of
from hypothesis import given
from hypothesis import strategies as st
from office import Office
from sqlalchemy import event

from worker import api_tokens
from worker.api_tokens import GRAVE, ROLES, SCOPES, USED_EVERY, BadToken, Caller
from worker.app import load_jobs
from worker.database import Busy
from worker.tables import metadata
from worker.web import limits
from worker.web.limits import Buckets


@pytest.fixture
def one(sqlite_url: str) -> Iterator[Office]:
    """An office on SQLite: what the doors count, they count in their own memory."""
    opened = Office(sqlite_url)
    yield opened
    opened.close()


def make(office: Office, *scopes: str, name: str = "hr-sync", **facts: Any) -> str:
    with office.scope() as scope:
        return api_tokens.create(scope, name, scopes or ("look",), by="tester", **facts)


def find(office: Office, token: str) -> tuple[Caller, bool] | None:
    with office.app.database.read() as conn:
        return api_tokens.find(conn, token, office.now)


def revoke(office: Office, name: str = "hr-sync") -> bool:
    with office.scope() as scope:
        return api_tokens.revoke(scope, name, by="tester")


# ------------------------------------------------------------------------------------------------------- making


def test_whoever_holds_it_is_known_by_it(office: Office) -> None:
    token = make(office, "jobs:submit:add_*", "jobs:read", "jobs:read")
    assert token.startswith("muster_")
    assert len(token.split("_", 2)[2]) == 43  # 256 bits
    found = find(office, token)
    assert found is not None
    caller, stale = found
    assert (caller.name, caller.source, caller.scopes, stale) == ("hr-sync", "token/hr-sync", ("jobs:read", "jobs:submit:add_*"), True)


def test_the_token_rests_nowhere(office: Office) -> None:
    token = make(office)
    secret = token.split("_", 2)[2]
    for table in metadata.tables:
        assert secret not in str(office.rows(table)), f"the table {table} holds the token"


@pytest.mark.parametrize("name", ["", "HR", "-hr", "hr-", "hr sync", "hr/sync", "a" * 65, "hr\n", "tøken"])
def test_names_that_no_source_can_have(one: Office, name: str) -> None:
    with pytest.raises(BadToken, match="name has 1 to 64"):
        make(one, name=name)


def test_a_name_is_given_once_for_ever(office: Office) -> None:
    make(office)
    revoke(office)
    with pytest.raises(BadToken, match="every name is given once"):
        make(office)


@pytest.mark.parametrize("scope", ["jobs", "jobs:submit:", "jobs:submit", "users:write", "feeds:push:a b", "look:", "admin:x", "*", "jobs:*"])
def test_scopes_that_there_are_not(one: Office, scope: str) -> None:
    with pytest.raises(BadToken, match=r"There is no scope .*The scopes are: look, operate, jobs:submit:PATTERN"):
        make(one, scope)


def test_a_token_without_a_scope_is_none(office: Office) -> None:
    with office.scope() as scope, pytest.raises(BadToken, match="opens nothing"):
        api_tokens.create(scope, "x", [], by="tester")


# --------------------------------------------------------------------------------------------------- what it may


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        (("jobs:submit:add_*",), {"jobs:submit:add_to_group"}, {"jobs:submit:create_user", "jobs:read", "feeds:push:add_x"}),
        (("jobs:submit:*",), {"jobs:submit:delete_user"}, {"jobs:operate", "jobs:read"}),
        (("jobs:submit:create_?roup",), {"jobs:submit:create_group"}, {"jobs:submit:create_user"}),
        (("feeds:push:hr",), {"feeds:push:hr"}, {"feeds:push:hr2", "feeds:approve:hr", "feeds:read"}),
        (("look",), {"jobs:read", "users:read", "feeds:read"}, {"jobs:operate", "jobs:submit:create_user", "scim", "metrics"}),
        (("operate",), {"jobs:operate", "jobs:submit:create_user", "feeds:approve:hr"}, {"scim", "metrics", "admin"}),
        (("admin",), {"scim", "metrics", "admin", "jobs:submit:delete_user", "feeds:approve:hr"}, set()),
        (("scim",), {"scim"}, {"users:read", "jobs:submit:create_user"}),
    ],
)
def test_scopes_allow_what_they_say(scopes: tuple[str, ...], allowed: set[str], refused: set[str]) -> None:
    caller = Caller("id", "name", scopes)
    assert {one for one in allowed | refused if caller.may(one)} == allowed


@pytest.mark.parametrize("role", sorted(ROLES))
@pytest.mark.parametrize("kind", sorted(GRAVE))
def test_no_role_but_the_administrators_may_do_what_is_grave(role: str, kind: str) -> None:
    assert kind in load_jobs(["actors"]), "a job by that name is gone"
    assert not Caller("id", "name", (role,)).may(f"jobs:submit:{kind}")
    assert Caller("id", "name", (role, f"jobs:submit:{kind}")).may(f"jobs:submit:{kind}")  # unless it was said in so many words
    assert Caller("id", "name", ("admin",)).may(f"jobs:submit:{kind}")


SCOPE = st.sampled_from([*[one for one in SCOPES if not one.endswith(":")], *ROLES, "jobs:submit:add_*", "feeds:push:hr"])


@given(st.sets(SCOPE, min_size=1), SCOPE, st.sampled_from(["jobs:read", "admin", "scim", "jobs:submit:add_to_group", "feeds:push:hr"]))
def test_more_scopes_never_allow_less(scopes: set[str], more: str, needed: str) -> None:
    if Caller("id", "name", tuple(scopes)).may(needed):
        assert Caller("id", "name", (*scopes, more)).may(needed)


# -------------------------------------------------------------------------------------------------------- ending


def test_it_ends_when_it_was_said_to(office: Office) -> None:
    token = make(office, expires_at=office.now + timedelta(days=1))
    assert find(office, token)
    office.later(days=1)
    assert find(office, token) is None
    with pytest.raises(BadToken, match="expired already"):
        make(office, name="late", expires_at=office.now)


def test_it_ends_at_once_when_it_is_revoked(office: Office) -> None:
    token = make(office)
    assert revoke(office)
    assert find(office, token) is None
    assert not revoke(office)
    with pytest.raises(BadToken, match="There is no token nobody"):
        revoke(office, "nobody")


@pytest.mark.parametrize("change", [str.upper, lambda it: it + "x", lambda it: it[:-1], lambda it: it.replace("muster", "master"),
                                    lambda it: it.replace("_", "-", 1), lambda it: it + "\0", lambda it: "", lambda it: "muster__",
                                    lambda it: "muster_" + "é" * 12 + "_x", lambda it: it + "y" * 500])  # fmt: skip
def test_what_is_nearly_the_token_opens_nothing(one: Office, change: Any) -> None:
    assert find(one, change(make(one))) is None


def test_a_wrong_secret_costs_the_same_as_an_unknown_token(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    token = make(office)
    head, lookup, secret = token.split("_", 2)
    statements: list[str] = []
    compared: list[int] = []
    compare = hmac.compare_digest

    def counted(left: Any, right: Any) -> bool:
        compared.append(len(left) + len(right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    event.listen(office.app.database.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    work = []
    for tried in (f"{head}_{lookup}_{'x' * len(secret)}", f"{head}_{'0' * len(lookup)}_{secret}"):
        statements.clear()
        compared.clear()
        assert find(office, tried) is None
        work.append((list(statements), list(compared)))
    assert work[0] == work[1]
    assert work[0][1] == [128]  # two digests, compared in constant time


# ------------------------------------------------------------------------------------------------ at a real server


def test_it_opens_until_the_very_request_after_it_was_revoked(one: Office) -> None:
    with doors_of(one) as doors:
        caller = doors.caller("users:read", name="short-lived")
        assert caller.get("/v1/users").status_code == 200
        revoke(one, "short-lived")
        answer = caller.get("/v1/users")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "muster token create" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["", "Bearer", "Basic {}", "{}", "Bearer x{}", "Bearer {} {}"])
def test_other_ways_to_send_it(one: Office, header: str) -> None:
    with doors_of(one) as doors:
        token = doors.token("users:read")
        stranger = doors.caller()
        assert stranger.get("/v1/users", headers={"Authorization": header.format(token, token)}).status_code == 401
        assert stranger.get(f"/v1/users?access_token={token}").status_code == 401  # it would stand in every log on the way
        assert stranger.get("/v1/users", headers={"authorization": f"bEARER  {token}"}).status_code == 200


def test_guesses_are_refused_then_slowed_down_and_cost_nobody_else_their_way(one: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with doors_of(one) as doors:
        known = doors.caller("users:read")
        stranger = doors.caller()
        guess = {"Authorization": "Bearer muster_0123456789ab_" + "g" * 43}
        answers = [stranger.get("/v1/users", headers=guess) for _ in range(limits.FAILURES_AT_ONCE + 5)]
        assert [one.status_code for one in answers[: limits.FAILURES_AT_ONCE]] == [401] * limits.FAILURES_AT_ONCE
        last = answers[-1]
        assert (last.status_code, last.json()["code"]) == (429, "too_many_requests")
        assert 1 <= int(last.headers["retry-after"]) <= 5
        # From the same address: whoever holds a valid token is not locked out by whoever does not.
        assert known.get("/v1/users").status_code == 200
    assert "ggggg" not in caplog.text


def test_whoever_asks_too_much_is_told_to_wait(one: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUESTS_AT_ONCE", 3)
    monkeypatch.setattr(limits, "REQUESTS_A_SECOND", 0.01)
    with doors_of(one) as doors:
        greedy, modest = doors.caller("users:read"), doors.caller("users:read")
        assert [greedy.get("/v1/users").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        answer = greedy.get("/v1/users")
        assert (answer.headers["content-type"], answer.headers["retry-after"]) == ("application/problem+json", "100")
        assert modest.get("/v1/users").status_code == 200
        assert doors.caller().get("/health/live").status_code == 200


def test_its_use_is_noted_once_a_minute_at_most(one: Office) -> None:
    written: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE api_token"):
            written.append(statement)

    with doors_of(one) as doors:
        caller = doors.caller("users:read", name="busy")
        event.listen(one.app.database.engine, "before_cursor_execute", note)
        first = one.now
        for _ in range(5):
            caller.get("/v1/users")
            one.later(seconds=10)
        assert len(written) == 1
        assert [row["last_used_at"] for row in one.rows("api_token", name="busy")] == [first]
        one.now = first + USED_EVERY
        caller.get("/v1/users")
        assert len(written) == 2
        assert [row["last_used_at"] for row in one.rows("api_token", name="busy")] == [one.now]


def test_a_note_that_cannot_be_written_keeps_nobody_out(one: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_args: Any) -> None:
        raise Busy("another writer has held the database")

    with doors_of(one) as doors:
        caller = doors.caller("users:read")
        monkeypatch.setattr(one.app.database, "transact", busy)
        assert caller.get("/v1/users").status_code == 200


# ------------------------------------------------------------------------------------------------------- buckets


def test_a_bucket_fills_by_the_second() -> None:
    now = [0.0]
    bucket = Buckets(a_second=2, at_once=3, clock=lambda: now[0])
    assert [bucket.take("a") for _ in range(4)] == [None, None, None, 0.5]
    assert bucket.take("b") is None
    now[0] = 0.5
    assert bucket.over("a") is None
    assert bucket.take("a") is None
    assert bucket.over("a") == pytest.approx(0.5)
    now[0] = 1_000
    assert [bucket.take("a") for _ in range(4)] == [None, None, None, 0.5]
    bucket.clear()
    assert bucket.take("a") is None


def test_a_bucket_remembers_no_more_names_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMEMBERED", 100)
    bucket = Buckets(a_second=0.001, at_once=1, clock=lambda: 0.0)
    for number in range(1_000):
        bucket.take(f"address {number}")
    assert len(bucket._levels) == 100
    assert bucket.take("address 999") is not None
    assert bucket.take("address 0") is None
