"""create_recovery_link makes a link that only the command line can show, and only once."""

import pytest
from office import Office
from posts import HASH, everything

from worker.directory import recoveries


def test_the_link_is_not_in_the_result_and_works_once_it_is_shown(office: Office) -> None:
    office.world()
    ended = office.do("create_recovery_link", {"user": "ann", "valid_for": "PT30M"})
    assert (ended.result["changed"], ended.result["expires_at"]) == (True, "2026-03-02T09:30:00+00:00")
    with office.scope() as scope:
        token = recoveries.rederive(scope, ended.result["recovery"]).token
        assert recoveries.show(scope, ended.result["recovery"], shown_to="dana").endswith(f"/recover/{token}")
    assert token not in everything(office)
    with office.scope() as scope:
        assert recoveries.redeem(scope, token, HASH).user.username == "ann"
    actions = [event["action"] for event in office.events("ann")]
    assert actions[-4:] == ["recovery.issued", "recovery.link_shown", "recovery.used", "password.changed"]


def test_a_newer_link_takes_the_place_of_older_ones(office: Office) -> None:
    office.world()
    office.do("create_recovery_link", {"user": "ann"})
    assert office.do("create_recovery_link", {"user": "ann"}).result["superseded"] == 1
    assert sorted(row["state"] for row in office.rows("recovery")) == ["open", "superseded"]


def test_who_may_not_get_in_gets_no_link(office: Office) -> None:
    office.world()
    office.do("lock_user", {"user": "bob", "owner": "security", "reason": "stolen"})
    for user, reason in (("nobody", "unknown_user"), ("carol", "inactive"), ("bob", "locked")):
        ended = office.do("create_recovery_link", {"user": user})
        assert (ended.state, ended.reason) == ("rejected", reason)
    assert office.rows("recovery") == []


@pytest.mark.parametrize("length", ["PT4M", "P2D", "-PT1H"])
def test_a_link_lasts_five_minutes_to_a_day(office: Office, length: str) -> None:
    assert office.accept("create_recovery_link", {"user": "ann", "valid_for": length}).id is None
