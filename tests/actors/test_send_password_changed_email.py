"""send_password_changed_email warns the owner, whatever the state of the account."""

from pathlib import Path

from posts import mailing, sent, text

ASK = {"user": "ann", "changed_at": "2026-03-02T08:30:00+01:00", "changed_by": "the help desk"}


def test_the_owner_is_told_even_when_locked_out(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("lock_user", {"user": "ann", "owner": "security", "reason": "stolen"})
        assert office.do("send_password_changed_email", ASK).state == "succeeded"
        [mail] = sent(tmp_path)
        assert "the help desk" in text(mail)
        assert "Monday, 2 March 2026, 07:30 UTC" in text(mail)
        assert "http" not in text(mail)
        assert office.events("ann")[-1]["action"] == "password_notice.sent"


def test_without_an_address_it_is_said(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("update_user", {"user": "ann", "email": None})
        ended = office.do("send_password_changed_email", ASK)
        assert (ended.state, ended.reason) == ("rejected", "no_email")


def test_a_time_without_a_zone_is_refused(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        assert office.accept("send_password_changed_email", {**ASK, "changed_at": "2026-03-02T08:30:00"}).id is None
