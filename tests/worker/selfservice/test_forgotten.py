"""The form for forgotten passwords: nobody learns from it who has an account, and nobody's mailbox is flooded."""

import threading

import httpx
import pytest
from entrance import Entrance, said
from posts import everything, sent
from sqlalchemy import text

PASSING = {"date", "x-request-id"}
KIND = "send_recovery_email"


def ask(entrance: Entrance, who: str, **headers: str) -> httpx.Response:
    return entrance.post("/recover", {"who": who}, **headers)


def asked_for(entrance: Entrance, count: int) -> list[str]:
    """Whom recovery mails were accepted for, once there are so many: they are accepted after the answer."""
    done = threading.Event()
    for _ in range(200):
        jobs = entrance.office.jobs(KIND)
        if len(jobs) >= count:
            break
        done.wait(0.05)
    return [str(job["payload"]["user"]["id"]) for job in jobs]


def alike(answer: httpx.Response) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    headers = tuple(sorted((name, value) for name, value in answer.headers.items() if name not in PASSING))
    return answer.status_code, answer.text, headers


def test_known_or_not_the_answer_is_the_same(entrance: Entrance) -> None:
    office = entrance.office
    office.do("create_user", {"username": "eve", "name": "Eve without an address"})
    ann, carol = office.user("ann"), office.user("carol")
    assert ann is not None
    assert carol is not None
    whoever = ["nobody", "nobody@example.com", "nobody@", "x" * 5000, "\x00\u202e", "carol", "eve", "ANN"]
    answers = {alike(ask(entrance, who)) for who in whoever}
    assert len(answers) == 1
    [(status, _, _)] = answers
    assert status == 303
    page = entrance.get(dict(answers.pop()[2])["location"])
    assert "If there is such an account" in said(page)
    asked_for(entrance, 3)
    office.drain()
    ended = {job["payload"]["user"]["id"]: (job["state"], job["reason"]) for job in office.jobs(KIND)}
    assert len(ended) == 3
    assert ended[ann.id] == ("succeeded", None)
    assert ended[carol.id] == ("rejected", "inactive")
    [mail] = sent(entrance.folder)
    assert mail["to"].endswith("<ann@example.com>")
    assert "somebody at 127.0.0.1, on the page for forgotten passwords" in mail.as_string().replace("=\n", "")
    assert entrance.choose(entrance.token()).status_code == 303
    assert "nobody" not in everything(office), "what strangers type, perhaps a password, is kept nowhere"


def test_people_are_known_by_their_address_too(shared: Entrance) -> None:
    office = shared.office
    office.do("create_user", {"username": "ann2", "name": "Ann's other account", "email": "Ann@example.com"})
    before = len(office.jobs(KIND))
    ask(shared, "ANN@EXAMPLE.com")
    found = asked_for(shared, before + 2)[before:]
    assert {row["username"] for row in office.rows("users") if row["id"] in found} == {"ann", "ann2"}
    office.later(hours=2)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_answer_does_not_wait_for_looking_anybody_up(entrance: Entrance) -> None:
    """With the people and the ledger locked away, the known and the unknown are answered all the same."""
    with entrance.office.app.database.write() as conn:
        conn.execute(text("LOCK TABLE users, job IN ACCESS EXCLUSIVE MODE"))
        assert ask(entrance, "ann").status_code == ask(entrance, "nobody").status_code == 303
    asked_for(entrance, 1)
    assert len(entrance.office.jobs(KIND)) == 1


def test_three_mails_a_quarter_of_an_hour_are_enough_for_anybody(entrance: Entrance) -> None:
    office = entrance.office
    answers = {alike(ask(entrance, who)) for who in ("ann", "Ann", "ann@example.com", "ann", "ann@example.com", "ann")}
    assert len(answers) == 1
    assert len(asked_for(entrance, 3)) == 3
    ask(entrance, "bob")
    assert len(asked_for(entrance, 4)) == 4
    office.later(minutes=15)
    ask(entrance, "ann")
    assert len(asked_for(entrance, 5)) == 5


def test_a_source_that_tries_names_in_turn_is_stopped(entrance: Entrance) -> None:
    answers = [ask(entrance, f"nobody{number}") for number in range(22)]
    assert [answer.status_code for answer in answers] == [303] * 20 + [429] * 2
    stopped = ask(entrance, "ann")
    assert stopped.headers["retry-after"] == "3600"
    assert "Wait 60 minutes" in said(stopped)
    assert entrance.office.jobs(KIND) == []
    entrance.office.later(hours=1)
    assert ask(entrance, "ann").status_code == 303
    assert len(asked_for(entrance, 1)) == 1
    entrance.office.later(hours=24)
    ask(entrance, "bob")
    asked_for(entrance, 2)
    assert len(entrance.office.rows("throttle")) == 3, "old counters are swept out"


def test_nothing_typed_is_said_so(shared: Entrance) -> None:
    for who in ("", "   "):
        answer = ask(shared, who)
        assert answer.status_code == 422
        assert "Type your username or your e-mail address" in said(answer)
    assert ask(shared, "ann", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
