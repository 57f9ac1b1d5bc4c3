"""Batches over HTTP on a real server: order, poison lines, cut connections, a database that goes away, both ways at once."""

import http.client
import json
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from doors import Doors, doors_of
from hypothesis import given
from hypothesis import strategies as st
from office import Office
from servers import PostgresServer

from worker import migrate
from worker.api import batch
from worker.api.batch import Lines
from worker.messages import LONGEST_LINE
from worker.web import body

WAIT = 60


@pytest.fixture
def doors(office: Office) -> Iterator[Doors]:
    """A server on each database."""
    with doors_of(office) as opened:
        yield opened


def line(number: int, **more: Any) -> str:
    return json.dumps({"kind": "create_group", "payload": {"group": f"g{number}"}, "key": f"k{number}", **more})


def send(client: httpx.Client, text: str | bytes) -> list[dict[str, Any]]:
    answer = client.post("/v1/jobs/batch", content=text, headers={"Content-Type": "application/x-ndjson"}, timeout=WAIT)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(one) for one in answer.text.splitlines()]


class Wire:
    """A client that says and hears as much as it likes, when it likes."""

    def __init__(self, doors: Doors, length: int | None) -> None:
        """`length`: of the body; None: it is not said, and comes in chunks."""
        self.token = doors.token("jobs:submit:*", name="wire")
        place = urlsplit(doors.url)
        self.line = socket.create_connection((place.hostname, place.port), timeout=WAIT)
        self.line.sendall(
            f"POST /v1/jobs/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
            f"{'Transfer-Encoding: chunked' if length is None else f'Content-Length: {length}'}\r\n\r\n".encode()
        )
        self.chunked = length is None
        self.heard = b""

    def say(self, lines: Sequence[str]) -> None:
        said = "".join(one + "\n" for one in lines).encode()
        self.line.sendall(b"%x\r\n%s\r\n" % (len(said), said) if self.chunked else said)

    def hear(self, word: bytes) -> None:
        """Read until the server has said this."""
        while word not in self.heard:
            more = self.line.recv(65536)
            assert more, self.heard[-500:]
            self.heard += more


# ------------------------------------------------------------------------------------------------- what is answered


def test_every_line_is_answered_in_its_turn_and_poison_harms_no_neighbour(doors: Doors) -> None:
    client = doors.caller("jobs:submit:create_*")
    text = "\n".join([
        line(1), "nonsense", "", line(2), "[]", line(3, key=None), '{"kind": "create_group", "payload": {"group": "g"}}',
        "x" * (LONGEST_LINE + 1), line(4, kind="delete_group"), line(5, payload={"grp": "x"}), line(1), line(1, payload={"group": "x"}),
        line(6, payload={"group": "\0"}), '{"kind": "create_group", "payload": {"group": "\\ud800"}, "key": "s"}', "   ",
        line(7, kind="fly"), line(8, kind="create_fly"), line(9, why="because", urgent=True, hold="wait"), "[" * 100_000, line(10),
    ])  # fmt: skip
    answers = {one["line"]: one for one in send(client, text)}
    assert list(answers) == [n for n in range(1, 21) if n not in (3, 15)]
    taken = {n: one["key"] for n, one in answers.items() if "problem" not in one}
    assert taken == {1: "k1", 4: "k2", 11: "k1", 18: "k9", 20: "k10"}
    assert answers[11]["id"] == answers[1]["id"]
    assert [answers[n]["duplicate"] for n in (1, 11)] == [False, True]
    told = {n: (one["problem"]["status"], one["problem"]["code"]) for n, one in answers.items() if "problem" in one}
    assert told == {
        2: (400, "unreadable"), 5: (422, "invalid"), 6: (422, "invalid"), 7: (422, "invalid"), 8: (413, "too_long"), 9: (403, "not_allowed"),
        10: (422, "bad_payload"), 12: (422, "key_reused"), 13: (422, "bad_payload"), 14: (400, "unreadable"), 16: (403, "not_allowed"),
        17: (422, "unknown_kind"), 19: (400, "unreadable"),
    }  # fmt: skip
    assert answers[7]["problem"]["errors"] == [{"field": "key", "problem": "Field required"}]
    assert [one["field"] for one in answers[10]["problem"]["errors"]] == ["payload.group", "payload.grp"]
    assert [(row["key"], row["source"], row["requested_by"]) for row in doors.office.jobs()] == [
        (key, "token/t1", "token/t1") for key in ("k1", "k2", "k9", "k10")
    ]


def test_nothing_in_nothing_out_and_nobody_without_a_token(lite: Doors) -> None:
    assert send(lite.caller("jobs:submit:*"), "") == []
    assert send(lite.caller("jobs:submit:*"), "\n \n\r\n") == []
    assert lite.caller().post("/v1/jobs/batch", content=line(1)).status_code == 401
    assert send(lite.caller("jobs:read"), line(1))[0]["problem"]["status"] == 403


def test_a_batch_of_more_lines_than_are_taken_says_where_to_go_on(lite: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_LINES", 5)
    answers = send(lite.caller("jobs:submit:*"), "\n".join(line(n) for n in range(1, 5001)))
    assert [one["line"] for one in answers] == [1, 2, 3, 4, 5, 6]
    assert answers[5]["problem"]["from_line"] == 6
    assert len(lite.office.jobs()) == 5


def test_a_hundred_thousand_lines_stay_within_the_limit_of_a_body() -> None:
    from worker.web.body import limit_of

    assert limit_of("POST", "/v1/jobs/batch") >= batch.MOST_LINES * 2_000


def test_a_body_that_grows_too_large_midway_keeps_its_answers(lite: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "LIMITS", (("POST", re.compile("/v1/jobs/batch"), 100_000),))
    wire = Wire(lite, None)
    wire.say([line(n) for n in range(1, 501)])
    wire.hear(b'"key": "k500"')
    wire.say([line(n) for n in range(501, 3001)])
    wire.hear(b"too_large")
    wire.hear(b"\r\n0\r\n\r\n")
    wire.line.close()
    taken = len(lite.office.jobs())
    assert taken >= 500
    assert b'"from_line": %d' % (taken + 1) in wire.heard


# --------------------------------------------------------------------------------------------------- both ways at once


def test_answers_come_while_later_lines_are_still_unsaid(lite: Doors) -> None:
    said = [line(n) for n in range(1, 4)]
    wire = Wire(lite, sum(len(one) + 1 for one in said))
    for number, one in enumerate(said, start=1):
        wire.say([one])
        wire.hear(b'"key": "k%d"' % number)
    wire.hear(b"\r\n0\r\n\r\n")
    wire.line.close()


def test_a_client_that_says_everything_before_it_listens_is_no_deadlock(lite: Doors) -> None:
    """What it does not fetch goes to a file: more than the buffers of both sides hold."""
    place = urlsplit(lite.url)
    client = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT)
    # Refused lines are answered at length, so that few make much.
    text = "\n".join(line(n, **{f"no_such_field_{n}": "x"}) for n in range(30_000)).encode()
    token = lite.token("jobs:submit:*")
    client.request("POST", "/v1/jobs/batch", text, {"Authorization": f"Bearer {token}"})
    answers = client.getresponse().read().splitlines()
    client.close()
    assert len(answers) == 30_000
    assert json.loads(answers[-1])["line"] == 30_000


def test_a_batch_that_the_client_cuts_keeps_what_was_taken_in_and_is_sent_again(doors: Doors) -> None:
    said = [line(n) for n in range(1, 3001)]
    wire = Wire(doors, sum(len(one) + 1 for one in said))
    wire.say(said[:1500])
    wire.hear(b'"key": "k1"')
    wire.line.sendall(said[1500][:20].encode())
    wire.line.close()
    client = httpx.Client(base_url=doors.url, headers={"Authorization": f"Bearer {wire.token}"})
    again = send(client, "\n".join(said))
    client.close()
    assert again[0]["duplicate"]
    assert len(again) == len(doors.office.jobs()) == 3000


def test_what_was_sent_before_is_known_by_its_key(doors: Doors) -> None:
    client = doors.caller("jobs:submit:*", name="hr")
    said = [line(n) for n in range(1, 2501)]
    first = send(client, "\n".join(said[:1200]) + "\n" + said[1200][:10])
    assert "problem" in first[-1]  # the half line
    again = send(client, "\n".join(said))
    assert [one["duplicate"] for one in again] == [True] * 1200 + [False] * 1300
    assert len(doors.office.jobs()) == 2500


def test_a_database_that_goes_away_midway_says_from_which_line_to_send_again() -> None:
    with PostgresServer(durable=True) as server:
        url = server.create_database("cut")
        migrate.upgrade(url)
        office = Office(url)
        said = [line(n) for n in range(1, 2001)]
        with doors_of(office) as doors:
            wire = Wire(doors, sum(len(one) + 1 for one in said))
            wire.say(said[:100])
            wire.hear(b'"key": "k100"')
            server.kill()
            wire.say(said[100:])
            wire.hear(b"\r\n0\r\n\r\n")
            last = json.loads(wire.heard.rsplit(b'{"line"', 1)[1].join([b'{"line"', b""]).split(b"\n")[0])
            assert (last["line"], last["problem"]["code"], last["problem"]["from_line"]) == (101, "unavailable", 101)
            assert "Send the batch again from line 101 on" in last["problem"]["detail"]
            server.start()
            wire.line.close()
            client = doors.caller("jobs:submit:*", name="again")
            assert len(send(client, "\n".join(said))) == 2000
        office.close()


# ---------------------------------------------------------------------------------------------------------- lines


@given(st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"x", b"\n")), max_size=30))
def test_lines_are_the_same_however_the_body_is_cut(parts: list[bytes]) -> None:
    lines = Lines()
    found = [one for part in parts for one in lines.feed(part)] + lines.finish()
    whole = b"".join(parts).split(b"\n")
    assert found == [(number, one) for number, one in enumerate(whole, start=1) if one.strip()]


def test_a_line_without_end_is_not_kept() -> None:
    lines = Lines()
    for _ in range(100):
        assert lines.feed(b"x" * (LONGEST_LINE // 10)) == []
    assert len(lines._rest) <= LONGEST_LINE
    assert lines.feed(b"x\nshort\n") == [(1, None), (2, b"short")]
