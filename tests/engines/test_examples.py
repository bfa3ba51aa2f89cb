"""The examples, started as their first lines say."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.engines.programs import ENGINES, PROGRAM_S, PYTHON, ROOT, Programs, lines_of, runs_of, states_of, tasks_of
from tests.ports import free_ports
from tests.servers import Server

FLOWSPAN, INSTRUMENT = str(ENGINES / "bin" / "flowspan"), str(ENGINES / "bin" / "opentelemetry-instrument")


def test_the_example_of_auto_workflow(server: Server, programs: Programs) -> None:
    done = subprocess.run(
        [FLOWSPAN, "run", str(PYTHON), str(ROOT / "examples" / "auto_workflow_pipeline.py")],
        env=programs.environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=True,
    )

    (run,), (report,) = runs_of(server, "nightly_orders"), runs_of(server, "report")
    assert ("report.html", "SUCCEEDED", {"day": "2026-11-20"}) == (done.stdout.strip(), run["status"], run["params"])
    assert {"SUCCEEDED"} == set(states_of(server, run).values())
    assert [1, 2, 1] == [tasks_of(server, run)[f"read_orders:{number}"]["attempt"] for number in (1, 2, 3)]
    assert (run["run_id"], "write_report:1") == tuple(report["metadata"][f"flowspan.parent.{part}"] for part in ("run.id", "node"))
    assert ("render:1", "WARNING", "two orders have no price") in lines_of(server, report)


def test_the_example_of_a_service(server: Server, programs: Programs) -> None:
    traces = "/api/v1/runs?kind=trace&limit=20"
    with _service(programs) as port, _asked(port, "/report?seconds=2") as answer:
        server.wait_for(traces, lambda found: any(run["counts"] for run in _reports(found["items"])))
        (run,) = _reports(server.get_json(traces)["items"])
        running = server.wait_for(f"/api/v1/runs/{run['run_id']}/tasks", lambda found: len(_steps(found["items"])) == 2)["items"]
        text = answer.makefile().read()

    ended = server.wait_for(f"/api/v1/runs/{run['run_id']}", lambda found: found["finished_at"])
    assert ("RUNNING", "SUCCEEDED", "shop:GET /report") == (run["status"], ended["status"], ended["flow_key"])
    assert {"read orders": "SUCCEEDED", "render": "RUNNING"} == _steps(running)
    assert text.endswith('{"orders":300}')
    assert "read 300 orders" in [message for _, _, message in lines_of(server, run)]


def _reports(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [trace for trace in traces if trace["flow_key"] == "shop:GET /report"]


def _steps(tasks: list[dict[str, Any]]) -> dict[str, str]:
    """Return the spans the service makes itself; the others are its framework's."""
    return {task["task_name"]: task["status"] for task in tasks if "http" not in task["task_name"]}


@contextmanager
def _asked(port: int, path: str) -> Iterator[socket.socket]:
    """Ask for something and do not wait for the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PROGRAM_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        yield connection


@contextmanager
def _service(programs: Programs) -> Iterator[int]:
    """Run the service on a free port."""
    port = free_ports()[0]
    words = [INSTRUMENT, str(ENGINES / "bin" / "uvicorn"), "--app-dir", str(ROOT / "examples"), "--port", str(port), "fastapi_service:app"]
    quiet = {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    process = subprocess.Popen(words, env=programs.environment(PYTHONPATH="", **quiet), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = next((line for line in process.stderr if "running on" in line or "error" in line.lower()), "nothing")
        assert "running on" in said, said
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=PROGRAM_S)
