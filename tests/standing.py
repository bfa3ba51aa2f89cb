"""Whether a server still stands after what was done to it: every page and every answer about everything it stored."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.in_process import Server, eventually


def assert_stands(server: Server) -> None:
    """Ask for every page and every answer about everything that was stored: all are there, and say nothing they should not."""
    server.send({"event": "flow_started", "run_id": "the last", "flow": "the last"})
    eventually(lambda: server.get("/api/v1/flows/the%20last").status_code == 200)
    runs = every(server, "/api/v1/runs?limit=1000&kind=all")
    flows = every(server, "/api/v1/flows?limit=1000")
    assert runs and flows
    for path in ("/flows", "/runs", "/runs?kind=all", "/runs?kind=trace"):
        assert_harmless(server, path)
    for flow in flows:
        assert 200 == server.get_as_written(f"/api/v1/flows/{quote(flow['flow_key'], safe='')}").status_code
    for run in runs:
        assert_run_stands(server, run)


def assert_run_stands(server: Server, listed: Any) -> None:
    run_id = quote(listed["run_id"], safe="")
    twin = f"source={quote(listed['source'])}&generation={listed['generation']}"
    assert_harmless(server, f"/runs/{run_id}?{twin}")
    for ending in ("/tasks", "/logs"):
        assert 200 == server.get_as_written(f"/api/v1/runs/{run_id}{ending}?{twin}").status_code
    run = server.get_as_written(f"/api/v1/runs/{run_id}?{twin}").json()
    for trace_id in run["trace_ids"]:
        assert 200 == server.get(f"/api/v1/traces/{trace_id}").status_code


def every(server: Server, path: str) -> list[Any]:
    """Return the items of all pages of a list."""
    page = server.json(path)
    items: list[Any] = page["items"]
    while page["next_cursor"]:
        page = server.json(f"{path}&cursor={quote(page['next_cursor'])}")
        items += page["items"]
    return items


def assert_harmless(server: Server, path: str) -> None:
    answer = server.get_as_written(path)
    assert 200 == answer.status_code, path
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text
    assert "\0" not in answer.text


def nested(depth: int, innermost: Any = 1) -> Any:
    """Return a list in a list in a list."""
    for _ in range(depth):
        innermost = [innermost]
    return innermost
