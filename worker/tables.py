"""Every table of Muster, once: the ledger of jobs, and the directory of people, groups and access."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Id(TypeDecorator[str]):
    """A UUID held as text in Python: 16 bytes on PostgreSQL, 36 characters on SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the database's own UUID type where there is one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(UUID(as_uuid=False))
        return dialect.type_descriptor(String(36))


class Moment(TypeDecorator[datetime]):
    """An instant, always aware and in UTC; on SQLite text of fixed width that sorts as time does."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose TIMESTAMPTZ on PostgreSQL and text on SQLite."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(32))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a time without a zone: it could mean any of 38 instants."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value!r}")
        return value if dialect.name == "postgresql" else moment_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Give back an aware time in UTC."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return value.astimezone(UTC)  # type: ignore[no-any-return]


def moment_text(value: datetime) -> str:
    """Return `value` in UTC as the fixed-width text that SQLite stores and sorts."""
    return value.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

UNFINISHED = "finished_at IS NULL"
IN_LINE = "state IN ('queued', 'waiting') AND seq IS NOT NULL"
NOT_DONE = "state IN ('rejected', 'failed', 'cancelled')"

# ---------------------------------------------------------------------------------------------- the ledger

job = Table(
    "job",
    metadata,
    Column("id", Id, primary_key=True),
    Column("source", String(255), nullable=False),
    Column("key", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("version", SmallInteger, nullable=False),
    Column("payload", Json),
    Column("sealed", Json, comment="fields of the payload kept out of every listing; erased when the job ends"),
    Column("fingerprint", String(32), nullable=False),
    Column("subject", Id, comment="the line (person or group) that this job belongs to"),
    Column("accepted", BigInteger, comment="place in the order of acceptance within the subject"),
    Column("seq", BigInteger, comment="place in the line; null while the job stands in none"),
    Column("state", String(12), nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("rank", Moment, nullable=False, comment="run_at aged by the priority: the order of claiming"),
    Column("run_at", Moment, nullable=False),
    Column("gives_access", Boolean, nullable=False),
    Column("overtakes", Boolean, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("max_attempts", SmallInteger, nullable=False),
    Column("crashes", SmallInteger, nullable=False),
    Column("lease", String(36), comment="fencing token of the worker that carries an edge job outside"),
    Column("lease_until", Moment),
    Column("worker", Id),
    Column("deadline", Moment, comment="when an edge job is no longer worth doing"),
    Column("frozen", Json, comment="what an edge job must repeat unchanged: Message-ID, Date, recovery id"),
    Column("result", Json),
    Column("reason", String(64)),
    Column("reason_text", Text),
    Column("requested_by", String(255)),
    Column("on_behalf_of", String(255)),
    Column("why", Text),
    Column("parent", Id),
    Column("pruned", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    UniqueConstraint("source", "key"),
    Index("ix_job_due", "kind", "urgent", "rank", postgresql_where=text("state = 'queued'"),
          sqlite_where=text("state = 'queued'")),
    Index("ix_job_line", "subject", "seq", postgresql_where=text(IN_LINE), sqlite_where=text(IN_LINE)),
    Index("ix_job_subject", "subject"),
    Index("ix_job_scheduled", "run_at", postgresql_where=text("state = 'scheduled'"),
          sqlite_where=text("state = 'scheduled'")),
    Index("ix_job_lease", "lease_until", postgresql_where=text("lease_until IS NOT NULL"),
          sqlite_where=text("lease_until IS NOT NULL")),
    Index("ix_job_parent", "parent", postgresql_where=text("parent IS NOT NULL"),
          sqlite_where=text("parent IS NOT NULL")),
    Index("ix_job_prune", "finished_at", postgresql_where=text("finished_at IS NOT NULL AND NOT pruned"),
          sqlite_where=text("finished_at IS NOT NULL AND NOT pruned")),
    # Held jobs wait for a person, so they are few and asked for often.
    Index("ix_job_held", "kind", postgresql_where=text("state = 'held'"), sqlite_where=text("state = 'held'")),
    # What did not go well is asked for first, and found however many did.
    Index("ix_job_not_done", "state", "kind", "reason", "finished_at", postgresql_where=text(NOT_DONE),
          sqlite_where=text(NOT_DONE)),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", Id, primary_key=True),
    Column("job", Id, nullable=False, index=True),
    Column("number", SmallInteger, nullable=False),
    Column("at", Moment, nullable=False, index=True),
    Column("outcome", String(16), nullable=False, comment="retry, fault, rejected, failed, crash, snooze"),
    Column("code", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("trace", Text, comment="where it happened: file and line of each frame, never a value"),
    Column("worker", Id),
)

line = Table(
    "line",
    metadata,
    Column("subject", Id, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("account", Id, comment="the user or group of this line, once there is one"),
    Column("bar", BigInteger, comment="jobs accepted before this place may not give access any more"),
)

alias = Table(
    "alias",
    metadata,
    Column("digest", String(32), primary_key=True, comment="HMAC of the kind of name and the folded name"),
    Column("subject", Id, nullable=False, index=True),
    Column("job", Id, comment="the unfinished job that would give this name to its subject"),
    Index("ix_alias_job", "job", postgresql_where=text("job IS NOT NULL"), sqlite_where=text("job IS NOT NULL")),
)

batch = Table(
    "batch",
    metadata,
    Column("id", Id, primary_key=True),
    Column("worker", Id, nullable=False, index=True),
    Column("jobs", Json, nullable=False),
    Column("at", Moment, nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("born", String(64), nullable=False, comment="boot and start time of the process: a pid alone is reused"),
    Column("started_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("source", String(255), nullable=False),
    Column("key", String(255)),
    Column("kind", String(64), nullable=False),
    Column("payload", Text, nullable=False, comment="the payload as JSON text"),
)

refusal = Table(
    "refusal",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Moment, nullable=False, index=True),
    Column("source", String(255), nullable=False),
    Column("key", String(255)),
    Column("kind", String(64)),
    Column("reason", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("evidence", Json, comment="the message without its secrets, or its size and digest"),
)

relay = Table(
    "relay",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("state", Json, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# -------------------------------------------------------------------------------------------- the directory

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("username", String(150), nullable=False),
    Column("username_folded", String(300), nullable=False, unique=True),
    Column("external_id", String(255), unique=True),
    Column("path", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("email", String(254)),
    Column("email_folded", String(254), index=True),
    Column("type", String(32), nullable=False),
    Column("attributes", Json, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("password_changed_at", Moment),
    Column("epoch", Integer, nullable=False, comment="credentials of an earlier epoch are dead"),
    Column("version", Integer, nullable=False, comment="raised by every change; compared with expected_version"),
    Column("manager", Id, index=True),
    Column("locale", String(35)),
    Column("zone", String(64)),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("locked_at", Moment),
    Column("lock_owner", String(255)),
    Column("lock_reason", Text),
    Column("held_at", Moment, comment="legal hold: the person may not be deleted"),
    Column("hold_owner", String(255)),
    Column("hold_reason", Text),
    Column("delete_at", Moment, comment="when the scheduled deletion will run"),
    Column("last_login_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("name_folded", String(300), nullable=False, unique=True),
    Column("attributes", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

group_parent = Table(
    "group_parent",
    metadata,
    Column("child", Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("parent", Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
)

membership = Table(
    "membership",
    metadata,
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("origin", String(8), nullable=False, comment="rule, manual or feed: rules remove only what rules added"),
    Column("added_at", Moment, nullable=False),
)

permission = Table(
    "permission",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("object", String(255), nullable=False, comment="empty means global"),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), index=True),
    Column("granted_at", Moment, nullable=False),
    # Two, since no two NULLs are equal: a holder is a user or a group, and the other column is empty.
    UniqueConstraint("name", "object", "user_id", name="uq_permission_of_user"),
    UniqueConstraint("name", "object", "group_id", name="uq_permission_of_group"),
)


def _credential(name: str, *columns: Column[Any] | UniqueConstraint) -> Table:
    """Return the table of one kind of credential: whose it is, the epoch it was issued under, and its own columns."""
    return Table(
        name,
        metadata,
        Column("id", Id, primary_key=True),
        Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
        Column("epoch", Integer, nullable=False),
        Column("created_at", Moment, nullable=False),
        Column("expires_at", Moment),
        *columns,
    )


session = _credential(
    "session",
    Column("digest", String(64), nullable=False, unique=True),
    Column("ip", String(64)),
    Column("user_agent", String(512)),
    Column("last_used_at", Moment),
)
refresh_token = _credential(
    "refresh_token",
    Column("digest", String(64), nullable=False, unique=True),
    Column("application", String(255), nullable=False),
    Column("session_id", Id),
)
consent = _credential(
    "consent",
    Column("application", String(255), nullable=False),
    Column("scopes", Json, nullable=False),
    UniqueConstraint("user_id", "application", name="uq_consent_user_id_application"),
)
mfa_device = _credential(
    "mfa_device",
    Column("type", String(32), nullable=False),
    Column("name", String(255), nullable=False),
    Column("secret_ref", String(255), comment="where the identity provider keeps the secret; never the secret"),
    Column("confirmed_at", Moment),
    Column("last_used_at", Moment),
)
recovery = _credential(
    "recovery",
    Column("purpose", String(16), nullable=False, comment="recovery or welcome"),
    Column("digest", String(64), nullable=False, unique=True, comment="sha256 of the token; the token rests nowhere"),
    Column("nonce", String(64), nullable=False),
    Column("email_folded", String(254)),
    Column("requested_by", String(255)),
    Column("job", Id, index=True),
    Column("state", String(12), nullable=False, comment="open, used, superseded or revoked"),
    Column("used_at", Moment),
)

invitation = Table(
    "invitation",
    metadata,
    Column("id", Id, primary_key=True),
    Column("email", String(254), nullable=False),
    Column("email_folded", String(254), nullable=False, index=True),
    Column("name", String(255)),
    Column("digest", String(64), unique=True),
    Column("nonce", String(64)),
    Column("invited_by", String(255)),
    Column("groups", Json, nullable=False),
    Column("path", String(255), nullable=False),
    Column("job", Id, index=True),
    Column("state", String(12), nullable=False, comment="open, used or revoked"),
    Column("user_id", Id),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("used_at", Moment),
)

event = Table(
    "event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Id, comment="the user or group that it happened to"),
    Column("target_name", String(255)),
    Column("actor", String(255)),
    Column("on_behalf_of", String(255)),
    Column("why", Text),
    Column("job", Id),
    Column("number", SmallInteger, nullable=False),
    Column("data", Json),
    UniqueConstraint("job", "number"),
    Index("ix_event_target_at", "target", "at"),
    # A deletion replaces the person's username wherever it stands as an actor.
    Index("ix_event_actor", "actor"),
    Index("ix_event_on_behalf_of", "on_behalf_of", postgresql_where=text("on_behalf_of IS NOT NULL"),
          sqlite_where=text("on_behalf_of IS NOT NULL")),
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("digest", String(32), primary_key=True, comment="HMAC of the kind of name and the folded name"),
    Column("kind", String(16), nullable=False, comment="username, external_id or id"),
    Column("user_id", Id, nullable=False, index=True),
    Column("reason", String(16), nullable=False, comment="deleted or renamed"),
    Column("hire_date", Date),
    Column("at", Moment, nullable=False),
)
