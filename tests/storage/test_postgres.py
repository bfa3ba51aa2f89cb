"""Postgres keeps every promise, in each version there is on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from collector.storage import Storage
from collector.testing import RetentionContract, StorageContract
from storage_plugins.postgres.storage import PostgresStorage
from tests.postgres import Install, Postgres, binaries
from tests.storage.empty_stores import EmptyStores

FOLD_EVERY_MS = 5


@pytest.fixture(scope="module", params=binaries(), ids=str)
def stores(request: pytest.FixtureRequest, postgres_of: Callable[[Install], Postgres]) -> Iterator[EmptyStores]:
    """Databases of one install after the other."""
    stores = EmptyStores(postgres_of(request.param))
    yield stores
    for url in stores.free:
        stores.server.drop_database(url)


# R079 R083 R156 R194
class TestPostgres(StorageContract, RetentionContract):
    """A database of its own for each storage."""

    @pytest.fixture(autouse=True)
    def _stores(self, stores: EmptyStores) -> Iterator[None]:
        self.stores = stores
        yield
        stores.empty()

    def make_storage(self) -> Storage:
        """Make one in an empty database."""
        return PostgresStorage(self.stores.take(), FOLD_EVERY_MS)

    def make_storage_keeping(self, days: int) -> Storage:
        """Make one that deletes what is older."""
        return PostgresStorage(self.stores.take(), FOLD_EVERY_MS, days)

    def reopen(self, storage: Storage) -> Storage:
        """Open the newest database again."""
        storage.close()
        return PostgresStorage(self.stores.used[-1], FOLD_EVERY_MS)
