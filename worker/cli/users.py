"""`muster users`: look at people, and let them in or out by jobs."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from worker.cli import desk, waiting
from worker.cli.errors import REFUSED
from worker.screen import print_json, say, shown, table

if TYPE_CHECKING:
    from worker.app import App
    from worker.intake import Acceptance

REF_HELP = "A username, or external_id:…, or id:…"


@click.group()
def users() -> None:
    """Look at users; recover, reset and delete them by jobs."""


def reference(text: str) -> dict[str, str]:
    """Return the user that a person names, as payloads name them."""
    kind, colon, value = text.partition(":")
    if colon and kind in {"id", "external_id", "username"} and value:
        return {kind: value}
    return {"username": text}


@users.command("list")
@click.option("--path", help="Only below this path.")
@click.option("--search", metavar="TEXT", help="Only with this in username, name, address or external id.")
@click.option("--active/--inactive", default=None, help="Only those who are (not) active.")
@desk.limit_option(50)
@click.option("--after", metavar="USERNAME", help="The page after the one that ended with this user.")
@desk.json_option
def list_(path: str | None, search: str | None, active: bool | None, limit: int, after: str | None, as_json: bool) -> None:
    """List users by username."""
    from worker import listing

    with desk.opened(looking=True) as app, app.database.read() as conn:
        rows = listing.people(conn, limit=limit, path=path, search=search, active=active, after=after)
    if as_json:
        for row in rows:
            print_json(row)
        return
    lines = [(row["username"], row["name"], row["email"], _standing(row)) for row in rows]
    table(("username", "name", "e-mail", "is"), lines, empty="There are no such users.")
    if len(rows) == limit:
        say(f"\nThere may be more: --after {rows[-1]['username']}, or a larger --limit.")


def _standing(row: Mapping[str, Any]) -> str:
    words = ["active" if row["is_active"] else "inactive"]
    words += ["locked"] if row["locked"] else []
    words += ["on hold"] if row["legal_hold"] else []
    return ", ".join(words)


@users.command()
@click.argument("user", metavar="USER")
@click.option("--events", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How much of the audit trail.")
@desk.json_option
def show(user: str, events: int, as_json: bool) -> None:
    """Show a person: overview, groups, permissions, credentials and events."""
    from worker import listing
    from worker.directory.accounts import find
    from worker.jobs import UserRef
    from worker.scope import Scope

    with desk.opened(looking=True) as app, app.database.read() as conn:
        scope = Scope(conn, app.clock(), app.settings)
        try:
            ref = UserRef.model_validate(reference(user))
        except ValueError:
            raise click.UsageError(f"{user!r} names nobody: give a username, external_id:… or id:….") from None
        [found] = find(scope, [ref], lock=False)
        if found is None:
            raise desk.NoSuchJob(f"There is no user {user}. `muster users list --search {user}` looks for similar ones.")
        page = listing.user_page(scope, found, events=events)
    if as_json:
        print_json(page)
    else:
        from worker.pages import show_user

        show_user(page)


# ---------------------------------------------------------------------------------------------------- by jobs


@users.command("recovery-link")
@click.argument("user", metavar="USER")
@click.option("--valid-for", metavar="DURATION", help="How long it works, as PT30M or PT2H. [default: an hour]")
@click.option("--wait", "seconds", type=click.FloatRange(min=0), default=waiting.USUAL_SECONDS, show_default=True)
@desk.json_option
def recovery_link(user: str, valid_for: str | None, seconds: float, as_json: bool) -> None:
    """Make a link that sets USER's password, and show it once, to hand over by a way other than mail."""
    from worker.outcomes import Reject

    fields: dict[str, Any] = {"user": reference(user)}
    if valid_for is not None:
        fields["valid_for"] = valid_for
    with desk.opened() as app:
        answer = _do(app, "create_recovery_link", fields, seconds, why=None)
        from worker.directory import recoveries

        made = answer.result or {}
        try:
            with app.scope() as scope:
                link = recoveries.show(scope, str(made.get("recovery")), shown_to=desk.user_name())
        except Reject as reject:
            raise click.ClickException(reject.text) from None
    if as_json:
        print_json({"link": link, "expires_at": made.get("expires_at"), "job": answer.id})
        return
    click.echo(f"Shown once; it works until {shown(made.get('expires_at'))} UTC, and older links are dead.", err=True)
    say(link)


@users.command("reset-password")
@click.argument("user", metavar="USER")
@click.option("--stdin", is_flag=True, help="Read the password from standard input instead of asking twice.")
@click.option("--keep-sessions", is_flag=True, help="Do not end the sessions got with the old password.")
@click.option("--no-mail", is_flag=True, help="Do not tell the user by mail.")
@click.option("--wait", "seconds", type=click.FloatRange(min=0), default=waiting.USUAL_SECONDS, show_default=True)
@desk.json_option
def reset_password(user: str, stdin: bool, keep_sessions: bool, no_mail: bool, seconds: float, as_json: bool) -> None:
    """Set USER's password. Only its hash leaves this command."""
    from worker.directory.passwords import WeakPassword, hash_password

    if stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("New password", hide_input=True, confirmation_prompt="Once more", err=True)
    try:
        sealed = hash_password(password)
    except WeakPassword as problem:
        raise click.UsageError(f"{str(problem)[0].upper()}{str(problem)[1:]}.") from None
    fields = {"user": reference(user), "password_hash": sealed, "end_sessions": not keep_sessions, "notify": not no_mail}
    with desk.opened() as app:
        answer = _do(app, "reset_password", fields, seconds, why=None)
    if as_json:
        print_json(answer.as_json())
    else:
        changed = (answer.result or {}).get("changed")
        say(f"The password of {user} is set." if changed else f"{user} had this very password already.")


def _do(app: "App", kind: str, fields: Mapping[str, Any], seconds: float, *, why: str | None) -> "Acceptance":
    """Submit a job and wait for its success; anything else is said, and ends with 1."""
    from worker.intake import Request

    [answer] = app.submit([Request(kind, fields, desk.source(), requested_by=desk.user_name(), why=why)])
    if not answer.refused:
        answer = waiting.outcome(app, answer, seconds)
    if answer.state == "succeeded":
        return answer
    if answer.reason_text:
        raise click.ClickException(answer.reason_text)
    raise click.ClickException(
        f"The job {answer.id} has not ended after {seconds:g} seconds: it is {answer.state}. "
        + ("No worker is running; `muster worker` starts one." if waiting.nobody_works(app) else "It goes on without us.")
    )


@users.command()
@click.argument("names", metavar="USER...", nargs=-1, required=True)
@click.option("--grace", metavar="DURATION", help="Deactivate now and delete after this time, as P30D.")
@click.option("--why", help="Kept in the audit trail.")
@click.option("--dry-run", is_flag=True, help="Show what would go.")
@click.option("--wait", "seconds", type=click.FloatRange(min=0), default=waiting.USUAL_SECONDS, show_default=True)
@desk.yes_option
@desk.json_option
def delete(
    names: Sequence[str], grace: str | None, why: str | None, dry_run: bool, seconds: float, yes: bool, as_json: bool
) -> None:
    """Delete users for good, with all that hangs on them."""
    from worker.intake import Request

    with desk.opened() as app:
        requests = [
            Request("delete_user", {"user": reference(name)} | ({"grace": grace} if grace else {}), desk.source(),
                    requested_by=desk.user_name(), why=why)
            for name in dict.fromkeys(names)
        ]  # fmt: skip
        if dry_run:
            refused = _show_going(app, requests, as_json=as_json)
        else:
            if not yes and sys.stdin.isatty():
                click.confirm(f"Delete {', '.join(names)} for good?", abort=True, err=True)
            refused = _delete(app, requests, seconds, as_json=as_json)
    if refused:
        raise SystemExit(REFUSED)


def _show_going(app: "App", requests: Sequence[Any], *, as_json: bool) -> bool:
    """Print what would go with each person; True if one would be refused."""
    from worker.dryrun import preview

    refused, rows = False, []
    for request in requests:
        found = preview(app, request)
        name = next(iter(request.fields["user"].values()))
        refused |= found.state != "succeeded"
        if as_json:
            print_json({"user": name, **found.as_json()})
            continue
        if found.state != "succeeded":
            rows.append((name, "refused", found.reason_text))
            continue
        gone = [
            f"{change['what']}: {change['before']}" if isinstance(change["before"], int) and change["before"] is not True
            else str(change["what"])
            for change in found.changes if not str(change["what"]).startswith(("user ", "attribute "))
        ]  # fmt: skip
        rows.append((name, "would go", ", ".join(["the account", *gone])))
    if not as_json:
        table(("user", "", "what"), rows, whole=("",))
        say("\nThis was a trial: nothing was deleted.")
    return refused


def _delete(app: "App", requests: Sequence[Any], seconds: float, *, as_json: bool) -> bool:
    """Submit the jobs, wait for them, and say how each ended; True if one did not succeed."""
    from dataclasses import replace

    answers = app.submit(requests)
    accepted = [answer.id for answer in answers if answer.id is not None]
    ended = {row["id"]: row for row in waiting.wait(app, accepted, seconds)} if accepted else {}
    refused, rows = False, []
    for request, answer in zip(requests, answers, strict=True):
        name = next(iter(request.fields["user"].values()))
        if answer.id in ended:
            row = ended[answer.id]
            answer = replace(answer, **{part: row[part] for part in ("state", "result", "reason", "reason_text")})  # noqa: PLW2901
        refused |= answer.state != "succeeded"
        rows.append((name, "done" if answer.state == "succeeded" else answer.state, _told(answer)))
        if as_json:
            print_json({"user": name, **answer.as_json()})
    if not as_json:
        table(("user", "", "what"), rows, whole=("",))
    return refused


def _told(answer: "Acceptance") -> str:
    result = answer.result or {}
    if result.get("already") == "deleted":
        return "was deleted before"
    if result.get("delete_at"):
        return f"deactivated; will be deleted on {result['delete_at']}"
    return answer.reason_text or ("deleted" if answer.state == "succeeded" else f"job {answer.id}")
