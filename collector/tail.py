"""The news since a cursor, folded, to those who watch a run. One a process; local and remote commits take the same path.

Nothing is read while nobody watches. A subscriber that does not keep up is told to take a new snapshot, and costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from collector.answers import Resync, RunNews, RunView
from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.storage import Reader
from collector.watching import Watcher, keep_looking

log = logging.getLogger(__name__)

# Read together: at most so many runs, and so many facts to fold again if all of them changed (40 us each). Who is among others waits for them.
GROUP_RUNS = 20
GROUP_FACTS = 1_000
# Readings at once: one that takes long leaves the others a lane, and pages keep the rest of the reader's threads.
LANES = 2
# How long a look waits for its slowest run before the others' next news are looked for.
SLOW_S = 0.2


@dataclass(slots=True, eq=False)
class Subscription(Watcher[RunNews]):
    """A watcher of a run. view: the snapshot its news follow on."""

    view: RunView


@dataclass(slots=True)
class _Watch:
    """A watched run: its newest view and who follows it. cursor: up to which the view is still true; news are read from there."""

    view: RunView
    cursor: str
    subscribers: set[Subscription] = field(default_factory=set)


class Tail:
    """Reads what was committed since its cursor and tells the watchers of the runs it is about."""

    def __init__(self, reader: Reader, metrics: Metrics, queue_size: int) -> None:
        """queue_size: news a watcher may have waiting."""
        self._reader = reader
        self._metrics = metrics
        self._queue_size = queue_size
        self._watches: dict[bytes, _Watch] = {}
        self._behind: set[bytes] = set()
        self._reading: dict[bytes, asyncio.Task[None]] = {}
        # Read by themselves the next time: they were among those of which one could not be read.
        self._alone: set[bytes] = set()
        self._lanes = asyncio.Semaphore(LANES)
        self._hinted = asyncio.Event()
        self._cursor: str | None = None

    def hint(self) -> None:
        """Say that something was committed. Costs nothing while nobody watches."""
        self._hinted.set()

    @contextlib.asynccontextmanager
    async def subscribe(self, run_key: bytes) -> AsyncIterator[Subscription | None]:
        """Follow a run: the subscription holds its view, and gets every news after that view. None if there is no such run."""
        subscription = await self._join(run_key)
        try:
            yield subscription
        finally:
            self._leave(run_key, subscription)

    async def _join(self, run_key: bytes) -> Subscription | None:
        watch = self._watches.get(run_key) or await self._open_watch(run_key)
        if watch is None:
            return None
        subscription = Subscription(asyncio.Queue(self._queue_size), watch.view)
        watch.subscribers.add(subscription)
        return subscription

    async def _open_watch(self, run_key: bytes) -> _Watch | None:
        """Read the run once. News that went by meanwhile were not told to this watch: then it is behind, and refreshed at the next look."""
        if self._cursor is None:
            self._cursor = await self._reader.latest_cursor()
        cursor = self._cursor
        view = await self._reader.view_run(run_key)
        if view is None:
            return None
        watch = self._watches.setdefault(run_key, _Watch(view, view.cursor))
        if self._cursor != cursor:
            self._behind.add(run_key)
            self._cursor = self._cursor or cursor
        self._hinted.set()
        return watch

    def _leave(self, run_key: bytes, subscription: Subscription | None) -> None:
        watch = self._watches.get(run_key)
        if watch is None or subscription is None:
            return
        watch.subscribers.discard(subscription)
        if not watch.subscribers:
            del self._watches[run_key]
            self._alone.discard(run_key)
        if not self._watches:
            self._cursor = None

    async def run(self) -> None:
        """Follow the commits until cancelled."""
        try:
            await keep_looking(self._look, self._hinted, lambda: bool(self._watches))
        finally:
            for reading in self._reading.values():
                reading.cancel()
            await asyncio.gather(*self._reading.values(), return_exceptions=True)
            self._behind |= self._reading.keys()
            self._reading.clear()

    async def _look(self) -> None:
        cursor = self._cursor
        if cursor is None:
            return
        read = [watch for run_key, watch in self._watches.items() if run_key not in self._reading]
        try:
            changes = await self._reader.changes(cursor)
        except Resync:
            self._drop_everybody()
            return
        if self._cursor is None:
            return
        self._cursor = changes.cursor
        traces = set(changes.trace_ids)
        for run_key, watch in self._watches.items():
            if watch.view.is_large or run_key in changes.run_keys or not traces.isdisjoint(watch.view.run.trace_ids):
                self._behind.add(run_key)
        self._move_on(read, changes.cursor)
        await self._refresh_those_behind()

    def _move_on(self, read: Iterable[_Watch], cursor: str) -> None:
        """Let views that are still true be followed from here: else one that was quiet for an hour would look through what others wrote in it.

        read: those that were there, and up to date or behind, before the changes up to this cursor were asked for.
        """
        for watch in read:
            if watch.view.run.run_key not in self._behind:
                watch.cursor = cursor

    async def _refresh_those_behind(self) -> None:
        """Begin to read those that are behind. Who takes long is waited for at a later look, and read again then if it is behind once more."""
        self._take_out_those_read()
        begun = [self._begin_to_read(run_keys) for run_keys in self._in_groups(self._behind - self._reading.keys())]
        if self._reading:
            await asyncio.wait(self._reading.values(), timeout=SLOW_S)
        for reading in begun:
            if not reading.done():
                reading.add_done_callback(lambda _: self._hinted.set())
        self._take_out_those_read()

    def _in_groups(self, run_keys: Iterable[bytes]) -> Iterator[Sequence[bytes]]:
        """Yield runs to read together, the large and the doubtful each by itself."""
        group: list[bytes] = []
        facts = 0
        for run_key in run_keys:
            watch = self._watches.get(run_key)
            if watch is None or watch.view.is_large or run_key in self._alone:
                yield [run_key]
                continue
            if group and (len(group) == GROUP_RUNS or facts + watch.view.facts > GROUP_FACTS):
                yield group
                group, facts = [], 0
            group.append(run_key)
            facts += watch.view.facts
        if group:
            yield group

    def _begin_to_read(self, run_keys: Sequence[bytes]) -> asyncio.Task[None]:
        reading = asyncio.create_task(self._refresh_safely(run_keys))
        self._behind.difference_update(run_keys)
        self._reading.update(dict.fromkeys(run_keys, reading))
        return reading

    def _take_out_those_read(self) -> None:
        """Forget the readings that ended. A store that could not be read leaves them behind, for the next look."""
        done = {run_key: self._reading.pop(run_key) for run_key, reading in list(self._reading.items()) if reading.done()}
        failed = {run_key: error for run_key, reading in done.items() if (error := reading.exception()) is not None}
        self._behind.update(failed)
        self._alone.update(failed)
        for error in failed.values():
            raise error

    async def _refresh_safely(self, run_keys: Sequence[bytes]) -> None:
        """One run that cannot be shown costs the watchers of the others nothing."""
        try:
            async with self._lanes:
                await self._refresh(run_keys)
        except Unavailable:
            raise
        except Exception:
            self._metrics.plugin_failures.labels("reader").inc()
            log.exception("runs cannot be shown as they move: %s", ", ".join(run_key.hex() for run_key in run_keys))
            self._alone.update(run_keys)
            if len(run_keys) > 1:
                self._behind.update(run_keys)
                self._hinted.set()
        else:
            self._alone.difference_update(run_keys)

    async def _refresh(self, run_keys: Iterable[bytes]) -> None:
        watches = {run_key: watch for run_key in run_keys if (watch := self._watches.get(run_key)) is not None}
        if not watches:
            return
        told = await self._reader.read_news([replace(watch.view, cursor=watch.cursor) for watch in watches.values()])
        for run_key, news in told.items():
            watch = watches[run_key]
            if news is None:
                self._drop(watch)
            else:
                watch.view, watch.cursor = news.view, news.view.cursor
                self._tell(watch, replace(news, view=replace(news.view, kept=None)))  # what follows on it is read by the tail alone

    def _tell(self, watch: _Watch, news: RunNews) -> None:
        for subscription in list(watch.subscribers):
            if not subscription.tell(news):
                self._give_up(watch, subscription)

    def _drop(self, watch: _Watch) -> None:
        """Send everybody away who watches a run: a page is the cheaper answer. Who comes again begins with a new view."""
        for subscription in list(watch.subscribers):
            self._give_up(watch, subscription)
        run_key = watch.view.run.run_key
        if self._watches.get(run_key) is watch:  # it may have been left, and the run watched anew
            del self._watches[run_key]
        if not self._watches:
            self._cursor = None

    def _give_up(self, watch: _Watch, subscription: Subscription) -> None:
        watch.subscribers.discard(subscription)
        subscription.give_up()
        self._metrics.resyncs.inc()

    def _drop_everybody(self) -> None:
        for watch in list(self._watches.values()):
            self._drop(watch)
