"""The example plugin as its user meets it: installed with pip, found by its entry point, and seen at work over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.dialects import SpanEnd
from collector.settings import Settings
from flowspan_toy import plugin
from flowspan_toy.storage import ToyStorage
from tests.servers import Server, clean_environment

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "example_plugin"
BUILT_S = 120.0

TRACE_ID, RUN_SPAN, STEP_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
START_NS = 1_790_000_000 * 10**9


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package for real, into a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(PLUGIN)]
    built = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=BUILT_S)
    assert 0 == built.returncode, built.stderr
    return target


@pytest.fixture(scope="module")
def server(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that stores in the toy and knows of it by its installed entry point alone."""
    with Server(tmp_path_factory.mktemp("server"), DATABASE_URL="toy:", PYTHONPATH=_path_with(installed)) as one:
        yield one


def _path_with(installed: Path) -> str:
    return os.pathsep.join([str(installed), str(ROOT)])


def _attributes(**values: str) -> list[dict[str, Any]]:
    return [{"key": key.replace("_", "."), "value": {"stringValue": value}} for key, value in values.items()]


def _span(span_id: str, name: str, **attributes: str) -> dict[str, Any]:
    times = {"startTimeUnixNano": str(START_NS), "endTimeUnixNano": str(START_NS + 10**9)}
    return {"traceId": TRACE_ID, "spanId": span_id, "name": name, "attributes": _attributes(**attributes), **times}


# R078 R194
def test_an_installed_plugin_is_found_by_its_entry_point(server: Server) -> None:
    log = server.log.read_text()

    assert "plugin toy loaded from flowspan_toy.plugin" in log
    assert "storing in toy" in log


# R078 R083
def test_events_are_stored_in_the_storage_the_plugin_made(server: Server) -> None:
    events = [
        {"event": "flow_started", "run_id": "stored", "flow": "etl"},
        {"event": "task_started", "run_id": "stored", "task": "load"},
        {"event": "task_succeeded", "run_id": "stored", "task": "load"},
        {"event": "flow_completed", "run_id": "stored"},
    ]

    answer = server.post("/api/v1/events", json=events)
    page = server.get("/runs/stored").text

    assert {"ok": True} == answer.json()
    assert ("SUCCEEDED", ["load"]) == (server.run("stored")["status"], [task["task_name"] for task in server.run("stored", "/tasks")])
    assert "load" in page
    assert server.wait_for("/api/v1/flows", lambda flows: "etl" in [flow["flow_key"] for flow in flows["items"]])
    assert [] == list(server.data_dir.glob("*.db"))


# R026
def test_a_door_brings_in_a_wire_format_of_its_own(server: Server) -> None:
    answer = server.post("/toy/steps", content="stepping fetch begun\nthis is no step\nstepping fetch failed\n")

    (task,) = server.run("stepping", "/tasks")

    assert (200, "2 stored") == (answer.status_code, answer.text)
    assert ("fetch", "FAILED") == (task["task_name"], task["status"])


# R026
def test_a_door_of_a_plugin_answers_and_its_link_is_on_every_page(server: Server) -> None:
    pages = [server.get(path).text for path in ("/flows", "/runs")]

    assert [True, True] == ['<a href="/toy/hello">Toy</a>' in page for page in pages]
    assert server.get("/toy/hello").text.startswith("hello")


# R026
def test_a_dialect_of_a_plugin_recognises_runs_and_steps_in_otlp(server: Server) -> None:
    run = _span(RUN_SPAN, "the run", toy_run="recognised", toy_flow="toy flow")
    step = _span(STEP_SPAN, "the step", toy_step="fetch") | {"parentSpanId": RUN_SPAN}
    foreign = _span("00f067aa0ba902b8", "of another scope", toy_step="not for the toy") | {"parentSpanId": RUN_SPAN}
    scopes = [{"scope": {"name": "toy"}, "spans": [run, step]}, {"scope": {"name": "other"}, "spans": [foreign]}]

    answer = server.post("/v1/traces", json={"resourceSpans": [{"scopeSpans": scopes}]})

    assert 200 == answer.status_code
    assert ("SUCCEEDED", "toy flow") == (server.run("recognised")["status"], server.run("recognised")["flow_name"])
    assert ["fetch"] == [task["task_name"] for task in server.run("recognised", "/tasks")]


# R194
def test_the_plugins_own_tests_pass_where_it_is_installed(installed: Path) -> None:
    kept = {name: value for name, value in clean_environment().items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PLUGIN)]

    tested = subprocess.run(
        command, cwd=installed, env=kept | {"PYTHONPATH": _path_with(installed)}, capture_output=True, text=True, timeout=BUILT_S
    )

    assert 0 == tested.returncode, tested.stdout


# R078
def test_a_storage_answers_for_its_own_addresses_only() -> None:
    made = [
        plugin.make_storage(Settings(database_url=url)) for url in ("toy:", "toy://anything", "memory:", "sqlite:///x.db", "postgresql://x")
    ]

    assert [ToyStorage, ToyStorage, None, None, None] == [type(one) if one else None for one in made]


def test_the_plugin_in_the_readme_does_what_it_says() -> None:
    readme = (PLUGIN / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    module: dict[str, Any] = {}

    exec(code, module)  # the README's own text
    (dialect,) = module["make_dialects"]()
    work = dialect.recognise(SpanEnd(b"t" * 16, b"s" * 8, 2, 2, attributes={"acme.job.id": 7, "acme.stage": "load"}))

    assert ("acme", "7", "load") == (work.source, work.run_id, work.node)
    assert 40 >= len(code.splitlines())
