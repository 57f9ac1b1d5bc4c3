"""Every answer carries safe headers and a number; nothing of what went wrong inside or of an address is told or logged."""

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doors import Doors
from knocks import Knock, trial_doors
from office import Office


@pytest.fixture(scope="module")
def behind_tls(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Doors that people reach by https, through a proxy that nobody named."""
    file = tmp_path_factory.mktemp("tls") / "muster.sqlite"
    shutil.copy(sqlite_template, file)
    office = Office(f"sqlite:///{file}", public_url="https://id.example.org/", trusted_proxies="10.9.8.7")
    yield from trial_doors(office)
    office.close()


def logged(caplog: pytest.LogCaptureFixture, name: str, count: int) -> list[dict[str, Any]]:
    """Wait until so many lines of this name are written: they follow the answer."""
    end = time.monotonic() + 10
    while True:
        found = [vars(one) for one in caplog.records if one.getMessage() == name]
        if len(found) >= count or time.monotonic() > end:
            return found
        time.sleep(0.01)


SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/metrics", "/trial/fault/x"])
def test_safe_headers_on_every_answer(doors: Doors, path: str) -> None:
    with doors.caller() as caller:
        said = caller.get(path, headers={"Origin": "https://elsewhere.example", "X-Request-Id": "mine\tis better"})
    assert said.headers.items() >= SAFE.items()
    assert len(said.headers["x-request-id"]) == 16
    assert not [name for name in said.headers if name.startswith("access-control")]
    assert "server" not in said.headers
    assert "strict-transport-security" not in said.headers


def test_a_page_may_say_otherwise(doors: Doors) -> None:
    with doors.caller() as caller:
        said = caller.get("/trial/own")
    assert said.headers.get_list("cache-control") == ["max-age=60"]
    assert said.headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert said.headers["x-content-type-options"] == "nosniff"


def test_https_is_asked_for_where_people_come_by_it(behind_tls: Doors) -> None:
    with behind_tls.caller() as caller:
        assert caller.get("/health/live").headers["strict-transport-security"] == "max-age=31536000"


def test_a_fault_inside_is_told_by_its_number_alone(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="worker")
    with doors.caller() as caller:
        said = caller.get("/trial/fault/hunter2")
    assert said.status_code == 500
    assert said.headers["content-type"] == "application/problem+json"
    assert said.json()["code"] == "failed"
    assert "hunter2" not in said.text
    assert "Traceback" not in said.text
    [facts] = logged(caplog, "http.failed", 1)
    assert facts["id"] == said.json()["id"] == said.headers["x-request-id"]
    assert (facts["method"], facts["route"], facts["status"], facts["error"]) == ("GET", "/trial/fault/{secret}", 500, "RuntimeError")
    assert "knocks.py" in facts["trace"]
    assert "hunter2" not in str([vars(one) for one in caplog.records if one.name.startswith(("worker", "uvicorn"))])


def test_the_log_names_the_door_and_the_caller_and_no_address(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="worker")
    with doors.caller("metrics", name="scraper") as caller:
        caller.get("/trial/who?link=hunter2")
        caller.get("/hunter2")
    said = logged(caplog, "http.answered", 2)
    assert [(one["route"], one["status"], one["caller"]) for one in said] == [("/trial/who", 200, "scraper"), ("unmatched", 404, "-")]
    assert "hunter2" not in str(said)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND"])
def test_methods_that_a_door_does_not_take(doors: Doors, method: str) -> None:
    with doors.caller() as caller:
        said = caller.request(method, "/health/live")
    assert said.status_code == 405
    assert said.headers["allow"] == "GET"
    assert method == "HEAD" or said.json()["code"] == "method_not_allowed"


def test_the_host_header_is_nobodys_word(behind_tls: Doors) -> None:
    knock = Knock(behind_tls.url)
    token = behind_tls.token("admin")
    for path in ("/health/live/", "/nowhere", "/", "/console", "/openapi.json", "/docs", "/v1/users", "/recover", "/scim/v2/ServiceProviderConfig"):
        knock.send(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nAuthorization: Bearer {token}\r\n\r\n")
        said = knock.answer()
        assert said.status in (200, 303, 404)
        assert b"evil" not in said.body
        assert "evil" not in str(said.headers)
        if path.startswith("/scim"):
            assert said.json()["meta"]["location"] == f"https://id.example.org{path}"
    knock.close()


def test_only_a_trusted_proxy_says_where_somebody_comes_from(doors: Doors, behind_tls: Doors) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    with doors.caller("look") as caller:
        assert caller.get("/trial/who", headers=forwarded).json() == {"address": "203.0.113.7", "scheme": "https"}
        # Whoever comes through the proxy may write what they like before it: only the proxy's own word counts.
        lied = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
        assert caller.get("/trial/who", headers=lied).json()["address"] == "203.0.113.7"
    with behind_tls.caller("look") as caller:
        assert caller.get("/trial/who", headers=forwarded).json() == {"address": "127.0.0.1", "scheme": "http"}
