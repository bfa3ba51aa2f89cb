"""A page that was cut off, hidden, or left behind: it has everything again by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from collector.questions import LARGEST_PAGE
from tests import servers
from tests.browser.chromium import LOST_SOCKET, Watch, open_live, task_row
from tests.browser.cut_off import HIDING, NO_SOCKETS, is_same, remember
from tests.builders import event
from tests.in_process import Server, eventually, running

BEGUN = (event("flow_started", flow="etl"), event("task_started", task="load", node="load:1"))
ENDED = event("task_ok", task="load", node="load:1")

TRANSPORTS = {"ws": "", "sse": NO_SOCKETS}


# R089 R102
def test_what_was_sent_while_a_killed_server_was_away_is_there_without_a_reload(killable: servers.Server, page: Page, watch: Watch) -> None:
    watch.expect(LOST_SOCKET)
    killable.send(*BEGUN)
    open_live(page, f"{killable.url}/runs/r1")
    remember(page)

    killable.kill()
    expect(page.locator("#live")).to_have_text("reconnecting")
    with servers.Server(killable.data_dir) as elsewhere:  # the same data at an address the page does not know
        elsewhere.send(ENDED, event("task_log", message="while you were away"), event("task_started", task="save", node="save:1"))
    killable.start()

    expect(page.locator("#live")).to_have_text("live")
    expect(task_row(page, "load:1")).to_contain_text("SUCCEEDED")
    expect(task_row(page, "save:1")).to_contain_text("RUNNING")
    expect(page.locator("#lines .message")).to_have_text(["while you were away"])
    assert is_same(page)


# R090
def test_where_sockets_do_not_get_through_the_page_follows_by_server_sent_events(server: Server, page: Page) -> None:
    page.add_init_script(NO_SOCKETS)
    server.send(*BEGUN)
    open_live(page, f"{server.url}/runs/r1")

    server.send(ENDED)

    expect(task_row(page, "load:1")).to_contain_text("SUCCEEDED")
    assert (0, 1) == (server.metric("sockets", kind="ws"), server.metric("sockets", kind="sse"))


# R089
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_hidden_page_holds_no_connection_and_catches_up_when_it_is_seen_again(server: Server, page: Page, transport: str) -> None:
    page.add_init_script(HIDING + TRANSPORTS[transport])
    server.send(*BEGUN)
    open_live(page, f"{server.url}/runs/r1")
    remember(page)
    eventually(lambda: server.metric("sockets", kind=transport) == 1)

    page.evaluate("hide(true)")
    eventually(lambda: server.metric("sockets") == 0)
    server.send(ENDED)
    page.evaluate("hide(false)")

    expect(task_row(page, "load:1")).to_contain_text("SUCCEEDED")
    assert is_same(page)


# R089
def test_a_page_that_was_hidden_while_its_run_went_stale_says_so(page: Page) -> None:
    page.add_init_script(HIDING)
    with running(stale_after_s=1) as server:
        server.send(*BEGUN)
        open_live(page, f"{server.url}/runs/r1")
        page.evaluate("hide(true)")

        eventually(lambda: server.json("/api/v1/runs/r1")["hint"] is not None)
        page.evaluate("hide(false)")

        expect(page.locator("#summary .chip.hint")).to_have_text("STALE")
        page.close()


def test_a_page_that_is_left_closes_its_connection_and_opens_it_again_on_the_way_back(server: Server, page: Page) -> None:
    server.send(*BEGUN)
    open_live(page, f"{server.url}/runs/r1")

    page.goto("about:blank")
    eventually(lambda: server.metric("sockets") == 0)
    server.send(ENDED)
    page.go_back()

    expect(page.locator("#live")).to_have_text("live")
    expect(task_row(page, "load:1")).to_contain_text("SUCCEEDED")


# R089
def test_a_page_that_cannot_follow_a_burst_starts_again_and_ends_with_the_right_picture(page: Page) -> None:
    with running(socket_queue=1) as server:
        server.send(*BEGUN)
        open_live(page, f"{server.url}/runs/r1")
        remember(page)

        burst = [event("task_log", number, message=f"line {number}") for number in range(LARGEST_PAGE + 1)]
        server.send(*burst, ENDED)

        expect(page.locator("#lines .message").last).to_have_text(f"line {LARGEST_PAGE}")
        expect(task_row(page, "load:1")).to_contain_text("SUCCEEDED")
        expect(page.locator("#live")).to_have_text("live")
        assert not is_same(page)
        page.close()
