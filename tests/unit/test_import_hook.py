"""Being told when the program has imported a module, and that nothing of importing changes by it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from otel_bridge.import_hook import forget, when_imported

NAME = "flowspan_watched_module"


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a module of that name that can be imported, and has not been."""
    (tmp_path / f"{NAME}.py").write_text("value = 7\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    forget(NAME)
    sys.modules.pop(NAME, None)


def test_who_waits_is_told_once_when_the_module_is_there() -> None:
    seen: list[object] = []
    when_imported(NAME, lambda: seen.append(sys.modules[NAME].value))

    before = list(seen)
    module = importlib.import_module(NAME)
    importlib.reload(module)

    assert ([], [7]) == (before, seen)


def test_a_module_that_is_there_is_told_at_once() -> None:
    seen: list[str] = []

    when_imported("json", lambda: seen.append("json"))

    assert ["json"] == seen


def test_a_mere_look_for_the_module_uses_nothing_up() -> None:
    seen: list[str] = []
    when_imported(NAME, lambda: seen.append(NAME))

    spec = importlib.util.find_spec(NAME)
    looked = list(seen)
    importlib.import_module(NAME)

    assert spec is not None and spec.loader is not None
    assert ("value = 7\n", [], [NAME]) == (spec.loader.get_source(NAME), looked, seen)  # type: ignore[attr-defined]  # a source loader has it


def test_the_module_has_the_loader_it_would_have_had() -> None:
    alone = type(importlib.import_module(NAME).__loader__)
    del sys.modules[NAME]
    when_imported(NAME, lambda: None)

    module = importlib.import_module(NAME)

    assert module.__spec__ is not None
    assert [alone] * 2 == [type(module.__loader__), type(module.__spec__.loader)]
    assert "value = 7\n" == inspect.getsource(module)


def test_a_finder_of_the_old_kind_is_passed_by_as_python_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [object(), PathFinder])
    seen: list[str] = []
    when_imported(NAME, lambda: seen.append(NAME))

    importlib.import_module(NAME)

    assert [NAME] == seen


def test_a_module_that_is_not_there_fails_as_before() -> None:
    when_imported("flowspan_no_such_module", lambda: None)

    with pytest.raises(ModuleNotFoundError, match="No module named 'flowspan_no_such_module'"):
        importlib.import_module("flowspan_no_such_module")
    forget("flowspan_no_such_module")
