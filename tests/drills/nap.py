"""A drill: take a while, then leave one line in the audit trail."""

import time
from collections.abc import Mapping
from typing import Any

from worker import Context, Payload, job


class Nap(Payload):
    name: str
    seconds: float = 0.0


@job()
def nap(ctx: Context, ask: Nap) -> Mapping[str, Any]:
    time.sleep(ask.seconds)
    ctx.event("nap.taken", None, ask.name)
    return {"changed": True}
