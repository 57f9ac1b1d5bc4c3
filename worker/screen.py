"""What people see on a terminal: tables, cards and progress bars; plain text when it goes to a file or a program."""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Lines of a table that goes into a file: wide enough for a reason in two lines, and still readable in an editor.
PLAIN_WIDTH = 100

COLOURS = {
    "succeeded": "green", "ok": "green", "done": "green",
    "rejected": "yellow", "refused": "yellow", "warn": "yellow", "held": "yellow", "unknown": "yellow",
    "failed": "red", "fail": "red",
    "cancelled": "dim", "duplicate": "dim",
}  # fmt: skip

Row = Sequence[object]


# What steers a terminal or reorders a line; the two joiners that names in Persian and emoji need do neither.
STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
JOINERS = "\u200c\u200d"


def harmless(text: str, *, keep: str = "") -> str:
    """Return `text` without anything that could steer a terminal: controls and direction marks become visible.

    `keep` names characters that stay, such as the line break of a text of several lines.
    """
    keep += JOINERS
    return "".join(
        char if char in keep or unicodedata.category(char) not in STEERING else f"\\u{ord(char):04x}" for char in text
    )


def shown(value: object) -> str:
    """Return a value as people read it: times to the second, yes and no, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return ", ".join(_shown_part(str(name), part) for name, part in value.items() if part is not None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(part) for part in value)
    text = str(value)
    if _MOMENT.fullmatch(text):
        return shown(datetime.fromisoformat(text))
    return harmless(text)


# How Muster writes instants into results and events; people read them like all others.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")


def _shown_part(name: str, value: object) -> str:
    """One member of an object; of counts inside it only those that count something."""
    if isinstance(value, Mapping):
        some = {inner: part for inner, part in value.items() if part != 0 or isinstance(part, bool)}
        return f"{harmless(name)} ({shown(some) or 'none'})"
    return f"{harmless(name)}: {shown(value)}"


def on_terminal() -> bool:
    """Whether a person sees the output as it comes."""
    return sys.stdout.isatty()


def say(text: str = "") -> None:
    """Print a line of our own words."""
    sys.stdout.write(text + "\n")


def console() -> "Console":
    """Return where rich draws: as wide as the terminal, or PLAIN_WIDTH without one."""
    from rich.console import Console

    width = None if on_terminal() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)


def table(
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    title: str | None = None,
    right: Collection[str] = (),
    whole: Collection[str] = (),
    empty: str = "Nothing.",
) -> None:
    """Print rows under headings. `right`: columns of numbers; `whole`: columns that must never be broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if title:
        heading(title)
    if not rows:
        say(empty)
        return
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        drawn.add_column(
            Text(name), justify="right" if name in right else "left", no_wrap=name in whole, overflow="fold"
        )
    for row in rows:
        drawn.add_row(*[Text(text, style=COLOURS.get(text, "")) for text in map(shown, row)])
    _draw(drawn)


def heading(text: str) -> None:
    """Print a heading with a blank line before it."""
    from rich.text import Text

    say()
    console().print(Text(harmless(text), style="bold cyan"))


def card(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line; what has no value is left out."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts.items():
        text = shown(value)
        if text:
            drawn.add_row(Text(name, style="bold"), Text(text, style=COLOURS.get(text, "")))
    if drawn.row_count:
        _draw(drawn)


def _draw(drawn: Any) -> None:
    """Print, without the blanks that fill lines up when nobody needs them."""
    target = console()
    if target.is_terminal:
        target.print(drawn)
        return
    with target.capture() as captured:
        target.print(drawn)
    say("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while something long goes on; call what it gives with each number done.

    The bar goes to standard error, so that what is printed can still be sent on. Without a terminal nothing is shown.
    """
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object as one line: a listing is NDJSON, and a single object is a listing of one."""
    say(json.dumps(value, ensure_ascii=False, default=_plain))


def _plain(value: object) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)
