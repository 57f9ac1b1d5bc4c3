"""The first schema: the ledger and the directory."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

UUID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
MOMENT = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "alias",
        sa.Column("digest", sa.String(32), nullable=False, comment="HMAC of the kind of name and the folded name"),
        sa.Column("subject", UUID, nullable=False),
        sa.Column("job", UUID, comment="the unfinished job that would give this name to its subject"),
        sa.PrimaryKeyConstraint("digest", name="pk_alias"),
    )
    op.create_index("ix_alias_job", "alias", ["job"], postgresql_where=sa.text("job IS NOT NULL"), sqlite_where=sa.text("job IS NOT NULL"))
    op.create_index("ix_alias_subject", "alias", ["subject"])
    op.create_table(
        "attempt",
        sa.Column("id", UUID, nullable=False),
        sa.Column("job", UUID, nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False, comment="retry, fault, rejected, failed, crash, snooze"),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text(), comment="where it happened: file and line of each frame, never a value"),
        sa.Column("worker", UUID),
        sa.PrimaryKeyConstraint("id", name="pk_attempt"),
    )
    op.create_index("ix_attempt_job", "attempt", ["job"])
    op.create_table(
        "batch",
        sa.Column("id", UUID, nullable=False),
        sa.Column("worker", UUID, nullable=False),
        sa.Column("jobs", JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batch"),
    )
    op.create_index("ix_batch_worker", "batch", ["worker"])
    op.create_table(
        "event",
        sa.Column("id", UUID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", UUID, comment="the user or group that it happened to"),
        sa.Column("target_name", sa.String(255)),
        sa.Column("actor", sa.String(255)),
        sa.Column("on_behalf_of", sa.String(255)),
        sa.Column("why", sa.Text()),
        sa.Column("job", UUID),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("data", JSON),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint("job", "number", name="uq_event_job_number"),
    )
    op.create_index("ix_event_actor", "event", ["actor"])
    op.create_index("ix_event_on_behalf_of", "event", ["on_behalf_of"], postgresql_where=sa.text("on_behalf_of IS NOT NULL"), sqlite_where=sa.text("on_behalf_of IS NOT NULL"))
    op.create_index("ix_event_target_at", "event", ["target", "at"])
    op.create_table(
        "groups",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("name_folded", sa.String(300), nullable=False),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_groups"),
        sa.UniqueConstraint("name_folded", name="uq_groups_name_folded"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=True),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False, comment="the payload as JSON text"),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
    )
    op.create_table(
        "invitation",
        sa.Column("id", UUID, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_folded", sa.String(254), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("digest", sa.String(64)),
        sa.Column("nonce", sa.String(64)),
        sa.Column("invited_by", sa.String(255)),
        sa.Column("groups", JSON, nullable=False),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("job", UUID),
        sa.Column("state", sa.String(12), nullable=False, comment="open, used or revoked"),
        sa.Column("user_id", UUID),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("used_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_invitation"),
        sa.UniqueConstraint("digest", name="uq_invitation_digest"),
    )
    op.create_index("ix_invitation_email_folded", "invitation", ["email_folded"])
    op.create_index("ix_invitation_job", "invitation", ["job"])
    op.create_table(
        "job",
        sa.Column("id", UUID, nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("payload", JSON),
        sa.Column("sealed", JSON, comment="fields of the payload kept out of every listing; erased when the job ends"),
        sa.Column("fingerprint", sa.String(32), nullable=False),
        sa.Column("subject", UUID, comment="the line (person or group) that this job belongs to"),
        sa.Column("accepted", sa.BigInteger(), comment="place in the order of acceptance within the subject"),
        sa.Column("seq", sa.BigInteger(), comment="place in the line; null while the job stands in none"),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("rank", MOMENT, nullable=False, comment="run_at aged by the priority: the order of claiming"),
        sa.Column("run_at", MOMENT, nullable=False),
        sa.Column("gives_access", sa.Boolean(), nullable=False),
        sa.Column("overtakes", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("max_attempts", sa.SmallInteger(), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), nullable=False),
        sa.Column("lease", sa.String(36), comment="fencing token of the worker that carries an edge job outside"),
        sa.Column("lease_until", MOMENT),
        sa.Column("worker", UUID),
        sa.Column("deadline", MOMENT, comment="when an edge job is no longer worth doing"),
        sa.Column("frozen", JSON, comment="what an edge job must repeat unchanged: Message-ID, Date, recovery id"),
        sa.Column("result", JSON),
        sa.Column("reason", sa.String(64)),
        sa.Column("reason_text", sa.Text()),
        sa.Column("requested_by", sa.String(255)),
        sa.Column("on_behalf_of", sa.String(255)),
        sa.Column("why", sa.Text()),
        sa.Column("parent", UUID),
        sa.Column("pruned", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("source", "key", name="uq_job_source_key"),
    )
    op.create_index("ix_job_due", "job", ["kind", "urgent", "rank"], postgresql_where=sa.text("state = 'queued'"), sqlite_where=sa.text("state = 'queued'"))
    op.create_index("ix_job_lease", "job", ["lease_until"], postgresql_where=sa.text("lease_until IS NOT NULL"), sqlite_where=sa.text("lease_until IS NOT NULL"))
    op.create_index("ix_job_line", "job", ["subject", "seq"], postgresql_where=sa.text("state IN ('queued', 'waiting') AND seq IS NOT NULL"), sqlite_where=sa.text("state IN ('queued', 'waiting') AND seq IS NOT NULL"))
    op.create_index("ix_job_parent", "job", ["parent"], postgresql_where=sa.text("parent IS NOT NULL"), sqlite_where=sa.text("parent IS NOT NULL"))
    op.create_index("ix_job_prune", "job", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL AND NOT pruned"), sqlite_where=sa.text("finished_at IS NOT NULL AND NOT pruned"))
    op.create_index("ix_job_scheduled", "job", ["run_at"], postgresql_where=sa.text("state = 'scheduled'"), sqlite_where=sa.text("state = 'scheduled'"))
    op.create_index("ix_job_subject", "job", ["subject"])
    op.create_table(
        "line",
        sa.Column("subject", UUID, nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("account", UUID, comment="the user or group of this line, once there is one"),
        sa.Column("bar", sa.BigInteger(), comment="jobs accepted before this place may not give access any more"),
        sa.PrimaryKeyConstraint("subject", name="pk_line"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    op.create_table(
        "refusal",
        sa.Column("id", UUID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("kind", sa.String(64)),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("evidence", JSON, comment="the message without its secrets, or its size and digest"),
        sa.PrimaryKeyConstraint("id", name="pk_refusal"),
    )
    op.create_index("ix_refusal_at", "refusal", ["at"])
    op.create_table(
        "relay",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("state", JSON, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_relay"),
    )
    op.create_table(
        "tombstone",
        sa.Column("digest", sa.String(32), nullable=False, comment="HMAC of the kind of name and the folded name"),
        sa.Column("kind", sa.String(16), nullable=False, comment="username, external_id or id"),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False, comment="deleted or renamed"),
        sa.Column("hire_date", sa.Date()),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tombstone"),
    )
    op.create_index("ix_tombstone_user_id", "tombstone", ["user_id"])
    op.create_table(
        "users",
        sa.Column("id", UUID, nullable=False),
        sa.Column("username", sa.String(150), nullable=False),
        sa.Column("username_folded", sa.String(300), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("email_folded", sa.String(254)),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("attributes", JSON, nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("password_changed_at", MOMENT),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="credentials of an earlier epoch are dead"),
        sa.Column("version", sa.Integer(), nullable=False, comment="raised by every change; compared with expected_version"),
        sa.Column("manager", UUID),
        sa.Column("locale", sa.String(35)),
        sa.Column("zone", sa.String(64)),
        sa.Column("start_date", sa.Date()),
        sa.Column("end_date", sa.Date()),
        sa.Column("locked_at", MOMENT),
        sa.Column("lock_owner", sa.String(255)),
        sa.Column("lock_reason", sa.Text()),
        sa.Column("held_at", MOMENT, comment="legal hold: the person may not be deleted"),
        sa.Column("hold_owner", sa.String(255)),
        sa.Column("hold_reason", sa.Text()),
        sa.Column("delete_at", MOMENT, comment="when the scheduled deletion will run"),
        sa.Column("last_login_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("external_id", name="uq_users_external_id"),
        sa.UniqueConstraint("username_folded", name="uq_users_username_folded"),
    )
    op.create_index("ix_users_email_folded", "users", ["email_folded"])
    op.create_index("ix_users_manager", "users", ["manager"])
    op.create_table(
        "worker",
        sa.Column("id", UUID, nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("born", sa.String(64), nullable=False, comment="boot and start time of the process: a pid alone is reused"),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_worker"),
    )
    op.create_table(
        "consent",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("application", sa.String(255), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_consent"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_consent_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("user_id", "application", name="uq_consent_user_id_application"),
    )
    op.create_index("ix_consent_user_id", "consent", ["user_id"])
    op.create_table(
        "group_parent",
        sa.Column("child", UUID, nullable=False),
        sa.Column("parent", UUID, nullable=False),
        sa.PrimaryKeyConstraint("child", "parent", name="pk_group_parent"),
        sa.ForeignKeyConstraint(["child"], ["groups.id"], name="fk_group_parent_child", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent"], ["groups.id"], name="fk_group_parent_parent", ondelete="CASCADE"),
    )
    op.create_index("ix_group_parent_parent", "group_parent", ["parent"])
    op.create_table(
        "membership",
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("group_id", UUID, nullable=False),
        sa.Column("origin", sa.String(8), nullable=False, comment="rule, manual or feed: rules remove only what rules added"),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "group_id", name="pk_membership"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_membership_group_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_membership_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_membership_group_id", "membership", ["group_id"])
    op.create_table(
        "mfa_device",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("secret_ref", sa.String(255), comment="where the identity provider keeps the secret; never the secret"),
        sa.Column("confirmed_at", MOMENT),
        sa.Column("last_used_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_mfa_device"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_mfa_device_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_mfa_device_user_id", "mfa_device", ["user_id"])
    op.create_table(
        "permission",
        sa.Column("id", UUID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("object", sa.String(255), nullable=False, comment="empty means global"),
        sa.Column("user_id", UUID),
        sa.Column("group_id", UUID),
        sa.Column("granted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_permission"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name="fk_permission_group_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_permission_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("name", "object", "group_id", name="uq_permission_of_group"),
        sa.UniqueConstraint("name", "object", "user_id", name="uq_permission_of_user"),
    )
    op.create_index("ix_permission_group_id", "permission", ["group_id"])
    op.create_index("ix_permission_user_id", "permission", ["user_id"])
    op.create_table(
        "recovery",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("purpose", sa.String(16), nullable=False, comment="recovery or welcome"),
        sa.Column("digest", sa.String(64), nullable=False, comment="sha256 of the token; the token rests nowhere"),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("email_folded", sa.String(254)),
        sa.Column("requested_by", sa.String(255)),
        sa.Column("job", UUID),
        sa.Column("state", sa.String(12), nullable=False, comment="open, used, superseded or revoked"),
        sa.Column("used_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_recovery"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_recovery_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("digest", name="uq_recovery_digest"),
    )
    op.create_index("ix_recovery_job", "recovery", ["job"])
    op.create_index("ix_recovery_user_id", "recovery", ["user_id"])
    op.create_table(
        "refresh_token",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("application", sa.String(255), nullable=False),
        sa.Column("session_id", UUID),
        sa.PrimaryKeyConstraint("id", name="pk_refresh_token"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_refresh_token_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("digest", name="uq_refresh_token_digest"),
    )
    op.create_index("ix_refresh_token_user_id", "refresh_token", ["user_id"])
    op.create_table(
        "session",
        sa.Column("id", UUID, nullable=False),
        sa.Column("user_id", UUID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("ip", sa.String(64)),
        sa.Column("user_agent", sa.String(512)),
        sa.Column("last_used_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_session_user_id", ondelete="CASCADE"),
        sa.UniqueConstraint("digest", name="uq_session_digest"),
    )
    op.create_index("ix_session_user_id", "session", ["user_id"])
