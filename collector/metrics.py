"""What the collector knows of itself, as Prometheus metrics: rates, refusals, queue, commits, sockets. One registry an application.

Where several processes serve the same port, a scrape reaches any of them: they keep their numbers in files of one folder, and each shows
the sums. A gauge says how it is summed (multiprocess_mode).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from collector.storage import Reader

# From a commit on a laptop's SSD (about 1 ms) to a database in trouble.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Where prometheus_client looks for the files.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(folder: Path, worker: int) -> None:
    """Let every Metrics made from now on count in files of this folder, and show the sums of all workers.

    worker: this process's number. One that takes the place of a dead one has the same, and counts on from where that stopped.
    """
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]  # half of the library is untyped


def forget_gauges(folder: Path, worker: int) -> None:
    """Take what a dead worker held (sockets, bytes) out of the sums; what it counted stays."""
    mark_process_dead(worker, str(folder))  # type: ignore[no-untyped-call]  # the same


class Metrics:
    """Every metric, by the name it has in /metrics without its prefix `flowspan_`."""

    def __init__(self) -> None:
        """Make a registry of our own, so that two applications in one process do not meet."""
        registry = self.registry = CollectorRegistry()
        self.received = Counter("flowspan_received", "Records that came in, before any was refused", ["signal"], registry=registry)
        self.stored = Counter("flowspan_stored", "Records committed and acknowledged", ["signal"], registry=registry)
        self.refused = Counter("flowspan_refused", "Records or requests refused, by reason", ["signal", "reason"], registry=registry)
        self.queue_bytes = Gauge(
            "flowspan_queue_bytes", "Bytes being received, waiting or being committed", registry=registry, multiprocess_mode="livesum"
        )
        self.commit_seconds = Histogram("flowspan_commit_seconds", "Time of one commit", registry=registry, buckets=_SECONDS)
        self.commit_requests = Histogram(
            "flowspan_commit_requests", "Requests in one commit", registry=registry, buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
        )
        self.fold_seconds = Histogram("flowspan_fold_seconds", "Time of one round of folding", registry=registry, buckets=_SECONDS)
        self.expire_seconds = Histogram(
            "flowspan_expire_seconds", "Time of one step of deleting what is too old", registry=registry, buckets=_SECONDS
        )
        self.expired_facts = Counter("flowspan_expired_facts", "Spans, moments and log records deleted for their age", registry=registry)
        self.expired_runs = Counter("flowspan_expired_runs", "Runs deleted with the last of their facts", registry=registry)
        self.freed_bytes = Counter("flowspan_freed_bytes", "Space given back to the disk", registry=registry)
        self.read_seconds = Histogram("flowspan_read_seconds", "Time of one read of the store", registry=registry, buckets=_SECONDS)
        self.loop_lag_seconds = Histogram(
            "flowspan_loop_lag_seconds", "How late the event loop wakes a task up: what holds it", registry=registry, buckets=_SECONDS
        )
        self.store_failures = Counter("flowspan_store_failures", "Commits and folds the store could not do", registry=registry)
        self.sockets = Gauge("flowspan_sockets", "Open live connections", ["kind"], registry=registry, multiprocess_mode="livesum")
        self.resyncs = Counter("flowspan_resyncs", "Watchers told to begin again because they fell behind", registry=registry)
        self.plugin_failures = Counter("flowspan_plugin_failures", "Plugin calls that raised", ["plugin"], registry=registry)
        self.requests = Counter("flowspan_http_requests", "HTTP requests", ["method", "route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "flowspan_http_request_seconds", "Time of one HTTP request", ["route"], registry=registry, buckets=_SECONDS
        )

        self._of_requests: dict[tuple[str, str, int], Counter] = {}
        self._of_routes: dict[str, Histogram] = {}

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request. Looking a child up by its labels costs 2 us, twice a request: they are kept, and as few as their labels."""
        key = (method, route, status)
        if key not in self._of_requests:
            self._of_requests[key] = self.requests.labels(method, route, str(status))
            self._of_routes[route] = self.request_seconds.labels(route)
        self._of_requests[key].inc()
        self._of_routes[route].observe(seconds)

    def measure(self, reader: Reader) -> Reader:
        """Return this reader with every question timed: a storage knows nothing of metrics."""
        return cast(Reader, _Measured(reader, self.read_seconds))

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format; those of all workers, if there are several."""
        if _FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the same
        return generate_latest(together)


class _Measured:
    """Passes questions on to a reader and observes how long each took."""

    def __init__(self, reader: Reader, seconds: Histogram) -> None:
        self._reader = reader
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        question = getattr(self._reader, name)

        async def ask(*words: Any, **more: Any) -> Any:
            began = time.perf_counter()
            try:
                return await question(*words, **more)
            finally:
                self._seconds.observe(time.perf_counter() - began)

        return ask
