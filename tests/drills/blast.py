"""A drill: end the worker's process the hard way, as running out of memory would."""

import os
import signal
from collections.abc import Mapping
from typing import Any

from worker import Context, Payload, job


class Blast(Payload):
    name: str


@job()
def blast(ctx: Context, ask: Blast) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}
