"""remove_mfa_devices removes factors, and says when the last one went."""

from office import Office

from worker.directory import credentials, users
from worker.jobs import UserRef


def test_removing_the_last_factor_is_an_event_of_its_own(office: Office) -> None:
    office.world()
    devices = []
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        for name in ("phone", "key"):
            device = credentials.register_mfa_device(scope, ann, "webauthn", name)
            assert device is not None
            assert credentials.confirm_mfa_device(scope, ann, device)
            devices.append(device)
    ended = office.do("remove_mfa_devices", {"user": "ann", "ids": devices[:1]})
    assert ended.result == {"changed": True, "left": 1, "mfa_devices": 1}
    ended = office.do("remove_mfa_devices", {"user": "ann", "all": True})
    assert ended.result == {"changed": True, "left": 0, "mfa_devices": 1}
    assert [event["action"] for event in office.events("ann")[-3:]] == [
        "mfa_devices.removed", "mfa_devices.removed", "last_factor.removed"
    ]  # fmt: skip
    ended = office.do("remove_mfa_devices", {"user": "ann", "all": True})
    assert ended.result == {"changed": False, "left": 0, "mfa_devices": 0}


def test_a_factor_never_confirmed_was_not_the_last_one(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ann = users.get(scope, UserRef(username="ann")).id
        assert credentials.register_mfa_device(scope, ann, "totp", "phone")
    assert office.do("remove_mfa_devices", {"user": "ann", "all": True}).result["mfa_devices"] == 1
    assert office.events("ann")[-1]["action"] == "mfa_devices.removed"


def test_naming_none_does_not_mean_all(office: Office) -> None:
    office.world()
    ended = office.do("remove_mfa_devices", {"user": "ann"})
    assert (ended.state, ended.reason) == ("rejected", "wildcard_needs_consent")
