"""`muster jobs` and `muster refusals`: look at the ledger, and bring back, release or cancel what stands in it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from worker.cli import desk
from worker.screen import card, harmless, heading, on_terminal, print_json, say, table
from worker.states import State

if TYPE_CHECKING:
    from worker.app import App
    from worker.listing import JobFilter

F = TypeVar("F", bound=Callable[..., Any])

# A job that is due within this time is listed with the hour, a later one with the year.
NEAR = timedelta(days=90)


def chosen_by(function: F) -> F:
    """The filters that list, retry, release and cancel have in common."""
    options = (
        click.option("--kind", "kinds", multiple=True, help="Only this kind (several times: one of these)."),
        click.option("--state", "states", multiple=True, type=click.Choice([state.value for state in State]),
                     metavar="STATE", help=f"Only in this state: {', '.join(State)}."),
        click.option("--subject", metavar="NAME", help="Only about this user or group: ann, external_id:E-1, group:staff."),
        click.option("--source", help="Only from this source; cli/* means all that begin so."),
        click.option("--since", metavar="TIME", help="Only accepted since: 2h, 3d, 2026-01-31."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def jobs() -> None:
    """Look at jobs; bring them back, release or cancel them."""


@click.group()
def refusals() -> None:
    """Look at messages that were refused."""


def make_filter(app: "App", chosen: Mapping[str, Any]) -> "JobFilter":
    """Turn the options into a filter. Raises UsageError for a kind there is not."""
    from worker.listing import JobFilter, subjects_named

    for kind in chosen["kinds"]:
        if kind not in app.registry:
            raise click.UsageError(f"There is no job {kind}. `muster jobs kinds` lists the jobs there are.")
    subjects = None
    if chosen["subject"] is not None:
        with app.database.read() as conn:
            subjects = subjects_named(conn, app.settings, chosen["subject"])
    return JobFilter(chosen["kinds"], chosen["states"], subjects, chosen["source"],
                     desk.when(app, chosen["since"], past=True))  # fmt: skip


# ---------------------------------------------------------------------------------------------------- looking


@jobs.command("list")
@chosen_by
@desk.limit_option(30)
@click.option("--before", metavar="ID", help="The page after the one that ended with this job.")
@desk.json_option
def list_(limit: int, before: str | None, as_json: bool, **chosen: Any) -> None:
    """List jobs, the newest first."""
    from worker import listing

    with desk.opened(looking=True) as app:
        wanted = make_filter(app, chosen)
        before = desk.whole_id(app, before) if before else None
        with app.database.read() as conn:
            rows = listing.jobs(conn, wanted, limit=limit, before=before)
    if as_json:
        for row in rows:
            print_json(row)
        return
    lines = [(desk.short(row["id"]), row["kind"], row["about"], row["state"], _note(row)) for row in rows]
    table(("job", "kind", "about", "state", "note"), lines, whole=("job", "kind", "state"), empty="There are no such jobs.")
    if len(rows) == limit:
        say(f"\nThere may be more: --before {desk.short(rows[-1]['id'])}, or a larger --limit.")


def _note(row: Mapping[str, Any]) -> str:
    """What a person wants to know about a job besides its state, in a few words."""
    if row["state"] == State.SCHEDULED:
        return f"at {row['run_at']:%m-%d %H:%M}" if row["run_at"] - row["created_at"] < NEAR else f"on {row['run_at']:%Y-%m-%d}"
    if row["finished_at"] is None and row["attempts"]:
        return f"{row['attempts']} tries, next {row['run_at']:%H:%M:%S}"
    return row["reason"] or ""


@jobs.command()
@click.argument("job_id", metavar="ID")
@desk.json_option
def show(job_id: str, as_json: bool) -> None:
    """Show one job: what was asked, how it stands, its tries, events and what followed."""
    from worker import listing

    with desk.opened(looking=True) as app:
        job_id = desk.whole_id(app, job_id)
        with app.database.read() as conn:
            page = listing.job_page(conn, job_id)
    if page is None:
        raise desk.NoSuchJob(f"There is no job {job_id}.")
    if as_json:
        print_json(page)
        return
    import json

    say(f"{page['kind']} {page['id']}")
    say()
    card({
        "state": page["state"], "reason": page["reason"], "": page["reason_text"], "result": page["result"],
        "source": page["source"], "key": page["key"], "asked by": page["requested_by"],
        "on behalf of": page["on_behalf_of"], "why": page["why"], "urgent": page["urgent"] or None,
        "accepted": page["created_at"], "due": page["run_at"] if page["finished_at"] is None else None,
        "finished": page["finished_at"], "expires": page["deadline"] if page["finished_at"] is None else None,
        "tries": f"{page['attempts']} of {page['max_attempts']} without success" if page["attempts"] else None,
        "follows from": page["parent"],
    })  # fmt: skip
    heading("Payload")
    say("removed: this job is older than the retention, or the person was deleted" if page["pruned"]
        else harmless(json.dumps(page["payload"], ensure_ascii=False, indent=2), keep="\n"))  # fmt: skip
    if page["tries"]:
        rows = [(one["at"], one["outcome"], one["code"], one["text"]) for one in page["tries"]]
        table(("at", "outcome", "code", "what"), rows, title="Tries without success", whole=("at",))
        trace = page["tries"][-1]["trace"]
        if trace:
            heading("Where the last one broke off")
            say(harmless(trace, keep="\n"))
    if page["events"]:
        events = [(one["action"], one["target_name"], one["data"]) for one in page["events"]]
        table(("event", "of", "with"), events, title="Audit trail", whole=("event",))
    if page["follow_ups"]:
        next_ = [(desk.short(one["id"]), one["kind"], one["state"], one["run_at"]) for one in page["follow_ups"]]
        table(("job", "kind", "state", "due"), next_, title="Jobs that followed", whole=("job", "due"))


@jobs.command()
@click.argument("kind", required=False)
@desk.json_option
def kinds(kind: str | None, as_json: bool) -> None:
    """List the jobs there are, or show what one of them takes."""
    from worker.app import load_jobs

    registry = load_jobs(desk.read_settings().actors)
    if kind is None:
        for one in registry:
            if as_json:
                print_json({"kind": one.name, "summary": one.summary, "queue": one.policy.queue, "shape": one.shape})
        if not as_json:
            table(("kind", "what it does"), [(one.name, one.summary) for one in registry], whole=("kind",))
        return
    found = registry.get(kind)
    if found is None:
        raise click.UsageError(f"There is no job {kind}. `muster jobs kinds` lists the jobs there are.")
    examples = list(getattr(found.payload, "examples", ()))
    schema = found.payload.model_json_schema()
    if as_json:
        print_json({"kind": found.name, "summary": found.summary, "queue": found.policy.queue, "shape": found.shape,
                    "attempts": found.policy.attempts, "version": found.payload.version, "payload": schema,
                    "examples": examples})  # fmt: skip
        return
    say(f"{found.name}: {found.summary}")
    required = set(schema.get("required", ()))
    rows = [
        (name, "yes" if name in required else "", field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]
    table(("field", "needed", "meaning"), rows, title="Payload", whole=("field",))
    if examples:
        import json

        heading("For example")
        for example in examples:
            say(f"muster submit {found.name} '{json.dumps(example, ensure_ascii=False)}'")


# --------------------------------------------------------------------------------------------------- steering


def steers(function: F) -> F:
    """The arguments and options that retry, release and cancel have in common."""
    marks = (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        chosen_by,
        click.option("--dry-run", is_flag=True, help="Say how many jobs of which kind it would be."),
        desk.yes_option,
        desk.json_option,
    )
    for mark in reversed(marks):
        function = mark(function)
    return function


@jobs.command()
@steers
def retry(**asked: Any) -> None:
    """Give failed, rejected, held, unknown or expired jobs a fresh start: by id, or by filters."""
    _steer("retry", "retried", **asked)


@jobs.command()
@steers
def cancel(**asked: Any) -> None:
    """Cancel jobs that have not ended: by id, or by filters. A mail already handed over cannot be cancelled."""
    _steer("cancel", "cancelled", **asked)


@jobs.command()
@steers
def release(**asked: Any) -> None:
    """Let held jobs go: by id, or by filters."""
    _steer("release", "released", **asked)


def _steer(
    word: str, done: str, *, ids: Sequence[str], dry_run: bool, yes: bool, as_json: bool, **chosen: Any
) -> None:
    """Choose jobs, say which they are, ask if a person sits there, and do it."""
    from dataclasses import replace

    from worker.steering import Move, counts, steer

    if not ids and not any(chosen.values()):
        raise click.UsageError("Say which jobs: by their ids, or by --kind, --state, --subject, --source or --since.")
    move = Move(word)
    with desk.opened() as app:
        wanted = make_filter(app, chosen)
        if ids:
            wanted = replace(wanted, ids=[desk.whole_id(app, job_id) for job_id in ids])
        if dry_run or (not yes and on_terminal()):
            rows = counts(app, move, wanted)
            total = sum(row["count"] for row in rows)
            if dry_run or total > 1:
                _show_counts(rows, total, done, as_json=as_json, final=dry_run)
            if dry_run:
                return
            if total > 1:
                click.confirm(f"{total} jobs will be {done}. Go on?", abort=True, err=True)
        moved = steer(app, move, wanted, by=desk.user_name())
    if as_json:
        print_json({done: moved})
    else:
        say(f"{_jobs(moved)} {done}." if moved else f"There was nothing to be {done}.")
    if ids and moved < len(ids):
        left = len(ids) - moved
        click.echo(f"{_jobs(left)} could not be {done}: `muster jobs show ID` says how it stands.", err=True)
        raise SystemExit(1)


def _show_counts(counts: Sequence[Mapping[str, Any]], total: int, done: str, *, as_json: bool, final: bool) -> None:
    if as_json:
        for row in counts:
            print_json(row)
        return
    rows = [(row["kind"], row["state"], row["reason"], row["count"]) for row in counts]
    table(("kind", "state", "reason", "jobs"), rows, right=("jobs",), whole=("kind",), empty="There are no such jobs.")
    if final and total:
        say(f"\n{_jobs(total)} would be {done}. This was a trial.")


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


# --------------------------------------------------------------------------------------------------- refusals


@refusals.command("list")
@desk.limit_option(30)
@click.option("--before", metavar="ID", help="The page after the one that ended with this refusal.")
@desk.json_option
def list_refusals(limit: int, before: str | None, as_json: bool) -> None:
    """List messages from the queue or the SQL inbox that were refused, the newest first."""
    from worker import listing

    with desk.opened(looking=True) as app, app.database.read() as conn:
        rows = listing.refusals(conn, limit=limit, before=before)
    if as_json:
        for row in rows:
            print_json(row)
        return
    lines = [(_minute(row["at"]), row["source"], row["kind"], row["text"]) for row in rows]
    table(("at", "source", "kind", "why it was refused"), lines, whole=("at",), empty="No message was refused.")


def _minute(at: datetime) -> str:
    return f"{at:%m-%d %H:%M}"
