"""deactivate_user: at once, past whatever waits, and never the last administrator."""

from datetime import timedelta

from office import Office

from worker.directory import credentials


def test_it_says_what_it_took_away_once(office: Office) -> None:
    office.world()
    ann = office.user("ann")
    assert ann is not None
    with office.scope() as scope:
        credentials.issue_session(scope, ann.id, timedelta(hours=1))
    first = office.do("deactivate_user", {"user": "ann", "reason": "left on 31 March"})
    assert first.result["changed"]
    assert first.result["revoked"] == {
        "sessions": 1, "refresh_tokens": 0, "consents": 0, "mfa_devices": 0, "recoveries": 0, "invitations": 0,
    }  # fmt: skip
    last = office.events("ann")[-1]
    assert (last["action"], last["data"]["reason"]) == ("user.deactivated", "left on 31 March")
    events = len(office.events("ann"))
    second = office.do("deactivate_user", {"user": {"external_id": "E-1001"}})
    assert (second.state, second.result["changed"]) == ("succeeded", False)
    assert len(office.events("ann")) == events, "what did not happen is not in the trail"


def test_a_name_from_before_a_rename_still_hits_the_person(office: Office) -> None:
    office.world()
    office.do("update_user", {"user": "ann", "username": "ann.archer"})
    assert office.do("deactivate_user", {"user": "ann"}).result["changed"]
    after = office.user("ann.archer")
    assert after is not None
    assert not after.is_active


def test_the_last_administrator_stays_also_when_all_leave_in_one_batch(office: Office) -> None:
    office.world()
    office.do("add_to_group", {"user": "ann", "group": "administrators"})
    jobs = [office.submit("deactivate_user", {"user": name}) for name in ("ann", "bob")]
    office.drain()
    assert sorted((office.ended(job).state, office.ended(job).reason) for job in jobs) == [
        ("rejected", "last_administrator"), ("succeeded", None),
    ]  # fmt: skip


def test_an_unknown_person_is_refused_by_name(office: Office) -> None:
    ended = office.do("deactivate_user", {"user": {"external_id": "E-404"}})
    assert (ended.state, ended.reason) == ("rejected", "unknown_user")
    assert "external_id E-404" in (ended.reason_text or "")


def test_a_planned_deletion_stands_when_somebody_is_deactivated_again(office: Office) -> None:
    office.world()
    office.do("offboard_user", {"user": "ann"})
    office.do("deactivate_user", {"user": "ann"})
    office.later(days=91)
    office.drain()
    assert office.user("ann") is None
