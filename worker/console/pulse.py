"""What the first page shows, read at most once a second for everybody who looks: backlog, the last hour, what waits for people."""

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from worker import listing, telemetry
from worker.app import App
from worker.door_tables import webhook_endpoint
from worker.feed_tables import feed_case, feed_run
from worker.jobs import Registry
from worker.mail.breaker import BreakerState
from worker.tables import NOT_DONE, Moment, refusal

# Everybody who looks shares one answer for so long, and at most this part of the time goes into reading it.
FRESH_SECONDS = 1.0
SHARE = 0.05
MINUTES = 60
# Of more jobs than this in an hour the newest are drawn, so that a hurried hour costs no more than a busy one.
MOST = 50_000
# Failures are shown for a day: what was not looked at by then stands in the list of jobs.
DAY = timedelta(days=1)
# The reasons for which a mail did not go out and should have: retrying it is the cure once the cause is mended.
UNDELIVERED = ("attempts_spent", "bad_email", "expired", "mail_policy", "no_relay", "relay_refused", "worker_killed")
# Plans and endpoints named one by one; of more there is the number.
NAMED = 5

OUTCOMES = ("succeeded", "rejected", "cancelled", "failed")

_MINUTE = {"sqlite": "substr(finished_at, 1, 16)", "postgresql": "to_char(finished_at, 'YYYY-MM-DD HH24:MI')"}
# The literals are what the indexes ix_job_prune and ix_job_not_done say of themselves.
_FINISHED = """
    SELECT minute, kind, state, count(*) AS jobs FROM (
        SELECT {minute} AS minute, kind, state FROM job
        WHERE finished_at IS NOT NULL AND NOT pruned AND finished_at > :since
        ORDER BY finished_at DESC LIMIT :most
    ) AS latest GROUP BY minute, kind, state
"""
_BAD = text(f"""
    SELECT state, kind, reason, count(*) AS jobs FROM job
    WHERE {NOT_DONE} AND finished_at > :since
    GROUP BY state, kind, reason
""").bindparams(bindparam("since", type_=Moment()))  # noqa: S608 (our own literals)


@dataclass(frozen=True)
class Hour:
    """The last hour by minutes: for each outcome the jobs finished in each, the oldest minute first."""

    minutes: tuple[datetime, ...]
    jobs: Mapping[str, Sequence[int]]
    mails: Mapping[str, Sequence[int]]
    kinds: Sequence[Mapping[str, Any]]
    whole: bool


@dataclass(frozen=True)
class Facts:
    """All there is to see at one moment."""

    at: datetime
    queues: Sequence[Mapping[str, Any]]
    stuck: Sequence[str]
    hour: Hour
    held: int
    unknown: int
    undelivered: Sequence[tuple[str, int]]
    failed: Sequence[tuple[str, int]]
    plans: Sequence[Mapping[str, Any]]
    plan_count: int
    cases: Sequence[tuple[str, int]]
    endpoints: Sequence[Mapping[str, Any]]
    refusals: int
    relay: BreakerState | None
    workers: Sequence[Mapping[str, Any]]


class Pulse:
    """Reads the facts, and keeps them while they are fresh. One in each server."""

    def __init__(self, app: App) -> None:
        """Nothing is read yet."""
        self.app = app
        self._lock = threading.Lock()
        self._facts: Facts | None = None
        self._until = 0.0

    def facts(self) -> Facts:
        """What there is to see now, at most a second old; older when the database takes long to say it."""
        with self._lock:
            begun = time.monotonic()
            if self._facts is None or begun >= self._until:
                self._facts = read(self.app)
                took = time.monotonic() - begun
                self._until = begun + max(FRESH_SECONDS, took / SHARE)
            return self._facts

    def forget(self) -> None:
        """Read anew at the next question: somebody has changed something here."""
        with self._lock:
            self._until = 0.0


def read(app: App) -> Facts:
    """Read everything, in one transaction."""
    now = app.clock()
    relay = None if app.settings.mail_destination is None else app.room().health()
    with app.database.read() as conn:
        backlog = telemetry.backlog(conn, app.registry, now)
        bad = conn.execute(_BAD, {"since": now - DAY}).all()
        edges = {kind.name for kind in app.registry if kind.shape == "edge"}
        plan_count, plans = _held_plans(conn)
        return Facts(
            at=now, queues=_queues(app.registry, backlog),
            stuck=sorted({one.queue for one in telemetry.stuck(conn, app.registry, now)}),
            hour=_hour(conn, app.registry, now),
            held=_sum(backlog, "held"), unknown=_sum(backlog, "unknown"),
            undelivered=_undelivered(edges, bad),
            failed=_counter(row for row in bad if row.state == "failed" and row.kind not in edges),
            plans=plans, plan_count=plan_count, cases=_cases(conn), endpoints=_paused(conn),
            refusals=conn.execute(select(func.count()).where(refusal.c.at > now - DAY)).scalar_one(),
            relay=relay, workers=listing.workers(conn, now),
        )  # fmt: skip


def _queues(registry: Registry, backlog: telemetry.Backlog) -> list[dict[str, Any]]:
    """Each queue there is: jobs due, and for how many seconds the oldest of them could have been done."""
    names = ["urgent", *sorted({kind.policy.queue for kind in registry})]
    names += sorted(set(backlog.due) - set(names))
    return [{"name": name, "due": backlog.due.get(name, 0), "age": backlog.age.get(name, 0.0)} for name in names]


def _hour(conn: Connection, registry: Registry, now: datetime) -> Hour:
    this = now.replace(second=0, microsecond=0)
    minutes = tuple(this - timedelta(minutes=ago) for ago in reversed(range(MINUTES)))
    statement = text(_FINISHED.format(minute=_MINUTE[conn.dialect.name])).bindparams(bindparam("since", type_=Moment()))
    rows = conn.execute(statement, {"since": minutes[0], "most": MOST}).all()
    place = {f"{minute:%Y-%m-%d %H:%M}": number for number, minute in enumerate(minutes)}
    jobs = {state: [0] * MINUTES for state in OUTCOMES}
    mails = {state: [0] * MINUTES for state in OUTCOMES}
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        if row.minute not in place or row.state not in jobs:
            continue
        known = registry.get(row.kind)
        whose = mails if known is not None and known.policy.queue == "mail" else jobs
        whose[row.state][place[row.minute]] += row.jobs
        kinds.setdefault(row.kind, Counter())[row.state] += row.jobs
    most = sorted(kinds.items(), key=lambda one: (-one[1].total(), one[0]))
    return Hour(
        minutes, jobs, mails, [{"kind": kind, "total": count.total(), **count} for kind, count in most],
        whole=sum(row.jobs for row in rows) < MOST,
    )  # fmt: skip


def _sum(backlog: telemetry.Backlog, state: str) -> int:
    return sum(jobs for (_, standing), jobs in backlog.jobs.items() if standing == state)


def _counter(rows: Iterable[Any]) -> list[tuple[str, int]]:
    found: Counter[str] = Counter()
    for row in rows:
        found[row.kind] += row.jobs
    return found.most_common()


def _undelivered(edges: Collection[str], rows: Sequence[Any]) -> list[tuple[str, int]]:
    """Mails and the like that ended without having gone out, and would go out when retried: (kind, jobs)."""
    return _counter(row for row in rows if row.kind in edges and row.reason in UNDELIVERED)


def _held_plans(conn: Connection) -> tuple[int, list[dict[str, Any]]]:
    held = feed_run.c.state == "held"
    columns = (feed_run.c.id, feed_run.c.source, feed_run.c.input, feed_run.c.origin, feed_run.c.created_at)
    rows = conn.execute(select(*columns).where(held).order_by(feed_run.c.created_at.desc()).limit(NAMED)).all()
    count = conn.execute(select(func.count()).select_from(feed_run).where(held)).scalar_one() if rows else 0
    return count, [dict(row._mapping) for row in rows]  # noqa: SLF001 (SQLAlchemy's public way to read a row by names)


def _cases(conn: Connection) -> list[tuple[str, int]]:
    count = func.count().label("cases")
    rows = conn.execute(select(feed_case.c.source, count).where(feed_case.c.state == "open").group_by(feed_case.c.source))
    return sorted((row.source, row.cases) for row in rows)


def _paused(conn: Connection) -> list[dict[str, Any]]:
    columns = [webhook_endpoint.c[name] for name in ("name", "paused_at", "paused_by", "paused_why")]
    rows = conn.execute(select(*columns).where(webhook_endpoint.c.state == "paused").order_by(webhook_endpoint.c.name))
    return [dict(row._mapping) for row in rows]  # noqa: SLF001
