"""`muster token`: make, list and revoke the tokens that open the HTTP doors."""

from collections.abc import Sequence

import click

from worker.cli import desk
from worker.screen import print_json, say, shown, table


@click.group()
def token() -> None:
    """Make, list and revoke API tokens."""


@token.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, metavar="SCOPE",
              help="What it opens, several times if need be: look, operate, admin, scim, metrics, jobs:submit:add_*, …")  # fmt: skip
@click.option("--expires", metavar="TIME", help="When it ends: 90d, 2027-01-31. [default: never]")
@desk.json_option
def create(name: str, scopes: Sequence[str], expires: str | None, as_json: bool) -> None:
    """Make the token NAME and show it once. Its jobs are kept under the source token/NAME."""
    from worker import api_tokens

    with desk.opened() as app:
        ends = desk.when(app, expires)
        try:
            with app.scope() as scope:
                made = api_tokens.create(scope, name, scopes, by=desk.source(), expires_at=ends)
        except api_tokens.BadToken as problem:
            raise click.UsageError(str(problem)) from None
    if as_json:
        print_json({"name": name, "token": made, "scopes": sorted(set(scopes)), "expires_at": ends})
        return
    until = f"It works until {shown(ends)} UTC." if ends else "It works until it is revoked."
    click.echo(f"Shown once. {until}", err=True)
    say(made)


@token.command("list")
@desk.json_option
def list_(as_json: bool) -> None:
    """List tokens: what they open, and when they were last used."""
    from worker import api_tokens

    with desk.opened(looking=True) as app, app.database.read() as conn:
        rows = api_tokens.listed(conn, app.clock())
    if as_json:
        for row in rows:
            print_json(row)
        return
    lines = [
        (row["name"], row["state"], ", ".join(row["scopes"]), row["last_used_at"] or "never", row["expires_at"] or "never")
        for row in rows
    ]
    table(("token", "state", "opens", "last used", "ends"), lines, whole=("token", "state"),
          empty="There are no tokens. `muster token create NAME --scope look` makes one.")  # fmt: skip


@token.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@desk.yes_option
@desk.json_option
def revoke(names: Sequence[str], yes: bool, as_json: bool) -> None:
    """End tokens at once, and the console sessions opened with them. The jobs they submitted go on."""
    import sys

    from worker import api_tokens

    with desk.opened() as app:
        if not yes and sys.stdin.isatty():
            click.confirm(f"Revoke {', '.join(names)}?", abort=True, err=True)
        try:
            with app.scope() as scope:
                ended = {name: api_tokens.revoke(scope, name, by=desk.source()) for name in names}
        except api_tokens.BadToken as problem:
            raise desk.NoSuchJob(str(problem)) from None
    if as_json:
        print_json({"revoked": [name for name, done in ended.items() if done]})
        return
    for name, done in ended.items():
        say(f"{name} opens nothing any more." if done else f"{name} had been revoked before.")
