"""Event buses: any `subscribe(name, callback)` whose callbacks are called, with a payload, in the context of what they tell of.

A bus that passes no event name has one callback bound for each name; one function under all names (`post_event_sink`) tells it by the keys.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from otel_bridge import conventions as c
from otel_bridge.failures import MOST_MESSAGE_CHARS, error_fields
from otel_bridge.flow_event import EITHER, RUN, TASK, event_name
from otel_bridge.guard import harmlessly
from otel_bridge.json_text import cut
from otel_bridge.lifecycle import EVENTS, meaning_of, stated_result
from otel_bridge.places import Place, current, enter, is_in
from otel_bridge.runs import Run, RunName
from otel_bridge.timestamps import to_ns

logger = logging.getLogger(__name__)

Payload = Mapping[str, Any]
Callback = Callable[[Payload], None]
Subscribe = Callable[[str, Callback], object]

NAMES = tuple(EVENTS)

# What names an event and its run; `self` is in the payload of who sends locals().
_RUN_FIELDS = frozenset({"event", "run_id", "flow", "flow_key", "source", "generation", "self"})

# A bus that does not tell of failures leaves runs behind; who has so many open is told of by the context.
MOST_FOLLOWED = 1_000


class _Heard(NamedTuple):
    """An event that was heard. is_named: by its name, not only by what its keys tell."""

    payload: Payload
    kind: tuple[str, str]
    is_named: bool


# The callbacks of one event are called one after the other in one context.
_heard: ContextVar[_Heard | None] = ContextVar("flowspan_heard", default=None)


class _Followed(NamedTuple):
    """A run that a bus tells of, and where it was started; one that is yet to begin has been entered nowhere."""

    run: Run
    before: Place | None = None
    has_begun: bool = True


class Bus:
    """Follows the runs that one bus tells of. Events go by their context, never by the last start: runs nest, overlap, and run in threads."""

    def __init__(self) -> None:
        """Follow nothing yet."""
        self._runs: dict[str, _Followed] = {}
        self._lock = threading.Lock()
        # By what EVENTS says of a name; any other kind is told as it is.
        self._hears: Mapping[tuple[str, str], Callable[[str, Payload], None]] = {
            (RUN, c.ANNOUNCED): self._flow_foretold,
            (RUN, c.QUEUED): self._flow_foretold,
            (RUN, c.BEGUN): self.flow_started,
            (RUN, ""): self.flow_ended,
            (TASK, c.BEGUN): self.task_started,
            (TASK, ""): self.task_ended,
            (EITHER, "task_log"): self._logged,
            (EITHER, "flow_log"): self._logged,
            (RUN, "middleware_error"): self._middleware_failed,
        }

    def bind(self, subscribe: Subscribe, names: tuple[str, ...] = NAMES) -> None:
        """Subscribe under each of these names."""
        for name in names:
            subscribe(name, self._hearing(name))

    @harmlessly
    def hear(self, name: str, payload: Payload, *, is_named: bool = True) -> None:
        """Take one event. One heard again, by a second subscription of ours, changes nothing; a payload may be sent for several events.

        is_named: whether the name is more than a guess from the keys.
        """
        kind, last = meaning_of(name).kind, _heard.get()
        if last is not None and payload is last.payload and (kind == last.kind or (last.is_named and not is_named)):
            return
        _heard.set(_Heard(payload, kind, is_named))
        self._hears.get(kind, self._told)(name, payload)

    def flow_started(self, name: str, payload: Payload) -> None:
        """Begin a run and be in it from here on."""
        self.follow(Run(_run_name(payload)), _said(payload))

    def follow(self, run: Run, said: Payload) -> None:
        """Begin this run and be in it from here on."""
        before = current()
        self._keep(_Followed(run, before))
        run.begin(**{**said, "parent": before})
        enter(Place(run))

    def _flow_foretold(self, name: str, payload: Payload) -> None:
        """Tell of a run that will begin: it may be cancelled before."""
        run = self._named(str(payload["run_id"]))
        if run is None:
            run = Run(_run_name(payload))
            self._keep(_Followed(run, has_begun=False))
        tell = run.queue if name == "flow_queued" else run.announce
        tell(**{**_said(payload), "parent": None if is_in(run) else current()})

    def _keep(self, followed: _Followed) -> None:
        with self._lock:
            self._runs[followed.run.name.run_id] = followed
            if len(self._runs) > MOST_FOLLOWED:
                del self._runs[next(iter(self._runs))]

    def leave(self, run: Run) -> None:
        """Follow this run no longer; where it was entered, be again where it was started."""
        with self._lock:
            followed = self._runs.pop(run.name.run_id, None)
        if followed is not None and is_in(run):
            enter(followed.before)

    def task_started(self, name: str, payload: Payload) -> None:
        """Begin a task run and be in it from here on."""
        place = self._place_of(payload)
        if place is None:
            return
        node, said = str(payload.get("node") or payload["task"]), _said(payload, "task", "node")
        place.run.begin_task(node, str(payload["task"]), begun_ns=said.pop("ts", 0), **said)
        enter(Place(place.run, node))

    def task_ended(self, name: str, payload: Payload) -> None:
        """End a task run. A success with an error beside it is one only by its keys."""
        place = self._place_of(payload)
        if place is not None:
            error, (result, _) = payload.get("error") or None, stated_result(meaning_of(name), payload)
            result = "" if error is not None and result == c.RESULT_SUCCESS else result
            node = place.node or str(payload.get("task", ""))
            place.run.end_task(node, error=error, result=result, **_said(payload, "task", "node", "error", "result"))
            if current() == place:
                enter(Place(place.run))

    def flow_ended(self, name: str, payload: Payload) -> None:
        """End a run."""
        place = self._place_of(payload)
        if place is not None:
            result, field = stated_result(meaning_of(name), payload)
            said = _said(payload, "error", field)
            word = said.pop("result", "")
            place.run.end(error=payload.get("error") or None, result=result or (word if isinstance(word, str) else ""), **said)
            self.leave(place.run)

    def _told(self, name: str, payload: Payload) -> None:
        """Tell a moment as it is. A retry without a node is left to the server, who knows which nodes of its task are open."""
        place, meaning = self._place_of(payload), meaning_of(name)
        if place is None:
            return
        node = place.node or ("" if meaning.word == c.RETRIED else str(payload.get("task", "")))
        said = {**_said(payload, "node", "error"), **error_fields(payload.get("error"))}
        place.run.tell(name, said, node if meaning.about == TASK else "")

    def _logged(self, name: str, payload: Payload) -> None:
        place = self._place_of(payload)
        if place is not None:
            place.run.log(str(payload.get("message", "")), payload.get("level", "INFO"), place.node, payload.get("payload"))

    def _middleware_failed(self, name: str, payload: Payload) -> None:
        place = self._place_of(payload)
        if place is not None:
            place.run.log(f"middleware failed: {payload.get('error')}", "ERROR", place.node, _said(payload, "error"))

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
        begun = [followed.run for followed in list(self._runs.values()) if followed.has_begun]
        return begun[0] if len(begun) == 1 else None

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
    _shared.hear(event_name(payload), payload, is_named=payload.get("event") is not None)


def _run_name(payload: Payload) -> RunName:
    generation = payload.get("generation")
    return RunName(
        str(payload["run_id"]),
        str(payload.get("flow") or ""),
        str(payload.get("flow_key") or ""),
        str(payload.get("source") or c.DEFAULT_SOURCE),
        generation if isinstance(generation, int) else 0,
    )


def _said(payload: Payload, *others: str) -> dict[str, Any]:
    """Return what an event says beside its name, its run and these others, its texts cut; its time in ns, if one can be read."""
    stated = {str(key): value for key, value in payload.items() if value is not None and key not in _RUN_FIELDS and key not in others}
    said = {key: cut(value, MOST_MESSAGE_CHARS) if isinstance(value, str) else value for key, value in stated.items()}
    if not isinstance(said.get("traceback", ""), str):  # the object; of an exception the text is told anyhow
        del said["traceback"]
    own_ns = to_ns(said.pop("ts", None))
    return {**said, "ts": own_ns} if own_ns else said
