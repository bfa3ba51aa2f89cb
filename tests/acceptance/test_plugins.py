"""Plugins as strangers write them: installed as packages, broken in every way, and never in each other's light."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from collector.app import create_app
from collector.plugins import NoStorage
from collector.settings import Settings
from tests.fragile_storage import install_plugin
from tests.in_process import PROTOBUF, Server, running
from tests.otlp_bodies import a_span, span_request

HEAD = """
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from collector.doors import Door
from collector.dialects import Dialect
from collector.hookspecs import hookimpl
"""
TRACES = span_request(a_span()).SerializeToString()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that modules may be written to; each plugin installed there is found."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(HEAD + code)
    monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    install_plugin(folder, monkeypatch, name, name)


def takes_data(server: Server) -> bool:
    return server.post("/v1/traces", TRACES, PROTOBUF).status_code == 200 and server.send({"event": "flow_started", "run_id": "r"}).is_success


# R026 R078
def test_a_plugin_adds_a_door(install: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
@hookimpl
def make_doors(collector):
    return [Door("hello", [Route("/hello", lambda request: PlainTextResponse("hi"))])]
"""
    write_plugin(install, monkeypatch, "good_door", code)

    with running() as server:
        answer = server.get("/hello")

    assert (200, "hi") == (answer.status_code, answer.text)


# R078 R150
@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError('at import')",
        "import no_such_module",
        "def make_doors(:",
        "@hookimpl\ndef make_doors(collector):\n    raise RuntimeError('at the call')",
        "@hookimpl\ndef make_doors(collector):\n    return 7",
        "@hookimpl\ndef make_dialects():\n    return 1 / 0",
        "@hookimpl\ndef extend_viewer(viewer):\n    viewer.nothing()",
        "@hookimpl\ndef make_doors(wrong_argument):\n    return []",
    ],
    ids=["raises", "lacks", "no python", "raises later", "no list", "dialects", "viewer", "arguments"],
)
def test_a_broken_plugin_is_named_and_counted_and_the_rest_goes_on(
    install: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    write_plugin(install, monkeypatch, "broken", code)

    with running() as server:
        takes = takes_data(server)
        failures = server.metric("plugin_failures_total", plugin="broken")

    assert (True, 1) == (takes, failures)
    assert any("broken" in line.getMessage() and line.exc_info for line in caplog.records)


def test_a_plugin_with_one_wrong_hook_is_left_out_with_all_its_hooks(install: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
@hookimpl
def extend_viewer(viewer):
    viewer.add_link("Mine", "/mine")

@hookimpl
def make_doors(wrong_argument):
    return []
"""
    write_plugin(install, monkeypatch, "half", code)

    with running() as server:
        page = server.get("/flows").text

    assert "/mine" not in page


def test_a_door_that_raises_costs_one_request_and_is_503(
    install: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
async def receive(request):
    raise KeyError("nobody expected this")

@hookimpl
def make_doors(collector):
    return [Door("falling", [Route("/falling", receive, methods=["POST"])])]
"""
    write_plugin(install, monkeypatch, "falling", code)

    with running(retry_after_s=5) as server:
        answer = server.post("/falling", b"")
        takes = takes_data(server)
        counted = server.metric("http_requests_total", route="/falling", status="503")

    assert (503, "5", True, 1) == (answer.status_code, answer.headers["retry-after"], takes, counted)
    assert any(line.exc_info for line in caplog.records)


def test_a_dialect_that_raises_is_passed_over(install: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    code = """
def recognise(fact):
    raise ValueError(fact.name)

@hookimpl
def make_dialects():
    return [Dialect("stumbling", -1, recognise)]
"""
    write_plugin(install, monkeypatch, "stumbling", code)

    with running() as server:
        answers = [server.post("/v1/traces", TRACES, PROTOBUF).status_code for _ in range(3)]
        failures = server.metric("plugin_failures_total", plugin="stumbling")

    assert ([200, 200, 200], 3) == (answers, failures)
    assert 1 == sum("stumbling" in line.getMessage() for line in caplog.records)


def test_a_background_task_that_raises_is_counted_and_costs_nothing_else(install: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
async def consume():
    raise RuntimeError("no broker")

@hookimpl
def make_doors(collector):
    return [Door("consumer", background=[consume])]
"""
    write_plugin(install, monkeypatch, "consumer", code)

    with running() as server:
        takes = takes_data(server)
        failures = server.metric("plugin_failures_total", plugin="consumer")

    assert takes
    assert failures >= 1


# R078 R176
def test_an_address_nobody_stores_at_stops_the_start_and_says_so() -> None:
    with pytest.raises(NoStorage, match=r"no plugin stores at mongodb: addresses; installed are .*sqlite"):
        create_app(Settings(database_url="mongodb://there/flowspan"))


def test_a_storage_that_raises_stops_the_start(install: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(install, monkeypatch, "unlicensed", "@hookimpl\ndef make_storage(settings):\n    raise RuntimeError('no license')")

    with pytest.raises(RuntimeError, match="no license"):
        create_app(Settings(database_url="memory:"))


# R078
def test_the_built_in_parts_are_plugins_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "collector.plugins"):
        create_app(Settings(database_url="memory:"))

    loaded = {line.getMessage().split()[1] for line in caplog.records if line.getMessage().startswith("plugin ")}
    assert {"dialects", "events", "otlp", "sqlite", "viewer"} <= loaded


def test_a_plugin_with_a_misspelt_hook_is_left_out_and_said_so(
    install: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
@hookimpl
def make_door(collector):
    return []
"""
    write_plugin(install, monkeypatch, "misspelt", code)

    with running() as server:
        assert takes_data(server)
        assert 1 == server.metric("plugin_failures_total", plugin="misspelt")

    assert "plugin misspelt cannot be loaded" in caplog.text
