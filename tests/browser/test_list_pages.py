"""The pages of runs and flows while runs come and go."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.chromium import ARTIFACTS, open_live
from tests.browser.cut_off import is_same, remember
from tests.browser.list_pages import begun, ended, listed, runs, send_trace, state
from tests.browser.test_accessibility import grave_violations
from tests.builders import event
from tests.in_process import PROTOBUF, Server, running
from tests.otlp_bodies import TRACE_ID, a_span, span_request
from viewer.display import flow_row_id
from viewer.pages import RUNS_A_PAGE

# --- the page of runs ------------------------------------------------------------------------------------------------------------------


# R097
def test_a_new_run_stands_on_top_and_its_state_follows(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/runs")
    remember(page)

    etl.send(begun("r2", 1))
    expect(runs(page)).to_have_text(["r2", "r1"])
    etl.send(ended("r2", "failed", error="OSError('disk full')"))

    expect(state(page, "r2")).to_have_text("FAILED")
    expect(page.locator("#runs .error-line")).to_have_text("OSError('disk full')")
    page.screenshot(path=ARTIFACTS / "live-runs.png")
    assert is_same(page)
    assert [] == grave_violations(page)


def test_rows_stand_where_their_start_puts_them_whatever_order_they_came_in(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/runs")

    etl.send(begun("last", 9))
    expect(runs(page)).to_have_text(["last", "r1"])
    etl.send(begun("first", -9))
    expect(runs(page)).to_have_text(["last", "r1", "first"])
    etl.send(begun("middle", 5))

    expect(runs(page)).to_have_text(["last", "middle", "r1", "first"])


# R097
def test_a_list_of_one_flow_takes_only_its_runs(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/runs?flow=etl")

    etl.send(begun("other", 1, flow="other"))
    listed(etl, 2)
    etl.send(begun("r2", 2))

    expect(runs(page)).to_have_text(["r2", "r1"])


# R097 R100
def test_a_full_list_lets_its_last_rows_go_and_the_older_ones_begin_there(server: Server, page: Page) -> None:
    names = [f"run-{number:03}" for number in range(RUNS_A_PAGE + 5)]
    server.send(*(begun(name, number) for number, name in enumerate(names[:RUNS_A_PAGE])))
    listed(server, RUNS_A_PAGE)
    open_live(page, f"{server.url}/runs")
    expect(page.get_by_role("link", name="Older runs")).to_have_count(0)

    server.send(*(begun(name, number) for number, name in enumerate(names) if number >= RUNS_A_PAGE))
    expect(runs(page)).to_have_text(list(reversed(names))[:RUNS_A_PAGE])
    page.get_by_role("link", name="Older runs").click()

    expect(runs(page)).to_have_text(list(reversed(names))[RUNS_A_PAGE:])
    expect(page.locator("#live")).to_have_text("")


# R097
def test_a_changed_row_keeps_the_focus(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/runs")
    link = page.get_by_role("link", name="r1", exact=True)
    link.focus()

    etl.send(ended("r1"))

    expect(state(page, "r1")).to_have_text("SUCCEEDED")
    expect(link).to_be_focused()


def test_new_runs_are_said_aloud_politely(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/runs")

    etl.send(begun("r2", 1), begun("r3", 2))

    expect(page.locator("#said")).to_have_text("2 new runs")
    expect(page.locator("#said")).to_have_attribute("role", "status")


# R097 R099
def test_the_page_without_runs_goes_on_by_itself_with_the_first(server: Server, page: Page) -> None:
    open_live(page, f"{server.url}/runs")
    expect(page.get_by_role("link", name="how to send the first one")).to_be_visible()

    server.send(begun("r1"))

    expect(runs(page)).to_have_text(["r1"])


# R097
def test_traces_nobody_asked_for_make_room_for_the_first_named_run(server: Server, page: Page) -> None:
    send_trace(server)
    listed(server, 1)
    open_live(page, f"{server.url}/runs")
    expect(runs(page)).to_have_text([TRACE_ID.hex()])

    server.send(begun("r1"))

    expect(runs(page)).to_have_text(["r1"])


# R021 R097
def test_a_trace_that_a_run_claims_leaves_the_page(server: Server, page: Page) -> None:
    send_trace(server)
    listed(server, 1)
    open_live(page, f"{server.url}/runs?kind=all")

    server.send({**begun("r1"), "trace_id": TRACE_ID.hex()})
    root = a_span(name="etl", span_id=bytes(range(8)), attributes=[])
    server.post("/v1/traces", span_request(root, cicd__pipeline__run__id="r1").SerializeToString(), PROTOBUF).raise_for_status()

    expect(runs(page)).to_have_text(["r1"])


# R097 R100
def test_a_run_that_falls_silent_is_marked_stale_in_the_open_list(page: Page) -> None:
    with running(stale_after_s=1) as server:
        server.send(event("flow_started", flow="etl"))
        listed(server, 1)

        open_live(page, f"{server.url}/runs")

        expect(page.locator("#runs .chip.hint")).to_have_text("STALE")
        page.close()


def test_the_duration_of_a_run_that_goes_on_grows(server: Server, page: Page) -> None:
    server.send(event("flow_started"))
    listed(server, 1)
    open_live(page, f"{server.url}/runs")
    cell = page.locator("#runs [data-since-us]")
    before = cell.text_content()

    expect(cell).not_to_have_text(str(before))


# --- the page of flows -----------------------------------------------------------------------------------------------------------------


# R097 R099
def test_a_flow_counts_its_runs_as_they_go(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/flows")
    remember(page)
    row = page.locator(f"#{flow_row_id('etl')}")
    expect(row.locator(".count")).to_have_text(["1 running"])

    etl.send(begun("r2", 1), ended("r1"))

    expect(row.locator(".count")).to_have_text(["1 running", "1 succeeded"])
    expect(row.get_by_role("link", name="r2")).to_be_visible()
    expect(runs(page)).to_have_text(["r2", "r1"])
    page.screenshot(path=ARTIFACTS / "live-flows.png")
    assert is_same(page)
    assert [] == grave_violations(page)


# R097
def test_a_new_flow_gets_its_row_where_its_key_puts_it(etl: Server, page: Page) -> None:
    open_live(page, f"{etl.url}/flows")

    etl.send(begun("r2", 1, flow="zeta"), begun("r3", 2, flow="alpha"))

    expect(page.locator("#flows th a")).to_have_text(["alpha", "etl", "zeta"])
