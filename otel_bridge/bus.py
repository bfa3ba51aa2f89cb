"""Event buses: any `subscribe(name, callback)` whose callbacks are called, with a payload, in the context of what they tell of.

A bus that passes no event name has one callback bound for each name; one function under all names (`post_event_sink`) tells it by the keys.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from otel_bridge.flow_event import event_name
from otel_bridge.guard import harmlessly
from otel_bridge.places import Place, current, enter, is_in
from otel_bridge.runs import Run, RunName

logger = logging.getLogger(__name__)

Payload = Mapping[str, Any]
Callback = Callable[[Payload], None]
Subscribe = Callable[[str, Callback], object]

# The names of seed 000, and those that auto-workflow's bus really uses.
NAMES = (
    "flow_started",
    "flow_completed",
    "flow_failed",
    "flow_cancelled",
    "task_started",
    "task_ok",
    "task_succeeded",
    "task_err",
    "task_failed",
    "task_retry",
    "task_log",
    "middleware_error",
)


# A bus that does not tell of failures leaves runs behind; who has so many open is told of by the context.
MOST_FOLLOWED = 1_000

# The callbacks of one event are called one after the other in one context.
_heard: ContextVar[Payload | None] = ContextVar("flowspan_heard", default=None)


class _Followed(NamedTuple):
    """A run that a bus tells of, and where it was started."""

    run: Run
    before: Place | None


class Bus:
    """Follows the runs that one bus tells of. Events go by their context, never by the last start: runs nest, overlap, and run in threads."""

    def __init__(self) -> None:
        """Follow nothing yet."""
        self._runs: dict[str, _Followed] = {}
        self._lock = threading.Lock()
        self._hears: Mapping[str, Callable[[Payload], None]] = {
            "flow_started": self.flow_started,
            "flow_completed": self.flow_completed,
            "flow_failed": self.flow_completed,
            "flow_cancelled": self.flow_completed,
            "task_started": self.task_started,
            "task_ok": self.task_ended,
            "task_succeeded": self.task_ended,
            "task_err": self.task_ended,
            "task_failed": self.task_ended,
            "task_retry": self._task_retried,
            "task_log": self._logged,
            "middleware_error": self._middleware_failed,
        }

    def bind(self, subscribe: Subscribe, names: tuple[str, ...] = NAMES) -> None:
        """Subscribe under each of these names."""
        for name in names:
            subscribe(name, self._hearing(name))

    @harmlessly
    def hear(self, name: str, payload: Payload) -> None:
        """Take one event. The same payload heard again, by a second subscription of ours, changes nothing."""
        if payload is _heard.get():
            return
        _heard.set(payload)
        hears = self._hears.get(name)
        if hears is not None:
            hears(payload)

    def flow_started(self, payload: Payload) -> None:
        """Begin a run and be in it from here on."""
        run = Run(RunName(str(payload["run_id"]), str(payload.get("flow", ""))))
        self.follow(run, **_beyond(payload, "run_id", "flow"))

    def follow(self, run: Run, **said: Any) -> None:
        """Begin this run and be in it from here on."""
        before = current()
        with self._lock:
            self._runs[run.name.run_id] = _Followed(run, before)
            if len(self._runs) > MOST_FOLLOWED:
                del self._runs[next(iter(self._runs))]
        run.begin(parent=before, **said)
        enter(Place(run))

    def leave(self, run: Run) -> None:
        """Follow this run no longer; where it was entered, be again where it was started."""
        with self._lock:
            followed = self._runs.pop(run.name.run_id, None)
        if followed is not None and is_in(run):
            enter(followed.before)

    def task_started(self, payload: Payload) -> None:
        """Begin a task run and be in it from here on."""
        place = self._place_of(payload)
        if place is None:
            return
        node = str(payload.get("node") or payload["task"])
        place.run.begin_task(node, str(payload["task"]), **_beyond(payload, "task", "node", "run_id", "flow"))
        enter(Place(place.run, node))

    def task_ended(self, payload: Payload) -> None:
        """End a task run."""
        place = self._place_of(payload)
        if place is not None:
            error = payload.get("error")
            more = {"traceback": payload["traceback"]} if "traceback" in payload else {}
            place.run.end_task(place.node, error=None if error is None else str(error), **more)
            if current() == place:
                enter(Place(place.run))

    def _task_retried(self, payload: Payload) -> None:
        """The engine names no node: the context does, if its node is of that task."""
        place = self._place_of(payload)
        if place is not None:
            most = payload.get("max")
            place.run.retry(place.node, int(payload["attempt"]), None if most is None else int(most), payload.get("error"))

    def flow_completed(self, payload: Payload) -> None:
        """End a run."""
        place = self._place_of(payload)
        if place is not None:
            more = {"tasks": payload["tasks"]} if "tasks" in payload else {}
            place.run.end(error=payload.get("error"), **more)
            self.leave(place.run)

    def _logged(self, payload: Payload) -> None:
        place = self._place_of(payload)
        if place is not None:
            place.run.log(str(payload.get("message", "")), payload.get("level", "INFO"), place.node, payload.get("payload"))

    def _middleware_failed(self, payload: Payload) -> None:
        place = self._place_of(payload)
        if place is not None:
            place.run.log(f"middleware failed: {payload.get('error')}", "ERROR", place.node, _beyond(payload, "error"))

    def _place_of(self, payload: Payload) -> Place | None:
        """Return where an event belongs: to the run it names, else to that of its context, else to the only one there is."""
        here = current()
        stated = payload.get("run_id")
        run = self._named(str(stated)) if stated is not None else here.run if here is not None else self._only_run()
        if run is None:
            logger.debug("an event of no known run is left out")
            return None
        node = payload.get("node")
        if node is None and here is not None and here.run is run and payload.get("task") in (None, run.task_of(here.node)):
            node = here.node
        return Place(run, str(node) if node is not None else "")

    def _named(self, run_id: str) -> Run | None:
        followed = self._runs.get(run_id)
        return followed.run if followed is not None else None

    def _only_run(self) -> Run | None:
        runs = list(self._runs.values())
        return runs[0].run if len(runs) == 1 else None

    def _hearing(self, name: str) -> Callback:
        return lambda payload: self.hear(name, payload)


_shared = Bus()


def bind(subscribe: Subscribe, *, names: tuple[str, ...] = NAMES) -> None:
    """Have a bus tell its flows here: `bind(subscribe)` where it has `subscribe(name, callback)`.

    names: of its events, in either spelling of EVENTS. Callbacks only enqueue; nothing they do can raise into the bus.
    """
    _shared.bind(subscribe, names)


@harmlessly
def post_event_sink(payload: Payload) -> None:
    """Take one event of a bus that calls every subscriber alike; what it is called is told by its keys (seed 000, option 2).

    Never raises. Beside a bus that is bound already the same event counts once.
    """
    _shared.hear(event_name(payload), payload)


def _beyond(payload: Payload, *names: str) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key not in names}
