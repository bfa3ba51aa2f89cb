"""Coming in with a key, by a browser: to the page asked for, its socket too, and out again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from collector.credentials import COOKIE_NAME
from tests.browser.chromium import LOST_SOCKET, REFUSED, Watch, task_row
from tests.builders import event
from tests.in_process import JSON, Server, running

KEY = "a-key"
BEGUN = '[{"event": "flow_started", "run_id": "r1"}, {"event": "task_started", "run_id": "r1", "task": "load", "node": "load:1"}]'
ENDED = '{"event": "task_ok", "run_id": "r1", "task": "load", "node": "load:1"}'

# Resolves to the code the socket was closed with, or to "open".
TRY_SOCKET = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.onopen = () => resolve("open");
  socket.onclose = () => resolve("refused");
})"""


@pytest.fixture
def locked() -> Iterator[Server]:
    """Return a server that wants a key, with a run that runs."""
    with running(server_api_keys=("another-key", KEY)) as one:
        send(one, BEGUN)
        yield one


def send(server: Server, body: str) -> None:
    server.post("/api/v1/events", body, JSON, {"x-api-key": KEY}).raise_for_status()


def log_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()


# R148
def test_the_right_key_leads_to_the_page_asked_for(locked: Server, page: Page) -> None:
    asked = f"{locked.url}/runs?kind=all&flow=a%2Fb"

    page.goto(asked)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    log_in(page, KEY)

    expect(page).to_have_url(asked)


# R148
def test_only_who_is_in_is_offered_to_log_out(locked: Server, page: Page) -> None:
    page.goto(f"{locked.url}/login")
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)

    log_in(page, KEY)

    expect(page.get_by_role("button", name="Log out")).to_be_visible()


# R148
def test_a_wrong_key_is_said_to_be_one(locked: Server, page: Page, watch: Watch) -> None:
    watch.expect(REFUSED)
    page.goto(f"{locked.url}/runs")

    log_in(page, "a-kez")

    expect(page.get_by_role("alert")).to_have_text("This is not one of the server's keys.")
    log_in(page, KEY)
    expect(page).to_have_url(f"{locked.url}/runs")


# R091 R148
def test_who_is_logged_in_sees_a_run_live(locked: Server, page: Page) -> None:
    page.goto(f"{locked.url}/runs/r1")
    log_in(page, KEY)
    expect(page.locator("#live")).to_have_text("live")

    send(locked, ENDED)

    expect(task_row(page, "load:1")).to_contain_text("SUCCEEDED")


# R148
def test_no_script_and_no_foreign_page_gets_the_cookie(locked: Server, page: Page) -> None:
    page.goto(f"{locked.url}/runs")

    log_in(page, KEY)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()

    (cookie,) = page.context.cookies()
    assert (COOKIE_NAME, True, "Strict") == (cookie["name"], cookie["httpOnly"], cookie["sameSite"])
    assert KEY not in cookie["value"]


# R148
def test_who_logs_out_is_out(locked: Server, page: Page) -> None:
    page.goto(f"{locked.url}/runs")
    log_in(page, KEY)

    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{locked.url}/login")
    page.goto(f"{locked.url}/flows")

    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert [] == page.context.cookies()


# R148
@pytest.mark.parametrize("target", ["https://example.com/", "//example.com/", "/\\example.com"])
def test_logging_in_never_leads_away(locked: Server, page: Page, target: str) -> None:
    page.goto(f"{locked.url}/login")
    page.locator("input[name=next]").evaluate("(field, target) => { field.value = target; }", target)

    log_in(page, KEY)

    expect(page).to_have_url(f"{locked.url}/flows")


# R148
def test_without_a_key_a_socket_is_refused(locked: Server, page: Page, watch: Watch) -> None:
    watch.expect(LOST_SOCKET)
    page.goto(f"{locked.url}/login")

    answer = page.evaluate(TRY_SOCKET, f"ws://127.0.0.1:{locked.port}/ws/runs/r1")

    assert "refused" == answer


# R148
def test_a_foreign_page_opens_no_socket_even_where_no_key_is_asked_for(server: Server, page: Page, watch: Watch) -> None:
    watch.expect(LOST_SOCKET)
    server.send(event("flow_started"))
    address = f"ws://127.0.0.1:{server.port}/ws/runs/r1"

    page.goto("data:text/html,<title>foreign</title>")
    foreign = page.evaluate(TRY_SOCKET, address)
    page.goto(f"{server.url}/runs")
    own = page.evaluate(TRY_SOCKET, address)

    assert ("refused", "open") == (foreign, own)
