"""Every error that HTTP answers, as a problem document (RFC 9457) that says what happened and what to do."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from worker.database import Busy, Unreachable
from worker.redact import storable

if TYPE_CHECKING:
    from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
# Whoever is told to come back does so after this; a database that fails over takes a few seconds.
RETRY_SECONDS = 2


class Problem(Exception):
    """A request is refused."""

    def __init__(
        self, status: int, code: str, detail: str, *, errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None, **more: Any,
    ) -> None:
        """`code` is a word for programs, `detail` a sentence for people; `errors`: [{"field": "a.b.0", "problem": …}]."""
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers, self.more = list(errors), dict(headers or {}), more
        super().__init__(detail)

    def as_json(self) -> dict[str, Any]:
        """The problem document."""
        found: dict[str, Any] = {
            "type": f"urn:muster:problem:{self.code}", "title": HTTPStatus(self.status).phrase, "status": self.status,
            "code": self.code, "detail": self.detail, **self.more,
        }  # fmt: skip
        return found | ({"errors": self.errors} if self.errors else {})

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.as_json(), self.status, self.headers, MEDIA_TYPE)


def away(error: Exception) -> Problem:
    """The answer when the database cannot be reached or is too busy: nothing was done, come back."""
    return Problem(
        503, "unavailable", f"{type(error).__doc__} Nothing was changed; send the same request again.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )  # fmt: skip


def install(web: FastAPI) -> None:
    """Answer every error of the application with a problem document."""

    @web.exception_handler(Problem)
    async def refused(_request: Request, problem: Problem) -> "Response":
        return problem.response()

    @web.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> "Response":
        return from_validation(error.errors()).response()

    @web.exception_handler(HTTPException)
    async def plain(_request: Request, error: HTTPException) -> "Response":
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        details = {404: "There is nothing at this address.", 405: "This address does not take that method."}
        detail = details.get(error.status_code, str(error.detail))
        return Problem(error.status_code, code, detail, headers=error.headers).response()

    @web.exception_handler(Busy)
    @web.exception_handler(Unreachable)
    async def unavailable(_request: Request, error: Exception) -> "Response":
        return away(error).response()


def from_validation(errors: Sequence[Any]) -> Problem:
    """The answer to input of the wrong shape: each field by its path, without repeating what was in it."""
    found = [
        {"field": storable(".".join(str(part) for part in _inside(error["loc"]))),
         "problem": storable(str(error["msg"])).removeprefix("Value error, ")}
        for error in errors[:20]
    ]
    # What cannot be read at all is a bad request (RFC 9110, 15.5.1); what can be read and is wrong, unprocessable.
    unreadable = any(error["type"] == "json_invalid" for error in errors)
    first = f"{found[0]['field']}: {found[0]['problem']}" if found else "it could not be read"
    if unreadable:
        return Problem(400, "unreadable", f"The body is not JSON. {first}.", errors=found)
    return Problem(422, "invalid", f"The request is not acceptable: {first}.", errors=found)


def _inside(path: Sequence[Any]) -> Sequence[Any]:
    """A field's path as whoever wrote the body knows it: without the word body, which only tells it from a query's."""
    return path[1:] if len(path) > 1 and path[0] == "body" and isinstance(path[1], str) else path
