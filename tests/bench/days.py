"""What a new day costs those who write, beside a reader that takes its time. Postgres only: SQLite keeps all days in one table."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from collector.batch import Batch
from collector.steady import at, batch_of, run_begun, run_ended
from storage_plugins.postgres.days import FACT_TABLES
from storage_plugins.postgres.storage import PostgresStorage
from tests.bench.ingest import percentile_ms
from tests.bench.places import open_place
from tests.bench.table import Figure

DAYS = 30
DAY_S = 86_400
QUIET_S = 3.0
FOLD_EVERY_MS = 250


def measure_days(folder: Path, storage: str) -> list[Figure]:
    """Write one small batch after the other while another process makes days, and while it drops them."""
    if storage == "sqlite":
        return []
    with open_place(storage, folder) as place, closing(_opened(place.url)) as writer, closing(_opened(place.url)) as other:
        for one in (writer, other):  # connects, and makes what is there on any day but a store's first
            _timed(one, 0)
        gc.freeze()  # as serve does: to collect in here held both threads 60-100 ms
        with _reading(place.url):
            with _writing(writer) as quiet:
                threading.Event().wait(QUIET_S)
            with _writing(writer) as making:
                first_s = [_timed(other, day) for day in range(1, DAYS + 1)]
            with _writing(writer, DAYS) as dropping:
                _expire(other)
        with _writing(writer, DAYS) as dropping_alone:
            dropped = _expire(other)
    return [
        _longest("a commit beside a long reader", quiet, ""),
        _longest("while another makes days", making, "; budget 50"),
        _longest("while another drops what it can, beside the reader", dropping, "; budget 50"),
        _longest("while another drops days", dropping_alone, f"; {dropped} facts went; budget 50"),
        Figure("the first write of a day, p50 ms", percentile_ms(first_s, 50), f"longest {max(first_s) * 1000:.1f}"),
    ]


def _opened(url: str) -> PostgresStorage:
    storage = PostgresStorage(url, FOLD_EVERY_MS, retention_days=1)
    storage.open()
    return storage


def _longest(name: str, seconds: list[float], note: str) -> Figure:
    return Figure(f"{name}, longest ms", max(seconds) * 1000, f"p99 {percentile_ms(seconds, 99):.1f} of {len(seconds)}{note}")


def _expire(storage: PostgresStorage) -> int:
    """Drop every day but the last, as far as it goes just now; return how many facts went."""
    facts = 0
    while (expired := storage.writer.expire(at((DAYS + 1) * DAY_S))) is not None:
        facts += expired.facts
    return facts


@contextmanager
def _reading(url: str) -> Iterator[None]:
    with psycopg.connect(url) as reader:
        for table in FACT_TABLES:
            reader.execute(f"SELECT count(*) FROM {table}".encode())
        yield


@contextmanager
def _writing(storage: PostgresStorage, day: int = 0) -> Iterator[list[float]]:
    """Write all the time; the list grows by how long each took."""
    seconds: list[float] = []
    stopping = threading.Event()

    def write() -> None:
        while not stopping.is_set():
            seconds.append(_timed(storage, day))

    thread = threading.Thread(target=write)
    thread.start()
    yield seconds
    stopping.set()
    thread.join()


def _timed(storage: PostgresStorage, day: int) -> float:
    batch = _facts(day)
    began = time.perf_counter()
    storage.writer.write(batch)
    return time.perf_counter() - began


def _facts(day: int) -> Batch:
    run_id = f"r{time.time_ns()}"
    return batch_of(run_begun(run_id, day * DAY_S), run_ended(run_id, day * DAY_S + 1), received_s=day * DAY_S)
