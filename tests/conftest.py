"""What every test may ask for. Nothing around the tests configures a server or an exporter in them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from collector.settings import Settings
from tests.in_process import Server, running

SETTINGS = frozenset(str(field.validation_alias.choices[0]) for field in Settings.model_fields.values())  # type: ignore[union-attr]  # _env sets it


@pytest.fixture(autouse=True)
def _only_what_a_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name in SETTINGS or name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a server with the default settings and an empty store in memory."""
    with running() as one:
        yield one
