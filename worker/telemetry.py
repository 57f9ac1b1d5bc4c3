"""Reads how the work goes: what is due and whether anybody does it, what was finished and how long it took."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, literal_column, select, text, true

from worker import ledger, listing
from worker.door_tables import webhook_refusal
from worker.jobs import URGENT, Registry
from worker.keeper import DUE
from worker.tables import Moment, attempt, batch, job, worker

# A due job is taken up within a second; who waits so long without anybody else's being done, waits for nobody.
LATE = timedelta(seconds=30)
URGENT_LATE = timedelta(seconds=10)
# What was finished is counted so much later: by then every transaction that said so has been committed.
LAG = timedelta(seconds=30)
# What was finished while nobody asked for longer than this is not counted: the first question after a day costs no more.
GAP = timedelta(hours=1)
# From acceptance to the end, in seconds: below one the queue is empty; an hour is a feed's whole file or a dead relay.
LATENCIES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

_SPAN = (bindparam("start", type_=Moment()), bindparam("end", type_=Moment()))

# Each of these walks along an index that holds nothing else (see the table job); the literals are what the indexes say.
_UNFINISHED = text("""
    SELECT kind, state, urgent, count(*) AS jobs,
           sum(CASE WHEN state = 'queued' AND run_at <= :now THEN 1 ELSE 0 END) AS due,
           min(CASE WHEN state = 'queued' AND run_at <= :now THEN run_at END) AS oldest
    FROM (
        SELECT kind, state, urgent, run_at FROM job WHERE state = 'queued'
        UNION ALL
        SELECT kind, state, urgent, run_at FROM job WHERE state = 'scheduled'
        UNION ALL
        SELECT kind, state, urgent, run_at FROM job WHERE state = 'held'
        UNION ALL
        SELECT kind, state, urgent, run_at FROM job
        WHERE state IN ('queued', 'waiting') AND seq IS NOT NULL AND state = 'waiting'
        UNION ALL
        SELECT kind, state, urgent, run_at FROM job
        WHERE lease_until IS NOT NULL AND state IN ('leased', 'handing_over', 'unknown')
    ) AS unfinished
    GROUP BY kind, state, urgent
""").bindparams(bindparam("now", type_=Moment())).columns(oldest=Moment())

_OVERSLEPT = text("""
    SELECT DISTINCT kind FROM job WHERE state = 'scheduled' AND run_at <= :start
""").bindparams(_SPAN[0])

_TRIES = text("""
    SELECT job.kind, attempt.outcome, count(*) AS tries
    FROM attempt JOIN job ON job.id = attempt.job
    WHERE attempt.at > :start AND attempt.at <= :end
    GROUP BY job.kind, attempt.outcome
""").bindparams(*_SPAN)


@dataclass(frozen=True)
class Stuck:
    """Due work of a kind that nobody does."""

    queue: str
    kind: str
    urgent: bool


@dataclass
class Finished:
    """What was finished since this process began to count; figures that only ever grow."""

    # (kind, state, reason) -> jobs
    jobs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    # (kind, index of LATENCIES, one more for longer) -> jobs
    latency: Counter[tuple[str, int]] = field(default_factory=Counter)
    # kind -> seconds
    seconds: dict[str, float] = field(default_factory=dict)
    # (kind, outcome) -> tries without success
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Backlog:
    """What is not finished at one moment."""

    # (kind, state) -> jobs
    jobs: Counter[tuple[str, str]]
    # queue -> jobs that could be done now, and for how many seconds the oldest of them could have been
    due: Counter[str]
    age: dict[str, float]


def queue_of(registry: Registry, kind: str, urgent: bool) -> str:
    """The queue whose workers do such a job; for a kind that is not known here, `unknown`."""
    found = registry.get(kind)
    if found is None:
        return "unknown"
    return URGENT if urgent and found.shape != "edge" else found.policy.queue


def stuck(conn: Connection, registry: Registry, now: datetime) -> list[Stuck]:
    """Return the due work that nobody does, though others of its queue may be served.

    Late means due for longer than LATE (urgent: URGENT_LATE). A long backlog that is being worked off is not stuck:
    something of its queue that had waited as long was finished meanwhile, was tried, or is in a worker's hands. What a
    door did at once for its caller says nothing about the workers. Kinds that this Muster does not know are left out.
    """
    found: list[Stuck] = []
    for urgent, patience in ((True, URGENT_LATE), (False, LATE)):
        since = now - patience
        rows = conn.execute(DUE, {"now": since, "latest": ledger.rank(since, ledger.HIGHEST_STEP)}).all()
        late = [
            Stuck(queue_of(registry, row.kind, urgent), row.kind, urgent)
            for row in rows
            if bool(row.urgent) == urgent and row.kind in registry
        ]
        served = {one.queue: _consumed(conn, registry, one.queue, since, now) for one in late}
        found += [one for one in late if not served[one.queue]]
    since = now - LATE
    overslept = [row.kind for row in conn.execute(_OVERSLEPT, {"start": since}) if row.kind in registry]
    if overslept and not _consumed(conn, registry, None, since, now):
        found += [Stuck(queue_of(registry, kind, False), kind, False) for kind in overslept]
    return found


def _consumed(conn: Connection, registry: Registry, queue: str | None, since: datetime, now: datetime) -> bool:
    """Whether anything of a queue (None: of any) was done since then.

    What had waited was finished, something was tried, or is in the hands of a worker on the list.
    """
    served = [
        kind for kind in registry
        if queue is None or (kind.shape != "edge" if queue == URGENT else kind.policy.queue == queue)
    ]  # fmt: skip
    which = and_(job.c.kind.in_([kind.name for kind in served]), job.c.urgent if queue == URGENT else true())
    questions = [
        select(job.c.id).where(
            job.c.finished_at >= since, job.c.finished_at.is_not(None), literal_column("NOT job.pruned"),
            job.c.run_at <= since, job.c.state != "cancelled", which,
        ),
        select(attempt.c.id).join(job, job.c.id == attempt.c.job).where(attempt.c.at >= since, which),
        select(job.c.id).where(
            job.c.lease_until.is_not(None), job.c.lease_until > now, job.c.state.in_(["leased", "handing_over"]), which
        ),
    ]  # fmt: skip
    if any(kind.shape != "edge" for kind in served):
        questions.append(select(batch.c.id).join(worker, worker.c.id == batch.c.worker).where(batch.c.at >= since))
    return any(conn.execute(question.limit(1)).first() is not None for question in questions)


def alive(conn: Connection, now: datetime) -> int:
    """How many worker processes are alive, as far as can be seen from here."""
    return sum(bool(one["alive"]) for one in listing.workers(conn, now))


def backlog(conn: Connection, registry: Registry, now: datetime) -> Backlog:
    """Count what is not finished. Reads every unfinished job, and no other: a second for some millions."""
    found = Backlog(Counter(), Counter(), {})
    for row in conn.execute(_UNFINISHED, {"now": now}):
        found.jobs[row.kind, row.state] += row.jobs
        if row.due:
            queue = queue_of(registry, row.kind, bool(row.urgent))
            found.due[queue] += row.due
            found.age[queue] = max(found.age.get(queue, 0.0), (now - row.oldest).total_seconds())
    return found


class Meter:
    """Counts what is finished, as it is asked: each time only what was finished since. Not safe between threads."""

    def __init__(self, now: datetime) -> None:
        """Begin to count at `now`."""
        self.counted = Finished()
        self._until = now - LAG

    def read(self, conn: Connection, now: datetime) -> Finished:
        """Count what was finished since the last time and at least LAG ago; returns all that was counted so far."""
        end = now - LAG
        if end <= self._until:
            return self.counted
        span = {"start": max(self._until, end - GAP), "end": end}
        self._until = end
        for row in conn.execute(_finished_statement(conn.dialect.name), span):
            self.counted.jobs[row.kind, row.state, row.reason or ""] += row.jobs
            self.counted.latency[row.kind, row.bucket] += row.jobs
            self.counted.seconds[row.kind] = self.counted.seconds.get(row.kind, 0.0) + float(row.seconds or 0.0)
        for row in conn.execute(_TRIES, span):
            self.counted.tries[row.kind, row.outcome] += row.tries
        return self.counted


def _finished_statement(dialect: str) -> Any:
    took = {
        "postgresql": "extract(epoch FROM finished_at - created_at)::float8",
        "sqlite": "(julianday(finished_at) - julianday(created_at)) * 86400.0",
    }[dialect]
    steps = " ".join(f"WHEN took <= {limit} THEN {number}" for number, limit in enumerate(LATENCIES))
    return text(f"""
        SELECT kind, state, reason, CASE {steps} ELSE {len(LATENCIES)} END AS bucket,
               count(*) AS jobs, sum(took) AS seconds
        FROM (
            SELECT kind, state, reason, {took} AS took FROM job
            WHERE finished_at > :start AND finished_at <= :end AND finished_at IS NOT NULL AND NOT pruned
        ) AS finished
        GROUP BY kind, state, reason, bucket
    """).bindparams(*_SPAN)  # noqa: S608 (our own numbers and names)


def counts(conn: Connection, table: str, *columns: str, where: str = "1 = 1") -> dict[Sequence[str], int]:
    """Count the rows of a small table by these columns."""
    names = ", ".join(columns)
    rows: Iterable[Any] = conn.execute(text(f"SELECT {names}, count(*) FROM {table} WHERE {where} GROUP BY {names}"))  # noqa: S608
    return {tuple(row[:-1]): row[-1] for row in rows}


def refusals(conn: Connection) -> dict[Sequence[str], int]:
    """Return how many deliveries of each source were refused because their sender could not prove who it is."""
    return {(row[0],): row[1] for row in conn.execute(select(webhook_refusal.c.source, webhook_refusal.c["count"]))}
