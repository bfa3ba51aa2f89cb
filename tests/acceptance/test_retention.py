"""A server forgets by itself what is older than is kept: a store that was written long ago is served, and shrinks while it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from collector.rows import DAY_NS, RowMaker
from otel_bridge.facts import Fact
from otel_bridge.lifecycle import facts_of
from storage_plugins.sqlite.storage import SqliteStorage
from tests.in_process import eventually
from tests.servers import Server

KEPT_DAYS = 10
OLD_RUNS = 60


def write(storage: SqliteStorage, run_id: str, days_ago: int, *events: dict[str, Any]) -> None:
    """Store events of a run as if they had come so many days ago."""
    received_ns = time.time_ns() - days_ago * DAY_NS
    facts: list[Fact] = []
    for place, event in enumerate(events):
        facts += facts_of({"run_id": run_id, "flow": "etl", "ts": received_ns + place, **event}, received_ns)
    storage.writer.write(RowMaker(received_ns).add_all(facts))


def write_old_store(database: Path) -> None:
    """Store runs that are old, one that is new, and one that lies between."""
    begun, ended = {"event": "flow_started"}, {"event": "flow_completed"}
    task = [{"event": name, "task": "load", "node": "load:1"} for name in ("task_started", "task_succeeded")]
    storage = SqliteStorage(f"sqlite:///{database}", 0)
    storage.open()
    for number in range(OLD_RUNS):
        write(storage, f"old-{number}", 3 * KEPT_DAYS, begun, *task, ended)
    write(storage, "between", 2 * KEPT_DAYS, begun, *task)
    write(storage, "between", 1, {"event": "task_log", "node": "load:1", "message": "the end"}, ended)
    write(storage, "new", 1, begun, *task, ended)
    storage.close()


def metric(server: Server, name: str) -> float:
    """Return one number of /metrics."""
    lines = server.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


# R156
def test_a_server_deletes_what_is_older_than_it_keeps(tmp_path: Path) -> None:
    server = Server(tmp_path, RETENTION_DAYS=str(KEPT_DAYS), FLOWSPAN_FOLD_EVERY_MS="0")
    write_old_store(server.database)
    before = server.database.stat().st_size
    with server:
        listed = server.wait_for("/api/v1/runs?limit=1000", lambda page: {"between", "new"} == {run["run_id"] for run in page["items"]})
        gone, flow = server.get("/api/v1/runs/old-1"), server.get_json("/api/v1/flows/etl")
        between, page = server.run("between"), server.get("/runs/between").text
        wait_until_shrunk(server)
        facts, runs = metric(server, "flowspan_expired_facts_total"), metric(server, "flowspan_expired_runs_total")

    assert {"between": True, "new": False} == {run["run_id"]: run["partly_deleted"] for run in listed["items"]}
    assert (404, {"SUCCEEDED": 2}) == (gone.status_code, flow["run_counts"])
    assert ("SUCCEEDED", {"SUCCEEDED": 1}, True) == (between["status"], between["counts"], between["partly_deleted"])
    assert f"Some of this run is older than {KEPT_DAYS} days and has been deleted." in page
    assert (4 * OLD_RUNS + 3, OLD_RUNS) == (facts, runs)
    assert server.database.stat().st_size < before


def wait_until_shrunk(server: Server) -> None:
    """Wait until space was given back to the disk."""
    eventually(lambda: metric(server, "flowspan_freed_bytes_total") > 0)


# R156
def test_a_server_that_keeps_everything_deletes_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path, RETENTION_DAYS="0")
    write_old_store(server.database)
    with server:
        page = server.wait_for("/api/v1/runs?limit=1000", lambda page: len(page["items"]) == OLD_RUNS + 2)

    assert {False} == {run["partly_deleted"] for run in page["items"]}
