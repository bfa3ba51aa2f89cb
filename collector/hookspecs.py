"""The whole plugin surface on one page: four hooks, each called once, at start. Built-in plugins use the same four.

A plugin is a module with `@hookimpl` functions, found by the entry-point group "flowspan". No span ever travels through a hook call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pluggy

from collector.dialects import Dialect
from collector.doors import Collector, Door
from collector.settings import Settings
from collector.storage import Storage

hookspec = pluggy.HookspecMarker("flowspan")
hookimpl = pluggy.HookimplMarker("flowspan")


class Viewer(Protocol):
    """The viewer, as far as a plugin may change it."""

    def add_templates(self, folder: Path) -> None:
        """Look for templates in this folder before the built-in ones."""
        ...

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Make a Jinja filter known to every template."""
        ...

    def add_link(self, label: str, href: str) -> None:
        """Put a link beside Flows and Runs."""
        ...


@hookspec(firstresult=True)
def make_storage(settings: Settings) -> Storage | None:
    """Return a storage if settings.storage_url() is yours, else None. The first that answers wins; an error here stops the start."""


@hookspec
def make_doors(collector: Collector) -> Sequence[Door]:  # type: ignore[empty-body]  # a hookspec has no body
    """Return doors: HTTP routes and background tasks through which facts come in or are looked at."""


@hookspec
def make_dialects() -> Sequence[Dialect]:  # type: ignore[empty-body]  # a hookspec has no body
    """Return dialects: tables that recognise runs and tasks in OTLP. Lower `order` is asked first."""


@hookspec
def extend_viewer(viewer: Viewer) -> None:
    """Add template folders, filters and navigation links to the viewer."""
