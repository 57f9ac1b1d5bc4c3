"""revoke_tokens ends refresh tokens, all or one application's, and leaves the sessions."""

from datetime import timedelta

from office import Office

from worker.directory import access, credentials, users
from worker.jobs import UserRef


def test_tokens_end_for_one_application_or_for_all(office: Office) -> None:
    office.world()
    hour = timedelta(hours=1)
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        session = credentials.issue_session(scope, ann, hour)
        assert session is not None
        for application in ("wiki", "wiki", "mail"):
            assert credentials.issue_refresh_token(scope, ann, application, session.id, hour)
    ended = office.do("revoke_tokens", {"user": "ann", "application": "wiki"})
    assert ended.result == {"changed": True, "refresh_tokens": 2}
    assert office.do("revoke_tokens", {"user": "ann"}).result == {"changed": True, "refresh_tokens": 1}
    assert office.do("revoke_tokens", {"user": "ann"}).result == {"changed": False, "refresh_tokens": 0}
    with office.scope() as scope:
        assert access.usable(scope, [ann])[ann]["sessions"] == 1
    assert [event["data"]["refresh_tokens"] for event in office.events("ann")[-2:]] == [2, 1]
