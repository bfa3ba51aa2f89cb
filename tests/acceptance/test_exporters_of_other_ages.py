"""Requests recorded from exporters that are not installed here: older ones of Python, and JavaScript's, which speaks JSON.

Recorded on loopback from opentelemetry-exporter-otlp-proto-http 1.15.0 and 1.27.0, and @opentelemetry/exporter-trace-otlp-http (2026-11).
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest

from tests.in_process import Server

RECORDINGS = Path(__file__).parents[1] / "recordings" / "exporters"


# R193
@pytest.mark.parametrize("name", ["python-1.15", "python-1.27", "js-json"])
def test_a_recorded_request_becomes_the_same_run(server: Server, name: str) -> None:
    recorded = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))

    answer = server.post(recorded["path"], b64decode(recorded["body"]), recorded["headers"])

    assert (200, recorded["headers"]["content-type"]) == (answer.status_code, answer.headers["content-type"])
    run = server.json("/api/v1/runs/r1")
    assert ("etl", "SUCCEEDED", {"SUCCEEDED": 1}) == (run["flow_name"], run["status"], run["counts"])
    assert ["load:1"] == [task["id"] for task in server.json("/api/v1/runs/r1/tasks")["items"]]
    assert ["checkpoint"] == [line["event"] for line in server.json("/api/v1/runs/r1/logs")["items"]]
