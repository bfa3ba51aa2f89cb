"""Databases of a Postgres that hold a store without facts, again and again."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from psycopg.sql import SQL, Identifier

from storage_plugins.sql.tables import Base
from tests.postgres import Postgres

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
