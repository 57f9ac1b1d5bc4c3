"""The door for the identity provider: what is issued counts as long as the person may get in, and not a moment longer."""

from datetime import timedelta

import pytest
from office import Office
from posts import everything
from races import meet

from worker.directory import access, credentials, passwords, users
from worker.directory.credentials import IssuedCredential
from worker.jobs import UserRef
from worker.scope import Scope

HOUR = timedelta(hours=1)
ANN = UserRef(username="ann")


def login(scope: Scope) -> IssuedCredential | None:
    return credentials.issue_session(scope, users.get(scope, ANN, lock=False).id, HOUR, "192.0.2.1", "browser")


def deactivate(scope: Scope) -> None:
    users.close(scope, [users.get(scope, ANN)])


def test_a_session_from_login_to_logout(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        made = login(scope)
        assert made is not None
        credentials.record_login(scope, made.user_id, made.id, "192.0.2.1")
    with office.scope() as scope:
        found = credentials.check_session(scope, made.token)
        assert found is not None
        assert (found.id, found.username) == (made.id, "ann")
        assert credentials.check_session(scope, made.token + "x") is None
        token = credentials.issue_refresh_token(scope, made.user_id, "wiki", made.id, HOUR)
        assert token is not None
        assert credentials.end_session(scope, made.token) == made.user_id
        credentials.record_logout(scope, made.user_id, made.id)
        assert credentials.end_session(scope, made.token) is None
        assert credentials.check_session(scope, made.token) is None
        assert credentials.check_refresh_token(scope, token.token, "wiki") is None
    ann = office.user("ann")
    assert ann is not None
    assert ann.last_login_at == office.now
    assert [event["action"] for event in office.events("ann")][-2:] == ["login.succeeded", "logout.done"]
    assert made.token not in everything(office)
    assert made.token not in repr(made)


def test_a_session_ends_in_time(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        made = login(scope)
    assert made is not None
    office.later(minutes=59)
    with office.scope() as scope:
        assert credentials.check_session(scope, made.token) is not None
    office.later(minutes=1)
    with office.scope() as scope:
        assert credentials.check_session(scope, made.token) is None


@pytest.mark.parametrize("shut", ["deactivate_user", "lock_user"])
def test_nobody_shut_out_gets_anything(office: Office, shut: str) -> None:
    office.world()
    with office.scope() as scope:
        made = login(scope)
    assert made is not None
    fields = {"user": "ann", "owner": "security", "reason": "stolen"} if shut == "lock_user" else {"user": "ann"}
    assert office.do(shut, fields).state == "succeeded"
    with office.scope() as scope:
        assert credentials.check_session(scope, made.token) is None
        assert login(scope) is None
        assert credentials.issue_refresh_token(scope, made.user_id, "wiki", None, HOUR) is None
        assert not credentials.record_consent(scope, made.user_id, "wiki", ["profile"])
        assert credentials.register_mfa_device(scope, made.user_id, "totp", "phone") is None


def test_reactivation_revives_nothing(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        made = login(scope)
        assert made is not None
        token = credentials.issue_refresh_token(scope, made.user_id, "wiki", None, HOUR)
        assert token is not None
        assert credentials.record_consent(scope, made.user_id, "wiki", ["profile"])
    office.do("deactivate_user", {"user": "ann"})
    assert office.do("reactivate_user", {"user": "ann"}).state == "succeeded"
    with office.scope() as scope:
        assert credentials.check_session(scope, made.token) is None
        assert credentials.check_refresh_token(scope, token.token, "wiki") is None
        assert not credentials.check_consent(scope, made.user_id, "wiki", ["profile"])
        assert not any(access.usable(scope, [made.user_id])[made.user_id].values())
        assert login(scope) is not None


def test_a_login_behind_a_deactivation_finds_nobody(office: Office) -> None:
    office.world()
    _, made, waited = meet(office, deactivate, login)
    assert made is None
    assert waited


def test_a_login_ahead_of_a_deactivation_is_dead_after_it(office: Office) -> None:
    office.world()
    made, _, waited = meet(office, login, deactivate)
    assert made is not None
    assert waited
    with office.scope() as scope:
        assert credentials.check_session(scope, made.token) is None
        assert not any(access.usable(scope, [made.user_id])[made.user_id].values())
    assert office.rows("session") == []


def test_a_refresh_token_needs_its_session(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        mine, other = login(scope), credentials.issue_session(
            scope, users.get(scope, UserRef(username="bob")).id, HOUR
        )  # fmt: skip
        assert mine is not None
        assert other is not None
        assert credentials.issue_refresh_token(scope, mine.user_id, "wiki", other.id, HOUR) is None
        token = credentials.issue_refresh_token(scope, mine.user_id, "wiki", mine.id, HOUR)
        assert token is not None
        assert credentials.check_refresh_token(scope, token.token, "mail") is None
        assert access.revoke_sessions(scope, mine.user_id, only=[mine.id]) == {"sessions": 1, "refresh_tokens": 1}
        assert credentials.check_refresh_token(scope, token.token, "wiki") is None
        assert credentials.issue_refresh_token(scope, mine.user_id, "wiki", mine.id, HOUR) is None


def test_a_refresh_token_is_rotated_once(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, ANN).id
        first = credentials.issue_refresh_token(scope, ann, "wiki", None, HOUR)
    assert first is not None

    def rotate(scope: Scope) -> IssuedCredential | None:
        return credentials.rotate_refresh_token(scope, first.token, "wiki", HOUR)

    second, third, _ = meet(office, rotate, rotate)
    assert second is not None
    assert third is None
    with office.scope() as scope:
        assert credentials.check_refresh_token(scope, first.token, "wiki") is None
        assert credentials.check_refresh_token(scope, second.token, "wiki") is not None


def test_a_consent_covers_what_was_allowed_last(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, ANN).id
        assert credentials.record_consent(scope, ann, "wiki", ["profile", "email"])
        assert credentials.check_consent(scope, ann, "wiki", ["email"])
        assert credentials.record_consent(scope, ann, "wiki", ["profile"], ttl=HOUR)
        assert not credentials.check_consent(scope, ann, "wiki", ["profile", "email"])
        assert credentials.check_consent(scope, ann, "wiki", ["profile"])
        assert not credentials.check_consent(scope, ann, "mail", [])
    assert len(office.rows("consent")) == 1
    office.later(hours=2)
    with office.scope() as scope:
        assert not credentials.check_consent(scope, ann, "wiki", ["profile"])


def test_a_factor_counts_once_it_was_shown_to_work(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann, bob = (users.get(scope, UserRef(username=name)).id for name in ("ann", "bob"))
        device = credentials.register_mfa_device(scope, ann, "totp", "phone", "vault/1")
        assert device is not None
        assert credentials.mfa_devices(scope, ann) == []
        assert not credentials.confirm_mfa_device(scope, bob, device)
        assert credentials.confirm_mfa_device(scope, ann, device)
        assert [(one.type, one.name, one.secret_ref) for one in credentials.mfa_devices(scope, ann)] == [
            ("totp", "phone", "vault/1")
        ]
        assert credentials.used_mfa_device(scope, ann, device)
        access.cut(scope, [ann])
        assert not credentials.used_mfa_device(scope, ann, device)


def test_a_password_is_checked_for_people_who_may_get_in(office: Office) -> None:
    office.world()
    made = passwords.hash_password("correct horse battery staple")
    office.do("reset_password", {"user": "ann", "password_hash": made, "notify": False})
    with office.scope() as scope:
        found = credentials.check_password(scope, ANN, "correct horse battery staple")
        assert found is not None
        assert found.username == "ann"
        assert credentials.check_password(scope, ANN, "wrong horse battery staple") is None
        assert credentials.check_password(scope, UserRef(username="bob"), "correct horse battery staple") is None
        assert credentials.check_password(scope, UserRef(username="nobody"), "correct horse battery staple") is None
    office.do("deactivate_user", {"user": "ann"})
    with office.scope() as scope:
        assert credentials.check_password(scope, ANN, "correct horse battery staple") is None


def test_what_happens_outside_is_taken_down(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, ANN).id
        credentials.record_login_failed(scope, ANN, "wrong password", "192.0.2.1")
        credentials.record_login_failed(scope, UserRef(username="hunter2 hunter2"), "unknown")
        credentials.record_application_authorised(scope, ann, "wiki", ["profile"])
    failed, authorised = office.events("ann")[-2:]
    assert (failed["action"], failed["data"]) == ("login.failed", {"reason": "wrong password", "ip": "192.0.2.1"})
    assert (authorised["action"], authorised["job"]) == ("application.authorised", None)
    assert authorised["data"] == {"application": "wiki", "scopes": ["profile"]}
    [unknown] = office.rows("event", action="login.failed", target=None)
    assert unknown["target_name"] is None
    assert "hunter2" not in everything(office)
