"""The bridge: what a program imports to be seen. Every name is loaded when it is first used; the OpenTelemetry SDK, where it is needed.

With FLOWSPAN_URL (or AUTO_WORKFLOW_SERVER_URL) set, importing this package also has engines followed that are imported later (autobind.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_bridge.bridge import configure, flush, shutdown
    from otel_bridge.bus import bind, post_event_sink
    from otel_bridge.carrying import carry
    from otel_bridge.flows import flow, log, progress, run, task
    from otel_bridge.live import LiveSpanProcessor
    from otel_bridge.log_records import FlowspanHandler

__all__ = [
    "FlowspanHandler",
    "LiveSpanProcessor",
    "bind",
    "carry",
    "configure",
    "flow",
    "flush",
    "log",
    "post_event_sink",
    "progress",
    "run",
    "shutdown",
    "task",
]

_HOMES = {
    **dict.fromkeys(("configure", "flush", "shutdown"), "bridge"),
    **dict.fromkeys(("bind", "post_event_sink"), "bus"),
    "carry": "carrying",
    **dict.fromkeys(("flow", "log", "progress", "run", "task"), "flows"),
    "LiveSpanProcessor": "live",
    "FlowspanHandler": "log_records",
}


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def _follow_engines() -> None:
    from otel_bridge import autobind

    autobind.install()


_follow_engines()
