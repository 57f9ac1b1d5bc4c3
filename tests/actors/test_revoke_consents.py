"""revoke_consents withdraws consents, all or one application's, so that they have to be given again."""

from office import Office

from worker.directory import credentials, users
from worker.jobs import UserRef


def test_consents_are_withdrawn_for_one_application_or_for_all(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        for application in ("wiki", "mail", "calendar"):
            assert credentials.record_consent(scope, ann, application, ["profile"])
    ended = office.do("revoke_consents", {"user": "ann", "application": "wiki"})
    assert ended.result == {"changed": True, "consents": 1}
    with office.scope() as scope:
        assert not credentials.check_consent(scope, ann, "wiki", ["profile"])
        assert credentials.check_consent(scope, ann, "mail", ["profile"])
    assert office.do("revoke_consents", {"user": "ann"}).result == {"changed": True, "consents": 2}
    assert office.do("revoke_consents", {"user": "ann"}).result == {"changed": False, "consents": 0}
