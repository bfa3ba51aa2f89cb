"""Jobs of RQ, seen while they wait, run and are tried again, with no call of Flowspan's in them. Needs a Redis (REDIS_URL).

Started by `flowspan run python examples/rq_jobs.py` (with FLOWSPAN_URL set) it enqueues three jobs and works on them until none is left.
"""

from __future__ import annotations

import logging
import os
import tempfile
from importlib import import_module
from pathlib import Path

from redis import Redis  # type: ignore[import-not-found]  # comes with RQ, into the environment of the engines
from rq import Queue, Retry, Worker

logger = logging.getLogger("orders")


def extract(day: str) -> list[int]:
    """Read the orders of a day."""
    logger.warning("reading the orders of %s", day)
    return [3, 5, 8]


def load(day: str, marker: str) -> int:
    """Load them. The first try finds the warehouse busy, as its marker is not there yet."""
    if not Path(marker).exists():
        Path(marker).touch()
        raise ConnectionError("the warehouse is busy")
    return len(day)


def report(day: str) -> float:
    """Divide by the number of customers, of whom there are none."""
    customers: list[str] = []
    return len(day) / len(customers)


def main() -> None:
    """Enqueue the jobs, and work on them in this process's children."""
    jobs = import_module("rq_jobs")  # a worker imports them by their name; here it is __main__
    queue = Queue("flowspan-example", connection=Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")))
    with tempfile.TemporaryDirectory() as folder:
        extracted = queue.enqueue(jobs.extract, "2026-11-21")
        queue.enqueue(jobs.load, "2026-11-21", marker=f"{folder}/busy", depends_on=extracted, retry=Retry(max=2))
        queue.enqueue(jobs.report, day="2026-11-21")
        Worker([queue]).work(burst=True, logging_level="WARNING")


if __name__ == "__main__":
    main()
