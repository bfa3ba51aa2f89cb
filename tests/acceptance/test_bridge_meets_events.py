"""What the bridge makes of a run's events meets the events themselves: the same picture alone, in the same rows together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_bridge.encoding import Encoder
from otel_bridge.facts import SpanEnd
from otel_bridge.lifecycle import facts_of
from otel_bridge.recorder import Recorder
from otel_bridge.resource import resource_of
from tests.in_process import GZIP, PROTOBUF, Server, running

RECORDINGS = sorted((Path(__file__).parents[1] / "recordings").glob("*.jsonl"))
# Beside the six ends and moments of the recordings: what else a run may tell, one of each.
EVERYTHING: list[dict[str, Any]] = [
    {"event": "flow_queued"},
    {"event": "flow_started", "params": {"day": 1}, "tags": ["a"], "metadata": {"host": "here"}, "description": "Loads", "flow_key": "m:etl"},
    {"event": "task_announced", "task": "load", "node": "load:1", "upstream": ["extract:1"]},
    {"event": "task_announced", "task": "never", "node": "never:1"},
    {"event": "task_queued", "task": "load", "node": "load:1", "priority": 3, "run_in": "thread"},
    {"event": "task_started", "task": "load", "node": "load:1", "task_key": "m:load", "tags": ["slow"]},
    {"event": "flow_log", "level": "DEBUG", "message": "of the run"},
    {"event": "task_log", "task": "load", "node": "load:1", "level": 30, "message": "of the task ☃", "payload": {"rows": 3}},
    {"event": "task_retry", "task": "load", "node": "load:1", "attempt": 1, "max": 2, "error": "OSError('again')"},
    {"event": "task_started", "task": "part", "node": "part:1", "parent_node": "load:1"},
    {"event": "task_cancelled", "task": "part", "node": "part:1"},
    {"event": "flow_paused"},
    {"event": "flow_resumed"},
    {"event": "middleware_error", "task": "load", "error": "KeyError('x')"},
    {"event": "task_err", "task": "load", "node": "load:1", "duration_ms": 4, "error": "ValueError('bad')", "traceback": "Traceback ..."},
    {"event": "flow_failed", "error": "ValueError('bad')", "tasks": 2, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"},
]
START_NS = 1_795_000_000 * 10**9


def _recorded(name: str) -> list[dict[str, Any]]:
    if name == "everything":
        return [{"run_id": "r1", "flow": "etl", "ts": START_NS + place * 10**6, **event} for place, event in enumerate(EVERYTHING)]
    lines = next(path for path in RECORDINGS if path.stem == name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _bridge(server: Server, events: list[dict[str, Any]]) -> None:
    """Send what the bridge makes of these events."""
    encoder = Encoder()
    recorder = Recorder(encoder, resource_of("test", "instance"))
    for event in events:
        for fact in facts_of(event, event["ts"]):
            recorder.record(fact)
    for parcel in encoder.take_parcels():
        answer = server.post(parcel.path, parcel.body, PROTOBUF, GZIP)
        assert (200, b"") == (answer.status_code, answer.content)
    recorder.shutdown()


def _shown(server: Server, events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is seen of these events' runs, but for names of rows."""
    seen = {}
    for run_id in {event["run_id"] for event in events}:
        run, tasks, lines = (server.json(f"/api/v1/runs/{run_id}{part}") for part in ("", "/tasks", "/logs"))
        told = [(line["ts"], line["task_node"], line["level"], line["message"]) for line in lines["items"]]
        seen[run_id] = (_steady(run), [_steady(task) for task in tasks["items"]], told)
    return seen


def _steady(shown: dict[str, Any]) -> dict[str, Any]:
    """Leave out what comes a little later than the rest, or counts writes."""
    return {key: value for key, value in shown.items() if key not in ("version", "cursor", "flow_id", "task_id")}


# R159 R004 R170
@pytest.mark.parametrize("name", ["everything", *(path.stem for path in RECORDINGS)])
def test_a_run_told_by_the_bridge_by_events_and_by_both_looks_the_same(name: str) -> None:
    events = _recorded(name)
    with running() as by_events, running() as by_bridge, running() as by_both:
        assert {"ok": True} == by_events.send(*events).json()
        _bridge(by_bridge, events)
        _bridge(by_both, events)
        by_both.post("/api/events", json.dumps(events), {"Content-Type": "application/json"})
        _bridge(by_both, events)

        expected = _shown(by_events, events)
        assert expected == _shown(by_bridge, events)
        runs_and_tasks = {run_id: seen[:2] for run_id, seen in expected.items()}
        assert runs_and_tasks == {run_id: seen[:2] for run_id, seen in _shown(by_both, events).items()}


# R159
def test_a_run_is_a_root_span_a_task_its_child_and_a_link_leads_to_where_it_was_started() -> None:
    encoder = Encoder()
    recorder = Recorder(encoder, resource_of("test", "instance"))
    finished = [fact for event in _recorded("everything") for fact in facts_of(event, event["ts"]) if isinstance(fact, SpanEnd)]
    with running() as server:
        _bridge(server, _recorded("everything"))

        (trace_id,) = server.json("/api/v1/runs/r1")["trace_ids"]
        groups = server.json(f"/api/v1/traces/{trace_id}")["resourceSpans"]
    spans = {span["name"]: span for group in groups for scope in group["scopeSpans"] for span in scope["spans"]}
    recorder.shutdown()

    assert [fact.span_id.hex() for fact in finished] == [spans[name]["spanId"] for name in ("part", "load", "etl")]
    assert spans["etl"]["spanId"] == spans["load"]["parentSpanId"]
    assert spans["load"]["spanId"] == spans["part"]["parentSpanId"]
    assert [("ab" * 16, "cd" * 8)] == [(link["traceId"], link["spanId"]) for link in spans["etl"]["links"]]
    assert ["log", "flowspan.span.retried", "exception"] == [event["name"] for event in spans["load"]["events"]]
