"""Narrow, middling and wide: nobody scrolls sideways, however long a name is. Pictures of each are kept in tests/artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import ARTIFACTS, REFUSED, Watch, is_too_wide
from tests.builders import event
from tests.in_process import JSON, Server, eventually, running

WIDTHS = (380, 768, 1280)
PAGES = {"flows": "/flows", "runs": "/runs", "run": "/runs/r1", "error": "/runs/nobody"}
WORD = "extract_the_orders_of_the_day_before_yesterday_" * 8
WORDS = "the orders of the day before yesterday " * 20
LONG: dict[str, Any] = {"task": WORD, "node": f"{WORD}:1", "description": WORDS}


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    """Return a server with a run in which everything is long."""
    with running() as one:
        one.send(
            event("flow_started", 0, flow=WORD, params={WORD: WORDS}, tags=[WORD, WORDS]),
            event("task_started", 0, **LONG),
            event("task_retry", 900, attempt=1, max=2, error=WORD, **LONG),
            event("task_log", 1000, level=WORD, message=WORD, payload={WORD: WORD}, **LONG),
            event("task_err", 2000, error=f"{WORD}\n{WORDS}", traceback=WORD, **LONG),
            event("task_started", 1000, task="short", node="short"),
            event("flow_started", 0, run_id=f"{WORD}-2", flow="short"),
        )
        one.post(f"/{WORD}", b"{}", JSON)
        eventually(lambda: len(one.json("/api/v1/runs")["items"]) == 2)
        yield one


# R109
@pytest.mark.parametrize("name", PAGES)
def test_nobody_scrolls_sideways(shared: Server, page: Page, watch: Watch, name: str) -> None:
    watch.expect(REFUSED)

    page.goto(shared.url + PAGES[name])
    page.locator("details").evaluate_all("(parts) => { for (const part of parts) part.open = true; }")

    assert [] == too_wide_at(page, name)


# R099
def test_the_page_before_the_first_run_fits_too(server: Server, page: Page) -> None:
    server.post(f"/{WORD}", b"{}", JSON)

    page.goto(server.url)
    expect(page.locator("#live")).to_have_text("waiting")

    assert [] == too_wide_at(page, "welcome")


def too_wide_at(page: Page, name: str) -> list[int]:
    """Return the widths at which one has to scroll sideways; keeps a picture of each."""
    too_wide = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        page.screenshot(path=ARTIFACTS / f"{name}-{width}.png", full_page=True)
        if is_too_wide(page):
            too_wide.append(width)
    return too_wide
