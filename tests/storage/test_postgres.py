"""Postgres keeps every promise, in each version there is on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from collector.storage import Storage
from collector.testing import RetentionContract, StorageContract
from storage_plugins.postgres.storage import PostgresStorage
from storage_plugins.sql.tables import Base
from tests.postgres import Install, Postgres, binaries

FOLD_EVERY_MS = 5
# What is in a store before the first fact.
BEGUN_WITH = {"projects", "clock"}


@dataclass
class EmptyStores:
    """Databases of one server that are used again, emptied: that takes 3 ms, a copy of an empty store 160-450."""

    server: Postgres
    free: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)

    def take(self) -> str:
        """Return the address of a database without facts."""
        self.used.append(self.free.pop() if self.free else self.server.create_database())
        return self.used[-1]

    def empty(self) -> None:
        """Let all be used again."""
        for url in self.used:
            with psycopg.connect(url) as connection:
                for table in Base.metadata.tables.keys() - BEGUN_WITH:
                    connection.execute(SQL("DELETE FROM {}").format(Identifier(table)))
                connection.execute("UPDATE clock SET seq = 0, pruned_seq = 0")
        self.free, self.used = [*self.free, *self.used], []


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
