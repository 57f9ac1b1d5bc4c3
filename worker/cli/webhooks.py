"""`muster webhook`: the endpoints that hear what happened: add, try out, pause, resume, replay and remove them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from worker.cli import desk
from worker.screen import print_json, say, shown, table

if TYPE_CHECKING:
    from worker.app import App

event_option = click.option("--event", "events", multiple=True, metavar="PATTERN",
                            help="Which events, several times if need be: user.*, sessions.revoked, * for all.")  # fmt: skip


@click.group()
def webhook() -> None:
    """Tell other systems what happened here."""


@contextmanager
def _opened(*, looking: bool = False) -> Iterator["App"]:
    from worker.webhooks.endpoints import BadEndpoint, NoSuchEndpoint

    with desk.opened(looking=looking) as app:
        try:
            yield app
        except BadEndpoint as problem:
            raise click.UsageError(str(problem)) from None
        except NoSuchEndpoint as problem:
            raise desk.NoSuchJob(str(problem)) from None


@webhook.command()
@click.argument("name")
@click.argument("url")
@event_option
@click.option("--private", is_flag=True, help="It may lie at a private address, and do without TLS.")
@desk.json_option
def add(name: str, url: str, events: Sequence[str], private: bool, as_json: bool) -> None:
    """Add the endpoint NAME at URL, and show its secret once."""
    from worker.webhooks import endpoints

    with _opened() as app, app.scope() as scope:
        secret = endpoints.create(scope, name, url, events, by=desk.source(), private=private)
    _show_secret(name, secret, f"Shown once. {name} hears of events from a second from now on.", as_json)


def _show_secret(name: str, secret: str, words: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "secret": secret})
        return
    click.echo(words, err=True)
    say(secret)


@webhook.command("list")
@desk.json_option
def list_(as_json: bool) -> None:
    """List the endpoints: how each stands, and how many deliveries wait for it."""
    from worker.webhooks import endpoints

    with _opened(looking=True) as app, app.database.read() as conn:
        rows = endpoints.listed(conn)
    if as_json:
        for row in rows:
            print_json(row)
        return
    table(("endpoint", "state", "hears of", "waiting", "note"),
          [(row["name"], row["state"], ", ".join(row["events"]), row["waiting"], _note(row)) for row in rows],
          whole=("endpoint", "state"),
          empty="There are no endpoints. `muster webhook add NAME URL --event user.*` adds one.")  # fmt: skip


def _note(row: dict[str, Any]) -> str:
    if row["paused_at"] is not None:
        return f"by {row['paused_by']}: {row['paused_why']}"
    if row["failing_since"] is not None:
        return f"fails since {shown(row['failing_since'])} UTC: {row['failure'] or 'it did not take a delivery'}"
    return ""


@webhook.command()
@click.argument("name")
@click.option("--url", metavar="URL", help="Where it lies from now on.")
@event_option
@click.option("--private/--public", "private", default=None, help="Whether it may lie at a private address.")
@desk.json_option
def change(name: str, url: str | None, events: Sequence[str], private: bool | None, as_json: bool) -> None:
    """Change where an endpoint lies or what it hears of. Its secret stays."""
    from worker.webhooks import endpoints

    if url is None and not events and private is None:
        raise click.UsageError("Say what to change: --url, --event, --private or --public.")
    with _opened() as app:
        with app.scope() as scope:
            endpoints.change(scope, name, by=desk.source(), url=url, patterns=events or None, private=private)
        with app.database.read() as conn:
            [row] = endpoints.listed(conn, name)
    if as_json:
        print_json(row)
    else:
        say(f"{name} hears of {', '.join(row['events'])} at {row['url']}.")


@webhook.command()
@click.argument("name")
@desk.json_option
def test(name: str, as_json: bool) -> None:
    """Call an endpoint with an event that never happened, and say what it answers."""
    with _opened(looking=True) as app:
        answer = app.courier().test(name)
    if as_json:
        print_json({"name": name, "taken": answer.taken, "status": answer.status, "text": answer.said})
    else:
        say(answer.said)
    if not answer.taken:
        raise SystemExit(1)


@webhook.command()
@click.argument("name")
@click.option("--why", required=True, metavar="TEXT", help="The reason, for whoever finds it paused.")
@desk.json_option
def pause(name: str, why: str, as_json: bool) -> None:
    """Keep an endpoint's deliveries back. None is lost that is resumed within three days."""
    from worker.webhooks import endpoints

    with _opened() as app, app.scope() as scope:
        changed = endpoints.pause(scope, name, by=desk.source(), why=why)
    if as_json:
        print_json({"name": name, "state": endpoints.PAUSED, "changed": changed})
    else:
        say(f"{name} is paused. `muster webhook resume {name}` lets its deliveries go." if changed
            else f"{name} was paused before.")  # fmt: skip


@webhook.command()
@click.argument("name")
@desk.json_option
def resume(name: str, as_json: bool) -> None:
    """Let an endpoint's deliveries of the last three days go; what is older takes a replay."""
    from worker.webhooks import endpoints

    with _opened() as app:
        with app.scope() as scope:
            count, rung = endpoints.resume(scope, name, by=desk.source())
        for kind, urgent in sorted(rung):
            app.ring(kind, urgent)
    if as_json:
        print_json({"name": name, "state": endpoints.ACTIVE, "deliveries": count})
    else:
        say(f"{name} is active; {count} deliveries that waited go now.")


@webhook.command()
@click.argument("name")
@desk.json_option
def rotate(name: str, as_json: bool) -> None:
    """Give an endpoint a new secret and show it once. For a day the one before is good, too."""
    from worker.webhooks import endpoints

    with _opened() as app, app.scope() as scope:
        secret = endpoints.rotate(scope, name, by=desk.source())
    _show_secret(name, secret, "Shown once. For a day deliveries are signed with the secret before, too.", as_json)


@webhook.command()
@click.argument("name")
@click.option("--since", required=True, metavar="TIME", help="From then on: 6h, 2d, 2026-01-31.")
@click.option("--until", metavar="TIME", help="Until before then. [default: now]")
@event_option
@click.option("--dry-run", is_flag=True, help="Say how many events it would be.")
@desk.json_option
def replay(
    name: str, since: str, until: str | None, events: Sequence[str], dry_run: bool, as_json: bool
) -> None:
    """Tell an endpoint again what happened in a time, each event under its first webhook-id."""
    from worker.webhooks.replay import replay

    with _opened() as app:
        begin = desk.when(app, since, past=True)
        assert begin is not None
        count, rung = replay(app.database, app.clock, name, begin, desk.when(app, until, past=True), patterns=events,
                             by=desk.source(), dry_run=dry_run)  # fmt: skip
        for kind, urgent in sorted(rung):
            app.ring(kind, urgent)
    if as_json:
        print_json({"name": name, "deliveries": count, "dry_run": dry_run})
    else:
        say(f"{name} would be told {count} events again." if dry_run else f"{name} is told {count} events again.")


@webhook.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Say how many deliveries would be cancelled.")
@desk.yes_option
@desk.json_option
def remove(name: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove an endpoint, its secrets and what it has not been told yet."""
    from worker.webhooks import endpoints

    with _opened() as app:
        with app.database.read() as conn:
            endpoints.named(conn, name)
            [row] = endpoints.listed(conn, name)
        count = row["waiting"]
        if not dry_run:
            if not yes and sys.stdin.isatty():
                click.confirm(f"Remove {name} and cancel {count} deliveries?", abort=True, err=True)
            with app.scope() as scope:
                count = endpoints.remove(scope, name, by=desk.source())
    if as_json:
        print_json({"name": name, "removed": not dry_run, "cancelled": count, "dry_run": dry_run})
    elif dry_run:
        say(f"{name} would be removed, and {count} deliveries cancelled.")
    else:
        say(f"{name} is removed; {count} deliveries are cancelled.")
