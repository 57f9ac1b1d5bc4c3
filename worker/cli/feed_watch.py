"""`muster feed drift` and `watch`: what was changed by hand, and a folder that takes the files of HR systems."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import click

from worker.cli import desk, feed_show
from worker.cli.errors import REFUSED
from worker.screen import print_json, progress, say, shown, table

if TYPE_CHECKING:
    from worker.feeds.desk import Feeds
    from worker.feeds.drift import Drift
    from worker.feeds.watch import Outcome, Watcher

# As often as workers look after their feeds.
ROUND_SECONDS = 1.0


@click.command()
@click.argument("source", metavar="FEED")
@click.option("--repair", is_flag=True, help="Plan what brings it back; nothing is changed until that plan is applied.")
@desk.limit_option(100)
@desk.json_option
def drift(source: str, repair: bool, limit: int, as_json: bool) -> None:
    """Show where the directory is not what the feed's plans made it, and who changed it."""
    with desk.opened(looking=not repair) as app:
        feeds = app.feeds()
        if repair:
            _repair(feeds, source, as_json=as_json)
            return
        search = feeds.find_drift(source)
        found = iter(search)
        first = list(islice(found, limit))
        people, more = {one.external_id for one in first}, 0
        for one in found:  # counted, not kept
            people.add(one.external_id)
            more += 1
    if as_json:
        for one in first:
            print_json(one.as_json())
        return
    table(("person", "what", "should be", "is", "changed by", "when"), [_row(one) for one in first], whole=("when",),
          empty="The directory is as it was accepted.")  # fmt: skip
    say()
    if more:
        say(f"… and {more:,} more: --limit {limit + more}")
    say(f"{feed_show.many(len(first) + more, 'difference')} of {feed_show.many(len(people), 'person', 'people')}; "
        f"{feed_show.many(search.people, 'person', 'people')} compared"
        + (f", {search.under_way:,} left out whose jobs are still under way." if search.under_way else "."))  # fmt: skip
    for one in first:
        if one.left:
            say(f"{one.external_id}: {one.what} is left as it is: {one.left}")
    if any(one.left is None for one in first):
        say(f"To bring it back: muster feed drift {source} --repair")


def _row(one: "Drift") -> tuple[object, ...]:
    person = " ".join(part for part in (one.external_id, one.username) if part)
    by = one.by or ""
    if one.why:
        by = f"{by}: {one.why}"
    return person, one.what, shown(one.should_be) or "(none)", shown(one.found) or "(none)", by, one.at


def _repair(feeds: "Feeds", source: str, *, as_json: bool) -> None:
    with progress("comparing", None) as advance:
        run = feeds.plan_drift(source, by=desk.user_name(), advance=advance)
    if as_json:
        print_json(run.as_json())
    elif not run.total:
        say("The directory is as it was accepted: there is nothing to repair.")
    else:
        say(f"Plan {feed_show.name_of(run)} of {source}: {feed_show.counted(run.counts)}.")
        feed_show.show_brakes(run)
        say()
        say(feed_show.next_step(run))
        if run.state == "planned":
            say(f"To look at it first: muster feed show {feed_show.name_of(run)}")
    if run.state == "held":
        raise SystemExit(REFUSED)


# ------------------------------------------------------------------------------------------------------ watch


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--once", is_flag=True, help="Take what is there, and end.")
@desk.json_option
def watch(folder: Path, once: bool, as_json: bool) -> None:
    """Take files out of DIR/FEED/, apply them, and move them to done, held or refused there.

    A report lies beside each. Upload under a name that ends in .part, then rename: what nobody touched for two
    seconds counts as complete. With --once it ends with 1 when a file was held or refused.
    """
    from worker.feeds.watch import Watcher

    with desk.opened() as app, _asked_to_stop() as stopped:
        feeds = app.feeds()
        watcher = Watcher(feeds, folder, by=desk.user_name())
        if not any((folder / name).is_dir() for name in feeds.feeds):
            names = ", ".join(sorted(feeds.feeds)) or "none"
            click.echo(f"{folder} holds no folder of a feed yet. Make one and name it after the feed; declared: {names}.", err=True)
        elif not once and not as_json:
            say(f"Watching {folder}. Ctrl-C ends it.")
        good = _rounds(watcher, stopped, once=once, as_json=as_json)
    if once and not good:
        raise SystemExit(REFUSED)


def _rounds(watcher: "Watcher", stopped: Callable[[float], bool], *, once: bool, as_json: bool) -> bool:
    """Go round until asked to stop or, `once`, until nothing is left to take; returns whether all went well."""
    from worker.database import Busy, Unreachable

    good = True
    while True:
        try:
            outcomes = watcher.pass_once(lambda: stopped(0))
        except (Busy, Unreachable) as problem:
            if once:
                raise
            click.echo(f"{type(problem).__doc__} Trying again.", err=True)
            outcomes = []
        for one in outcomes:
            _tell(one, as_json=as_json)
        good = good and not watcher.troubles and all(one.state == "done" for one in outcomes)
        if (once and not (watcher.waiting or outcomes)) or stopped(min(ROUND_SECONDS, watcher.quiet.total_seconds())):
            return good


def _tell(one: "Outcome", *, as_json: bool) -> None:
    if as_json:
        print_json(one.as_json())
    else:
        feed_show.wrapped(f"{one.source}/{one.name}: {one.state}. {one.told}", "")


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[float], bool]]:
    """Give what waits so many seconds for SIGTERM or Ctrl-C, and says whether one came.

    The file in hand is finished first; a second signal ends at once, and that file is taken up again by the next one.
    """
    asked: SimpleQueue[int] = SimpleQueue()
    came = False
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, _frame: object) -> None:
        asked.put(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    def stopped(seconds: float) -> bool:
        nonlocal came
        if not came:
            try:
                asked.get(timeout=seconds) if seconds else asked.get_nowait()
                came = True
            except Empty:
                pass
        return came

    for number in before:
        signal.signal(number, ask)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
