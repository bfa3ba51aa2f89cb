"""Whether the cached runs say what the facts say: the list (the cache) against each run's own address (folded afresh), over the API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode

from tests.bench.stored import Where, count_marks

Data = dict[str, Any]

PAGE = 500
POLL_S = 0.1
# What differs though nothing does: a list says from which view of the store its row was made.
ONLY_FRESH = ("trace_ids", "version", "cursor")


def wait_until_folded(where: Where, timeout_s: float) -> float:
    """Wait until no run waits to be folded; return how many seconds that took. Raises TimeoutError."""
    began = time.monotonic()
    pause = threading.Event()
    while count_marks(where):
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"{count_marks(where)} runs still wait to be folded after {timeout_s} s")
        pause.wait(POLL_S)
    return time.monotonic() - began


def compare_folds(port: int) -> tuple[int, list[str]]:
    """Return how many runs are listed, and the ids of those whose row differs from a fresh fold."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    runs = list(_listed(connection))
    differing = [run["run_id"] for run in runs if _without(run) != _without(_fresh(connection, run))]
    connection.close()
    return len(runs), differing


def _listed(connection: HTTPConnection) -> Iterator[Data]:
    cursor: str | None = ""
    while cursor is not None:
        page = get_json(connection, f"/api/v1/runs?{urlencode({'limit': PAGE} | ({'cursor': cursor} if cursor else {}))}")
        yield from page["items"]
        cursor = page["next_cursor"]


def _fresh(connection: HTTPConnection, run: Data) -> Data:
    which = urlencode({"source": run["source"], "generation": run["generation"]})
    return get_json(connection, f"/api/v1/runs/{quote(run['run_id'], safe='')}?{which}")


def _without(run: Data) -> Data:
    return {name: value for name, value in run.items() if name not in ONLY_FRESH}


def get_json(connection: HTTPConnection, path: str) -> Data:
    """Return the JSON at an address. Raises AssertionError for any answer but 200."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (answer.status, body)
    found: Data = json.loads(body)
    return found
