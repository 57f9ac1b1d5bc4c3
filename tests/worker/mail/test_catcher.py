"""The mail catcher takes what ordinary mail programs send, and goes away cleanly."""

import smtplib
import socket
import threading

import pytest

from worker.mail.catcher import Catcher


def test_it_takes_mail_from_the_standard_librarys_client() -> None:
    with Catcher() as catcher, smtplib.SMTP("127.0.0.1", catcher.port, timeout=5) as client:
        client.sendmail("a@example.com", ["b@example.org", "c@example.org"], "Subject: hello\r\n\r\n.dot\r\n")
        assert catcher.wait_for(1, 5)
        (mail,) = catcher.mails
    assert (mail.sender, mail.recipients) == ("a@example.com", ("b@example.org", "c@example.org"))
    assert mail.message == b"Subject: hello\r\n\r\n.dot\r\n"


def test_it_minds_the_order_of_commands() -> None:
    with Catcher() as catcher, smtplib.SMTP("127.0.0.1", catcher.port, timeout=5) as client:
        client.ehlo()
        assert client.docmd("DATA")[0] == 554
        assert client.rcpt("b@example.org")[0] == 503
        assert client.docmd("VRFY", "b")[0] == 502
        client.mail("a@example.com")
        client.rcpt("b@example.org")
        assert client.rset()[0] == 250
        assert client.docmd("DATA")[0] == 554
        assert client.noop()[0] == 250
    assert catcher.mails == []


def test_it_goes_away_while_somebody_is_connected_and_leaves_no_thread() -> None:
    with Catcher() as catcher:
        client = socket.create_connection(("127.0.0.1", catcher.port), timeout=5)
        assert client.recv(100).startswith(b"220")
        assert catcher.connections == 1
    assert client.recv(100) == b""
    client.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mail-catcher")]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", catcher.port), timeout=5)


def test_waiting_for_a_mail_that_does_not_come_says_so() -> None:
    with Catcher() as catcher:
        assert not catcher.wait_for(1, 0.01)
