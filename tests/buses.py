"""A bus of a program's own, and a run told by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from otel_bridge import bind, post_event_sink
from otel_bridge.places import enter
from tests.watching import Told


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
def nowhere() -> Iterator[None]:
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


def attempts(told: Told, run_id: str) -> list[int]:
    """Return at which attempt each task run of a run is."""
    return [task["attempt"] for task in told.run(run_id, "/tasks")]
