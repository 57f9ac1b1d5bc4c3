"""Named places where a test may kill, stop or break this process; outside of tests they cost one comparison."""

import os
import time

# MUSTER_FAULT_AT=<point>:<nth>:<action>, for example before_commit:3:kill. Only tests set it.
_plan = os.environ.get("MUSTER_FAULT_AT", "")
_seen = 0


class Broken(Exception):
    """A test broke the process here on purpose."""


def reached(point: str) -> None:
    """Act if the test's plan names this point and this is its n-th visit: kill, sleep (a minute) or raise."""
    if not _plan or not _plan.startswith(point + ":"):
        return
    global _seen
    _seen += 1
    _, nth, action = _plan.split(":")
    if _seen != int(nth):
        return
    if action == "kill":
        os.kill(os.getpid(), 9)
    elif action == "sleep":
        time.sleep(60)
    else:
        raise Broken(point)
