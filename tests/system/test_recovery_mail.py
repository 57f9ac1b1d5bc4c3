"""A recovery mail whose relay was dead for two days: visible, retried with one command, and its link is the one that works."""

import email
import json
import re
import subprocess
import sys
from datetime import timedelta
from email import policy
from pathlib import Path

import pytest
from crew import Crew, environment, real_time, until
from office import Office
from servers import free_port
from workload import HASH

from worker.directory import recoveries
from worker.mail.catcher import Catcher, CaughtMail
from worker.outcomes import Reject

DEAD = timedelta(hours=48)
LOOK_EVERY = timedelta(minutes=30)

RETRY = ["jobs", "retry", "--kind", "send_recovery_email", "--state", "cancelled", "--state", "failed", "--json"]


@pytest.mark.timeout(120)
def test_a_mail_that_a_dead_relay_held_up_for_two_days(
    database_url: str, broker: str | None, tmp_path: Path
) -> None:
    port = free_port()
    relay = f"smtp://127.0.0.1:{port}"
    office, crew = Office(database_url, smtp_url=relay), Crew(database_url, broker, tmp_path)
    office.now = real_time() - DEAD - timedelta(minutes=10)  # two days pass in this test; then it is now
    try:
        with Catcher(port) as catcher:
            office.do("create_user", {"username": "ann", "email": "ann@example.com", "name": "Ann Archer"})
            office.do("send_welcome_email", {"user": "ann", "valid_for": "P14D"})
            [welcome] = [token(mail) for mail in catcher.mails]
        with office.scope() as scope:
            assert recoveries.look(scope, welcome) is not None
        office.later(minutes=5)
        mail = office.submit("send_recovery_email", {"user": "ann"})
        tries = pass_two_days(office, mail)
        print(f"{tries} looks at a dead relay")  # noqa: T201
        ended = office.ended(mail)
        assert (ended.state, ended.reason, ended.attempts) == ("cancelled", "expired", 0)

        with Catcher(port) as catcher:
            said = subprocess.run(
                [sys.executable, "-m", "worker", *RETRY], env=environment(database_url, broker, smtp_url=relay),
                capture_output=True, text=True, check=True, cwd=tmp_path,
            )  # fmt: skip
            assert json.loads(said.stdout) == {"retried": 1}
            crew.hire(smtp_url=relay)
            until(lambda: office.ended(mail).state == "succeeded", "the mail to leave")
            [fresh] = [token(caught) for caught in catcher.mails]
        office.now = real_time()
        with office.scope() as scope:
            shown = recoveries.look(scope, fresh)
            assert shown is not None
            assert shown.username == "ann"
            assert recoveries.look(scope, welcome) is None
        with office.scope() as scope, pytest.raises(Reject, match="unknown, used up, revoked or expired"):
            recoveries.redeem(scope, welcome, HASH)
        with office.scope() as scope:
            assert recoveries.redeem(scope, fresh, HASH).user.username == "ann"
        with office.scope() as scope, pytest.raises(Reject):
            recoveries.redeem(scope, fresh, HASH)
    finally:
        crew.stop()
        office.close()


def pass_two_days(office: Office, mail: str) -> int:
    """Let the days pass; how often the mail was tried."""
    tries = 0
    begin = office.now
    while office.now < begin + DEAD:
        office.keeper.pass_once()
        tries += office.edge.run("send_recovery_email", urgent=False)
        row = office.ended(mail)
        assert row.attempts == 0
        if office.now < begin + timedelta(hours=24):
            assert row.state == "queued"
            assert office.app.room().health().state == "open"
        office.now += LOOK_EVERY
    return tries


def token(mail: CaughtMail) -> str:
    """The token of the link in a mail, as the person finds it."""
    body = email.message_from_bytes(mail.message, policy=policy.default).get_body(("plain",))
    assert body is not None
    found = re.search(r"/recover/(\S+)", body.get_content())
    assert found is not None
    return found.group(1)
