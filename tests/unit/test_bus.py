"""Any bus with `subscribe(name, callback)`: runs told by its events, by one callback a name or one function for all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import pytest

from otel_bridge import guard, post_event_sink
from otel_bridge.facts import harmless, short_key
from tests import buses, watching
from tests.buses import Bus, attempts, bound, shared, tell_run
from tests.watching import Told

told = watching.told
run_id = buses.run_id
nowhere = buses.nowhere

ODD_NAMES = ["load/orders", "a:b:c", "ünï ☃", "<script>alert(1)</script>", "with\x00nul", "half \ud800 of a pair", " ", "x" * 3000]


# R161
@pytest.mark.parametrize("make", [bound, shared])
def test_a_run_is_told_by_the_events_of_a_bus(told: Told, run_id: str, make: Callable[[], Bus]) -> None:
    tell_run(make(), run_id)

    run, tasks = told.run(run_id), {task["id"]: task for task in told.run(run_id, "/tasks")}
    assert ("FAILED", "etl", 3) == (run["status"], run["flow_name"], run["tasks_declared"])
    assert {"extract:1": ("SUCCEEDED", 1), "load:1": ("FAILED", 2)} == {node: (task["status"], task["attempt"]) for node, task in tasks.items()}
    assert [("extract:1", "in extract"), ("load:1", "in load")] == told.lines(run_id)[:2]


# R170
def test_a_bus_bound_and_subscribed_by_hand_tells_everything_once(told: Told, run_id: str) -> None:
    bus = bound()
    for name in ("task_log", "task_retry", "flow_started", "task_started"):
        bus.subscribe(name, post_event_sink)

    tell_run(bus, run_id)

    assert 2 == len([line for line in told.lines(run_id) if line[1].startswith("in ")])
    assert [1, 2] == attempts(told, run_id)


# R166
def test_interleaved_runs_are_told_apart_by_their_context(told: Told, run_id: str) -> None:
    bus, contexts = bound(), [copy_context(), copy_context()]
    for number, context in enumerate(contexts):
        context.run(bus.emit, "flow_started", flow="etl", run_id=f"{run_id}-{number}")
    for context in contexts:
        context.run(bus.emit, "task_started", task="load", node="load:1")
    contexts[0].run(bus.emit, "task_retry", task="load", attempt=1, max=2)
    for context in contexts:
        context.run(bus.emit, "task_ok", task="load", node="load:1", duration_ms=1.0)
    contexts[1].run(bus.emit, "flow_completed", flow="etl", run_id=f"{run_id}-1", tasks=1)

    assert [[2], [1]] == [attempts(told, one) for one in (f"{run_id}-0", f"{run_id}-1")]
    assert ["RUNNING", "SUCCEEDED"] == [told.run(one)["status"] for one in (f"{run_id}-0", f"{run_id}-1")]


# R166
def test_events_outside_of_any_context_go_to_the_run_they_name(told: Told, run_id: str) -> None:
    bus = bound()
    for one in (run_id, f"{run_id}-2"):
        copy_context().run(bus.emit, "flow_started", flow="etl", run_id=one)

    bus.emit("task_started", task="load", node="load:1", run_id=run_id)
    Context().run(bus.emit, "task_started", task="load", node="load:2")  # of which of the two nobody can know
    bus.emit("task_log", message="of the run", level="INFO", run_id=f"{run_id}-2")

    assert ({"load:1": "RUNNING"}, {}) == (told.states(run_id), told.states(f"{run_id}-2"))
    assert [(None, "of the run")] == told.lines(f"{run_id}-2")


# R015 R173
@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_any_kind_are_told(told: Told, name: str) -> None:
    bus = bound()

    tell_run(bus, name, tasks=[name])

    run = told.run(short_key(harmless(name)))
    assert ("SUCCEEDED", 1) == (run["status"], len(told.run(run["run_id"], "/tasks")))


class Hostile:
    """What a program may put into its parameters."""

    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


# R015 R167 R173
def test_parameters_of_any_kind_are_told_and_cut(told: Told, run_id: str) -> None:
    itself: list[Any] = []
    itself.append(itself)
    params = {
        "bytes": b"\xff\x00",
        "nan": float("nan"),
        "huge": 10**5000,
        "hostile": Hostile(),
        "itself": itself,
        7: "seven",
        "long": "x" * 10**6,
    }
    bus = bound()

    bus.emit("flow_started", flow="etl", run_id=run_id, params={**params, "table": [[number] * 50 for number in range(10_000)]})
    bus.emit("task_started", task="load", node="load:1", tags=["half \ud800", 7], priority=10**30, extra={"half \udfff": "\x00"})
    bus.emit("task_log", level="half \ud800", message="half \ud800 of a pair", payload=params)
    bus.emit("task_err", task="load", node="load:1", error="half \ud800")
    bus.emit("flow_completed", flow="etl", run_id=run_id, tasks=0)

    run = told.run(run_id)
    assert ({"load:1": "FAILED"}, ("load:1", "half \ufffd of a pair")) == (told.states(run_id), told.lines(run_id)[0])
    assert ("FAILED", "seven") == (run["status"], run["params"]["7"])
    assert ("nan", True) == (run["params"]["nan"], "Hostile" in run["params"]["hostile"])
    assert len(str(run["params"])) < 40_000


def test_metadata_of_any_shape_is_kept_beside_what_is_known(told: Told, run_id: str) -> None:
    bus = bound()

    bus.emit("flow_started", flow="etl", run_id=run_id, metadata=["nightly"])

    metadata = told.run(run_id)["metadata"]
    assert (["nightly"], True) == (metadata["metadata"], "python" in metadata)


# R172
def test_a_payload_nobody_understands_is_logged_once_counted_and_costs_its_neighbours_nothing(
    told: Told, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus, before = bound(), sum(guard.failures().values())
    caplog.set_level(logging.WARNING, logger="otel_bridge")

    bus.emit("flow_started", flow="etl")
    bus.emit("flow_started", flow="etl", run_id=run_id)
    for payload in ({}, {"task": "load", "attempt": "first"}, {"node": 7}):
        bus.emit("task_retry", **payload)
        bus.emit("task_started", **payload)
    bus.emit("task_log", message=Hostile(), level=Hostile())
    post_event_sink([1, 2])  # type: ignore[arg-type]  # what a bus may do
    tell_run(bus, f"{run_id}-2")

    assert ("RUNNING", "FAILED") == (told.run(run_id)["status"], told.run(f"{run_id}-2")["status"])
    assert sum(guard.failures().values()) - before > 3
    assert len(caplog.records) <= len({(record.name, record.getMessage()) for record in caplog.records}) <= 3
