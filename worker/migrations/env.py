"""Runs the migrations on the connection that `worker.migrate` hands over."""

from alembic import context

from worker.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
