"""An invitation from its mail to the account: looked at without end, accepted once, and not burnt by a slip."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from entrance import GOOD, Entrance, parsed, said
from posts import everything

from worker.directory import credentials
from worker.jobs import UserRef

DORA = UserRef(username="dora")


def invited(entrance: Entrance, **more: object) -> str:
    """Invite Dora; returns the token in her mail."""
    fields = {"email": "dora@example.com", "name": "Dora Diaz", "groups": ["staff"], "invited_by": "Bob Baker", **more}
    assert entrance.office.do("send_invitation", fields).state == "succeeded"
    return entrance.token("invite")


def test_an_account_is_opened_from_the_mail(entrance: Entrance, log: list[str]) -> None:
    office, token = entrance.office, invited(entrance)
    before = everything(office)
    for _ in range(50):
        assert entrance.get(f"/invite/{token}").status_code == 200
        assert entrance.client.head(f"/invite/{token}").status_code == 200
    assert everything(office) == before
    shown = entrance.get(f"/invite/{token}")
    assert "Bob Baker invites you to open an account at Harbour Works" in said(shown)
    [name] = parsed(shown).findall(".//input[@name='name']")
    assert name.get("value") == "Dora Diaz"

    done = entrance.accept(token, name="Dora D.")
    assert (done.status_code, done.headers["location"]) == (303, "/invite/done?lang=en")
    assert "Your account is open" in said(entrance.get(done.headers["location"]))
    dora = office.user("dora")
    assert dora is not None
    assert (dora.name, dora.email, dora.usable) == ("Dora D.", "dora@example.com", True)
    with office.scope() as scope:
        assert credentials.check_password(scope, DORA, GOOD) is not None
    [job] = office.jobs("accept_invitation")
    assert (job["source"], job["requested_by"], job["sealed"]) == ("selfservice", "dora@example.com", None)
    [group] = office.rows("groups", name="staff")
    assert office.rows("membership", group_id=group["id"], user_id=dora.id)

    assert entrance.get(f"/invite/{token}").status_code == 404
    again = entrance.accept(token, username="dora2")
    assert again.status_code == 404
    assert "If you have just opened your account, then it is open" in said(again)
    assert office.user("dora2") is None
    stored, written = everything(office), "\n".join(log)
    assert "selfservice.invitation" in written
    for secret in (token, GOOD):
        assert secret not in stored
        assert secret not in written
    assert "$argon2" not in written


def test_of_two_who_accept_at_once_one_gets_the_account(entrance: Entrance) -> None:
    token = invited(entrance)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: entrance.accept(token, username=name), ["dora", "diaz"]))
    assert sorted(answer.status_code for answer in answers) == [303, 404]
    assert len([user for user in ("dora", "diaz") if entrance.office.user(user)]) == 1


@pytest.mark.parametrize(("fields", "words"), [
    ({"username": "ANN"}, "Somebody has this username"),
    ({"username": " "}, "Choose a username"),
    ({"username": "do\u202era"}, "cannot be a username"),
    ({"username": "d" * 151}, "at most 150"),
    ({"username": "do\nra\x00"}, "cannot be a username"),
    ({"name": "D" * 256}, "at most 255 letters"),
    ({"name": "Dora\u202e"}, "cannot be taken as a name"),
    ({"password": "short", "repeat": "short"}, "too short"),
    ({"password": "dora-diaz-2026", "repeat": "dora-diaz-2026"}, "mostly made of your name"),
    ({"repeat": "otters"}, "not the same"),
])
def test_a_slip_is_said_so_and_burns_no_invitation(shared: Entrance, fields: dict[str, str], words: str) -> None:
    token = invited(shared)
    answer = shared.accept(token, **fields)
    assert answer.status_code == 422
    assert words in said(answer)
    typed = {one.get("name"): one.get("value") for one in parsed(answer).findall(".//input")}
    assert typed["password"] is typed["repeat"] is None
    if "username" not in fields:
        assert typed["username"] == "dora"
    assert shared.get(f"/invite/{token}").status_code == 200
    assert shared.office.user("dora") is None


def test_a_newer_invitation_and_time_end_the_older(shared: Entrance) -> None:
    old, new = invited(shared), invited(shared)
    tokens = {old, new, invited(shared)}
    alive = [token for token in tokens if shared.get(f"/invite/{token}").status_code == 200]
    assert len(alive) == 1
    shared.office.later(days=8)
    answers = {shared.get(f"/invite/{token}").text for token in (*tokens, "x", "x" * 43, "%C3%A4")}
    assert len(answers) == 1
    assert shared.accept(alive[0]).status_code == 404


def test_what_has_to_wait_is_done_by_the_workers(shared: Entrance) -> None:
    token = invited(shared, email="dana@example.com")
    shared.office.submit("add_to_group", {"user": "dana", "group": "staff"})  # somebody was quicker than the invitation
    answer = shared.accept(token, username="dana")
    assert answer.status_code == 202
    assert "This can take a few minutes" in said(answer)
    shared.office.drain()
    assert shared.office.user("dana") is not None


def test_what_only_the_help_desk_can_mend_is_said_so(entrance: Entrance) -> None:
    token = invited(entrance, email="ann@example.com")
    entrance.office.app.settings = entrance.office.settings.model_copy(update={"unique_email": True})
    entrance.office.app.database.settings = entrance.office.app.settings
    answer = entrance.accept(token)
    assert answer.status_code == 409
    assert "The invitation stays open" in said(answer)
    assert entrance.get(f"/invite/{token}").status_code == 200
