"""A run's page while the run moves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocket, expect

from tests.browser.chromium import open_live, task_row
from tests.builders import event
from tests.in_process import Server, running
from viewer.waterfall import SCALE, row_id

BEGUN = event("flow_started", flow="etl")

IS_THERE = "(id) => document.getElementById(id) !== null"

IS_NARROWER = "([row, width]) => Number(document.querySelector(row + ' rect').getAttribute('width')) < width"


@pytest.fixture
def stale_server() -> Iterator[Server]:
    """Return a server that expects to hear of a run every second."""
    with running(stale_after_s=1) as one:
        yield one


def task(name: str, **fields: Any) -> dict[str, Any]:
    """Make an event of the task run load:1, stamped by the server."""
    return event(name, task="load", node="load:1", **fields)


def line(message: str, **fields: Any) -> dict[str, Any]:
    """Make a line of the log of load:1."""
    return task("task_log", **{"level": "info", "message": message, **fields})


def messages(page: Page) -> Locator:
    """Return the messages of the log."""
    return page.locator("#lines .message")


def width_of(page: Page, node: str) -> float:
    """Return how wide a task run's bar is."""
    return float(task_row(page, node).locator("rect").get_attribute("width") or 0)


# --- task runs and the summary ---------------------------------------------------------------------------------------------------------


# R091
def test_task_after_task_comes_up_on_the_open_page(server: Server, page: Page) -> None:
    """How soon, the bench says."""
    server.send(BEGUN)
    open_live(page, f"{server.url}/runs/r1")

    for number in range(5):
        server.send(event("task_started", task="load", node=f"load:{number}"))
        page.wait_for_function(IS_THERE, arg=row_id(f"load:{number}"))


# R101 R102
def test_a_task_row_changes_with_its_event(server: Server, page: Page) -> None:
    server.send(BEGUN, task("task_started"))
    open_live(page, f"{server.url}/runs/r1")
    expect(task_row(page, "load:1").locator(".chip")).to_have_text("RUNNING")

    server.send(task("task_ok"))

    expect(task_row(page, "load:1").locator(".chip")).to_have_text("SUCCEEDED")


# R102
def test_a_new_task_gets_its_row(server: Server, page: Page) -> None:
    server.send(BEGUN)
    open_live(page, f"{server.url}/runs/r1")
    expect(page.locator("#no-tasks")).to_be_visible()

    server.send(task("task_started"))

    expect(task_row(page, "load:1")).to_contain_text("RUNNING")
    expect(page.locator("#no-tasks")).to_be_hidden()


# R101 R102
def test_the_summary_its_counters_and_the_title_follow(server: Server, page: Page) -> None:
    server.send(BEGUN, task("task_started"))
    open_live(page, f"{server.url}/runs/r1")
    summary = page.locator("#summary")
    expect(summary.locator(".count")).to_have_text(["1 running"])

    server.send(task("task_err", error="ValueError('no rows')"), event("flow_completed"))

    expect(summary.locator(".count")).to_have_text(["1 failed"])
    expect(summary.locator(".state .chip")).to_have_text("FAILED")
    expect(summary.locator(".failure")).to_contain_text("ValueError('no rows')")
    expect(page).to_have_title("FAILED · etl · Flowspan")


def test_rows_stand_in_order_of_start_whatever_order_they_came_in(server: Server, page: Page) -> None:
    names = page.locator("#tasks .name")
    server.send(event("flow_started", 0), event("task_announced", 0, task="last", node="last"))
    open_live(page, f"{server.url}/runs/r1")

    server.send(event("task_started", 20, task="second", node="second"))
    expect(names).to_have_text(["second", "last"])
    server.send(event("task_started", 10, task="first", node="first"))

    expect(names).to_have_text(["first", "second", "last"])


def test_a_changed_row_stays_unfolded_and_keeps_the_focus(server: Server, page: Page) -> None:
    server.send(BEGUN, task("task_started"), task("task_retry", attempt=1, max=3))
    open_live(page, f"{server.url}/runs/r1")
    attempts = task_row(page, "load:1").locator("summary")
    attempts.click()

    server.send(task("task_retry", attempt=2, max=3))

    expect(attempts).to_have_text("3 attempts")
    expect(attempts).to_be_focused()
    expect(task_row(page, "load:1").locator(".attempts li")).to_have_count(3)
    expect(task_row(page, "load:1").locator(".attempts li").last).to_be_visible()


# R088
def test_the_socket_says_flow_task_and_log(server: Server, page: Page) -> None:
    server.send(BEGUN)
    kinds: set[str] = set()
    page.on("websocket", lambda socket: hear(socket, kinds))
    open_live(page, f"{server.url}/runs/r1")

    server.send(task("task_started"), line("hello"))
    expect(messages(page)).to_have_text(["hello"])
    expect(page.locator("#summary .count")).to_have_text(["1 running"])

    assert {"flow", "task", "log"} == kinds


def hear(socket: WebSocket, kinds: set[str]) -> None:
    socket.on("framereceived", lambda frame: kinds.update(one["kind"] for one in json.loads(frame)))


# R100 R101
def test_a_run_that_is_silent_for_too_long_is_marked_stale_on_the_open_page(stale_server: Server, page: Page) -> None:
    stale_server.send(BEGUN)

    open_live(page, f"{stale_server.url}/runs/r1")

    expect(page.locator("#summary .chip.hint")).to_have_text("STALE")
    expect(page.locator("#summary .note")).to_contain_text("nothing was heard of it for more than 1 s")
    expect(page.locator("#summary .state .chip").first).to_have_text("RUNNING")


def test_the_badge_of_a_run_that_ends_says_so(server: Server, page: Page) -> None:
    server.send(BEGUN)
    open_live(page, f"{server.url}/runs/r1")
    expect(page.locator("#live")).to_have_text("live")

    server.send(event("flow_completed"))

    expect(page.locator("#live")).to_have_text("ended")


# --- the waterfall ---------------------------------------------------------------------------------------------------------------------


# R111
def test_the_bar_of_a_running_task_grows_and_those_that_are_over_shrink(server: Server, page: Page) -> None:
    began_s = time.time() - 2
    read: dict[str, Any] = {"task": "read", "node": "read"}
    server.send({**BEGUN, "ts": began_s}, event("task_started", **read, ts=began_s), event("task_ok", **read, ts=began_s + 1))
    server.send(task("task_started", ts=began_s))
    open_live(page, f"{server.url}/runs/r1")
    before = width_of(page, "read")

    page.wait_for_function(IS_NARROWER, arg=[f"#{row_id('read')}", before / 1.1])

    assert SCALE == width_of(page, "load:1")


# R111
def test_each_attempt_has_its_bar(server: Server, page: Page) -> None:
    server.send(BEGUN, task("task_started"), task("task_retry", attempt=1, max=2, error="ConnectionError('reset')"))
    open_live(page, f"{server.url}/runs/r1")
    expect(task_row(page, "load:1").locator("rect")).to_have_count(2)

    server.send(task("task_ok"))

    expect(task_row(page, "load:1").locator("rect.succeeded")).to_have_count(1)
    expect(task_row(page, "load:1").locator("rect.failed")).to_have_count(1)


# --- the log ---------------------------------------------------------------------------------------------------------------------------


# R103
def test_log_lines_stream_in_order_of_time(server: Server, page: Page) -> None:
    server.send(BEGUN, line("one"))
    open_live(page, f"{server.url}/runs/r1")

    server.send(line("two"))
    expect(messages(page)).to_have_text(["one", "two"])
    server.send(line("three"))

    expect(messages(page)).to_have_text(["one", "two", "three"])


# R103
def test_a_filtered_log_takes_only_the_lines_that_fit(server: Server, page: Page) -> None:
    server.send(BEGUN, line("warned before", level="warning"))
    open_live(page, f"{server.url}/runs/r1?level=warn&task=load:1")
    expect(messages(page)).to_have_text(["warned before"])

    server.send(line("whispered", level="debug"), event("task_log", task="read", node="read", level="error", message="elsewhere"))
    server.send(line("failed", level="error"))

    expect(messages(page)).to_have_text(["warned before", "failed"])


# R103
def test_choosing_a_level_and_a_task_in_the_form_filters_and_goes_on_live(server: Server, page: Page) -> None:
    server.send(BEGUN, line("low", level="debug"), line("high", level="error"))
    open_live(page, f"{server.url}/runs/r1")

    page.get_by_label("Level at least").select_option("error")
    page.get_by_label("Task run", exact=True).fill("load:1")
    page.get_by_role("button", name="Show").click()
    expect(messages(page)).to_have_text(["high"])
    expect(page.locator("#live")).to_have_text("live")
    server.send(line("higher", level="critical"))

    expect(messages(page)).to_have_text(["high", "higher"])
