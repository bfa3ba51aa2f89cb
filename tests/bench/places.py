"""Where a bench stores: a SQLite file in the server's folder, or a database of a Postgres of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.stored import Where
from tests.postgres import Postgres

STORAGES = ("sqlite", "postgres")


@dataclass(frozen=True, slots=True)
class Place:
    """A place for one store. environment: what tells a server of it; postgres: the server it is on, if it is on one."""

    storage: str
    folder: Path
    where: Where
    postgres: Postgres | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings of a server that stores here."""
        return {"DATABASE_URL": self.url}

    @property
    def url(self) -> str:
        """Return the store's address."""
        return self.where if isinstance(self.where, str) else f"sqlite:///{self.where}"


@contextmanager
def open_place(storage: str, folder: Path) -> Iterator[Place]:
    """Make a place for an empty store. Postgres is as it comes but for its address: it syncs what it commits."""
    folder.mkdir(parents=True, exist_ok=True)
    if storage == "sqlite":
        yield Place(storage, folder, folder / "flowspan.db")
        return
    with Postgres() as postgres:
        yield Place(storage, folder, postgres.create_database(), postgres)
