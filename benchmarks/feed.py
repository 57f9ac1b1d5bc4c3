"""A file of HR people: first load, the same file again, one per cent changed; beside reading alone and COPY of the same rows."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import _people
from benchmarks._copy import copied
from benchmarks.create_user import HERE, SECRET, _counter, wait_until

# One process plans and applies, one works: two cores.
THREADS = 2
# The unchanged file is planned so often, reading alone before each; the median counts.
ROUNDS = 5
# What has to be done before a load counts as done. Mails stay in the queue; first and last days to come stay scheduled, and so
# does the second look for a manager whose account was made in the same moment.
OPEN_JOBS = """SELECT count(*) FROM job WHERE kind NOT LIKE 'send\\_%'
AND state NOT IN ('scheduled', 'succeeded', 'rejected', 'failed', 'cancelled')"""
AIM_UNCHANGED, AIM_COPY, AIM_MEMORY = 4.0, 0.1, 300
LARGE = 1_000_000


def step(what: str, argument: str) -> None:
    """Plan a file, or apply a plan, as a process of its own; prints what it took as JSON."""
    from worker.app import App
    from worker.collector import calm_collector
    from worker.settings import load

    app = App(load())
    app.ready()
    feeds = app.feeds()
    calm_collector()
    began = time.monotonic()
    if what == "plan":
        run = feeds.plan_file("hr", Path(argument), by="benchmark")
    elif what == "read":
        _people.read_alone(Path(argument))
    else:
        run = feeds.find(argument)
        if run.state == "held":
            run = feeds.approve(run, by="benchmark", reason="the first load")
        run = feeds.apply(run)
    took = time.monotonic() - began
    found: dict[str, Any] = {"seconds": took, "megabytes": peak_megabytes()}
    if what != "read":
        found |= {"run": run.id, "state": run.state, "counts": dict(run.counts), "problem": run.problem}
    print(json.dumps(found))
    app.close()


def peak_megabytes() -> float:
    """The most memory this process ever had (proc(5): VmHWM), which unlike getrusage forgets whoever started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


class Company:
    """A database with groups, a worker process, and files of people."""

    def __init__(self, url: str, broker_url: str, folder: Path) -> None:
        """Declare the feed in a muster.toml of its own."""
        self.url, self.folder = url, folder
        declared = folder / "muster.toml"
        declared.write_text(_people.DECLARATION, encoding="utf-8")
        self.environ = {"MUSTER_DATABASE_URL": url, "MUSTER_BROKER_URL": broker_url, "MUSTER_SECRET_KEY": SECRET}
        self.with_feeds = self.environ | {"MUSTER_CONFIG": str(declared)}

    def do(self, what: str, argument: object) -> dict[str, Any]:
        """Take a step in a process of its own; what it printed."""
        command = [sys.executable, "-m", "benchmarks", "feed", "--step", what, str(argument)]
        done = subprocess.run(
            command, env={**os.environ, **self.with_feeds}, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        if found.get("state") in ("refused", "dropped"):
            raise SystemExit(f"the plan was {found['state']}: {found['problem']}")
        return found

    def make_groups(self) -> None:
        """Make the groups that the rules give."""
        from worker.app import App
        from worker.intake import Request
        from worker.settings import load

        app = App(load(self.environ))
        app.submit([Request("create_group", {"group": name}, "benchmark") for name in _people.GROUPS])
        app.close()
        with _counter(self.url) as count:
            wait_until(lambda: count(OPEN_JOBS) == 0, 60)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run one worker process for everything but mails."""
        code = (
            "from worker.process import run_worker; from worker.settings import load; "
            f"raise SystemExit(run_worker(load(), threads={THREADS}, queues=['directory']))"
        )
        running = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **self.environ}, cwd=HERE.parent)
        try:
            with _counter(self.url) as count:
                wait_until(lambda: count("SELECT count(*) FROM worker") >= 1, 60)
            yield
        finally:
            running.terminate()
            running.wait(timeout=30)

    def settled(self) -> float:
        """Wait until everything is done; how many seconds ago the last job was."""
        with _counter(self.url) as count:
            wait_until(lambda: count(OPEN_JOBS) == 0, 3_600)
            last = count("SELECT EXTRACT(EPOCH FROM clock_timestamp() - max(finished_at)) FROM job")
        return float(last)


def load(company: Company, path: Path) -> dict[str, float]:
    """Plan, approve, apply, and wait for the last job: seconds of each part, and in all."""
    planned = company.do("plan", path)
    began = time.monotonic()
    applied = company.do("apply", planned["run"])
    carried = time.monotonic()
    ended = time.monotonic() - company.settled()
    return {
        "plan": planned["seconds"], "apply": applied["seconds"], "rest": max(ended - carried, 0.0),
        "all": planned["seconds"] + max(ended, carried) - began, "megabytes": planned["megabytes"],
        "apply megabytes": applied["megabytes"],
    }  # fmt: skip


def unchanged(company: Company, path: Path) -> tuple[float, float, float]:
    """Read alone and plan the same file, in turns; seconds of reading, of planning, and the median of their ratios."""
    pairs = []
    for _ in range(ROUNDS):
        alone, planned = company.do("read", path), company.do("plan", path)
        assert set(planned["counts"]) == {"unchanged"}, planned
        pairs.append((alone["seconds"], planned["seconds"]))
    pairs.sort(key=lambda pair: pair[1] / pair[0])
    alone, planned = pairs[len(pairs) // 2]
    return alone, planned, planned / alone


def facts(url: str, people: int) -> str:
    """Say what a person has become, and what is still to come."""
    tables = ("job", "event", "membership", "feed_action", "feed_person")
    with _counter(url) as count:
        counts = {table: count("SELECT count(*) FROM " + table) for table in tables}  # noqa: S608 (our own names)
        mails = count("SELECT count(*) FROM job WHERE kind LIKE 'send\\_%' AND state = 'queued'")
        looks = count("SELECT count(*) FROM job WHERE kind = 'update_user' AND state = 'scheduled'")
        bad = count("SELECT count(*) FROM job WHERE state IN ('failed', 'rejected')")
    rows = ", ".join(f"{number / people:.1f} {table}" for table, number in counts.items())
    return f"a person is {rows}; {mails:,} mails staged, {looks:,} managers set at a second look, {bad:,} jobs failed"


def large(company: Company) -> None:
    """Plan the first load of a million people, and say what memory it takes."""
    path = company.folder / "large.csv"
    _people.write_file(path, LARGE, datetime.now(UTC).date())
    planned = company.do("plan", path)
    line(f"planning {LARGE:,} people", planned["seconds"], LARGE, f"{planned['megabytes']:.0f} MB at most (aim: under {AIM_MEMORY})")


def main(arguments: list[str]) -> None:
    """Start the servers, measure everything in one run on one machine, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks feed", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, help="how many people the company has (default 100000)")
    parser.add_argument("--large", action="store_true", help=f"plan {LARGE:,} people as well, for the memory it takes")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.step:
        step(*given.step)
        return
    sys.path.insert(0, str(HERE.parent / "tests"))
    from servers import PostgresServer, RedisServer

    from worker import migrate

    people, today = given.people, datetime.now(UTC).date()
    with PostgresServer(durable=True) as postgres, RedisServer(aof=True) as redis, tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def make(database: str) -> Company:
            url = postgres.create_database(database)
            migrate.upgrade(url)
            return Company(url, redis.url, folder)

        first, moved = folder / "people.csv", folder / "moved.csv"
        _people.write_file(first, people, today)
        _people.write_file(moved, people, today, changed_percent=1)
        company = make("muster")
        with company.worker():
            company.make_groups()
            loaded = load(company, first)
            rows = facts(company.url, people)
            seconds, megabytes = copied(company.url)
            alone, same, ratio = unchanged(company, first)
            changed = load(company, moved)
        report(people, loaded, rows, seconds, megabytes, alone, same, ratio, changed)
        if given.large:
            large(make("large"))


def report(
    people: int, loaded: Mapping[str, float], rows: str, copy: float, megabytes: float, alone: float,
    same: float, ratio: float, changed: Mapping[str, float],
) -> None:
    """Print the table."""
    print(f"{people:,} people, {len(_people.HEADER)} columns; one process plans and applies, one works, {os.cpu_count()} cores")
    print(f"{rows}; {megabytes:,.0f} MB of rows")
    print(f"{'':44} {'seconds':>8} {'persons/s':>10}")
    line("reading alone: csv and pydantic", alone, people)
    line("the same file again", same, people, f"{ratio:.2f} x reading (aim: at most {AIM_UNCHANGED:.0f})")
    line("first load, file → all jobs committed", loaded["all"], people,
         f"{copy / loaded['all']:.2f} x COPY (aim: at least {AIM_COPY})")  # fmt: skip
    line("   planning", loaded["plan"], people, f"{loaded['megabytes']:.0f} MB at most (aim: under {AIM_MEMORY})")
    line("   applying, while the worker works", loaded["apply"], people, f"{loaded['apply megabytes']:.0f} MB at most")
    line("   until the last job is done", loaded["rest"], people)
    line("raw COPY of all the rows it ends in", copy, people)
    line("one per cent changed, to the last job", changed["all"], people, f"planning {changed['plan']:.2f} s")


def line(what: str, seconds: float, people: int, note: str = "") -> None:
    """Print one line of the table; without a rate where there is nothing to wait for."""
    rate = f"{people / seconds:>10,.0f}" if seconds >= 0.01 else ""
    print(f"{what:44} {seconds:>8.2f} {rate:>10}  {note}".rstrip(), flush=True)
