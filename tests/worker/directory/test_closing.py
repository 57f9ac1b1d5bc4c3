"""Whatever closes an account leaves no way in: every way, every kind of credential, also for who logs in meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from office import Office
from sqlalchemy import text

from worker import faultpoints
from worker.directory import access, accounts, credentials, recoveries, tokens
from worker.scope import Scope

DAY = timedelta(days=1)
EVERY_WAY: dict[str, tuple[str, dict[str, Any]]] = {
    "deactivate_user": ("deactivate_user", {"user": "ann"}),
    "update_user": ("update_user", {"user": "ann", "is_active": False}),
    "create_user over an old account": ("create_user", {"username": "ann", "if_exists": "update", "is_active": False}),
    "onboard_user after the last day": ("onboard_user", {"username": "ann", "end_date": "2025-12-31"}),
    "offboard_user": ("offboard_user", {"user": "ann"}),
    "offboard_user at a time gone by": ("offboard_user", {"user": "ann", "at": "2026-01-01T00:00", "zone": "UTC"}),
    "delete_user": ("delete_user", {"user": "ann"}),
    "delete_user with grace": ("delete_user", {"user": "ann", "grace": "P30D"}),
    "lock_user": ("lock_user", {"user": "ann", "owner": "security team", "reason": "stolen laptop"}),
}
every_way = pytest.mark.parametrize("way", EVERY_WAY)


def equip(scope: Scope, user_id: str) -> str:
    """Give a person one credential of every kind; returns the token of the session."""
    opened = credentials.issue_session(scope, user_id, DAY)
    assert opened is not None
    assert credentials.issue_refresh_token(scope, user_id, "wiki", opened.id, DAY)
    assert credentials.issue_refresh_token(scope, user_id, "mail", None, DAY)
    assert credentials.record_consent(scope, user_id, "wiki", ["profile"])
    device = credentials.register_mfa_device(scope, user_id, "totp", "phone")
    assert device is not None
    assert credentials.confirm_mfa_device(scope, user_id, device)
    user = accounts.by_ids(scope, [user_id])[user_id]
    recoveries.create(scope, user, purpose="recovery", valid_for=DAY)
    return opened.token


def nothing_left(office: Office, user_id: str) -> bool:
    with office.scope() as scope:
        return not any(access.usable(scope, [user_id])[user_id].values())


def ann_id(office: Office) -> str:
    ann = office.user("ann")
    assert ann is not None
    return ann.id


@every_way
def test_no_usable_credential_is_left(office: Office, way: str) -> None:
    office.world()
    user_id = ann_id(office)
    with office.scope() as scope:
        token = equip(scope, user_id)
        before = access.usable(scope, [user_id])[user_id]
    assert all(count > 0 for count in before.values()), f"{before} should hold every kind"
    kind, fields = EVERY_WAY[way]
    ended = office.do(kind, fields)
    assert ended.state == "succeeded", ended
    assert nothing_left(office, user_id)
    assert {kind: ended.result["revoked"][kind] for kind in before} == before, "the receipt counts what was ended"
    with office.scope() as scope:
        assert credentials.check_session(scope, token) is None
        assert credentials.issue_session(scope, user_id, DAY) is None, "nobody new gets in either"


@every_way
def test_an_account_that_was_closed_already_has_nothing_left_either(office: Office, way: str) -> None:
    """Rows that somebody put past the door, under the present epoch, end as well."""
    office.world()
    user_id = ann_id(office)
    with office.scope() as scope:
        equip(scope, user_id)
        scope.conn.execute(text("UPDATE users SET is_active = :no WHERE username = 'ann'"), {"no": False})
    kind, fields = EVERY_WAY[way]
    ended = office.do(kind, fields)
    assert ended.state == "succeeded", ended
    for credential in access.CREDENTIALS:
        rows = office.rows(credential.table.name, user_id=user_id)
        assert all(row.get("state") == "revoked" for row in rows), credential.name


def test_opening_an_account_again_revives_nothing(office: Office) -> None:
    office.world()
    user_id = ann_id(office)
    with office.scope() as scope:
        token = equip(scope, user_id)
    office.do("deactivate_user", {"user": "ann"})
    with office.scope() as scope:  # as if a row had come back from a copy of last night
        scope.conn.execute(
            text("INSERT INTO session (id, user_id, epoch, created_at, expires_at, digest) VALUES (:i, :u, 1, :n, :e, :d)"),
            {"i": user_id, "u": user_id, "n": stamp(scope, 0), "e": stamp(scope, 1), "d": tokens.digest(token)},
        )
    assert office.do("reactivate_user", {"user": "ann"}).result["changed"]
    with office.scope() as scope:
        assert credentials.check_session(scope, token) is None
    assert nothing_left(office, user_id)


def stamp(scope: Scope, days: int) -> Any:
    from worker.tables import moment_text

    at = scope.now + days * DAY
    return at if scope.on_postgresql else moment_text(at)


# --------------------------------------------------------- two connections: somebody logs in at the same moment


@pytest.fixture
def pg(postgres_url: str) -> Iterator[Office]:
    """An office on PostgreSQL, where two transactions really go on at once."""
    opened = Office(postgres_url)
    opened.world()
    yield opened
    opened.close()


def until_somebody_waits(office: Office) -> None:
    """Return once a transaction of this database waits for another one's lock."""
    for _ in range(400):
        with office.app.database.read() as conn:
            waiting = conn.execute(
                text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
            ).scalar_one()
        if waiting:
            return
        time.sleep(0.005)
    raise AssertionError("nobody ever waited for the other's lock")


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


@every_way
def test_a_login_that_commits_first_is_dead(pg: Office, way: str) -> None:
    user_id = ann_id(pg)
    job_id = pg.submit(*EVERY_WAY[way])
    with pg.scope() as scope:
        opened = credentials.issue_session(scope, user_id, DAY)
        assert opened is not None
        closing, _ = in_thread(pg.drain)
        until_somebody_waits(pg)
    closing.join()
    assert pg.ended(job_id).state == "succeeded"
    with pg.scope() as scope:
        assert credentials.check_session(scope, opened.token) is None
    assert nothing_left(pg, user_id)


@every_way
def test_a_login_that_commits_last_finds_nobody_to_let_in(
    pg: Office, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = ann_id(pg)
    job_id = pg.submit(*EVERY_WAY[way])
    started: list[tuple[threading.Thread, list[Any]]] = []

    def login() -> object:
        with pg.scope() as scope:
            return credentials.issue_session(scope, user_id, DAY)

    def meanwhile(point: str) -> None:
        if point == "before_commit" and not started:
            started.append(in_thread(login))
            until_somebody_waits(pg)

    monkeypatch.setattr(faultpoints, "reached", meanwhile)
    pg.drain()
    [(thread, answers)] = started
    thread.join()
    assert pg.ended(job_id).state == "succeeded"
    assert answers == [None]
    assert nothing_left(pg, user_id)
