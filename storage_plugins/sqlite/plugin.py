"""The entry point of the SQLite storage."""

from __future__ import annotations

from collector.hookspecs import hookimpl
from collector.settings import Settings
from collector.storage import Storage
from storage_plugins.sqlite.storage import storage_for


@hookimpl
def make_storage(settings: Settings) -> Storage | None:
    """Answer for `sqlite:` addresses and `memory:`."""
    return storage_for(settings)
