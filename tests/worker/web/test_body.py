"""Bodies that are too long, too slow or a lie about their length are refused, and the door stays open for others."""

import pytest
from doors import Doors
from knocks import Knock

from worker.web import body
from worker.web.body import LIMIT, MIB, limit_of

HEAD = "POST {0} HTTP/1.1\r\nHost: x\r\n{1}\r\n\r\n"


def test_limits_by_door() -> None:
    assert limit_of("POST", "/v1/jobs") == LIMIT == 2 * MIB
    assert limit_of("POST", "/v1/jobs/batch") == 256 * MIB
    assert limit_of("POST", "/v1/feeds/hr/plans") == 256 * MIB
    assert limit_of("POST", "/scim/v2/Bulk") == 10 * MIB
    assert limit_of("PUT", "/scim/v2/Bulk") == LIMIT
    assert limit_of("POST", "/v1/feeds/a/b/plans") == LIMIT
    assert limit_of("POST", "/v1/jobs/batch\n") == LIMIT


def test_a_body_of_just_the_limit_is_taken(doors: Doors) -> None:
    with doors.caller() as caller:
        assert caller.post("/trial/echo", content=b"x" * LIMIT).json() == {"bytes": LIMIT}


def test_an_announced_giant_is_refused_before_it_comes(knock: Knock) -> None:
    knock.send(HEAD.format("/trial/echo", f"Content-Length: {LIMIT + 1}\r\nExpect: 100-continue"))
    said = knock.answer()
    assert (said.status, said.closed) == (413, True)
    assert said.json() == {
        "type": "urn:muster:problem:too_large", "title": said.json()["title"], "status": 413, "code": "too_large",
        "limit": LIMIT, "detail": f"The body is too large: at most {LIMIT} bytes are taken here. Send it in parts.",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/trial/echo", "/trial/json"])
def test_a_giant_without_a_length_is_refused_on_the_way(knock: Knock, path: str) -> None:
    knock.send(HEAD.format(path, "Content-Type: application/json\r\nTransfer-Encoding: chunked"))
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(LIMIT // 0x10000 + 1):
        knock.send(piece)
    said = knock.answer()
    assert (said.status, said.json()["code"], said.closed) == (413, "too_large", True)


def test_whoever_goes_on_sending_is_heard_no_more(monkeypatch: pytest.MonkeyPatch, knock: Knock) -> None:
    monkeypatch.setattr(body, "DRAIN_SECONDS", 0.1)
    knock.send(HEAD.format("/trial/echo", "Transfer-Encoding: chunked"))
    with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
        for _ in range(20_000):
            knock.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


@pytest.mark.parametrize("length", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, knock: Knock, length: str) -> None:
    monkeypatch.setattr(body, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(body, "DRAIN_SECONDS", 0.1)
    knock.send(HEAD.format("/trial/echo", length) + ("1\r\na\r\n" if "chunked" in length else "a"))
    said = knock.answer()
    assert (said.status, said.json()["code"], said.closed) == (408, "too_slow", True)
    assert knock.ended()


def test_dripping_does_not_buy_time(monkeypatch: pytest.MonkeyPatch, knock: Knock) -> None:
    monkeypatch.setattr(body, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(body, "DRAIN_SECONDS", 0.1)
    knock.send(HEAD.format("/trial/json", "Content-Type: application/json\r\nContent-Length: 100000") + "{")
    knock.socket.settimeout(0.05)
    for _ in range(400):
        try:
            knock.send(" ")
            said = knock.answer()
            break
        except TimeoutError:
            continue
    assert (said.status, said.json()["code"]) == (408, "too_slow")


def test_what_comes_in_time_is_taken_however_it_is_cut(knock: Knock) -> None:
    knock.send(HEAD.format("/trial/json", "Content-Type: application/json\r\nTransfer-Encoding: chunked"))
    for letter in '{"a": 1}':
        knock.send(f"1;ext=1\r\n{letter}\r\n")
    knock.send("0\r\nTrailer-Of-Ours: x\r\n\r\n")
    said = knock.answer()
    assert (said.status, said.json(), said.closed) == (200, {"fields": 1}, False)


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/health/live%00", 404, "not_found"),
        ("/health/%0d%0aSet-Cookie:%20a=b", 404, "not_found"),
        ("/health/..%2flive", 404, "not_found"),
        ("/trial/../health/live", 404, "not_found"),
        ("//health/live", 404, "not_found"),
        ("/health/live/", 404, "not_found"),
        ("/health/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
        ("/health/\\..\\live", 404, "not_found"),
        ("http://elsewhere.example/health/nowhere", 404, "not_found"),
        ("/health/live?" + "a" * 20_000, 414, "address_too_long"),
        ("/health/live?a=%00", 400, "unreadable"),
    ],
)
def test_tricks_with_the_address_lead_nowhere(knock: Knock, target: str, status: int, code: str) -> None:
    knock.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    said = knock.answer()
    assert (said.status, said.json()["code"]) == (status, code)
    assert "location" not in said.headers
    assert "set-cookie" not in said.headers


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a": ' + b"9" * 10_000 + b"}", 400),
        (b"\xff\xfe\x00", 400),
        (b'{"a"', 400),
        (b"[]", 422),
        (b"", 422),
    ],
)
def test_json_that_is_none_is_told_so(doors: Doors, content: bytes, status: int) -> None:
    with doors.caller() as caller:
        said = caller.post("/trial/json", content=content, headers={"Content-Type": "application/json"})
    assert said.status_code == status
    assert said.headers["content-type"] == "application/problem+json"
    assert "99999" not in said.text
