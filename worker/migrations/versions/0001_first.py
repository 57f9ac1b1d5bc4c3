"""The first schema: the ledger and the directory."""

from alembic import op

from worker.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    metadata.create_all(op.get_bind())
