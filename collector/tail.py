"""The news since a cursor, folded, to those who watch a run. One a process; local and remote commits take the same path.

Nothing is read while nobody watches. A subscriber that does not keep up is told to take a new snapshot, and costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from collector.errors import Unavailable
from collector.metrics import Metrics
from collector.picture import TaskRun
from collector.storage import LARGEST_PAGE, LogEntry, LogQuery, Reader, Resync, RunView
from collector.watching import Watcher, keep_looking

log = logging.getLogger(__name__)

MOST_LOGS = LARGEST_PAGE
# A trace that joins a run brings lines from before it did: the newest are told (again); a line's id says which a watcher has.
TOLD_AGAIN = 200


@dataclass(frozen=True, slots=True)
class News:
    """What changed in a run: its new view, the task runs that differ from the view before, and the log lines that came."""

    view: RunView
    tasks: list[TaskRun]
    logs: list[LogEntry]


@dataclass(slots=True, eq=False)
class Subscription(Watcher[News]):
    """A watcher of a run. view: the snapshot its news follow on."""

    view: RunView


@dataclass(slots=True)
class _Watch:
    """A watched run: its newest view and who follows it."""

    view: RunView
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
        watch = self._watches.setdefault(run_key, _Watch(view))
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
        if not self._watches:
            self._cursor = None

    async def run(self) -> None:
        """Follow the commits until cancelled."""
        await keep_looking(self._look, self._hinted, lambda: bool(self._watches))

    async def _look(self) -> None:
        cursor = self._cursor
        if cursor is None:
            return
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
            if run_key in changes.run_keys or not traces.isdisjoint(watch.view.picture.run.trace_ids):
                self._behind.add(run_key)
        for run_key in list(self._behind):
            await self._refresh_safely(run_key)
            self._behind.discard(run_key)  # only now: a store that could not be read leaves it behind, for the next look

    async def _refresh_safely(self, run_key: bytes) -> None:
        """One run that cannot be shown costs the watchers of the others nothing."""
        try:
            await self._refresh(run_key)
        except Unavailable:
            raise
        except Exception:
            self._metrics.plugin_failures.labels("reader").inc()
            log.exception("run %s cannot be shown as it moves", run_key.hex())

    async def _refresh(self, run_key: bytes) -> None:
        watch = self._watches.get(run_key)
        view = await self._reader.view_run(run_key) if watch is not None else None
        if watch is None or view is None or view.version <= watch.view.version:
            return
        page = await self._reader.read_logs(run_key, LogQuery(since=watch.view.cursor, until=view.cursor, limit=MOST_LOGS))
        before = {task.node: task for task in watch.view.picture.tasks}
        changed = [task for task in view.picture.tasks if before.get(task.node) != task]
        if page.next_cursor is not None or before.keys() - {task.node for task in view.picture.tasks}:
            self._resync(watch, view)  # more lines than one message holds, or rows that are no more: a page is the cheaper answer
            return
        if set(view.picture.run.trace_ids) - set(watch.view.picture.run.trace_ids):
            page = await self._reader.read_logs(run_key, LogQuery(until=view.cursor, newest=True, limit=TOLD_AGAIN))
        watch.view = view
        self._tell(watch, News(view, changed, page.items))

    def _tell(self, watch: _Watch, news: News) -> None:
        for subscription in list(watch.subscribers):
            if not subscription.tell(news):
                self._give_up(watch, subscription)

    def _resync(self, watch: _Watch, view: RunView) -> None:
        watch.view = view
        for subscription in list(watch.subscribers):
            self._give_up(watch, subscription)

    def _give_up(self, watch: _Watch, subscription: Subscription) -> None:
        watch.subscribers.discard(subscription)
        subscription.give_up()
        self._metrics.resyncs.inc()

    def _drop_everybody(self) -> None:
        for watch in list(self._watches.values()):
            for subscription in list(watch.subscribers):
                self._give_up(watch, subscription)
        self._watches.clear()
        self._cursor = None
