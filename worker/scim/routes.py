"""The addresses below /scim/v2: who may come in, one thread a request, and answers in SCIM's form whatever happens."""

from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from worker.api_tokens import Caller
from worker.database import Busy, Unreachable
from worker.web.gate import TokenRule, own_url
from worker.web.problems import Problem, away

if TYPE_CHECKING:
    from worker.app import App

ROOT = "/scim/v2"
MEDIA_TYPE = "application/scim+json"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Each may wait for a person's line for seconds; more at once would only queue at the database. Other doors have
# threads of their own.
THREADS = 12


class Refused(Problem):
    """A request is refused, in SCIM's form of an error (RFC 7644, 3.12)."""

    def response(self) -> JSONResponse:
        """The whole answer."""
        body = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(self.status), "detail": self.detail,
        }  # fmt: skip
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)


class ScimRule(TokenRule):
    """A token with the scope scim; refusals in SCIM's form."""

    def __call__(self, request: Request) -> Caller:
        """Return who it is. Raises Refused."""
        try:
            return super().__call__(request)
        except Problem as problem:
            refused = problem
        except (Busy, Unreachable) as error:
            refused = away(error)
        raise Refused(refused.status, refused.code, refused.detail, headers=refused.headers)


def router(app: "App") -> APIRouter:
    """Return every address of the door."""
    made = APIRouter(include_in_schema=False)
    limiter: list[anyio.CapacityLimiter] = []
    collations: dict[str, str | None] = {}

    @made.api_route(ROOT, methods=METHODS)
    @made.api_route(ROOT + "/{path:path}", methods=METHODS)
    async def scim(request: Request, caller: Caller = Depends(ScimRule("scim"))) -> Response:  # noqa: B008 (FastAPI's way)
        body = await request.body()
        if not limiter:
            limiter.append(anyio.CapacityLimiter(THREADS))  # it belongs to the loop that runs now
        return await run_sync(_answer, app, caller, request, body, collations, limiter=limiter[0])

    return made


def _answer(app: "App", caller: Caller, request: Request, body: bytes, collations: dict[str, str | None]) -> Response:
    from worker.scim.protocol import serve
    from worker.scim.reading import Reader
    from worker.scim.writing import Writer

    reader = Reader(app.database, caller.source, collations)
    status, headers, content = serve(
        reader, Writer(app, reader, caller, request.headers.get("Idempotency-Key")), method=request.method,
        base_url=own_url(request) + ROOT, path=request.scope["path"].removeprefix(ROOT),
        query=dict(request.query_params), headers=list(request.headers.items()), body=body,
    )  # fmt: skip
    headers = {"Cache-Control": "no-store"} | {name: value for name, value in headers.items() if name != "Content-Type"}
    if content is None:
        return Response(None, status, headers)
    return JSONResponse(content, status, headers, MEDIA_TYPE)
