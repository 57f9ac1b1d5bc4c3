"""The front doors: tokens and console sessions, limits, webhooks in and out, and what SCIM clients call things."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

UUID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
MOMENT = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Make the tables of the doors; of what was there, three more questions are answered without reading all of it."""
    op.create_index("ix_attempt_at", "attempt", ["at"], if_not_exists=True)
    held = sa.text("state = 'held'")
    op.create_index("ix_job_held", "job", ["kind"], if_not_exists=True, postgresql_where=held, sqlite_where=held)
    not_done = sa.text("state IN ('rejected', 'failed', 'cancelled')")
    op.create_index(
        "ix_job_not_done", "job", ["state", "kind", "reason", "finished_at"], if_not_exists=True, postgresql_where=not_done,
        sqlite_where=not_done,
    )
    op.create_table(
        "api_token",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", sa.String(64), nullable=False, comment="whoever holds it submits as token/NAME; never reused"),
        sa.Column("lookup", sa.String(16), nullable=False, comment="the open part of the token, to find its row by"),
        sa.Column("digest", sa.String(64), nullable=False, comment="sha256 of the token; the token rests nowhere"),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.Column("revoked_by", sa.String(255)),
        sa.Column("last_used_at", MOMENT, comment="to the minute"),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
        sa.UniqueConstraint("lookup", name="uq_api_token_lookup"),
        sa.UniqueConstraint("name", name="uq_api_token_name"),
    )
    op.create_table(
        "console_session",
        sa.Column("digest", sa.String(64), nullable=False, comment="sha256 of the cookie"),
        sa.Column("token", UUID, nullable=False, comment="the token that the person signed in with"),
        sa.Column("csrf", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_console_session"),
    )
    op.create_index("ix_console_session_expires_at", "console_session", ["expires_at"])
    op.create_index("ix_console_session_token", "console_session", ["token"])
    op.create_table(
        "scim_link",
        sa.Column("id", UUID, nullable=False),
        sa.Column("client", sa.String(255), nullable=False, comment="the source of the token: token/NAME"),
        sa.Column("user_id", UUID),
        sa.Column("group_id", UUID),
        sa.Column("external_id", sa.String(255), nullable=False, comment="what that client calls it (RFC 7643, 3.1)"),
        sa.PrimaryKeyConstraint("id", name="pk_scim_link"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_scim_link_group_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_scim_link_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("client", "group_id", name="uq_scim_link_of_group"),
        sa.UniqueConstraint("client", "user_id", name="uq_scim_link_of_user"),
    )
    op.create_index("ix_scim_link_external_id", "scim_link", ["client", "external_id"])
    op.create_index("ix_scim_link_group_id", "scim_link", ["group_id"])
    op.create_index("ix_scim_link_user_id", "scim_link", ["user_id"])
    op.create_table(
        "throttle",
        sa.Column("name", sa.String(64), nullable=False, comment="HMAC of what is limited, such as an address"),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_throttle"),
    )
    op.create_index("ix_throttle_began_at", "throttle", ["began_at"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", UUID, nullable=False),
        sa.Column("source", sa.String(64), nullable=False, comment="the feed it is for"),
        sa.Column("key", sa.String(255), nullable=False, comment="the sender's id of it, else the digest of its body"),
        sa.Column("digest", sa.String(64), nullable=False, comment="HMAC of the body: whether the same came again"),
        sa.Column("body", sa.LargeBinary(), comment="as it came; empty once its messages are stored, or it was refused a while ago"),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(8), nullable=False, comment="new, taken or refused"),
        sa.Column("messages", sa.Integer(), comment="how many statements about people it held"),
        sa.Column("problem", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
        sa.UniqueConstraint("source", "key", name="uq_webhook_delivery_source_key"),
    )
    op.create_index("ix_webhook_delivery_received_at", "webhook_delivery", ["received_at"])
    op.create_index("ix_webhook_delivery_state_id", "webhook_delivery", ["state", "id"])
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("patterns", JSON, nullable=False, comment="which events: user.*, sessions.revoked"),
        sa.Column("secret_number", sa.Integer(), nullable=False, comment="raised by rotation; the secret is derived from it, never stored"),
        sa.Column("rotated_at", MOMENT, comment="until a day after it deliveries are signed with the secret before, too"),
        sa.Column("private", sa.Boolean(), nullable=False, comment="whether it may lie at a private address"),
        sa.Column("state", sa.String(8), nullable=False, comment="active or paused"),
        sa.Column("failing_since", MOMENT, comment="the first failure after the last success"),
        sa.Column("paused_at", MOMENT),
        sa.Column("paused_by", sa.String(255)),
        sa.Column("paused_why", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoint"),
        sa.UniqueConstraint("name", name="uq_webhook_endpoint_name"),
    )
    op.create_table(
        "webhook_refusal",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False, comment="deliveries whose sender could not prove who it is"),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.Column("last_problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_webhook_refusal"),
    )
