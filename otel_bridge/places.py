"""Where in which run the code of this context is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from otel_bridge import conventions as c
from otel_bridge.facts import harmless, short_key
from otel_bridge.guard import harmlessly
from otel_bridge.identity import run_span_id, task_span_id

if TYPE_CHECKING:
    from otel_bridge.runs import Run


@dataclass(frozen=True, slots=True)
class Place:
    """Where code runs: in a run, and in a node of it, empty for the run itself."""

    run: Run
    node: str = ""

    def traceparent(self) -> str:
        """Return the span of this place as W3C Trace Context writes it."""
        key = self.run.key
        span_id = task_span_id(key, short_key(harmless(self.node))) if self.node else run_span_id(key)
        return f"00-{key.hex()}-{span_id.hex()}-01"

    def names(self) -> Mapping[str, Any]:
        """Return the attributes that make a span a part of this task run."""
        name = self.run.name
        stated: dict[str, Any] = {c.PIPELINE_RUN_ID: name.run_id, c.SOURCE: name.source, c.ROLE: c.ROLE_PART}
        if name.generation:
            stated[c.GENERATION] = name.generation
        if self.node:
            stated[c.NODE] = self.node
        return stated


_place: ContextVar[Place | None] = ContextVar("flowspan_place", default=None)


def current() -> Place | None:
    """Return where this context is, None outside of any run. A thread that outlives its run is in none."""
    place = _place.get()
    return place if place is not None and not place.run.is_over else None


@harmlessly
def current_span() -> str | None:
    """Return the program's own current span as W3C Trace Context writes it; None if it has none, or does not use OpenTelemetry."""
    asked = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    context = asked().get_span_context() if asked is not None else None
    if context is None or not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 0xFF:02x}"


def entered() -> Place | None:
    """Return where this context is, even if that run is over."""
    return _place.get()


def is_in(run: Run) -> bool:
    """Return whether this context is in this run, even if the run is over."""
    place = _place.get()
    return place is not None and place.run is run


def enter(place: Place | None) -> None:
    """Be there from now on, in this context: for event buses, whose callbacks run in the context of what they tell of."""
    _place.set(place)


class at:
    """Be there within the block. Adds no frame to the traceback of what leaves it."""

    __slots__ = ("_outside", "_place")

    def __init__(self, place: Place | None) -> None:
        """place: None for outside of any run."""
        self._place = place

    def __enter__(self) -> None:
        self._outside = _place.get()
        _place.set(self._place)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _place.set(self._outside)
