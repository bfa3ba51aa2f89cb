"""What the collector knows of itself, as Prometheus metrics: rates, refusals, queue, commits, sockets. One registry an application."""

from __future__ import annotations

import time
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from collector.storage import Reader

# From a commit on a laptop's SSD (about 1 ms) to a database in trouble.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Every metric, by the name it has in /metrics without its prefix `flowspan_`."""

    def __init__(self) -> None:
        """Make a registry of our own, so that two applications in one process do not meet."""
        registry = self.registry = CollectorRegistry()
        self.received = Counter("flowspan_received", "Records that came in, before any was refused", ["signal"], registry=registry)
        self.stored = Counter("flowspan_stored", "Records committed and acknowledged", ["signal"], registry=registry)
        self.refused = Counter("flowspan_refused", "Records or requests refused, by reason", ["signal", "reason"], registry=registry)
        self.queue_bytes = Gauge("flowspan_queue_bytes", "Bytes being received, waiting or being committed", registry=registry)
        self.commit_seconds = Histogram("flowspan_commit_seconds", "Time of one commit", registry=registry, buckets=_SECONDS)
        self.commit_requests = Histogram(
            "flowspan_commit_requests", "Requests in one commit", registry=registry, buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
        )
        self.fold_seconds = Histogram("flowspan_fold_seconds", "Time of one round of folding", registry=registry, buckets=_SECONDS)
        self.read_seconds = Histogram("flowspan_read_seconds", "Time of one read of the store", registry=registry, buckets=_SECONDS)
        self.store_failures = Counter("flowspan_store_failures", "Commits and folds the store could not do", registry=registry)
        self.sockets = Gauge("flowspan_sockets", "Open live connections", ["kind"], registry=registry)
        self.resyncs = Counter("flowspan_resyncs", "Watchers told to begin again because they fell behind", registry=registry)
        self.plugin_failures = Counter("flowspan_plugin_failures", "Plugin calls that raised", ["plugin"], registry=registry)
        self.requests = Counter("flowspan_http_requests", "HTTP requests", ["method", "route", "status"], registry=registry)
        self.request_seconds = Histogram(
            "flowspan_http_request_seconds", "Time of one HTTP request", ["route"], registry=registry, buckets=_SECONDS
        )

    def measure(self, reader: Reader) -> Reader:
        """Return this reader with every question timed: a storage knows nothing of metrics."""
        return cast(Reader, _Measured(reader, self.read_seconds))

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)


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
