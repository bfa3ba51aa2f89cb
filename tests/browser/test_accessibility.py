"""What axe finds on each page, light and dark, and the way through a page by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # has no py.typed
from playwright.sync_api import Page, expect

from tests.browser.chromium import REFUSED, Watch, open_live
from tests.builders import event
from tests.fragile_storage import fragile_server
from tests.in_process import Server, eventually, running

GRAVE = ("serious", "critical")
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = ("/flows", "/runs", "/runs?kind=trace", "/runs?flow=nobody", "/runs/open", "/runs/over?level=warn", "/runs/nobody")
KEY = "a-key"
TASK: dict[str, Any] = {"task": "load", "node": "load:1", "error": "OSError('disk full')", "description": "Loads it"}


def run_of_every_state(run_id: str) -> list[dict[str, Any]]:
    """Return the events of a run with a task run in each state, a retry, and lines of each level."""
    started = event("flow_started", run_id=run_id, flow="etl", params={"day": "2026-11-20"}, tags=["nightly"], tasks=9)
    words = ("announced", "queued", "started", "paused", "ok", "cancelled", "skipped")
    tasks = [event(f"task_{word}", run_id=run_id, task=word, node=word) for word in words]
    lines = [event("task_log", run_id=run_id, level=level, message=f"a line of {level}") for level in ("debug", "info", "warn", "error")]
    failed = [event(name, run_id=run_id, **TASK) for name in ("task_started", "task_retry", "task_err")]
    return [started, *tasks, *lines, *failed]


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Return a server with a run that goes on, silent for too long, and one that has failed."""
    with running(stale_after_s=0.001) as one:
        one.send(*run_of_every_state("open"), *run_of_every_state("over"), event("flow_failed", run_id="over", error="OSError('disk full')"))
        eventually(lambda: len(one.json("/api/v1/runs")["items"]) == 2)
        yield one


def unfold(page: Page) -> None:
    """Show what is folded away: it must be readable too."""
    page.locator("details").evaluate_all("(parts) => { for (const part of parts) part.open = true; }")


def grave_violations(page: Page) -> list[str]:
    """List what axe calls serious or critical, light or dark, with where it is."""
    return [violation for theme in THEMES for violation in _violations_in(page, theme)]


def _violations_in(page: Page, theme: Literal["light", "dark"]) -> list[str]:
    page.emulate_media(color_scheme=theme)
    found = Axe().run(page).response["violations"]
    return [f"{theme}: {one['id']}: {node['html']}" for one in found if one["impact"] in GRAVE for node in one["nodes"]]


# R108
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_grave(shared: Server, page: Page, watch: Watch, path: str) -> None:
    watch.expect(REFUSED)

    page.goto(shared.url + path)
    unfold(page)

    assert [] == grave_violations(page)


# R108
def test_axe_finds_nothing_grave_before_the_first_run(server: Server, page: Page) -> None:
    server.post("/v1/spans", b"")

    page.goto(server.url)
    expect(page.locator("#live")).to_have_text("waiting")

    assert [] == grave_violations(page)


# R108 R148
def test_axe_finds_nothing_grave_where_one_logs_in(page: Page, watch: Watch) -> None:
    watch.expect(REFUSED)
    with running(server_api_keys=(KEY,)) as server:
        page.goto(f"{server.url}/login")
        asked = grave_violations(page)
        page.get_by_label("API key").fill("another")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_be_visible()

        assert [] == asked + grave_violations(page)
        page.close()


def test_while_the_store_is_down_a_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Page, watch: Watch) -> None:
    watch.expect(REFUSED)
    with fragile_server(tmp_path, monkeypatch) as (server, weather):
        weather.down = True

        answer = page.goto(f"{server.url}/runs")

        assert answer is not None
        assert 503 == answer.status
        expect(page.get_by_role("heading", name="The store cannot be read just now")).to_be_visible()
        assert [] == grave_violations(page)
        page.close()


def test_the_first_key_press_leads_past_the_head_of_the_page(shared: Server, page: Page) -> None:
    page.goto(f"{shared.url}/flows")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator("main")).to_be_focused()


def test_changes_of_the_connection_are_said_aloud_once_and_politely(shared: Server, page: Page) -> None:
    open_live(page, f"{shared.url}/runs/open")

    expect(page.get_by_role("status")).to_have_text("live")
