"""Calls back when the program has imported a module. It imports nothing itself, and finds what the other finders find."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

# Python asks finders and loaders by what they have, not by what they are; `importlib.abc` costs 20 ms of import.
if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object

_waiting: dict[str, Callable[[], object]] = {}


def when_imported(name: str, then: Callable[[], object]) -> None:
    """Call `then` once the module of this name has been imported; now, if it is. Asked again before that, the last word counts."""
    if name in sys.modules:
        then()
        return
    _waiting[name] = then
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def forget(name: str) -> None:
    """Do not call back for this module any more."""
    _waiting.pop(name, None)


class _Finder(MetaPathFinder):
    """Finds what the other finders find, for the names somebody waits for."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname not in _waiting:
            return None
        finds = (getattr(finder, "find_spec", None) for finder in sys.meta_path if finder is not self)  # old ones have none
        spec = next(filter(None, (find(fullname, path, target) for find in finds if find is not None)), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads as the loader it stands for, then calls back. Who only looks for the module (`python -m celery` does) loads nothing."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        """Answer as the real loader: who asks for a module's code or data asks this one."""
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # Who asks the module for its loader must find the real one: resources and pickles are read through it.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        then = _waiting.pop(module.__name__, None)
        if then is not None:
            then()
