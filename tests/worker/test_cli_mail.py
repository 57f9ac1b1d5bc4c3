"""`muster mail`: previews of every mail, and a test mail through a real conversation with a relay."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell

from worker.mail.catcher import Catcher
from worker.mail.samples import mail_classes


@pytest.fixture
def shell(sqlite_url: str) -> Iterator[Shell]:
    opened = Shell(sqlite_url)
    yield opened
    opened.close()


def test_every_mail_can_be_previewed(shell: Shell, tmp_path: Path) -> None:
    listed = [mail["name"] for mail in shell.objects("mail", "preview")]
    assert listed == sorted(mail_classes(shell.office.app.registry))
    assert "send_recovery_email" in listed
    for name in listed:
        page = tmp_path / f"{name}.html"
        text = shell.muster("mail", "preview", name, "--open", str(page)).stdout
        assert text.startswith("Subject: ")
        assert "<html" in page.read_text()
        assert shell.one("mail", "preview", name)["html"] == page.read_text()


def test_an_unknown_mail_ends_with_2_and_names_the_known(shell: Shell) -> None:
    result = shell.muster("mail", "preview", "send_flowers")
    assert result.exit_code == 2
    assert "send_welcome_email" in result.stderr


def test_a_test_mail_arrives(sqlite_url: str) -> None:
    with Catcher() as catcher:
        shell = Shell(sqlite_url, smtp_url=catcher.url)
        found = shell.one("mail", "test", "Ola@Example.com")
        shell.close()
    assert (found["accepted"], found["to"]) == (True, "Ola@example.com")
    assert "queued as" in found["reply"]
    [mail] = catcher.mails
    assert mail.recipients == ("Ola@example.com",)
    assert b"Test mail of Muster" in mail.message


def test_without_a_relay_it_says_where_the_file_is(shell: Shell, sqlite_url: str) -> None:
    result = shell.muster("mail", "test", "ola@example.com")
    assert result.exit_code == 0
    assert "No relay is set" in result.stdout
    assert list((Path(sqlite_url.removeprefix("sqlite:///")).parent / "mails").glob("*.eml"))


def test_no_way_for_mails_at_all_ends_with_2(postgres_url: str) -> None:
    shell = Shell(postgres_url)
    result = shell.muster("mail", "test", "ola@example.com")
    shell.close()
    assert result.exit_code == 2
    assert "MUSTER_SMTP_URL" in result.stderr


def test_a_relay_that_is_away_ends_with_3_and_one_that_refuses_with_1(sqlite_url: str) -> None:
    class Refusing(Catcher):
        def answer(self, moment: str, usual: str) -> str:
            return "550 5.1.1 no such mailbox" if moment == "RCPT" else usual

    with Refusing() as catcher:
        shell = Shell(sqlite_url, smtp_url=catcher.url)
        refused = shell.one("mail", "test", "ola@example.com", code=1)
        assert "no such mailbox" in refused["reply"]
    away = shell.muster("mail", "test", "ola@example.com")
    shell.close()
    assert away.exit_code == 3
    assert away.stdout == ""


@pytest.mark.parametrize("address", ["nobody", "a@b@c", "ola@example"])
def test_a_bad_address_ends_with_2(shell: Shell, address: str) -> None:
    assert shell.muster("mail", "test", address).exit_code == 2


def test_a_broken_relay_url_ends_with_2(sqlite_url: str) -> None:
    shell = Shell(sqlite_url, smtp_url="http://relay.example.com")
    result = shell.muster("mail", "test", "ola@example.com")
    shell.close()
    assert result.exit_code == 2
    assert "smtps://" in result.stderr
