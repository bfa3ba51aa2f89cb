"""What the folder changed in the lists since a cursor, to those who watch one. One a process, whoever folds.

A run is in a list as it was folded last, so lists are followed from fold to fold, not from commit to commit: nothing is asked for twice, and
whatever changes a row is told, a shared trace and time alone too. Nothing is read while nobody watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from collector.answers import FlowSummary, Resync, RunSummary
from collector.metrics import Metrics
from collector.picture import KIND_RUN
from collector.questions import RunRef
from collector.storage import Reader
from collector.watching import Watcher, keep_looking

Key = TypeVar("Key")
Value = TypeVar("Value")

# A flow is counted anew, which takes the longer the more runs it has; so it is told of no more often than this.
FLOW_EVERY_S = 1.0
# Flows counted in one look; the others are told of by the next. With so many due whoever shows flows is better off with a new page.
MOST_FLOWS = 20
MOST_DUE = 1000
# Runs and flows remembered before the first ones are forgotten: by then what was told of them lies a while back.
MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class ListNews:
    """What changed in the lists: these runs are as here, newest first; those that are gone are listed no more.

    moved: of these runs, the flow_key each had before, if it has another now. flows: by flow_key, None for one that is no more.
    """

    runs: Sequence[RunSummary]
    gone: Sequence[RunRef]
    moved: Mapping[bytes, str]
    flows: Mapping[str, FlowSummary | None]
    cursor: str


@dataclass(slots=True, eq=False)
class ListWatcher(Watcher[ListNews]):
    """A watcher of the lists. cursor: its news follow on it. with_flows: whether it shows flows, too."""

    cursor: str
    with_flows: bool


@dataclass(slots=True)
class _Flows:
    """Which flows must be told of, and when each may be. due: their keys, in the order they changed."""

    due: dict[str, None] = field(default_factory=dict)
    _told_at: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _of_run: OrderedDict[bytes, str] = field(default_factory=OrderedDict)

    def note(self, runs: Iterable[RunSummary]) -> dict[bytes, str]:
        """Put the flows of these runs down as changed. Returns of each run that moved the flow it had.

        Raises Resync if more flows changed than can be told of before long.
        """
        moved = {}
        for run in (one.run for one in runs if one.run.kind == KIND_RUN):
            before = self._of_run.get(run.run_key, run.flow_key)
            _remember(self._of_run, run.run_key, run.flow_key)
            self.due |= dict.fromkeys(key for key in (run.flow_key, before) if key)
            if before and before != run.flow_key:
                moved[run.run_key] = before
        if len(self.due) > MOST_DUE:
            raise Resync
        return moved

    def choose(self) -> list[str]:
        """Return the flows that may be told of now."""
        long_ago = time.monotonic() - FLOW_EVERY_S
        return [key for key in self.due if self._told_at.get(key, long_ago) <= long_ago][:MOST_FLOWS]

    def told(self, keys: Iterable[str]) -> None:
        """Remember that these have been told of."""
        for key in keys:
            self.due.pop(key, None)
            _remember(self._told_at, key, time.monotonic())


class ListTail:
    """Reads what was folded since its cursor and tells everybody who watches a list."""

    def __init__(self, reader: Reader, metrics: Metrics, queue_size: int) -> None:
        """queue_size: news a watcher may have waiting."""
        self._reader = reader
        self._metrics = metrics
        self._queue_size = queue_size
        self._watchers: set[ListWatcher] = set()
        self._flows = _Flows()
        self._hinted = asyncio.Event()
        self._cursor: str | None = None

    def hint(self) -> None:
        """Say that something was folded. Costs nothing while nobody watches."""
        self._hinted.set()

    @contextlib.asynccontextmanager
    async def subscribe(self, *, with_flows: bool = False) -> AsyncIterator[ListWatcher]:
        """Follow the lists: the watcher is told everything after its cursor. What it has missed before is Reader.list_changes."""
        cursor = self._cursor or await self._reader.latest_cursor()
        self._cursor = self._cursor or cursor  # somebody else may have been first meanwhile
        watcher = ListWatcher(asyncio.Queue(self._queue_size), self._cursor, with_flows)
        self._watchers.add(watcher)
        self._hinted.set()
        try:
            yield watcher
        finally:
            self._leave(watcher)

    def note_flows(self, runs: Iterable[RunSummary]) -> None:
        """Have the flows of these runs told of: a watcher that was away does not know how they are now."""
        self._flows.note(runs)
        self._hinted.set()

    def _leave(self, watcher: ListWatcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers:
            self._cursor = None
            self._flows = _Flows()

    async def run(self) -> None:
        """Follow the folds until cancelled."""
        await keep_looking(self._look, self._hinted, lambda: bool(self._watchers))

    async def _look(self) -> None:
        cursor = self._cursor
        if cursor is None:
            return
        try:
            changes = await self._reader.list_changes(cursor)
            moved = self._flows.note(changes.runs)
        except Resync:
            self._drop_everybody()
            return
        flows = await self._read_flows()  # before the cursor goes on: what cannot be read now is asked for again
        if self._cursor != cursor:
            return  # those who watched have gone, and others came
        self._cursor = changes.cursor
        if changes.runs or changes.gone or flows:
            self._tell(ListNews(changes.runs, changes.gone, moved, flows, changes.cursor))

    async def _read_flows(self) -> dict[str, FlowSummary | None]:
        if not any(watcher.with_flows for watcher in self._watchers):
            self._flows.due.clear()
            return {}
        found = {key: await self._reader.find_flow(key) for key in self._flows.choose()}
        self._flows.told(found)
        return found

    def _tell(self, news: ListNews) -> None:
        for watcher in list(self._watchers):
            if not watcher.tell(news):
                self._give_up(watcher)

    def _give_up(self, watcher: ListWatcher) -> None:
        self._watchers.discard(watcher)
        watcher.give_up()
        self._metrics.resyncs.inc()

    def _drop_everybody(self) -> None:
        for watcher in list(self._watchers):
            self._give_up(watcher)
        self._cursor = None
        self._flows = _Flows()


def _remember(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MOST_REMEMBERED:
        kept.popitem(last=False)
