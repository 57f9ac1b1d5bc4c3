"""Tell a manager by mail that somebody joins, leaves or moves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AwareDatetime, Field

from worker import Context, Letter, Mail, Payload, Receipt, UserRef, edge_job, recoveries, users

# News about a team is stale after a week; until then the relay may take its time.
ATTEMPTS, BASE, CAP, LIFE = 60, timedelta(seconds=30), timedelta(hours=6), timedelta(days=7)


class SendManagerNotice(Payload):
    user: UserRef = Field(description="Whom it is about; the mail goes to their manager", examples=["ann"])
    change: Literal["joins", "leaves", "moves"] = Field(description="What happens", examples=["leaves"])
    effective_at: AwareDatetime = Field(description="From when on", examples=["2026-03-31T17:00:00+00:00"])
    details: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = Field(
        (), max_length=50, description="What was done, or will be, a line each", examples=[["All sessions were ended"]]
    )

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"user": "ann", "change": "joins", "effective_at": "2026-03-02T09:00:00+00:00"},
        {
            "user": "ann",
            "change": "leaves",
            "effective_at": "2026-03-31T17:00:00+00:00",
            "details": ["All sessions were ended"],
        },
    )


class ManagerNoticeMail(Mail):
    manager_name: str
    person_name: str
    person_username: str
    change: str
    effective_at: datetime
    details: tuple[str, ...] = ()

    @classmethod
    def sample(cls) -> Self:
        at = datetime(2026, 3, 31, 17, 0, tzinfo=UTC)
        return cls(
            manager_name="Bob Baker", person_name="Ann Archer", person_username="ann", change="leaves",
            effective_at=at, details=("All sessions were ended",),
        )  # fmt: skip


@edge_job(attempts=ATTEMPTS, base=BASE, cap=CAP, life=LIFE)
def send_manager_notice(ctx: Context, ask: SendManagerNotice) -> Letter:
    """Send it to whoever is the manager at this moment, if there is one who can be reached."""
    user = users.get(ctx, ask.user, lock=False)
    manager = recoveries.manager_of(ctx, user)
    mail = ManagerNoticeMail(
        manager_name=manager.name or manager.username,
        person_name=user.name or user.username,
        person_username=user.username,
        change=ask.change,
        effective_at=ask.effective_at,
        details=ask.details,
    )
    ctx.freeze(manager=manager.id)
    return Letter("send_manager_notice", manager.email or "", manager.name, mail, **recoveries.language(ctx, manager))


@send_manager_notice.accepted
def settled(ctx: Context, ask: SendManagerNotice, receipt: Receipt) -> None:
    user = users.get(ctx, ask.user, lock=False)
    manager = ctx.task.frozen["manager"]
    ctx.event(users.Action.MANAGER_NOTICE_SENT, user.id, user.username, change=ask.change, manager=manager)
