"""Who this process is, in words that another process can check: is it the same one, and is it still alive."""

import os
import socket
from pathlib import Path


def host() -> str:
    """Name the machine (and, in a container, the process namespace): pids mean something only within it."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


def born(pid: int) -> str | None:
    """Name the birth of a process of this machine, or None when there is no such process: a pid alone is reused."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _born_without_proc(pid)
    if fields[0] in ("Z", "X"):  # dead, and only not yet collected by its parent
        return None
    return f"{boot}/{fields[19]}"


def _born_without_proc(pid: int) -> str | None:
    """Without /proc all that can be asked is whether the pid is in use."""
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return "alive"
    return "alive"
