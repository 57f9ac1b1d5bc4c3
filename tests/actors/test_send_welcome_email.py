"""send_welcome_email greets a new user with a link to choose a password."""

from pathlib import Path

from office import Office
from posts import HASH, everything, mailing, sent, text, token

from worker.directory import recoveries


def test_the_mail_arrives_and_its_link_sets_the_first_password(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("update_user", {"user": "ann", "attributes": {"organisation_unit": "Research"}})
        ended = office.do("send_welcome_email", {"user": "ann"})
        assert ended.state == "succeeded", ended
        [mail] = sent(tmp_path)
        assert "Research" in text(mail)
        assert "3 days" in text(mail)
        assert token(mail) not in everything(office)
        office.later(hours=71)
        with office.scope() as scope:
            shown = recoveries.look(scope, token(mail))
            assert shown is not None
            assert shown.purpose == "welcome"
            recoveries.redeem(scope, token(mail), HASH)
        again = office.do("send_welcome_email", {"user": "ann"})
        assert again.state == "succeeded", "somebody asks for it anew, and gets a new link"


def test_who_may_not_get_in_is_not_welcomed(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        ended = office.do("send_welcome_email", {"user": "carol"})
        assert (ended.state, ended.reason) == ("rejected", "inactive")


def test_without_a_relay_it_is_said(postgres_url: str) -> None:
    office = Office(postgres_url)
    office.world()
    ended = office.do("send_welcome_email", {"user": "ann"})
    office.close()
    assert (ended.state, ended.reason) == ("rejected", "no_relay")


def test_a_recovery_mail_takes_the_place_of_the_welcome(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("send_welcome_email", {"user": "ann"})
        assert office.do("send_recovery_email", {"user": "ann"}).state == "succeeded"
        states = {row["purpose"]: row["state"] for row in office.rows("recovery")}
        assert states == {"welcome": "superseded", "recovery": "open"}
