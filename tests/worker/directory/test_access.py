"""Access: cutting ends every kind of credential, revoking ends just what was named, and what is kept lives on."""

from datetime import timedelta

from office import Office

from worker.directory import access, credentials, recoveries, users
from worker.jobs import UserRef
from worker.scope import Scope
from worker.tables import metadata

HOUR = timedelta(hours=1)


def equip(scope: Scope, username: str) -> str:
    """Give somebody two sessions, three refresh tokens, two consents, two factors and a link; returns the id."""
    user = users.get(scope, UserRef(username=username))
    sessions = [credentials.issue_session(scope, user.id, HOUR, "192.0.2.1", "browser") for _ in range(2)]
    for application, session in (("wiki", sessions[0]), ("mail", sessions[1]), ("phone", None)):
        assert credentials.issue_refresh_token(scope, user.id, application, session.id if session else None, HOUR)
    for application in ("wiki", "mail"):
        assert credentials.record_consent(scope, user.id, application, ["profile"])
    for name in ("phone", "key"):
        device = credentials.register_mfa_device(scope, user.id, "webauthn", name)
        assert device is not None
        assert credentials.confirm_mfa_device(scope, user.id, device)
    recoveries.create(scope, user, purpose="recovery", valid_for=HOUR)
    return user.id


FULL = {"sessions": 2, "refresh_tokens": 3, "consents": 2, "mfa_devices": 2, "recoveries": 1}
NONE = dict.fromkeys(FULL, 0)


def test_the_table_of_credentials_holds_every_table_with_an_epoch() -> None:
    with_epoch = {table.name for table in metadata.sorted_tables if "epoch" in table.c} - {"users"}
    assert {kind.name for kind in access.CREDENTIALS} == with_epoch == {kind.table.name for kind in access.CREDENTIALS}


def test_cutting_leaves_nothing_usable_and_counts_each_kind(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann, bob = equip(scope, "ann"), equip(scope, "bob")
    with office.scope() as scope:
        before = users.by_ids(scope, [ann, bob])
        assert access.usable(scope, [ann, bob]) == {ann: FULL, bob: FULL}
        assert access.cut(scope, [ann]) == {ann: {**FULL, "invitations": 0}}
        after = users.by_ids(scope, [ann, bob])
        assert access.usable(scope, [ann, bob]) == {ann: NONE, bob: FULL}
    assert after[ann].epoch == before[ann].epoch + 1
    assert after[bob].epoch == before[bob].epoch


def test_a_credential_of_an_earlier_epoch_is_dead_even_where_its_row_survived(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = equip(scope, "ann")
        scope.conn.execute(metadata.tables["users"].update().values(epoch=7))
        assert access.usable(scope, [ann]) == {ann: NONE}


def test_cutting_some_kinds_lets_the_others_live_on(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = equip(scope, "ann")
        counts = access.cut(scope, [ann], kinds=access.PASSWORD_BOUND)
        assert counts == {ann: {"sessions": 2, "refresh_tokens": 3, "recoveries": 1}}
        assert access.usable(scope, [ann]) == {ann: {**NONE, "consents": 2, "mfa_devices": 2}}


def test_what_was_dead_before_is_not_carried_over(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = equip(scope, "ann")
        scope.conn.execute(metadata.tables["mfa_device"].update().values(epoch=0))
        access.cut(scope, [ann], kinds=access.PASSWORD_BOUND)
        assert access.usable(scope, [ann])[ann]["mfa_devices"] == 0


def test_all_but_some_sessions(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = equip(scope, "ann")
        kept, other = (row.id for row in scope.conn.execute(metadata.tables["session"].select()))
        assert access.revoke_sessions(scope, ann, all_but=[kept]) == {"sessions": 1, "refresh_tokens": 1}
        assert access.usable(scope, [ann]) == {ann: {**FULL, "sessions": 1, "refresh_tokens": 2}}
        assert access.revoke_sessions(scope, ann, only=[other]) == {"sessions": 0, "refresh_tokens": 0}


def test_an_open_invitation_to_the_same_address_is_a_way_back_in(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        from worker.directory import invitations

        for address in ("ann@example.com", "dora@example.com"):
            to = invitations.read_address(scope, address, address)
            invitations.create(
                scope, to, name=None, groups=[], path="users", valid_for=HOUR, invited_by=None, job=None
            )
        ann = users.get(scope, UserRef(username="ann")).id
        assert access.cut(scope, [ann])[ann]["invitations"] == 1
    assert {row["email"]: row["state"] for row in office.rows("invitation")} == {
        "ann@example.com": "revoked", "dora@example.com": "open"
    }  # fmt: skip
