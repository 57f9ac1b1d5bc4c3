"""send_manager_notice tells whoever is the manager when the mail leaves."""

from pathlib import Path

import pytest
from posts import mailing, sent, text

ASK = {"user": "ann", "change": "leaves", "effective_at": "2026-03-31T17:00:00+00:00", "details": ["Sessions end"]}


def test_the_manager_is_told(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        office.do("deactivate_user", {"user": "ann"})
        assert office.do("send_manager_notice", ASK).state == "succeeded"
        [mail] = sent(tmp_path)
        assert mail["To"].addresses[0].addr_spec == "bob@example.com"
        assert mail["Subject"] == "Ann Archer leaves"
        assert "Sessions end" in text(mail)
        bob = office.user("bob")
        assert bob is not None
        assert office.events("ann")[-1]["data"] == {"change": "leaves", "manager": bob.id}


@pytest.mark.parametrize(
    "before",
    [
        ("update_user", {"user": "ann", "manager": None}),
        ("update_user", {"user": "bob", "email": None}),
        ("update_user", {"user": "ann", "manager": "carol"}),
    ],
)
def test_without_a_manager_to_reach_it_is_said(
    database_url: str, tmp_path: Path, before: tuple[str, dict[str, object]]
) -> None:
    with mailing(database_url, tmp_path) as office:
        assert office.do(*before).state == "succeeded"
        ended = office.do("send_manager_notice", ASK)
        assert (ended.state, ended.reason) == ("rejected", "no_manager")
        assert sent(tmp_path) == []
