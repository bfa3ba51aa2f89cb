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
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.news import prune

# Rounds of folding between two looks at whether old news can go.
PRUNE_EVERY = 20
# Runs whose last fold is remembered before the quiet ones are forgotten.
MOST_FOLDED_AT = 10_000
# While facts come, a large run is folded again after this many times what its fold took: it costs the others a tenth of the folder's time
# at most. Once nothing came for as long as that fold took, it is folded at once: who looks for what a run came to does not wait.
LARGE_REST = 9.0
# After so long with large runs a round begins no other: the small ones it folded wait to be written.
LARGE_FOR_S = 0.2


@dataclass(slots=True)
class Pause:
    """How long a run that was folded waits: until due_at, or until nothing came for quiet_s. seq, told_at: of its newest mark."""

    due_at: float
    quiet_s: float
    seq: int = 0
    told_at: float = 0.0

    def tell(self, seq: int, now: float) -> None:
        """Take notice of a mark."""
        if seq > self.seq:
            self.seq, self.told_at = seq, now

    def wait_s(self, now: float) -> float:
        """Return how long it waits yet."""
        return min(self.due_at, self.told_at + self.quiet_s) - now


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
        self._pauses: dict[bytes, Pause] = {}
        self._count = 0

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Hold the round."""
        with self._folding:
            yield

    def read(self, connection: Connection, now_ns: int) -> Plan:
        """Return what is due, folded from what this connection's transaction sees."""
        now = time.monotonic()
        marks = pending_marks(connection, now_ns)
        for mark in marks:
            for run_key in mark.runs & self._pauses.keys():
                self._pauses[run_key].tell(mark.seq, now)
        waits = {mark: self._wait_s(mark, now) for mark in marks}
        due = [mark for mark, wait_s in waits.items() if wait_s <= 0]
        return Plan(waits, due, fold_marks(connection, due, now_ns, LARGE_FACTS, LARGE_FOR_S))

    def write(self, connection: Connection, plan: Plan, catalogue: Catalogue, now_ns: int) -> None:
        """Write a round, and forget old news now and then."""
        write_round(connection, plan.done, catalogue, now_ns)
        self._count += 1
        if self._count % PRUNE_EVERY == 0:
            prune(connection, now_ns)

    def finish(self, plan: Plan) -> float | None:
        """Remember what was folded, once it is committed; return the seconds until another round is due, None if none waits."""
        now = time.monotonic()
        for one in plan.done.folded:
            quiet_s = max(self._fold_every_s, one.took_s)
            self._pauses[one.picture.run.run_key] = Pause(now + max(quiet_s, LARGE_REST * one.took_s), quiet_s, told_at=now)
        if len(self._pauses) > MOST_FOLDED_AT:
            self._pauses = {key: pause for key, pause in self._pauses.items() if pause.due_at > now}
        if plan.done.left or (plan.due and len(plan.waits) >= MOST_RUNS):  # there may be more, which this round has not seen
            return 0.0
        return min((wait_s for wait_s in plan.waits.values() if wait_s > 0), default=None)

    def _wait_s(self, mark: Mark, now: float) -> float:
        return max((self._pauses[run_key].wait_s(now) for run_key in mark.runs & self._pauses.keys()), default=0.0)
