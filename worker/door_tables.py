"""The tables of the front doors: who may come in, whom we tell what happened, and what came in by webhook."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from worker.tables import Id, Json, Moment, metadata

api_token = Table(
    "api_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True, comment="whoever holds it submits as token/NAME; never reused"),
    Column("lookup", String(16), nullable=False, unique=True, comment="the open part of the token, to find its row by"),
    Column("digest", String(64), nullable=False, comment="sha256 of the token; the token rests nowhere"),
    Column("scopes", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("revoked_by", String(255)),
    Column("last_used_at", Moment, comment="to the minute"),
)

console_session = Table(
    "console_session",
    metadata,
    Column("digest", String(64), primary_key=True, comment="sha256 of the cookie"),
    Column("token", Id, nullable=False, index=True, comment="the token that the person signed in with"),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
)

throttle = Table(
    "throttle",
    metadata,
    Column("name", String(64), primary_key=True, comment="HMAC of what is limited, such as an address"),
    Column("began_at", Moment, nullable=False, index=True),
    Column("count", Integer, nullable=False),
)

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("patterns", Json, nullable=False, comment="which events: user.*, sessions.revoked"),
    Column("secret_number", Integer, nullable=False, comment="raised by rotation; the secret is derived from it, never stored"),
    Column("rotated_at", Moment, comment="until a day after it deliveries are signed with the secret before, too"),
    Column("private", Boolean, nullable=False, comment="whether it may lie at a private address"),
    Column("state", String(8), nullable=False, comment="active or paused"),
    Column("failing_since", Moment, comment="the first failure after the last success"),
    Column("paused_at", Moment),
    Column("paused_by", String(255)),
    Column("paused_why", Text),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(255), nullable=False),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", Id, primary_key=True),
    Column("source", String(64), nullable=False, comment="the feed it is for"),
    Column("key", String(255), nullable=False, comment="the sender's id of it, else the digest of its body"),
    Column("digest", String(64), nullable=False, comment="HMAC of the body: whether the same came again"),
    Column("body", LargeBinary, comment="as it came; empty once its messages are stored, or it was refused a while ago"),
    Column("received_at", Moment, nullable=False, index=True),
    Column("state", String(8), nullable=False, comment="new, taken or refused"),
    Column("messages", Integer, comment="how many statements about people it held"),
    Column("problem", Text),
    UniqueConstraint("source", "key"),
    Index("ix_webhook_delivery_state_id", "state", "id"),
)

webhook_refusal = Table(
    "webhook_refusal",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False, comment="deliveries whose sender could not prove who it is"),
    Column("last_at", Moment, nullable=False),
    Column("last_problem", Text, nullable=False),
)

scim_link = Table(
    "scim_link",
    metadata,
    Column("id", Id, primary_key=True),
    Column("client", String(255), nullable=False, comment="the source of the token: token/NAME"),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("group_id", Id, ForeignKey("groups.id", ondelete="CASCADE"), index=True),
    Column("external_id", String(255), nullable=False, comment="what that client calls it (RFC 7643, 3.1)"),
    # Two, since no two NULLs are equal: it is about a user or a group, and the other column is empty.
    UniqueConstraint("client", "user_id", name="uq_scim_link_of_user"),
    UniqueConstraint("client", "group_id", name="uq_scim_link_of_group"),
    Index("ix_scim_link_external_id", "client", "external_id"),
)
