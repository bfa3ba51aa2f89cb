"""Acknowledged spans a second into SQLite over HTTP, against `executemany` of the same rows into the same schema in the same run."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from collector.dialects import pipeline, plain
from collector.model import SpanRow
from collector.otlp import Encoding, decode_traces
from collector.settings import Settings
from storage_plugins.sqlite import statements
from storage_plugins.sqlite.storage import BUSY_MS, SqliteStorage
from tests.bench.process import cpu_s
from tests.bench.requests import Request, large_request
from tests.bench.senders import is_acknowledged, post
from tests.bench.table import Figure
from tests.servers import Server

SPANS_A_REQUEST = 512
REQUESTS = 120
# Sent first and not counted: the first requests find cold code and an empty file.
WARM_UP = 10
CONNECTIONS = 4
ROWS_A_TRANSACTION = 5120


def measure_ingest(folder: Path) -> list[Figure]:
    """Measure both, in folders of their own below this one."""
    bodies = [large_request(seed, SPANS_A_REQUEST) for seed in range(WARM_UP + REQUESTS)]
    served = _serve(folder / "served", bodies)
    inserted = _insert(folder / "inserted", bodies[WARM_UP:])
    return [
        Figure("acknowledged spans/s over HTTP", served.spans_a_second, ""),
        Figure("rows/s by executemany", inserted, f"{ROWS_A_TRANSACTION} a transaction"),
        Figure("ratio", served.spans_a_second / inserted, "budget 0.5, then 0.75"),
        Figure("CPU of the server, us a span", served.cpu_us, "decode to commit, folding too; budget 7, then 2"),
        Figure("answer, p50 ms", served.p50_ms, f"{CONNECTIONS} connections, {SPANS_A_REQUEST} spans a request"),
        Figure("answer, p99 ms", served.p99_ms, ""),
    ]


@dataclass(slots=True)
class Served:
    """What sending came to. cpu_us: of the server process for each span."""

    spans_a_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class Pool:
    """Requests shared by several connections; every answer must be an acknowledgement."""

    port: int
    requests: list[Request]
    answer_s: list[float] = field(default_factory=list)
    refused: int = 0

    def send_all(self) -> float:
        """Send everything and return the seconds it took."""
        began = time.perf_counter()
        threads = [threading.Thread(target=self._work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began

    def _work(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            while self.requests:
                try:
                    request = self.requests.pop()
                except IndexError:  # another thread was faster
                    return
                began = time.perf_counter()
                status, answer = post(connection, request)
                self.answer_s.append(time.perf_counter() - began)
                self.refused += not is_acknowledged(request, status, answer)


def _serve(folder: Path, bodies: Sequence[Request]) -> Served:
    with Server(folder) as server:
        Pool(server.port, list(bodies[:WARM_UP])).send_all()
        pool = Pool(server.port, list(bodies[WARM_UP:]))
        used_s = cpu_s(server.pid)
        took_s = pool.send_all()
        used_s = cpu_s(server.pid) - used_s
    assert not pool.refused, f"{pool.refused} requests were refused"
    spans = SPANS_A_REQUEST * len(pool.answer_s)
    return Served(spans / took_s, used_s / spans * 1e6, percentile_ms(pool.answer_s, 50), percentile_ms(pool.answer_s, 99))


def _insert(folder: Path, bodies: Sequence[Request]) -> float:
    """Return the rows a second of the fastest way there is from Python, by the statement and the pragmas of the storage itself."""
    rows = _rows_of(bodies)
    folder.mkdir()
    storage = SqliteStorage(f"sqlite:///{folder / 'flowspan.db'}", Settings().fold_every_ms)
    storage.open()
    with closing(storage._connect("FULL", BUSY_MS)) as connection:
        began = time.perf_counter()
        for first in range(0, len(rows), ROWS_A_TRANSACTION):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statements.SPANS, rows[first : first + ROWS_A_TRANSACTION])
            connection.execute("COMMIT")
        took_s = time.perf_counter() - began
    storage.close()
    return len(rows) / took_s


def _rows_of(bodies: Sequence[Request]) -> list[tuple[object, ...]]:
    rows: list[SpanRow] = []
    for request in bodies:
        rows += decode_traces(request.body, Encoding.PROTOBUF, (pipeline.DIALECT, plain.DIALECT), time.time_ns(), 0).batch.spans
    return list(statements.with_seq(rows, 1))


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """Return what this many percent of the times stay under, in ms."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000
