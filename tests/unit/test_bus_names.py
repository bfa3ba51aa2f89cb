"""What the name of a bus's event says: every name of lifecycle.EVENTS, both its spellings, and names nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from typing import Any

import pytest

from otel_bridge import bind, guard, post_event_sink
from otel_bridge import bus as followed
from tests import buses, watching
from tests.buses import Bus, attempts, bound
from tests.watching import Told

told = watching.told
run_id = buses.run_id
nowhere = buses.nowhere


# R013 R161
@pytest.mark.parametrize(
    ("name", "said", "state"),
    [
        ("flow_completed", {}, "SUCCEEDED"),
        ("flow_completed", {"error": None, "traceback": None}, "SUCCEEDED"),
        ("flow_completed", {"status": "cancelled"}, "CANCELLED"),
        ("flow_completed", {"result": "timeout"}, "FAILED"),
        ("flow_completed", {"result": [1, 2]}, "SUCCEEDED"),
        ("flow_completed", {"error": "ValueError('bad')", "status": "over"}, "FAILED"),
        ("flow_succeeded", {"parent": "mine", "self": 1, 7: "seven"}, "SUCCEEDED"),
        ("flow_failed", {"reason": "disk full"}, "FAILED"),
        ("flow_cancelled", {"event": "FlowCancelled", "ts": "some time"}, "CANCELLED"),
    ],
)
@pytest.mark.parametrize("by", ["bound", "by hand"])
def test_a_run_ends_as_the_name_of_its_last_event_says(
    told: Told, run_id: str, by: str, name: str, said: Mapping[Any, Any], state: str
) -> None:
    names = {"flow": "etl", "run_id": run_id}

    for event, payload in (("flow_started", names), (name, {**said, **names})):
        _send(by, event, payload)

    assert (state, "etl") == (told.run(run_id)["status"], told.run(run_id)["flow_name"])


# R013 R161
@pytest.mark.parametrize(
    ("name", "said", "state"),
    [
        ("task_ok", {}, "SUCCEEDED"),
        ("task_succeeded", {"result": "cancelled", "traceback": None, "error": None}, "SUCCEEDED"),
        ("task_failed", {}, "FAILED"),
        ("task_failed", {"error": ValueError("bad"), "traceback": object()}, "FAILED"),
        ("task_err", {"result": "timeout"}, "FAILED"),
        ("task_cancelled", {}, "CANCELLED"),
        ("task_skipped", {"reason": "not today"}, "SKIPPED"),
        ("task_paused", {}, "PAUSED"),
    ],
)
@pytest.mark.parametrize("by", ["bound", "by hand"])
def test_a_task_run_is_in_the_state_that_its_last_event_names(
    told: Told, run_id: str, by: str, name: str, said: Mapping[str, Any], state: str
) -> None:
    _send(by, "flow_started", {"flow": "etl", "run_id": run_id})
    _send(by, "task_started", {"task": "load"})
    Context().run(_send, by, name, {"task": "load", "run_id": run_id, **said})

    assert {"load": state} == told.states(run_id)
    _send(by, "flow_cancelled", {"run_id": run_id})


# R161
def test_what_is_announced_queued_paused_and_resumed_is_told(told: Told, run_id: str) -> None:
    bus, names = bound(), {"flow": "etl", "run_id": run_id, "source": "airport", "generation": 2}
    states = []

    for name in ("flow_announced", "flow_queued", "flow_started", "flow_paused", "flow_resumed"):
        bus.send(name, {**names, "params": {"day": 7}})
        states.append(told.run(run_id)["status"])
    for name, node in (("task_announced", "load:1"), ("task_queued", "load:2"), ("task_started", "load:3"), ("task_paused", "load:3")):
        bus.emit(name, task="load", node=node)

    assert ["PENDING", "QUEUED", "RUNNING", "PAUSED", "RUNNING"] == states
    assert {"load:1": "PENDING", "load:2": "QUEUED", "load:3": "PAUSED"} == told.states(run_id)
    assert ("airport", {"day": 7}) == (told.run(run_id)["source"], told.run(run_id)["params"])


# R166
def test_a_retry_outside_of_any_context_is_given_to_the_open_node_of_its_task(told: Told, run_id: str) -> None:
    bus = bound()

    bus.emit("flow_started", flow="etl", run_id=run_id, ts="some time")
    bus.emit("task_started", task="load", node="load:1", ts="some time")
    Context().run(bus.emit, "task_retry", task="load", attempt=1, error=OSError("try again"), run_id=run_id)
    bus.emit("flow_paused")

    assert ("PAUSED", [2]) == (told.run(run_id)["status"], attempts(told, run_id))
    bus.emit("flow_completed")


# R013
def test_a_run_may_be_cancelled_before_it_begins_and_keeps_nothing_from_another(told: Told, run_id: str) -> None:
    bus = Bus()
    followed.Bus().bind(bus.subscribe)

    bus.emit("flow_queued", flow="etl", run_id=run_id)
    Context().run(bus.emit, "flow_started", flow="etl", run_id=f"{run_id}-2")
    bus.emit("task_log", message="of the one that runs", level="INFO")
    bus.emit("flow_cancelled", run_id=run_id)

    assert ["CANCELLED", "RUNNING"] == [told.run(one)["status"] for one in (run_id, f"{run_id}-2")]
    assert [(None, "of the one that runs")] == told.lines(f"{run_id}-2")


# R170
def test_one_payload_may_tell_several_events(told: Told, run_id: str) -> None:
    bus, flow, task = bound(), {"flow": "etl", "run_id": run_id}, {"task": "load", "node": "load:1", "run_id": f"{run_id}-2"}
    for name in ("flow_started", "flow_completed", "task_started", "task_skipped"):
        bus.subscribe(name, post_event_sink)  # who takes the ends, by their keys, for starts

    bus.emit("flow_started", flow="etl", run_id=f"{run_id}-2")
    for name, payload in (("task_started", task), ("task_skipped", task), ("flow_started", flow), ("flow_completed", flow)):
        bus.send(name, payload)

    assert ("SUCCEEDED", {"load:1": "SKIPPED"}) == (told.run(run_id)["status"], told.states(f"{run_id}-2"))
    bus.emit("flow_completed", run_id=f"{run_id}-2")


class Counting(followed.Bus):
    """Counts the ends of task runs that it takes."""

    ended = 0

    def task_ended(self, name: str, payload: followed.Payload) -> None:
        self.ended += 1
        super().task_ended(name, payload)


# R170
def test_an_end_sent_under_both_its_spellings_counts_once(told: Told, run_id: str) -> None:
    bus, counting = Bus(), Counting()
    counting.bind(bus.subscribe)
    payload = {"task": "load", "node": "load:1", "duration_ms": 3}

    bus.emit("flow_started", flow="etl", run_id=run_id)
    for name in ("task_started", "task_ok", "task_succeeded"):
        bus.send(name, payload)

    assert (1, {"load:1": "SUCCEEDED"}) == (counting.ended, told.states(run_id))


# R172
def test_events_of_names_nobody_knows_are_counted_and_change_nothing(told: Told, run_id: str) -> None:
    bus, before = Bus(), sum(guard.failures().values())
    bind(bus.subscribe, names=("flow_started", "flow_exploded"))

    bus.emit("flow_started", flow="etl", run_id=run_id)
    bus.emit("flow_exploded", flow="etl", run_id=run_id)
    post_event_sink({"event": "task_evaporated", "run_id": run_id, "task": "load"})

    assert 2 == sum(guard.failures().values()) - before
    assert ("RUNNING", {}) == (told.run(run_id)["status"], told.states(run_id))


def _send(by: str, name: str, payload: Mapping[Any, Any]) -> None:
    """Tell an event by its name: over a bus that is bound, or by hand."""
    if by == "bound":
        bound().send(name, payload)
    else:
        post_event_sink({**payload, "event": name})
