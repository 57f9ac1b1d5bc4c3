"""Tells what happened to a job, in the order in which it happened, and how far a mail has come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, text

from worker import listing
from worker.jobs import Registry
from worker.states import FINISHED, State
from worker.tables import IN_LINE, job

# A job that was to run sooner than this after it came was simply asked for.
AT_ONCE = timedelta(seconds=2)
# Jobs named that stand before it in its line.
BEFORE = 3

TRIES = {
    "retry": ("warn", "did not work, to be tried again"), "fault": ("bad", "went wrong"), "rejected": ("warn", "was refused"),
    "failed": ("bad", "did not work, the last one allowed"), "crash": ("bad", "ended with the death of its worker"),
    "snooze": ("later", "was put off"), "unknown": ("open", "ended without an answer"),
    "cancelled": ("quiet", "found it pointless"),
}  # fmt: skip
ENDS = {
    State.SUCCEEDED: ("good", "Done"), State.REJECTED: ("warn", "Refused"), State.FAILED: ("bad", "Failed"),
    State.CANCELLED: ("quiet", "Cancelled"),
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Something that happened to a job. `text` says more; `code` and `trace` are for whoever mends things."""

    at: datetime | None
    tone: str
    title: str
    text: str = ""
    code: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Stage:
    """A part of the way of a mail: `standing` is done, here, bad or ahead."""

    words: str
    standing: str
    more: str = ""


def told(conn: Connection, registry: Registry, job_id: str) -> dict[str, Any] | None:
    """Return all there is to see of one job: its page, its story, and the stages of the delivery where there is one."""
    page = listing.job_page(conn, job_id)
    if page is None:
        return None
    frozen = conn.execute(select(job.c.frozen).where(job.c.id == job_id)).scalar_one() or {}
    known = registry.get(page["kind"])
    return {
        "job": page, "steps": _steps(page), "summary": known.summary if known is not None else "",
        "stages": _stages(page, frozen) if known is not None and known.shape == "edge" else [],
        "message_id": (page["result"] or {}).get("message_id") or frozen.get("message_id", ""),
        "ahead": _ahead(conn, job_id) if page["state"] == State.WAITING else [],
    }  # fmt: skip


def _steps(page: Mapping[str, Any]) -> list[Step]:
    asked = f"Asked for by {page['requested_by'] or page['source']}"
    if page["on_behalf_of"]:
        asked += f" on behalf of {page['on_behalf_of']}"
    found = [Step(page["created_at"], "quiet", asked, page["why"] or "")]
    for one in page["tries"]:
        tone, words = TRIES.get(one["outcome"], ("warn", one["outcome"]))
        said = "" if one["outcome"] in ("rejected", "cancelled") and one["text"] == page["reason_text"] else one["text"]
        found.append(Step(one["at"], tone, f"Try {one['number']} {words}", said, one["code"], one["trace"] or ""))
    for one in page["events"]:
        whom = f" {one['target_name']}" if one["target_name"] else ""
        found.append(Step(one["at"], "good", f"{one['action']}{whom}", _in_words(one["data"])))
    found.sort(key=lambda step: (step.at is not None, step.at))
    return [*found, _last(page)]


def _last(page: Mapping[str, Any]) -> Step:
    """How it ended, or what it is waiting for."""
    state, said = page["state"], page["reason_text"] or ""
    if state in FINISHED:
        tone, words = ENDS[State(state)]
        return Step(page["finished_at"], tone, words, said, page["reason"] or "")
    if state == State.HELD:
        return Step(None, "held", "Held back", said or "It goes on when somebody releases it.", page["reason"] or "")
    if state == State.UNKNOWN:
        return Step(None, "open", "Its outcome is unknown", said, page["reason"] or "")
    if state in (State.LEASED, State.HANDING_OVER):
        return Step(None, "busy", "On its way out")
    if state == State.WAITING:
        return Step(None, "later", "Waits for those before it in the line")
    if state == State.SCHEDULED:
        return Step(page["run_at"], "later", "Will be done")
    tried = bool(page["attempts"])
    return Step(page["run_at"] if tried else None, "busy", "Will be tried again" if tried else "Stands in the queue")


def _stages(page: Mapping[str, Any], frozen: Mapping[str, Any]) -> list[Stage]:
    """Accepted by us, through the gate, handed over, accepted over there: how far it has come."""
    state, result = page["state"], page["result"] or {}
    reply = str(result.get("reply") or "")
    gate = bool(frozen.get("date")) or bool(reply)
    handed = bool(frozen.get("handed")) or state in (State.HANDING_OVER, State.UNKNOWN)
    delivered = state == State.SUCCEEDED and bool(reply)
    ended_badly = state in (State.REJECTED, State.FAILED, State.CANCELLED)
    done = [True, gate or handed or delivered, handed or delivered, delivered]
    first_left = done.index(False) if False in done else len(done)
    found = []
    names = ("Taken in", "Through the gate", "Handing over", "Accepted by the relay")
    if page["kind"] == "deliver_webhook":
        names = ("Taken in", "Through the gate", "Sending", "Accepted by the endpoint")
    for place, words in enumerate(names):
        standing = "done" if done[place] else "ahead"
        if place == first_left:
            standing = "bad" if ended_badly else "open" if state == State.UNKNOWN else "here"
        found.append(Stage(words, standing, reply if place == len(names) - 1 and delivered else ""))
    return found


def _ahead(conn: Connection, job_id: str) -> Sequence[Mapping[str, Any]]:
    """The jobs that stand before this one in its line, the first of them first."""
    own = select(job.c.subject, job.c.seq).where(job.c.id == job_id).subquery()
    rows = conn.execute(
        select(job.c.id, job.c.kind, job.c.state)
        .join(own, (job.c.subject == own.c.subject) & (job.c.seq < own.c.seq))
        .where(text(f"job.{IN_LINE.replace('AND seq', 'AND job.seq')}")).order_by(job.c.seq).limit(BEFORE)
    )
    return [dict(row._mapping) for row in rows]  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)


def _in_words(data: Any) -> str:
    """What an event noted, in a line; what it noted as none or false is left out."""
    if not isinstance(data, Mapping):
        return ""
    return ", ".join(f"{name.replace('_', ' ')}: {_part(value)}" for name, value in data.items() if value not in (None, [], {}))


def _part(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name}: {_part(one)}" for name, one in value.items()) + ")"
    if isinstance(value, list):
        return " → ".join(_part(one) for one in value) if len(value) == 2 else ", ".join(_part(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)
