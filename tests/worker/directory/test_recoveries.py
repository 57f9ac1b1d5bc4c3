"""Recovery links: one secret key makes them again, looking spends nothing, and whatever changes kills them."""

from datetime import timedelta

import pytest
from office import Office
from posts import HASH, everything
from races import meet

from worker.directory import access, credentials, recoveries, users
from worker.directory.recoveries import Recovery, Redeemed
from worker.jobs import UserRef
from worker.outcomes import Reject
from worker.scope import Scope
from worker.tables import metadata

HOUR = timedelta(hours=1)
ANN = UserRef(username="ann")


def issue(office: Office, purpose: recoveries.Purpose = "recovery") -> Recovery:
    with office.scope() as scope:
        return recoveries.create(scope, users.get(scope, ANN), purpose=purpose, valid_for=HOUR)


def redeem(office: Office, found: Recovery, password_hash: str = HASH) -> Redeemed:
    with office.scope() as scope:
        return recoveries.redeem(scope, found.token, password_hash)


def refused(office: Office, found: Recovery) -> str:
    with pytest.raises(Reject) as refusal:
        redeem(office, found)
    with office.scope() as scope:
        assert recoveries.look(scope, found.token) is None
    return refusal.value.code


def test_a_link_is_looked_at_often_and_spent_once(office: Office) -> None:
    office.world()
    found = issue(office)
    for _ in range(20):
        with office.scope() as scope:
            shown = recoveries.look(scope, found.token)
            assert shown is not None
            assert (shown.username, shown.purpose) == ("ann", "recovery")
    done = redeem(office, found)
    assert done.user.username == "ann"
    assert done.follow[0] == "send_password_changed_email"
    ann = office.user("ann")
    assert ann is not None
    assert (ann.password_hash, ann.password_changed_at) == (HASH, office.now)
    assert refused(office, found) == "bad_recovery"
    assert [event["action"] for event in office.events("ann")][-2:] == ["recovery.used", "password.changed"]
    assert office.accept(*done.follow).state != "refused"


def test_spending_a_link_ends_what_hung_on_the_old_password(office: Office) -> None:
    office.world()
    older, newer, welcome = issue(office), issue(office), issue(office, "welcome")
    with office.scope() as scope:
        session = credentials.issue_session(scope, older.user_id, HOUR)
        assert session is not None
        assert credentials.register_mfa_device(scope, older.user_id, "totp", "phone")
    assert redeem(office, newer).ended == {"sessions": 1, "refresh_tokens": 0, "recoveries": 0}
    states = {row["id"]: row["state"] for row in office.rows("recovery")}
    assert states == {older.id: "superseded", newer.id: "used", welcome.id: "superseded"}
    assert refused(office, older) == refused(office, welcome) == "bad_recovery"
    with office.scope() as scope:
        # A link in a mailbox must not take the second factor off.
        assert access.usable(scope, [older.user_id])[older.user_id]["mfa_devices"] == 1


def test_a_bad_hash_spends_nothing(office: Office) -> None:
    office.world()
    found = issue(office)
    with pytest.raises(Reject) as refusal:
        redeem(office, found, "correct horse battery staple")
    assert refusal.value.code == "bad_hash"
    assert redeem(office, found).user.username == "ann"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("deactivate_user", {"user": "ann"}),
        ("lock_user", {"user": "ann", "owner": "security", "reason": "phished"}),
        ("reset_password", {"user": "ann", "password_hash": HASH, "notify": False}),
        ("reset_password", {"user": "ann", "password_hash": HASH, "notify": False, "end_sessions": False}),
        ("update_user", {"user": "ann", "email": "ann@example.net"}),
        ("delete_user", {"user": "ann"}),
        ("create_recovery_link", {"user": "ann"}),
    ],
)
def test_whatever_changes_the_account_kills_its_links(office: Office, kind: str, fields: dict[str, object]) -> None:
    office.world()
    found = issue(office)
    ended = office.do(kind, fields)
    assert ended.state == "succeeded", ended
    assert refused(office, found) == "bad_recovery"


def test_a_link_survives_what_is_not_about_it(office: Office) -> None:
    office.world()
    found = issue(office)
    assert office.do("revoke_sessions", {"user": "ann", "all": True}).state == "succeeded"
    assert office.do("remove_mfa_devices", {"user": "ann", "all": True}).state == "succeeded"
    assert redeem(office, found).user.username == "ann"


def test_a_link_ends_in_time(office: Office) -> None:
    office.world()
    found = issue(office)
    office.later(hours=1)
    assert refused(office, found) == "bad_recovery"


def test_a_made_up_link_is_refused_like_any_other(office: Office) -> None:
    office.world()
    with pytest.raises(Reject) as refusal, office.scope() as scope:
        recoveries.redeem(scope, "x" * 43, HASH)
    assert refusal.value.code == "bad_recovery"


def test_of_two_who_spend_it_at_once_one_gets_through(office: Office) -> None:
    office.world()
    found = issue(office)

    def spend(scope: Scope) -> Redeemed:
        return recoveries.redeem(scope, found.token, HASH)

    _, second, waited = meet(office, spend, spend)
    assert isinstance(second, Reject)
    assert waited


def test_a_link_behind_a_deactivation_is_dead(office: Office) -> None:
    office.world()
    found = issue(office)
    _, second, _ = meet(
        office,
        lambda scope: users.close(scope, [users.get(scope, ANN)]),
        lambda scope: recoveries.redeem(scope, found.token, HASH),
    )
    assert isinstance(second, Reject)
    ann = office.user("ann")
    assert ann is not None
    assert ann.password_hash is None


def test_a_link_is_shown_once_and_rests_nowhere(office: Office) -> None:
    office.world()
    found = issue(office)
    with office.scope() as scope:
        assert recoveries.rederive(scope, found.id) == found
        shown = recoveries.show(scope, found.id, shown_to="dana")
    assert shown == f"http://127.0.0.1:8000/recover/{found.token}"
    with pytest.raises(Reject), office.scope() as scope:
        recoveries.show(scope, found.id, shown_to="mallory")
    event = office.events("ann")[-1]
    assert (event["action"], event["actor"], event["data"]) == ("recovery.link_shown", "dana", {"recovery": found.id})
    assert found.token not in everything(office)
    assert found.token not in repr(found)
    assert redeem(office, found).user.username == "ann"


def test_a_link_made_under_another_key_is_not_made_up_anew(office: Office) -> None:
    office.world()
    found = issue(office)
    with office.scope() as scope:
        scope.conn.execute(metadata.tables["recovery"].update().values(nonce="another"))
    with pytest.raises(Reject), office.scope() as scope:
        recoveries.rederive(scope, found.id)
