"""One run through two doors: flow events and OTLP meet in the same rows, whatever came first."""

from __future__ import annotations

from typing import Any

import pytest

from otel_bridge.identity import run_key, run_span_id, task_span_id
from tests.builders import at
from tests.in_process import PROTOBUF, Server, eventually
from tests.otlp_bodies import a_span, pairs, span_request

KEY = run_key("flowspan", "r1")
NAMES = {"cicd.pipeline.run.id": "r1", "cicd.pipeline.name": "etl"}

EVENTS: list[dict[str, Any]] = [
    {"event": "flow_started", "run_id": "r1", "flow": "etl", "ts": at(0)},
    {"event": "task_started", "run_id": "r1", "flow": "etl", "task": "load", "node": "load:1", "ts": at(1)},
    {"event": "task_log", "run_id": "r1", "node": "load:1", "level": "INFO", "message": "half way", "ts": at(2)},
    {"event": "task_ok", "run_id": "r1", "flow": "etl", "task": "load", "node": "load:1", "duration_ms": 4, "ts": at(5)},
    {"event": "flow_completed", "run_id": "r1", "flow": "etl", "tasks": 1, "ts": at(6)},
]
RUN_SPAN: dict[str, Any] = {
    "name": "etl",
    "attributes": pairs(NAMES | {"flowspan.role": "run"}),
    "start_time_unix_nano": at(0),
    "end_time_unix_nano": at(6),
}
TASK_SPAN: dict[str, Any] = {
    "name": "load",
    "attributes": pairs(NAMES | {"cicd.pipeline.task.name": "load", "cicd.pipeline.task.run.id": "load:1"}),
    "start_time_unix_nano": at(1),
    "end_time_unix_nano": at(5),
}


def own_spans() -> bytes:
    """Return the run as the bridge traces it: with ids computed from the run's."""
    run = a_span(trace_id=KEY, span_id=run_span_id(KEY), **RUN_SPAN)
    task = a_span(trace_id=KEY, span_id=task_span_id(KEY, "load:1"), parent_span_id=run_span_id(KEY), **TASK_SPAN)
    return span_request(task, run).SerializeToString()


def foreign_spans() -> bytes:
    """Return the run as any program traces it: with random ids."""
    run = a_span(trace_id=b"t" * 16, span_id=b"r" * 8, **RUN_SPAN)
    task = a_span(trace_id=b"t" * 16, span_id=b"s" * 8, parent_span_id=b"r" * 8, **TASK_SPAN)
    return span_request(task, run).SerializeToString()


# What is seen of the run, whichever door told of it.
EXPECTED = {
    "flow": ("etl", {"SUCCEEDED": 1}),
    "run": ("r1", "run", "SUCCEEDED", "2026-11-18T11:06:40.000000Z", "2026-11-18T11:06:40.006000Z", {"SUCCEEDED": 1}),
    "task": ("load:1", "load", "SUCCEEDED", "2026-11-18T11:06:40.001000Z", "2026-11-18T11:06:40.005000Z", 4.0, 1),
    "log": [("half way", "load:1")],
}


def seen(server: Server) -> Any:
    """Return what is seen of the one run there is."""
    (flow,) = server.json("/api/v1/flows")["items"]
    (run,) = server.json("/api/v1/runs")["items"]
    (task,) = server.json("/api/v1/runs/r1/tasks")["items"]
    lines = server.json("/api/v1/runs/r1/logs")["items"]
    task_fields = ("id", "task_name", "status", "started_at", "finished_at", "duration_ms", "attempt")
    return {
        "flow": (flow["flow_key"], flow["run_counts"]),
        "run": tuple(run[name] for name in ("run_id", "kind", "status", "started_at", "finished_at", "counts")),
        "task": tuple(task[name] for name in task_fields),
        "log": [(line["message"], line["task_node"]) for line in lines],
    }


def is_folded(server: Server) -> bool:
    """Return whether the lists know all that the run's own address knows."""
    fresh = _without_moment(server.json("/api/v1/runs/r1"))
    return [fresh] == [_without_moment(run) for run in server.json("/api/v1/runs")["items"]]


def _without_moment(run: Any) -> Any:
    """Leave out which moment of the store a run was read at."""
    return {name: value for name, value in run.items() if name not in ("version", "cursor")}


# R023
@pytest.mark.parametrize("spans", [own_spans(), foreign_spans()], ids=["ids of ours", "foreign ids"])
@pytest.mark.parametrize(
    ("before", "after"), [(EVENTS, []), ([], EVENTS), (EVENTS[:2], EVENTS[2:]), (EVENTS[3:], EVENTS[:3]), (EVENTS, EVENTS)]
)
def test_both_doors_of_one_run_make_one_run(server: Server, spans: bytes, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    server.send(*before)
    server.post("/v1/traces", spans, PROTOBUF)
    server.send(*after)

    eventually(lambda: is_folded(server))
    assert EXPECTED == seen(server)


# R023
def test_one_door_alone_shows_the_same(server: Server) -> None:
    server.send(*EVENTS)

    eventually(lambda: is_folded(server))
    assert EXPECTED == seen(server)


# R023 R064 R065
def test_an_event_and_its_span_of_the_bridge_are_one_row(server: Server) -> None:
    server.send(*EVENTS)
    server.post("/v1/traces", own_spans(), PROTOBUF)

    document = server.json(f"/api/v1/traces/{KEY.hex()}")

    spans = [span["spanId"] for envelope in document["resourceSpans"] for group in envelope["scopeSpans"] for span in group["spans"]]
    assert sorted([run_span_id(KEY).hex(), task_span_id(KEY, "load:1").hex()]) == sorted(spans)
