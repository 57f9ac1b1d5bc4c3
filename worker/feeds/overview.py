"""How each feed stands: its people, its last run, and everything about it that waits for somebody."""

from typing import Any

from sqlalchemy import Connection, func, select

from worker.door_tables import webhook_delivery, webhook_refusal
from worker.feed_tables import feed_case, feed_message, feed_run
from worker.feeds import persons, runs
from worker.feeds.declaration import Feed
from worker.feeds.runs import Run

# Held plans named one by one; who has more than this looks at the list of runs.
HELD_SHOWN = 20


def overview(conn: Connection, feed: Feed) -> dict[str, Any]:
    """Return what doors show of one feed."""
    mine = feed_run.c.source == feed.name
    last = runs.latest(conn, mine, limit=1)
    held = runs.latest(conn, mine, feed_run.c.state == runs.HELD, limit=HELD_SHOWN)
    return {
        "name": feed.name, "form": feed.form, "mode": feed.mode, "people": persons.present(conn, feed.name),
        "last_run": _short(last[0]) if last else None, "held": [_short(run) for run in held],
        "open_cases": _count(conn, select(feed_case).where(feed_case.c.source == feed.name, feed_case.c.state == "open")),
        "messages_waiting": _count(
            conn, select(feed_message).where(feed_message.c.source == feed.name, feed_message.c.state == "new")
        ),
        "webhook": None if feed.webhook is None else _webhook(conn, feed.name, feed.webhook.profile),
    }  # fmt: skip


def _short(run: Run) -> dict[str, Any]:
    names = ("id", "plan", "origin", "input", "state", "counts", "problem", "created_at")
    whole = run.as_json()
    return {name: whole[name] for name in names}


def _webhook(conn: Connection, source: str, profile: str) -> dict[str, Any]:
    """How the deliveries stand: `refused` are those kept for whoever corrects the declaration."""
    table = webhook_delivery.c
    mine = table.source == source
    kept = select(webhook_delivery).where(mine, table.state == "refused", table.body.is_not(None))
    last = conn.execute(
        select(table.received_at, table.problem).where(mine, table.state == "refused").order_by(table.id.desc()).limit(1)
    ).first()
    unproven = conn.execute(select(webhook_refusal).where(webhook_refusal.c.source == source)).first()
    return {
        "profile": profile,
        "waiting": _count(conn, select(webhook_delivery).where(mine, table.state == "new")),
        "refused": _count(conn, kept),
        "last_refused": None if last is None else {"at": last.received_at, "problem": last.problem},
        "unproven": 0 if unproven is None else unproven.count,
        "last_unproven": None if unproven is None else {"at": unproven.last_at, "problem": unproven.last_problem},
    }  # fmt: skip


def _count(conn: Connection, rows: Any) -> int:
    return int(conn.execute(select(func.count()).select_from(rows.subquery())).scalar_one())
