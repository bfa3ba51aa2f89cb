"""A round of folding, step by step: what is due, what it looks like now, when another is due. Each engine knows its connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.folding import MOST_RUNS, Mark, Round, fold_marks, pending_marks, write_round
from storage_plugins.sql.news import prune

# Rounds of folding between two looks at whether old news can go.
PRUNE_EVERY = 20
# Runs whose last fold is remembered before the quiet ones are forgotten.
MOST_FOLDED_AT = 10_000


@dataclass(slots=True)
class Plan:
    """A round that was read. waits: mark -> seconds until its runs may be folded again. due: the marks that are folded now, to `done`."""

    waits: dict[Mark, float]
    due: list[Mark]
    done: Round


class Rounds:
    """Paces the folding of this process: a run that was folded a moment ago waits."""

    def __init__(self, fold_every_ms: int) -> None:
        """fold_every_ms: how long."""
        self._fold_every_s = fold_every_ms / 1000
        self._folding = threading.Lock()
        self._folded_at: dict[bytes, float] = {}
        self._count = 0

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Hold the round."""
        with self._folding:
            yield

    def read(self, connection: Connection, now_ns: int) -> Plan:
        """Return what is due, folded from what this connection's transaction sees."""
        now = time.monotonic()
        waits = {mark: self._wait_s(mark, now) for mark in pending_marks(connection, now_ns)}
        due = [mark for mark, wait_s in waits.items() if wait_s <= 0]
        return Plan(waits, due, fold_marks(connection, due, now_ns))

    def write(self, connection: Connection, plan: Plan, catalogue: Catalogue, now_ns: int) -> None:
        """Write a round, and forget old news now and then."""
        write_round(connection, plan.done, catalogue, now_ns)
        self._count += 1
        if self._count % PRUNE_EVERY == 0:
            prune(connection, now_ns)

    def finish(self, plan: Plan) -> float | None:
        """Remember what was folded, once it is committed; return the seconds until another round is due, None if none waits."""
        now = time.monotonic()
        self._folded_at |= dict.fromkeys((one.picture.run.run_key for one in plan.done.folded), now)
        if len(self._folded_at) > MOST_FOLDED_AT:
            self._folded_at = {key: at for key, at in self._folded_at.items() if now - at < self._fold_every_s}
        if plan.due and len(plan.waits) >= MOST_RUNS:  # there may be more, which this round has not seen
            return 0.0
        return min((wait_s for wait_s in plan.waits.values() if wait_s > 0), default=None)

    def _wait_s(self, mark: Mark, now: float) -> float:
        last = max((self._folded_at.get(run_key, 0.0) for run_key in mark.runs), default=0.0)
        return last + self._fold_every_s - now
