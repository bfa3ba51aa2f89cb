"""What large runs cost a reader: their page, their tasks and the list, in time, bytes and SQL statements. The server is in this process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, event

from collector.rows import RowMaker
from otel_bridge.facts import RANK_OTLP, Fact, SpanEnd, SpanEvent, Work
from otel_bridge.lifecycle import facts_of
from tests.bench.folds import wait_until_folded
from tests.bench.ingest import percentile_ms
from tests.bench.places import open_place
from tests.bench.requests import MS, START_NS
from tests.bench.stored import Where
from tests.bench.table import Figure
from tests.in_process import Server, running

TASKS = 10_000
SPANS = 100_000
TRACE_ID = bytes(range(16))
# The tree's spans have so many children each, and so many of ten an event.
CHILDREN = 8
WITH_EVENT = 3
FACTS_A_WRITE = 20_000
FOLDED_WITHIN_S = 900.0
TIMES = 20
KIB = 1024
ATTRIBUTES = {"http.request.method": "GET", "http.route": "/orders/{id}", "http.response.status_code": 200, "server.address": "shop"}


class Asked(NamedTuple):
    """What asking for an address came to."""

    p95_ms: float
    size_bytes: int
    statements: float


def measure_pages(folder: Path, storage: str, *, spans: int = SPANS) -> list[Figure]:
    """Store one run of many tasks and a trace of many spans, and ask for them again and again."""
    with open_place(storage, folder / "tasks") as place, running(database_url=place.url) as server:
        figures = _measure_tasks(server, place.where)
    with open_place(storage, folder / "spans") as place, running(database_url=place.url) as server:
        return [*figures, *_measure_spans(server, place.where, spans)]


def _measure_tasks(server: Server, where: Where) -> list[Figure]:
    stored_s = _store(server, where, _task_facts())
    page = _ask(server, "/runs/large")
    return [
        Figure("run page, p95 ms", page.p95_ms, f"{TASKS:,} task runs; budget 300"),
        Figure("run page, KiB", page.size_bytes / KIB, "budget 300"),
        Figure("run page, SQL statements", page.statements, "budget 5"),
        Figure("the run by the API, p95 ms", _ask(server, "/api/v1/runs/large").p95_ms, ""),
        Figure("its first 100 tasks by the API, p95 ms", _ask(server, "/api/v1/runs/large/tasks?limit=100").p95_ms, ""),
        Figure("stored and in the lists after, s", stored_s, ""),
    ]


def _measure_spans(server: Server, where: Where, spans: int) -> list[Figure]:
    stored_s = _store(server, where, _span_facts(spans))
    page, budget_ms = _ask(server, f"/runs/{TRACE_ID.hex()}"), 1000 if spans <= SPANS else 2000
    return [
        Figure("page of a trace, p95 ms", page.p95_ms, f"{spans:,} spans; budget {budget_ms:,}"),
        Figure("page of a trace, KiB", page.size_bytes / KIB, ""),
        Figure("page of a trace, SQL statements", page.statements, ""),
        Figure("its tasks by the API, p95 ms", _ask(server, f"/api/v1/runs/{TRACE_ID.hex()}/tasks").p95_ms, f"budget {budget_ms:,}"),
        Figure("list of runs, p95 ms", _ask(server, "/api/v1/runs?kind=all").p95_ms, "budget 50"),
        Figure("stored and in the lists after, s", stored_s, ""),
    ]


def _ask(server: Server, path: str) -> Asked:
    seconds: list[float] = []
    size_bytes = len(server.get(path).content)
    with _counting() as statements:
        for _ in range(TIMES):
            began = time.perf_counter()
            assert 200 == server.get(path).status_code
            seconds.append(time.perf_counter() - began)
    return Asked(percentile_ms(seconds, 95), size_bytes, len(statements) / TIMES)


@contextmanager
def _counting() -> Iterator[list[str]]:
    """Note every statement that an engine of this process is given, but those that begin a transaction: readers ask through one."""
    statements: list[str] = []

    def note(*words: object) -> None:
        if words[2] != "BEGIN":
            statements.append(str(words[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _store(server: Server, where: Where, facts: Iterable[Fact]) -> float:
    """Write facts past the wire, let the server fold them; return how long it took until the lists knew."""
    began = time.perf_counter()
    several = iter(facts)
    while some := list(islice(several, FACTS_A_WRITE)):
        server.app.state.collector.batcher._writer.write(RowMaker(time.time_ns()).add_all(some))
    # A hint to the folder, which is not told of what is written past the batcher.
    server.send({"event": "flow_started", "run_id": "hint", "flow": "hint", "ts": START_NS})
    wait_until_folded(where, FOLDED_WITHIN_S)
    return time.perf_counter() - began


def _task_facts() -> Iterator[Fact]:
    yield from facts_of({"event": "flow_started", "run_id": "large", "flow": "large", "ts": START_NS}, START_NS)
    for number in range(TASKS):
        about = {"run_id": "large", "task": f"step {number % 50}", "node": f"step {number % 50}:{number}", "ts": START_NS + number * MS}
        yield from facts_of({**about, "event": "task_started"}, START_NS)
        yield from facts_of({**about, "event": "task_ok", "ts": START_NS + (number + 5) * MS}, START_NS)
    yield from facts_of({"event": "flow_completed", "run_id": "large", "ts": START_NS + TASKS * MS}, START_NS)


def _span_facts(spans: int) -> Iterator[Fact]:
    """Make a tree of finished spans, the root first."""
    for number in range(spans):
        start_ns = START_NS + number * MS
        parent = _span_id((number - 1) // CHILDREN) if number else b""
        events = [SpanEvent(start_ns, "cache miss", {"key": number})] if number % 10 < WITH_EVENT else []
        end_ns = start_ns + (50 * MS if number else spans * MS)
        work = Work() if number else Work(flow_key="shop:GET /orders", flow_name="GET /orders")
        name = f"query {number % 50}" if number else "GET /orders"
        yield SpanEnd(
            TRACE_ID, _span_id(number), end_ns, RANK_OTLP, work, "", start_ns, parent, name=name, attributes=ATTRIBUTES, events=events
        )


def _span_id(number: int) -> bytes:
    return (number + 1).to_bytes(8, "big")
