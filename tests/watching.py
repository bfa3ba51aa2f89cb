"""What this process tells, seen at a real server: fixtures for tests of what runs inside the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

import otel_bridge
from otel_bridge import carrying
from otel_bridge import conventions as c
from otel_bridge.bridge import bridge
from otel_bridge.places import Place, current
from tests.in_process import Server, eventually, running


@dataclass
class Told:
    """A server that this process tells, and what it shows once everything told has come."""

    server: Server

    def run_of(self, flow: str) -> dict[str, Any]:
        """Return the only run of a flow. Lists come to know of it a little later than the rest."""
        eventually(lambda: bool(self._runs_of(flow)))
        (found,) = self._runs_of(flow)
        shown: dict[str, Any] = self.run(found["run_id"])
        return shown

    def _runs_of(self, flow: str) -> list[dict[str, Any]]:
        return [run for run in self._json("/api/v1/runs?limit=200")["items"] if run["flow_name"] == flow]

    def run(self, run_id: str, part: str = "") -> Any:
        """Return what the API says of a run; of its part "/tasks" or "/logs", the list."""
        answer = self._json(f"/api/v1/runs/{quote(run_id, safe='')}{part}")
        return answer["items"] if part else answer

    def states(self, run_id: str) -> dict[str, str]:
        """Return the state of each node of a run."""
        return {task["id"]: task["status"] for task in self.run(run_id, "/tasks")}

    def lines(self, run_id: str) -> list[tuple[str | None, str]]:
        """Return (node, message) of a run's log lines, in their order."""
        return [(line["task_node"], line["message"]) for line in self.run(run_id, "/logs")]

    def spans(self, run_id: str) -> dict[str, Any]:
        """Return a run's finished spans by node, that of the run itself by its name; attributes are texts by their keys."""
        (trace_id,) = self.run(run_id)["trace_ids"]
        groups = self._json(f"/api/v1/traces/{trace_id}")["resourceSpans"]
        spans = [span for group in groups for scope in group["scopeSpans"] for span in scope["spans"]]
        told = [{**span, "attributes": texts_of(span["attributes"])} for span in spans]
        return {span["attributes"].get(c.TASK_RUN_ID, span["name"]): span for span in told}

    def stored(self) -> float:
        """Return how many records have been stored."""
        assert otel_bridge.flush()
        return self.server.metric("stored_total")

    def _json(self, path: str) -> Any:
        assert otel_bridge.flush()
        return self.server.json(path)


def texts_of(attributes: list[dict[str, Any]]) -> dict[str, str]:
    """Return those attributes that are texts."""
    return {one["key"]: one["value"]["stringValue"] for one in attributes if "stringValue" in one["value"]}


def here() -> Place:
    """Return the place this is called at."""
    place = current()
    assert place is not None
    return place


@contextmanager
def configured(**settings: Any) -> Iterator[None]:
    """Have the bridge of this process set so within the block. Afterwards it is as before, and nothing carries any more."""
    before = bridge().settings
    otel_bridge.configure(**settings)
    try:
        yield
    finally:
        otel_bridge.configure(**vars(before))
        carrying.remove()


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """Have what this process tells go to a server that the tests of a file share: each has flows or run ids of its own.

    A file that wants it says `told = watching.told`.
    """
    with running() as server, configured(url=server.url, spool=None):
        yield Told(server)
