"""What tests in a browser may ask for.

Ask for the server before the page: then the page is closed first, and the server need not wait for its socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests import servers
from tests.browser.chromium import PATIENCE_MS, OpenPage, Watch, chromium
from tests.browser.list_pages import begun, listed
from tests.in_process import Server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Chromium. One a file, not one a session: tests of other files in this process call asyncio.run."""
    with chromium() as one:
        yield one


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Return the eye on this test's pages; the test fails if it saw something nobody expected."""
    one = Watch()
    yield one
    assert [] == one.unexpected()


@pytest.fixture
def open_page(browser: Browser, watch: Watch) -> Iterator[OpenPage]:
    """Return what opens a watched page in a context of its own. Options: those of playwright's new_context."""
    contexts: list[BrowserContext] = []

    def open_one(**options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        watch.look_at(context)
        return context.new_page()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """Return a watched page, 1280 by 720."""
    return open_page()


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[servers.Server]:
    """Return a server that can be killed."""
    with servers.Server(tmp_path / "data") as one:
        yield one


@pytest.fixture
def etl(server: Server) -> Server:
    """Return a server whose lists have a run of the flow etl."""
    server.send(begun("r1"))
    listed(server, 1)
    return server
