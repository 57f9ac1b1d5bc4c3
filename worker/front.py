"""All HTTP doors as one application, and the server that opens them."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from worker.web import problems
from worker.web.body import Body
from worker.web.connections import Connection
from worker.web.headers import Answers
from worker.web.limits import Limits
from worker.web.tally import Tally

if TYPE_CHECKING:
    from worker.app import App

log = logging.getLogger(__name__)

# What is in hand may take this long after the wish to stop; long waits of clients are cut.
GRACE_SECONDS = 5
# A connection that says nothing more is closed; Okta closes after 60 seconds by itself.
KEEP_ALIVE_SECONDS = 65


def build(app: "App") -> FastAPI:
    """Return the application with every door: the API, SCIM, webhooks, pages for people, and the console."""
    from importlib.metadata import version

    from worker.api import batch, directory, docs, endpoints, feed_runs, feeds, health, hooks, jobs, metrics, openapi
    from worker.console import routes
    from worker.scim import routes as scim
    from worker.selfservice.routes import router as pages_for_people

    web = FastAPI(
        title="Muster", version=version("muster-worker"), docs_url=None, redoc_url=None, openapi_url=None,
        description="The provisioning worker of an identity directory: every job exactly once.",
        redirect_slashes=False,  # its redirects are made from the Host header, which the client chooses
    )
    web.state.muster = app
    web.state.limits = Limits()
    web.state.tally = Tally()
    web.state.closing = asyncio.Event()
    web.add_middleware(Body)
    web.add_middleware(Answers, settings=app.settings, tally=web.state.tally)  # the last one is around all others
    problems.install(web)
    for api in (batch, jobs, directory, endpoints, feeds, feed_runs, hooks):
        web.include_router(api.router)
    web.include_router(health.router(app))
    web.include_router(metrics.router(app, web.state.tally.registry))
    web.include_router(docs.router)
    openapi.install(web, app.settings)
    routes.install(web)
    web.include_router(pages_for_people)
    web.include_router(scim.router(app))
    return web


def listen(address: str) -> socket.socket:
    """Return a listening socket for HOST:PORT ([::1]:8000 for IPv6; port 0: any free one). Raises OSError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, int(port)))
        found.listen(2048)
    except OSError:
        found.close()
        raise
    return found


def address(listening: socket.socket) -> str:
    """The URL at which a listening socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server, which lets go whoever waits for something when it is to stop."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        """`closing`: what those who wait look at."""
        self._closing = closing
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._closing.set()
        await super().shutdown(sockets)


def server(app: "App") -> Server:
    """Return the HTTP server, not yet started. X-Forwarded-For is believed from MUSTER_TRUSTED_PROXIES alone."""
    web = build(app)
    return Server(
        uvicorn.Config(
            web, loop="uvloop", http=Connection, ws="none", access_log=False, log_config=None, log_level="error",
            server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS, timeout_graceful_shutdown=GRACE_SECONDS,
            forwarded_allow_ips=app.settings.trusted_proxies,
        ),
        web.state.closing,
    )  # fmt: skip


@contextmanager
def serving(app: "App", listening: socket.socket) -> Iterator[str]:
    """Serve in a thread for as long as the block runs; gives the URL."""
    one = server(app)
    thread = threading.Thread(target=one.run, kwargs={"sockets": [listening]}, name="http", daemon=True)
    thread.start()
    try:
        yield address(listening)
    finally:
        one.should_exit = True
        thread.join(GRACE_SECONDS + 2)
        listening.close()
