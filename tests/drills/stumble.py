"""A drill: fail a number of times, then leave one line in the audit trail."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from worker import Context, Payload, job


class Stumble(Payload):
    name: str
    times: int = 1
    seconds: float = 0.0


@job(base=timedelta(seconds=1), cap=timedelta(seconds=2))
def stumble(ctx: Context, ask: Stumble) -> Mapping[str, Any]:
    time.sleep(ask.seconds)
    if ctx.task.attempts < ask.times:
        raise RuntimeError("stumbled")
    ctx.event("stumble.over", None, ask.name)
    return {"changed": True}
