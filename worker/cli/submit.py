"""`muster submit`: hand in one job, or a file of them."""

import json
import sys
from typing import IO, TYPE_CHECKING, Any

import click

from worker.cli import desk, waiting
from worker.cli.errors import REFUSED

if TYPE_CHECKING:
    from worker.app import App
    from worker.intake import Acceptance, Request

EPILOG = """\b
Examples:
  muster submit create_group '{"group": "staff"}'
  muster submit create_user '{"username": "ann", "groups": ["staff"]}' --key hire-1001 --wait 10
  muster submit offboard_user '{"user": "ann"}' --urgent --dry-run
  muster submit --batch feed.ndjson

`muster jobs kinds` lists the jobs there are, `muster jobs kinds create_user` what one of them takes.
"""


@click.command(epilog=EPILOG)
@click.argument("kind", required=False)
@click.argument("payload", metavar="PAYLOAD_JSON", required=False)
@click.option("--batch", type=click.File("rb"), metavar="FILE|-", help="Submit a job for each line of NDJSON.")
@click.option("--key", help="The same key again means the same job, and does nothing twice.")
@click.option("--source", "word", metavar="SOURCE", help="Whose keys these are; stands after cli/ [default: your name].")
@click.option("--at", metavar="TIME", help="Not before: 2h, 2026-01-31, 2026-01-31T17:00+01:00.")
@click.option("--urgent", is_flag=True, help="Before everything that is not urgent.")
@click.option("--why", help="Kept in the audit trail.")
@click.option("--wait", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for the end, so long.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@desk.json_option
def submit(
    kind: str | None, payload: str | None, batch: IO[bytes] | None, key: str | None, word: str | None, at: str | None,
    urgent: bool, why: str | None, seconds: float | None, dry_run: bool, as_json: bool,
) -> None:
    """Hand in a job, or a file of them.

    KIND is one of `muster jobs kinds`; PAYLOAD_JSON is its payload, `-` reads it from standard input.
    """
    if batch is not None:
        if kind or payload or key or at or urgent or why or dry_run:
            raise click.UsageError("With --batch every line says kind, payload, key and run_at; only --source, --wait and "
                                   "--json go with it.")  # fmt: skip
        from worker.cli import batch as batches

        batches.submit_file(batch, word, seconds, as_json=as_json)
        return
    if kind is None or payload is None:
        raise click.UsageError("Say KIND and PAYLOAD_JSON, or --batch FILE.")
    from worker.intake import Request

    fields = read_payload(payload)
    with desk.opened() as app:
        request = Request(
            kind, fields, desk.source(word), key, run_at=desk.when(app, at), urgent=urgent, requested_by=desk.user_name(),
            why=why,
        )  # fmt: skip
        if dry_run:
            try_out(app, request, as_json=as_json)
            return
        [answer] = app.submit([request])
        if seconds is not None and not answer.refused:
            answer = waiting.outcome(app, answer, seconds)
        tell(app, answer, waited=seconds is not None, as_json=as_json)


def read_payload(text: str) -> dict[str, Any]:
    """Return the payload that the command line or standard input holds."""
    if text == "-":
        text = sys.stdin.read()
    try:
        fields = json.loads(text)
    except RecursionError:
        raise click.UsageError("PAYLOAD_JSON is nested too deeply.") from None
    except ValueError as error:
        where = f", at character {getattr(error, 'pos', 0) + 1}"
        raise click.UsageError(f"PAYLOAD_JSON is not JSON{where}. In a shell, put it in single quotes.") from None
    if not isinstance(fields, dict):
        raise click.UsageError("PAYLOAD_JSON is no JSON object; it looks like '{\"user\": \"ann\"}'.")
    return fields


def tell(app: "App", answer: "Acceptance", *, waited: bool, as_json: bool) -> None:
    """Print what became of a job, and end with 1 if it was refused, failed, or has not ended though it was waited for."""
    from worker.screen import print_json
    from worker.states import FINISHED

    if as_json:
        print_json(answer.as_json())
    else:
        _say(app, answer)
    ended = answer.state in FINISHED
    if waited and not ended and not answer.refused and waiting.nobody_works(app):
        click.echo("No worker is running; `muster up` or `muster worker` starts one.", err=True)
    if answer.state != "succeeded" and (waited or answer.refused or ended):
        raise SystemExit(REFUSED)


def _say(app: "App", answer: "Acceptance") -> None:
    from worker.screen import card, harmless, say

    if answer.refused:
        click.echo(harmless(answer.reason_text or ""), err=True)
        suggest(app, answer)
        return
    if answer.duplicate:
        say("This was handed in before; nothing was done twice.")
    card({
        "job": answer.id, "kind": answer.kind, "key": answer.key, "state": answer.state, "reason": answer.reason,
        "": answer.reason_text, "result": answer.result,
    })  # fmt: skip


def suggest(app: "App", answer: "Acceptance") -> None:
    """Help with a misspelt kind."""
    if answer.reason == "unknown_kind":
        import difflib

        near = difflib.get_close_matches(answer.kind, [kind.name for kind in app.registry], n=3)
        if near:
            click.echo(f"Did you mean {' or '.join(near)}?", err=True)


def try_out(app: "App", request: "Request", *, as_json: bool) -> None:
    """Print what a job would do; end with 1 if it would be refused."""
    from worker.dryrun import preview
    from worker.screen import print_json

    found = preview(app, request)
    if as_json:
        print_json(found.as_json())
    else:
        from worker.cli.dryrun import show

        show(found)
    if found.state != "succeeded":
        raise SystemExit(REFUSED)
