"""What a large run costs a reader: its page and its first tasks, in time, bytes and SQL statements. The server is in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, event

from collector.model import Batch
from collector.rows import RowMaker
from otel_bridge.facts import Fact
from otel_bridge.lifecycle import facts_of
from tests.bench.ingest import percentile_ms
from tests.bench.places import open_place
from tests.bench.requests import MS, START_NS
from tests.bench.table import Figure
from tests.in_process import Server, eventually, running

TASKS = 10_000
TIMES = 20
KIB = 1024


def measure_pages(folder: Path, storage: str) -> list[Figure]:
    """Store one run of many tasks and ask for it again and again."""
    with open_place(storage, folder) as place, running(database_url=place.url) as server:
        stored_s = _store(server)
        page = _ask(server, "/runs/large")
        answer = _ask(server, "/api/v1/runs/large")
        tasks = _ask(server, "/api/v1/runs/large/tasks?limit=100")
    return [
        Figure("run page, p95 ms", page.p95_ms, f"{TASKS:,} task runs; budget 300"),
        Figure("run page, KiB", page.size_bytes / KIB, "budget 300"),
        Figure("run page, SQL statements", page.statements, "budget 5"),
        Figure("the run by the API, p95 ms", answer.p95_ms, ""),
        Figure("its first 100 tasks by the API, p95 ms", tasks.p95_ms, ""),
        Figure("stored and in the lists after, s", stored_s, ""),
    ]


class _Asked:
    """What asking for an address came to."""

    def __init__(self, seconds: list[float], size_bytes: int, statements: float) -> None:
        self.p95_ms = percentile_ms(seconds, 95)
        self.size_bytes = size_bytes
        self.statements = statements


def _ask(server: Server, path: str) -> _Asked:
    seconds: list[float] = []
    size_bytes = len(server.get(path).content)
    with _counting() as statements:
        for _ in range(TIMES):
            began = time.perf_counter()
            assert 200 == server.get(path).status_code
            seconds.append(time.perf_counter() - began)
    return _Asked(seconds, size_bytes, len(statements) / TIMES)


@contextmanager
def _counting() -> Iterator[list[str]]:
    """Note every statement that an engine of this process is given: readers ask through one."""
    statements: list[str] = []

    def note(*words: object) -> None:
        statements.append(str(words[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _store(server: Server) -> float:
    began = time.perf_counter()
    server.app.state.collector.batcher._writer.write(_large_run())
    server.send({"event": "flow_completed", "run_id": "large", "ts": START_NS + TASKS * MS})
    eventually(lambda: sum(run["counts"].get("SUCCEEDED", 0) for run in server.json("/api/v1/runs")["items"]) == TASKS)
    return time.perf_counter() - began


def _large_run() -> Batch:
    maker = RowMaker(time.time_ns())
    return maker.add_all(_facts())


def _facts() -> Iterator[Fact]:
    yield from facts_of({"event": "flow_started", "run_id": "large", "flow": "large", "ts": START_NS}, START_NS)
    for number in range(TASKS):
        about = {"run_id": "large", "task": f"step {number % 50}", "node": f"step {number % 50}:{number}", "ts": START_NS + number * MS}
        yield from facts_of({**about, "event": "task_started"}, START_NS)
        yield from facts_of({**about, "event": "task_ok", "ts": START_NS + (number + 5) * MS}, START_NS)
