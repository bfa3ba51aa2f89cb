"""The first minutes: how to send something, what became of what was sent, and on to the flows with the first run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import OpenPage
from tests.builders import event
from tests.in_process import JSON, Server, eventually, running


@pytest.fixture
def locked() -> Iterator[Server]:
    """Return a server that wants a key."""
    with running(server_api_keys=("a-key",)) as one:
        yield one


def open_welcome(page: Page, server: Server) -> None:
    page.goto(server.url)
    expect(page.locator("#live")).to_have_text("waiting")


# R099
def test_the_snippets_name_this_server(server: Server, page: Page) -> None:
    page.goto(server.url)

    expect(page.get_by_label("Commands for OpenTelemetry")).to_contain_text(f"export OTEL_EXPORTER_OTLP_ENDPOINT={server.url}\n")
    expect(page.get_by_label("Command for flow events")).to_contain_text(f"curl {server.url}/api/v1/events")
    expect(page.locator("pre").filter(has_text="YOUR_KEY")).to_have_count(0)


# R099
def test_a_page_of_runs_with_none_leads_to_how_to_send_one(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/runs")

    page.get_by_role("link", name="how to send the first one").click()

    expect(page.get_by_role("heading", name="Waiting for the first run")).to_be_visible()


def test_a_page_of_a_kind_with_none_says_which_other_kind_has_some(server: Server, page: Page) -> None:
    server.send(event("flow_started", flow="etl"))
    eventually(lambda: len(server.json("/api/v1/runs")["items"]) == 1)
    page.goto(f"{server.url}/runs?kind=trace")

    page.get_by_role("link", name="show them").click()

    expect(page.get_by_role("link", name="r1")).to_be_visible()


# R099
def test_the_commands_install_into_an_environment_of_their_own(server: Server, page: Page) -> None:
    page.goto(server.url)

    expect(page.get_by_label("Commands for OpenTelemetry")).to_contain_text("otel/bin/opentelemetry-instrument otel/bin/python")


# R099 R148
def test_with_a_key_the_snippets_show_where_it_goes(locked: Server, open_page: OpenPage) -> None:
    page = open_page(extra_http_headers={"x-api-key": "a-key"})

    page.goto(locked.url)

    expect(page.get_by_label("Commands for OpenTelemetry")).to_contain_text("OTEL_EXPORTER_OTLP_HEADERS=x-api-key=YOUR_KEY")
    expect(page.get_by_label("Command for flow events")).to_contain_text("-H 'x-api-key: YOUR_KEY'")


def test_a_snippet_is_copied_whole(server: Server, open_page: OpenPage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(server.url)

    page.locator(".snippet", has=page.get_by_label("Command for flow events")).get_by_role("button").click()

    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.get_by_label("Command for flow events").text_content() == page.evaluate("navigator.clipboard.readText()")


# R099
def test_a_refused_request_shows_up_with_its_reason(server: Server, page: Page) -> None:
    open_welcome(page, server)

    server.post("/v1/spans", b"{}", JSON)

    row = page.locator("#receipts tbody tr").first
    expect(row).to_contain_text("404 refused")
    expect(row).to_contain_text("OTLP goes to /v1/traces")


# R099
def test_with_the_first_run_the_page_goes_on_by_itself(server: Server, page: Page) -> None:
    open_welcome(page, server)

    server.send(event("flow_started", flow="etl"))

    expect(page.get_by_role("heading", name="Flows")).to_be_visible()
    expect(page.get_by_role("region", name="Recent runs")).to_contain_text("r1")


def test_left_alone_the_page_leaves_no_connection_behind(server: Server, page: Page) -> None:
    open_welcome(page, server)

    page.close()

    eventually(lambda: server.metric("sockets") == 0)
