"""One sweep through a store for what is too old, step by step between the commits of others. How each engine comes by its store is its own.

Facts go first, after the runs that lose them were frozen; then what was said of them, and the runs of which nothing is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection, select

from collector.answers import Expired
from storage_plugins.sql.frozen import forget, read_gone
from storage_plugins.sql.retention import Chunk, Claimed, Cut, cut_of, delete_processes, next_chunk, old_processes, read_old
from storage_plugins.sql.tables import Base, Project

# Log records of no trace and no run are stored with this.
NO_TRACE = b""

Item = TypeVar("Item")
# What each step took away.
Steps: TypeAlias = Generator[Expired, None, None]


class NotNow(Exception):
    """Somebody is in the way: the sweep ends here, and another is made the next time."""


class Bites(NamedTuple):
    """How much is done at a time. found: facts found in one read. facts, claims (rows of run_traces): deleted in one transaction."""

    found: int
    facts: int
    claims: int


class Ground(Protocol):
    """A store, as a sweep goes over it. What a transaction did is committed when its context ends."""

    @property
    def bites(self) -> Bites:
        """Return how much is done at a time."""
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a transaction that sees one moment of the store."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Open a transaction that writes."""
        ...

    def forgetting(self) -> AbstractContextManager[Connection]:
        """Open one beside which nobody writes a fact of an old day, or of none."""
        ...

    def freeze(self, project: int, losers: Collection[bytes]) -> None:
        """Freeze these runs: when this returns, no fold that began before can write them any more."""
        ...

    def delete_facts(self, connection: Connection, cut: Cut, table: type[Base], keys: Sequence[tuple[Any, ...]]) -> None:
        """Delete these facts; but one of no day that came again since is young."""
        ...


class Sweeps:
    """Goes through a store once a day, and after each start. What it has deleted stays so: a sweep that fails begins again."""

    def __init__(self, days: int, make_sweep: Callable[[Cut, int], Steps]) -> None:
        """days: how long facts are kept, 0 = for ever. make_sweep: of a cut and the time, the steps that take away what is older."""
        self._days = days
        self._make_sweep = make_sweep
        self._swept: Cut | None = None
        self._sweep: Steps | None = None
        self._stepping = threading.Lock()

    def step(self, now_ns: int) -> Expired | None:
        """See collector.storage.Writer.expire. One at a time: None to whoever comes meanwhile."""
        if not self._stepping.acquire(blocking=False):
            return None
        try:
            return self._step(now_ns)
        except NotNow:
            return None
        finally:
            self._stepping.release()

    def close(self) -> None:
        """Let go of what a sweep under way holds. Not while a step is done."""
        if self._sweep is not None:
            self._sweep.close()
        self._sweep = None

    def _step(self, now_ns: int) -> Expired | None:
        sweep, self._sweep = self._sweep, None  # not kept if it fails
        if sweep is None:
            cut = cut_of(now_ns, self._days)
            if cut is None or cut == self._swept:
                return None
            sweep = self._through(cut, now_ns)
        expired = next(sweep, None)
        self._sweep = None if expired is None else sweep
        return expired

    def _through(self, cut: Cut, now_ns: int) -> Steps:
        yield from self._make_sweep(cut, now_ns)
        self._swept = cut


def sweep(ground: Ground, cut: Cut) -> Steps:
    """Take away everything that is too old."""
    yield from _sweep_traces(ground, cut)
    for project in _projects(ground):
        yield from _delete_facts(ground, cut, Chunk(project, [NO_TRACE]))
    yield from _sweep_processes(ground, cut)


def chunks(ground: Ground, cut: Cut) -> Iterator[Chunk]:
    """Yield all traces that may hold old facts, some at a time. Each is read when it is asked for."""
    after: Claimed | None = None
    while True:
        with ground.reading() as connection:
            chunk = next_chunk(connection, cut, after)
        if chunk is None:
            return
        yield chunk
        after = chunk.last


def _sweep_traces(ground: Ground, cut: Cut) -> Steps:
    for chunk in chunks(ground, cut):
        yield from _delete_facts(ground, cut, chunk)
        yield from _forget(ground, cut, chunk)


def _delete_facts(ground: Ground, cut: Cut, chunk: Chunk) -> Steps:
    while True:
        with ground.reading() as connection:
            old = read_old(connection, cut, chunk, ground.bites.found)
        if not len(old):
            return
        ground.freeze(chunk.project, old.losers)
        for table, keys in old.keys.items():
            for some in _parts(keys, ground.bites.facts):
                with ground.writing() as connection:
                    ground.delete_facts(connection, cut, table, some)
                yield Expired(facts=len(some))


def _forget(ground: Ground, cut: Cut, chunk: Chunk) -> Steps:
    with ground.reading() as connection:
        gone = read_gone(connection, cut, chunk)
    for some in _parts(gone.claims, ground.bites.claims):
        with ground.forgetting() as connection:
            expired = Expired(runs=forget(connection, gone._replace(claims=some)))
        yield expired


def _projects(ground: Ground) -> Sequence[int]:
    with ground.reading() as connection:
        return connection.scalars(select(Project.project)).all()


def _sweep_processes(ground: Ground, cut: Cut) -> Steps:
    after = (0, "")
    while True:
        with ground.reading() as connection:
            keys = old_processes(connection, cut, after, ground.bites.facts)
        if not keys:
            return
        with ground.writing() as connection:
            delete_processes(connection, cut, keys)
        after = keys[-1]
        yield Expired()


def _parts(values: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]
