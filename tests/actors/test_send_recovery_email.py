"""send_recovery_email: every refusal has its name, the link rests nowhere, and the older one dies when the newer left."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from office import Office
from posts import HASH, everything, mailing, sent, text, token
from smtp_double import DROP, SmtpDouble

from worker.directory import recoveries
from worker.outcomes import Reject

ASK = {"user": "ann"}
LATER = [{"RCPT": "450 4.2.0 later"}] * 50
"""A relay that puts everything off."""


def works(office: Office, link: str) -> bool:
    with office.scope() as scope:
        return recoveries.look(scope, link) is not None


def test_the_mail_arrives_and_its_link_works(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        ended = office.do("send_recovery_email", {"user": "ann", "valid_for": "PT30M", "requested_by": "the help desk"})
        assert ended.state == "succeeded", ended
        [mail] = sent(tmp_path)
        assert mail["To"].addresses[0].addr_spec == "ann@example.com"
        assert "the help desk" in text(mail)
        assert "30 minutes" in text(mail)
        assert "Monday, 2 March 2026, 09:30 UTC" in text(mail)
        assert token(mail) not in everything(office)
        assert token(mail) not in str(ended)
        event = office.events("ann")[-1]
        assert (event["action"], event["data"]["superseded"]) == ("recovery.sent", 0)
        with office.scope() as scope:
            assert recoveries.redeem(scope, token(mail), HASH).user.username == "ann"


def lock_ann(office: Office) -> None:
    office.do("lock_user", {"user": "ann", "owner": "security", "reason": "stolen"})


def take_address(office: Office) -> None:
    office.do("update_user", {"user": "ann", "email": None})


def spoil_address(office: Office) -> None:
    with office.scope() as scope:
        scope.conn.exec_driver_sql("UPDATE users SET email = 'nonsense' WHERE username = 'ann'")


def leave(office: Office) -> None:
    office.do("deactivate_user", {"user": "ann"})


@pytest.mark.parametrize(
    ("before", "reason"),
    [(leave, "inactive"), (lock_ann, "locked"), (take_address, "no_email"), (spoil_address, "bad_email")],
)
def test_a_refusal_has_its_name(
    database_url: str, tmp_path: Path, before: Callable[[Office], None], reason: str
) -> None:
    with mailing(database_url, tmp_path) as office:
        before(office)
        ended = office.do("send_recovery_email", ASK)
        assert (ended.state, ended.reason) == ("rejected", reason)
        assert office.rows("recovery") == []
        assert sent(tmp_path) == []


def test_nobody_unknown_is_written_to(office: Office) -> None:
    ended = office.do("send_recovery_email", {"user": "nobody"})
    assert (ended.state, ended.reason) == ("rejected", "unknown_user")


def test_without_a_relay_it_is_said(postgres_url: str) -> None:
    office = Office(postgres_url)
    office.world()
    ended = office.do("send_recovery_email", ASK)
    office.close()
    assert (ended.state, ended.reason) == ("rejected", "no_relay")


def test_asking_twice_within_a_minute_sends_one_mail(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("send_recovery_email", ASK)
        again = office.do("send_recovery_email", ASK)
        assert again.state in ("rejected", "cancelled")
        assert again.reason == "coalesced"
        assert len(sent(tmp_path)) == 1


def test_the_older_link_dies_when_the_newer_mail_has_left(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("send_recovery_email", ASK)
        [first] = sent(tmp_path)
        office.later(minutes=2)
        assert works(office, token(first))
        office.do("send_recovery_email", ASK)
        second = next(mail for mail in sent(tmp_path) if token(mail) != token(first))
        assert not works(office, token(first))
        assert works(office, token(second))
        assert office.events("ann")[-1]["data"]["superseded"] == 1


def test_while_the_newer_mail_cannot_leave_the_older_link_lives(database_url: str, tmp_path: Path) -> None:
    with SmtpDouble() as relay, mailing(database_url, tmp_path, smtp_url=relay.url) as office:
        office.do("send_recovery_email", ASK)
        with office.scope() as scope:
            older = recoveries.rederive(scope, office.rows("recovery")[0]["id"]).token
    with (
        SmtpDouble(LATER) as relay,
        closing(Office(database_url, smtp_url=relay.url)) as office,
    ):
        office.later(minutes=2)
        waiting = office.do("send_recovery_email", ASK)
        assert waiting.state == "queued", waiting
        assert works(office, older)


def test_a_mail_that_left_late_has_its_full_time(database_url: str, tmp_path: Path) -> None:
    with (
        SmtpDouble(LATER[:1]) as relay,
        mailing(database_url, tmp_path, smtp_url=relay.url) as office,
    ):
        job_id = office.submit("send_recovery_email", ASK)
        office.drain()
        [row] = office.rows("recovery")
        assert row["expires_at"] == office.now + timedelta(hours=1)
        office.later(hours=3)
        office.drain()
        assert office.ended(job_id).state == "succeeded"
        [row] = office.rows("recovery")
        assert row["expires_at"] == office.now + timedelta(hours=1)
        assert row["state"] == "open"


def change_address(office: Office) -> None:
    office.do("update_user", {"user": "ann", "email": "ann@example.net"})


def spend(office: Office) -> None:
    with office.scope() as scope:
        found = recoveries.rederive(scope, office.rows("recovery")[0]["id"])
        recoveries.redeem(scope, found.token, HASH)


def reset(office: Office) -> None:
    office.do("reset_password", {"user": "ann", "password_hash": HASH, "notify": False})


@pytest.mark.parametrize(
    ("meanwhile", "reasons"),
    [
        (change_address, {"address_changed", "access_changed"}),
        (spend, {"no_longer_needed"}),
        (reset, {"access_changed"}),
        (leave, {"inactive", "superseded"}),
        (lock_ann, {"locked", "superseded"}),
    ],
)
def test_before_every_try_the_person_is_looked_at_again(
    database_url: str, tmp_path: Path, meanwhile: Callable[[Office], None], reasons: set[str]
) -> None:
    with (
        SmtpDouble(LATER) as relay,
        mailing(database_url, tmp_path, smtp_url=relay.url) as office,
    ):
        job_id = office.submit("send_recovery_email", ASK)
        office.drain()
        assert office.ended(job_id).state == "queued"
        meanwhile(office)
        office.later(hours=2)
        office.drain()
        ended = office.ended(job_id)
        assert ended.state in ("rejected", "cancelled")
        assert ended.reason in reasons


def test_a_newer_request_takes_the_place_of_one_that_is_still_under_way(database_url: str, tmp_path: Path) -> None:
    with (
        SmtpDouble(LATER) as relay,
        mailing(database_url, tmp_path, smtp_url=relay.url) as office,
    ):
        first = office.submit("send_recovery_email", ASK)
        office.drain()
        office.later(minutes=3)
        second = office.submit("send_recovery_email", ASK)
        office.edge.run("send_recovery_email", urgent=False)
        office.later(minutes=30)
        office.drain()
        assert office.ended(first).reason == "superseded"
        assert second in (office.ended(first).reason_text or "")
        assert office.ended(second).state == "queued"


def test_after_an_unknown_outcome_the_very_same_link_goes_out_again(database_url: str, tmp_path: Path) -> None:
    with (
        SmtpDouble([{"dot": DROP}]) as relay,
        mailing(database_url, tmp_path, smtp_url=relay.url) as office,
    ):
        job_id = office.submit("send_recovery_email", {"user": "ann", "valid_for": "PT2H"})
        office.drain()
        assert office.ended(job_id).state == "unknown"
        [before] = office.rows("recovery")
        for _ in range(4):
            office.later(minutes=10)
            office.keeper.settle_leases()
            office.drain()
        assert office.ended(job_id).state == "succeeded", office.ended(job_id)
        assert office.rows("recovery") == [before]


def test_a_link_that_was_handed_over_and_is_half_over_is_not_sent_again(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("send_recovery_email", ASK)
        [row] = office.rows("recovery")
        office.later(minutes=31)
        with office.scope() as scope:
            from worker.directory import users
            from worker.jobs import UserRef

            user = users.get(scope, UserRef(username="ann"))
            with pytest.raises(Reject) as refusal:
                recoveries.admit(
                    scope, user, purpose="recovery", valid_for=timedelta(hours=1), requested_by=None, job=row["job"],
                    frozen={"recovery": row["id"], "handed": True},
                )  # fmt: skip
        assert refusal.value.code == "expired"


@pytest.mark.parametrize("length", ["PT1M", "P2D"])
def test_a_link_lasts_five_minutes_to_a_day(office: Office, length: str) -> None:
    assert office.accept("send_recovery_email", {"user": "ann", "valid_for": length}).id is None
