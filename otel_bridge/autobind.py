"""Opt-in by environment: with FLOWSPAN_URL (or AUTO_WORKFLOW_SERVER_URL) set, engines are followed when the program imports them.

`install` runs before the program does, from the `sitecustomize` of `flowspan run` or of PYTHONPATH="$(flowspan preload)"; or when `otel_bridge`
is imported. It imports no engine: it waits, as an import hook, until the program does.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from otel_bridge.guard import harmlessly
from otel_bridge.settings import URL_NAMES

# Engine's module -> ours that binds it.
ENGINES = {
    "auto_workflow": "otel_bridge.integrations.auto_workflow",
}


def is_wanted() -> bool:
    """Return whether the environment asks for it."""
    return any(os.environ.get(name, "").strip() for name in URL_NAMES)


@harmlessly
def install() -> None:
    """Follow the engines that are imported already, and those that will be. Does nothing unless the environment asks for it."""
    if not is_wanted() or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    waiting = {engine: ours for engine, ours in ENGINES.items() if engine not in sys.modules}
    sys.meta_path.insert(0, _Finder(waiting))
    for engine in ENGINES.keys() - waiting.keys():
        bind_engine(ENGINES[engine])


@harmlessly
def bind_engine(integration: str) -> None:
    """Bind one engine, that has just been imported; and take the program's log lines."""
    from otel_bridge.log_records import install_factory

    import_module(integration).bind()
    install_factory()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the other finders find, and has an engine bound once it has been loaded."""

    def __init__(self, waiting: dict[str, str]) -> None:
        self._waiting = waiting

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        integration = self._waiting.pop(fullname, None)
        if integration is None:
            return None
        spec = importlib.util.find_spec(fullname)  # asks us too, but its name is gone by now
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, lambda: bind_engine(integration))
        return spec


class _Loader(importlib.abc.Loader):
    """Loads as the loader it stands for, then tells that it has."""

    def __init__(self, loader: importlib.abc.Loader, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Who asks the module for its loader must find the real one: resources and pickles are read through it.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then()
