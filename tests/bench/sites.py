"""What is struck by the crash bench: a server with its file, or several replicas on one Postgres."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.bench.stored import Where, check_file, check_server
from tests.postgres import Postgres
from tests.servers import Server


class Site(Protocol):
    """Servers on one store. where: the store; servers: the replicas, of which one may be spared in each strike."""

    where: Where
    servers: Sequence[Server]

    def start(self) -> None:
        """Start what does not run; return when it takes data."""
        ...

    def strike(self, number: int, rng: random.Random, spared: Server | None) -> str:
        """Kill something else in each round, but not this server. Returns what."""
        ...

    def check(self) -> str:
        """Return "ok", or what is wrong with the store."""
        ...


class SqliteSite:
    """One server and its file."""

    def __init__(self, folder: Path) -> None:
        """folder: of the server's data."""
        self.servers: Sequence[Server] = [Server(folder)]
        self.where: Where = self.servers[0].database
        self._runs = False

    def start(self) -> None:
        """See Site."""
        if not self._runs:
            self.servers[0].start()
            self._runs = True

    def strike(self, number: int, rng: random.Random, spared: Server | None) -> str:
        """See Site. There is only one to kill."""
        self.servers[0].kill()
        self._runs = False
        return "the server"

    def check(self) -> str:
        """See Site."""
        return check_file(self.servers[0].database)


class PostgresSite:
    """Replicas on one database. Struck are in turn a replica, Postgres, and both at once."""

    def __init__(self, folder: Path, replicas: int, postgres: Postgres) -> None:
        """folder: of the replicas' logs. postgres: runs, and is ours."""
        self.where: Where = postgres.create_database()
        url = str(self.where)
        self.servers: Sequence[Server] = [Server(folder / f"replica-{number}", DATABASE_URL=url) for number in range(replicas)]
        self._url = url
        self._postgres = postgres
        self._postgres_runs = True
        self._killed = set(self.servers)
        self._deadlocks = "ok"

    def start(self) -> None:
        """See Site."""
        if not self._postgres_runs:
            self._postgres.start()
            self._postgres_runs = True
        while self._killed:
            self._killed.pop().start()

    def strike(self, number: int, rng: random.Random, spared: Server | None) -> str:
        """See Site. What the server counted goes with it, so that is asked for before."""
        replica = rng.choice([server for server in self.servers if server is not spared])
        self._deadlocks = self._deadlocks if self._deadlocks != "ok" else check_server(self._url)
        if number % 3 != 1:
            replica.kill()
            self._killed.add(replica)
        if number % 3 != 0:
            self._postgres.kill()
            self._postgres_runs = False
        return ("a replica", "Postgres", "Postgres and a replica")[number % 3]

    def check(self) -> str:
        """See Site."""
        return self._deadlocks if self._deadlocks != "ok" else check_server(self._url)


@contextmanager
def open_site(storage: str, folder: Path, replicas: int) -> Iterator[Site]:
    """Make a site, not started; end what runs of it. storage: "sqlite" or "postgres"."""
    if storage == "sqlite":
        sqlite = SqliteSite(folder)
        yield from _ended(sqlite)
        return
    with Postgres() as postgres:
        yield from _ended(PostgresSite(folder, replicas, postgres))


def _ended(site: Site) -> Iterator[Site]:
    try:
        yield site
    finally:
        for server in site.servers:
            server.kill()
