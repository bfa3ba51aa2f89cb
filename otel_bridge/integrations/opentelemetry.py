"""`opentelemetry-instrument`: a program started under it shows its spans while they run, with no code at all, where FLOWSPAN_URL is set."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from otel_bridge import autobind
from otel_bridge.endpoints import is_told_by_exporters
from otel_bridge.guard import harmlessly
from otel_bridge.live import LiveSpanProcessor


class FlowspanInstrumentor:
    """What the distribution loads by entry point, after it has made the program's providers, and calls as it calls every instrumentor."""

    @harmlessly
    def instrument(self, **_: Any) -> None:
        """Watch the spans of the global provider, and follow the engines that are imported. Does nothing unless FLOWSPAN_URL is set."""
        if not autobind.is_wanted():
            return
        add = getattr(trace.get_tracer_provider(), "add_span_processor", None)
        if add is not None:
            add(LiveSpanProcessor(finished=not is_told_by_exporters()))
        autobind.install()

    def uninstrument(self, **_: Any) -> None:
        """A provider lets go of no processor; it stays."""
