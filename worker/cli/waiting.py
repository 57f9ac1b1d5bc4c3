"""Waits for jobs to end; embedded, with no worker running, does them in this very process."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from worker.app import App
    from worker.intake import Acceptance

# Soon enough for a person, and 50 looks a second are nothing to the database.
LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 0.25
# Long enough for every directory job, which takes milliseconds once a worker is there.
USUAL_SECONDS = 30.0


def wait(
    app: "App", ids: Collection[str], seconds: float, *, advance: Callable[[int], None] = lambda _ended: None
) -> list[dict[str, Any]]:
    """Wait until these jobs have ended, at most so long; returns how each stands, in the order of their ids.

    `advance` is called with the number of jobs that ended since the last call. Where nothing else would do them
    (SQLite without a queue server, and no worker alive), this process does, with what stands before them in line.
    """
    deadline = time.monotonic() + seconds
    open_ids = sorted(ids)
    step = _Here(app, open_ids) if _alone(app) else None
    pause = LOOK_SECONDS
    try:
        while open_ids := _count_ended(app, open_ids, advance):
            if time.monotonic() >= deadline:
                break
            if step is None or not step.work():
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_LOOK_SECONDS)
    finally:
        if step is not None:
            step.end()
    return _rows(app, sorted(ids))


def outcome(app: "App", answer: "Acceptance", seconds: float) -> "Acceptance":
    """Wait for one accepted job and return the answer as it stands then."""
    from dataclasses import replace

    if answer.id is None:
        return answer
    [row] = wait(app, [answer.id], seconds)
    return replace(answer, **{name: row[name] for name in ("state", "result", "reason", "reason_text")})


def nobody_works(app: "App") -> bool:
    """Whether no worker process is alive as far as can be seen."""
    from worker import listing

    with app.database.read() as conn:
        return not any(worker["alive"] for worker in listing.workers(conn, app.clock()))


def _alone(app: "App") -> bool:
    if not app.settings.embedded or not nobody_works(app):
        return False
    click.echo("No worker is running on this database, so it is done here.", err=True)
    return True


def _count_ended(app: "App", ids: Sequence[str], advance: Callable[[int], None]) -> list[str]:
    left = [row["id"] for row in _rows(app, ids) if row["finished_at"] is None]
    if len(left) < len(ids):
        advance(len(ids) - len(left))
    return left


def _rows(app: "App", ids: Sequence[str]) -> list[dict[str, Any]]:
    from worker.bulk import select_by
    from worker.tables import job

    columns = [job.c[name] for name in ("id", "kind", "state", "result", "reason", "reason_text", "finished_at")]
    with app.database.read() as conn:
        rows = select_by(conn, job.c.id, ids, *columns)
    return sorted((dict(row._mapping) for row in rows), key=lambda row: str(row["id"]))  # noqa: SLF001


class _Here:
    """A worker for as long as somebody waits: due directory jobs, and of those that reach outside only the wanted kinds."""

    def __init__(self, app: "App", ids: Sequence[str]) -> None:
        self.runner, self.edge = app.runner(), app.edge()
        self.keeper = app.keeper(lambda: self.runner.in_hand | self.edge.in_hand)
        wanted = {row["kind"] for row in _rows(app, ids)}
        self.kinds = [kind for kind in app.registry if kind.shape != "edge" or kind.name in wanted]
        self.keeper.enlist()

    def work(self) -> bool:
        """Do what is due; False if nothing was."""
        self.keeper.pass_once()
        done = 0
        for kind in self.kinds:
            worker = self.edge if kind.shape == "edge" else self.runner
            done += sum(worker.run(kind.name, urgent=urgent) for urgent in (True, False))
        return done > 0

    def end(self) -> None:
        """Leave the list of workers."""
        self.keeper.resign()
