"""`muster submit --batch`: a file of jobs, one a line; what is refused is said with its line, the rest goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import click

from worker import messages
from worker.cli import desk, waiting
from worker.cli.errors import REFUSED
from worker.collector import calm_collector
from worker.screen import harmless, print_json, progress, say


def submit_file(file: IO[bytes], word: str | None, seconds: float | None, *, as_json: bool) -> None:
    """Submit every line; print a summary (or, with `as_json`, an object a line) and end with 1 if any was refused."""
    totals: dict[str, int] = {}
    ids: set[str] = set()
    calm_collector()
    with desk.opened() as app:

        def source(line_word: str | None) -> str:
            return desk.source(line_word or word)

        answers = messages.submit(file, app.submit, source=source, asker=desk.user_name())
        with progress("submitting", _lines(file)) as advance, _how_far(totals):
            for answer in messages.counted(answers, totals):
                advance(1)
                if answer.acceptance.id is not None:
                    ids.add(answer.acceptance.id)
                if as_json:
                    print_json(messages.as_json(answer))
                if answer.acceptance.refused:
                    what = f"{answer.acceptance.kind}: " if answer.acceptance.kind else ""
                    click.echo(harmless(f"line {answer.line}: {what}{answer.acceptance.reason_text}"), err=True)
        if not as_json:
            say(f"{totals.get('new', 0)} new, {totals.get('duplicate', 0)} handed in before, "
                f"{totals.get('refused', 0)} refused.")  # fmt: skip
        failed = False
        if seconds is not None and ids:
            with progress("working", len(ids)) as advance:
                rows = waiting.wait(app, ids, seconds, advance=advance)
            failed = any(row["state"] != "succeeded" for row in rows)
            if not as_json:
                counts: dict[str, int] = {}
                for row in rows:
                    counts[row["state"]] = counts.get(row["state"], 0) + 1
                say(", ".join(f"{count} {state}" for state, count in sorted(counts.items())) + ".")
    if totals.get("refused") or failed:
        raise SystemExit(REFUSED)


def _lines(file: IO[bytes]) -> int | None:
    """Count the lines of a file that can be read twice."""
    if not file.seekable():
        return None
    count = sum(1 for _ in file)
    file.seek(0)
    return count


@contextmanager
def _how_far(totals: dict[str, int]) -> Iterator[None]:
    """When the way to the database breaks off in the middle, say what was taken in."""
    try:
        yield
    except Exception:
        taken = sum(totals.values())
        if taken:
            click.echo(
                f"It broke off: the first {taken} jobs of the file were answered. Lines with a key may be sent again "
                "without harm.", err=True,
            )  # fmt: skip
        raise
