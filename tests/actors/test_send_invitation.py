"""send_invitation asks somebody in by mail; the link rests nowhere, and the older one dies when the newer left."""

from pathlib import Path

from posts import everything, mailing, sent, text, token
from smtp_double import SmtpDouble

from worker.directory import invitations

ASK = {"email": "Dora@EXAMPLE.com", "name": "Dora Diaz", "groups": ["staff"], "invited_by": "Bob Baker"}


def test_the_invitation_arrives(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        ended = office.do("send_invitation", {**ASK, "message": "Join us!"})
        assert ended.state == "succeeded", ended
        [mail] = sent(tmp_path)
        assert mail["To"].addresses[0].addr_spec == "Dora@example.com"
        assert "Bob Baker" in text(mail)
        assert "Join us!" in text(mail)
        assert token(mail) not in everything(office)
        with office.scope() as scope:
            found = invitations.look(scope, token(mail))
        assert found is not None
        assert (found.name, found.groups, found.invited_by) == ("Dora Diaz", ("staff",), "Bob Baker")


def test_the_older_one_dies_when_the_newer_has_left(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("send_invitation", ASK)
        office.do("send_invitation", ASK)
        assert [row["state"] for row in sorted(office.rows("invitation"), key=lambda row: str(row["id"]))] == [
            "revoked", "open"
        ]  # fmt: skip


def test_a_retry_carries_the_same_invitation_with_its_full_time(database_url: str, tmp_path: Path) -> None:
    with (
        SmtpDouble([{"RCPT": "450 4.2.0 later"}]) as relay,
        mailing(database_url, tmp_path, smtp_url=relay.url) as office,
    ):
        job_id = office.submit("send_invitation", ASK)
        office.drain()
        [before] = office.rows("invitation")
        office.later(hours=7)
        office.drain()
        assert office.ended(job_id).state == "succeeded"
        [after] = office.rows("invitation")
        assert after["digest"] == before["digest"]
        assert (after["expires_at"] - before["expires_at"]).total_seconds() == 7 * 3600


def test_what_cannot_be_is_refused_by_name(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        for fields, reason in (({"email": "dora@"}, "bad_email"), ({"groups": ["nowhere"]}, "unknown_group")):
            ended = office.do("send_invitation", {**ASK, **fields})
            assert (ended.state, ended.reason) == ("rejected", reason)
        assert office.rows("invitation") == []
