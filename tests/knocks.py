"""A few doors more than there are, to try what guards all doors; and a bare socket to knock with."""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from doors import Doors, doors_of
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from office import Office

from worker import front
from worker.app import App
from worker.web.gate import everybody, needs

trial = APIRouter(prefix="/trial", dependencies=[everybody], include_in_schema=False)


@trial.post("/echo")
async def echo(request: Request) -> Mapping[str, int]:
    return {"bytes": len(await request.body())}


@trial.post("/deaf")
async def deaf() -> str:
    return "heard nothing"


@trial.post("/json")
def take(body: dict[str, Any]) -> Mapping[str, int]:
    return {"fields": len(body)}


@trial.get("/fault/{secret}")
def fault(secret: str) -> None:
    raise RuntimeError(f"the value {secret} is nobody's business")


@trial.get("/flood")
def flood() -> StreamingResponse:
    return StreamingResponse(b"x" * 65_536 for _ in range(4_000))


@trial.get("/own")
def own() -> PlainTextResponse:
    return PlainTextResponse("mine", headers={"Cache-Control": "max-age=60", "Content-Security-Policy": "default-src 'self'"})


@trial.get("/who", dependencies=[needs()])
def who(request: Request) -> Mapping[str, str]:
    return {"address": request.client.host if request.client else "", "scheme": request.url.scheme}


@dataclass(frozen=True)
class Answer:
    """What came back over a bare socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    closed: bool

    def json(self) -> Any:
        return json.loads(self.body)


class Knock:
    """One connection without a client's manners."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self._left = b""

    def send(self, text: str | bytes) -> None:
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def answer(self) -> Answer:
        """Read one answer; it must have a length."""
        while b"\r\n\r\n" not in self._left:
            self._read("before its head")
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._left) < length:
            self._read("in its body")
        body, self._left = self._left[:length], self._left[length:]
        return Answer(int(first.split()[1]), headers, body, headers.get("connection") == "close")

    def ended(self) -> bool:
        """Wait until the server has hung up; nothing more may have come."""
        try:
            return self._left == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return self._left == b""

    def _read(self, where: str) -> None:
        more = self.socket.recv(65_536)
        assert more, f"the answer ended {where}: {self._left!r}"
        self._left += more

    def close(self) -> None:
        self.socket.close()


def trial_doors(office: Office) -> Iterator[Doors]:
    """Open the doors of an office and those made for tests."""
    real = front.build

    def build(app: App) -> FastAPI:
        web = real(app)
        web.include_router(trial)
        return web

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(front, "build", build)
        with doors_of(office) as opened:
            yield opened
