"""reset_password stores a hash made at the door, never anything else, and ends what hung on the old one."""

from datetime import timedelta
from pathlib import Path

from office import Office
from posts import HASH, everything, mailing, sent, text

from worker.directory import access, credentials, users
from worker.jobs import UserRef

OTHER = HASH.replace("AAECAw", "BBECAw")


def test_a_hash_is_stored_and_the_person_told(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        with office.scope() as scope:
            ann = users.get(scope, UserRef(username="ann")).id
            assert credentials.issue_session(scope, ann, timedelta(hours=1))
        ended = office.do("reset_password", {"user": "ann", "password_hash": HASH})
        assert ended.result == {"changed": True, "sessions": 1, "refresh_tokens": 0, "recoveries": 0}
        found = office.user("ann")
        assert found is not None
        assert (found.password_hash, found.password_changed_at) == (HASH, office.now)
        [mail] = sent(tmp_path)
        assert mail["To"].addresses[0].addr_spec == "ann@example.com"
        assert "tester" in text(mail)
        stored = everything(office)
        assert stored.count(HASH) == 1, "the hash belongs into the user's row and nowhere else"


def test_the_same_hash_again_changes_nothing(office: Office) -> None:
    office.world()
    office.do("reset_password", {"user": "ann", "password_hash": HASH, "notify": False})
    office.later(hours=1)
    assert office.do("reset_password", {"user": "ann", "password_hash": HASH}).result == {"changed": False}
    ann = office.user("ann")
    assert ann is not None
    assert ann.password_changed_at == office.now - timedelta(hours=1)
    assert office.jobs("send_password_changed_email") == []


def test_sessions_can_be_kept(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        session = credentials.issue_session(scope, ann, timedelta(hours=1))
        assert session is not None
    fields = {"user": "ann", "password_hash": HASH, "end_sessions": False, "notify": False}
    assert office.do("reset_password", fields).result == {"changed": True, "recoveries": 0}
    with office.scope() as scope:
        assert access.usable(scope, [ann])[ann]["sessions"] == 1


def test_a_clear_password_or_a_weak_hash_is_refused_and_not_kept(office: Office) -> None:
    office.world()
    for given in ("correct horse battery staple", HASH.replace("m=19456", "m=64"), HASH.replace("argon2id", "argon2d")):
        ended = office.do("reset_password", {"user": "ann", "password_hash": given})
        assert (ended.state, ended.reason) == ("rejected", "bad_hash")
        assert given not in everything(office)


def test_who_may_not_get_in_gets_no_password(office: Office) -> None:
    office.world()
    office.do("lock_user", {"user": "bob", "owner": "security", "reason": "stolen"})
    for user, reason in (("nobody", "unknown_user"), ("carol", "inactive"), ("bob", "locked")):
        ended = office.do("reset_password", {"user": user, "password_hash": OTHER})
        assert (ended.state, ended.reason) == ("rejected", reason)
