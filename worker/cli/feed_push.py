"""`muster feed push`: messages of an HR system, one JSON object a line; each is stored once, then planned."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from worker.cli import desk, feed_runs, feed_show, waiting
from worker.cli.errors import REFUSED
from worker.screen import print_json, progress, say

if TYPE_CHECKING:
    from worker.app import App
    from worker.feeds.desk import Feeds
    from worker.feeds.runs import Run


@click.command()
@click.argument("source", metavar="FEED")
@click.argument("file", metavar="FILE|-")
@click.option("--plan", "plan_now", is_flag=True, help="Plan and apply them now, in this process.")
@desk.json_option
def push(source: str, file: str, plan_now: bool, as_json: bool) -> None:
    """Hand in messages of an HR system, a JSON object a line.

    Workers plan them within seconds. A message that came before, known by its id or else its content, is not taken twice.
    """
    from worker import messages
    from worker.feeds.pushing import submit_lines

    with desk.opened() as app, ExitStack() as stack:
        feeds = app.feeds()
        feeds.feed(source)
        lines: IO[bytes] = sys.stdin.buffer if file == "-" else stack.enter_context(_opened(file))
        totals: dict[str, int] = {}
        ids: set[str] = set()
        answers = submit_lines(app.submit, source, lines, door=desk.source(), asker=desk.user_name())
        with progress("handing in", None) as advance:
            for answer in messages.counted(answers, totals):
                advance(1)
                if answer.acceptance.id is not None:
                    ids.add(answer.acceptance.id)
                if as_json:
                    print_json(messages.as_json(answer))
                if answer.acceptance.refused:
                    feed_show.complain(f"line {answer.line}: {answer.acceptance.reason_text}")
        if not as_json:
            say(f"{totals.get('new', 0):,} new, {totals.get('duplicate', 0):,} handed in before, "
                f"{totals.get('refused', 0):,} refused.")  # fmt: skip
        good = not totals.get("refused")
        if plan_now and ids:
            good = _plan_now(app, feeds, source, ids, as_json=as_json) and good
        elif not as_json and totals.get("new"):
            say(f"Workers plan them within seconds: muster feed runs --source {source}")
            if waiting.nobody_works(app):
                click.echo("No worker is running; `muster up` or `muster worker` starts one.", err=True)
    if not good:
        raise SystemExit(REFUSED)


def _opened(file: str) -> IO[bytes]:
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise click.UsageError(f"{file} cannot be opened: {error.strerror}.") from None


def _plan_now(app: "App", feeds: "Feeds", source: str, ids: set[str], *, as_json: bool) -> bool:
    """Store the messages, plan and apply them; returns whether all went well."""
    from worker.feeds.apply import NotApplied

    rows = waiting.wait(app, ids, waiting.USUAL_SECONDS)
    for row in rows:
        if row["state"] != "succeeded":
            feed_show.complain(f"message {desk.short(row['id'])} {row['state']}: {row['reason_text'] or ''}")
    good = all(row["state"] == "succeeded" for row in rows)
    while (run := feeds.plan_messages(source, by=desk.user_name())) is not None:
        if run.state == "planned":
            try:
                run = feeds.apply(run)
            except NotApplied:
                if feeds.find(run.id).state != "dropped":
                    raise
                continue  # another plan was applied meanwhile
        _tell(app, run, as_json=as_json)
        if run.state != "applied":
            return False
    return good


def _tell(app: "App", run: "Run", *, as_json: bool) -> None:
    if as_json:
        print_json(feed_runs.run_json(app, run))
    else:
        feed_runs.show_plan(app, run)
