"""collector.storage.Reader over any SQLAlchemy engine: each question is one plain function in one read transaction, in a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from collector.answers import Changes, FlowSummary, ListChanges, LogEntry, Page, RunNews, RunSummary, RunView, TaskPage, TraceFacts
from collector.errors import Unavailable
from collector.model import DEFAULT_PROJECT
from collector.questions import WHOLE, LogQuery, RunQuery, RunRef, TaskQuery, ViewQuery
from storage_plugins.sql import lists, news, views
from storage_plugins.sql.facts import load_trace
from storage_plugins.sql.large_runs import LARGE_FACTS

log = logging.getLogger(__name__)

P = ParamSpec("P")
Answer = TypeVar("Answer")

# Reads at once. Two cores fold at most two pictures; the others wait for the disk.
READERS = 4


class SqlReader:
    """Answers from one engine. Every method's promise is that of collector.storage.Reader."""

    def __init__(
        self,
        snapshot: Callable[[], AbstractContextManager[Connection]],
        project: int = DEFAULT_PROJECT,
        large_facts: int = LARGE_FACTS,
    ) -> None:
        """snapshot: opens a transaction that sees one moment of the store, and ends it. Raises DBAPIError or Unavailable.

        large_facts: a run of more ends and moments is large.
        """
        self._large_facts = large_facts
        self._snapshot = snapshot
        self._project = project
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="flowspan-read")

    def close(self) -> None:
        """Wait for reads under way."""
        self._threads.shutdown()

    async def find_run(self, ref: RunRef) -> bytes | None:
        """See Reader."""
        return await self._ask(lists.find_run, ref)

    async def view_run(self, run_key: bytes, query: ViewQuery = WHOLE) -> RunView | None:
        """See Reader."""
        return await self._ask(views.view_run, run_key, query, self._large_facts)

    async def read_news(self, befores: Sequence[RunView]) -> Mapping[bytes, RunNews | None]:
        """See Reader."""
        return await self._ask(views.read_news, befores, self._large_facts)

    async def read_tasks(self, run_key: bytes, query: TaskQuery) -> TaskPage:
        """See Reader."""
        return await self._ask(views.read_tasks, run_key, query, self._large_facts)

    async def list_runs(self, query: RunQuery) -> Page[RunSummary]:
        """See Reader."""
        return await self._ask(lists.list_runs, query)

    async def list_flows(self, limit: int, cursor: str | None) -> Page[FlowSummary]:
        """See Reader."""
        return await self._ask(lists.list_flows, limit, cursor)

    async def find_flow(self, flow_key: str) -> FlowSummary | None:
        """See Reader."""
        return await self._ask(lists.find_flow, flow_key)

    async def read_logs(self, run_key: bytes, query: LogQuery) -> Page[LogEntry]:
        """See Reader."""
        return await self._ask(views.read_logs, run_key, query, self._large_facts)

    async def read_trace(self, trace_id: bytes) -> TraceFacts:
        """See Reader."""
        return await self._ask(load_trace, trace_id)

    async def changes(self, cursor: str, until: str | None = None) -> Changes:
        """See Reader."""
        return await self._ask(news.changes, cursor, until)

    async def list_changes(self, cursor: str) -> ListChanges:
        """See Reader."""
        return await self._ask(lists.list_changes, cursor)

    async def latest_cursor(self) -> str:
        """See Reader."""
        return await self._ask(news.latest_cursor)

    async def has_runs(self) -> bool:
        """See Reader."""
        return await self._ask(lists.has_runs)

    async def ping(self) -> None:
        """See Reader."""
        await self._ask(news.latest_cursor)

    async def _ask(self, question: Callable[Concatenate[Connection, int, P], Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        def ask_once() -> Answer:
            with self._snapshot() as connection:
                return question(connection, self._project, *args, **kwargs)

        def answer() -> Answer:
            try:
                return _again_if_lost(ask_once)
            except DBAPIError as error:
                log.warning("the store cannot be read just now: %s", str(error.orig).partition("\n")[0])
                raise Unavailable("the store cannot be read just now: ask again later") from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, answer)


def _again_if_lost(ask: Callable[[], Answer]) -> Answer:
    """Ask, and once more if the connection had died while it lay idle: the store may have been restarted since, and be well."""
    try:
        return ask()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return ask()
