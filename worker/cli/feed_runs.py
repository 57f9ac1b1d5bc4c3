"""`muster feed runs`, `show` and `failed`: what was planned and applied, and what became of each record."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli import desk, feed_show
from worker.screen import print_json, say, table

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from worker.app import App
    from worker.feeds.runs import Run

STATES = ("planning", "planned", "held", "approved", "applying", "applied", "refused", "dropped")
# Jobs that ended without having done what was asked.
BAD = ("rejected", "failed", "cancelled")
# Lines read in one transaction.
PAGE = 1_000
# How failed messages are written: they came one by one, not in a file.
_AS_LINES = {"encoding": "utf-8", "byte_order_mark": False, "line_end": "\n"}


@click.command()
@click.option("--source", metavar="FEED", help="Only of this feed.")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), metavar="STATE",
              help=f"Only in this state: {', '.join(STATES)}.")  # fmt: skip
@click.option("--person", metavar="ID", help="Only those that say something of this person, by the id in the source.")
@desk.limit_option(20)
@click.option("--before", metavar="RUN", help="The page after the one that ended with this run.")
@desk.json_option
def runs(
    source: str | None, states: tuple[str, ...], person: str | None, limit: int, before: str | None, as_json: bool
) -> None:
    """List runs, the newest first: plans, and what became of them."""
    from sqlalchemy import select

    from worker.feed_tables import feed_action, feed_run
    from worker.feeds import runs as book

    with desk.opened(looking=True) as app, app.database.read() as conn:
        which = [feed_run.c.source == source] if source else []
        if states:
            which.append(feed_run.c.state.in_(states))
        if person:
            which.append(feed_run.c.id.in_(select(feed_action.c.run).where(feed_action.c.external_id == person)))
        if before:
            which.append(feed_run.c.id < book.find(conn, before).id)
        found = book.latest(conn, *which, limit=limit)
        now = app.clock()
    if as_json:
        for run in found:
            print_json(run.as_json())
        return
    rows = [
        (feed_show.name_of(run), run.source, run.state, feed_show.ago(run.created_at, now), run.input or run.origin, _counts(run))
        for run in found
    ]
    table(("plan", "feed", "state", "at", "made of", "what"), rows, whole=("plan", "state", "at"), empty="There are no such runs.")
    if len(found) == limit:
        say(f"\nThere may be more: --before {found[-1].id[: feed_show.RUN_SHOWN]}, or a larger --limit.")


def _counts(run: "Run") -> str:
    if run.state == "refused":
        return run.problem or ""
    return feed_show.counted(run.counts) or f"{run.counts.get('unchanged', 0):,} unchanged"


# ------------------------------------------------------------------------------------------------------ one run


@click.command()
@click.argument("name", metavar="PLAN|RUN")
@click.option("--refused", is_flag=True, help="Only what was refused, and whose jobs did not succeed.")
@click.option("--person", metavar="ID", help="Only this person, by the id in the source.")
@click.option("--all", "everything", is_flag=True, help="All lines, not the first 20 of each kind.")
@click.option("--jobs", "with_jobs", is_flag=True, help="Each person's jobs, exactly as they are handed in.")
@desk.json_option
def show(name: str, refused: bool, person: str | None, everything: bool, with_jobs: bool, as_json: bool) -> None:
    """Show a run, how far it is, and what became of each record."""
    with desk.opened(looking=True) as app:
        run = find(app, name)
        if as_json:
            print_run(app, run, refused=refused, person=person)
            return
        with app.database.read() as conn:
            feed_show.show_run(run, progress(conn, run))
        if person is None and not refused:
            say()
        show_plan(app, run, limit=None if everything else feed_show.SECTION, jobs=with_jobs, refused=refused, person=person)


def find(app: "App", name: str) -> "Run":
    """Return the run that a plan's hash or a run's id names. Raises NoSuchRun."""
    from worker.feeds import runs as book

    with app.database.read() as conn:
        return book.find(conn, name)


def progress(conn: "Connection", run: "Run") -> dict[str, int]:
    """Count the jobs of a run by state."""
    from worker.feeds import runs as book

    return book.progress(conn, run, f"feed/{run.source}") if run.applied_at is not None else {}


def run_json(app: "App", run: "Run") -> dict[str, Any]:
    """The object of a run with its jobs counted by state."""
    with app.database.read() as conn:
        return run.as_json() | {"jobs": progress(conn, run)}


def print_run(app: "App", run: "Run", *, refused: bool = False, person: str | None = None) -> None:
    """Print the run and all its lines as JSON, an object a line, as they are read."""
    print_json(run_json(app, run))
    with app.database.read() as conn:
        which = _which(conn, run, refused=refused, person=person)
    for line in _lines(app, run, which):
        print_json(line)


def show_plan(
    app: "App", run: "Run", *, limit: int | None = feed_show.SECTION, jobs: bool = False, refused: bool = False,
    person: str | None = None, sections: bool = True, next_step: bool = True,
) -> None:
    """Print a plan for people: how it was read, how many, who and what, what holds it, and what to type next."""
    from sqlalchemy import func, select

    from worker.feed_tables import feed_action

    with app.database.read() as conn:
        which = _which(conn, run, refused=refused, person=person)
        found = (feed_action.c.action, feed_action.c.code)
        statement = select(*found, func.count()).where(feed_action.c.run == run.id, *which).group_by(*found).order_by(*found)
        counts: dict[str, int] = {}
        codes: dict[str, dict[str, int]] = {}
        for action, code, count in conn.execute(statement):
            counts[action] = counts.get(action, 0) + count
            if code is not None:
                codes.setdefault(action, {})[code] = count
    if person is not None and not counts:
        raise desk.NoSuchJob(f"The plan {feed_show.name_of(run)} says nothing about {person}: unchanged, or not in the input.")
    if person is None and not refused:
        feed_show.show_head(run)
        if run.state != "refused":
            feed_show.show_counts(run, counts)
    elif refused and not counts:
        say("\nNothing was refused, and no job failed.")
    order = [*feed_show.ACTIONS, *sorted(counts.keys() - feed_show.ACTIONS.keys())] if sections else []
    for action in order:
        if counts.get(action):
            lines = _lines(app, run, [feed_action.c.action == action, *which], limit)
            feed_show.show_section(run, action, counts[action], lines, jobs=jobs, codes=codes.get(action, {}))
    if counts.get("refused"):
        say(f"\nTo correct them: muster feed failed {feed_show.name_of(run)} -o failed.csv")
    feed_show.show_brakes(run)
    if run.problem and run.state == "refused":
        say()
        feed_show.wrapped(run.problem, "")
    if next_step and (after := feed_show.next_step(run)):
        say()
        say(after)


def _lines(
    app: "App", run: "Run", which: "Sequence[ColumnElement[bool]]", limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield lines with what became of their jobs; no transaction is open while a slow reader, such as a pager, waits."""
    from worker.feeds import runs as book

    after, left = 0, limit
    while left is None or left > 0:
        with app.database.read() as conn:
            found = book.lines(conn, run.id, *which, after=after, limit=min(left or PAGE, PAGE))
            part = list(feed_show.with_outcomes(conn, run, found))
        if not part:
            return
        yield from part
        after = part[-1]["number"]
        left = None if left is None else left - len(part)


def _which(conn: "Connection", run: "Run", *, refused: bool, person: str | None) -> "list[ColumnElement[bool]]":
    from worker.bulk import among
    from worker.feed_tables import feed_action

    which: list[ColumnElement[bool]] = []
    if person is not None:
        which.append(feed_action.c.external_id == person)
    if refused:
        which.append((feed_action.c.action == "refused") | among(conn, feed_action.c.number, unsuccessful(conn, run)))
    return which


def unsuccessful(conn: "Connection", run: "Run") -> list[int]:
    """Return the numbers of the lines of which a job was rejected, failed or was cancelled."""
    from sqlalchemy import select

    from worker.tables import job

    if run.applied_at is None:
        return []
    mine = (job.c.source == f"feed/{run.source}", job.c.key.like(f"{run.id}/%"), job.c.state.in_(BAD))
    return sorted({int(key.split("/")[1]) for key in conn.execute(select(job.c.key).where(*mine)).scalars()})


# ------------------------------------------------------------------------------------------------ failed rows


@click.command()
@click.argument("name", metavar="PLAN|RUN")
@click.option("-o", "--output", "target", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@desk.json_option
def failed(name: str, target: Path, force: bool, as_json: bool) -> None:
    """Write the records that were refused or failed into a file.

    It is like the input, with error_code and error_text in two columns more. Correct it and push it again: whoever
    is not in it is left alone.
    """
    from worker.feeds.failed_rows import write_failed_rows

    with desk.opened(looking=True) as app:
        run = find(app, name)
        feed = app.feeds().feed(run.source)
        if target.exists() and not force:
            raise click.UsageError(f"{target} is there already; --force writes over it.")
        rows = list(_failed_rows(app, run))
        if rows:
            form, reading = feed, run.reading
            if run.origin != "file":  # messages: objects, one a line
                form, reading = feed.model_copy(update={"form": "ndjson"}), {**_AS_LINES, **run.reading}
            write_failed_rows(form, reading, rows, target)
    if as_json:
        print_json({"run": run.id, "rows": len(rows), "file": str(target) if rows else None})
    elif rows:
        how = "Correct them, then: muster feed apply" if run.origin == "file" else (
            "Correct them and give each a new id, then: muster feed push")  # fmt: skip
        say(f"{feed_show.many(len(rows), 'record')} in {target}. {how} {run.source} {target}")
    else:
        say("Nothing was refused, and no job failed: there is nothing to write.")


def _failed_rows(app: "App", run: "Run") -> Iterator[tuple[str, str, str]]:
    """Yield (record as it came, code, sentence) of each that was refused, and of each whose job did not succeed."""
    from worker.feeds import runs as book

    with app.database.read() as conn:
        which = _which(conn, run, refused=True, person=None)
    after = 0
    while True:
        with app.database.read() as conn:
            part = book.lines(conn, run.id, *which, after=after, limit=PAGE)
            ended = book.outcomes(conn, f"feed/{run.source}", part)
        if not part:
            return
        after = part[-1]["number"]
        for line in part:
            raw = line["raw"] or (line["person"] or {}).get("raw")
            if raw is None or line["place"] is None:  # nothing in the input said so
                continue
            bad = [job for (number, _), job in ended.items() if number == line["number"] and job["state"] in BAD]
            code, text = (bad[0]["reason"], bad[0]["reason_text"]) if bad else (line["code"], line["text"])
            yield raw, code or "failed", text or "The job of this record did not succeed."
