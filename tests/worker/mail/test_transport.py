"""The folder that takes the mails as long as no relay is set."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from worker.mail.catcher import Catcher
from worker.mail.failures import RelayMisconfigured, Reply, Stage
from worker.mail.mime import build_message, message_id_for
from worker.mail.smtp import SmtpTransport
from worker.mail.transport import FolderTransport, Transport, transport_from_url


def mail(job: str = "job-1", subject: str = "Hello") -> bytes:
    return build_message(
        sender=("", "muster@example.com"), recipient=("Ann", "ann@example.org"), subject=subject, text="Hello\n",
        html="<p>Hello</p>", message_id=message_id_for(job, "id.example.com"),
        date=datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC),
    )


def send(transport: Transport, message: bytes, before_dot: Callable[[], None] = lambda: None) -> Reply:
    return transport.send(
        sender="muster@example.com", recipient="ann@example.org", message=message, before_dot=before_dot,
    )


def test_the_setting_picks_the_way(tmp_path: Path) -> None:
    with Catcher() as catcher:
        transport = transport_from_url(catcher.url, tmp_path)
        assert isinstance(transport, SmtpTransport)
        send(transport, mail())
        transport.close()
        assert [found.message for found in catcher.mails] == [mail()]
    assert isinstance(transport_from_url(None, tmp_path), FolderTransport)
    assert isinstance(transport_from_url("", tmp_path), FolderTransport)


def test_a_mail_becomes_a_file_that_only_this_user_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "mails"
    transport = FolderTransport(folder)
    reply = send(transport, mail())
    (file,) = folder.iterdir()
    assert file.read_bytes() == mail()
    assert file.name.startswith("20261123T150405Z-")
    assert file.suffix == ".eml"
    assert reply == Reply(250, "", f"250 kept in the file {file.name}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    transport.close()


def test_the_same_mail_again_replaces_its_own_file_and_no_other(tmp_path: Path) -> None:
    transport = FolderTransport(tmp_path)
    for _ in range(2):
        send(transport, mail("job-1"))
        send(transport, mail("job-2"))
    assert len(list(tmp_path.iterdir())) == 2


def test_the_file_appears_only_after_the_caller_has_committed(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    transport = FolderTransport(tmp_path)
    send(transport, mail(), lambda: seen.append([path.name for path in tmp_path.glob("*.eml") if path.name[0] != "."]))
    assert seen == [[]]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_caller_that_loses_its_claim_leaves_no_file(tmp_path: Path) -> None:
    def lost() -> None:
        raise LookupError("the lease is gone")

    with pytest.raises(LookupError):
        send(FolderTransport(tmp_path), mail(), lost)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_a_setting_to_correct(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for attempt in (lambda: send(FolderTransport(blocked / "mails"), mail()), FolderTransport(blocked / "mails").probe):
        with pytest.raises(RelayMisconfigured, match="cannot be written") as caught:
            attempt()
        assert caught.value.stage is Stage.CONNECT
        assert not caught.value.uses_attempt


def test_a_probe_of_the_folder_says_that_no_relay_is_set(tmp_path: Path) -> None:
    assert FolderTransport(tmp_path).probe() == f"No relay is set: mails are kept as files in {tmp_path}."
    assert list(tmp_path.iterdir()) == []
