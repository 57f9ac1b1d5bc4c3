"""An HR department for tests: it writes files and messages, and Muster plans, applies and carries them out."""

import json
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from office import Office

from worker.feeds import runs
from worker.feeds.config import load_feeds
from worker.feeds.declaration import Feed
from worker.feeds.desk import Feeds
from worker.feeds.feeder import Feeder
from worker.feeds.inbox import store
from worker.feeds.runs import Run

RULES = """\
[[feeds.SOURCE.groups]]
rule = "everybody"
groups = ["staff"]
[[feeds.SOURCE.groups]]
rule = "sales people"
when = { "attributes.department" = ["Sales"] }
groups = ["sales"]
"""
BRAKES = """\
[feeds.SOURCE.brakes]
create = {}
disable = {}
delete = {}
groups = {}
attributes = {}
mails = {}
"""


def rules(source: str) -> str:
    """The rules of a feed: everybody is staff, and who is in Sales is in sales."""
    return RULES.replace("SOURCE", source)


def open_brakes(source: str) -> str:
    """Brakes of a feed that hold nothing."""
    return BRAKES.replace("SOURCE", source)


DECLARED = """
[feeds.hr]
form = "csv"
mode = "full"
dates = ["%Y-%m-%d"]
usernames = ["{first}.{last}", "{first}.{last}{n}"]
email = "{username}@example.com"
[feeds.hr.columns]
external_id = "id"
first = "first"
last = "last"
status = "status"
start_date = "start"
last_day = "end"
reason = "reason"
manager = "boss"
zone = "zone"
"attributes.department" = "department"
[feeds.hr.status]
Active = "active"
Leave = "leave"
Gone = "terminated"
Never = "rescinded"
[feeds.hr.leavers]
urgent_reasons = ["fraud"]
""" + rules("hr") + open_brakes("hr")
HEADER = ("id", "first", "last", "status", "start", "end", "reason", "boss", "zone", "department")


def person(number: str, first: str, last: str, **more: str) -> dict[str, str]:
    """One record: active, in Sales, unless said otherwise."""
    return {"id": number, "first": first, "last": last, "status": "Active", "department": "Sales", **more}


def csv_text(people: Iterable[Mapping[str, str]], header: Sequence[str] = HEADER) -> str:
    """The people as a CSV file."""
    lines = [",".join(header)] + [",".join(str(one.get(name, "")) for name in header) for one in people]
    return "\n".join(lines) + "\n"


class HR:
    """One or more declared feeds on an office."""

    def __init__(self, office: Office, folder: Path, declared: str = DECLARED) -> None:
        """`declared`: the text of muster.toml."""
        self.office, self.folder = office, folder
        found = tomllib.loads(declared)
        self.settings = office.settings.model_copy(
            update={"feeds": found["feeds"], "authority": found.get("authority", {})}
        )
        office.app.settings = self.settings
        feeds = load_feeds(self.settings)
        self.feeds = Feeds(
            office.app.database, office.app.registry, self.settings, lambda: office.now, office.app.ring, feeds
        )
        self.feeder = Feeder(self.feeds)

    def feed(self, source: str = "hr") -> Feed:
        """The declaration."""
        return self.feeds.feed(source)

    def write(self, people: Iterable[Mapping[str, str]] | str | bytes, name: str = "people.csv") -> Path:
        """Write a file."""
        path = self.folder / name
        content = people if isinstance(people, (str, bytes)) else csv_text(people)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def plan(self, people: Iterable[Mapping[str, str]] | str | bytes, source: str = "hr", name: str = "people.csv") -> Run:
        """Plan a file."""
        return self.feeds.plan_file(source, self.write(people, name), by="tester")

    def apply(self, people: Iterable[Mapping[str, str]] | str | bytes, source: str = "hr") -> Run:
        """Plan and apply a file, and do its jobs."""
        run = self.plan(people, source)
        assert run.state == runs.PLANNED, (run.state, run.problem, run.brakes)
        return self.carry(run)

    def carry(self, run: Run) -> Run:
        """Apply a plan, and do its jobs."""
        run = self.feeds.apply(run)
        self.rest()
        return run

    def rest(self) -> None:
        """Do every job that is due, and settle."""
        self.office.drain()
        self.feeds.catch_up()

    def tell(self, *messages: Mapping[str, Any], source: str = "events") -> None:
        """Messages come in, and the feeder takes them."""
        with self.office.scope() as scope:
            store(scope, source, [(message.get("id"), json.dumps(message)) for message in messages])
        self.feeder.take_messages()
        self.rest()

    def turn(self, **duration: float) -> None:
        """Time goes by; the feeder looks, and the jobs that are due are done."""
        self.office.later(**duration)
        self.feeder.scan()
        self.rest()

    def lines(self, run: Run, action: str | None = None) -> list[dict[str, Any]]:
        """The lines of a plan."""
        with self.office.app.database.read() as conn:
            found = list(runs.all_lines(conn, run.id))
        return [line for line in found if action in (None, line["action"])]

    def states(self) -> dict[str, str]:
        """Username -> active or closed."""
        return {row["username"]: "active" if row["is_active"] else "closed" for row in self.office.rows("users")}

    def groups(self, username: str) -> set[str]:
        """The groups that somebody is in directly."""
        user = self.office.user(username)
        assert user is not None
        names = {row["id"]: row["name"] for row in self.office.rows("groups")}
        return {names[row["group_id"]] for row in self.office.rows("membership", user_id=user.id)}


@contextmanager
def department(template: Path, home: Path, declared: str) -> Iterator[HR]:
    """An HR department with a database of its own, for tests that need many; `template`: a migrated, empty one."""
    for part in template.parent.glob(f"{template.name}*"):
        shutil.copy(part, home / part.name)
    office = Office(f"sqlite:///{home / template.name}")
    try:
        for group in ("staff", "sales"):
            office.submit("create_group", {"group": group})
        office.drain()
        yield HR(office, home, declared)
    finally:
        office.close()
        shutil.rmtree(home)
