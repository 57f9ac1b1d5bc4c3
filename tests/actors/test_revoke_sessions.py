"""revoke_sessions ends all, some or all but some sessions, and says how many it really ended."""

from datetime import timedelta

from office import Office

from worker.directory import credentials, users
from worker.directory.credentials import IssuedCredential
from worker.jobs import UserRef

HOUR = timedelta(hours=1)


def logins(office: Office, count: int) -> list[IssuedCredential]:
    """Log ann in, each session with a refresh token; returns the sessions."""
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        made = [credentials.issue_session(scope, ann, HOUR) for _ in range(count)]
        found = [one for one in made if one is not None]
        for one in found:
            assert credentials.issue_refresh_token(scope, ann, "wiki", one.id, HOUR)
    assert len(found) == count
    return found


def alive(office: Office, sessions: list[IssuedCredential]) -> list[bool]:
    with office.scope() as scope:
        return [credentials.check_session(scope, one.token) is not None for one in sessions]


def test_all_sessions_end(office: Office) -> None:
    office.world()
    sessions = logins(office, 3)
    ended = office.do("revoke_sessions", {"user": "ann", "all": True})
    assert ended.result == {"changed": True, "sessions": 3, "refresh_tokens": 3}
    assert alive(office, sessions) == [False] * 3
    event = office.events("ann")[-1]
    assert (event["action"], event["data"]) == ("sessions.revoked", {"kept": 0, "sessions": 3, "refresh_tokens": 3})
    ended = office.do("revoke_sessions", {"user": "ann", "all": True})
    assert ended.result == {"changed": False, "sessions": 0, "refresh_tokens": 0}


def test_some_sessions_end_and_counts_are_of_rows(office: Office) -> None:
    office.world()
    sessions = logins(office, 3)
    ids = [sessions[0].id, sessions[0].id, "01930f3e-0000-7000-8000-000000000001"]
    ended = office.do("revoke_sessions", {"user": "ann", "ids": ids})
    assert ended.result == {"changed": True, "sessions": 1, "refresh_tokens": 1}
    assert alive(office, sessions) == [False, True, True]


def test_all_but_the_present_session_end(office: Office) -> None:
    office.world()
    sessions = logins(office, 3)
    ended = office.do("revoke_sessions", {"user": "ann", "all_but": [sessions[1].id]})
    assert ended.result == {"changed": True, "sessions": 2, "refresh_tokens": 2}
    assert alive(office, sessions) == [False, True, False]


def test_somebody_elses_session_is_not_touched(office: Office) -> None:
    office.world()
    sessions = logins(office, 1)
    ended = office.do("revoke_sessions", {"user": "bob", "ids": [sessions[0].id]})
    assert ended.result["changed"] is False
    assert alive(office, sessions) == [True]


def test_naming_none_does_not_mean_all(office: Office) -> None:
    office.world()
    sessions = logins(office, 1)
    empty: list[dict[str, object]] = [{}, {"ids": []}, {"all_but": []}, {"all": False}]
    for fields in empty:
        ended = office.do("revoke_sessions", {"user": "ann", **fields})
        assert (ended.state, ended.reason) == ("rejected", "wildcard_needs_consent")
    assert alive(office, sessions) == [True]
    assert office.accept("revoke_sessions", {"user": "ann", "all": True, "ids": [sessions[0].id]}).id is None
    assert office.accept("revoke_sessions", {"user": "ann", "ids": ["x' OR 1=1"]}).id is None


def test_what_was_on_its_way_is_not_cancelled(office: Office) -> None:
    """Signing out an old browser must not cost somebody the group that was just asked for."""
    office.world()
    ahead = office.submit("update_user", {"user": "ann", "locale": "de"})
    waiting = office.submit("add_to_group", {"user": "ann", "group": "administrators"})
    held = office.submit("reactivate_user", {"user": "ann"}, hold="to be looked at")
    revoked = office.submit("revoke_sessions", {"user": "ann", "all": True})
    assert office.ended(revoked).state == "queued"
    office.drain()
    assert [office.ended(one).state for one in (ahead, waiting, revoked)] == ["succeeded"] * 3
    assert office.ended(held).state == "held"
