"""The tables of the feeds: what HR said of whom, the plans made of it, and what was decided."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import VARCHAR

from worker.tables import Id, Json, Moment, metadata

# Sorted by its bytes on both databases, so that a file sorted the same way can be walked along beside it.
ExternalId = String(255).with_variant(VARCHAR(255, collation="C"), "postgresql")

OPEN_MESSAGE = "state = 'new'"

feed_source = Table(
    "feed_source",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", BigInteger, nullable=False, comment="raised by every applied plan; a plan of another version is stale"),
    Column("rows", BigInteger, comment="records of the last full file that was applied"),
    Column("scanned_to", Moment, comment="due dates up to this instant have been planned"),
)

feed_run = Table(
    "feed_run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("source", String(64), nullable=False),
    Column("origin", String(16), nullable=False, comment="file, messages, scan or drift"),
    Column("input", String(255), comment="name of the file"),
    Column("state", String(12), nullable=False),
    Column("hash", String(64), index=True, comment="sha256 over the actions: the name of this very plan"),
    Column("base_version", BigInteger, comment="feed_source.version that the plan was computed on"),
    Column("reading", Json, comment="encoding, delimiter, digest, records: how the input was read"),
    Column("counts", Json, comment="how many of each action, and unchanged"),
    Column("brakes", Json, comment="the brakes that hold the plan"),
    Column("problem", Text, comment="why the whole input was refused"),
    Column("requested_by", String(255)),
    Column("approved_by", String(255)),
    Column("approved_reason", Text),
    Column("approved_until", Moment),
    Column("total", Integer, nullable=False, comment="number of actions"),
    Column("carried", Integer, nullable=False, comment="actions up to this number are jobs and accepted state"),
    Column("created_at", Moment, nullable=False),
    Column("applied_at", Moment, comment="the instant of decision: from here on all of it becomes jobs"),
    Column("finished_at", Moment),
    Index("ix_feed_run_source_created_at", "source", "created_at"),
)

feed_action = Table(
    "feed_action",
    metadata,
    Column("run", Id, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("external_id", ExternalId, comment="whom it is about"),
    Column("label", String(255), comment="the name of the person, for people who read the plan"),
    Column("place", BigInteger, comment="line of the file, or number of the record in it"),
    Column("action", String(16), nullable=False),
    Column("code", String(64), comment="why it was refused or needs a person"),
    Column("text", Text, comment="the same in words; or what is noteworthy"),
    Column("changes", Json, comment="field -> [before, after]"),
    Column("groups", Json, comment="{added: {group: rule}, removed: {group: rule}, kept: {group: until}}"),
    Column("jobs", Json, comment="the jobs it becomes: kind, payload, urgent"),
    Column("person", Json, comment="the accepted state it leads to: columns of feed_person"),
    Column("undo", Json, comment="the applied state before, put back when a job of it fails"),
    Column("raw", Text, comment="the record as it came, where it was refused"),
    Index("ix_feed_action_external_id", "external_id"),
)

feed_person = Table(
    "feed_person",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("external_id", ExternalId, primary_key=True),
    Column("account", String(255), nullable=False, index=True, comment="external id of the account in the directory"),
    Column("username", String(150), comment="the name reserved for this person"),
    Column("digest", String(32), comment="of the last accepted record; null: look at the next one whatever it says"),
    Column("fields", Json, nullable=False, comment="what the source says now, field by field"),
    Column("stamps", Json, nullable=False, comment="how new that is: {field or *: [effective, order]}"),
    Column("later", Json, nullable=False, comment="statements that take effect later: [[effective, order], {fields}]"),
    Column("applied", Json, comment="the desired state that was last turned into jobs; null: none"),
    Column("phase", String(8), nullable=False, comment="none, prehire, active, leave or left"),
    Column("absent_runs", SmallInteger, nullable=False, comment="full files in a row that did not hold this person"),
    Column("waiting_for", ExternalId, comment="external id of a manager who is not there yet"),
    Column("due_at", Moment, comment="when time alone changes what is desired"),
    Column("raw", Text, comment="the last accepted record as it came"),
    Column("run", Id, nullable=False, comment="the run that last changed this row"),
    Column("changed_at", Moment, nullable=False),
    Index("ix_feed_person_due", "due_at", postgresql_where=text("due_at IS NOT NULL"),
          sqlite_where=text("due_at IS NOT NULL")),
    Index("ix_feed_person_waiting", "source", "waiting_for", postgresql_where=text("waiting_for IS NOT NULL"),
          sqlite_where=text("waiting_for IS NOT NULL")),
)

feed_name = Table(
    "feed_name",
    metadata,
    Column("folded", String(300), primary_key=True, comment="a username reserved by a feed, in its compared form"),
    Column("username", String(150), nullable=False),
    Column("source", String(64), nullable=False),
    Column("external_id", ExternalId, nullable=False),
    Column("given", Boolean, nullable=False, comment="whether a plan with it was applied; then it is never freed"),
    Column("at", Moment, nullable=False),
    Index("ix_feed_name_owner", "source", "external_id"),
)

feed_message = Table(
    "feed_message",
    metadata,
    Column("id", Id, primary_key=True),
    Column("source", String(64), nullable=False),
    Column("key", String(255), nullable=False, comment="the message's own id, else the digest of its content"),
    Column("external_id", ExternalId),
    Column("raw", Text, comment="as it came; empty once the person was deleted"),
    Column("received_at", Moment, nullable=False),
    Column("state", String(8), nullable=False, comment="new, taken or refused"),
    Column("run", Id),
    UniqueConstraint("source", "key"),
    Index("ix_feed_message_new", "source", "id", postgresql_where=text(OPEN_MESSAGE), sqlite_where=text(OPEN_MESSAGE)),
    Index("ix_feed_message_owner", "source", "external_id"),
)

feed_case = Table(
    "feed_case",
    metadata,
    Column("id", Id, primary_key=True),
    Column("source", String(64), nullable=False),
    Column("external_id", ExternalId, nullable=False),
    Column("label", String(255)),
    Column("code", String(64), nullable=False, comment="ambiguous_match, owned_by_another, disabled_by_hand"),
    Column("text", Text, nullable=False),
    Column("candidates", Json, nullable=False, comment="accounts that it might be: [{id, username, external_id, name, by}]"),
    Column("state", String(8), nullable=False, comment="open, link, new, enable or ignore"),
    Column("account", String(255), comment="the account's id, when linked"),
    Column("decided_by", String(255)),
    Column("reason", Text),
    Column("created_at", Moment, nullable=False),
    Column("decided_at", Moment),
    UniqueConstraint("source", "external_id"),
)
