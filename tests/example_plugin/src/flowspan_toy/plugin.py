"""The entry point: the four hooks, each in a line or two. What they return is in the other modules."""

from __future__ import annotations

from collections.abc import Sequence

from collector.dialects import Dialect
from collector.doors import Collector, Door
from collector.hookspecs import Viewer, hookimpl
from collector.settings import Settings
from collector.storage import Storage
from flowspan_toy.dialect import DIALECT
from flowspan_toy.door import ToyDoor
from flowspan_toy.storage import ToyStorage


@hookimpl
def make_storage(settings: Settings) -> Storage | None:
    """Answer for `toy:` addresses only: for any other, another plugin does."""
    return ToyStorage() if settings.storage_url().startswith("toy:") else None


@hookimpl
def make_doors(collector: Collector) -> Sequence[Door]:
    """Open GET /toy/hello and POST /toy/steps."""
    return [Door("toy", ToyDoor(collector).routes())]


@hookimpl
def make_dialects() -> Sequence[Dialect]:
    """Recognise spans and log records of the scope `toy`."""
    return [DIALECT]


@hookimpl
def extend_viewer(viewer: Viewer) -> None:
    """Put a link beside Flows and Runs."""
    viewer.add_link("Toy", "/toy/hello")
