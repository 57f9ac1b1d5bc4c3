"""The console's first page: what goes on at this moment, and what waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from worker.console import charts
from worker.console.pulse import Facts, Pulse
from worker.console.render import fragment, number, page, parts_for, plain
from worker.console.session import HOME, Form, Visitor, seen_by
from worker.scope import Scope
from worker.web.gate import muster
from worker.web.problems import Problem
from worker.webhooks import endpoints

JOBS = f"{HOME}/jobs"
TONES = {"succeeded": "good", "rejected": "warn", "cancelled": "quiet", "failed": "bad"}
# Seconds that the oldest due job of a queue may wait before it is worth a look, and before it is bad.
SLOW, LATE = 30.0, 300.0
# Kinds named on the page; those with fewer jobs are in the list.
KINDS = 8
# Kinds named in one sentence.
NAMED = 3

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Want:
    """Something that waits for a person: how many, of what, why, and the links to where it is decided."""

    tone: str
    count: int
    words: str
    more: str = ""
    links: Sequence[tuple[str, str]] = ()
    endpoint: str = ""


@router.get(HOME)
def show(request: Request, visitor: Annotated[Visitor, seen_by()]) -> Response:
    """What goes on; whoever may not see jobs is led to the first part of the console that is open to them."""
    if not visitor.may("jobs:read"):
        return RedirectResponse(parts_for(visitor)[0][1], 303)
    return page(request, visitor, "now.html", **_seen(request, visitor))


@router.get(f"{HOME}/now/live")
def live(request: Request, visitor: Annotated[Visitor, seen_by("jobs:read")]) -> Response:
    """The same, without what stands around it."""
    return fragment(request, visitor, "now_live.html", **_seen(request, visitor))


@router.post(f"{HOME}/webhooks/resume")
def resume(request: Request, visitor: Annotated[Visitor, seen_by("admin")], form: Form) -> Response:
    """Let the deliveries of a paused endpoint go."""
    app = muster(request)
    name = str(form.get("name", ""))

    def work(conn: Connection) -> Any:
        return endpoints.resume(Scope(conn, app.clock(), app.settings), name, by=visitor.caller.source)

    try:
        _, rung = app.database.transact(work)
    except endpoints.NoSuchEndpoint as error:
        raise Problem(404, "not_found", str(error)) from None
    for kind, urgent in sorted(rung):
        app.ring(kind, urgent)
    pulse(request).forget()
    return RedirectResponse(HOME, 303)


def pulse(request: Request) -> Pulse:
    """What reads the facts of this page for everybody."""
    found: Pulse = request.app.state.pulse
    return found


def _seen(request: Request, visitor: Visitor) -> dict[str, Any]:
    facts = pulse(request).facts()
    hour = facts.hour
    slowest = max([LATE, *(queue["age"] for queue in facts.queues)])
    queues = [{**queue, "tone": _tone(queue["age"]), "share": queue["age"] / slowest} for queue in facts.queues]
    return {
        "facts": facts, "wants": wants(facts, visitor), "queues": queues, "meter": charts.meter,
        "kinds": hour.kinds[:KINDS], "more_kinds": len(hour.kinds) - KINDS, "tones": TONES,
        "charts": [
            {"title": title, "words": words, "svg": charts.bars(title, hour.minutes, series, TONES),
             "sums": {word: sum(values) for word, values in series.items()},
             "top": charts.ceiling(max(map(sum, zip(*series.values(), strict=True))))}
            for title, words, series in (("Jobs finished", "a minute", hour.jobs), ("Mails finished", "a minute", hour.mails))
        ],
    }  # fmt: skip


def _tone(age: float) -> str:
    return "good" if age < SLOW else "warn" if age < LATE else "bad"


def wants(facts: Facts, visitor: Visitor) -> list[Want]:
    """What waits for a person, what matters most first; each leads to where it is decided."""
    steers = visitor.may("jobs:operate")
    found = []
    for kind, count in facts.undelivered:
        which = f"kind={kind}&reason=undelivered&ended=1d"
        retry = [("Retry all …", f"{JOBS}/move?move=retry&{which}")] if steers else []
        found.append(
            Want("bad", count, f"{_things(kind, count)} not delivered", "in the last day", [*retry, ("Look", f"{JOBS}?{which}")])
        )
    if facts.failed:
        which = "state=failed&ended=1d&shape=directory"
        count = sum(jobs for _, jobs in facts.failed)
        retry = [("Retry all …", f"{JOBS}/move?move=retry&{which}")] if steers else []
        links = [*retry, ("Look", f"{JOBS}?{which}")]
        found.append(Want("bad", count, "jobs failed" if count > 1 else "job failed", f"in the last day: {_named(facts.failed)}", links))
    if facts.unknown:
        words = "jobs whose outcome is unknown" if facts.unknown > 1 else "job whose outcome is unknown"
        more = "the line broke while it was handed over: ask whether it arrived, then retry or let it be"
        found.append(Want("open", facts.unknown, words, more, [("Decide", f"{JOBS}?state=unknown")]))
    if facts.held:
        words = "jobs held back" if facts.held > 1 else "job held back"
        found.append(Want("held", facts.held, words, "until somebody releases or cancels", [("Decide", f"{JOBS}?state=held")]))
    if visitor.may("feeds:read"):
        found += _feeds(facts)
    for one in facts.endpoints:
        more = f"paused by {plain(one['paused_by'])}: {plain(one['paused_why'])}"
        found.append(Want("held", 1, f"webhook endpoint {plain(one['name'])} is paused", more, endpoint=one["name"]))
    if facts.refusals:
        words = "messages were refused" if facts.refusals > 1 else "message was refused"
        found.append(Want("warn", facts.refusals, words, "in the last day", [("Look", f"{JOBS}/refusals")]))
    return found


def _feeds(facts: Facts) -> list[Want]:
    found = [
        Want("held", 1, f"plan of {plain(one['source'])} is held", plain(one["input"] or one["origin"]),
             [("Decide", f"{HOME}/feeds/runs/{one['id']}")])
        for one in facts.plans
    ]  # fmt: skip
    if facts.plan_count > len(facts.plans):
        more = facts.plan_count - len(facts.plans)
        found.append(Want("held", more, "more plans are held", "", [("Look", f"{HOME}/feeds?state=held")]))
    for source, count in facts.cases:
        words = "open cases" if count > 1 else "open case"
        found.append(Want("open", count, f"{words} of {plain(source)}", "", [("Decide", f"{HOME}/feeds/cases?source={source}")]))
    return found


def _things(kind: str, count: int) -> str:
    """send_recovery_email → recovery emails."""
    words = kind.removeprefix("send_").removeprefix("deliver_").replace("_", " ")
    return words if count == 1 else f"{words}s"


def _named(kinds: Sequence[tuple[str, int]]) -> str:
    first = ", ".join(f"{number(count)} {kind}" for kind, count in kinds[:NAMED])
    return first + (", …" if len(kinds) > NAMED else "")
