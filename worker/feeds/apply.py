"""Applies a plan: one small transaction decides, then its lines become jobs and accepted state, chunk by chunk.

The decision is one row. Before it nothing has happened; after it everything will, for whoever comes by goes on with it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from worker import faultpoints
from worker.bulk import insert_rows, select_by, update_rows
from worker.database import Database
from worker.feed_tables import feed_action, feed_message, feed_person, feed_run, feed_source
from worker.feeds import cases, runs, usernames
from worker.feeds.declaration import Feed
from worker.feeds.runs import APPLIED, APPLYING, APPROVED, DROPPED, HELD, PLANNED, Run
from worker.intake import Acceptance, Intake, Request
from worker.jobs import Registry
from worker.scope import Scope
from worker.settings import Settings
from worker.states import State
from worker.tables import job

# Lines carried in one transaction: on SQLite few enough that an urgent job gets the writer's turn within 50 ms.
CHUNK, CHUNK_SQLITE = 1_000, 50
# Why a plan was put aside that no person put aside.
SUPERSEDED = "another plan was applied"

# Who could not be helped is looked at again this much later.
LOOK_DAILY = timedelta(days=1)
# What of a line is needed to carry it.
CARRIED = ("external_id", "action", "jobs", "person")

Ring = Callable[[str, bool], None]
Advance = Callable[[int], object]


class NotApplied(Exception):
    """The plan cannot be applied."""


def approve(conn: Connection, run: Run, *, by: str, reason: str, now: datetime) -> Run:
    """Release a held plan, this one only and for a day. The caller's transaction."""
    run = runs.get(conn, run.id, lock=True)
    if run.state not in (HELD, APPROVED):
        raise NotApplied(f"The plan {shown(run)} is {run.state}, not held: there is nothing to approve.")
    _require_fresh(run, _version(conn, run.source), now)
    conn.execute(
        update(feed_run).where(feed_run.c.id == run.id)
        .values(state=APPROVED, approved_by=by, approved_reason=reason, approved_until=now + runs.APPROVAL_LIFE)
    )  # fmt: skip
    return runs.get(conn, run.id)


def drop(conn: Connection, run: Run, *, by: str, reason: str, now: datetime) -> Run:
    """Put a plan aside for good. The caller's transaction."""
    run = runs.get(conn, run.id, lock=True)
    if run.state not in (PLANNED, HELD, APPROVED):
        raise NotApplied(f"The plan {shown(run)} is {run.state}: it cannot be put aside any more.")
    conn.execute(
        update(feed_run).where(feed_run.c.id == run.id)
        .values(state=DROPPED, problem=f"put aside by {by}: {reason}", finished_at=now)
    )  # fmt: skip
    mine = (feed_message.c.source == run.source, feed_message.c.state == "new", feed_message.c.run == run.id)
    conn.execute(update(feed_message).where(*mine).values(state="refused"))
    return runs.get(conn, run.id)


def supersede(conn: Connection, run: Run, now: datetime) -> None:
    """Put aside a plan that another one was quicker than; its messages are planned anew. The caller's transaction."""
    if runs.get(conn, run.id, lock=True).state in (PLANNED, APPROVED):
        conn.execute(
            update(feed_run).where(feed_run.c.id == run.id).values(state=DROPPED, finished_at=now, problem=SUPERSEDED)
        )
    _free_messages(conn, run.source)


def _free_messages(conn: Connection, source: str) -> None:
    """Let the messages of superseded plans be planned again; those of a plan that a person put aside stay with it."""
    gone = select(feed_run.c.id).where(
        feed_run.c.source == source, feed_run.c.state == DROPPED, feed_run.c.problem == SUPERSEDED
    )
    which = (feed_message.c.source == source, feed_message.c.state == "new", feed_message.c.run.in_(gone))
    conn.execute(update(feed_message).where(*which).values(run=None))


def replace_earlier(conn: Connection, run: Run, now: datetime) -> None:
    """Put aside earlier plans of the same kind: what they were made of is in this one. The caller's transaction."""
    older = (
        feed_run.c.source == run.source, feed_run.c.origin == run.origin, feed_run.c.state.in_([PLANNED, HELD]),
        feed_run.c.id < run.id,
    )  # fmt: skip
    values = {"state": DROPPED, "finished_at": now, "problem": "a later plan holds the same and more"}
    conn.execute(update(feed_run).where(*older).values(values))


def decide(conn: Connection, run: Run, now: datetime) -> Run:
    """Decide that all of a plan shall be. The caller's transaction; the whole of the flip. Raises NotApplied."""
    run = runs.get(conn, run.id, lock=True)
    if run.state in (APPLYING, APPLIED):
        return run
    if run.state == HELD:
        held = "; ".join(str(brake["text"]) for brake in run.brakes)
        raise NotApplied(
            f"The plan {shown(run)} is held: {held}. Look at it with `muster feed show {shown(run)}`, then "
            f"`muster feed approve {shown(run)} --reason …` if it is right."
        )
    if run.state not in (PLANNED, APPROVED):
        raise NotApplied(f"The plan {shown(run)} is {run.state}" + (f": {run.problem}" if run.problem else "."))
    if run.state == APPROVED and run.approved_until is not None and run.approved_until < now:
        raise NotApplied(f"The approval of the plan {shown(run)} ended at {run.approved_until:%Y-%m-%d %H:%M} UTC. Approve it again.")
    values: dict[str, Any] = {"rows": run.reading.get("people_named")} if run.reading.get("full") else {}
    if run.total:
        values["version"] = feed_source.c.version + 1
    which = (feed_source.c.name == run.source, feed_source.c.version == run.base_version)
    _require_fresh(run, run.base_version if _flip(conn, which, values) else None, now)
    mine = (feed_message.c.source == run.source, feed_message.c.state == "new", feed_message.c.run == run.id)
    conn.execute(update(feed_message).where(*mine).values(state="taken"))
    if run.total:
        older = (feed_run.c.source == run.source, feed_run.c.state.in_([PLANNED, HELD, APPROVED]), feed_run.c.id != run.id)
        conn.execute(update(feed_run).where(*older).values(state=DROPPED, finished_at=now, problem=SUPERSEDED))
        _free_messages(conn, run.source)
    state = APPLYING if run.total else APPLIED
    conn.execute(
        update(feed_run).where(feed_run.c.id == run.id)
        .values(state=state, applied_at=now, finished_at=None if run.total else now)
    )  # fmt: skip
    faultpoints.reached("feed_decided")
    return runs.get(conn, run.id)


def _flip(conn: Connection, which: Sequence[Any], values: Mapping[str, Any]) -> bool:
    if not values:
        return conn.execute(select(feed_source.c.name).where(*which)).first() is not None
    return conn.execute(update(feed_source).where(*which).values(values)).rowcount == 1


def _version(conn: Connection, source: str) -> int | None:
    return conn.execute(select(feed_source.c.version).where(feed_source.c.name == source)).scalar_one_or_none()


def _require_fresh(run: Run, version: int | None, now: datetime) -> None:
    if version != run.base_version:
        raise NotApplied(
            f"The plan {shown(run)} is stale: the people of {run.source} have changed since it was made. Plan the input anew."
        )
    if now - run.created_at > runs.PLAN_LIFE:
        raise NotApplied(f"The plan {shown(run)} is older than {runs.PLAN_LIFE.days} days. Plan the input anew.")


def verify(conn: Connection, run: Run) -> None:
    """Compute the hash of a plan anew from its stored lines. Raises NotApplied when it is another one."""
    told = runs.fingerprint(run.source, run.base_version or 0)
    for line in runs.all_lines(conn, run.id, only=runs.HASHED):
        runs.tell(told, line)
    if run.state in (PLANNED, HELD, APPROVED) and told.hexdigest() != run.hash:
        raise NotApplied(f"The stored lines of the plan {shown(run)} are not those that its hash was made of. Plan anew.")


def shown(run: Run) -> str:
    """As much of a plan's hash as people type."""
    return (run.hash or run.id)[: runs.HASH_SHOWN]


# ---------------------------------------------------------------------------------------------------- carrying


def carry(
    database: Database, registry: Registry, settings: Settings, clock: Callable[[], datetime], ring: Ring, run: Run,
    feed: Feed, advance: Advance = lambda _: None,
) -> Run:
    """Turn what was decided into jobs and accepted state; goes on where somebody else stopped."""
    size = CHUNK if database.on_postgresql else CHUNK_SQLITE
    run_id = run.id

    def work(conn: Connection) -> tuple[Run, Intake]:
        intake = Intake(registry)
        return _carry_chunk(Scope(conn, clock(), settings), intake, run_id, feed, size), intake

    while run.state == APPLYING:
        at = run.carried
        run, intake = database.transact(work)
        for kind, urgent in sorted(intake.rung):
            ring(kind, urgent)
        advance(run.carried - at)
        faultpoints.reached("feed_carried")
    return run


def _carry_chunk(scope: Scope, intake: Intake, run_id: str, feed: Feed, size: int) -> Run:
    conn = scope.conn
    run = runs.get(conn, run_id, lock=True)
    if run.state != APPLYING:
        return run
    found = runs.lines(conn, run_id, after=run.carried, limit=size, only=CARRIED)
    asked = [(line, place, wanted) for line in found for place, wanted in enumerate(line["jobs"] or ())]
    answers = intake.submit(scope, [_request(run, feed, line, place, wanted) for line, place, wanted in asked])
    refused = {line["number"]: answer for (line, _, _), answer in zip(asked, answers, strict=True) if answer.refused}
    _note_refusals(conn, run_id, refused)
    by_id = {line["external_id"]: line for line in found if line["person"]}
    changed = [by_id[one] for one in sorted(by_id) if by_id[one]["number"] not in refused]
    _look_again(scope, run, sorted(one for one, line in by_id.items() if line["number"] in refused))
    insert_rows(conn, feed_person, [_person(run, line, scope.now) for line in changed], conflict="replace")
    usernames.give(scope, run.source, [line["external_id"] for line in changed])
    cases.close_cases(scope, run.source, [line["external_id"] for line in changed if line["action"] != "case"])
    last = found[-1]["number"] if found else run.total
    values: dict[str, Any] = {"carried": last}
    if last >= run.total:
        values["state"] = APPLIED
    conn.execute(update(feed_run).where(feed_run.c.id == run_id).values(values))
    return runs.get(conn, run_id)


def _look_again(scope: Scope, run: Run, ids: Sequence[str]) -> None:
    """Whose jobs were not taken in is looked at anew, with the next record or tomorrow."""
    rows = [{"external_id": one} for one in ids]
    same = {"digest": None, "waiting_for": None, "due_at": scope.now + LOOK_DAILY}
    update_rows(scope.conn, feed_person, rows, by="external_id", same=same, where=[feed_person.c.source == run.source])


def _request(run: Run, feed: Feed, line: Mapping[str, Any], place: int, wanted: Mapping[str, Any]) -> Request:
    return Request(
        wanted["kind"], wanted["payload"], feed.job_source, runs.job_key(run.id, line["number"], place),
        urgent=bool(wanted.get("urgent")), requested_by=feed.job_source, on_behalf_of=run.approved_by or run.requested_by,
        why=f"plan {shown(run)}" + (f": {run.approved_reason}" if run.approved_reason else ""),
    )  # fmt: skip


def _note_refusals(conn: Connection, run_id: str, refused: Mapping[int, Acceptance]) -> None:
    for number, answer in refused.items():
        conn.execute(
            update(feed_action).where(feed_action.c.run == run_id, feed_action.c.number == number)
            .values(action="refused", code=answer.reason, text=answer.reason_text)
        )  # fmt: skip


def _person(run: Run, line: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    row = dict(line["person"])
    due = row["due_at"]
    return {
        "source": run.source, "external_id": line["external_id"], **row, "due_at": datetime.fromisoformat(due) if due else None,
        "run": run.id, "changed_at": now,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------- settling


def settle(scope: Scope, run: Run, feed: Feed) -> bool:
    """Take back what was accepted of people whose jobs were refused or failed; returns whether all jobs have ended.

    Such a person counts as not planned at all: the next record about them is looked at anew, whatever it says.
    """
    conn = scope.conn
    mine = runs.jobs_of(run, feed.job_source)
    failed = (State.REJECTED.value, State.FAILED.value)
    bad = conn.execute(
        select(job.c.key, job.c.finished_at).where(*mine, job.c.state.in_(failed), job.c.pruned.is_(False))
    ).all()  # fmt: skip
    ended = {int(row.key.split("/")[1]): row.finished_at for row in bad}
    changed = 0
    for start in range(0, len(ended), 1_000):
        numbers = sorted(ended)[start : start + 1_000]
        lines = runs.lines(conn, run.id, feed_action.c.number.in_(numbers), limit=len(numbers))
        changed += _take_back(scope, run, feed, [line for line in lines if line["person"]], ended)
    if changed:
        # A plan that was made on what turned out not to be so is stale.
        conn.execute(update(feed_source).where(feed_source.c.name == run.source).values(version=feed_source.c.version + 1))
    left = conn.execute(select(func.count()).select_from(job).where(*mine, job.c.finished_at.is_(None))).scalar_one()
    if left == 0 and run.state == APPLIED:
        conn.execute(update(feed_run).where(feed_run.c.id == run.id).values(finished_at=scope.now))
    return left == 0


def _take_back(
    scope: Scope, run: Run, feed: Feed, lines: Sequence[Mapping[str, Any]], ended: Mapping[int, datetime]
) -> int:
    """Put back what was applied before these lines; returns how many people that were. Not what was accepted later on."""
    outcomes = runs.outcomes(scope.conn, feed.job_source, lines)
    known = select_by(
        scope.conn, feed_person.c.external_id, [line["external_id"] for line in lines], feed_person.c.external_id,
        feed_person.c.changed_at, where=[feed_person.c.source == run.source, feed_person.c.digest.is_not(None)],
    )  # fmt: skip
    changed_at = {row.external_id: row.changed_at for row in known}
    rows = []
    for line in sorted(lines, key=lambda line: str(line["external_id"])):
        accepted = changed_at.get(line["external_id"])
        if accepted is None or accepted > ended[line["number"]]:
            continue
        states = {found["state"] for (number, _), found in outcomes.items() if number == line["number"]}
        # Where only a part was done, nobody knows what is so: it is decided anew, from the account as it is.
        undo = None if State.SUCCEEDED.value in states else line["undo"]
        # Who got no account is looked for again, by name and id: somebody else may have been given them meanwhile.
        username = line["person"]["username"] if line["undo"] or State.SUCCEEDED.value in states else None
        rows.append({"external_id": line["external_id"], "applied": undo, "phase": (undo or {}).get("phase", "none"),
                     "username": username})  # fmt: skip
    same = {"digest": None, "due_at": scope.now + LOOK_DAILY}
    return update_rows(scope.conn, feed_person, rows, by="external_id", same=same, where=[feed_person.c.source == run.source])
