"""Who may come in: every route names a rule, and a route without one fails a test."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase

from worker import api_tokens
from worker.api_tokens import Caller
from worker.database import Busy
from worker.web.limits import Limits
from worker.web.problems import Problem

if TYPE_CHECKING:
    from worker.app import App


def muster(request: Request) -> "App":
    """The program behind the doors."""
    app: App = request.app.state.muster
    return app


def limits(request: Request) -> Limits:
    """How much each caller may ask of this server."""
    found: Limits = request.app.state.limits
    return found


class Rule:
    """What a route asks of whoever comes. `scopes`: all of them are needed; `door`: how one says who one is."""

    door = "open"
    scopes: tuple[str, ...] = ()

    def __call__(self, request: Request) -> object:
        """Let everybody in."""
        return None


class TokenRule(Rule, SecurityBase):
    """A bearer token (RFC 6750) with these scopes; {braces} are filled from the path."""

    door = "token"

    def __init__(self, *scopes: str) -> None:
        """`scopes`: such as jobs:read or feeds:push:{source}; none: any valid token."""
        self.scopes = scopes
        self.model = BearerModel(description="An API token, made by `muster token create`.")
        self.scheme_name = "token"

    def __call__(self, request: Request) -> Caller:
        """Return who it is. Raises Problem: 401 without a valid token, 403 without the scope, 429 for too much."""
        caller = authenticate(request)
        for scope in self.scopes:
            require(caller, scope.format(**request.path_params))
        return caller


def needs(*scopes: str) -> Any:
    """The dependency of a route that asks for a token with all of these scopes."""
    return Depends(TokenRule(*scopes))


class OpenRule(Rule):
    """For everybody; asked without a thread, as whether Muster lives is asked when all of them are taken."""

    async def __call__(self, request: Request) -> None:
        """Let everybody in."""


#: The dependency of a route that is for everybody.
everybody: Any = Depends(OpenRule())


def require(caller: Caller, scope: str) -> None:
    """Raise Problem 403 unless the caller may do this."""
    if not caller.may(scope):
        raise Problem(
            403, "not_allowed", f"The token {caller.name} lacks the scope {scope}. An administrator can make one that has it.",
            needed=scope,
        )  # fmt: skip


def authenticate(request: Request) -> Caller:
    """Return whose token the request carries. Raises Problem 401 or 429.

    A valid token always opens, whoever else fails at the same address: behind a proxy that is not trusted, all come
    from one. Nobody finds 256 bits by guessing; what is limited is the noise.
    """
    app = muster(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    found = None
    if scheme.lower() == "bearer" and token:
        now = app.clock()
        with app.database.read() as conn:
            found = api_tokens.find(conn, token.strip(), now)
        if found is None and (wait := limits(request).failures.take(address_of(request))) is not None:
            raise too_many(wait)
    if found is None:
        raise Problem(
            401, "no_token", "This needs an API token: send it as `Authorization: Bearer …`. "
            "`muster token create` makes one; an expired or revoked one opens nothing.",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip
    caller, stale = found
    request.state.caller = caller.name
    if (wait := limits(request).requests.take(caller.id)) is not None:
        raise too_many(wait)
    if stale:
        with contextlib.suppress(Busy):  # a note is worth no wait
            app.database.transact(lambda conn: api_tokens.note_use(conn, caller.id, app.clock()))
    return caller


def too_many(wait: float) -> Problem:
    """The answer to whoever asks too often; `wait` in seconds."""
    return Problem(
        429, "too_many_requests", "Too many requests came from here. Wait, then go on more slowly.",
        headers={"Retry-After": str(max(1, round(wait)))},
    )  # fmt: skip


def address_of(request: Request) -> str:
    """The address that the request came from; behind a proxy of MUSTER_TRUSTED_PROXIES the client's."""
    return request.client.host if request.client is not None else "unknown"


def own_url(request: Request) -> str:
    """The address of the doors without a slash at its end: MUSTER_PUBLIC_URL, and only without it what the client says."""
    return muster(request).settings.public_url or f"{request.url.scheme}://{request.url.netloc}"


def rules_of(route: Any) -> list[Rule]:
    """The rules that a route's dependencies ask for; for the test that looks for routes without one."""
    found: list[Rule] = []
    pending: list[Any] = [getattr(route, "dependant", None)]
    while pending:
        dependant = pending.pop()
        if dependant is None:
            continue
        call: Callable[..., Any] | None = dependant.call
        if isinstance(call, Rule):
            found.append(call)
        pending.extend(dependant.dependencies)
    return found
