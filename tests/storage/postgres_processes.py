"""Processes on one Postgres, for tests: one that writes batches of flow events; two that fold, or expire, until they are killed.

python -m tests.storage.postgres_processes write URL < batches, a JSON array of events in each line
python -m tests.storage.postgres_processes fold URL > a line for each round
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

from collector.rows import RowMaker
from otel_bridge.lifecycle import facts_of
from storage_plugins.postgres.storage import PostgresStorage
from tests.storage.opened_postgres import FOLD_EVERY_MS, opened

ROOT = Path(__file__).parents[2]

Events = Sequence[dict[str, Any]]


def start(work: str, url: str) -> subprocess.Popen[str]:
    """Start one."""
    command = [sys.executable, "-m", "tests.storage.postgres_processes", work, url]
    return subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True)


def write(url: str, batches: Sequence[Events]) -> None:
    """Write each batch in a transaction of its own."""
    with opened(url) as storage:
        for events in batches:
            received_ns = time.time_ns()
            storage.writer.write(RowMaker(received_ns).add_all(fact for event in events for fact in facts_of(event, received_ns)))


def fold(url: str) -> None:
    """Fold until killed."""
    with opened(url) as storage:
        while True:
            storage.writer.fold(time.time_ns())
            sys.stdout.write("folded\n")
            sys.stdout.flush()


def expire(url: str) -> None:
    """Take away what is older than a day, until killed."""
    storage = PostgresStorage(url, FOLD_EVERY_MS, retention_days=1)
    storage.open()
    while True:
        storage.writer.expire(time.time_ns())
        sys.stdout.write("expired\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], [json.loads(line) for line in sys.stdin])
    elif sys.argv[1] == "fold":
        fold(sys.argv[2])
    else:
        expire(sys.argv[2])
