"""Every address of the HTTP doors by every token: who has the scope comes in, who lacks it does not, and none is left out."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Doors, doors_of
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from office import Office
from sqlalchemy import select

from worker import api_tokens, front
from worker.api_tokens import ROLES, SCOPES, Caller
from worker.app import App
from worker.bulk import insert_rows
from worker.console import session
from worker.directory.tokens import digest
from worker.door_tables import api_token, console_session
from worker.feed_tables import feed_case, feed_run
from worker.settings import Settings
from worker.web import limits
from worker.web.gate import Rule, rules_of

RUN = "01890000-0000-7000-8000-000000000001"
CASE = "01890000-0000-7000-8000-000000000002"

PATH_WORDS: Mapping[str, str] = {
    "source": "hr", "run": RUN, "case": CASE, "case_id": CASE, "kind": "create_group", "move": "retry",
    "job_id": "01890000-0000-7000-8000-000000000003", "first": "01890000-0000-7000-8000-000000000004",
}  # fmt: skip
"""What stands in the braces of an address; anything else there is `none-such`. Scopes are filled from the same."""

OPEN: Mapping[str, str] = {
    "GET /": "leads to the console",
    "GET /health/live": "load balancers",
    "GET /health/ready": "load balancers; names only for holders of a token (tests/worker/api/test_health.py)",
    "GET /openapi.json": "the same for every Muster of a release",
    "GET /docs": "the same",
    "GET /docs/reference.css": "the same",
    "GET /console/static/{name}": "the same",
    "GET /console/sign-in": "the way in",
    "POST /console/sign-in": "the way in: takes a token, and guesses are counted",
    "GET /recover": "people who forgot their password",
    "POST /recover": "the same",
    "GET /recover/sent": "the same",
    "GET /recover/done": "the same",
    "GET /recover/page.css": "the same",
    "GET /recover/{token}": "the link is the proof",
    "POST /recover/{token}": "the same",
    "GET /invite/done": "people who were invited",
    "GET /invite/{token}": "the link is the proof",
    "POST /invite/{token}": "the same",
    "POST /v1/feeds/{source}/events": "every delivery is signed (tests/worker/api/test_hooks.py)",
}
"""Addresses that ask for no token, and why. One more is a decision: it is written down here."""

DECIDED_INSIDE: Mapping[str, str] = {
    "POST /v1/jobs": "jobs:submit:KIND, the kind stands in the body",
    "POST /v1/jobs/batch": "the same for each line",
    "GET /v1/jobs": "without jobs:read the token's own jobs",
    "GET /v1/jobs/{job_id}": "the same",
    "GET /v1/jobs/kinds": "what there is to submit is no secret",
    "GET /v1/jobs/kinds/{kind}": "the same",
    "POST /v1/jobs/{job_id}/{move}": "jobs:operate, or it is the token's own job",
    "GET /console": "shows what the visitor may see",
    "POST /console/sign-out": "everybody may leave",
    "GET /console/mail": "templates with sample data; they name nobody",
    "GET /console/mail/{name}": "the same",
    "GET /console/mail/{name}/html": "the same",
}
"""Addresses that any valid token opens, and who decides about what is behind them."""

DECIDED_FURTHER: Mapping[str, str] = {
    "POST /console/feeds/runs/{name}/approve": "feeds:approve of the run's source",
    "POST /console/feeds/runs/{name}/apply": "the same",
    "POST /console/feeds/runs/{name}/drop": "the same",
    "POST /console/feeds/cases/{case_id}": "feeds:approve of the case's source",
}
"""Addresses that ask for more than their rule says, by what is found there."""

APART: Mapping[str, str] = {}
"""Whole applications under an address, and how they are guarded. There are none."""


@dataclass(frozen=True)
class Door:
    """One method of one address, and what it asks for."""

    method: str
    path: str
    rules: tuple[Rule, ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def kind(self) -> str:
        kinds = {rule.door for rule in self.rules} - {"open"}
        assert len(kinds) < 2, f"{self.name} asks for {kinds}: name one"
        return kinds.pop() if kinds else "open"

    @property
    def scopes(self) -> set[str]:
        words = _Words(PATH_WORDS)
        return {scope.format_map(words) for rule in self.rules for scope in rule.scopes}

    @property
    def url(self) -> str:
        return self.path.format_map(_Words(PATH_WORDS))


class _Words(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "none-such"


@cache
def _routes() -> tuple[RouteContext, ...]:
    settings = Settings(database_url="sqlite:///nowhere/never.sqlite", secret_key="x" * 40)
    return tuple(iter_route_contexts(front.build(App(settings)).routes))


def _doors() -> list[Door]:
    return [
        Door(method, str(route.path_format), tuple(rules_of(route)))
        for route in _routes()
        if isinstance(route.original_route, APIRoute)
        for method in sorted(set(route.methods or ()) - ({"HEAD"} if "GET" in (route.methods or ()) else set()))
    ]


ALL = _doors()


def named(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("door", [door for door in ALL if door.kind == kind], ids=lambda door: door.name)


def test_every_address_has_a_rule() -> None:
    bare = [door.name for door in ALL if not door.rules]
    assert not bare, f"these say of nobody who may come in: {bare}. Give them `needs(...)` or `everybody` (worker/web/gate.py)"


def test_whole_applications_and_sockets_are_named_here() -> None:
    others = {str(route.path) for route in _routes() if not isinstance(route.original_route, APIRoute)}
    assert others == set(APART), "an application under an address has no rules that this test could see: say how it is guarded"


def test_what_is_open_was_decided_to_be() -> None:
    assert {door.name for door in ALL if door.kind == "open"} == set(OPEN)


def test_what_any_token_opens_was_decided_to_be() -> None:
    assert {door.name for door in ALL if door.kind != "open" and not door.scopes} == set(DECIDED_INSIDE)
    assert set(DECIDED_FURTHER) <= {door.name for door in ALL}


def test_every_scope_opens_something_and_every_door_asks_for_one_that_there_is() -> None:
    asked = {scope for door in ALL for scope in door.scopes}
    for scope in asked:
        api_tokens.check_scopes([scope])
    for scope in set(SCOPES) - {"jobs:operate"}:  # asked for inside, by POST /v1/jobs/{job_id}/{move}
        assert any(one.startswith(scope) for one in asked), f"no door asks for {scope}"


# --------------------------------------------------------------------------------------------------- knocking

SCOPE_SETS: tuple[tuple[str, ...], ...] = (
    *[(f"{scope}*" if scope.endswith(":") else scope,) for scope in SCOPES],
    *[(role,) for role in ROLES],
    ("jobs:submit:create_user", "feeds:push:payroll", "feeds:approve:payroll"),
    ("look", "feeds:push:hr"),
    ("jobs:read", "jobs:operate"),
)
"""Each scope alone, each role, and some that are nearly enough."""


@dataclass(frozen=True)
class Visitor:
    """A token, and a session at the console that was begun with it."""

    caller: Caller
    token: str

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Street:
    """The doors of an office, and everybody who may come by."""

    def __init__(self, doors: Doors) -> None:
        self.doors, self.office = doors, doors.office
        self.client = httpx.Client(base_url=doors.url, timeout=30, follow_redirects=False)
        self.visitors = [self._visitor(number, scopes) for number, scopes in enumerate(SCOPE_SETS)]
        self.administrator = next(one for one in self.visitors if one.caller.scopes == ("admin",))

    def _visitor(self, number: int, scopes: tuple[str, ...]) -> Visitor:
        token = self.doors.token(*scopes, name=f"v{number}")
        with self.office.app.database.read() as conn:
            row = conn.execute(select(api_token).where(api_token.c.name == f"v{number}")).one()
        return Visitor(Caller(row.id, row.name, tuple(row.scopes)), token)

    def session(self, visitor: Visitor) -> dict[str, str]:
        """Sign in at the console; returns the headers of what the browser would send from now on."""
        with self.office.app.database.write() as conn:
            cookie = session.begin(conn, visitor.caller, self.office.now)
            csrf = conn.execute(select(console_session.c.csrf).where(console_session.c.digest == digest(cookie))).scalar_one()
        return {"Cookie": f"{session.cookie_name(self.office.settings)}={cookie}", "X-CSRF-Token": csrf}

    def knock(self, door: Door, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Come to a door with nothing in one's hands but these headers."""
        self.client.cookies.clear()
        return self.client.request(door.method, door.url, headers=dict(headers or {}))


@pytest.fixture(scope="module")
def street(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    file = tmp_path_factory.mktemp("street") / "muster.sqlite"
    shutil.copy(sqlite_template, file)
    office = Office(f"sqlite:///{file}")
    with office.scope() as scope:
        run: dict[str, Any] = {
            "id": RUN, "source": "hr", "origin": "file", "state": "dropped", "total": 0, "carried": 0, "created_at": scope.now,
        }  # fmt: skip
        case: dict[str, Any] = {
            "id": CASE, "source": "hr", "external_id": "E-1", "code": "ambiguous_match", "text": "Two people might be meant.",
            "candidates": [], "state": "ignore", "created_at": scope.now,
        }  # fmt: skip
        insert_rows(scope.conn, feed_run, [run])
        insert_rows(scope.conn, feed_case, [case])
    with pytest.MonkeyPatch.context() as patch:
        # Whoever guesses is slowed down; that has its own tests in test_api_tokens.py.
        patch.setattr(limits, "FAILURES_AT_ONCE", 1_000_000)
        with doors_of(office) as doors:
            opened = Street(doors)
            yield opened
            opened.client.close()
    office.close()


def turned_away(answer: httpx.Response) -> bool:
    """Whether a page of the console sent somebody to the sign-in page."""
    return answer.status_code == 401 or answer.headers.get("location", "").startswith("/console/sign-in")


@named("open")
def test_open_doors_ask_for_no_token(street: Street, door: Door) -> None:
    answer = street.knock(door)
    proof = door.name in {"POST /console/sign-in", "POST /v1/feeds/{source}/events"}
    assert answer.status_code not in ((403, 500) if proof else (401, 403, 500)), answer.text


@named("token")
def test_a_token_with_the_scope_comes_in_and_no_other(street: Street, door: Door) -> None:
    for headers in ({}, {"Authorization": "Bearer muster_0123456789ab_guess"}, street.session(street.administrator)):
        answer = street.knock(door, headers)
        assert answer.status_code == 401, f"{door.name} opened to somebody without a token: {answer.status_code}"
        assert answer.headers["www-authenticate"] == "Bearer"
    for visitor in street.visitors:
        answer = street.knock(door, visitor.bearer())
        judge(door, visitor, answer)


@named("session")
def test_a_session_with_the_scope_comes_in_and_no_other(street: Street, door: Door) -> None:
    for headers in ({}, street.administrator.bearer(), {"Cookie": f"{session.cookie_name(street.office.settings)}=guess"}):
        answer = street.knock(door, headers)
        assert turned_away(answer), f"{door.name} opened to somebody who is not signed in: {answer.status_code}"
    for visitor in street.visitors:
        answer = street.knock(door, street.session(visitor))
        assert not turned_away(answer) or door.path == "/console/sign-out", (door.name, visitor.caller.scopes)
        judge(door, visitor, answer)


def judge(door: Door, visitor: Visitor, answer: httpx.Response) -> None:
    """Compare what happened with what the rule says."""
    said = f"{door.name} by a token with {', '.join(visitor.caller.scopes)}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, said
    if not all(visitor.caller.may(scope) for scope in door.scopes):
        assert answer.status_code == 403, said
    elif door.name in DECIDED_FURTHER or door.name in DECIDED_INSIDE:
        assert answer.status_code != 401, said
        assert answer.status_code != 403 or "admin" not in visitor.caller.scopes, said
    else:
        assert answer.status_code not in (401, 403), said


@pytest.mark.parametrize("door", [door for door in ALL if door.kind == "session" and door.method != "GET"], ids=lambda door: door.name)
def test_nothing_is_changed_for_another_site(street: Street, door: Door) -> None:
    """Neither without the session's CSRF token, nor with it from a page of somebody else (the token leaked)."""
    signed_in = street.session(street.administrator)
    cookie = {"Cookie": signed_in["Cookie"]}
    for headers in (
        cookie, {**cookie, "X-CSRF-Token": "guess"}, {**signed_in, "Origin": "https://elsewhere.example"},
        {**signed_in, "Sec-Fetch-Site": "cross-site"},
    ):  # fmt: skip
        assert street.knock(door, headers).status_code == 403
