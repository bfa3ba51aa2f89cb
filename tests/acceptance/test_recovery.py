"""What went wrong is over, and nothing acknowledged is lost: a locked store, a killed server under a real exporter, runs left unfolded."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from collector.batch import Batch
from collector.rows import RowMaker
from otel_bridge.lifecycle import facts_of
from storage_plugins.sqlite.storage import SqliteStorage
from tests.bench.folds import compare_folds, wait_until_folded
from tests.bench.requests import Request, RequestMaker
from tests.bench.stored import count_marks, read_facts, settle
from tests.builders import RECEIVED_NS, at, event
from tests.servers import Server

PATIENCE_S = 60.0
# Longer than a test lives: whatever was folded once stays as it is.
NEVER_MS = str(3_600_000)
MANY_RUNS = 500


def send(server: Server, request: Request) -> httpx.Response:
    """Send a request and return the answer."""
    return server.post(request.path, content=request.body, headers={"Content-Type": request.media})


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the store's write lock, as another program may."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


# R039 R050
def test_a_store_locked_by_another_program_sends_senders_away_until_it_is_free(tmp_path: Path) -> None:
    maker = RequestMaker("locked")
    spans, events = maker.named_spans(), maker.events()
    with Server(tmp_path) as server, ThreadPoolExecutor(2) as threads:
        with locked(server.database):
            refused = list(threads.map(lambda request: send(server, request), (spans, events)))
            page = server.get("/runs")
        taken = [send(server, request) for request in (spans, events)]
        server.stop()
        account = settle([spans, events], [], read_facts(server.database))

    assert [503, 503] == [answer.status_code for answer in refused]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert 200 == page.status_code
    assert [200, 200] == [answer.status_code for answer in taken]
    assert account.is_right, str(account)


class Exporting(threading.Thread):
    """A program that exports one span after the other through OpenTelemetry's own exporter, and remembers which were taken."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.taken: list[ReadableSpan] = []
        self.all: list[ReadableSpan] = []
        self._exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=int(PATIENCE_S))
        self._tracer = TracerProvider(resource=Resource({"service.name": "recovery"}), shutdown_on_exit=False).get_tracer("recovery")
        self._changed = threading.Condition()
        self._told = threading.Event()

    def run(self) -> None:
        """Export until told to stop."""
        while not self._told.is_set():
            with self._tracer.start_as_current_span("work") as span:
                assert isinstance(span, ReadableSpan)
            self.all.append(span)
            if self._exporter.export([span]) is SpanExportResult.SUCCESS:
                with self._changed:
                    self.taken.append(span)
                    self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        """Wait until this many more spans were taken."""
        with self._changed:
            wanted = len(self.taken) + more
            assert self._changed.wait_for(lambda: len(self.taken) >= wanted, PATIENCE_S), "the exporter got nothing through"

    def stop(self) -> None:
        """Let it end after the export under way."""
        self._told.set()
        self.join(PATIENCE_S)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK does not type it


# R045 R193
def test_a_real_exporter_loses_nothing_it_was_told_is_taken_when_the_server_is_killed(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        exporting = Exporting(server.url)
        exporting.start()
        exporting.wait_for(20)
        server.kill()
        server.start()
        exporting.wait_for(20)
        exporting.stop()
        server.stop()
        stored = read_facts(server.database)

    taken, sent = keys_of(exporting.taken), keys_of(exporting.all)
    assert taken == stored & taken
    assert stored == stored & sent


def keys_of(spans: list[ReadableSpan]) -> Counter[tuple[str, ...]]:
    """Return the keys these spans are counted under in a store."""
    contexts = [span.get_span_context() for span in spans]
    return Counter(("span", f"{context.trace_id:032x}", f"{context.span_id:016x}") for context in contexts if context is not None)


# R048
def test_runs_a_killed_process_left_unfolded_are_folded_by_the_next(tmp_path: Path) -> None:
    maker = RequestMaker("left")
    with Server(tmp_path, FLOWSPAN_FOLD_EVERY_MS=NEVER_MS) as server:
        send(server, maker.named_spans()).raise_for_status()
        wait_until_folded(server.database, PATIENCE_S)  # and not again while this one lives
        for _ in range(5):
            send(server, maker.named_spans()).raise_for_status()
        server.kill()
        left = count_marks(server.database)

    with Server(tmp_path) as server:
        wait_until_folded(server.database, PATIENCE_S)
        runs, differing = compare_folds(server.port)

    assert 1 == left
    assert (1, []) == (runs, differing)


def test_when_more_runs_wait_than_one_round_folds_the_next_round_is_due_at_once() -> None:
    storage = SqliteStorage("memory:", fold_every_ms=250)
    storage.open()
    storage.writer.write(many_runs())

    due_s = storage.writer.fold(RECEIVED_NS)
    storage.close()

    assert 0.0 == due_s


def many_runs() -> Batch:
    """Return the beginnings of more runs than one round folds."""
    events = [event("flow_started", 0, run_id=f"r{number}") for number in range(MANY_RUNS)]
    return RowMaker(at(0)).add_all(fact for one in events for fact in facts_of(one, at(0)))
