"""Invitations: looked at often, accepted once, and only by whoever holds the link."""

from datetime import timedelta

import pytest
from office import Office
from posts import everything

from worker.directory import invitations
from worker.directory.invitations import Invitation
from worker.outcomes import Reject


def invite(office: Office, address: str = "dora@example.com") -> Invitation:
    with office.scope() as scope:
        return invitations.create(
            scope, invitations.read_address(scope, address, address), name="Dora", groups=["staff"], path="users",
            valid_for=timedelta(days=7), invited_by="bob", job=None,
        )  # fmt: skip


def test_looking_spends_nothing_and_the_token_rests_nowhere(office: Office) -> None:
    made = invite(office)
    for _ in range(3):
        with office.scope() as scope:
            assert invitations.look(scope, made.token) == made
            assert invitations.look(scope, made.token[:-1]) is None
    assert made.token not in everything(office)
    assert made.token not in repr(made)


def test_the_proof_is_not_the_token_and_no_other_proof_does(office: Office) -> None:
    made, other = invite(office), invite(office, "emil@example.com")
    with office.scope() as scope:
        proof = invitations.proof(scope, made)
        assert proof != made.token
        assert invitations.proven(scope, made.id, proof) == made
        for wrong in ("", made.token, invitations.proof(scope, other), "ü"):
            with pytest.raises(Reject):
                invitations.proven(scope, made.id, wrong)


def test_an_invitation_ends_in_time(office: Office) -> None:
    made = invite(office)
    office.later(days=7)
    with office.scope() as scope:
        assert invitations.look(scope, made.token) is None
        with pytest.raises(Reject):
            invitations.proven(scope, made.id, invitations.proof(scope, made))


def test_a_newer_invitation_takes_the_place_of_older_ones_to_the_same_address(office: Office) -> None:
    older, other, newer = invite(office), invite(office, "emil@example.com"), invite(office, "Dora@EXAMPLE.com")
    with office.scope() as scope:
        assert invitations.revoke_older(scope, newer.id) == 1
    states = {row["id"]: row["state"] for row in office.rows("invitation")}
    assert states == {older.id: "revoked", other.id: "open", newer.id: "open"}
