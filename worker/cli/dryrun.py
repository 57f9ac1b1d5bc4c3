"""Shows what a job would do: rows before and after, events, and what would come next."""

from typing import TYPE_CHECKING

from worker.screen import card, harmless, heading, say, table

if TYPE_CHECKING:
    from worker.dryrun import Preview


def show(found: "Preview") -> None:
    """Print a preview for a person."""
    if found.duplicate_of is not None and found.state != "refused":
        say(f"This was handed in before, as {found.duplicate_of}: nothing would be done.")
        return
    say(f"{found.kind} would {_ENDINGS.get(found.state, 'be put off')}. This was a trial: nothing was changed, nothing sent.")
    if found.reason_text:
        say(harmless(found.reason_text))
    if found.ahead:
        say(f"Before it, {_number(found.ahead, 'other job')} of the same line would be done; this is what it would do now.")
    if found.state != "succeeded":
        return
    card({"result": found.result})
    rows = [(change["what"], _value(change["before"]), _value(change["after"])) for change in found.changes]
    table(("what", "before", "after"), rows, title="Changes", empty="None.")
    if found.letter is not None:
        heading("Mail that would be sent")
        card({"mail": found.letter["kind"], "to": found.letter["email"], "language": found.letter["locale"]})
    if found.events:
        rows_ = [(one["action"], one["target_name"], one["data"]) for one in found.events]
        table(("event", "of", "with"), rows_, title="Audit trail", whole=("event",))
    if found.follow_ups:
        next_ = [(one["kind"], one["about"], one["run_at"]) for one in found.follow_ups]
        table(("kind", "about", "not before"), next_, title="Jobs that would follow", whole=("kind",))
    if found.jobs_changed:
        others = [(one["id"], one["kind"], one["before"], one["after"]) for one in found.jobs_changed]
        table(("job", "kind", "before", "after"), others, title="Other jobs of the same line", whole=("job",))


_ENDINGS = {"succeeded": "be done", "rejected": "be rejected", "refused": "be refused", "cancelled": "be cancelled"}


def _value(value: object) -> object:
    return "-" if value is None else value


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
