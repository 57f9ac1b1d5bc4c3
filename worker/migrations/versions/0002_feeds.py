"""What the feeds remember: people as HR tells of them, plans, messages, reserved names and open cases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

UUID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
MOMENT = sa.String(32).with_variant(sa.DateTime(timezone=True), "postgresql")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
# Sorted by its bytes on both databases.
EXTERNAL_ID = sa.String(255).with_variant(postgresql.VARCHAR(255, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables of the feeds; nothing that was there changes."""
    op.create_table(
        "feed_action",
        sa.Column("run", UUID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("external_id", EXTERNAL_ID, comment="whom it is about"),
        sa.Column("label", sa.String(255), comment="the name of the person, for people who read the plan"),
        sa.Column("place", sa.BigInteger(), comment="line of the file, or number of the record in it"),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64), comment="why it was refused or needs a person"),
        sa.Column("text", sa.Text(), comment="the same in words; or what is noteworthy"),
        sa.Column("changes", JSON, comment="field -> [before, after]"),
        sa.Column("groups", JSON, comment="{added: {group: rule}, removed: {group: rule}, kept: {group: until}}"),
        sa.Column("jobs", JSON, comment="the jobs it becomes: kind, payload, urgent"),
        sa.Column("person", JSON, comment="the accepted state it leads to: columns of feed_person"),
        sa.Column("undo", JSON, comment="the applied state before, put back when a job of it fails"),
        sa.Column("raw", sa.Text(), comment="the record as it came, where it was refused"),
        sa.PrimaryKeyConstraint("run", "number", name="pk_feed_action"),
    )
    op.create_index("ix_feed_action_external_id", "feed_action", ["external_id"])
    op.create_table(
        "feed_case",
        sa.Column("id", UUID, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("external_id", EXTERNAL_ID, nullable=False),
        sa.Column("label", sa.String(255)),
        sa.Column("code", sa.String(64), nullable=False, comment="ambiguous_match, owned_by_another, disabled_by_hand"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("candidates", JSON, nullable=False, comment="accounts that it might be: [{id, username, external_id, name, by}]"),
        sa.Column("state", sa.String(8), nullable=False, comment="open, link, new, enable or ignore"),
        sa.Column("account", sa.String(255), comment="the account's id, when linked"),
        sa.Column("decided_by", sa.String(255)),
        sa.Column("reason", sa.Text()),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("decided_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_feed_case"),
        sa.UniqueConstraint("source", "external_id", name="uq_feed_case_source_external_id"),
    )
    op.create_table(
        "feed_message",
        sa.Column("id", UUID, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False, comment="the message's own id, else the digest of its content"),
        sa.Column("external_id", EXTERNAL_ID),
        sa.Column("raw", sa.Text(), comment="as it came; empty once the person was deleted"),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(8), nullable=False, comment="new, taken or refused"),
        sa.Column("run", UUID),
        sa.PrimaryKeyConstraint("id", name="pk_feed_message"),
        sa.UniqueConstraint("source", "key", name="uq_feed_message_source_key"),
    )
    op.create_index("ix_feed_message_new", "feed_message", ["source", "id"],
                    postgresql_where=sa.text("state = 'new'"), sqlite_where=sa.text("state = 'new'"))
    op.create_index("ix_feed_message_owner", "feed_message", ["source", "external_id"])
    op.create_table(
        "feed_name",
        sa.Column("folded", sa.String(300), nullable=False, comment="a username reserved by a feed, in its compared form"),
        sa.Column("username", sa.String(150), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("external_id", EXTERNAL_ID, nullable=False),
        sa.Column("given", sa.Boolean(), nullable=False, comment="whether a plan with it was applied; then it is never freed"),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("folded", name="pk_feed_name"),
    )
    op.create_index("ix_feed_name_owner", "feed_name", ["source", "external_id"])
    op.create_table(
        "feed_person",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("external_id", EXTERNAL_ID, nullable=False),
        sa.Column("account", sa.String(255), nullable=False, comment="external id of the account in the directory"),
        sa.Column("username", sa.String(150), comment="the name reserved for this person"),
        sa.Column("digest", sa.String(32), comment="of the last accepted record; null: look at the next one whatever it says"),
        sa.Column("fields", JSON, nullable=False, comment="what the source says now, field by field"),
        sa.Column("stamps", JSON, nullable=False, comment="how new that is: {field or *: [effective, order]}"),
        sa.Column("later", JSON, nullable=False, comment="statements that take effect later: [[effective, order], {fields}]"),
        sa.Column("applied", JSON, comment="the desired state that was last turned into jobs; null: none"),
        sa.Column("phase", sa.String(8), nullable=False, comment="none, prehire, active, leave or left"),
        sa.Column("absent_runs", sa.SmallInteger(), nullable=False, comment="full files in a row that did not hold this person"),
        sa.Column("waiting_for", EXTERNAL_ID, comment="external id of a manager who is not there yet"),
        sa.Column("due_at", MOMENT, comment="when time alone changes what is desired"),
        sa.Column("raw", sa.Text(), comment="the last accepted record as it came"),
        sa.Column("run", UUID, nullable=False, comment="the run that last changed this row"),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("source", "external_id", name="pk_feed_person"),
    )
    op.create_index("ix_feed_person_account", "feed_person", ["account"])
    op.create_index("ix_feed_person_due", "feed_person", ["due_at"],
                    postgresql_where=sa.text("due_at IS NOT NULL"), sqlite_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_feed_person_waiting", "feed_person", ["source", "waiting_for"],
                    postgresql_where=sa.text("waiting_for IS NOT NULL"), sqlite_where=sa.text("waiting_for IS NOT NULL"))
    op.create_table(
        "feed_run",
        sa.Column("id", UUID, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False, comment="file, messages, scan or drift"),
        sa.Column("input", sa.String(255), comment="name of the file"),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("hash", sa.String(64), comment="sha256 over the actions: the name of this very plan"),
        sa.Column("base_version", sa.BigInteger(), comment="feed_source.version that the plan was computed on"),
        sa.Column("reading", JSON, comment="encoding, delimiter, digest, records: how the input was read"),
        sa.Column("counts", JSON, comment="how many of each action, and unchanged"),
        sa.Column("brakes", JSON, comment="the brakes that hold the plan"),
        sa.Column("problem", sa.Text(), comment="why the whole input was refused"),
        sa.Column("requested_by", sa.String(255)),
        sa.Column("approved_by", sa.String(255)),
        sa.Column("approved_reason", sa.Text()),
        sa.Column("approved_until", MOMENT),
        sa.Column("total", sa.Integer(), nullable=False, comment="number of actions"),
        sa.Column("carried", sa.Integer(), nullable=False, comment="actions up to this number are jobs and accepted state"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("applied_at", MOMENT, comment="the instant of decision: from here on all of it becomes jobs"),
        sa.Column("finished_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_feed_run"),
    )
    op.create_index("ix_feed_run_hash", "feed_run", ["hash"])
    op.create_index("ix_feed_run_source_created_at", "feed_run", ["source", "created_at"])
    op.create_table(
        "feed_source",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False, comment="raised by every applied plan; a plan of another version is stale"),
        sa.Column("rows", sa.BigInteger(), comment="records of the last full file that was applied"),
        sa.Column("scanned_to", MOMENT, comment="due dates up to this instant have been planned"),
        sa.PrimaryKeyConstraint("name", name="pk_feed_source"),
    )
