"""Many jobs in one request, one a line: each line is answered in its turn while later ones are still on their way."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from worker import power
from worker.api.jobs import refusal, too_far
from worker.api.models import BatchLine, problems
from worker.api_tokens import Caller
from worker.database import Busy, Unreachable
from worker.intake import Acceptance
from worker.intake import Request as JobRequest
from worker.messages import LONGEST_LINE
from worker.web.gate import muster, needs, require
from worker.web.problems import Problem, away, from_validation

if TYPE_CHECKING:
    from worker.app import App

router = APIRouter(prefix="/v1", tags=["jobs"])

MEDIA_TYPE = "application/x-ndjson"
# Lines that one request may have; a longer file is sent in parts.
MOST_LINES = 100_000
# One transaction: large enough to be quick, small enough that others get their turn in between.
SLICE_LINES, SLICE_BYTES = 1_000, 4 * LONGEST_LINE
# What is read ahead of the transaction under way; beyond it the sender is kept waiting.
AHEAD_BYTES = 1024 * 1024
# What a line costs besides its bytes: a million lines of two letters are no two megabytes.
LINE_BYTES = 128
# Answers that the sender does not fetch while it still sends lie in memory up to this size, then in a file.
SPOOL_BYTES = 1024 * 1024
CHUNK_BYTES = 64 * 1024
# A sender that is told to stop may not listen before it has sent everything; so long the rest is read and thrown away.
DRAIN_SECONDS = 60

Line = tuple[int, bytes | None]
"""A line and its number, from 1; None: it was too long to keep."""


class Lines:
    """Cuts a body into lines, without holding more of a line than a job may have."""

    def __init__(self) -> None:
        """Begin with line 1."""
        self.number = 0
        self._rest = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> list[Line]:
        """Return the lines that end in this chunk, but blank ones."""
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        first, *whole, rest = chunk.split(b"\n")
        self._keep(first)
        found = [self._end()]
        for line in whole:
            self._keep(line)
            found.append(self._end())
        self._keep(rest)
        return [line for line in found if line[1] is None or line[1].strip()]

    def finish(self) -> list[Line]:
        """Return the last line, if the body did not end with its end."""
        return [self._end()] if self._too_long or self._rest.strip() else []

    def _keep(self, part: bytes) -> None:
        if len(self._rest) + len(part) > LONGEST_LINE:
            self._too_long = True
            self._rest.clear()
        elif not self._too_long:
            self._rest += part

    def _end(self) -> Line:
        self.number += 1
        line = None if self._too_long else bytes(self._rest)
        self._rest.clear()
        self._too_long = False
        return self.number, line


class Batch:
    """One request on its way: a task reads ahead, one submits, and the answer is read off what they leave."""

    def __init__(self, request: Request, caller: Caller) -> None:
        """Nothing is read yet."""
        self.app: App = muster(request)
        self.request, self.caller = request, caller
        self._lines: deque[Line] = deque()
        self._ahead = 0
        self._read_all = False
        self._trouble: tuple[int, Problem] | None = None
        self._told: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 (closed in `answers`)
        self._written = self._sent = 0
        self._over = False
        self._news = asyncio.Condition()

    async def answers(self) -> AsyncGenerator[bytes, None]:
        """Yield the answers as they become known."""
        tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._work())]
        try:
            while True:
                async with self._news:
                    await self._news.wait_for(lambda: self._written > self._sent or self._over)
                    self._told.seek(self._sent)
                    chunk = self._told.read(CHUNK_BYTES)
                    self._told.seek(self._written)
                if not chunk:
                    break
                self._sent += len(chunk)
                yield chunk
            tasks[1].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._told.close()

    async def _read(self) -> None:
        """Take the body in, never far ahead of the work."""
        lines = Lines()
        try:
            async for chunk in self.request.stream():
                await self._put(lines.feed(chunk))
            await self._put(lines.finish())
        except ClientDisconnect:
            pass  # what was taken in stays; half a line is none
        except Problem as problem:  # too large, or too slow
            problem.more["from_line"] = lines.number + 1
            self._trouble = (lines.number + 1, problem)
        finally:
            async with self._news:
                self._read_all = True
                self._news.notify_all()

    async def _put(self, found: Sequence[Line]) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self._ahead < AHEAD_BYTES)
            self._lines.extend(found)
            self._ahead += sum(len(line or b"") + LINE_BYTES for _, line in found)
            self._news.notify_all()

    async def _work(self) -> None:
        """Submit what has arrived, slice by slice, and say what became of each line."""
        try:
            while part := await self._slice():
                if part[-1][0] > MOST_LINES:
                    part = [line for line in part if line[0] <= MOST_LINES]
                    await self._answer(part)
                    await self._stop(MOST_LINES + 1, Problem(
                        413, "too_many_lines", f"A batch has at most {MOST_LINES} lines. Send the lines from {MOST_LINES + 1} "
                        "on in another one.", from_line=MOST_LINES + 1,
                    ))  # fmt: skip
                    return
                try:
                    await self._answer(part)
                except (Busy, Unreachable) as error:
                    first = part[0][0]
                    problem = away(error)
                    problem.detail = (
                        f"{type(error).__doc__} Lines before {first} are answered above. Send the batch again from line "
                        f"{first} on: what is known by its key already does no harm."
                    )
                    problem.more["from_line"] = first
                    await self._stop(first, problem)
                    return
            if self._trouble is not None:
                await self._tell(_line(*self._trouble))
        finally:
            async with self._news:
                self._over = True
                self._news.notify_all()

    async def _slice(self) -> list[Line]:
        async with self._news:
            await self._news.wait_for(lambda: self._lines or self._read_all)
            part: list[Line] = []
            size = 0
            while self._lines and len(part) < SLICE_LINES and size < SLICE_BYTES:
                part.append(self._lines.popleft())
                size += len(part[-1][1] or b"")
            self._ahead -= size + len(part) * LINE_BYTES
            self._news.notify_all()
            return part

    async def _answer(self, part: Sequence[Line]) -> None:
        if part:
            await self._tell(await run_in_threadpool(take_in, self.app, self.caller, part))

    async def _stop(self, line: int, problem: Problem) -> None:
        """Say that nothing from this line on was taken in; throw away what still comes, or the sender would not hear it."""
        await self._tell(_line(line, problem))
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self._slice():
                    pass
        except TimeoutError:
            pass

    async def _tell(self, text: bytes) -> None:
        async with self._news:
            self._told.write(text)
            self._written += len(text)
            self._news.notify_all()


def take_in(app: "App", caller: Caller, part: Sequence[Line]) -> bytes:
    """Submit these lines in one transaction and return what became of each, a line each. Raises Busy, Unreachable."""
    refused: dict[int, Problem] = {}
    requests: list[tuple[int, JobRequest]] = []
    for number, line in part:
        try:
            requests.append((number, _read(caller, line)))
        except Problem as problem:
            refused[number] = problem
    beyond = power.beyond(app, caller, [request for _, request in requests])
    refused |= {requests[place][0]: too_far(caller, reach) for place, reach in beyond.items()}
    requests = [one for place, one in enumerate(requests) if place not in beyond]
    taken = app.submit([request for _, request in requests]) if requests else []
    answers = {number: answer for (number, _), answer in zip(requests, taken, strict=True)}
    return b"".join(_line(number, refused.get(number) or answers[number]) for number, _ in part)


def _read(caller: Caller, line: bytes | None) -> JobRequest:
    if line is None:
        raise Problem(413, "too_long", f"The line is longer than {LONGEST_LINE} bytes; it is no job.")
    try:
        found = BatchLine.model_validate_json(line)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
        if errors[0]["type"] == "json_invalid":
            raise Problem(400, "unreadable", f"The line is no JSON object in UTF-8. {errors[0]['msg']}.") from None
        raise from_validation(errors) from None
    require(caller, f"jobs:submit:{found.kind}")
    return found.asked_by(caller, found.key)


def _line(number: int, told: Acceptance | Problem) -> bytes:
    if isinstance(told, Acceptance) and told.refused:
        told = refusal(told)
    what: dict[str, Any] = {"problem": told.as_json()} if isinstance(told, Problem) else told.as_json()
    return json.dumps({"line": number, **what}, ensure_ascii=False).encode() + b"\n"


class Duplex(StreamingResponse):
    """An answer that is sent while the request is still being read: nothing else may listen at the line meanwhile."""

    def __init__(self, answers: AsyncGenerator[bytes, None]) -> None:
        """`answers` come one after the other."""
        self._answers = answers
        super().__init__(answers, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with aclosing(self._answers):
            await self.stream_response(send)


@router.post(
    "/jobs/batch", operation_id="submit_batch", summary="Hand in many jobs, one a line", response_class=Duplex, status_code=200,
    responses={
        200: {
            "description": "One line of JSON for each line that is not blank, in their order, each as soon as it is known: "
            "`line` and what POST /v1/jobs answers, or `line` and `problem`. A last line with `problem.from_line` says from "
            "where on to send again.",
            "content": {MEDIA_TYPE: {"schema": {
                "type": "object", "required": ["line"], "properties": {"line": {"type": "integer"}},
            }, "example": '{"line": 1, "id": "019a…", "kind": "add_to_group", "key": "k-1", "state": "queued"}\n'}},
        },
        **problems(408, 413),
    },
    openapi_extra={"requestBody": {"required": True, "content": {MEDIA_TYPE: {
        "schema": {"type": "string"},
        "example": '{"kind": "add_to_group", "payload": {"user": "ann", "group": "staff"}, "key": "k-1"}\n',
    }}}},
)  # fmt: skip
async def submit_batch(request: Request, caller: Annotated[Caller, needs()]) -> Duplex:
    """Take in up to 100,000 jobs. Each line is a JSON object like the body of POST /v1/jobs, with its `key` in it.

    Lines are taken in about a thousand at a time, and each such part stays whatever becomes of the rest. A bad line
    (no JSON, too long, no key, a kind that the token may not submit …) is refused and the others go on. Sending the same
    lines again is harmless.
    """
    return Duplex(Batch(request, caller).answers())
