"""Every page read with JavaScript off: nothing moves, nothing is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import OpenPage, task_row
from tests.builders import event
from tests.in_process import Server, eventually, running

KEY = "a-key"
TASK: dict[str, Any] = {"task": "load", "node": "load:1"}
RUN = (
    event("flow_started", flow="etl", params={"day": "2026-11-20"}, tags=["nightly"]),
    event("task_started", **TASK),
    event("task_log", 1, level="debug", message="reading", **TASK),
    event("task_log", 2, level="warning", message="cannot write", **TASK),
    event("task_log", 3, level="error", message="elsewhere", task="read", node="read"),
    event("task_retry", attempt=1, max=2, error="OSError('disk full')", **TASK),
    event("task_err", error="OSError('disk full')", **TASK),
    event("flow_completed"),
)


def send_run(server: Server) -> None:
    """Send the run and wait until the lists have it: no page of this file moves."""
    server.send(*RUN)
    eventually(lambda: len(server.json("/api/v1/runs")["items"]) == 1)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """Return a page that runs no script."""
    return open_page(java_script_enabled=False)


@pytest.fixture
def locked() -> Iterator[Server]:
    """Return a server that wants a key."""
    with running(server_api_keys=(KEY,)) as one:
        yield one


# R098 R099 R108
def test_the_way_from_the_first_page_to_a_run_is_made_of_links(server: Server, page: Page) -> None:
    send_run(server)

    page.goto(server.url)
    expect(page).to_have_url(f"{server.url}/flows")
    expect(page.get_by_role("region", name="Catalogue of flows").get_by_role("row", name="etl")).to_contain_text("1 failed")
    page.get_by_role("link", name="etl").first.click()
    expect(page.get_by_role("heading", name="Runs of etl")).to_be_visible()
    page.get_by_role("link", name="r1").click()

    expect(page.locator("h1")).to_have_text("etl r1")


# R101 R108 R111
def test_a_run_is_read_whole(server: Server, page: Page) -> None:
    send_run(server)

    page.goto(f"{server.url}/runs/r1")

    expect(page.locator("#summary .state")).to_contain_text("FAILED")
    expect(page.locator("#summary .count")).to_have_text(["1 failed"])
    expect(page.locator("#summary .failure")).to_contain_text("disk full")
    expect(task_row(page, "load:1").locator("rect")).to_have_count(2)
    expect(page.locator("#lines .message")).to_contain_text(["reading", "cannot write", "elsewhere", "disk full"])
    expect(page.locator("noscript p")).to_be_visible()


# R108
def test_attempts_and_parameters_unfold(server: Server, page: Page) -> None:
    send_run(server)
    page.goto(f"{server.url}/runs/r1")

    page.get_by_text("2 attempts").click()
    page.get_by_text("Parameters").click()

    expect(page.locator(".attempts li").first).to_contain_text("disk full")
    expect(page.get_by_label("Parameters")).to_contain_text('"day": "2026-11-20"')


# R103 R108
def test_the_log_is_filtered_by_the_form(server: Server, page: Page) -> None:
    send_run(server)
    page.goto(f"{server.url}/runs/r1")

    page.get_by_label("Level at least").select_option("warn")
    page.get_by_label("Task run", exact=True).fill("load:1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#lines .message")).to_contain_text(["cannot write", "disk full"])
    expect(page.get_by_label("Level at least")).to_have_value("warn")
    page.get_by_role("link", name="All lines").click()

    expect(page.locator("#lines tr")).to_have_count(4)


# R100
def test_runs_are_paged_by_links(server: Server, page: Page) -> None:
    server.send(*(event("flow_started", number, run_id=f"run-{number:03}") for number in range(60)))
    eventually(lambda: len(server.json("/api/v1/runs?limit=100")["items"]) == 60)
    page.goto(f"{server.url}/runs")
    expect(page.locator("tbody tr")).to_have_count(50)

    page.get_by_role("link", name="Older runs").click()
    expect(page.locator("tbody th")).to_have_text([f"run-{number:03}" for number in reversed(range(10))])
    page.get_by_role("link", name="Newest runs").click()

    expect(page.locator("tbody th").first).to_have_text("run-059")


# R099
def test_before_the_first_run_the_page_says_how_to_send_one(server: Server, page: Page) -> None:
    page.goto(server.url)

    expect(page.get_by_label("Commands for OpenTelemetry")).to_contain_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={server.url}")
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)


# R148
def test_one_logs_in_with_a_plain_form(locked: Server, page: Page) -> None:
    page.goto(f"{locked.url}/runs")

    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Log in").click()

    expect(page).to_have_url(f"{locked.url}/runs")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
