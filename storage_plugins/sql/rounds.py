"""A round of folding, step by step: what is due, what it looks like now, when another is due. Each engine knows its connections."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from storage_plugins.sql.catalogue import Catalogue
from storage_plugins.sql.folding import Round, fold_marks, write_round
from storage_plugins.sql.large_runs import LARGE_FACTS
from storage_plugins.sql.marks import MOST_RUNS, Mark, pending_marks, still_pending
from storage_plugins.sql.news import prune

# Rounds of folding between two looks at whether old news can go.
PRUNE_EVERY = 20
# Runs whose last fold is remembered before the quiet ones are forgotten.
MOST_FOLDED_AT = 10_000
# While facts come, a large run is folded again after this many times what its fold took: it costs the others a tenth of the folder's time
# at most. Once nothing came for as long as that fold took, it is folded at once: who looks for what a run came to does not wait.
LARGE_REST = 9.0
# A large run that could not be folded may be what ended its round, by the time it takes or otherwise: it rests at least so long, each time
# twice as long, so that the others have rounds in between. Runs that share a trace with it wait as long, so no longer than that.
FAILED_REST_S = 5.0
LONGEST_FAILED_REST_S = 300.0


@dataclass(slots=True)
class Pause:
    """How long a run that was folded waits: until due_at, or until nothing came for quiet_s. seq, told_at: of its newest mark.

    failed_s: how long it waits because it could not be folded, else 0.
    """

    due_at: float
    quiet_s: float
    seq: int = 0
    told_at: float = 0.0
    failed_s: float = 0.0

    @classmethod
    def after_failure(cls, took_s: float, before: Pause | None, now: float) -> Pause:
        """Return how long a large run waits whose fold failed after so long. before: its pause before that."""
        longer_s = min(2 * before.failed_s, LONGEST_FAILED_REST_S) if before is not None else 0.0
        rest_s = max(FAILED_REST_S, longer_s, LARGE_REST * took_s)
        return cls(now + rest_s, math.inf, failed_s=rest_s)

    def tell(self, seq: int, now: float) -> None:
        """Take notice of a mark."""
        if seq > self.seq:
            self.seq, self.told_at = seq, now

    def wait_s(self, now: float) -> float:
        """Return how long it waits yet."""
        return min(self.due_at, self.told_at + self.quiet_s) - now


class Turn(NamedTuple):
    """A large run that the next round is for, and the marks about it."""

    run_key: bytes
    marks: Sequence[Mark]


@dataclass(slots=True)
class Plan:
    """A round that was read. waits: mark -> seconds until its runs may be folded again. due: the marks that are folded now, to `done`.

    is_turn: whether it is a large run's round, which looks at no others.
    """

    waits: dict[Mark, float]
    due: list[Mark]
    done: Round
    is_turn: bool = False


class Rounds:
    """Paces the folding of this process: a run that was folded a moment ago waits, and a large one has a round of its own.

    When its turn comes the others have been written, and other replicas may fold them; if its fold is cut off, no other is lost with it.
    """

    def __init__(self, fold_every_ms: int) -> None:
        """fold_every_ms: how long."""
        self._fold_every_s = fold_every_ms / 1000
        self._folding = threading.Lock()
        self._pauses: dict[bytes, Pause] = {}
        self._turn: Turn | None = None
        self._under_way: tuple[bytes, float] | None = None  # the large run that is being folded, since when
        self._count = 0

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Hold the round. A large run that is not folded when the body ends, or fails, is not tried again soon."""
        with self._folding:
            try:
                yield
            finally:
                self._let_rest()

    def _let_rest(self) -> None:
        if self._under_way is not None:
            (run_key, began), now = self._under_way, time.monotonic()
            self._pauses[run_key] = Pause.after_failure(now - began, self._pauses.get(run_key), now)
        self._under_way = None

    def read(self, connection: Connection, now_ns: int) -> Plan:
        """Return what is due, folded from what this connection's transaction sees: small runs, or the large one whose turn it is."""
        turn, self._turn = self._turn, None
        return self._read_small(connection, now_ns) if turn is None else self._read_large(connection, turn, now_ns)

    def _read_large(self, connection: Connection, turn: Turn, now_ns: int) -> Plan:
        due = still_pending(connection, turn.marks)
        if due:
            self._under_way = turn.run_key, time.monotonic()
        return Plan({}, due, fold_marks(connection, due, now_ns, LARGE_FACTS), is_turn=True)

    def _read_small(self, connection: Connection, now_ns: int) -> Plan:
        now = time.monotonic()
        marks = pending_marks(connection, now_ns)
        for mark in marks:
            for run_key in mark.runs & self._pauses.keys():
                self._pauses[run_key].tell(mark.seq, now)
        waits = {mark: self._wait_s(mark, now) for mark in marks}
        due = [mark for mark, wait_s in waits.items() if wait_s <= 0]
        return Plan(waits, due, fold_marks(connection, due, now_ns, LARGE_FACTS, large_too=False))

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
            quiet_s, run_key = max(self._fold_every_s, one.took_s), one.picture.run.run_key
            self._pauses[run_key] = Pause(now + max(quiet_s, LARGE_REST * one.took_s), quiet_s, told_at=now)
            if self._under_way is not None and run_key == self._under_way[0]:
                self._under_way = None
        if len(self._pauses) > MOST_FOLDED_AT:
            self._pauses = {key: pause for key, pause in self._pauses.items() if pause.due_at > now}
        self._turn = _first_turn(plan)
        if self._turn or plan.is_turn or (plan.due and len(plan.waits) >= MOST_RUNS):  # there may be more, which this round has not seen
            return 0.0
        return min((wait_s for wait_s in plan.waits.values() if wait_s > 0), default=None)

    def _wait_s(self, mark: Mark, now: float) -> float:
        return max((self._pauses[run_key].wait_s(now) for run_key in mark.runs & self._pauses.keys()), default=0.0)


def _first_turn(plan: Plan) -> Turn | None:
    for project, run_key in plan.done.left:
        return Turn(run_key, [mark for mark in plan.due if mark.project == project and run_key in mark.runs])
    return None
