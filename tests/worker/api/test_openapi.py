"""The API does what its description says: whatever is sent, no fault inside and no answer that is not described."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from doors import Doors
from fastapi import FastAPI
from hr import DECLARED, csv_text, person
from hr_doors import hr_doors
from html5lib import HTMLParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import content_type_conformance, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from worker import front
from worker.api import docs
from worker.app import App
from worker.settings import Settings

EXAMPLES = 20
"""Of each operation and each of two ways, what fits and what does not: enough to find a door without a lock."""

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip


@schemathesis.serializer("application/x-ndjson")
def lines(_ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """How a batch is sent: as it is."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _web() -> FastAPI:
    return front.build(App(Settings(database_url="sqlite:///nowhere/never.sqlite", secret_key="x" * 40)))


DESCRIPTION: dict[str, Any] = _web().openapi()
OPERATIONS: list[APIOperation[Any, Any, Any, Any]] = [
    found.ok() for found in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations() if isinstance(found, Ok)
]


class Ground:
    """An office with people, jobs, a feed with runs, and somebody who may do everything."""

    def __init__(self, doors: Doors, known: Mapping[str, str]) -> None:
        self.doors, self.known = doors, known
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {doors.token('admin', name='everything')}"


@pytest.fixture(scope="module")
def ground(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with hr_doors(sqlite_template, tmp_path_factory.mktemp("api"), DECLARED) as (hr, doors):
        hr.office.do("create_user", {"username": "ann", "name": "Ann Archer", "email": "ann@example.com", "groups": ["staff"]})
        with doors.caller("admin") as caller:
            made = caller.post("/v1/jobs", json={"kind": "create_group", "payload": {"group": "made"}}, headers={"Idempotency-Key": '"k"'})
            run = caller.post("/v1/feeds/hr/plans", content=csv_text([person("1", "Ann", "Ash")]).encode(), params={"file": "a.csv"})
            hook = caller.post("/v1/webhooks", json={"name": "crm", "url": "https://crm.example/in", "events": ["user.*"]})
        assert [one.status_code for one in (made, run, hook)] == [202, 201, 201], (made.text, run.text, hook.text)
        hr.office.drain()  # nobody waits for the end of a job that has ended
        known = {"job_id": made.json()["id"], "run": run.json()["id"], "source": "hr", "user": "ann", "group": "staff", "name": "crm",
                 "kind": "create_user", "move": "retry"}  # fmt: skip
        opened = Ground(doors, known)
        yield opened
        opened.session.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_described(ground: Ground, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), there=st.booleans())
    def ask(case: Any, there: bool) -> None:
        if there and operation.method != "delete":  # half of the time about something that there is
            case.path_parameters.update({name: ground.known[name] for name in case.path_parameters if name in ground.known})
        if str(case.query.get("wait", "")).isdigit():
            case.query["wait"] = min(int(case.query["wait"]), 1)  # nobody works here, so it would be waited for in vain
        answer = case.call(base_url=ground.doors.url, session=ground.session)
        case.validate_response(answer, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else contextlib.nullcontext():
        ask()  # where there is nothing to get wrong, nothing is asked


def test_what_stands_in_the_description() -> None:
    paths = DESCRIPTION["paths"]
    assert len(OPERATIONS) == sum(len(methods) for methods in paths.values()), "some operation cannot be read"
    assert {"/v1/jobs", "/v1/users", "/v1/feeds", "/v1/webhooks", "/health/ready", "/metrics"} <= set(paths)
    assert not [path for path in paths if path.startswith(("/console", "/recover", "/invite", "/scim", "/docs"))]
    ids = [operation.definition.raw["operationId"] for operation in OPERATIONS]
    assert len(ids) == len(set(ids)), "two operations have one id"
    tags = {tag["name"] for tag in DESCRIPTION["tags"]}
    for operation in OPERATIONS:
        said = operation.definition.raw
        assert said.get("summary"), f"{operation.label} has no summary"
        assert said.get("description"), f"{operation.label} has no description"
        assert set(said.get("tags", ["none"])) <= tags, f"{operation.label} stands under no heading"
    assert DESCRIPTION["paths"]["/v1/refusals"]["get"]["x-scopes"] == ["jobs:read"]
    assert DESCRIPTION["servers"] == [{"url": "/"}]


def test_the_page_for_people(ground: Ground) -> None:
    with ground.doors.caller() as caller:
        answer = caller.get("/docs")
        css = caller.get("/docs/reference.css")
        assert caller.get("/openapi.json").json() == DESCRIPTION
    assert answer.headers["content-security-policy"] == docs.POLICY
    assert "unsafe" not in docs.POLICY
    assert css.headers["content-type"].startswith("text/css")
    assert b"http" not in css.content
    assert b"url(" not in css.content
    page = HTMLParser(strict=True, namespaceHTMLElements=False).parse(answer.text)
    everything = list(page.iter())
    assert not [one.tag for one in everything if one.tag in {"script", "style", "img", "iframe"} or "style" in one.attrib]
    assert not [name for one in everything for name in one.attrib if name.startswith("on")]
    ids = [one.attrib["id"] for one in everything if "id" in one.attrib]
    assert len(ids) == len(set(ids))
    links = {one.attrib["href"] for one in everything if "href" in one.attrib}
    assert {link for link in links if not link.startswith("#")} == {"docs/reference.css", "openapi.json"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    for operation in OPERATIONS:
        assert operation.definition.raw["operationId"] in ids
    assert "Authorization: Bearer" in answer.text


def test_what_others_write_is_text_on_the_page() -> None:
    hostile = "<script>alert(1)</script>`<b>x</b>`"
    said = docs.render({
        "info": {"title": hostile, "version": "1", "description": hostile}, "servers": [{"url": "/"}], "tags": [],
        "paths": {"/x": {"get": {
            "operationId": hostile, "summary": hostile, "description": hostile,
            "responses": {"200": {"description": hostile, "content": {
                "application/json": {"schema": {"type": "object", "properties": {hostile: {"type": "string", "examples": [hostile]}}}}
            }}},
        }}},
    })  # fmt: skip
    assert "<script" not in said
    assert "<b>" not in said
