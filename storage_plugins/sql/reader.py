"""collector.storage.Reader over any SQLAlchemy engine: each question is one plain function in one read transaction, in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from collector.errors import Unavailable
from collector.fold import fold
from collector.model import DEFAULT_PROJECT
from collector.storage import Changes, FlowSummary, LogEntry, LogQuery, Page, RunQuery, RunRef, RunSummary, RunView, TraceFacts
from storage_plugins.sql import lists, news, run_logs
from storage_plugins.sql.facts import load_facts, load_trace, version_of

P = ParamSpec("P")
Answer = TypeVar("Answer")

# Reads at once. Two cores fold at most two pictures; the others wait for the disk.
READERS = 4


class SqlReader:
    """Answers from one engine. Every method's promise is that of collector.storage.Reader."""

    def __init__(self, engine: Engine, project: int = DEFAULT_PROJECT) -> None:
        """engine: its transactions must see one snapshot from the first read on."""
        self._engine = engine
        self._project = project
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="flowspan-read")

    def close(self) -> None:
        """Wait for reads under way."""
        self._threads.shutdown()

    async def find_run(self, ref: RunRef) -> bytes | None:
        """See Reader."""
        return await self._ask(lists.find_run, ref)

    async def view_run(self, run_key: bytes) -> RunView | None:
        """See Reader."""
        return await self._ask(view_run, run_key)

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
        return await self._ask(_read_logs, run_key, query)

    async def read_trace(self, trace_id: bytes) -> TraceFacts:
        """See Reader."""
        return await self._ask(load_trace, trace_id)

    async def changes(self, cursor: str) -> Changes:
        """See Reader."""
        return await self._ask(news.changes, cursor)

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
        def answer() -> Answer:
            try:
                with self._engine.connect() as connection, connection.begin():
                    return question(connection, self._project, *args, **kwargs)
            except DBAPIError as error:
                raise Unavailable(f"the store cannot be read just now: {error.orig}") from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, answer)


def view_run(connection: Connection, project: int, run_key: bytes) -> RunView | None:
    """Fold a run from its facts: what a read shows never waits for the cache."""
    facts = load_facts(connection, project, run_key)
    if facts is None:
        return None
    version, heard = version_of(connection, project, run_key)
    heard.beating_until_ns = dict(facts.beating_until_ns)
    picture = fold(run_key, facts, time.time_ns())
    flow_key = picture.run.flow_key
    return RunView(
        picture=picture,
        version=version,
        cursor=news.latest_cursor(connection, project),
        heard=heard,
        flow_id=lists.flow_id(connection, project, flow_key),
        task_ids=lists.task_ids(connection, project, flow_key),
    )


def _read_logs(connection: Connection, project: int, run_key: bytes, query: LogQuery) -> Page[LogEntry]:
    facts = load_facts(connection, project, run_key)
    if facts is None:
        return Page([])
    return run_logs.read_logs(connection, project, fold(run_key, facts, time.time_ns()), query)
