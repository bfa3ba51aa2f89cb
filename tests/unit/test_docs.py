"""The documentation is tested: every setting, route, hook and event has its line, and the requirement rows that are done name their proof."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import otel_bridge
from collector import hookspecs
from collector.metrics import Metrics
from collector.settings import Settings
from otel_bridge.lifecycle import EVENTS
from tests.in_process import running

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}

# Rows of the requirement list that are built. A row is done when a test that proves it names it: `# R011`.
DONE = [
    *range(1, 25),
    *range(57, 66),
    *range(78, 84),
    *range(87, 94),
    *(96, 97),
    *range(98, 104),
    *(108, 109, 119, 120, 121, 122, 123, 141, 142, 148, 150, 151, 154, 156),
    *range(159, 171),
    *(172, 173, 176, 188, 193, 194, 201, 202, 203, 204),
]

# Served for browsers and machines, not for people to read about.
UNDOCUMENTED = {
    "/static",
    "/v1/{rest:path}",  # says which address is right
    "/v1development/{rest:path}",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/redoc",
    "/static/{path:path}",
    "/static-offline-docs",
    "/login",
    "/logout",
    "/sse/welcome",
}


@pytest.mark.parametrize("name", [str(field.validation_alias.choices[0]) for field in Settings.model_fields.values()])  # type: ignore[union-attr]  # all are aliased
def test_every_setting_has_its_line(name: str) -> None:
    assert f"| `{name}` |" in DOCS["settings.md"]


def test_every_setting_and_public_name_of_the_bridge_has_its_line() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "otel_bridge").glob("*.py")]
    settings = {name for text in texts for name in re.findall(r'"((?:FLOWSPAN|AUTO_WORKFLOW_SERVER)_\w+)"', text)} - INTERNAL

    assert "FLOWSPAN_BRIDGE_SPOOL" in settings
    assert {name for name in settings if f"`{name}`" not in DOCS["bridge.md"]} == set()
    assert {name for name in otel_bridge.__all__ if not re.search(rf"\b{name}\b", DOCS["bridge.md"])} == set()
    assert {name for name in otel_bridge.__all__ if not callable(getattr(otel_bridge, name))} == set()


# Set by one half of the bridge for the other.
INTERNAL = {"FLOWSPAN_RUN"}


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_every_event_has_its_line(event: str) -> None:
    assert f"`{event}`" in DOCS["flow_events.md"]


def test_every_hook_is_explained_with_its_arguments() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "flowspan_spec")}

    assert {"make_storage", "make_doors", "make_dialects", "extend_viewer"} == hooks.keys()
    for name, hook in hooks.items():
        for argument in (name, *inspect.signature(hook).parameters):
            assert f"`{argument}" in DOCS["plugins.md"] or f"{argument}" in DOCS["plugins.md"], argument


# R150
def test_every_metric_has_its_line_and_no_line_is_of_another() -> None:
    registry = Metrics().registry
    metrics = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}

    assert sorted(metrics) == sorted(re.findall(r"^\| `(flowspan_\w+)` \|", DOCS["metrics.md"], re.MULTILINE))


def test_every_route_has_its_line() -> None:
    with running() as server:
        paths = {getattr(route, "path", "") for route in server.app.routes}
    told = "\n".join(DOCS.values())

    missing = {path for path in paths if path not in UNDOCUMENTED and _address(path) not in told}

    assert set() == missing


def _address(path: str) -> str:
    """Return a route's path as the documentation writes it: without its slash at the end, and {x:path} as {x}."""
    return re.sub(r":path}", "}", path.rstrip("/") or "/")


@pytest.mark.parametrize("row", [f"R{number:03}" for number in DONE])
def test_every_requirement_that_is_done_is_named_in_a_test(row: str) -> None:
    here = Path(__file__)
    proofs = [
        path.name for path in (ROOT / "tests").rglob("*.py") if path != here and re.search(rf"#.*\b{row}\b", path.read_text(encoding="utf-8"))
    ]

    assert proofs, f"no test says that it proves {row}"
