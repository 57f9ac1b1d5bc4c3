"""accept_invitation makes the account and spends the invitation together, or does neither."""

from pathlib import Path
from typing import Any

from office import Office
from posts import HASH, everything, mailing, sent, token

from worker.directory import groups, invitations


def invited(office: Office, folder: Path) -> tuple[str, dict[str, Any]]:
    """Invite Dora; returns the token in her mail, and what the page behind it would submit."""
    office.do("send_invitation", {"email": "dora@example.com", "name": "Dora Diaz", "groups": ["staff", "administrators"]})
    [mail] = sent(folder)
    with office.scope() as scope:
        found = invitations.look(scope, token(mail))
        assert found is not None
        proof = invitations.proof(scope, found)
    return token(mail), {"invitation": found.id, "proof": proof, "username": "dora", "password_hash": HASH}


def test_the_account_is_made_and_the_invitation_spent(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        link, ask = invited(office, tmp_path)
        ended = office.do("accept_invitation", ask)
        assert ended.state == "succeeded", ended
        assert sorted(ended.result["joined"]) == ["administrators", "staff"]
        dora = office.user("dora")
        assert dora is not None
        assert (dora.name, dora.email, dora.is_active, dora.password_hash) == ("Dora Diaz", "dora@example.com", True, HASH)
        [row] = office.rows("invitation")
        assert (row["state"], row["user_id"], row["used_at"]) == ("used", dora.id, office.now)
        stored = everything(office)
        assert link not in stored
        assert ask["proof"] not in stored
        assert stored.count(HASH) == 1
        assert {event["action"] for event in office.events("dora")} >= {"user.created", "invitation.accepted"}


def test_an_enrolment_that_fails_keeps_its_invitation(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        _, ask = invited(office, tmp_path)
        for fields, reason in (({"username": "ANN"}, "username_taken"), ({"password_hash": "secret"}, "bad_hash")):
            ended = office.do("accept_invitation", {**ask, **fields})
            assert (ended.state, ended.reason) == ("rejected", reason)
            assert [row["state"] for row in office.rows("invitation")] == ["open"]
        assert office.user("dora") is None
        assert office.do("accept_invitation", ask).state == "succeeded"


def test_an_invitation_is_accepted_once_in_time_and_with_proof(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        _, ask = invited(office, tmp_path)
        refused = office.do("accept_invitation", {**ask, "proof": "guessed"})
        assert (refused.state, refused.reason) == ("rejected", "bad_invitation")
        refused = office.do("accept_invitation", {**ask, "invitation": "01930f3e-0000-7000-8000-000000000001"})
        assert refused.reason == "bad_invitation"
        assert office.do("accept_invitation", ask).state == "succeeded"
        refused = office.do("accept_invitation", {**ask, "username": "dora2"})
        assert refused.reason == "bad_invitation"
        assert office.user("dora2") is None


def test_a_group_that_went_meanwhile_is_waited_for(database_url: str, tmp_path: Path) -> None:
    with mailing(database_url, tmp_path) as office:
        _, ask = invited(office, tmp_path)
        office.do("delete_group", {"group": "staff", "force": True})
        ended = office.do("accept_invitation", ask)
        assert ended.result["deferred"] == ["staff"]
        [waiting] = office.jobs("add_to_group")
        assert waiting["payload"]["patient"] is True
        office.do("create_group", {"group": "staff"})
        for _ in range(3):
            office.later(hours=9)
            office.drain()
        dora = office.user("dora")
        assert dora is not None
        with office.scope() as scope:
            assert {group.name for group, _ in groups.memberships(scope, [dora.id])[dora.id]} == {"administrators", "staff"}
