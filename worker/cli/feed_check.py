"""`muster feed check`: how a declaration reads a sample file, or a first declaration for a file."""

from pathlib import Path
from typing import Any

import click

from worker.cli import desk, feed_show
from worker.cli.errors import REFUSED
from worker.screen import card, heading, print_json, say, shown, table

# Examples of what is wrong, of each kind.
COLUMNS_SHOWN = 40


@click.command()
@click.argument("words", nargs=-1, metavar="[FEED] FILE")
@click.option("--propose", "proposing", is_flag=True, help="Print a first declaration for the file, to be corrected by hand.")
@desk.json_option
def check(words: tuple[str, ...], proposing: bool, as_json: bool) -> None:
    """Explain how a sample file would be read.

    Which column becomes which field, the first people, and what would be refused and why. Nothing is planned, and no database is needed.
    """
    from worker.feeds.check import explain, propose
    from worker.feeds.config import load_feeds

    if proposing:
        [file] = words if len(words) == 1 else [None]
        if file is None:
            raise click.UsageError("With --propose say the file alone: --propose people.csv")
        say(propose(_file(file)).rstrip())
        return
    feeds = load_feeds(desk.read_settings())
    if len(words) == 1 and len(feeds) == 1:
        words = (*feeds, words[0])
    if len(words) != 2:
        raise click.UsageError(f"Say the feed and the file: hr people.csv. Declared feeds: {', '.join(sorted(feeds)) or 'none'}.")
    if words[0] not in feeds:
        from worker.feeds.desk import NoSuchFeed

        raise NoSuchFeed(f"There is no feed {words[0]!r} in muster.toml; declared are: {', '.join(sorted(feeds)) or 'none'}. "
                         "`muster feed check --propose FILE` writes a first one.")  # fmt: skip
    report = explain(feeds[words[0]], _file(words[1])).as_json()
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report["good"]:
        raise SystemExit(REFUSED)


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise click.UsageError(f"There is no file {path}.")
    return path


def _show(report: dict[str, Any]) -> None:
    if report["reading"]:
        feed_show.show_reading(report["source"], report["file"], report["reading"])
    used = [(field, ", ".join(columns)) for field, columns in report["fields"].items()]
    table(("field", "comes from"), used, title="Columns", whole=("field",))
    for column, near in report["missing"].items():
        feed_show.wrapped(f"missing: {column}" + (f"; is it {near}?" if near else ""), "  ")
    if report["unused"]:
        names = report["unused"]
        more = f" and {len(names) - COLUMNS_SHOWN} more" if len(names) > COLUMNS_SHOWN else ""
        feed_show.wrapped(f"not read: {', '.join(names[:COLUMNS_SHOWN])}{more}", "  ")
    for person in report["people"]:
        heading(f"{person['external_id']} (line or record {person['place']})")
        card({name: "(cleared)" if value is None else value for name, value in person["fields"].items()})
    _show_wrong(report)
    say()
    if report["problem"]:
        feed_show.wrapped(report["problem"], "")
    elif report["good"]:
        say(f"All {feed_show.many(report['records'], 'record')} would be taken. Next: muster feed plan {report['source']} …")
    else:
        say(f"{report['taken']:,} of {feed_show.many(report['records'], 'record')} would be taken.")


def _show_wrong(report: dict[str, Any]) -> None:
    for code, found in report["refused"].items():
        heading(f"Refused: {code} ({found['count']:,})")
        for one in found["examples"]:
            feed_show.wrapped(f"{report['file']}:{one['place']}: {one['text']}", "  ")
    if report["unknown_status"]:
        words = [(word, f"{count:,}") for word, count in report["unknown_status"].items()]
        table(("word", "records"), words, title="Status words that are not declared", right=("records",))
    for column, found in report["dates"].items():
        heading(f"Dates of {feed_show.cut(column)} that are not as declared ({found['count']:,})")
        feed_show.wrapped(f"for example {', '.join(found['examples'])}", "  ")
        feed_show.wrapped(f"these forms fit: {', '.join(found['forms'])}" if found["forms"] else "no single form fits all of them", "  ")
    for column, lost in report["lost_zeros"].items():
        feed_show.wrapped(
            f"{column}: {shown(lost['shorter'])} of {shown(lost['of'])} numbers have fewer than {lost['digits']} digits: a "
            "spreadsheet may have taken zeros off their front.", "",
        )  # fmt: skip
