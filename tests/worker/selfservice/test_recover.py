"""A recovery link from its mail to the new password: looked at without end, spent once, all of it or nothing."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import doors_of
from entrance import GOOD, HOUR, Entrance, parsed, said
from office import SECRET, Office
from posts import everything, sent
from shell import environment
from sqlalchemy import event

from worker.directory import access, credentials, recoveries, users
from worker.jobs import UserRef

ANN = UserRef(username="ann")
# No part of the page: the time it was made, and the number of the request.
PASSING = {"date", "x-request-id"}


def test_a_password_is_recovered_from_the_mail(entrance: Entrance, log: list[str]) -> None:
    office = entrance.office
    office.do("send_recovery_email", {"user": "ann"})
    token, spare = entrance.token(), entrance.link()
    ann = office.user("ann")
    assert ann is not None
    with office.scope() as scope:
        session = credentials.issue_session(scope, ann.id, HOUR)
    assert session is not None
    before = everything(office)

    for _ in range(50):  # a mail scanner
        assert entrance.get(f"/recover/{token}").status_code == 200
        assert entrance.client.head(f"/recover/{token}").status_code == 200
    assert everything(office) == before

    done = entrance.choose(token)
    assert (done.status_code, done.headers["location"]) == (303, "/recover/done?lang=en")
    assert "Your password is set" in said(entrance.get(done.headers["location"]))

    now = office.user("ann")
    assert now is not None
    assert now.epoch > ann.epoch
    assert now.password_changed_at == office.now
    with office.scope() as scope:
        assert credentials.check_password(scope, ANN, GOOD) is not None
        assert credentials.check_session(scope, session.token) is None
        assert access.usable(scope, [ann.id])[ann.id]["sessions"] == 0
    for dead in (token, spare):
        assert entrance.get(f"/recover/{dead}").status_code == 404
        assert entrance.choose(dead, "another password of mine").status_code == 404
    with office.scope() as scope:
        assert credentials.check_password(scope, ANN, GOOD) is not None

    [used] = office.rows("recovery", state="used")
    [notice] = office.jobs("send_password_changed_email")
    assert (notice["source"], notice["key"], notice["requested_by"]) == ("selfservice", f"recovery/{used['id']}", "ann")
    office.drain()
    assert office.ended(notice["id"]).state == "succeeded"
    assert "The password of your Harbour Works account was changed" in {mail["subject"] for mail in sent(entrance.folder)}
    assert [one["action"] for one in office.events("ann")][-3:] == ["recovery.used", "password.changed", "password_notice.sent"]

    stored, written = everything(office), "\n".join(log)
    assert "selfservice.password_set" in written
    for secret in (token, spare, GOOD):
        assert secret not in stored
        assert secret not in written
    assert "$argon2" not in written
    assert stored.count("$argon2id") == 1


def test_of_two_who_press_the_button_at_once_one_gets_through(entrance: Entrance) -> None:
    token = entrance.link()
    words = ["the first of two passwords", "another one of two passwords"]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda word: entrance.choose(token, word), words))
    assert sorted(answer.status_code for answer in answers) == [303, 404]
    [lost] = [answer for answer in answers if answer.status_code == 404]
    assert "If you have just set your password, then it is set" in said(lost)
    winner = words[[answer.status_code for answer in answers].index(303)]
    with entrance.office.scope() as scope:
        assert credentials.check_password(scope, ANN, winner) is not None
    assert len(entrance.office.jobs("send_password_changed_email")) == 1


@contextmanager
def _no_row_for(office: Office, table: str) -> Iterator[None]:
    """The database itself refuses every new row of a table."""
    engine = office.app.database.engine
    spoiled = re.compile(rf"^INSERT INTO {table}\b")

    def spoil(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return spoiled.sub(f"INSERT INTO no_such_{table}", statement), parameters

    event.listen(engine, "before_cursor_execute", spoil, retval=True)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", spoil)


@pytest.mark.parametrize("table", ["job", "event"])
def test_all_of_it_or_nothing(entrance: Entrance, table: str, log: list[str]) -> None:
    token = entrance.link()
    before = everything(entrance.office)
    with _no_row_for(entrance.office, table):
        failed = entrance.choose(token)
    assert (failed.status_code, everything(entrance.office)) == (500, before)
    assert "Nothing was changed" in said(failed)
    assert not [line for line in log if token in line or GOOD in line or "$argon2" in line]
    assert entrance.choose(token).status_code == 303


def test_a_server_killed_in_the_middle_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    office = Office(database_url, mail_folder=tmp_path)
    office.world()
    office.now = datetime.now(UTC)  # the server that is killed goes by the clock on the wall
    office.app.check_key()
    with office.scope() as scope:
        token = recoveries.create(scope, users.get(scope, ANN), purpose="recovery", valid_for=HOUR).token
    before = everything(office)
    settings = environment(
        tmp_path, database_url=database_url, secret_key=SECRET, listen="127.0.0.1:0", fault_at="redeemed:1:kill"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "api"], cwd=tmp_path, env=settings, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = next(found[0] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{url}/recover/{token}", data={"password": GOOD, "repeat": GOOD}, timeout=30)
    assert server.returncode == -signal.SIGKILL
    assert everything(office) == before
    with doors_of(office) as doors:
        assert Entrance(doors, tmp_path).choose(token).status_code == 303
    assert len(office.jobs("send_password_changed_email")) == 1
    office.close()


@pytest.mark.parametrize(("password", "repeat", "words"), [
    ("", "", "too short: it has 0 of at least 12"),
    ("eleven char", None, "too short: it has 11 of at least 12"),
    ("x" * 1025, None, "at most 1024"),
    ("Password2024!", None, "among the first that are guessed"),
    ("abcdefghijklmnop", None, "follows a row of keys"),
    ("ann.archer-1", None, "mostly made of your name"),
    ("Harbour Works 1", None, "name of Harbour Works"),
    (GOOD, GOOD.upper(), "not the same"),
])
def test_a_password_that_will_not_do_is_said_so_and_the_link_stays(
    shared: Entrance, password: str, repeat: str | None, words: str
) -> None:
    token = shared.link()
    before = everything(shared.office)
    answer = shared.choose(token, password, repeat)
    assert (answer.status_code, everything(shared.office)) == (422, before)
    assert words in said(answer)
    [bad] = parsed(answer).findall(".//input[@aria-invalid]")
    described = " ".join(said_by(answer, one) for one in bad.get("aria-describedby").split())
    assert words in described
    assert answer.text.startswith("<!DOCTYPE html>")
    assert "<title>Please correct: Set a new password" in answer.text
    assert not password or password not in answer.text, "what was typed does not come back"


def said_by(answer: httpx.Response, element: str) -> str:
    """What the element with this id says."""
    [found] = parsed(answer).findall(f".//*[@id='{element}']")
    return "".join(found.itertext())


def test_dead_links_look_all_the_same(entrance: Entrance) -> None:
    office = entrance.office
    late, superseded, closed = entrance.link(), entrance.link("bob"), entrance.link("bob")
    office.do("create_user", {"username": "zoe", "name": "Zoe", "email": "zoe@example.com"})
    leaver = entrance.link("zoe")
    assert entrance.get(f"/recover/{leaver}").status_code == 200
    assert entrance.choose(closed).status_code == 303
    office.do("deactivate_user", {"user": "zoe"})
    office.later(hours=1)
    tricks = [
        "x", "x" * 43, "x" * 44, "x" * 9000, "a/b", f"{late}/", "%C3%A4" * 43, "%FF" * 43, "..%2f..%2fetc",
        "%3Cscript%3E", "{token}", f" {late}".replace(" ", "%20"), "sent%2f..", "done/x", "",
    ]
    seen = set()
    for dead in (late, superseded, closed, leaver, *tricks):
        for answer in (entrance.get(f"/recover/{dead}"), entrance.choose(dead)):
            headers = tuple(sorted((name, value) for name, value in answer.headers.items() if name not in PASSING))
            assert answer.status_code == 404, dead
            seen.add((answer.text, headers))
    assert len(seen) == 1
    [(text, _)] = seen
    assert 'href="/recover?lang=en"' in text


@pytest.mark.parametrize(("headers", "status"), [
    ({"Sec-Fetch-Site": "same-origin"}, 303),
    ({"Sec-Fetch-Site": "none"}, 303),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "null"}, 303),  # what browsers send from a page without referrer
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 303),
    ({"Content-Type": "application/json"}, 415),
    ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
])
def test_only_our_own_page_sends_this_form(shared: Entrance, headers: dict[str, str], status: int) -> None:
    token = shared.link()
    answer = shared.choose(token, f"{GOOD}, {headers}", **headers)
    assert answer.status_code == status
    if status != 303:
        assert "Nothing was done" in said(answer)
        assert shared.get(f"/recover/{token}").status_code == 200


@pytest.mark.parametrize(("body", "status"), [
    (b"password=%FF&repeat=%FF", 400),
    ("password=ü".encode("latin-1"), 400),
    (b"&".join(b"a=1" for _ in range(50)), 400),
    (b"password=" + b"x" * 100_000, 413),
    (b"", 422),
])
def test_what_is_no_form_of_ours_spends_nothing(shared: Entrance, body: bytes, status: int) -> None:
    token = shared.link()
    answer = shared.client.post(
        f"/recover/{token}", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == status
    assert shared.get(f"/recover/{token}").status_code == 200


def test_the_longest_password_of_the_widest_letters_fits(shared: Entrance) -> None:
    token = shared.link()
    password = "".join(chr(0x1F300 + number * 7 % 640) for number in range(1024))
    assert shared.choose(token, password).status_code == 303
    with shared.office.scope() as scope:
        assert credentials.check_password(scope, ANN, password) is not None


def test_a_welcome_mail_leads_to_the_same_page_with_other_words(shared: Entrance) -> None:
    answer = shared.get(f"/recover/{shared.link(purpose='welcome')}")
    assert said(answer).startswith("Choose your password")
