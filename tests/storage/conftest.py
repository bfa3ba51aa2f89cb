"""What tests of storages may ask for. A promise of the contract that is broken shows what was expected and what came."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sqlite.storage import SqliteStorage
from tests.large_runs import Store
from tests.postgres import Postgres
from tests.storage.opened_postgres import FOLD_EVERY_MS

pytest.register_assert_rewrite("collector.testing")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def either_storage(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An open store, one for all tests of a file: each writes into a project of its own."""
    if request.param == "sqlite":
        yield from _opened(SqliteStorage("memory:", FOLD_EVERY_MS))
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_database()
    yield from _opened(PostgresStorage(url, FOLD_EVERY_MS))
    server.drop_database(url)


def _opened(storage: Store) -> Iterator[Store]:
    storage.open()
    yield storage
    storage.close()
