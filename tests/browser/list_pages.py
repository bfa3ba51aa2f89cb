"""The pages of runs and flows as a test sees them, and what comes into their lists."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page

from tests.builders import event
from tests.in_process import PROTOBUF, Server, eventually
from tests.otlp_bodies import a_span, span_request


def begun(run_id: str, second: float = 0, **fields: Any) -> dict[str, Any]:
    """Make the first event of a run of the flow etl."""
    return event("flow_started", run_id=run_id, ts=1_795_000_000 + second, **{"flow": "etl", **fields})


def ended(run_id: str, word: str = "completed", **fields: Any) -> dict[str, Any]:
    """Make the last event of a run."""
    return event(f"flow_{word}", run_id=run_id, **fields)


def send_trace(server: Server) -> None:
    """Send a plain trace."""
    server.post("/v1/traces", span_request(a_span(name="GET /")).SerializeToString(), PROTOBUF).raise_for_status()


def runs(page: Page) -> Locator:
    """Return the names of the runs in the table."""
    return page.locator("#runs th a")


def state(page: Page, run_id: str) -> Locator:
    """Return the state of a run in the table."""
    return page.locator("#runs tr", has=page.get_by_role("link", name=run_id, exact=True)).locator(".chip").first


def listed(server: Server, count: int) -> None:
    """Wait until the lists have so many runs."""
    eventually(lambda: len(server.json("/api/v1/runs?limit=1000")["items"]) == count)
