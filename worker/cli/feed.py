"""`muster feed`: people from an HR system, planned before anything is changed, held when it is too much, then applied."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli import desk, feed_cases, feed_check, feed_push, feed_runs, feed_show, feed_watch, waiting
from worker.cli.errors import REFUSED, NothingHere
from worker.screen import print_json, progress, say, table

if TYPE_CHECKING:
    from worker.app import App
    from worker.feeds.desk import Feeds
    from worker.feeds.runs import Run

# A file whose plan lost the race against another plan is planned anew, so often in all.
TRIES = 3

EPILOG = """\b
Examples:
  muster feed plan hr people.csv          look at what it would do; nothing is changed
  muster feed apply hr people.csv         plan it and, unless a brake holds it, carry it out
  muster feed approve 4f1c2ab09d33 --reason 'the shop in Lyon was closed'
  muster feed show 4f1c2ab09d33 --person 00017
  muster feed failed 4f1c2ab09d33 -o failed.csv

Feeds are declared in muster.toml; docs/feeds.md shows how. With one feed declared its name may be left out.
"""


class _Feed(click.Group):
    """Lists the commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["list", "check", "plan", "apply", "approve", "drop", "runs", "show", "failed", "push", "cases", "decide", "drift",
                "watch"]  # fmt: skip


@click.group(cls=_Feed, epilog=EPILOG)
def feed() -> None:
    """People from an HR system: plan, look, approve, apply."""


def source_and_file(feeds: "Feeds", words: Sequence[str]) -> tuple[str, Path]:
    """Return the feed and the file that the words name; the feed may be left out where there is one only."""
    if len(words) == 1 and len(feeds.feeds) == 1:
        words = [*feeds.feeds, words[0]]
    if len(words) != 2:
        names = ", ".join(sorted(feeds.feeds)) or "none"
        raise click.UsageError(f"Say the feed and the file: hr people.csv. Declared feeds: {names}.")
    source, path = words[0], Path(words[1])
    feeds.feed(source)
    if not path.is_file():
        raise click.UsageError(f"There is no file {path}.")
    return source, path


# ---------------------------------------------------------------------------------------------------- looking


@feed.command("list")
@desk.json_option
def list_(as_json: bool) -> None:
    """List the declared feeds: their people and their last runs."""
    from worker.feeds.config import load_feeds

    declared = load_feeds(desk.read_settings()).values()
    rows: list[dict[str, Any]] = [
        {"name": one.name, "form": one.form, "mode": one.mode, "people": 0, "last_run": None} for one in declared
    ]
    try:
        with desk.opened(looking=True) as app:
            for row in rows:
                _fill(app, row)
            now = app.clock()
    except NothingHere:
        pass  # nothing was ever planned
    if as_json:
        for row in rows:
            print_json(row)
        return
    lines = []
    for row in rows:
        last = row["last_run"]
        told = f"{last['state']} {feed_show.ago(last['created_at'], now)}, {last['name']}" if isinstance(last, dict) else "never"
        lines.append((row["name"], row["form"], row["mode"], row["people"], told))
    table(("feed", "form", "mode", "people", "last run"), lines, right=("people",),
          empty="No feed is declared in muster.toml. docs/feeds.md shows how.")  # fmt: skip


def _fill(app: "App", row: dict[str, Any]) -> None:
    """Say of a feed how many people it has, and how its last run stands."""
    from worker.feed_tables import feed_run
    from worker.feeds import persons, runs

    with app.database.read() as conn:
        row["people"] = persons.present(conn, str(row["name"]))
        for run in runs.latest(conn, feed_run.c.source == row["name"], limit=1):
            row["last_run"] = {"id": run.id, "plan": run.hash, "name": feed_show.name_of(run), "state": run.state,
                               "created_at": run.created_at}  # fmt: skip


@feed.command()
@click.argument("words", nargs=-1, metavar="[FEED] FILE")
@click.option("--all", "everything", is_flag=True, help="All lines.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=feed_show.SECTION, show_default=True, help="So many of each kind.")
@click.option("--jobs", "with_jobs", is_flag=True, help="Each person's jobs, exactly as they would be handed in.")
@desk.json_option
def plan(words: tuple[str, ...], everything: bool, limit: int, with_jobs: bool, as_json: bool) -> None:
    """Plan a file: who joins, moves and leaves.

    Nothing is changed, no mail is sent. Ends with 1 where a brake holds the plan or the input is refused.
    """
    with desk.opened() as app:
        feeds = app.feeds()
        source, path = source_and_file(feeds, words)
        _show_planned(app, _plan(feeds, source, path), limit=None if everything else limit, jobs=with_jobs, as_json=as_json)


def _plan(feeds: "Feeds", source: str, path: Path) -> "Run":
    from worker.collector import calm_collector

    calm_collector()
    with progress(f"planning {path.name}", _records(feeds.feed(source).form, path)) as advance:
        return feeds.plan_file(source, path, by=desk.user_name(), advance=advance)


def _records(form: str, path: Path) -> int | None:
    """About how many steps a plan takes, for the bar: each line is read, and decided; unknown where a record is no line."""
    if form in ("json", "scim") or not sys.stderr.isatty():
        return None
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return 2 * max(lines - (form == "csv"), 1)


def _show_planned(
    app: "App", run: "Run", *, limit: int | None = feed_show.SECTION, jobs: bool = False, as_json: bool
) -> None:
    """Print a plan, and end with 1 where it is held or its input refused."""
    if as_json:
        feed_runs.print_run(app, run)
    else:
        feed_runs.show_plan(app, run, limit=limit, jobs=jobs)
    if run.state in ("held", "refused"):
        raise SystemExit(REFUSED)


# --------------------------------------------------------------------------------------------------- applying


@feed.command("apply")
@click.argument("words", nargs=-1, required=True, metavar="[FEED] FILE | PLAN")
@click.option("--wait", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the jobs' ends, so long.")
@click.option("--dry-run", is_flag=True, help="Plan only.")
@desk.json_option
def apply_(words: tuple[str, ...], seconds: float | None, dry_run: bool, as_json: bool) -> None:
    """Plan a file and carry it out, or a plan made before.

    What a brake holds is not carried out until somebody approves it. The same file twice makes no job.
    """
    with desk.opened() as app:
        feeds = app.feeds()
        if len(words) == 1 and not Path(words[0]).exists() and not Path(words[0]).suffix:
            run = feeds.find(words[0])
            if run.state == "applied" and not dry_run:
                click.echo(f"It was applied at {run.applied_at:%Y-%m-%d %H:%M} UTC; nothing is done twice.", err=True)
            if dry_run:
                _show_planned(app, run, as_json=as_json)
            else:
                carry(app, feeds, run, seconds, as_json=as_json)
            return
        source, path = source_and_file(feeds, words)
        if dry_run:
            _show_planned(app, _plan(feeds, source, path), as_json=as_json)
            return
        for turn in range(1, TRIES + 1):
            run = _plan(feeds, source, path)
            if run.state == "planned":
                carried = _carried(feeds, run, last=turn == TRIES)
                if carried is None:
                    continue
                run = carried
            break
        tell(app, feeds, run, seconds, as_json=as_json)


def _carried(feeds: "Feeds", run: "Run", *, last: bool) -> "Run | None":
    """Carry out a plan; None when another plan of the source was applied meanwhile, so that this one is stale."""
    from worker.feeds.apply import NotApplied

    try:
        return _bar(feeds, run)
    except NotApplied:
        if last or feeds.find(run.id).state != "dropped":
            raise
        return None


def _bar(feeds: "Feeds", run: "Run") -> "Run":
    try:
        with progress("carrying out", run.total) as advance:
            return feeds.apply(run, advance=advance)
    except KeyboardInterrupt:
        if feeds.find(run.id).state == "applying":
            name = feed_show.name_of(run)
            click.echo(f"Interrupted, but it is decided: workers go on with it, or `muster feed apply {name}`.", err=True)
        raise


def carry(app: "App", feeds: "Feeds", run: "Run", seconds: float | None, *, as_json: bool) -> None:
    """Carry out a plan that was made before, and say what became of it."""
    tell(app, feeds, run if run.state == "held" else _bar(feeds, run), seconds, as_json=as_json)


def tell(app: "App", feeds: "Feeds", run: "Run", seconds: float | None, *, as_json: bool) -> None:
    """Wait if asked to, say what became of a plan, and end with 1 unless it was carried out."""
    done = run.state == "applied"
    waited = _wait(app, feeds, run, seconds) if done and seconds is not None and run.total else True
    found = feed_runs.run_json(app, run if not done else feeds.find(run.id))
    if as_json:
        print_json(found)
    elif done:
        _say_applied(app, run, found["jobs"], waited=seconds is not None)
    else:
        feed_runs.show_plan(app, run, sections=run.state != "held")
    if run.state == "held":
        click.echo(f"The plan {feed_show.name_of(run)} is held: nothing was changed.", err=True)
    if not done or not waited:
        raise SystemExit(REFUSED)


def _say_applied(app: "App", run: "Run", jobs: dict[str, int], *, waited: bool) -> None:
    name, counts = feed_show.name_of(run), run.counts
    total = sum(jobs.values())
    if not run.total:
        say(f"Nothing to do: {feed_show.many(counts.get('unchanged', 0), 'person is', 'people are')} as they were.")
        return
    say(f"Plan {name} of {run.source} was applied: {feed_show.counted(counts)}, {counts.get('unchanged', 0):,} unchanged.")
    states = ", ".join(f"{count:,} {state}" for state, count in jobs.items())
    say(f"{feed_show.many(total, 'job')}: {states}." if total else "No job was needed.")
    if counts.get("refused"):
        say(f"{feed_show.many(counts['refused'], 'record')} refused: muster feed show {name} --refused, "
            f"muster feed failed {name} -o failed.csv")  # fmt: skip
    if counts.get("case"):
        say(f"{feed_show.many(counts['case'], 'case')} to be decided: muster feed cases --source {run.source}")
    if total and not waited:
        say(f"How far they are: muster feed show {name}")
        if waiting.nobody_works(app):
            click.echo("No worker is running; `muster up` or `muster worker` starts one.", err=True)


def _wait(app: "App", feeds: "Feeds", run: "Run", seconds: float) -> bool:
    """Wait for all jobs of a run; returns whether all of them succeeded."""
    from sqlalchemy import select

    from worker.plan_view import BAD
    from worker.tables import job

    with app.database.read() as conn:
        mine = (job.c.source == f"feed/{run.source}", job.c.key.like(f"{run.id}/%"))
        ids = list(conn.execute(select(job.c.id).where(*mine)).scalars())
    with progress("working", len(ids)) as advance:
        rows = waiting.wait(app, ids, seconds, advance=advance)
    feeds.catch_up(run.source)
    bad = [row for row in rows if row["state"] in BAD]
    for row in bad[: feed_show.SECTION]:
        feed_show.complain(f"{row['kind']} {desk.short(row['id'])} {row['state']}: {row['reason_text'] or row['reason']}")
    if len(bad) > feed_show.SECTION:
        click.echo(f"… and {len(bad) - feed_show.SECTION:,} more: muster feed show {feed_show.name_of(run)} --refused", err=True)
    left = sum(row["finished_at"] is None for row in rows)
    if left:
        click.echo(f"{feed_show.many(left, 'job has', 'jobs have')} not ended after {seconds:g} seconds.", err=True)
        if waiting.nobody_works(app):
            click.echo("No worker is running; `muster up` or `muster worker` starts one.", err=True)
    return all(row["state"] == "succeeded" for row in rows)


# --------------------------------------------------------------------------------------------------- deciding


@feed.command()
@click.argument("name", metavar="PLAN")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is right; kept with the plan and its jobs.")
@click.option("--no-apply", is_flag=True, help="Release it only; `muster feed apply PLAN` carries it out within a day.")
@desk.yes_option
@desk.json_option
def approve(name: str, reason: str, no_apply: bool, yes: bool, as_json: bool) -> None:
    """Release a held plan, this very one, and carry it out."""
    with desk.opened() as app:
        feeds = app.feeds()
        run = feeds.find(name)
        if not as_json and run.state == "held":
            feed_runs.show_plan(app, run, sections=False, next_step=False)
            say()
        if run.state == "held" and not yes and sys.stdin.isatty():
            click.confirm("Carry it out in your name?" if not no_apply else "Approve it in your name?", abort=True, err=True)
        run = feeds.approve(run, by=desk.user_name(), reason=reason)
        if not no_apply:
            carry(app, feeds, run, None, as_json=as_json)
        elif as_json:
            print_json(feed_runs.run_json(app, run))
        else:
            say(f"Approved until {run.approved_until:%Y-%m-%d %H:%M} UTC. To carry it out: muster feed apply {feed_show.name_of(run)}")


@feed.command()
@click.argument("name", metavar="PLAN")
@click.option("--reason", required=True, metavar="TEXT", help="Why it is put aside; kept with the plan.")
@desk.json_option
def drop(name: str, reason: str, as_json: bool) -> None:
    """Put a plan aside for good; nothing of it is carried out."""
    with desk.opened() as app:
        feeds = app.feeds()
        run = feeds.drop(feeds.find(name), by=desk.user_name(), reason=reason)
        if as_json:
            print_json(feed_runs.run_json(app, run))
        else:
            say(f"The plan {feed_show.name_of(run)} of {run.source} was put aside.")


for _command in (
    feed_check.check, feed_runs.runs, feed_runs.show, feed_runs.failed, feed_push.push, feed_cases.cases, feed_cases.decide,
    feed_watch.drift, feed_watch.watch,
):  # fmt: skip
    feed.add_command(_command)
