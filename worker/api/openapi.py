"""The description of the HTTP API (OpenAPI 3.1), completed by what holds for every door."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import RouteContext, iter_route_contexts

from worker.api.models import PROBLEM
from worker.settings import Settings
from worker.web.gate import Rule, rules_of
from worker.web.problems import MEDIA_TYPE

TAGS = {
    "jobs": "Hand jobs in, follow them, and steer them.",
    "directory": "People and groups, as they are; they are changed by jobs.",
    "feeds": "Files and messages of the sources of people, the plans made of them, and what waits for a decision.",
    "webhooks": "Deliveries of sources of people, and who is told what happens here.",
    "health": "Whether Muster does its work, for load balancers and Prometheus.",
}
INTRODUCTION = """The provisioning worker of an identity directory: every job exactly once.

Every door asks for a token, sent as `Authorization: Bearer …`; `muster token create` makes one. Times are RFC 3339, in UTC.
Whatever goes wrong is answered with a problem document (RFC 9457) that says what happened and what to do next. Provisioning
systems that speak SCIM 2.0 find it at `/scim/v2`."""

#: What a refusal means wherever a door does not say more itself.
MEANINGS: Mapping[int, str] = {
    400: "It cannot be read: no JSON, or characters that nothing here holds.",
    401: "No valid token.",
    403: "The token lacks the scope.",
    404: "There is no such thing, or the token may not see it.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    414: "The address is too long.",
    422: "It can be read and is not acceptable; `errors` names the fields.",
    429: "Too many requests.",
    503: "The database is away or too busy, or there are too many connections. Nothing was changed.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}}}
_HEADERS: Mapping[int, Mapping[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "Bearer (RFC 6750).", "schema": {"type": "string"}}}, 429: _RETRY, 503: _RETRY
}  # fmt: skip
_METHODS = ("get", "put", "post", "delete", "patch")
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def install(web: FastAPI, settings: Settings) -> None:
    """Make `web.openapi()` return the description; it is made when it is first asked for."""

    def described() -> dict[str, Any]:
        if web.openapi_schema is None:
            web.openapi_schema = _describe(web, settings)
        return web.openapi_schema

    web.openapi = described  # type: ignore[method-assign]


def _describe(web: FastAPI, settings: Settings) -> dict[str, Any]:
    found = get_openapi(
        title=web.title, version=web.version, description=INTRODUCTION, routes=web.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        # Never taken from the request: the Host header is the client's word.
        servers=[{"url": settings.public_url or "/"}],
    )  # fmt: skip
    rules = {(method, str(route.path_format)): rules_of(route) for route, method in _routes(web)}
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for path, method, operation in operations(found):
        _complete(operation, rules.get((method, path), []), has_path_fields="{" in path)
    for left_over in ("HTTPValidationError", "ValidationError"):
        schemas.pop(left_over, None)
    schemas["Problem"] = PROBLEM
    return found


def _routes(web: FastAPI) -> Iterator[tuple[RouteContext, str]]:
    for route in iter_route_contexts(web.routes):
        for method in route.methods or ():
            yield route, method.lower()


def operations(description: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give (path, method in small letters, operation) for every operation described."""
    for path, methods in description["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def _complete(operation: dict[str, Any], rules: Iterable[Rule], *, has_path_fields: bool) -> None:
    """Say of one operation what any door can answer, and which scopes it asks for."""
    doors = {rule.door for rule in rules}
    usual = {400, 414, 503}
    if "token" in doors:
        usual |= {401, 403, 429}
    if "requestBody" in operation:
        usual |= {408, 413, 422}
    if operation.get("parameters"):
        usual.add(422)
    if has_path_fields:
        usual.add(404)
    responses = operation["responses"]
    for status in usual:
        said = responses.get(str(status))
        if said is None or "HTTPValidationError" in str(said):
            responses[str(status)] = {"description": MEANINGS[status]}
    for status, said in responses.items():
        if status.isdigit() and int(status) >= 400:
            content = said.setdefault("content", {})
            if not content or MEDIA_TYPE in content:
                content.pop("application/json", None)
                content[MEDIA_TYPE] = {"schema": _PROBLEM}
            if (headers := _HEADERS.get(int(status))) is not None:
                said["headers"] = {**headers, **said.get("headers", {})}
    operation["responses"] = dict(sorted(responses.items()))
    scopes = sorted({scope for rule in rules if rule.door == "token" for scope in rule.scopes})
    if scopes:
        operation["x-scopes"] = scopes
