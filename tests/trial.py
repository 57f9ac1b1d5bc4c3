"""Jobs made for tests: kinds of all three shapes that do what their payload says, and an office that knows them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from office import Office
from pydantic import SecretStr
from sqlalchemy import select, update

from worker.context import Context, Item
from worker.errand import Desk, Errand, Receipt
from worker.jobs import Kind, NameKind, Names, Payload, Policy, UserRef
from worker.outcomes import Reject, Retry, Snooze
from worker.runner import Runner
from worker.tables import event, job, line


class Ask(Payload):
    """What a trial job should do, and about whom."""

    user: UserRef | None = None
    external_id: str | None = None
    becomes: str | None = None
    adopts: bool = False
    do: str = "ok"
    text: str = ""
    gives: bool = False
    takes: bool = False
    secret: SecretStr | None = None
    extra: dict[str, Any] | None = None

    def names(self) -> Names:
        who = [] if self.external_id is None else [(NameKind.EXTERNAL_ID, self.external_id)]
        who += [] if self.user is None else [self.user.name]
        new = () if self.becomes is None else ((NameKind.USERNAME, self.becomes),)
        return Names(who=tuple(who), new=new, adopts=self.adopts)

    def gives_access(self) -> bool:
        return self.gives

    def overtakes(self) -> bool:
        return self.takes


Act = Callable[[Context, Ask], Mapping[str, Any] | None]
Carry = Callable[[Desk, Ask], Receipt]


def _retry(ctx: Context, ask: Ask) -> None:
    raise Retry(timedelta(minutes=5), why="not yet")


def _snooze(ctx: Context, ask: Ask) -> None:
    raise Snooze(ctx.now + timedelta(minutes=5), why="come back later")


def _reject(ctx: Context, ask: Ask) -> None:
    raise Reject("unknown_user", user=ask.user)


def _refuse(ctx: Context, ask: Ask) -> None:
    raise Reject("not_locked", user=ask.user)


def _fault(ctx: Context, ask: Ask) -> None:
    raise ZeroDivisionError(f"no way with {ask.text}")


def _follow(ctx: Context, ask: Ask) -> Mapping[str, Any]:
    ctx.follow("trial", {"user": str(ask.user), "text": f"{ask.text} next", **(ask.extra or {})})
    return {"changed": True}


@dataclass
class Trial:
    """The trial kinds of one office. `acts` may be changed by a test; each job that ran left an event `trial.done`."""

    acts: dict[str, Act] = field(default_factory=dict)
    carry: Carry = lambda desk, ask: Receipt("250 ok", desk.now)
    settled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.acts = {"retry": _retry, "snooze": _snooze, "reject": _reject, "refuse": _refuse, "fault": _fault,
                     "follow": _follow, **self.acts}

    def kinds(self) -> list[Kind]:
        policy = Policy(attempts=3, base=timedelta(minutes=1))
        mail = Policy(queue="mail", attempts=3, batch=20, life=timedelta(days=2))
        edge = Kind("trial_edge", "A trial that goes outside.", "edge", Ask, mail, self.gate)
        edge.accepted(self.accepted)
        return [
            Kind("trial", "A trial, one at a time.", "single", Ask, policy, self.single),
            Kind("trial_bulk", "A trial in batches.", "bulk", Ask, Policy(attempts=3, batch=500), self.bulk),
            edge,
        ]

    def act(self, ctx: Context, ask: Ask) -> Mapping[str, Any]:
        found = self.acts.get(ask.do)
        return (found(ctx, ask) if found else None) or {"changed": True}

    def single(self, ctx: Context, ask: Ask) -> Mapping[str, Any]:
        ctx.event("trial.done", None, None, text=ask.text)
        return self.act(ctx, ask)

    def bulk(self, ctx: Context, items: Sequence[Item[Ask]]) -> None:
        for item in items:
            try:
                result = self.act(ctx, item.ask)
            except Reject as refusal:
                item.reject(refusal.code, **refusal.facts)
            else:
                item.event("trial.done", None, None, text=item.ask.text)
                item.done(**result)

    def gate(self, ctx: Context, ask: Ask) -> Errand:
        self.act(ctx, ask)
        return _Carried(self, ask)

    def accepted(self, ctx: Context, ask: Ask, receipt: Receipt) -> None:
        ctx.event("trial.done", None, None, text=ask.text)
        self.act(ctx, Ask(user=ask.user, do=f"{ask.do} settled", text=ask.text))


@dataclass
class _Carried:
    trial: Trial
    ask: Ask

    def carry(self, desk: Desk) -> Receipt:
        return self.trial.carry(desk, self.ask)


class Bench(Office):
    """An office with the trial kinds, for one person called pat unless told otherwise."""

    def __init__(self, database_url: str, **settings: Any) -> None:
        self.trial = Trial()
        self.url = database_url
        super().__init__(database_url, kinds=self.trial.kinds(), **settings)

    def ask(self, text: str = "", kind: str = "trial", user: str | None = "pat", **fields: Any) -> str:
        """Submit a trial; returns its id. What the door understands (key, at, hold, …) goes to the door."""
        door = {name: fields.pop(name) for name in ("key", "source", "at", "hold", "urgent", "priority") if name in fields}
        about = {} if user is None else {"user": user}
        return self.submit(kind, {**about, **({"text": text} if text else {}), **fields}, **door)

    def step(self, kind: str = "trial", *, urgent: bool = False) -> int:
        """Let the worker do one batch."""
        runner = self.edge if kind == "trial_edge" else self.runner
        return runner.run(kind, urgent=urgent)

    def state(self, job_id: str) -> str:
        return self.ended(job_id).state

    def states(self, *job_ids: str) -> list[str]:
        return [self.state(job_id) for job_id in job_ids]

    def row(self, job_id: str) -> dict[str, Any]:
        [found] = self.rows("job", id=job_id)
        return found

    def done(self) -> list[str]:
        """The texts of the trials that took effect, in the order of their effects."""
        with self.app.database.read() as conn:
            statement = select(event.c.data).where(event.c.action == "trial.done").order_by(event.c.id)
            return [row.data["text"] for row in conn.execute(statement)]

    def tries(self, job_id: str) -> list[tuple[str, str]]:
        """Outcome and code of each try that did not succeed."""
        found = sorted(self.rows("attempt", job=job_id), key=lambda row: str(row["id"]))
        return [(row["outcome"], row["code"]) for row in found]

    def give_account(self, account: str, *job_ids: str) -> None:
        """The line of these jobs has an account from now on."""
        with self.scope() as scope:
            for job_id in job_ids:
                subject = scope.conn.execute(select(job.c.subject).where(job.c.id == job_id)).scalar_one()
                scope.conn.execute(update(line).values(account=account).where(line.c.subject == subject))

    def colleague(self) -> Runner:
        """Another worker on the same database, with kinds and clock of this office."""
        runner = self.app.runner()
        runner.worker_id = self.colleague_id()
        return runner

    def colleague_id(self) -> str:
        """The id of a worker on the list that is no process: dead as soon as somebody looks."""
        from worker import identity
        from worker.bulk import insert_rows
        from worker.ids import new_id
        from worker.tables import worker

        worker_id = new_id()
        row = {"id": worker_id, "host": identity.host(), "pid": 2**22 + 1, "born": "never", "started_at": self.now,
               "seen_at": self.now}
        with self.scope() as scope:
            insert_rows(scope.conn, worker, [row])
        return worker_id


class Crash(BaseException):
    """The process dies here: nothing catches it, and what was not committed is gone."""
