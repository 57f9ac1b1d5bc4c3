"""`muster feed cases` and `decide`: people of whom nobody but a person can say whose account they have."""

from typing import TYPE_CHECKING

import click

from worker.cli import desk, feed_show
from worker.screen import heading, print_json, say

if TYPE_CHECKING:
    from worker.app import App
    from worker.feeds.cases import Case


@click.command()
@click.option("--source", metavar="FEED", help="Only of this feed.")
@click.option("--all", "everything", is_flag=True, help="Decided ones too.")
@desk.limit_option(30)
@desk.json_option
def cases(source: str | None, everything: bool, limit: int, as_json: bool) -> None:
    """List cases that wait for a decision, the oldest first."""
    from worker.feeds import cases as book

    with desk.opened(looking=True) as app, app.database.read() as conn:
        found = book.list_cases(conn, source, None if everything else "open")
        now = app.clock()
    if as_json:
        for case in found[:limit]:
            print_json(book.as_json(case))
        return
    if not found:
        say("No case is waiting for a decision." if not everything else "There never was a case.")
        return
    for case in found[:limit]:
        heading(f"{desk.short(case.id)}  {case.source} {case.external_id}  {case.label or ''}".rstrip())
        feed_show.wrapped(f"{case.text} ({case.code}, since {feed_show.ago(case.created_at, now)})", "  ")
        for one in case.candidates:
            facts = [one.get("username"), one.get("name"), one.get("external_id") and f"external id {one['external_id']}",
                     one.get("by") and f"found by {', '.join(one['by'])}"]  # fmt: skip
            feed_show.wrapped(f"could be {', '.join(str(fact) for fact in facts if fact)}", "    ")
        if case.state != "open":
            feed_show.wrapped(f"decided: {case.state}, by {case.decided_by}: {case.reason or ''}".rstrip(": "), "  ")
    if len(found) > limit:
        say(f"\n… and {len(found) - limit:,} more: --limit {len(found)}")
    if any(case.state == "open" for case in found):
        say("\nmuster feed decide CASE link --account USERNAME --reason '…'   it is that account\n"
            "                        new      a new account is right\n"
            "                        enable   the account closed by hand may be opened again\n"
            "                        ignore   leave this person alone")  # fmt: skip


@click.command()
@click.argument("case", metavar="CASE")
@click.argument("decision", type=click.Choice(["link", "new", "ignore", "enable"]))
@click.option("--account", metavar="USERNAME", help="To link: the account's username, external id or id.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the case.")
@desk.json_option
def decide(case: str, decision: str, account: str | None, reason: str, as_json: bool) -> None:
    """Decide a case; the next run of its feed acts on it.

    CASE is the beginning of its id, or the person's id in the source. link: it is the account named by --account. new: it
    is nobody who is there. enable: the account that somebody closed may be opened again. ignore: leave the person alone.
    """
    from worker.feeds import cases as book
    from worker.scope import Scope

    with desk.opened() as app:
        chosen = _find(app, case)
        by = desk.user_name()
        decided = app.database.transact(
            lambda conn: book.decide(
                Scope(conn, app.clock(), app.settings), chosen.id, decision, account, by=by, reason=reason
            )
        )
    if as_json:
        print_json(book.as_json(decided))
    else:
        who = f"{decided.label} ({decided.external_id})" if decided.label else decided.external_id
        feed_show.wrapped(f"Decided: {decided.state}, for {who}. The next run of {decided.source} acts on it.", "")


def _find(app: "App", text: str) -> "Case":
    """Return the one case that begins like this, or is about the person of this id. Raises CannotDecide."""
    from worker.feeds import cases as book

    with app.database.read() as conn:
        every = book.list_cases(conn, None, None)
    found = [one for one in every if one.external_id == text]
    if not found and len(text) >= desk.ID_SHORTEST:
        found = [one for one in every if one.id.startswith(text.lower())]
    if not found:
        raise book.CannotDecide(f"There is no case {text}. `muster feed cases` lists them.")
    if len(found) > 1:
        ids = ", ".join(f"{desk.short(one.id)} ({one.source})" for one in found[:5])
        raise click.UsageError(f"Several cases are named {text}: {ids}. Write more of the id.")
    return found[0]
