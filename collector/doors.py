"""What a door is given and what it gives: the Collector it is made for, its routes and its background tasks.

A door is a way for facts to come in (OTLP, flow events) or to be looked at (the viewer). Plugins make doors with the hook make_doors.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

if TYPE_CHECKING:
    import pluggy

    from collector.batcher import Batcher
    from collector.credentials import Keys
    from collector.dialects import Dialect
    from collector.list_tail import ListTail
    from collector.metrics import Metrics
    from collector.receipts import Receipts
    from collector.settings import Settings
    from collector.storage import Reader
    from collector.tail import Tail


@dataclass(slots=True)
class Collector:
    """The running collector, as plugins see it."""

    settings: Settings
    reader: Reader
    batcher: Batcher
    tail: Tail
    list_tail: ListTail
    dialects: Sequence[Dialect]
    keys: Keys
    receipts: Receipts
    metrics: Metrics
    plugins: pluggy.PluginManager


@dataclass(slots=True)
class Door:
    """Routes to mount, and coroutines to run from start to stop (each is cancelled at the stop)."""

    name: str
    routes: Sequence[BaseRoute] = ()
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
