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
from schemathesis.specs.openapi.checks import response_headers_conformance, response_schema_conformance, status_code_conformance

from worker import front
from worker.api import docs
from worker.app import App
from worker.settings import Settings

EXAMPLES = 12
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
    found.ok() for found in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations()
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
    def ask(case: schemathesis.Case, there: bool) -> None:
        if there and operation.method != "delete":  # half of the time about something that there is
            case.path_parameters.update({name: ground.known[name] for name in case.path_parameters if name in ground.known})
        if str(case.query.get("wait", "")).isdigit():
            case.query["wait"] = min(int(case.query["wait"]), 1)  # nobody works here, so it would be waited for in vain
        answer = case.call(base_url=ground.doors.url, session=ground.session)
        case.validate_response(answer, checks=CHECKS)

    with contextlib.suppress(Unsatisfiable) if mode is GenerationMode.NEGATIVE else contextlib.nullcontext():
        ask()  # where there is nothing to get wrong, nothing is asked
