"""`muster demo`: a walk through Muster on a feed, from the first message to the delivered mails."""

import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from worker import listing, logs, messages
from worker.app import App
from worker.demo import feed
from worker.directory import credentials
from worker.directory.accounts import by_ids, find
from worker.feed_tables import feed_run
from worker.feeds import runs
from worker.jobs import UserRef
from worker.mail.catcher import Catcher
from worker.pages import show_user
from worker.process import Staff
from worker.scope import Scope
from worker.screen import card, harmless, heading, progress, say, table
from worker.settings import Settings
from worker.tables import job, users

SETUP = "demo/setup"
# Far more than the jobs of the demonstration need on a slow machine; then something is wrong, and it says so.
PATIENCE_SECONDS = 60.0
# Marks around names in mails that keep a name of the other direction of writing from turning the line.
ISOLATES = dict.fromkeys(range(0x2066, 0x206A))


def run(folder: Path | None, stay: Callable[[], None] | None) -> int:
    """Show everything; `stay`, when given, waits until people have seen enough. Returns the exit code."""
    folder = (folder or Path(tempfile.mkdtemp(prefix="muster-demo-"))).resolve()
    if (folder / "muster.db").exists():
        say(f"{folder} holds a database already. Name an empty folder, or go on there with `muster up`.")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    logs.to(folder / "muster.log", "info")
    with ExitStack() as stack:
        catcher = stack.enter_context(Catcher())
        app = App(_settings(folder, catcher.url))
        stack.callback(app.close)
        stack.enter_context(Staff(app))
        show = _Show(app, catcher, folder)
        show.before()
        show.first_day()
        show.second_day()
        show.third_day()
        show.outcome()
        show.leaver("omar.haddad")
        show.mails("emma.lindqvist@example.com")
        show.person("pierre.lambert")
        show.again()
        show.end(stays=stay is not None)
        if stay is not None:
            stay()
    return 0


def _settings(folder: Path, relay: str) -> Settings:
    """The embedded setting, whatever MUSTER_* says: the demonstration touches nothing but its folder."""
    return Settings(
        database_url=f"sqlite:///{folder / 'muster.db'}", feeds=tomllib.loads(feed.DECLARED)["feeds"], smtp_url=relay, organisation=feed.ORGANISATION,
        mail_from="Fjord & Feather IT <it@example.com>", support_contact="the IT desk (it@example.com)",
        recovery_url="https://id.example.com/recover/{token}",
    )  # fmt: skip


class _Show:
    def __init__(self, app: App, catcher: Catcher, folder: Path) -> None:
        self.app = app
        self.catcher = catcher
        self.folder = folder
        self.started = time.monotonic()

    # ----------------------------------------------------------------------------------------------- acts

    def before(self) -> None:
        """Furnish the organisation, and let its people log in."""
        say(f"Muster works in {self.folder}: SQLite, a mail catcher and the workers, all in this process.")
        heading(f"1. {feed.ORGANISATION}, before today")
        wanted = list(feed.before())
        for kind in ("create_group", "onboard_user"):  # people name groups, so the groups come first
            self._submit([json.dumps(message) for message in wanted if message["kind"] == kind], SETUP)
            self._work("furnishing")
        counts = self._log_in()
        people = sum(message["kind"] == "onboard_user" for message in wanted)
        say(f"{len(wanted) - people} groups and {people} people. They are at work: {counts['sessions']} sessions, "
            f"{counts['refresh tokens']} refresh tokens, {counts['MFA devices']} MFA devices.")  # fmt: skip

    def first_day(self) -> None:
        """The first file of the HR system: a plan, and then exactly that plan."""
        (self.folder / "muster.toml").write_text(feed.DECLARED, encoding="utf-8")
        self._write("monday.csv", feed.first_file())
        heading("2. Monday: HR sends its file")
        say("muster.toml says what its columns mean. First the plan: nothing is changed, no mail is sent.")
        self._muster("feed", "plan", "hr", "monday.csv", "--limit", "4")
        self._muster("feed", "apply", "hr", "monday.csv", "--wait", "60")
        self._work("working")

    def second_day(self) -> None:
        """People move and leave, and some records are wrong."""
        self._write("tuesday.csv", feed.second_file())
        heading("3. Tuesday: people move and leave, and some records are wrong")
        self._muster("feed", "plan", "hr", "tuesday.csv")
        self._muster("feed", "apply", "hr", "tuesday.csv", "--wait", "60")
        self._work("working")
        say("The refused records come back to HR in a file like their own, to be corrected and sent again:")
        self._muster("feed", "failed", self._latest(), "-o", "failed.csv")
        say((self.folder / "failed.csv").read_text(encoding="utf-8").replace("\r", "").rstrip())

    def third_day(self) -> None:
        """A broken file: everybody has left."""
        self._write("wednesday.csv", feed.broken_file())
        heading("4. Wednesday: a filter went wrong, and everybody has left")
        self._muster("feed", "apply", "hr", "wednesday.csv")
        with self.app.database.read() as conn:
            active = conn.execute(select(func.count()).select_from(users).where(users.c.is_active)).scalar_one()
        say(f"\nNobody was touched: {active} people are still active.")

    def outcome(self) -> None:
        """Show what was done, and what the directory turned down and why."""
        with self.app.database.read() as conn:
            counts = listing.job_counts(conn, listing.JobFilter(), job.c.source != SETUP, by=("kind", "state"))
            turned_down = conn.execute(
                select(job).where(job.c.state.in_(["rejected", "failed", "cancelled"])).order_by(job.c.id)
            ).all()
            names = listing.abouts(conn, [row.payload for row in turned_down])
        states = list(dict.fromkeys(row["state"] for row in counts))
        rows = [
            (kind, *(next((row["count"] for row in counts if (row["kind"], row["state"]) == (kind, state)), "") for state in states))
            for kind in dict.fromkeys(row["kind"] for row in counts)
        ]
        table(("job", *states), rows, title="What was done", right=states)
        rows = [(row.kind, about, f"{row.state}: {row.reason_text}") for row, about in zip(turned_down, names, strict=True)]
        table(("kind", "about", "why"), rows, title="Taken in, and turned down or overtaken")

    def leaver(self, username: str) -> None:
        """Show what the leaving of one person ended."""
        with self.app.database.read() as conn:
            statement = select(users.c.id).where(users.c.username == username)
            user_id = conn.execute(statement).scalar_one()
            user = by_ids(self._scope(conn), [user_id], lock=False)[user_id]
            row = conn.execute(
                select(job).where(job.c.kind == "offboard_user", job.c.state == "succeeded", job.c.result.is_not(None))
                .where(job.c.subject.in_(listing.subjects_named(conn, self.app.settings, username)))
            ).one()  # fmt: skip
        heading(f"5. One leaver: {user.name or username}")
        result = row.result
        card({"job": row.id, "is": "active" if user.is_active else "inactive, and every credential is dead",
              "revoked": {name.replace("_", " "): count for name, count in result["revoked"].items() if count},
              "left the groups": result["groups"], "deleted on": f"{user.delete_at:%Y-%m-%d}" if user.delete_at else None})

    def mails(self, opened: str) -> None:
        """List the mails, and open one."""
        heading("6. Mails")
        caught = [_parsed(mail.message) for mail in self.catcher.mails]
        alike: dict[str, list[EmailMessage]] = {}
        for mail in caught:
            alike.setdefault(str(mail["Subject"]).translate(ISOLATES), []).append(mail)
        rows = [(subject, len(mails), mails[-1]["To"].addresses[0].addr_spec) for subject, mails in alike.items()]
        say(f"{len(caught)} were delivered, each once:")
        table(("subject", "mails", "for example to"), rows, right=("mails",))
        mail = next((mail for mail in caught if opened in str(mail["To"])), caught[0])
        heading("One of them, opened")
        card({"From": str(mail["From"]), "To": str(mail["To"]), "Date": str(mail["Date"]), "Subject": str(mail["Subject"])})
        say()
        body = mail.get_body(("plain",))
        assert body is not None
        say("\n".join(f"  {line}" for line in harmless("\n".join(body.get_content().strip().translate(ISOLATES).splitlines()), keep="\n").split("\n")))

    def person(self, username: str) -> None:
        """Show a person's page, as `muster users show` does."""
        heading(f"7. One person: muster users show {username}")
        with self.app.database.read() as conn:
            scope = self._scope(conn)
            [user] = find(scope, [UserRef(username=username)], lock=False)
            assert user is not None
            show_user(listing.user_page(scope, user))

    def again(self) -> None:
        """Hand in the same file again."""
        heading("8. Tuesday's file once more")
        before = self._jobs()
        self._muster("feed", "apply", "hr", "tuesday.csv")
        say(f"\nJobs in the ledger before: {before}, now: {self._jobs()}.")

    def end(self, *, stays: bool) -> None:
        """Say what to do next."""
        heading(f"That took {time.monotonic() - self.started:.1f} seconds. Go on from here:")
        program = _program()
        say(f"  cd {shlex.quote(str(self.folder))}")
        for words in (
            "users list --search an",
            "feed runs",
            f"feed show {self._latest()}",
            "jobs list --state scheduled",
            "submit offboard_user '{\"user\": \"emma.lindqvist\"}' --dry-run",
            "mail preview send_recovery_email --open mail.html",
            "up",
        ):
            say(f"  {program} {words}")
        say()
        say("Serving; Ctrl-C ends it." if stays else f"`{_program()} --help` lists all commands.")

    # ---------------------------------------------------------------------------------------------- helpers

    def _scope(self, conn: Any) -> Scope:
        return Scope(conn, self.app.clock(), self.app.settings)

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8", newline="")

    def _muster(self, *words: str) -> None:
        """Run a command as anybody would, in the demonstration's folder."""
        say(f"\n$ {_program()} {shlex.join(words)}")
        sys.stdout.flush()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
        subprocess.run(
            [sys.executable, "-m", "worker", *words], cwd=self.folder, env=environment, check=False, timeout=PATIENCE_SECONDS,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _latest(self) -> str:
        """What people type to name the latest plan that was applied."""
        with self.app.database.read() as conn:
            [run] = runs.latest(conn, feed_run.c.applied_at.is_not(None), limit=1)
        return (run.hash or run.id)[: runs.HASH_SHOWN]

    def _submit(self, lines: Iterable[str], source: str) -> None:
        """Hand lines in as `muster submit --batch` does."""
        every = list(lines)
        with progress("handing in", len(every)) as advance:
            for _ in messages.submit(every, self.app.submit, source=lambda _word: source, asker="demo"):
                advance(1)

    def _work(self, label: str) -> int:
        """Wait until no job is due any more; returns how many have ended in all."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        total, ended = self._due(), 0
        with progress(label, total) as advance:
            while (left := self._due()) and time.monotonic() < deadline:
                if total - left > ended:
                    advance(total - left - ended)
                    ended = total - left
                time.sleep(0.02)
            advance(total - ended)
        if left:
            raise RuntimeError(f"{left} jobs are still not done; {self.folder / 'muster.log'} says more")
        return self._jobs(job.c.finished_at.is_not(None), job.c.source != SETUP)

    def _due(self) -> int:
        return self._jobs(job.c.finished_at.is_(None), job.c.run_at <= self.app.clock())

    def _jobs(self, *which: Any) -> int:
        with self.app.database.read() as conn:
            return int(conn.execute(select(func.count()).select_from(job).where(*which)).scalar_one())

    def _log_in(self) -> dict[str, int]:
        """Let the people log in, as an identity provider on this directory would write it down."""
        chance = random.Random(2026)
        counts = {"sessions": 0, "refresh tokens": 0, "MFA devices": 0}
        with self.app.scope() as scope:
            for user_id in scope.conn.execute(select(users.c.id).order_by(users.c.username_folded)).scalars().all():
                for number in range(1, chance.randint(2, 4)):
                    day = timedelta(hours=12)
                    made = credentials.issue_session(scope, user_id, day, f"192.0.2.{chance.randint(1, 254)}", "Firefox")
                    counts["sessions"] += made is not None
                    application = ("wiki", "payroll", "chat")[number % 3]
                    token = credentials.issue_refresh_token(scope, user_id, application, made.id if made else None, day * 60)
                    counts["refresh tokens"] += token is not None
                    credentials.record_consent(scope, user_id, application, ["openid", "profile"])
                if chance.random() < 0.7:
                    device = credentials.register_mfa_device(scope, user_id, "totp", "phone")
                    counts["MFA devices"] += bool(device and credentials.confirm_mfa_device(scope, user_id, device))
        return counts


def _parsed(message: bytes) -> EmailMessage:
    found = message_from_bytes(message, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def _program() -> str:
    """How this reader can call muster: by its name, if the shell finds it, else by where it was called from."""
    if shutil.which("muster"):
        return "muster"
    here = Path(sys.argv[0]).resolve()
    return shlex.quote(str(here)) if here.name == "muster" else f"{shlex.quote(sys.executable)} -m worker"
