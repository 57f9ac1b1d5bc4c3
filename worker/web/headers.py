"""What every answer carries and what is written down about it: safe headers, a number to ask about, no address."""

import logging
import secrets
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.settings import Settings
from worker.web.problems import Problem
from worker.web.tally import Tally

log = logging.getLogger(__name__)

#: What an answer carries unless it says otherwise.
ALWAYS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# A year, as browsers' preload lists ask for; only said where people come by https.
HSTS = "max-age=31536000"
# Of a failure so many places are written down: file and line, never a value.
FRAMES = 8
# Where no door stands.
NOWHERE = "unmatched"


class Answers:
    """ASGI middleware around everything: headers, figures, a log line, and an answer when all else failed."""

    def __init__(self, app: ASGIApp, *, settings: Settings, tally: Tally) -> None:
        """`tally`: where answers are counted."""
        self.app = app
        self.tally = tally
        over_tls = settings.public_url is not None and settings.public_url.startswith("https://")
        known = {**ALWAYS, **({"Strict-Transport-Security": HSTS} if over_tls else {})}
        self.always = [(name.lower().encode(), value.encode()) for name, value in known.items()]
        self._doors: _Doors | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        if self._doors is None:
            self._doors = _Doors(scope["app"].routes)
        doors, path = self._doors, scope["path"]
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message.get("headers", [])
                names = {name.lower() for name, _ in given}
                ours = [header for header in self.always if header[0] not in names]
                message = {**message, "headers": [*given, *ours, (b"x-request-id", request_id.encode())]}
            await send(message)

        error: Exception | None = None
        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception as failure:
            error = failure
            if not status:
                text = f"Something went wrong here, and was written to the log as {request_id}. Nothing is known to be wrong with the request."
                await Problem(500, "failed", text, id=request_id).response()(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - began
            route = doors.name(scope.get("endpoint"), path)
            self.tally.note(scope["method"], route, status, seconds)
            said = {
                "id": request_id, "method": scope["method"][:16], "route": route, "status": status,
                "ms": round(seconds * 1000), "caller": state.get("caller", "-"),
            }  # fmt: skip
            if error is not None:
                frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
                trace = " < ".join(f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in reversed(frames))
                log.error("http.failed", extra={**said, "error": type(error).__name__, "trace": trace})
            else:
                log.debug("http.answered", extra=said)


class _Doors:
    """Addresses as they are declared: what people really typed may hold a link that opens an account."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._templates: dict[Any, str] = {}
        self._mounts: list[str] = []
        for route in iter_route_contexts(routes):
            template = route.path_format or route.path or NOWHERE
            if route.endpoint is None:
                self._mounts.append(template.removesuffix("/{path}"))
            else:
                self._templates.setdefault(route.endpoint, template)

    def name(self, endpoint: Any, path: str) -> str:
        """Return the template of the address that was asked for."""
        if endpoint is None:
            return NOWHERE
        inside = (f"{mount}/*" for mount in self._mounts if path.startswith(mount))
        return self._templates.get(endpoint) or next(inside, NOWHERE)
