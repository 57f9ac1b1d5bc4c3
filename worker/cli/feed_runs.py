"""`muster feed runs`, `show` and `failed`: what was planned and applied, and what became of each record."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli import desk, feed_show
from worker.feeds.codes import ACTIONS
from worker.screen import print_json, say, table

if TYPE_CHECKING:
    from worker.app import App
    from worker.feeds.runs import Run

STATES = ("planning", "planned", "held", "approved", "applying", "applied", "refused", "dropped")


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
    from worker import plan_view

    with desk.opened(looking=True) as app:
        run = find(app, name)
        if as_json:
            print_run(app, run, refused=refused, person=person)
            return
        with app.database.read() as conn:
            feed_show.show_run(run, plan_view.progress(conn, run))
        if person is None and not refused:
            say()
        show_plan(app, run, limit=None if everything else feed_show.SECTION, jobs=with_jobs, refused=refused, person=person)


def find(app: "App", name: str) -> "Run":
    """Return the run that a plan's hash or a run's id names. Raises NoSuchRun."""
    from worker.feeds import runs as book

    with app.database.read() as conn:
        return book.find(conn, name)


def run_json(app: "App", run: "Run") -> dict[str, Any]:
    """The object of a run with its jobs counted by state."""
    from worker import plan_view

    with app.database.read() as conn:
        return plan_view.run_json(conn, run)


def print_run(app: "App", run: "Run", *, refused: bool = False, person: str | None = None) -> None:
    """Print the run and all its lines as JSON, an object a line, as they are read."""
    from worker.plan_view import LineFilter, lines

    print_json(run_json(app, run))
    for line in lines(app.database, run, LineFilter(refused=refused, person=person)):
        print_json(line)


def show_plan(
    app: "App", run: "Run", *, limit: int | None = feed_show.SECTION, jobs: bool = False, refused: bool = False,
    person: str | None = None, sections: bool = True, next_step: bool = True,
) -> None:
    """Print a plan for people: how it was read, how many, who and what, what holds it, and what to type next."""
    from worker import plan_view
    from worker.plan_view import LineFilter

    with app.database.read() as conn:
        codes = plan_view.counts(conn, run, LineFilter(refused=refused, person=person))
    counts = {action: sum(found.values()) for action, found in codes.items()}
    if person is not None and not counts:
        raise desk.NoSuchJob(f"The plan {feed_show.name_of(run)} says nothing about {person}: unchanged, or not in the input.")
    if person is None and not refused:
        feed_show.show_head(run)
        if run.state != "refused":
            feed_show.show_counts(run, counts)
    elif refused and not counts:
        say("\nNothing was refused, and no job failed.")
    order = [*ACTIONS, *sorted(counts.keys() - ACTIONS.keys())] if sections else []
    for action in order:
        if counts.get(action):
            wanted = LineFilter((action,), person, refused)
            named = {code: count for code, count in codes[action].items() if code is not None}
            lines = plan_view.lines(app.database, run, wanted, limit=limit)
            feed_show.show_section(run, action, counts[action], lines, jobs=jobs, codes=named)
    if counts.get("refused"):
        say(f"\nTo correct them: muster feed failed {feed_show.name_of(run)} -o failed.csv")
    feed_show.show_brakes(run)
    if run.problem and run.state == "refused":
        say()
        feed_show.wrapped(run.problem, "")
    if next_step and (after := feed_show.next_step(run)):
        say()
        say(after)


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
    from worker.plan_view import write_failed

    with desk.opened(looking=True) as app:
        run = find(app, name)
        feed = app.feeds().feed(run.source)
        if target.exists() and not force:
            raise click.UsageError(f"{target} is there already; --force writes over it.")
        rows = write_failed(app.database, feed, run, target)
    if as_json:
        print_json({"run": run.id, "rows": rows, "file": str(target) if rows else None})
    elif rows:
        how = "Correct them, then: muster feed apply" if run.origin == "file" else (
            "Correct them and give each a new id, then: muster feed push")  # fmt: skip
        say(f"{feed_show.many(rows, 'record')} in {target}. {how} {run.source} {target}")
    else:
        say("Nothing was refused, and no job failed: there is nothing to write.")

