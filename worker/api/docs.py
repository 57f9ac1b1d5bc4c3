"""The reference of the HTTP API as a page to read: made from its description, without scripts and outside hosts."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from worker.api.openapi import operations
from worker.web.gate import everybody

FOLDER = Path(__file__).parent / "reference"
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Changes with a release; an hour saves most of the asking.
KEPT = "public, max-age=3600"
# An example inside an example inside an example shows nobody anything.
DEEPEST = 6

router = APIRouter(dependencies=[everybody], include_in_schema=False)


@router.get("/openapi.json")
def description(request: Request) -> JSONResponse:
    """The description that programs read."""
    web: FastAPI = request.app
    return JSONResponse(web.openapi(), headers={"Cache-Control": KEPT})


@router.get("/docs")
def page(request: Request) -> HTMLResponse:
    """The same for people."""
    web: FastAPI = request.app
    if not hasattr(web.state, "reference"):
        web.state.reference = render(web.openapi())
    return HTMLResponse(web.state.reference, headers={"Cache-Control": KEPT, "Content-Security-Policy": POLICY})


@router.get("/docs/reference.css")
def style() -> Response:
    """How that page looks."""
    return Response((FOLDER / "reference.css").read_bytes(), media_type="text/css", headers={"Cache-Control": KEPT})


@dataclass(frozen=True)
class Operation:
    """One operation, as the page shows it."""

    id: str
    method: str
    path: str
    tag: str
    facts: Mapping[str, Any]

    @property
    def fields(self) -> Sequence[Mapping[str, Any]]:
        """Its parameters, those of the path first."""
        return sorted(self.facts.get("parameters", []), key=lambda one: one["in"] != "path")

    @property
    def bodies(self) -> Mapping[str, Any]:
        """What it takes, by media type."""
        content: Mapping[str, Any] = self.facts.get("requestBody", {}).get("content", {})
        return content


def render(described: Mapping[str, Any]) -> str:
    """Return the page for a description."""
    schemas = described.get("components", {}).get("schemas", {})
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(prose=prose, kind=kind, limits=limits, pretty=pretty, anchor=anchor)
    environment.globals["sample"] = lambda schema: sample(schema, schemas)
    found = [
        Operation(facts["operationId"], method.upper(), path, str(next(iter(facts.get("tags", [])), "more")), facts)
        for path, method, facts in operations(described)
    ]
    tags = [tag for tag in described.get("tags", []) if any(one.tag == tag["name"] for one in found)]
    others = sorted({one.tag for one in found} - {tag["name"] for tag in tags})
    tags += [{"name": name, "description": ""} for name in others]
    url = described["servers"][0]["url"].rstrip("/") or "http://127.0.0.1:8000"
    return environment.get_template("page.html").render(
        info=described["info"], tags=tags, operations=found, schemas=dict(sorted(schemas.items())), url=url
    )


def prose(text: str | None) -> Markup:
    """Return text as paragraphs, with `code` as code."""
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    return Markup("").join(Markup("<p>{}</p>").format(_with_code(one)) for one in paragraphs if one)


def _with_code(text: str) -> Markup:
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def anchor(text: str) -> str:
    """Return text as the end of an address within the page."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)


def kind(schema: Mapping[str, Any]) -> Markup:
    """Return in a few words what values a schema takes; other schemas by name, with a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{}">{}</a>').format(anchor(name), name)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return Markup(" or ").join(dict.fromkeys(kind(one) for one in schema[word]))
    if len(schema.get("allOf", ())) == 1:
        return kind(schema["allOf"][0])
    if "enum" in schema or "const" in schema:
        return Markup(" | ").join(Markup("<code>{}</code>").format(json.dumps(one)) for one in schema.get("enum", [schema.get("const")]))
    name = schema.get("type", "anything")
    if isinstance(name, list):
        return escape(" or ".join(name))
    if name == "array":
        return Markup("array of {}").format(kind(schema.get("items", {})))
    if name == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return Markup("object of {}").format(kind(schema["additionalProperties"]))
    return escape(f"{name} ({schema['format']})" if "format" in schema else name)


_LIMITS = {
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "minimum": "at least {}", "maximum": "at most {}",
    "exclusiveMinimum": "more than {}", "exclusiveMaximum": "less than {}", "minItems": "at least {}", "maxItems": "at most {}",
    "pattern": "like {}",
}  # fmt: skip


def limits(schema: Mapping[str, Any]) -> str:
    """Return what a schema says of its values besides their type."""
    inner = [schema, *(one for word in ("anyOf", "oneOf") for one in schema.get(word, ()))]
    said = [text.format(one[name]) for one in inner for name, text in _LIMITS.items() if name in one]
    if schema.get("default") not in (None, [], {}):
        said.append(f"otherwise {json.dumps(schema['default'])}")
    return "; ".join(dict.fromkeys(said))


def pretty(value: Any) -> str:
    """Return a value as JSON to read; text as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def sample(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value that a schema takes: its own example, or one put together of its parts'."""
    if "$ref" in schema:
        return sample(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth + 1) if depth < DEEPEST else {}
    return next(_samples(schema, schemas, depth))


def _samples(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Iterator[Any]:
    """Give what could stand as an example, the best first."""
    if schema.get("examples"):
        yield schema["examples"][0]
    for word in ("example", "const"):
        if word in schema:
            yield schema[word]
    if schema.get("default") is not None:
        yield schema["default"]
    for word in ("enum",):
        if schema.get(word):
            yield schema[word][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            yield sample(schema[word][0], schemas, depth + 1)
    name = schema.get("type")
    if name == "array":
        yield [sample(schema.get("items", {}), schemas, depth + 1)] if depth < DEEPEST else []
    if name == "object":
        fields = schema.get("properties", {}) if depth < DEEPEST else {}
        wanted = [field for field in fields if field in schema.get("required", fields)]
        yield {field: sample(fields[field], schemas, depth + 1) for field in wanted}
    yield _plain(name, schema.get("format"))


@cache
def _plain(name: Any, form: str | None) -> Any:
    formats = {"date-time": "2026-03-02T09:00:00Z", "date": "2026-03-02", "uuid": "0195f3c0-0000-7000-8000-000000000000"}
    return {"string": formats.get(form or "", "text"), "integer": 1, "number": 1.5, "boolean": True, "null": None}.get(name, {})
