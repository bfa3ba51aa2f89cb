"""A list that was cut off, hidden or left behind: it has everything again by itself."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests import servers
from tests.browser.chromium import LOST_SOCKET, OpenPage, Watch, open_live, task_row
from tests.browser.cut_off import HIDING, KEEP_SOCKET, NO_SOCKETS, is_same, remember
from tests.browser.list_pages import begun, ended, listed, runs, state
from tests.builders import event
from tests.in_process import Server, eventually, running
from viewer.waterfall import row_id


# R089 R097
def test_what_happened_while_a_killed_server_was_away_is_there_without_a_reload(killable: servers.Server, page: Page, watch: Watch) -> None:
    watch.expect(LOST_SOCKET)
    killable.send(begun("r1"))
    killable.wait_for("/api/v1/runs", lambda answer: len(answer["items"]) == 1)
    open_live(page, f"{killable.url}/flows")
    remember(page)

    killable.kill()
    expect(page.locator("#live")).to_have_text("reconnecting")
    with servers.Server(killable.data_dir) as elsewhere:  # the same data at an address the page does not know
        elsewhere.send(ended("r1"), begun("r2", 1))
    killable.start()

    expect(page.locator("#live")).to_have_text("live")
    expect(runs(page)).to_have_text(["r2", "r1"])
    expect(state(page, "r1")).to_have_text("SUCCEEDED")
    expect(page.locator("#flows .count")).to_have_text(["1 running", "1 succeeded"])
    assert is_same(page)


# R090 R097
def test_where_sockets_do_not_get_through_the_list_follows_by_server_sent_events(etl: Server, page: Page) -> None:
    page.add_init_script(NO_SOCKETS)
    open_live(page, f"{etl.url}/runs")

    etl.send(begun("r2", 1))

    expect(runs(page)).to_have_text(["r2", "r1"])
    assert (0, 1) == (etl.metric("sockets", kind="ws"), etl.metric("sockets", kind="sse"))


# R089 R097
def test_a_hidden_list_holds_no_connection_and_catches_up_when_it_is_seen_again(etl: Server, page: Page) -> None:
    page.add_init_script(HIDING)
    open_live(page, f"{etl.url}/runs")
    remember(page)

    page.evaluate("hide(true)")
    eventually(lambda: etl.metric("sockets") == 0)
    etl.send(begun("r2", 1))
    listed(etl, 2)
    page.evaluate("hide(false)")

    expect(runs(page)).to_have_text(["r2", "r1"])
    assert is_same(page)


# R089 R097
def test_a_list_that_cannot_follow_starts_again_and_shows_what_is(page: Page) -> None:
    with running() as server:
        server.send(begun("first"))
        listed(server, 1)
        open_live(page, f"{server.url}/runs")
        remember(page)

        server.soon(server.collector.list_tail._drop_everybody)
        server.send(begun("second", 1))

        expect(runs(page)).to_have_text(["second", "first"])
        page.wait_for_function("window.sameAsBefore !== true")
        page.close()


# R097 R108
def test_without_javascript_the_lists_are_read_by_reloading(etl: Server, open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    for path in ("/runs", "/flows"):
        page.goto(etl.url + path)

        expect(runs(page)).to_have_text(["r1"])
        expect(page.locator("noscript p")).to_be_visible()
        expect(page.locator("#live")).to_have_text("")


# R089
def test_an_older_message_does_not_undo_a_row_of_the_page(server: Server, page: Page) -> None:
    page.add_init_script(KEEP_SOCKET)
    server.send(event("flow_started"), event("task_started", task="load", node="load:1"), event("task_ok", task="load", node="load:1"))
    open_live(page, f"{server.url}/runs/r1")

    page.evaluate(
        """(id) => window.keptSocket.onmessage({ data: JSON.stringify({
          kind: "task", data: {}, version: 1, html: document.getElementById(id).outerHTML.replace("SUCCEEDED", "RUNNING"),
        }) })""",
        row_id("load:1"),
    )

    expect(task_row(page, "load:1").locator(".chip")).to_have_text("SUCCEEDED")
