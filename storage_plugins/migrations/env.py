"""Alembic's environment: runs the revisions on the connection it is handed."""

from __future__ import annotations

from alembic import context

from storage_plugins.migrations import is_ours
from storage_plugins.sql.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Base.metadata, include_name=is_ours, render_as_batch=True, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
