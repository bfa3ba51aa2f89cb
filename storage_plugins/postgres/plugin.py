"""The entry point of the Postgres storage."""

from __future__ import annotations

from collector.hookspecs import hookimpl
from collector.settings import Settings
from collector.storage import Storage

ADDRESSES = ("postgresql:", "postgresql+psycopg:", "postgres:")


@hookimpl
def make_storage(settings: Settings) -> Storage | None:
    """Answer for `postgresql:` and `postgres:` addresses."""
    url = settings.storage_url()
    if not url.startswith(ADDRESSES):
        return None
    from storage_plugins.postgres.storage import PostgresStorage  # the driver takes its time to import, and who has no Postgres need not wait

    return PostgresStorage(url, settings.fold_every_ms, settings.retention_days)
