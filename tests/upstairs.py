"""A whole Muster as an operator starts it, `muster up` in a process of its own, and the office behind it for tests."""

import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crew import environment, until
from office import Office

from worker import api_tokens
from worker.mail.catcher import Catcher

GRACE_SECONDS = 20.0
"""Longer than `muster up` takes to finish what is in hand."""


class Upstairs:
    """`muster up` on a folder of its own: database, mails, declarations; it ends with the block."""

    def __init__(self, folder: Path, *, config: str = "", relay: Catcher | None = None, **settings: str) -> None:
        """`config`: the text of muster.toml; `relay`: where mails go; without one, into a folder."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if config:
            (folder / "muster.toml").write_text(config, encoding="utf-8")
        self.relay = relay
        self.url = ""
        self.settings = {"listen": "127.0.0.1:0", "actors": "actors", **settings}
        self.database_url = f"sqlite:///{folder / 'muster.sqlite'}"
        self.log = folder / "up.log"

    def __enter__(self) -> Self:
        if self.relay is not None:
            self.relay.__enter__()
            self.settings["smtp_url"] = self.relay.url
        variables = environment(self.database_url, **self.settings)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "up"], env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder,
            )  # fmt: skip
        until(self._answers, "muster up to answer HTTP")
        # Not before: the process makes the database and its key.
        known: dict[str, Any] = {name: value for name, value in self.settings.items() if name != "actors"}
        self.office = Office(self.database_url, **known)
        self.office.keeper.resign()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.office.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.relay is not None:
                self.relay.__exit__(None, None, None)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/console", self.log.read_text())
        self.url = found[1] if found else ""
        return bool(found)

    def token(self, name: str, *scopes: str) -> str:
        """Make a token."""
        self.office.now = datetime.now(UTC)
        with self.office.scope() as scope:
            return api_tokens.create(scope, name, scopes, by="tester")

    def ask(self, kind: str, fields: dict[str, Any], **facts: Any) -> str:
        """Submit a job; `muster up` does it. Returns its id."""
        self.office.now = datetime.now(UTC)
        return self.office.submit(kind, fields, **facts)

    def done(self, kind: str, fields: dict[str, Any], **facts: Any) -> str:
        """Submit a job and wait until it has succeeded."""
        job_id = self.ask(kind, fields, **facts)
        until(lambda: self.office.ended(job_id).state == "succeeded", f"{kind} to succeed")
        return job_id

    def muster(self, *words: str, code: int = 0) -> str:
        """Run a command beside it, which has to end with this code, and return what it printed."""
        said = subprocess.run(
            [sys.executable, "-m", "worker", *words], env=environment(self.database_url, **self.settings),
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        assert said.returncode == code, (said.returncode, said.stdout, said.stderr)
        return said.stdout
