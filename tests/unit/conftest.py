"""What several unit tests ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage_plugins.sqlite.storage import SqliteStorage


@pytest.fixture
def storage() -> Iterator[SqliteStorage]:
    """An open store in memory."""
    storage = SqliteStorage("memory:", 5)
    storage.open()
    yield storage
    storage.close()
