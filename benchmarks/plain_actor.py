"""The actor that one would write without Muster: one message a user, an idempotency key, the ORM, one commit each."""

import os
from datetime import UTC, datetime

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from sqlalchemy import DateTime, ForeignKey, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

dramatiq.set_broker(RedisBroker(url=os.environ["PLAIN_BROKER_URL"]))  # type: ignore[no-untyped-call]
engine = create_engine(os.environ["PLAIN_DATABASE_URL"], pool_size=8)


class Base(DeclarativeBase):
    """The tables of this one actor."""


class User(Base):
    """One account."""

    __tablename__ = "plain_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(150), unique=True)
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Handled(Base):
    """The keys of the messages already handled, so that one delivered twice creates nobody twice."""

    __tablename__ = "plain_handled"
    key: Mapped[str] = mapped_column(String(255), primary_key=True)


class Event(Base):
    """One line of an audit trail, as anybody would want it."""

    __tablename__ = "plain_event"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("plain_user.id"))
    action: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dramatiq.actor(max_retries=5)
def create_user(key: str, username: str, name: str, email: str) -> None:
    """Create the user once for this key, if there is none of that name, and note it in the audit trail."""
    with Session(engine) as session, session.begin():
        if session.get(Handled, key) is not None:
            return
        session.add(Handled(key=key))
        if session.scalar(select(User).where(User.username == username)) is not None:
            return
        user = User(username=username, name=name, email=email, created_at=datetime.now(UTC))
        session.add(user)
        session.flush()
        session.add(Event(user_id=user.id, action="user.created", at=datetime.now(UTC)))
