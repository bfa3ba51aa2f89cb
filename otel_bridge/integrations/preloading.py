"""What a process that forks its workers imports once for all of them. Otherwise each work horse of RQ would, for every job: 0.2 s of a core."""

from __future__ import annotations

from importlib import import_module

from otel_bridge import bridge
from otel_bridge.guard import harmlessly

MODULES = ("otel_bridge.recorder", "otel_bridge.encoding", "otel_bridge.live_spans", "http.client", "sqlite3")


@harmlessly
def preload() -> None:
    """Import what the bridge's threads need, if there is anybody to tell. No thread is started."""
    for module in MODULES if bridge.is_on() else ():
        import_module(module)
