"""Any bus with `subscribe(name, callback)`: runs told by its events, by one callback a name or one function for all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import Any
from uuid import uuid4

import pytest

from otel_bridge import bind, guard, post_event_sink
from otel_bridge import bus as buses
from otel_bridge.facts import harmless, short_key
from otel_bridge.places import enter
from tests import watching
from tests.watching import Told

told = watching.told

ODD_NAMES = ["load/orders", "a:b:c", "ünï ☃", "<script>alert(1)</script>", "with\x00nul", "half \ud800 of a pair", " ", "x" * 3000]


class Bus:
    """A bus of its own, as small as one can be: it passes no name to its subscribers, and each event goes to all of them."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[Mapping[str, Any]], object]]] = {}

    def subscribe(self, name: str, callback: Callable[[Mapping[str, Any]], object]) -> None:
        self._callbacks.setdefault(name, []).append(callback)

    def emit(self, name: str, **payload: Any) -> None:
        self.send(name, payload)

    def send(self, name: str, payload: Mapping[str, Any]) -> None:
        for callback in self._callbacks.get(name, []):
            callback(payload)


@pytest.fixture(autouse=True)
def _nowhere() -> Iterator[None]:
    """Be in no run after a test, whatever its bus has left behind."""
    yield
    enter(None)


@pytest.fixture
def run_id() -> str:
    """Return an id of this test's own: the server is the file's."""
    return uuid4().hex


def bound() -> Bus:
    bus = Bus()
    bind(bus.subscribe)
    return bus


def shared() -> Bus:
    bus = Bus()
    for name in ("flow_started", "flow_completed", "task_started", "task_ok", "task_err", "task_retry", "task_log"):
        bus.subscribe(name, post_event_sink)
    return bus


def tell_run(bus: Bus, run_id: str, *, tasks: Iterable[str] = ("extract", "load")) -> None:
    """Tell a run as a bus does that names the run in its flow events only. The second task fails at its second try."""
    bus.emit("flow_started", flow="etl", run_id=run_id)
    for number, task in enumerate(tasks):
        bus.emit("task_started", task=task, node=f"{task}:1")
        bus.emit("task_log", level="WARNING", message=f"in {task}")
        if number:
            bus.emit("task_retry", task=task, attempt=1, max=2)
            bus.emit("task_err", task=task, node=f"{task}:1", error="ValueError('bad')")
        else:
            bus.emit("task_ok", task=task, node=f"{task}:1", duration_ms=1.0)
    bus.emit("flow_completed", flow="etl", run_id=run_id, tasks=3)


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
    assert [1, 2] == _attempts(told, run_id)


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

    assert [[2], [1]] == [_attempts(told, one) for one in (f"{run_id}-0", f"{run_id}-1")]
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

    assert ("PAUSED", [2]) == (told.run(run_id)["status"], _attempts(told, run_id))
    bus.emit("flow_completed")


# R013
def test_a_run_may_be_cancelled_before_it_begins_and_keeps_nothing_from_another(told: Told, run_id: str) -> None:
    bus = Bus()
    buses.Bus().bind(bus.subscribe)

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


class Counting(buses.Bus):
    """Counts the ends of task runs that it takes."""

    ended = 0

    def task_ended(self, name: str, payload: buses.Payload) -> None:
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


def _attempts(told: Told, run_id: str) -> list[int]:
    return [task["attempt"] for task in told.run(run_id, "/tasks")]
