"""What webhooks cost the bulk path: create_user without the outbox, with no endpoint, and with one that hears of it all."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECRET = "a secret key for benchmarks, of some length"  # noqa: S105 (a throw-away database's)
ROUNDS = 7


@contextmanager
def _nobody_told() -> Iterator[None]:
    """Muster as it was before there were webhooks."""
    from worker import outbox

    def nothing(scope: Any, events: Sequence[Mapping[str, Any]]) -> set[tuple[str, bool]]:  # noqa: ARG001
        return set()

    announce, outbox.announce = outbox.announce, nothing
    try:
        yield
    finally:
        outbox.announce = announce


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def main(arguments: list[str]) -> None:
    """Take turns, so that whatever else the machine does meets all three alike; print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks webhook", description=__doc__)
    parser.add_argument("--jobs", type=int, default=6_000, help="users to create in each round (default 6000)")
    jobs = parser.parse_args(arguments).jobs
    sys.path.insert(0, str(HERE.parent / "tests"))
    from servers import PostgresServer

    from worker import migrate
    from worker.app import App
    from worker.intake import Request
    from worker.queue import open_bell
    from worker.settings import Settings
    from worker.webhooks import endpoints

    with PostgresServer(durable=True) as postgres:
        url = postgres.create_database("muster")
        migrate.upgrade(url)
        app = App(Settings(database_url=url, secret_key=SECRET), bell=open_bell(None))
        app.keeper(set).enlist()
        runner = app.runner()
        made = 0

        def seconds(way: Callable[[], Any]) -> float:
            """The time from the first batch to the last commit, of users that were taken in before."""
            nonlocal made
            names = [f"person{made + number}" for number in range(jobs)]
            made += jobs
            app.submit([Request("create_user", {"username": name}, "benchmark", name) for name in names])
            with way():
                began = time.monotonic()
                while runner.run("create_user", urgent=False):
                    pass
                return time.monotonic() - began

        seconds(_as_it_is)  # everything is warm, and the statistics of the tables are not those of empty ones
        without: list[float] = []
        idle: list[float] = []
        told: list[float] = []
        for _ in range(ROUNDS):
            without.append(seconds(_nobody_told))
            idle.append(seconds(_as_it_is))
            with app.scope() as scope:
                endpoints.create(scope, "hook", "https://example.org/", ["*"], by="benchmark")
            told.append(seconds(_as_it_is))
            with app.scope() as scope:
                endpoints.remove(scope, "hook", by="benchmark")
        app.close()
    base = statistics.median(without)
    print(f"{jobs} users a round, {ROUNDS} rounds in turn, one thread; medians")
    for name, found in (("without the outbox", without), ("no endpoint", idle), ("one endpoint, all events", told)):
        middle = statistics.median(found)
        print(f"{name:28} {jobs / middle:>8,.0f} users/s  {middle / base:>6.2f} of the time without")
